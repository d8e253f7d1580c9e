"""Neutral values that travel between the stages: frames, boxes, poses. NumPy only."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Halves = NDArray[np.float16]
Times = NDArray[np.float64]
Ids = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]


def _check_shape(owner: str, name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `array` has `shape` (None = any size on that axis)."""
    same_rank = array.ndim == len(shape)
    if not same_rank or any(s not in (None, a) for s, a in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{owner}.{name} has shape {array.shape}, expected {shape}")


def _are_equal(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one is other or bool(one == other)


class _ShapeRepr:
    """Mixin: repr gives the shapes of arrays, not their values; equal are those with equal values, NaN included."""

    def __repr__(self) -> str:
        parts = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            shown = list(value.shape) if isinstance(value, np.ndarray) else repr(value)
            parts.append(f"{field.name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))  # type: ignore[arg-type]
        return all(_are_equal(*pair) for pair in pairs)

    __hash__ = None  # type: ignore[assignment]  # as arrays have none


@dataclass(frozen=True, repr=False, eq=False)
class FrameBatch(_ShapeRepr):
    """Consecutive frames of one video.

    Attributes:
        frames: `[T, H, W, 3]` uint8 RGB, turned upright.
        index: `[T]` frame number in the file, from 0.
        time_s: `[T]` presentation timestamp in seconds, on the container's clock.
    """

    frames: Bytes
    index: Ids
    time_s: Times

    def __post_init__(self) -> None:
        _check_shape("FrameBatch", "frames", self.frames, (None, None, None, 3))
        _check_shape("FrameBatch", "index", self.index, (len(self.frames),))
        _check_shape("FrameBatch", "time_s", self.time_s, (len(self.frames),))

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, repr=False, eq=False)
class Detections(_ShapeRepr):
    """People found in one frame.

    Attributes:
        boxes_xyxy_px: `[N, 4]` float32 corners in image pixels.
        scores: `[N]` float32 in 0..1.
    """

    boxes_xyxy_px: Float
    scores: Float

    def __post_init__(self) -> None:
        _check_shape("Detections", "boxes_xyxy_px", self.boxes_xyxy_px, (None, 4))
        _check_shape("Detections", "scores", self.scores, (len(self.boxes_xyxy_px),))

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)

    @classmethod
    def empty(cls) -> "Detections":
        """No people."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class CutState:
    """What the cut detector remembers of the frames before.

    Attributes:
        thumbnail: `[27, 48]` float32, the last frame's standardised grey thumbnail.
        histogram: `[512]` float32, its colour histogram.
        usual: Running mean of ordinary change.
    """

    thumbnail: Float
    histogram: Float
    usual: float


@dataclass(frozen=True, repr=False, eq=False)
class CameraState(_ShapeRepr):
    """What is remembered of the last frame looked at, to tell how the camera moved.

    Attributes:
        grey: `[h, w]` uint8, the frame made small.
        corners: `[P, 2]` float32 places in it that can be found again, none of them on a person.
    """

    grey: Bytes
    corners: Float


@dataclass(frozen=True, repr=False, eq=False)
class Observation(_ShapeRepr):
    """What was found in one frame before tracking, and what the next frame needs of it.

    Attributes:
        index: Frame number in the file, from 0.
        time_s: Presentation timestamp, seconds.
        cut: A hard cut lies before the frame.
        detections: The people found; None when nobody looked.
        ids: `[N]` int64 track ids that came with the boxes; None when none came.
        looks: `[N, D]` float16 unit vectors of appearance, zeros for those of whom nothing is known; None: of nobody.
        cut_state: State of the cut detector after this frame.
        since_detection: Frames since the last one looked at, this one included.
        camera: `[2, 3]` float32 similarity from pixels of the last frame looked at to pixels of this one; None where
            the background stands still or was not followed.
        camera_state: What the next look needs to tell how the camera moved; None where it is not followed.
    """

    index: int
    time_s: float
    cut: bool
    detections: Detections | None
    ids: Ids | None
    cut_state: CutState
    since_detection: int
    looks: Halves | None = None
    camera: Float | None = None
    camera_state: CameraState | None = None


@dataclass(frozen=True, repr=False, eq=False)
class TrackedFrame(_ShapeRepr):
    """The people of one frame with their track ids.

    Attributes:
        index: Frame number in the file, from 0.
        time_s: Presentation timestamp, seconds.
        boxes_xyxy_px: `[N, 4]` float32 corners in image pixels.
        scores: `[N]` float32 box scores in 0..1; NaN where a file that was read does not tell them.
        track_ids: `[N]` int64, from 1, unique in the frame, stable in the video.
        observed: `[N]` bool, False where the box was interpolated between two detections.
        segment: Number of hard cuts before this frame.
    """

    index: int
    time_s: float
    boxes_xyxy_px: Float
    scores: Float
    track_ids: Ids
    observed: Bools
    segment: int = 0

    def __post_init__(self) -> None:
        _check_shape("TrackedFrame", "boxes_xyxy_px", self.boxes_xyxy_px, (None, 4))
        for name in ("scores", "track_ids", "observed"):
            _check_shape("TrackedFrame", name, getattr(self, name), (len(self.boxes_xyxy_px),))

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)


@dataclass(frozen=True, repr=False, eq=False)
class FramePoses(_ShapeRepr):
    """The poses of one frame: what every writer and the overlay receive.

    Attributes:
        people: The boxes and ids that the poses belong to, row by row.
        xy_image: `[N, K, 2]` float32 joints in image pixels; (0, 0) is the centre of the top-left pixel.
        scores: `[N, K]` float32 joint scores in 0..1.
        person_scores: `[N]` float32: mean of the joint scores above 0.2, times the box score.
        xy_raw_image: `[N, K, 2]` float32, the joints before smoothing; None when nothing was smoothed.
        covariances: `[N, K, 3]` float32: xx, xy and yy of each joint's error, in square pixels of the image; None where
            nothing tells them.
        probabilities: `[N, K]` float32, the calibrated probability that the joint lies within 0.1 of the body size, the
            root of the box's area; None: the model has no calibration.
    """

    people: TrackedFrame
    xy_image: Float
    scores: Float
    person_scores: Float
    xy_raw_image: Float | None = None
    covariances: Float | None = None
    probabilities: Float | None = None

    def __post_init__(self) -> None:
        n = len(self.people)
        _check_shape("FramePoses", "xy_image", self.xy_image, (n, None, 2))
        _check_shape("FramePoses", "scores", self.scores, self.xy_image.shape[:2])
        _check_shape("FramePoses", "person_scores", self.person_scores, (n,))
        if self.xy_raw_image is not None:
            _check_shape("FramePoses", "xy_raw_image", self.xy_raw_image, self.xy_image.shape)
        if self.covariances is not None:
            _check_shape("FramePoses", "covariances", self.covariances, (*self.xy_image.shape[:2], 3))
        if self.probabilities is not None:
            _check_shape("FramePoses", "probabilities", self.probabilities, self.xy_image.shape[:2])

    @property
    def index(self) -> int:
        """Frame number in the file, from 0."""
        return self.people.index

    @property
    def time_s(self) -> float:
        """Presentation timestamp, seconds."""
        return self.people.time_s

    def __len__(self) -> int:
        return len(self.people)

    def in_square_pixels(self, pixel_width: float) -> "FramePoses":
        """Return the poses on a picture stretched in width, so that its pixels are square.

        Args:
            pixel_width: Width of a pixel in heights of a pixel.
        """
        if pixel_width == 1:
            return self
        wide = np.array([pixel_width, 1], np.float32)
        raw, covariances = self.xy_raw_image, self.covariances
        return replace(
            self,
            people=replace(self.people, boxes_xyxy_px=self.people.boxes_xyxy_px * np.tile(wide, 2)),
            xy_image=self.xy_image * wide,
            xy_raw_image=None if raw is None else raw * wide,
            covariances=None if covariances is None else covariances * np.array([wide[0] ** 2, wide[0], 1], np.float32),
        )

    def only(self, kept: Bools) -> "FramePoses":
        """Leave out the people where `kept` `[N]` is False."""
        people = self.people
        optional = (self.xy_raw_image, self.covariances, self.probabilities)
        return FramePoses(
            replace(
                people,
                boxes_xyxy_px=people.boxes_xyxy_px[kept],
                scores=people.scores[kept],
                track_ids=people.track_ids[kept],
                observed=people.observed[kept],
            ),
            self.xy_image[kept],
            self.scores[kept],
            self.person_scores[kept],
            *(None if rows is None else rows[kept] for rows in optional),
        )
