"""Person boxes from YOLO networks: the one file that imports ultralytics.

The network is run directly, not through ultralytics' predictor: pictures are letterboxed here, one at a time on the
CPU, so that the boxes of a picture depend on nothing but the picture.
"""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from jmpose.files import WholeFile
from jmpose_cli.device import CallThreads
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.home import library_folder
from jmpose_cli.structures import Bytes, Detections

if TYPE_CHECKING:
    import torch

KIND = "yolo-detector"
NMS_IOU = 0.5  # two boxes that overlap more are one person; higher keeps more people who hug, and more doubles
MAX_BOXES = 300
_GREY = 114  # what YOLO networks are trained to see around a letterboxed picture
_GRID = 32  # coarsest stride of the networks
_GPU_BATCH = 8


class PersonDetector(Protocol):
    """Finds people in single frames; keeps nothing between calls.

    Attributes:
        name: For headers and files.
        sha256: Of the weights file.
    """

    name: str
    sha256: str

    def detect(self, frames_rgb: Bytes) -> list[Detections]:
        """Find people in each frame of `[N, H, W, 3]` uint8; boxes in image pixels, highest score first."""


class YoloDetector:
    """An ultralytics YOLO checkpoint (`.pt`), or a detector saved by `save_detector` (`.safetensors` and `.json`).

    Args:
        weights: The file.
        device: torch device name.
        min_score: Boxes below it are left out.
        input_size: Longer side of the network's input in pixels; None takes what the weights were made for.
            Larger finds smaller people, more slowly.
        threads: Frames at a time on the CPU.

    Raises:
        JmposeError: The file is damaged, no detector, or knows no class `person`.
    """

    def __init__(
        self,
        weights: Path,
        *,
        device: str,
        min_score: float,
        input_size: int | None = None,
        threads: int = 1,
    ) -> None:
        import torch

        load = _load_fused if weights.suffix == ".safetensors" else _load_checkpoint
        model, made_for = load(weights)
        people = [number for number, name in model.names.items() if name == "person"]
        if not people:
            names = ", ".join(list(model.names.values())[:5])
            raise JmposeError(
                f"{weights}: a detector without the class 'person' (it has {names})", hint="use one trained on people"
            )
        self.name, self.sha256 = weights.stem, hashlib.sha256(weights.read_bytes()).hexdigest()
        self.input_size = input_size or made_for
        self._person, self._min_score = people[0], min_score
        self._device = torch.device(device)
        self._calls = CallThreads(threads) if self._device.type == "cpu" else None
        self._size_before: tuple[int, ...] = ()
        self._model = model.to(self._device).to(memory_format=torch.channels_last)

    def detect(self, frames_rgb: Bytes) -> list[Detections]:
        """Find people in each frame of `[N, H, W, 3]` uint8; boxes in image pixels, highest score first."""
        if self._calls:
            # The head keeps its anchors for a picture size: the first of a new size must not have company.
            is_new = len(frames_rgb) > 0 and frames_rgb.shape[1:3] != self._size_before
            first = [self._detect(frames_rgb[:1])[0]] if is_new else []
            self._size_before = frames_rgb.shape[1:3]
            return first + self._calls.map(lambda frame: self._detect(frame[None])[0], frames_rgb[len(first) :])
        return in_equal_batches(frames_rgb, self._detect)

    def _detect(self, frames_rgb: Bytes) -> list[Detections]:
        import torch
        from ultralytics.utils.nms import non_max_suppression

        height, width = frames_rgb.shape[1:3]
        pictures, scale, offset = letterbox(frames_rgb, self.input_size)
        with torch.inference_mode():
            inputs = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float().div_(255)
            outputs = self._model(inputs.contiguous(memory_format=torch.channels_last))
            rows = non_max_suppression(
                outputs,
                self._min_score,
                NMS_IOU,
                classes=[self._person],
                max_det=MAX_BOXES,
                max_time_img=60.0,  # ultralytics stops suppressing on a busy machine otherwise
                end2end=bool(getattr(self._model, "end2end", False)),
            )
        return [_detections(row.float().cpu().numpy(), scale, offset, (width, height)) for row in rows]


def _detections(rows: np.ndarray, scale: float, offset: tuple[float, float], size: tuple[int, int]) -> Detections:
    """Bring rows (x0, y0, x1, y1, score, class) of a letterboxed picture back to the frame, best first."""
    boxes = (rows[:, :4] - np.array([*offset, *offset], np.float32)) / np.float32(scale)
    boxes = boxes.clip(0, np.array([*size, *size], np.float32))
    whole = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1
    order = np.argsort(-rows[whole, 4], kind="stable")
    return Detections(boxes[whole][order].astype(np.float32), rows[whole, 4][order].astype(np.float32))


def in_equal_batches(frames_rgb: Bytes, detect: Callable[[Bytes], list[Detections]]) -> list[Detections]:
    """Call `detect` on a GPU's batches of frames `[N, H, W, 3]`, all of one size.

    The last one is filled up with its last frame: kernels are chosen by shape, and another one rounds otherwise.
    """
    found: list[Detections] = []
    for start in range(0, len(frames_rgb), _GPU_BATCH):
        part = frames_rgb[start : start + _GPU_BATCH]
        filled = part[np.arange(_GPU_BATCH).clip(max=len(part) - 1)]
        found.extend(detect(filled)[: len(part)])
    return found


def letterbox(frames_rgb: Bytes, size: int) -> tuple[Bytes, float, tuple[int, int]]:
    """Scale frames so that their longer side is `size`, and pad with grey to whole cells of 32 pixels.

    Returns:
        `[N, h, w, 3]` uint8, the scale, and the (left, top) padding in pixels.
    """
    height, width = frames_rgb.shape[1:3]
    scale = size / max(height, width)
    h, w = max(round(height * scale), 1), max(round(width * scale), 1)
    padded_h, padded_w = (-(-side // _GRID) * _GRID for side in (h, w))
    top, left = (padded_h - h) // 2, (padded_w - w) // 2
    pictures = np.full((len(frames_rgb), padded_h, padded_w, 3), _GREY, np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    for picture, frame in zip(pictures, frames_rgb, strict=True):
        picture[top : top + h, left : left + w] = cv2.resize(frame, (w, h), interpolation=method)
    return pictures, scale, (left, top)


def _ultralytics() -> None:
    """Keep ultralytics from installing packages, sending usage and writing into the home folder."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "False")
    os.environ.setdefault("YOLO_VERBOSE", "False")
    folder = library_folder("ultralytics")
    if folder:
        os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    from ultralytics.utils import SETTINGS

    if SETTINGS.get("sync"):
        SETTINGS["sync"] = False


def _load_checkpoint(weights: Path) -> tuple[Any, int]:
    """Load an ultralytics checkpoint; give the network in eval mode and the input size that it was trained at."""
    _ultralytics()
    from ultralytics.nn.tasks import DetectionModel, load_checkpoint

    try:
        model, checkpoint = load_checkpoint(weights, fuse=True)
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise _unreadable(weights, error) from error
    except pickle.UnpicklingError as error:
        raise _unreadable(weights, error) from error
    if not isinstance(model, DetectionModel):
        raise JmposeError(f"{weights}: not a detection network", hint="use a YOLO detector, such as yolo26n.pt")
    size = checkpoint.get("train_args", {}).get("imgsz", 640)
    return model.eval(), int(size if isinstance(size, int) else max(size))


def _unreadable(weights: Path, error: Exception) -> JmposeError:
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return JmposeError(
        f"{weights}: no readable YOLO detector ({reason})", hint="copy or download the file again, or use person-nano"
    )


def _load_fused(weights: Path) -> tuple[Any, int]:
    """Load what `save_detector` wrote, for inference."""
    from jmpose.folding import fold_batch_norms

    model, size = load_shipped(weights)
    model.eval().fuse(verbose=False)
    fold_batch_norms(model)  # of what is not ultralytics' own
    return model, size


def load_shipped(weights: Path) -> tuple[Any, int]:
    """Load what `save_detector` wrote; give the network, not fused, and the longer side of its input in pixels.

    Raises:
        JmposeError: A file is missing or damaged, or is no detector.
    """
    _ultralytics()
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from ultralytics.nn.tasks import DetectionModel

    beside = weights.with_suffix(".json")
    try:
        description = json.loads(beside.read_text())
        state = load_file(weights)
        if description.get("kind") != KIND:
            raise JmposeError(f"{beside}: kind is {description.get('kind')!r}, expected {KIND!r}")
        model = DetectionModel(description["yaml"], verbose=False)
        model.load_state_dict({name: _wide(tensor) for name, tensor in state.items()}, strict=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreadable(weights, error) from error
    model.names = {int(number): name for number, name in description["names"].items()}
    return model, int(description["imgsz"])


def _wide(tensor: "torch.Tensor") -> "torch.Tensor":
    return tensor.float() if tensor.is_floating_point() else tensor


def save_detector(model: Any, weights: Path, *, imgsz: int) -> None:
    """Write a `DetectionModel` as `weights` (fp16 safetensors) and a `.json` beside it.

    Args:
        model: The network, not fused.
        weights: Path that ends in `.safetensors`.
        imgsz: Longer side of the input that it is made for, pixels.
    """
    from safetensors.torch import save_file

    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    with WholeFile(weights) as partial:
        save_file(state, partial)
    names = {str(number): name for number, name in model.names.items()}
    yaml = {key: value for key, value in model.yaml.items() if key != "yaml_file"}
    if yaml.get("scales") and not yaml.get("scale"):
        yaml["scale"] = next(iter(yaml["scales"]))  # what ultralytics took, with a warning
    description = {"kind": KIND, "yaml": yaml, "names": names, "imgsz": imgsz, "licence": "AGPL-3.0-or-later"}
    write_whole(weights.with_suffix(".json"), json.dumps(description, indent=2).encode() + b"\n")
    shutil.copymode(weights.with_suffix(".json"), weights)  # safetensors lets nobody else read it
