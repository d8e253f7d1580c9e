"""HRNet and ViTPose weights of other projects: recognised by their names, checked, and put into a JM-Pose.

timm's HRNet computes what the official one does, layer by layer and under the same names; the projects differ in the
prefixes of body and head, and in what else lies in the file. A ViTPose has other names here: see `foreign_vit`. What a
file cannot say by its weights (joints, input size, alignment of the heatmaps) is taken from the configuration stored
in it, from its name, or from what its project usually does, and the report says from where.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from jmpose.backbones import Backbone
from jmpose.build import assemble, build_backbone
from jmpose.config import HeatmapAlignment, ModelConfig
from jmpose.errors import WeightsError
from jmpose.foreign_vit import NORM_EPS, POSITIONS, Source, body_source, stored_grid
from jmpose.keypoints import KEYPOINT_SETS
from jmpose.network import JMPose
from jmpose.presets import CONFIGS
from jmpose.state import fill
from jmpose.torch_files import load_plain
from jmpose.vitpose import PATCH

_COUNTER = ".num_batches_tracked"
T = TypeVar("T")


@dataclass(frozen=True)
class _Architecture:
    """A kind of network.

    Attributes:
        name: What it is called, but for its width.
        mark: A layer that only a whole one has; its first axis is the width.
        configs: Name of the configuration for each width.
    """

    name: str
    mark: str
    configs: dict[int, str]


_HRNET = _Architecture("HRNet-W", "stage4.0.branches.0.0.conv1.weight", {32: "hrnet-w32", 48: "hrnet-w48"})
_VIT = _Architecture(
    "ViT-W",
    "patch_embed.projection.weight",
    {384: "vitpose-s", 768: "vitpose-b", 1024: "vitpose-l", 1280: "vitpose-h"},
)


@dataclass(frozen=True)
class _Family:
    """How a project names the parts of its network.

    Attributes:
        name: The project.
        body: Prefix of the body's layers.
        head: Prefix of the last layer.
        keypoint_set: Joints of its published weights; None where there are several.
        besides: What it has beside them, and the prefixes of that.
        architecture: The kind of network.
        decoder: Prefix of what is between body and head, of a ViTPose.
        copies: Prefixes under which weights are stored again, and those that they have above.
        input_hw: Usual input; None takes that of the width.
    """

    name: str
    body: str
    head: str
    keypoint_set: str | None
    besides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    architecture: _Architecture = _HRNET
    decoder: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    input_hw: tuple[int, int] | None = None


_FAMILIES = (
    _Family("HRNet-pose", "", "final_layer.", "coco17"),
    _Family("MMPose 0.x", "backbone.", "keypoint_head.final_layer.", None),
    _Family(
        "MMPose 1.x", "backbone.", "head.final_layer.", None, {"the input's mean and std": ("data_preprocessor.",)}
    ),
    _Family(
        "DCPose",
        "rough_pose_estimation_net.",
        "rough_pose_estimation_net.final_layer.",
        "posetrack18",
        {
            "DCPose's temporal part": (
                "diff_temporal_fuse.",
                "support_temporal_fuse.",
                "offset_mask_combine_conv.",
                "offsets_list.",
                "masks_list.",
                "modulated_deform_conv_list.",
            )
        },
    ),
    _Family(
        "FAMI-Pose",
        "hrnet.",
        "hrnet.final_layer.",
        "posetrack18",
        {
            "FAMI-Pose's temporal part": (
                "feat_global_offset_layers.",
                "combined_feat_layers.",
                "dcn_",
                "sup_agg_block.",
                "init_feature_agg_block.",
                "agg_final_layer.",
            )
        },
    ),
    _Family(
        "TAR-ViTPose",
        "backbone.",
        "heatmap_head.1.",
        "posetrack18",
        {
            "its joint-centric temporal aggregation": (
                "query_feat.",
                "query_pe.",
                "masked_attention_layers.",
                "self_attention_layers.",
                "ffn_layers.",
            ),
            "its global restoring attention": ("cross_attention.",),
            "the input's mean and std": ("model.data_preprocessor.",),
        },
        _VIT,
        decoder="heatmap_head.0.",
        # The ViTPose that it starts from stays in the file, as MMPose names it, and shares all weights.
        copies={
            "model.backbone.": "backbone.",
            "model.head.deconv_layers.": "heatmap_head.0.",
            "model.head.final_layer.": "heatmap_head.1.",
        },
        input_hw=(384, 288),
    ),
)


_PROJECTS = ", ".join(family.name for family in _FAMILIES)


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
        mismatched: Of another shape or type of number than the network needs, with both.
        left_out: Parts that the project has beside its single-frame network, not used: what, and the names.
        choices: What was decided about the model (what, value, where from).
    """

    family: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()
    choices: tuple[tuple[str, str, str], ...] = ()

    @property
    def faults(self) -> str:
        """What keeps the network from being whole; empty if nothing does."""
        found = (("missing", self.missing), ("of another shape or type", self.mismatched))
        return "; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in found if names)

    def __str__(self) -> str:
        rows = [("weights of", self.family), *((what, f"{value} ({where})") for what, value, where in self.choices)]
        rows.append(("matched", str(len(self.matched))))
        for what in ("missing", "unexpected", "mismatched"):
            names = getattr(self, what)
            rows.append((what, f"{len(names)}: {', '.join(names)}" if names else "0"))
        rows += [("left out", f"{len(names)}: {part}") for part, names in self.left_out]
        return "\n".join(f"{what:<11}{text}" for what, text in rows)


def read_foreign(
    path: Path,
    *,
    keypoint_set: str | None = None,
    input_hw: tuple[int, int] | None = None,
    heatmap_alignment: HeatmapAlignment | None = None,
) -> tuple[JMPose, ConversionReport]:
    """Read the network of a `.pth` of another project, and build JM-Pose on it.

    HRNet-W32 and W48 of HRNet-pose, MMPose, DCPose and FAMI-Pose; the ViTPose in a TAR-ViTPose, of any of its sizes.

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
    width, joints = len(state[family.body + family.architecture.mark]), len(state[f"{family.head}weight"])
    kind, configs = family.architecture.name, family.architecture.configs
    if width not in configs:
        known = ", ".join(f"{kind}{known}" for known in configs)
        raise WeightsError(f"{path} holds {kind}{width} of {family.name}", f"known are {known}")
    base = CONFIGS[configs[width]]
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
        (family.input_hw, f"usual for {family.name}"),
        ((base.preprocess.input_height, base.preprocess.input_width), f"usual for {kind}{width}"),
    )
    alignment: tuple[HeatmapAlignment, str] = _known(
        (heatmap_alignment, "given"),
        (stored.alignment, stored.where),
        (named.alignment, named.where),
        ("origins", f"usual for {family.name}"),
    )
    config = _config(base, path.stem, keypoints[0], size[0], alignment[0])
    with torch.device("meta"):
        backbone = build_backbone(config)
    sources = _sources(family, state, backbone, input_hw=size[0])
    report = replace(
        _compare(state, {source.name: source.like for source in sources.values()}, family, network=f"{kind}{width}"),
        choices=(
            ("joints", f"{joints}, {keypoints[0]}", keypoints[1]),
            ("input", f"{size[0][0]}x{size[0][1]}", size[1]),
            ("alignment", *alignment),
            *_resized(family, state, size[0]),
        ),
    )
    if report.faults:
        raise WeightsError(
            f"{path} does not hold a whole {report.family}: {report.faults}", "copy or download the file again"
        )
    further = [name for name in report.unexpected if family.architecture is _VIT and name.startswith(family.body)]
    if further:
        raise WeightsError(
            f"{path}: its transformer has what no {report.family} has: {_first(further)}",
            "known are those of ViTPose-S, B, L and H, without class token",
        )
    fill(backbone, {name: _tensor(state, source) for name, source in sources.items()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return assemble(backbone, config).eval(), report


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the named tensors of a file, and the text of the configuration stored beside them, if any."""
    if not path.is_file():
        raise WeightsError(f"{path} does not exist", f"a file of {_PROJECTS}")
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
    whole = content if isinstance(content, Mapping) else {}
    state = next((whole[key] for key in ("state_dict", "model_state_dict") if key in whole), content)
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path} holds {_described(state)}, no named weights", "a file with a state_dict")
    others = [str(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise WeightsError(f"{path} holds things that are not weights: {_first(others)}", "a file with a state_dict")
    # DataParallel puts this before every name.
    bare = all(name.startswith("module.") for name in state)
    tensors = {name.removeprefix("module.") if bare else name: value for name, value in state.items()}
    return tensors, _stored_text(whole.get("meta"))


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
        marks = (state.get(family.body + family.architecture.mark), state.get(f"{family.head}weight"))
        if all(mark is not None and mark.ndim == 4 for mark in marks):
            return family
    raise WeightsError(
        f"{path} is of no known project: its first weights are {_first(list(state))}",
        f"known are pose networks of {_PROJECTS}",
    )


def _sources(
    family: _Family, state: Mapping[str, Tensor], backbone: Backbone, *, input_hw: tuple[int, int]
) -> dict[str, Source]:
    """Tell for each weight of the backbone where it comes from."""
    places = {"body": family.body, "decoder": family.decoder, "heatmap_head": family.head}
    sources = {}
    for name, weight in backbone.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "body" and family.architecture is _VIT:
            sources[name] = body_source(rest, weight, family.body, state, input_hw=input_hw)
        else:
            sources[name] = Source(places[part] + rest, weight)
    return sources


def _resized(
    family: _Family, state: Mapping[str, Tensor], input_hw: tuple[int, int]
) -> tuple[tuple[str, str, str], ...]:
    """Say that position embeddings are of another input than that of the model; nothing if they are not."""
    if family.architecture is not _VIT:
        return ()
    wanted = (input_hw[0] // PATCH, input_hw[1] // PATCH)
    grid = stored_grid(state.get(family.body + POSITIONS), wanted)
    text = f"for {wanted[0]}x{wanted[1]} patches from {grid[0]}x{grid[1]}"
    return (("positions", text, "bicubic, as its project does at every call"),) if grid != wanted else ()


def _compare(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], family: _Family, *, network: str
) -> ConversionReport:
    """Sort the file's weights; counters of batches are not needed, so they are never missing."""
    shared = [name for name in wanted if name in state]
    differing = {name: _difference(state[name], wanted[name]) for name in shared}
    others = {name: _left_out(name, state, family) for name in state if name not in wanted}
    return ConversionReport(
        family=f"{network} of {family.name}",
        matched=tuple(name for name in shared if not differing[name]),
        missing=tuple(name for name in wanted if name not in state and not name.endswith(_COUNTER)),
        unexpected=tuple(name for name, part in others.items() if part is None),
        mismatched=tuple(f"{name} {what}" for name, what in differing.items() if what),
        left_out=tuple(
            (part, tuple(name for name in others if others[name] == part))
            for part in dict.fromkeys(part for part in others.values() if part is not None)
        ),
    )


def _difference(stored: Tensor, like: Tensor) -> str:
    """Say how a stored tensor differs in form from what it should be; empty if it does not."""
    if stored.shape != like.shape:
        return f"{list(stored.shape)} for {list(like.shape)}"
    if stored.is_floating_point() != like.is_floating_point():
        return f"{stored.dtype} for {like.dtype}"
    return ""


def _left_out(name: str, state: Mapping[str, Tensor], family: _Family) -> str | None:
    """Say what an unused tensor is; None for what is not known."""
    for prefix, original in family.copies.items():
        first = original + name.removeprefix(prefix)
        if name.startswith(prefix) and first in state and torch.equal(state[name], state[first]):
            return "the same weights again, by other names"
    return next((part for part, prefixes in family.besides.items() if name.startswith(prefixes)), None)


def _tensor(state: Mapping[str, Tensor], source: Source) -> Tensor:
    return source.take(state[source.name]) if source.name in state else torch.tensor(0)


def _config(
    base: ModelConfig, name: str, keypoint_set: str, input_hw: tuple[int, int], alignment: HeatmapAlignment
) -> ModelConfig:
    """`base` for other joints and another input; these projects scale sigma with the heatmap."""
    window, vit = base.preprocess, base.backbone.vit
    return replace(
        base,
        name=name,
        backbone=replace(base.backbone, vit=replace(vit, norm_eps=NORM_EPS)) if vit else base.backbone,
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
