"""Person boxes from YOLO networks: the one file that imports ultralytics.

The network is run directly, not through ultralytics' predictor: pictures are letterboxed here, one at a time on the
CPU, so that the boxes of a picture depend on nothing but the picture.
"""

import json
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from jmpose.files import WholeFile, file_sha256
from jmpose_cli.device import torch_calls
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.home import library_folder
from jmpose_cli.machine import explain
from jmpose_cli.people.letterbox import MAX_BOXES, NMS_IOU, from_letterbox, letterbox
from jmpose_cli.people.yolo_checkpoint import read_checkpoint
from jmpose_cli.people.yolo_description import (
    START_SCORE,
    check_input_side,
    check_names,
    check_network,
    check_start_score,
)
from jmpose_cli.values import Bytes, Detections

if TYPE_CHECKING:
    import torch

KIND = "yolo-detector"
CHECKPOINT_START_SCORE = 0.5
"""Box score from which on a box of an ultralytics checkpoint may start a track; measured for YOLO11n."""
_GPU_BATCH = 8
_MAX_VALUES = 1 << 28  # in one array of a running network; those of published ones are a tenth of it
_MAX_VALUES_TOGETHER = 1 << 29


class PersonDetector(Protocol):
    """Finds people in single frames; keeps nothing between calls.

    Attributes:
        engine: What runs the network, for headers and files.
        name: The model's, likewise.
        sha256: Of the weights file.
        start_score: Box score from which on a box of this detector may start a track.
    """

    engine: str
    name: str
    sha256: str
    start_score: float

    def detect(self, frames_rgb: Bytes, *, pixel_width: float = 1.0) -> list[Detections]:
        """Find people in frames.

        Args:
            frames_rgb: `[N, H, W, 3]` uint8.
            pixel_width: Width of a pixel in heights of a pixel; the network sees people as they are shown.

        Returns:
            Boxes of each frame in its own pixels, highest score first.
        """

    def close(self) -> None:
        """End the detector's threads."""


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

    engine = "torch"

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
        self.start_score: float = model.start_score
        people = [number for number, name in model.names.items() if name == "person"]
        if not people:
            names = ", ".join(list(model.names.values())[:5])
            raise JmposeError(
                f"{weights}: a detector without the class 'person' (it has {names})", hint="use one trained on people"
            )
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        self.input_size = input_size or made_for
        self._person, self._min_score = people[0], min_score
        self._device = torch.device(device)
        self._calls = torch_calls(threads) if self._device.type == "cpu" else None
        self._size_before: tuple[float, ...] = ()
        self._model = model.to(self._device).to(memory_format=torch.channels_last)

    def close(self) -> None:
        """End the threads of the calls."""
        if self._calls:
            self._calls.close()

    def detect(self, frames_rgb: Bytes, *, pixel_width: float = 1.0) -> list[Detections]:
        """Find people in frames; see `PersonDetector`."""
        if self._calls:
            # The head keeps its anchors for a picture size: the first of a new size must not have company.
            size = (*frames_rgb.shape[1:3], pixel_width)
            is_new = len(frames_rgb) > 0 and size != self._size_before
            first = [self._detect(frames_rgb[:1], pixel_width)[0]] if is_new else []
            self._size_before = size
            others = frames_rgb[len(first) :]
            return first + self._calls.map(lambda frame: self._detect(frame[None], pixel_width)[0], others)
        return in_equal_batches(frames_rgb, lambda frames: self._detect(frames, pixel_width))

    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:
        import torch
        from ultralytics.utils.nms import non_max_suppression

        height, width = frames_rgb.shape[1:3]
        pictures, scale, offset = letterbox(frames_rgb, self.input_size, pixel_width=pixel_width)
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
        return [from_letterbox(row.float().cpu().numpy(), scale, offset, (width, height)) for row in rows]


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


def _ultralytics() -> None:
    """Keep ultralytics from installing packages, sending usage and writing into the home folder."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "False")
    os.environ.setdefault("YOLO_VERBOSE", "False")
    os.environ.setdefault("ULTRALYTICS_SAFE_LOAD", "True")  # it evaluates no strings then
    folder = library_folder("ultralytics")
    if folder:
        os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    from ultralytics.utils import SETTINGS

    if SETTINGS.get("sync"):
        SETTINGS["sync"] = False


def _load_checkpoint(weights: Path) -> tuple[Any, int]:
    """Load an ultralytics checkpoint; return the network in eval mode and the input size that it was trained at."""
    try:
        stored = read_checkpoint(weights)
        model = _build(weights, stored.network, stored.state, side=stored.input_side)
    except JmposeError:
        raise
    except Exception as error:  # damaged pickles fail in every way there is
        raise _unreadable(weights, error) from error
    model.names, model.start_score = stored.names, CHECKPOINT_START_SCORE
    return _fused(model), stored.input_side


def _unreadable(weights: Path, error: Exception) -> JmposeError:
    if explained := explain(error):
        return explained
    reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return JmposeError(
        f"{weights}: no readable YOLO detector ({reason})", hint="copy or download the file again, or use person-nano"
    )


def _load_fused(weights: Path) -> tuple[Any, int]:
    """Load what `save_detector` wrote, for inference."""
    from jmpose.folding import fold_batch_norms

    model, size = load_shipped(weights)
    fold_batch_norms(_fused(model))  # of what is not ultralytics' own
    return model, size


def _fused(model: Any) -> Any:
    return model.eval().fuse(verbose=False)


def load_shipped(weights: Path) -> tuple[Any, int]:
    """Load what `save_detector` wrote; return the network, not fused, and the longer side of its input in pixels.

    Raises:
        JmposeError: A file is missing or damaged, or is no detector.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from jmpose.plain_files import read_json

    beside = weights.with_suffix(".json")
    try:
        description = read_json(beside)
        if not isinstance(description, dict) or description.get("kind") != KIND:
            kind = description.get("kind") if isinstance(description, dict) else None
            raise JmposeError(f"{beside}: kind is {kind!r}, expected {KIND!r}")
        network, names = check_network(description.get("yaml")), check_names(description.get("names"))
        side = check_input_side(description.get("imgsz"))
        start_score = check_start_score(description.get("start_score"))
        model = _build(weights, network, load_file(weights), side=side)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable(weights, error) from error
    model.names, model.start_score = names, start_score
    return model, side


def _build(weights: Path, network: dict[str, Any], state: "dict[str, torch.Tensor]", *, side: int) -> Any:
    """Build what a checked description describes and fill it; nothing is allocated before the weights fit.

    Raises:
        JmposeError: The weights are not those of the network, or it would need more memory than any detector.
    """
    _ultralytics()
    from ultralytics.nn.modules import Conv
    from ultralytics.nn.tasks import DetectionModel

    from jmpose.errors import WeightsError
    from jmpose.state import check_fit

    activation = Conv.default_act
    try:
        planned = planned_weights(network, side)
        check_fit(state, planned, path=weights, of="the network that it describes")
        model = DetectionModel(deepcopy(network), verbose=False)
        model.load_state_dict(state)
    except WeightsError as error:
        raise JmposeError(error.message, hint="take weights and description from the same place") from error
    except JmposeError:
        raise
    except Exception as error:  # a wrong description makes ultralytics stumble anywhere
        raise _unreadable(weights, error) from error
    finally:
        Conv.default_act = activation  # ultralytics leaves another one behind when it stumbles
    return model


def planned_weights(network: dict[str, Any], side: int) -> "dict[str, torch.Tensor]":
    """Return names and shapes of a network's weights after a pass over a picture that needs no memory.

    Raises:
        ValueError: A picture of this side would need too much memory.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from ultralytics.nn.tasks import parse_model

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for value in result if isinstance(result, list | tuple) else [result]:
                if isinstance(value, torch.Tensor) and value.numel() > _MAX_VALUES:
                    raise ValueError(f"a picture of {side} pixels would need too much memory")
            return result

    with torch.device("meta"), torch.no_grad(), Watch():  # type: ignore[no-untyped-call]
        layers, kept = parse_model(deepcopy(network), ch=3, verbose=False)
        layers.eval()
        outputs: list[Any] = []
        output: Any = torch.zeros(1, 3, side, side)
        for layer in layers[:-1]:
            before = [output if i == -1 else outputs[i] for i in ([layer.f] if isinstance(layer.f, int) else layer.f)]
            output = layer(before[0] if isinstance(layer.f, int) else before)
            outputs.append(output if layer.i in kept else None)
            if sum(_values(item) for item in outputs) > _MAX_VALUES_TOGETHER:
                raise ValueError(f"a picture of {side} pixels would need too much memory")
    return {f"model.{name}": tensor for name, tensor in layers.state_dict().items()}


def _values(output: Any) -> int:
    return sum(map(_values, output)) if isinstance(output, list | tuple) else 0 if output is None else output.numel()


def save_detector(model: Any, weights: Path, *, imgsz: int, start_score: float = START_SCORE) -> None:
    """Write a `DetectionModel` as `weights` (fp16 safetensors) and a `.json` beside it.

    Args:
        model: The network, not fused.
        weights: Path that ends in `.safetensors`.
        imgsz: Longer side of the input that it is made for, pixels.
        start_score: Box score that starts a track, as `benchmarks/accuracy/identity.py` finds it.
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
    description = {"kind": KIND, "yaml": yaml, "names": names, "imgsz": imgsz, "start_score": start_score}
    description["licence"] = "AGPL-3.0-or-later"
    write_whole(weights.with_suffix(".json"), json.dumps(description, indent=2).encode() + b"\n")
    shutil.copymode(weights.with_suffix(".json"), weights)  # safetensors lets nobody else read it
