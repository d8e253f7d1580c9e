"""Settings of a run: defaults, a YAML file, `--set a.b=c`, then the options on the command line."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jmpose.keypoints import KEYPOINT_SETS, KeypointSet
from jmpose.regular_file import read_regular
from jmpose_cli.choices import Decoder, Engine, Labels, Precision
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.text_file import utf8_of
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.video.picture_size import MOST_MEGAPIXELS
from jmpose_cli.yaml_text import parse_yaml

_LONGEST_SHOWN = 100
Settings = TypeVar("Settings", bound=BaseModel)
NO_EFFECT = "no effect on results"
"""Mark of a setting, in `Annotated`: equal runs may differ in it."""
LARGEST_WHOLE = 2**53
"""Largest whole number in settings: that which every reader of JSON keeps."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _split_range(given: object) -> object:
    """Read `A:B`, either side of which may be empty."""
    if not isinstance(given, str):
        return given
    first, colon, last = given.partition(":")
    if not colon:
        raise ValueError("write it as A:B; A or B may be left out")
    return (first.strip() or None, last.strip() or None)


def _known_set(given: str | None) -> str | None:
    if given is not None and given not in KEYPOINT_SETS:
        raise ValueError(f"allowed: {', '.join(KEYPOINT_SETS)}")
    return given


def _known_format(given: str) -> str:
    if (name := given.strip()) not in FORMATS:
        raise ValueError(f"allowed: {', '.join(FORMATS)}")
    return name


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


_FrameRange = Annotated[tuple[int | None, int | None] | None, BeforeValidator(_split_range)]
_TimeRange = Annotated[tuple[float | None, float | None] | None, BeforeValidator(_split_range)]

_KeypointSetName = Annotated[str | None, AfterValidator(_known_set)]
_FormatName = Annotated[str, AfterValidator(_known_format)]


class DecodeConfig(_Section):
    """Which frames of a video are read, and by what."""

    decoder: Decoder = "auto"
    frames: _FrameRange = Field(None, description="Frame numbers A:B, half open, from 0.")
    time: _TimeRange = Field(None, description="Seconds A:B from the first frame, half open.")
    fps: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        validation_alias=AliasChoices("fps", "image_fps"),  # the second is its former name
        description="Frames per second of image folders and of files without timestamps; None: 25, and a note.",
    )
    stream: int | None = Field(
        None, ge=1, description="Which video stream of a file, from 1; None: the default one, else the largest."
    )
    stall_timeout_s: Annotated[float, NO_EFFECT] = Field(
        20.0, gt=0, description="A decoder silent for this long is stopped."
    )
    max_megapixels: Annotated[float, NO_EFFECT] = Field(
        MOST_MEGAPIXELS, gt=0, description="Larger frames are refused before they are decoded; a million pixels: 70 MB."
    )


class PeopleConfig(_Section):
    """Who is where: detection and tracking."""

    detector: str = "auto"
    boxes: Path | None = Field(None, description="Own boxes instead of a detector.")
    detect_every: int = Field(1, ge=1, description="Frames between detections; between them boxes are interpolated.")
    reid: str = Field("reid-nano", description="Network of appearance: reid-nano, none, or a file.")
    stitch: bool | None = Field(
        None, description="Say at the end which tracks are one person. None: unless ids come with own boxes."
    )
    min_box_score: float | None = Field(
        None, gt=0, lt=1, description="Score that starts a track; higher: fewer false people. None: the detector's own."
    )
    keep_box_score: float = Field(0.1, gt=0, lt=1, description="Score that is enough to continue a track.")
    same_pose_oks: float = Field(
        0.7, gt=0, le=1, description="Of people found with poses more alike than this, one is kept; 1 keeps all."
    )
    max_people: int | None = Field(
        None, ge=1, description="Keep at most so many people in a frame: the largest for longest."
    )
    input_size: int | None = Field(None, ge=64, le=4096, description="Detector input in pixels; None: as trained.")
    lost_after_s: float = Field(
        2.0, gt=0, description="Seconds for which a lost person is remembered, in slow videos for 3 looks."
    )
    heights_per_s: float = Field(
        0.7, ge=0, le=100, description="Body heights that people move in a second while nobody sees them."
    )
    max_gap_s: float = Field(
        0.5, ge=0, description="Longest gap of a track that is filled by interpolation; slow videos: up to twice that."
    )


class PoseConfig(_Section):
    """The network and what is done with its heatmaps."""

    model: str = "auto"
    temporal: str = Field(
        "auto", description="auto: the shipped temporal part, for models without one; own: none but theirs; or a file."
    )
    batch: Annotated[int, NO_EFFECT] = Field(
        16, ge=1, le=4096, description="Person windows gathered for the network, which a GPU takes at once."
    )
    channels_last: bool | None = Field(
        None, description="Keep the backbone's maps pixel by pixel; None: on CPUs, where that is faster."
    )
    compile: bool = Field(False, description="Compile the network by torch.compile: slow to start, then faster.")
    shared_crops: bool = Field(
        False, description="Cut all frames of a window by the key frame's box, as the paper does: T times the work."
    )
    flip_test: bool = Field(False, description="Average with the mirrored window: better, half as fast.")
    smooth: bool = Field(False, description="Zero-phase low-pass filter along each track.")
    smooth_cutoff_hz: float = Field(6.0, gt=0, description="Lower is smoother; fast motion needs more.")


class OutputConfig(_Section):
    """What is written."""

    formats: Annotated[tuple[_FormatName, ...], AfterValidator(_each_once)] = ("coco", "posetrack18")
    keypoints: _KeypointSetName = Field(
        None, description="Keypoint set of the overlay and of all files but the truth; None: the model's own."
    )
    overlay: bool = True
    black_background: bool = False
    blur_faces: bool = False
    min_score: float = Field(0.2, ge=0, le=1, description="Joints below this score are not drawn.")
    labels: Labels = Field("id", description="What is written beside heads: id, score, both or none.")
    line_width: float = Field(1.0, gt=0, le=20, description="Factor of the widths of what is drawn.")
    faint_unsure: bool = Field(True, description="Draw joints faintly that are as likely off as on.")
    frame_time: bool = Field(False, description="Write the frame's number and time into the picture.")
    openpose_colours: bool = Field(False, description="Draw in the colours and limbs of OpenPose's COCO model.")
    overwrite: Annotated[bool, NO_EFFECT] = False

    @property
    def keypoint_set(self) -> KeypointSet | None:
        """The set asked for."""
        return KEYPOINT_SETS[self.keypoints] if self.keypoints else None


class RunConfig(_Section):
    """How the work is done; none of it changes a result."""

    offline: bool = Field(False, description="Fetch no models; HF_HUB_OFFLINE=1 does the same.")
    workers: int | None = Field(None, ge=0, description="Processes; 0: none but the program's own. None: one a device.")
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads of all networks together. None: one a core."
    )
    chunk_frames: int = Field(128, ge=1, le=100_000, description="Most frames between two commits; a crash loses them.")
    chunk_s: float = Field(10.0, gt=0, description="Most seconds between two commits.")
    fetch_timeout_s: float = Field(60.0, gt=0, description="A server silent for this long is given up.")
    fetch_limit_gb: float = Field(50.0, gt=0, description="Largest file that is fetched, in 10^9 bytes.")
    max_listed: int = Field(1_000_000, ge=1, description="Most files and folders that are looked through for videos.")
    hang_timeout_s: float = Field(600.0, gt=0, description="A worker silent for this long is stopped.")


class InferConfig(_Section):
    """Everything that `jmpose infer` can be told."""

    device: Annotated[str, NO_EFFECT] = "auto"
    precision: Precision = "fp32"
    engine: Engine = Field(
        "auto", description="onnx: shipped models on a CPU without torch; auto: where it can. On CUDA: docs/engines.md."
    )
    decode: DecodeConfig = DecodeConfig()
    people: PeopleConfig = PeopleConfig()
    pose: PoseConfig = PoseConfig()
    output: OutputConfig = OutputConfig()
    run: Annotated[RunConfig, NO_EFFECT] = RunConfig()

    def of_results(self) -> dict[str, Any]:
        """Return the settings that decide the results, ready for JSON: all but those marked `NO_EFFECT`."""
        return self.model_dump(mode="json", exclude=_without_effect(type(self)))


def _without_effect(model: type[BaseModel]) -> dict[str, Any]:
    """Return the settings marked `NO_EFFECT`, as `model_dump` takes them."""
    marked: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if NO_EFFECT in field.metadata:
            marked[name] = True
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            marked[name] = _without_effect(field.annotation)
    return marked


def build_config(*, file: Path | None, assignments: Sequence[str], options: Mapping[str, Any]) -> InferConfig:
    """Settings of `jmpose infer`; see `load_settings`."""
    return load_settings(InferConfig, file=file, assignments=assignments, options=options)


def load_settings(
    model: type[Settings],
    *,
    file: Path | None,
    assignments: Sequence[str],
    options: Mapping[str, Any],
    tree: dict[str, Any] | None = None,
) -> Settings:
    """Merge the sources of settings; later ones win.

    Args:
        model: What is built.
        file: YAML file with its structure, or None.
        tree: What to start from instead of a file.
        assignments: `a.b=c` strings, `c` read as YAML.
        options: Dotted key to value; None values were not given and are left out.

    Raises:
        JmposeError: An unreadable file, an unknown key (the nearest is named) or a value out of range.
    """
    tree = read_yaml(file) if file else tree or {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise JmposeError(f"--set {assignment}: no '='", hint="write it as --set people.detect_every=2")
        try:
            value = parse_yaml(text)
        except ValueError as error:
            raise JmposeError(f"--set {assignment[:200]}: the value cannot be read") from error
        _put(tree, key.strip(), value)
    for key, value in options.items():
        if value is not None:
            _put(tree, key, value)
    try:
        settings = model.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, model) from error
    for key, number in _whole_numbers(settings.model_dump()):
        if abs(number) > LARGEST_WHOLE:  # no JSON that is written of it would be read
            shown = f"about 10^{len(f'{abs(number):x}') * 12041 // 10000}"
            raise JmposeError(f"setting {key} is {shown}", hint=f"at most {LARGEST_WHOLE}")
    return settings


def _whole_numbers(tree: object, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield all whole numbers in nested settings, with their dotted keys."""
    if isinstance(tree, int):
        yield prefix, tree
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in inner:
        yield from _whole_numbers(value, f"{prefix}.{key}" if prefix else str(key))


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        JmposeError: It cannot be read, is in another encoding than UTF-8, or holds something else.
    """
    try:
        tree = parse_yaml(utf8_of(file, read_regular(file)).decode())
    except (OSError, ValueError) as error:
        raise JmposeError(f"--config {file}: cannot be read ({error})", hint="it must be a YAML file") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise JmposeError(f"--config {file}: holds no settings", hint="it must be 'section:' and 'key: value' lines")
    return tree


def _put(tree: dict[str, Any], dotted: str, value: object) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise JmposeError(f"{dotted}: {section!r} is a value, not a section")
        tree = inner
    tree[key] = value


def dotted_keys(model: type[BaseModel] = InferConfig, prefix: str = "") -> Iterator[str]:
    """Yield every setting as `section.key`."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _explain(error: ValidationError, model: type[BaseModel]) -> JmposeError:
    """Turn pydantic's first complaint into one sentence with a hint."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # settings that do not fit each other: the reason names them
        return JmposeError(reason)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, list(dotted_keys(model)), n=1, cutoff=0.3)
        return JmposeError(f"unknown setting {key!r}", hint=f"did you mean {near[0]!r}?" if near else "see --help")
    given = "" if isinstance(first["input"], dict | BaseModel) else f" = {_shortened(repr(first['input']))}"
    return JmposeError(f"setting {key}{given}: {reason[0].lower()}{reason[1:]}")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."
