"""HRNet weights of other projects: recognised by their names, checked, and put into a JM-Pose.

timm's HRNet computes what the official one does, layer by layer and under the same names; the projects differ in the
prefixes of body and head, and in what else lies in the file. What a file cannot say by its weights (joints, input
size, alignment of the heatmaps) is taken from the configuration stored in it, from its name, or from what its
project usually does, and the report says from where.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from jmpose.backbones import HRNetBackbone
from jmpose.build import assemble
from jmpose.config import HeatmapAlignment, ModelConfig
from jmpose.errors import WeightsError
from jmpose.keypoints import KEYPOINT_SETS
from jmpose.network import JMPose
from jmpose.presets import CONFIGS
from jmpose.state import fill
from jmpose.torch_files import load_plain

_WIDTHS = {32: "hrnet-w32", 48: "hrnet-w48"}
# A layer that only a whole HRNet has; its first axis is the network's width.
_MARK = "stage4.0.branches.0.0.conv1.weight"
_COUNTER = ".num_batches_tracked"
T = TypeVar("T")


@dataclass(frozen=True)
class _Family:
    """How a project names the parts of its network.

    Attributes:
        name: The project.
        body: Prefix of the HRNet's layers.
        head: Prefix of the last layer.
        keypoint_set: Joints of its published weights; None where there are several.
        besides: Prefixes of other parts, and what they are.
    """

    name: str
    body: str
    head: str
    keypoint_set: str | None
    besides: tuple[tuple[str, ...], str] = ((), "")


_FAMILIES = (
    _Family("HRNet-pose", "", "final_layer.", "coco17"),
    _Family("MMPose 0.x", "backbone.", "keypoint_head.final_layer.", None),
    _Family(
        "MMPose 1.x", "backbone.", "head.final_layer.", None, (("data_preprocessor.",), "the input's mean and std")
    ),
    _Family(
        "DCPose",
        "rough_pose_estimation_net.",
        "rough_pose_estimation_net.final_layer.",
        "posetrack18",
        (
            (
                "diff_temporal_fuse.",
                "support_temporal_fuse.",
                "offset_mask_combine_conv.",
                "offsets_list.",
                "masks_list.",
                "modulated_deform_conv_list.",
            ),
            "DCPose's temporal part",
        ),
    ),
    _Family(
        "FAMI-Pose",
        "hrnet.",
        "hrnet.final_layer.",
        "posetrack18",
        (
            (
                "feat_global_offset_layers.",
                "combined_feat_layers.",
                "dcn_",
                "sup_agg_block.",
                "init_feature_agg_block.",
                "agg_final_layer.",
            ),
            "FAMI-Pose's temporal part",
        ),
    ),
)


@dataclass(frozen=True)
class _Said:
    """What a file says about its model beside the weights; None where it says nothing."""

    where: str
    keypoint_set: str | None
    input_hw: tuple[int, int] | None
    alignment: HeatmapAlignment | None


@dataclass(frozen=True)
class ConversionReport:
    """What became of the weights in a file, by their names in it; printed as a table.

    Attributes:
        family: The project and its network.
        matched: Taken.
        missing: Needed by the network, absent from the file.
        unexpected: In the file, explained by nothing, and not used.
        mismatched: Of another shape than the network needs, with both shapes.
        left_out: Parts that the project has beside its HRNet, not used.
        left_out_part: What `left_out` is.
        choices: What was decided about the model (what, value, where from).
    """

    family: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    left_out_part: str = ""
    choices: tuple[tuple[str, str, str], ...] = ()

    @property
    def faults(self) -> str:
        """What keeps the network from being whole; empty if nothing does."""
        found = (("missing", self.missing), ("of another shape", self.mismatched))
        return "; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in found if names)

    def __str__(self) -> str:
        rows = [("weights of", self.family), *((what, f"{value} ({where})") for what, value, where in self.choices)]
        rows.append(("matched", str(len(self.matched))))
        for what in ("missing", "unexpected", "mismatched"):
            names = getattr(self, what)
            rows.append((what, f"{len(names)}: {', '.join(names)}" if names else "0"))
        if self.left_out:
            rows.append(("left out", f"{len(self.left_out)}: {self.left_out_part}"))
        return "\n".join(f"{what:<11}{text}" for what, text in rows)


def read_foreign(
    path: Path,
    *,
    keypoint_set: str | None = None,
    input_hw: tuple[int, int] | None = None,
    heatmap_alignment: HeatmapAlignment | None = None,
) -> tuple[JMPose, ConversionReport]:
    """Read HRNet-W32 or W48 from a `.pth` of HRNet-pose, MMPose, DCPose or FAMI-Pose, and build JM-Pose on it.

    The temporal part is untrained, the same at every call, and starts as the identity: the model gives the file's own
    single-frame heatmaps. Only tensors and plain values are unpickled; code in a file is never run.

    Args:
        path: The file; it may hold the weights alone or a whole checkpoint.
        keypoint_set: Name of the joints of the heatmap channels; None takes what the file says.
        input_hw: Height and width of the input, pixels; None takes what the file says or is usual for the width.
        heatmap_alignment: See `Preprocess`; None takes `origins`, as these projects train, or `corners` where the
            file says that it was trained with UDP.

    Returns:
        The model in eval mode on the CPU, and what became of the file's weights.

    Raises:
        WeightsError: The file is missing, damaged or of no known project, wants to run code, lacks weights, or does
            not say what its joints are.
        ConfigError: `input_hw` is impossible.
    """
    state, text = _read(path)
    family = _recognise(path, state)
    width, joints = len(state[family.body + _MARK]), len(state[f"{family.head}weight"])
    if width not in _WIDTHS:
        known = ", ".join(f"W{w}" for w in _WIDTHS)
        raise WeightsError(f"{path} holds an HRNet-W{width} of {family.name}", f"known are HRNet-{known}")
    base = CONFIGS[_WIDTHS[width]]
    stored, named = _said_by_configuration(text), _said_by_name(path.stem)
    keypoints = _known(
        (keypoint_set, "given"),
        (stored.keypoint_set, stored.where),
        (named.keypoint_set, named.where),
        (family.keypoint_set, f"usual for {family.name}"),
    )
    _check_keypoint_set(path, *keypoints, joints=joints)
    size = _known(
        (input_hw, "given"),
        (stored.input_hw, stored.where),
        (named.input_hw, named.where),
        ((base.preprocess.input_height, base.preprocess.input_width), f"usual for W{width}"),
    )
    alignment: tuple[HeatmapAlignment, str] = _known(
        (heatmap_alignment, "given"),
        (stored.alignment, stored.where),
        (named.alignment, named.where),
        ("origins", f"usual for {family.name}"),
    )
    config = _config(base, path.stem, keypoints[0], size[0], alignment[0])
    with torch.device("meta"):
        backbone = HRNetBackbone(config.backbone.timm_name, joints=joints)
    wanted = {_foreign_name(family, name): tensor for name, tensor in backbone.state_dict().items()}
    report = replace(
        _compare(state, wanted, family, network=f"HRNet-W{width}"),
        choices=(
            ("joints", f"{joints}, {keypoints[0]}", keypoints[1]),
            ("input", f"{size[0][0]}x{size[0][1]}", size[1]),
            ("alignment", *alignment),
        ),
    )
    if report.faults:
        raise WeightsError(
            f"{path} does not hold a whole {report.family}: {report.faults}", "copy or download the file again"
        )
    own = {name: _tensor(state, _foreign_name(family, name)) for name in backbone.state_dict()}
    fill(backbone, own)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return assemble(backbone, config).eval(), report


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the named tensors of a file, and the text of the configuration stored beside them, if any."""
    if not path.is_file():
        raise WeightsError(f"{path} does not exist", "a .pth file of HRNet-pose, MMPose, DCPose or FAMI-Pose")
    try:
        with torch.serialization.safe_globals(_numpy_values()):
            content = load_plain(path)
    except Exception as error:  # damaged pickles fail in every way there is
        asked_for = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked_for:
            raise WeightsError(
                f"{path} is not weights alone: unpickling it would call {asked_for[1]}",
                "refused; if you trust the file, save its state_dict alone by the project that made it",
            ) from error
        said = " ".join(str(error).split())
        exact = re.search(r"WeightsUnpickler error: (.+?)(?: Check the|\.|$)", said)
        if said.startswith("Weights only load failed"):  # a page on versions of PyTorch, with the reason inside
            said = exact[1] if exact else "its pickle cannot be read"
        reason = said[:120] or type(error).__name__
        raise WeightsError(
            f"{path} is damaged or no PyTorch file ({reason})", "copy or download the file again"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path} holds {_described(state)}, no named weights", "a file with a state_dict")
    others = [str(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise WeightsError(f"{path} holds things that are not weights: {_first(others)}", "a file with a state_dict")
    # DataParallel puts this before every name.
    bare = all(name.startswith("module.") for name in state)
    tensors = {name.removeprefix("module.") if bare else name: value for name, value in state.items()}
    return tensors, _stored_text(content.get("meta"))


def _numpy_values() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What arrays and numbers of numpy 1 and 2 are pickled with, as in MMPose's metadata; none of it runs code."""
    makers: tuple[Any, ...] = (np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0])
    places = [(f, f"{home}.multiarray.{f.__name__}") for f in makers for home in ("numpy.core", "numpy._core")]
    return [*places, np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}]


def _stored_text(meta: object) -> str:
    """The configuration that MMPose stores: text, and the name of the data set in version 1."""
    if not isinstance(meta, Mapping):
        return ""
    data = meta.get("dataset_meta")
    name = f"dataset_name={data['dataset_name']}" if isinstance(data, Mapping) and "dataset_name" in data else ""
    return "\n".join(str(text) for text in (name, meta.get("config", ""), meta.get("cfg", "")) if text)


def _described(value: object) -> str:
    return "nothing" if value is None or value == {} else f"a {type(value).__name__}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def _recognise(path: Path, state: Mapping[str, Tensor]) -> _Family:
    for family in _FAMILIES:
        marks = (state.get(family.body + _MARK), state.get(f"{family.head}weight"))
        if all(mark is not None and mark.ndim == 4 for mark in marks):
            return family
    raise WeightsError(
        f"{path} is of no known project: its first weights are {_first(list(state))}",
        f"known are HRNet-W32 and W48 for pose of {', '.join(family.name for family in _FAMILIES)}",
    )


def _foreign_name(family: _Family, name: str) -> str:
    """The project's name of a weight of `HRNetBackbone`."""
    part, _, rest = name.partition(".")
    return {"body": family.body, "heatmap_head": family.head}[part] + rest


def _compare(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], family: _Family, *, network: str
) -> ConversionReport:
    """Sort the file's weights; counters of batches are not needed, so they are never missing."""
    shared = [name for name in wanted if name in state]
    differing = [name for name in shared if state[name].shape != wanted[name].shape]
    others = [name for name in state if name not in wanted]
    prefixes, part = family.besides
    return ConversionReport(
        family=f"{network} of {family.name}",
        matched=tuple(name for name in shared if name not in differing),
        missing=tuple(name for name in wanted if name not in state and not name.endswith(_COUNTER)),
        unexpected=tuple(name for name in others if not name.startswith(prefixes)),
        mismatched=tuple(f"{name} {list(state[name].shape)} for {list(wanted[name].shape)}" for name in differing),
        left_out=tuple(name for name in others if name.startswith(prefixes)),
        left_out_part=part,
    )


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    return state[name] if name in state else torch.tensor(0)


def _config(
    base: ModelConfig, name: str, keypoint_set: str, input_hw: tuple[int, int], alignment: HeatmapAlignment
) -> ModelConfig:
    """`base` for other joints and another input; these projects scale sigma with the heatmap."""
    window = base.preprocess
    return replace(
        base,
        name=name,
        preprocess=replace(
            window,
            input_height=input_hw[0],
            input_width=input_hw[1],
            keypoint_set=keypoint_set,
            heatmap_sigma=window.heatmap_sigma * input_hw[0] / window.input_height,
            heatmap_alignment=alignment,
        ),
    )


def _check_keypoint_set(path: Path, name: str | None, where: str, *, joints: int) -> None:
    fitting = " or ".join(known for known, joint_set in KEYPOINT_SETS.items() if len(joint_set) == joints)
    hint = f"say which keypoint set it is: {fitting}" if fitting else "no keypoint set has so many joints"
    if name is None:
        raise WeightsError(f"{path} has {joints} joints and does not say which", hint)
    if name not in KEYPOINT_SETS:
        raise WeightsError(f"keypoint set {name!r} is unknown", hint)
    if len(KEYPOINT_SETS[name]) != joints:
        raise WeightsError(f"{path} has {joints} joints, {name} ({where}) has {len(KEYPOINT_SETS[name])}", hint)


def _known(*choices: tuple[T | None, str]) -> tuple[T, str]:
    """Return the first value that is known, with where it comes from; the last one counts as known."""
    return next((choice for choice in choices[:-1] if choice[0] is not None), choices[-1])  # type: ignore[return-value]


def _said_by_configuration(text: str) -> _Said:
    """Read MMPose's configurations: data sets are classes, sizes have the width first."""
    keypoint_set = None
    if re.search(r"PoseTrack18(Video)?Dataset|^dataset_name=posetrack18$", text, re.MULTILINE):
        keypoint_set = "posetrack18"
    elif re.search(r"\b(TopDown)?CocoDataset|^dataset_name=coco$", text, re.MULTILINE):
        keypoint_set = "coco17"
    size = re.search(r"\b(?:image_size|input_size)\s*=\s*[\[(]\s*(\d+)\s*,\s*(\d+)", text)
    return _Said(
        "said by its configuration",
        keypoint_set,
        (int(size[2]), int(size[1])) if size else None,
        "corners" if re.search(r"use_udp\s*=\s*True|UDPHeatmap", text) else None,
    )


def _said_by_name(stem: str) -> _Said:
    """Read the names of published files, such as `hrnet_w48_coco_384x288_udp`: sizes have the height first."""
    keypoint_set = None
    if re.search(r"posetrack1[78]", stem):
        keypoint_set = "posetrack18"
    elif re.search(r"(?<![a-z])coco(?![a-z])", stem):
        keypoint_set = "coco17"
    size = re.search(r"(?<!\d)(\d{3})x(\d{3})(?!\d)", stem)
    return _Said(
        "said by its name",
        keypoint_set,
        (int(size[1]), int(size[2])) if size else None,
        "corners" if re.search(r"(?<![a-z])udp(?![a-z])", stem) else None,
    )
