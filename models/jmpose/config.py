"""What builds a model and what its inputs look like: frozen values that travel with the weights."""

import difflib
import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jmpose.errors import ConfigError
from jmpose.keypoints import KEYPOINT_SETS, KeypointSet

STRIDE = 4
# Both input sides divide by it: a ViT has patches of that side, and pyramids meet again at stride 4.
INPUT_MULTIPLE = 16
COARSE_MULTIPLE = 32  # of an HRNet, whose branches are scaled by whole factors, and of MoveNet
MOVENET_CHANNELS = 24
CLASSIC_DECODER_CHANNELS = 256
# Far above what any model has: what a file says of sizes is built only within them.
MAX_INPUT_SIDE, MAX_CHANNELS, MAX_FRAMES, MAX_OFFSET = 2048, 8192, 65, 10_000
_MAX_BLOCKS, _MAX_LAYERS, _MAX_DILATION, _MAX_FLOAT = 64, 256, 64, 1e9
_MIN_SCALE, _MAX_WEIGHT, _MAX_PEOPLE = 1e-3, 1e3, 10**9
_WIDTHS = "0.25 to 4 for a movenet, else none"
# Settings that files of version 0.1 have, each with the value that all networks now are built by.
_FORMER_SWITCHES: Mapping[str, bool] = {"joint_offsets": True, "identity_start": True}
HeatmapAlignment = Literal["edges", "corners", "origins"]
HeatmapError = Literal["squared", "cross-entropy"]
"""What a heatmap's loss sums over pixels, see `losses.heatmap_loss`."""
T = TypeVar("T")


def _require(condition: bool, message: str, hint: str = "") -> None:
    if not condition:
        raise ConfigError(message, hint)


def _require_bounded(values: object, limits: Mapping[str, int], *, of: str = "") -> None:
    """Make sure that whole numbers are such and none is above its limit, and that the other numbers are finite."""
    for name, most in limits.items():
        value = getattr(values, name)
        _require(type(value) is int and value <= most, f"{of}{name} is {reprlib.repr(value)}", f"at most {most}")
    for field in fields(values):  # type: ignore[arg-type]
        value = getattr(values, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float):
                finite = math.isfinite(number) and abs(number) <= _MAX_FLOAT
                _require(finite, f"{of}{field.name} is {number}", f"at most {_MAX_FLOAT:.0f}")


@dataclass(frozen=True)
class Preprocess:
    """How frames become network inputs, the same in training, evaluation and inference.

    Attributes:
        input_height: H of a crop, pixels, a multiple of 16; of 32 with an HRNet or MoveNet.
        input_width: W of a crop, pixels, a multiple of 16; of 32 with an HRNet or MoveNet.
        keypoint_set: Name of the joints that the heatmap channels stand for.
        heatmap_sigma: Standard deviation of a target Gaussian, heatmap pixels.
        window_offsets: Frames of a window relative to the key frame, ascending, with 0 inside, counted at
            `reference_fps`; at other rates the spacing in frames is scaled so that the times stay the same.
        reference_fps: Frame rate that `window_offsets` is meant for.
        max_support_gap_s: A support frame further than this from the key frame counts as missing.
        box_padding: Factor on the box before it is cut out; more shows more surroundings.
        heatmap_alignment: What of crop and heatmap lies on each other: their outer `edges`, the centres of their
            `corners` pixels, as UDP trains (Huang et al., CVPR 2020; ViTPose does), or those of their first pixels
            only, the `origins`, as HRNet-pose and its relatives train. See `jmpose.targets`.
        mean: RGB mean on a 0..1 scale, subtracted.
        std: RGB standard deviation on a 0..1 scale, divided by.
    """

    input_height: int
    input_width: int
    keypoint_set: str
    heatmap_sigma: float
    window_offsets: tuple[int, ...]
    reference_fps: float = 30.0
    max_support_gap_s: float = 0.25
    box_padding: float = 1.25
    heatmap_alignment: HeatmapAlignment = "edges"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _require_bounded(self, {"input_height": MAX_INPUT_SIDE, "input_width": MAX_INPUT_SIDE})
        for name in ("input_height", "input_width"):
            side = getattr(self, name)
            _require(side > 0 and side % INPUT_MULTIPLE == 0, f"{name} is {side}", f"a multiple of {INPUT_MULTIPLE}")
        _require(
            self.keypoint_set in KEYPOINT_SETS,
            f"keypoint_set is {self.keypoint_set!r}",
            f"one of {', '.join(KEYPOINT_SETS)}",
        )
        offsets = self.window_offsets
        _require(
            list(offsets) == sorted(set(offsets)) and 0 in offsets and offsets[0] < 0 < offsets[-1],
            f"window_offsets is {reprlib.repr(list(offsets))}",
            "ascending, without repeats, 0 among them, at least one before and one after it",
        )
        _require(
            len(offsets) <= MAX_FRAMES and max(-offsets[0], offsets[-1]) <= MAX_OFFSET,
            f"window_offsets is {reprlib.repr(list(offsets))}",
            f"at most {MAX_FRAMES} frames, at most {MAX_OFFSET} from the key frame",
        )
        for name in ("heatmap_sigma", "reference_fps", "max_support_gap_s"):
            _require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}", "above 0")
        _require(self.box_padding >= 1, f"box_padding is {self.box_padding}", "1 or more")
        for name in ("mean", "std"):
            _require(len(getattr(self, name)) == 3, f"{name} has {len(getattr(self, name))} values", "R, G, B")
        _require(min(self.std) > 0, f"std is {list(self.std)}", "above 0")

    @property
    def frames(self) -> int:
        """T, frames in a window."""
        return len(self.window_offsets)

    @property
    def key_index(self) -> int:
        """Position of the key frame in the window."""
        return self.window_offsets.index(0)

    @property
    def keypoints(self) -> KeypointSet:
        """The joints of the heatmap channels."""
        return KEYPOINT_SETS[self.keypoint_set]

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(h, w) of a heatmap."""
        return self.input_height // STRIDE, self.input_width // STRIDE

    def sigma_at(self, heatmap_height: int) -> float:
        """Standard deviation of a target Gaussian for crops of another size: the same share of the crop."""
        return self.heatmap_sigma * heatmap_height / self.heatmap_size[0]


@dataclass(frozen=True)
class Calibration:
    """What a model's heatmaps tell of its errors, measured on people whom its training did not see.

    The log-odds that a joint lies within 0.1 of the body size, the root of the box's area, are
    `intercept + score_weight * logit(score) + sigma_weight * log(sigma / body size)`; sigma squared is the root of the
    determinant of the joint's covariance.

    Attributes:
        covariance_scale: Factor on the covariances of the heatmaps (`heatmap_covariances`), above 0.
        intercept: See above.
        score_weight: 0 or more.
        sigma_weight: 0 or less.
        people: People that it was measured on, 1 or more.
    """

    covariance_scale: float
    intercept: float
    score_weight: float
    sigma_weight: float
    people: int

    def __post_init__(self) -> None:
        _require_bounded(self, {"people": _MAX_PEOPLE}, of="calibration ")
        for name, low, high in (
            ("covariance_scale", _MIN_SCALE, _MAX_WEIGHT),
            ("intercept", -_MAX_WEIGHT, _MAX_WEIGHT),
            ("score_weight", 0, _MAX_WEIGHT),
            ("sigma_weight", -_MAX_WEIGHT, 0),
            ("people", 1, _MAX_PEOPLE),
        ):
            value = getattr(self, name)
            _require(low <= value <= high, f"calibration {name} is {value}", f"{low:g} to {high:g}")


@dataclass(frozen=True)
class ViTSpec:
    """The transformer and the decoder of a ViTPose; its patches have 16x16 pixels.

    Attributes:
        width: Channels of a token.
        layers: Transformer layers.
        heads: Attention heads, a divisor of `width`.
        mlp_ratio: Inner width of the MLPs, in token widths.
        decoder: `classic`, two deconvolutions to stride 4 and a 1x1 layer, or `simple`, bilinear upsampling to
            stride 4 and a 3x3 layer.
        qkv_bias: Whether queries, keys and values have a bias.
        norm_eps: What the layer norms add to the variance.
    """

    width: int
    layers: int
    heads: int
    mlp_ratio: int = 4
    decoder: Literal["classic", "simple"] = "classic"
    qkv_bias: bool = True
    norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        limits = {"width": MAX_CHANNELS, "layers": _MAX_LAYERS, "heads": MAX_CHANNELS, "mlp_ratio": _MAX_BLOCKS}
        _require_bounded(self, limits, of="vit ")
        for name in ("width", "layers", "heads", "mlp_ratio"):
            _require(getattr(self, name) > 0, f"vit {name} is {getattr(self, name)}", "above 0")
        _require(self.width % self.heads == 0, f"vit heads is {self.heads}", f"a divisor of width {self.width}")
        _require(self.norm_eps > 0, f"vit norm_eps is {self.norm_eps}", "above 0")

    @property
    def channels(self) -> int:
        """Channels that the decoder's last layer reads."""
        return CLASSIC_DECODER_CHANNELS if self.decoder == "classic" else self.width

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ViTSpec":
        """Build from plain values as JSON gives them; ConfigError as `ModelConfig.from_dict`."""
        return _decode(cls, values, where="vit.")


@dataclass(frozen=True)
class BackboneSpec:
    """Which per-frame network.

    Attributes:
        kind: `pyramid`, a classification net with a top-down pyramid, `movenet`, MoveNet's own, `hrnet`, `vitpose`, or
            `absent` for a temporal part by itself.
        timm_name: Name of the body in timm; empty for `movenet`, `vitpose` and `absent`.
        channels: Channels of the stride-4 features; for `hrnet` it must be what timm's network has, for `vitpose`
            what the decoder has, for `movenet` 24.
        vit: Of a `vitpose`: its sizes; None otherwise.
        width: Of a `movenet`: factor on the channels of its MobileNetV2, 0.25 to 4; None otherwise.
    """

    kind: Literal["pyramid", "movenet", "hrnet", "vitpose", "absent"]
    timm_name: str
    channels: int
    vit: ViTSpec | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        _require_bounded(self, {"channels": MAX_CHANNELS}, of="backbone ")
        _require(self.channels > 0, f"backbone channels is {self.channels}", "above 0")
        if self.kind == "vitpose":
            _require(self.vit is not None, "a vitpose backbone without vit", "its sizes")
        _require(self.vit is None or self.kind == "vitpose", f"vit with a {self.kind} backbone", "kind = vitpose")
        if self.vit is not None:
            wanted = self.vit.channels
            _require(
                self.channels == wanted,
                f"backbone channels is {self.channels} with a {self.vit.decoder} decoder",
                f"channels = {wanted}",
            )
            _require(not self.timm_name, f"timm_name is {self.timm_name!r} with a vitpose backbone", "an empty one")
        _require(
            (self.width is not None) == (self.kind == "movenet"), f"width is {self.width} with {self.kind}", _WIDTHS
        )
        if self.width is not None:
            _require(0.25 <= self.width <= 4, f"backbone width is {self.width}", _WIDTHS)
            _require(self.channels == MOVENET_CHANNELS, f"backbone channels is {self.channels}", "24 for a movenet")
            _require(not self.timm_name, f"timm_name is {self.timm_name!r} with a movenet backbone", "an empty one")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that `build_model` and `build_loss` need; each ablation is a field.

    Attributes:
        name: Name of the configuration, also of its weights file.
        backbone: The per-frame network.
        preprocess: The inputs it expects.
        channels: C of motion flow and joint feature.
        head_channels: Inner width of the detection head.
        motion: False puts the key frame's features in place of the motion flow: time is in the heatmaps only.
        motion_source: What is subtracted between frames: the backbone's `features`, or those of a small network of
            its own on `pixels`, with which the temporal part needs only heatmaps from a backbone.
        pixel_channels: Channels of that small network.
        motion_stages: Backbone stages whose feature differences are used: the last, or all 4 of an HRNet.
        motion_blocks: Residual blocks on each side of the motion flow.
        joint_learner: False makes the joint feature an ordinary 3x3 convolution of the motion flow.
        offset_groups: G, channel groups with sampling positions of their own; divides `channels`.
        dilation: Spacing of the joint learner's 3x3 sampling positions, heatmap pixels.
        mutual_blocks: L, blocks of mutual learning, 0 to 4.
        heads: Attention heads of a mutual block; divides `channels` into 2 or more each.
        head_blocks: Residual blocks of the detection head, at least 1.
        head_context: What the head sees beside motion flow and joint feature: nothing more (the paper), or the
            window's initial heatmaps.
        identity_blocks: True starts joint learner and mutual blocks as identities, so that the head sees the plain
            motion flow until they have learnt something; False starts them at random.
        io_estimator: How the information-orthogonality loss is estimated; None leaves it out.
        io_weight: beta, its weight in the loss.
        calibration: How sure these weights are of joints; None: nobody measured it.
    """

    name: str
    backbone: BackboneSpec
    preprocess: Preprocess
    channels: int
    head_channels: int
    motion: bool = True
    motion_source: Literal["features", "pixels"] = "features"
    pixel_channels: int = 32
    motion_stages: Literal[1, 4] = 1
    motion_blocks: int = 1
    joint_learner: bool = True
    offset_groups: int = 4
    dilation: int = 1
    mutual_blocks: int = 2
    heads: int = 4
    head_blocks: int = 1
    head_context: Literal["none", "heatmaps"] = "none"
    identity_blocks: bool = False
    io_estimator: Literal["bounds"] | None = "bounds"
    io_weight: float = 0.01
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        limits = {
            "channels": MAX_CHANNELS,
            "head_channels": MAX_CHANNELS,
            "pixel_channels": MAX_CHANNELS,
            "motion_blocks": _MAX_BLOCKS,
            "head_blocks": _MAX_BLOCKS,
            "dilation": _MAX_DILATION,
        }
        _require_bounded(self, limits)
        for name, least in (
            ("channels", 1),
            ("head_channels", 1),
            ("motion_blocks", 0),
            ("dilation", 1),
            ("head_blocks", 1),
        ):
            _require(getattr(self, name) >= least, f"{name} is {getattr(self, name)}", f"{least} or more")
        for name, least in (("offset_groups", 1), ("heads", 2)):
            count = getattr(self, name)
            _require(
                count > 0 and self.channels % count == 0 and self.channels // count >= least,
                f"{name} is {count} with {self.channels} channels",
                f"a divisor of {self.channels}, at most {self.channels // least}",
            )
        window = self.preprocess
        _require(
            self.backbone.kind not in ("hrnet", "movenet")
            or not any(side % COARSE_MULTIPLE for side in (window.input_height, window.input_width)),
            f"a backbone of kind {self.backbone.kind} with an input of {window.input_height}x{window.input_width}",
            f"sides that are multiples of {COARSE_MULTIPLE}",
        )
        _require(0 <= self.mutual_blocks <= 4, f"mutual_blocks is {self.mutual_blocks}", "0 to 4")
        _require(self.io_weight >= 0, f"io_weight is {self.io_weight}", "0 or more")
        _require(
            self.motion_stages == 1 or self.backbone.kind == "hrnet",
            f"motion_stages is 4 with a {self.backbone.kind} backbone",
            "4 stages exist in an hrnet only",
        )
        _require(self.motion or self.motion_stages == 1, "motion_stages is 4 without motion", "motion_stages = 1")
        if self.motion_source == "pixels":
            _require(self.motion, "motion_source is 'pixels' without motion", "motion = true")
            _require(self.motion_stages == 1, "motion_source is 'pixels' with 4 stages", "motion_stages = 1")
            _require(
                self.pixel_channels >= 2 and self.pixel_channels % 2 == 0,
                f"pixel_channels is {self.pixel_channels}",
                "an even number",
            )
        _require(
            self.io_estimator is None or self.mutual_blocks > 0,
            f"io_estimator is {self.io_estimator!r} without mutual blocks",
            "io_estimator = null, or at least one mutual block",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Build from plain values as JSON gives them.

        Raises:
            ConfigError: unknown key (the nearest is named), missing key, wrong type, impossible value; a switch of
                earlier versions that is not at the value which is now the only one.
        """
        if isinstance(values, Mapping):
            for name, only in _FORMER_SWITCHES.items():
                _require(
                    values.get(name, only) is only,
                    f"{name} is {reprlib.repr(values.get(name))}, which this version no longer has",
                    f"{name} = {str(only).lower()}, or leave it out",
                )
            values = {key: value for key, value in values.items() if key not in _FORMER_SWITCHES}
        return _decode(cls, values, where="")


def _decode(cls: type[T], values: Any, *, where: str) -> T:
    """Build dataclass `cls` from a mapping; `where` is the dotted path to it, for messages."""
    _require(
        isinstance(values, Mapping),
        f"{where.rstrip('.') or cls.__name__} is {reprlib.repr(values)}",
        "a mapping of settings",
    )
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(str(key)[:60], hints, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"unknown setting {where}{str(key)[:60]}; the nearest is {where}{near}", f"known: {', '.join(hints)}"
            )
    given = {key: _decode_value(hints[key], value, where=f"{where}{key}") for key, value in values.items()}
    required = [f.name for f in fields(cls) if f.default is MISSING]  # type: ignore[arg-type]
    missing = [f"{where}{name}" for name in required if name not in given]
    _require(not missing, f"missing setting {', '.join(missing)}")
    return cls(**given)


def _decode_value(hint: Any, value: Any, *, where: str) -> Any:
    """Check `value` against a field's type; lists become tuples, whole floats stay floats."""
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (h for h in get_args(hint) if h is not type(None))
    if is_dataclass(hint):
        return _decode(hint, value, where=f"{where}.")  # type: ignore[arg-type]
    if get_origin(hint) is Literal:
        allowed = get_args(hint)
        known = any(value == a and type(value) is type(a) for a in allowed)
        _require(known, f"{where} is {reprlib.repr(value)}", f"one of {', '.join(map(repr, allowed))}")
        return value
    if get_origin(hint) is tuple:
        _require(isinstance(value, list | tuple), f"{where} is {reprlib.repr(value)}", "a list")
        return tuple(_decode_value(get_args(hint)[0], v, where=f"{where}[{i}]") for i, v in enumerate(value))
    if hint is float and type(value) is int and abs(value) <= _MAX_FLOAT:
        value = float(value)
    _require(type(value) is hint, f"{where} is {reprlib.repr(value)}", f"of type {hint.__name__}")
    return value
