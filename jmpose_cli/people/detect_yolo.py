"""Person boxes from YOLO networks: the one file that imports ultralytics.

The network is run directly, not through ultralytics' predictor, so that the boxes of a picture depend on nothing but
the picture.
"""

import json
import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jmpose.files import WholeFile, file_sha256
from jmpose_cli.device import convolution_order
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.home import library_folder
from jmpose_cli.people.detect import TorchDetector
from jmpose_cli.people.detector_description import START_SCORE, Kind, person_class, read_description, unreadable
from jmpose_cli.people.letterbox import MAX_BOXES, NMS_IOU, in_letterbox
from jmpose_cli.people.yolo_checkpoint import read_checkpoint
from jmpose_cli.people.yolo_description import check_network
from jmpose_cli.values import Bytes, Detections, Float

if TYPE_CHECKING:
    import torch

KIND: Kind = "yolo-detector"
CHECKPOINT_START_SCORE = 0.5
"""Box score from which on a box of an ultralytics checkpoint may start a track; measured for YOLO11n."""
_MAX_VALUES = 1 << 28  # in one array of a running network; those of published ones are a tenth of it
_MAX_VALUES_TOGETHER = 1 << 29


class YoloDetector(TorchDetector):
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
        load = _load_fused if weights.suffix == ".safetensors" else _load_checkpoint
        model, made_for = load(weights)
        self.start_score: float = model.start_score
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        self.input_size = input_size or made_for
        self._person = person_class(weights, model.names)
        self._size_before: tuple[float, ...] = ()
        super().__init__(device=device, min_score=min_score, threads=threads)
        self._order = convolution_order(self._device)
        self._model = model.to(self._device).to(memory_format=self._order)

    def detect(self, frames_rgb: Bytes, *, pixel_width: float = 1.0) -> list[Detections]:
        """Find people in frames; see `PersonDetector`."""
        # The head keeps its anchors for a picture size: on the CPU the first of a new size must not have company.
        size = (*frames_rgb.shape[1:3], pixel_width)
        is_new = self._calls is not None and len(frames_rgb) > 0 and size != self._size_before
        first = self._detect(frames_rgb[:1], pixel_width) if is_new else []
        self._size_before = size
        return first + super().detect(frames_rgb[len(first) :], pixel_width=pixel_width)

    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:
        return in_letterbox(frames_rgb, self.input_size, self._rows, pixel_width=pixel_width)

    def _rows(self, pictures: Bytes) -> list[Float]:
        import torch
        from ultralytics.utils.nms import non_max_suppression

        with torch.inference_mode():
            inputs = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float().div_(255)
            outputs = self._model(inputs.contiguous(memory_format=self._order))
            rows = non_max_suppression(
                outputs,
                self._min_score,
                NMS_IOU,
                classes=[self._person],
                max_det=MAX_BOXES,
                max_time_img=60.0,  # ultralytics stops suppressing on a busy machine otherwise
                end2end=bool(getattr(self._model, "end2end", False)),
            )
        return [row.float().cpu().numpy() for row in rows]


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
        raise unreadable(weights, error) from error
    model.names, model.start_score = stored.names, CHECKPOINT_START_SCORE
    return _fused(model), stored.input_side


def _load_fused(weights: Path) -> tuple[Any, int]:
    """Load what `save_detector` wrote, for inference."""
    from jmpose.folding import fold_batch_norms

    model, size = load_saved(weights)
    fold_batch_norms(_fused(model))  # of what is not ultralytics' own
    return model, size


def _fused(model: Any) -> Any:
    return model.eval().fuse(verbose=False)


def load_saved(weights: Path) -> tuple[Any, int]:
    """Load what `save_detector` wrote; return the network, not fused, and the longer side of its input in pixels.

    Raises:
        JmposeError: A file is missing or damaged, or is no detector.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    described = read_description(weights, KIND)
    try:
        model = _build(weights, check_network(described.network), load_file(weights), side=described.input_side)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise unreadable(weights, error) from error
    model.names, model.start_score = described.names, described.start_score
    return model, described.input_side


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
        raise unreadable(weights, error) from error
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
    facts = {"yaml": yaml, "names": names, "imgsz": imgsz, "start_score": start_score, "licence": "AGPL-3.0-or-later"}
    write_whole(weights.with_suffix(".json"), json.dumps({"kind": KIND, **facts}, indent=2).encode() + b"\n")
    shutil.copymode(weights.with_suffix(".json"), weights)  # safetensors lets nobody else read it
