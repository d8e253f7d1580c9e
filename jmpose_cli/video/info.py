"""What is known about a video before its frames, and which of its frames are wanted."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.orientation import Orientation

DEFAULT_FPS = 25.0  # of what has no frame rate, and for which none is given


@dataclass(frozen=True)
class VideoInfo:
    """The facts about a video that its container and its first frame tell.

    Attributes:
        path: The file, or the folder of images.
        width: Width in pixels of the frames as given out, turned upright.
        height: Height in pixels of the frames as given out, turned upright.
        fps: Average frames per second; a description only, times come from the timestamps.
        frames_claimed: Number of frames that the container claims; None where it claims none.
        rotation: Degrees clockwise by which the stored pictures were turned to stand upright: 0, 90, 180 or 270.
        has_audio: Whether the file holds an audio stream.
        decoder: What decodes: "decord", "pyav" or "images"; "decord, then pyav" after a change on the way.
        mirrored: Whether they were mirrored after that, left to right.
        stream: Index of the stream in the container.
        pixel_aspect: Width over height of one pixel as a fraction `(num, den)`; (1, 1) for square pixels.
        duration_s: Length in seconds that the container claims; None where it claims none. For progress bars only.
    """

    path: Path
    width: int
    height: int
    fps: float
    frames_claimed: int | None
    rotation: int
    has_audio: bool
    decoder: str
    mirrored: bool = False
    stream: int = 0
    pixel_aspect: tuple[int, int] = (1, 1)
    duration_s: float | None = None

    @property
    def pixel_width(self) -> float:
        """Width of a pixel in heights of a pixel."""
        return self.pixel_aspect[0] / self.pixel_aspect[1]

    @property
    def orientation(self) -> Orientation:
        """How the stored pictures were brought upright."""
        return Orientation(self.rotation, self.mirrored)

    @property
    def frame_bytes(self) -> int:
        """Size of one RGB frame in bytes."""
        return self.width * self.height * 3


def _in_words(begin: float | None, end: float | None) -> str:
    left, right = ("" if bound is None else f"{bound}" for bound in (begin, end))
    return f"{left}:{right}"


def _check_range(option: str, begin: float | None, end: float | None, what: str) -> None:
    """Raise JmposeError unless `begin:end` is a range that can select something."""
    given = f"{option} {_in_words(begin, end)}"
    hint = f"use {option} A:B with 0 <= A < B; {what} A is the first one taken, B the first one left out"
    for bound in (begin, end):
        if bound is not None and not math.isfinite(bound):
            raise JmposeError(f"{given} is not a range of finite numbers", hint=hint)
        if bound is not None and bound < 0:
            raise JmposeError(f"{given} has a negative end", hint=hint)
    if end is not None and end <= (begin or 0):
        raise JmposeError(f"{given} is an empty range", hint=hint)


_SAME_S = 1e-6  # times nearer than this are equal: a clock that starts late makes them inexact


@dataclass(frozen=True)
class Selection:
    """The frames wanted: half-open ranges over frame number and time, a frame must lie in both.

    Attributes:
        first_frame: First frame number taken.
        stop_frame: First frame number left out; None takes all to the end.
        begin_s: First time taken, in seconds from the first frame; None takes all from the start.
        end_s: First time left out, in seconds from the first frame; None takes all to the end.
    """

    first_frame: int = 0
    stop_frame: int | None = None
    begin_s: float | None = None
    end_s: float | None = None

    @classmethod
    def checked(
        cls,
        frames: tuple[int | None, int | None] | None,
        time_s: tuple[float | None, float | None] | None,
    ) -> "Selection":
        """Build from `A:B` ranges as users give them.

        Raises:
            JmposeError: If a range is negative, not finite, or empty.
        """
        frames = frames or (None, None)
        time_s = time_s or (None, None)
        _check_range("--frames", *frames, what="frame")
        _check_range("--time", *time_s, what="second")
        return cls(frames[0] or 0, frames[1], *time_s)

    def __str__(self) -> str:
        parts = []
        if self.first_frame or self.stop_frame is not None:
            parts.append(f"--frames {_in_words(self.first_frame, self.stop_frame)}")
        if self.begin_s is not None or self.end_s is not None:
            parts.append(f"--time {_in_words(self.begin_s, self.end_s)}")
        return " ".join(parts) or "all frames"

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()

    @property
    def starts_late(self) -> bool:
        """Whether frames at the start of the video may be left out."""
        return self.first_frame > 0 or self.begin_s is not None

    def on_clock(self, start_s: float) -> "Selection":
        """Return the same selection with its times on a clock that shows `start_s` at the first frame."""
        begin_s, end_s = (None if bound is None else bound + start_s for bound in (self.begin_s, self.end_s))
        return replace(self, begin_s=begin_s, end_s=end_s)

    def takes(self, index: int, time_s: float) -> bool:
        """Whether the frame `index` shown at `time_s` is wanted."""
        return index >= self.first_frame and (self.begin_s is None or time_s > self.begin_s - _SAME_S)

    def is_past(self, index: int, time_s: float) -> bool:
        """Whether the frame `index` shown at `time_s`, and all after it, are beyond the selection."""
        return (self.stop_frame is not None and index >= self.stop_frame) or (
            self.end_s is not None and time_s > self.end_s - _SAME_S
        )
