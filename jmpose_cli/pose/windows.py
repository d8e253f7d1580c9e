"""Temporal windows: which frames stand around a key frame, for each person.

Rules (section 1 of the method): a support frame exists when the video has it, no hard cut lies between,
the same track is in it, and it is near enough in time. One that does not exist is replaced by the nearest
existing frame of the same track, and the mask says so.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jmpose_cli.values import Bools, Bytes, Ids, Observation, TrackedFrame


@dataclass(frozen=True)
class Spacing:
    """The shape of a window in frames of one video.

    Attributes:
        offsets: Frames from the key frame, ascending, with 0; already scaled to the video's frame rate.
        max_gap_s: A support frame further away in time than this does not exist.
    """

    offsets: tuple[int, ...]
    max_gap_s: float

    def __post_init__(self) -> None:
        if 0 not in self.offsets or list(self.offsets) != sorted(set(self.offsets)):
            raise ValueError(f"window offsets {self.offsets} must ascend and hold 0")

    @property
    def reach(self) -> int:
        """Frames needed on each side of a key frame."""
        return max(abs(self.offsets[0]), self.offsets[-1])

    @classmethod
    def for_video(cls, offsets: tuple[int, ...], *, fps: float, reference_fps: float, max_gap_s: float) -> "Spacing":
        """Scale offsets made for `reference_fps` to `fps`, so that a window spans about the same time."""
        stride = max(1, round(fps / reference_fps))
        return cls(tuple(o * stride for o in offsets), max_gap_s)


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """A frame of a video; equal to nothing but itself.

    Attributes:
        pixels: `[H, W, 3]` uint8 RGB.
        people: The people tracked in it.
        pixel_width: Width of a pixel in heights of a pixel.
        observation: What the people were tracked by; None where nobody asks.
    """

    pixels: Bytes
    people: TrackedFrame
    pixel_width: float = 1.0
    observation: Observation | None = None


@dataclass(frozen=True)
class Windows:
    """All person windows of one key frame.

    Attributes:
        key: The key frame.
        frames: The distinct frames that the windows use, in time order.
        frame_of: `[N, T]` int64 row in `frames` for each person and offset.
        exists: `[N, T]` bool, False where a frame is a repeat of another.
    """

    key: SeenFrame
    frames: list[SeenFrame]
    frame_of: Ids
    exists: Bools


class WindowMaker:
    """Turn a stream of frames into windows, holding only the frames within reach.

    One object a video: `push` frames in order, then `finish`.
    """

    def __init__(self, spacing: Spacing) -> None:
        self._spacing = spacing
        self._held: deque[SeenFrame] = deque()
        self._next = 0  # position in `_held` of the next key frame

    def push(self, frame: SeenFrame) -> Iterator[Windows]:
        """Add the next frame; yield the windows of key frames that have all their later frames now."""
        self._held.append(frame)
        while len(self._held) - self._next > self._spacing.reach:
            yield self._windows()

    def finish(self) -> Iterator[Windows]:
        """Yield the windows of the last frames."""
        while self._next < len(self._held):
            yield self._windows()

    def _windows(self) -> Windows:
        """Make the windows of the next key frame and let go of what no later one needs."""
        at, reach = self._next, self._spacing.reach
        key = self._held[at]
        ids = key.people.track_ids
        rows = np.full((len(ids), len(self._spacing.offsets)), at, np.int64)
        exists = np.zeros(rows.shape, bool)
        for column, offset in enumerate(self._spacing.offsets):
            step = 1 if offset > 0 else -1
            unsettled = np.ones(len(ids), bool)
            # From the wanted frame towards the key frame: the first that holds the person is taken.
            for position in range(at + offset, at, -step):
                here = unsettled & self._holds(position, key, ids)
                rows[here, column] = position
                exists[here, column] = position == at + offset
                unsettled &= ~here
            if offset == 0:
                exists[:, column] = True
        used, flat = np.unique(rows, return_inverse=True)
        windows = Windows(key, [self._held[i] for i in used], flat.reshape(rows.shape), exists)
        self._next += 1
        while self._next > reach:
            self._held.popleft()
            self._next -= 1
        return windows

    def _holds(self, position: int, key: SeenFrame, ids: Ids) -> Bools:
        """Say for each id whether the frame at `position` exists for it."""
        if not 0 <= position < len(self._held):
            return np.zeros(len(ids), bool)
        other = self._held[position].people
        apart_s = abs(other.time_s - key.people.time_s)
        if other.segment != key.people.segment or apart_s > self._spacing.max_gap_s + 1e-6:
            return np.zeros(len(ids), bool)
        return np.isin(ids, other.track_ids)
