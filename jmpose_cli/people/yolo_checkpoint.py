"""ultralytics' `.pt` files read as what they hold, not as what they are made of: none of their code is run.

A `.pt` is a pickle, and names the classes that it wants to build. Those that real detectors name are given a stand-in
that only holds values; a file that names anything else is refused. What comes out are tensors and plain values.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jmpose_cli.errors import JmposeError
from jmpose_cli.people.detector_description import check_input_side, check_names
from jmpose_cli.people.yolo_description import check_network

if TYPE_CHECKING:
    import torch

_USUAL_INPUT_SIDE = 640
_DETECTORS = ("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.tasks.YOLOv10DetectionModel")
_BLOCKS = (
    "A2C2f AAttn ABlock AConv ADown Attention Bottleneck BottleneckCSP C1 C2 C2PSA C2f C2fCIB C2fPSA C3 C3Ghost C3TR "
    "C3k C3k2 C3x CBFuse CBLinear CIB DFL ELAN1 GhostBottleneck PSA PSABlock RepBottleneck RepC3 RepCSP RepNCSPELAN4 "
    "RepVGGDW SCDown SPP SPPELAN SPPF Silence TorchVision"
)
_CONVOLUTIONS = "Concat Conv Conv2 ConvTranspose DWConv DWConvTranspose2d Focus GhostConv Index RepConv"
_LAYERS = {
    "activation": "GELU Hardswish LeakyReLU Mish ReLU ReLU6 SiLU Sigmoid",
    "batchnorm": "BatchNorm2d",
    "container": "ModuleDict ModuleList Sequential",
    "conv": "Conv2d ConvTranspose2d",
    "dropout": "Dropout",
    "linear": "Identity Linear",
    "padding": "ZeroPad2d",
    "pooling": "AdaptiveAvgPool2d MaxPool2d",
    "upsampling": "Upsample",
}
_LOSSES = (
    "loss.BboxLoss loss.DFLoss loss.E2EDetectLoss loss.E2ELoss loss.v10DetectLoss loss.v8DetectionLoss "
    "tal.TaskAlignedAssigner"
)
_KNOWN = {
    *_DETECTORS,
    *(f"ultralytics.nn.modules.block.{name}" for name in _BLOCKS.split()),
    *(f"ultralytics.nn.modules.conv.{name}" for name in _CONVOLUTIONS.split()),
    *(f"ultralytics.nn.modules.head.{name}" for name in ("Detect", "v10Detect")),
    *(f"torch.nn.modules.{place}.{name}" for place, names in _LAYERS.items() for name in names.split()),
    "torch.nn.modules.loss.BCEWithLogitsLoss",
    *(f"torchvision.models.mobilenetv2.{name}" for name in ("InvertedResidual", "MobileNetV2")),
    *(f"torchvision.ops.misc.{name}" for name in ("Conv2dNormActivation", "ConvNormActivation")),
    *(f"ultralytics.utils.{name}" for name in (*_LOSSES.split(), "IterableSimpleNamespace")),
    "ultralytics.yolo.utils.IterableSimpleNamespace",
    *(f"{place}.{name}" for place in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
    *(f"{place}.multiarray.scalar" for place in ("numpy.core", "numpy._core")),
    "numpy.dtype",
}
_MAX_DEPTH, _MAX_PARTS = 24, 50_000


@dataclass(frozen=True)
class Checkpoint:
    """What a `.pt` file holds.

    Attributes:
        network: What the network is built from, checked.
        names: Of the classes, by number.
        input_side: Longer side of the input that it was trained at, pixels.
        state: Its weights by name, as the network's `state_dict` calls them.
    """

    network: dict[str, Any]
    names: dict[int, str]
    input_side: int
    state: "dict[str, torch.Tensor]"


class _StandIn:
    """Stands for an object of a class that the file names: holds what it held, and can do nothing."""

    place = ""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.held: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.held = dict(state) if isinstance(state, Mapping) else {}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a detector that ultralytics saved, without running anything in it.

    Raises:
        JmposeError: The file wants to run code, or holds no detector.
        ValueError: It is damaged, or its description is not of a known kind; the same holds for the other errors of
            damaged pickles.
    """
    import torch

    from jmpose.torch_files import check_archive, load_weights_only

    if not zipfile.is_zipfile(path):
        raise ValueError("no PyTorch file")
    check_archive(path)
    wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    foreign = sorted(set(wanted) - _KNOWN)
    if foreign:
        raise _refused(path, foreign[0])
    stand_ins: list[Any] = [(type("StandIn", (_StandIn,), {"place": name}), name) for name in wanted]
    try:
        with torch.serialization.safe_globals(stand_ins):
            content = load_weights_only(path)
    except pickle.UnpicklingError as error:
        asked_for = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked_for:
            raise _refused(path, asked_for[1]) from error
        raise
    content = content if isinstance(content, Mapping) else {}
    model = content.get("ema") or content.get("model")
    if not isinstance(model, _StandIn) or model.place not in _DETECTORS:
        raise JmposeError(f"{path}: not a detection network", hint="use a YOLO detector, such as yolo26n.pt")
    trained = content.get("train_args")
    side = trained.get("imgsz", _USUAL_INPUT_SIDE) if isinstance(trained, Mapping) else _USUAL_INPUT_SIDE
    held, state = getattr(model, "held", {}), _weights(model)
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > path.stat().st_size:
        raise ValueError("its weights are larger than the file: some stand in it once for many")
    return Checkpoint(
        network=check_network(held.get("yaml")),
        names=check_names(held.get("names")),
        input_side=check_input_side(side),
        state=state,
    )


def _refused(path: Path, asked_for: str) -> JmposeError:
    return JmposeError(
        f"{path}: refused, because reading it would run {asked_for}, which no YOLO detector needs",
        hint="if you trust the file, convert it in Python: from ultralytics import YOLO; from jmpose_cli.people."
        "detect_yolo import save_detector; save_detector(YOLO('x.pt').model, pathlib.Path('x.safetensors'), imgsz=640)",
    )


def _weights(model: _StandIn) -> "dict[str, torch.Tensor]":
    """Name the tensors of a network as its `state_dict` would."""
    from torch import Tensor

    from jmpose.torch_files import is_plain

    state: dict[str, Tensor] = {}
    waiting: list[tuple[str, Any, int]] = [("", model, 0)]
    parts = 0
    while waiting:
        prefix, part, depth = waiting.pop()
        parts += 1
        if depth > _MAX_DEPTH or parts > _MAX_PARTS:
            raise ValueError("its network has too many parts")
        held = getattr(part, "held", {})
        unsaved = held.get("_non_persistent_buffers_set") or ()
        for group in ("_parameters", "_buffers"):
            for name, tensor in dict(held.get(group) or {}).items():
                if tensor is None or (group == "_buffers" and name in unsaved):
                    continue
                if not isinstance(tensor, Tensor) or not is_plain(tensor):
                    raise ValueError(f"{prefix}{name} is no plain tensor")
                state[f"{prefix}{name}"] = tensor.detach()
        waiting += [(f"{prefix}{name}.", inner, depth + 1) for name, inner in dict(held.get("_modules") or {}).items()]
    return state
