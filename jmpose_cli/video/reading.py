"""What every decoder gives: numbered pictures, and rising times made from their timestamps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from jmpose_cli.structures import Bytes


@dataclass(frozen=True)
class Picture:
    """A decoded frame that is not yet converted to RGB, so that skipping one costs little.

    Attributes:
        index: Frame number in the file, from 0.
        pts: Timestamp in ticks of the stream; None where the file has none.
        paint: Writes the picture as RGB, rotation applied, into an `[H, W, 3]` uint8 array.
    """

    index: int
    pts: int | None
    paint: Callable[[Bytes], None]


@dataclass
class ReadingNotes:
    """What a reader found while reading.

    Attributes:
        frames: Number of frames of the file passed so far, given or skipped.
        damaged_packets: Number of packets that could not be decoded.
        remarks: Sentences for the user.
    """

    frames: int = 0
    damaged_packets: int = 0
    remarks: list[str] = field(default_factory=list)


@dataclass
class Clock:
    """Turns timestamps into seconds that rise from frame to frame.

    A missing timestamp, or one not after the frame before, is replaced by the time one average frame later; trackers
    and video writers need rising times.

    Attributes:
        time_base: Seconds a tick.
        fps: Average frames per second.
        last_s: Time of the frame before; None at the first.
        repaired: Number of times that were replaced.
    """

    time_base: Fraction
    fps: float
    last_s: float | None = None
    repaired: int = 0

    def stamp(self, pts: int | None) -> float:
        """Return the time in seconds of the next frame in order of presentation."""
        time_s = None if pts is None else float(pts * self.time_base)
        if time_s is None or (self.last_s is not None and time_s <= self.last_s):
            time_s = 0.0 if self.last_s is None else self.last_s + 1 / self.fps
            self.repaired += 1
        self.last_s = time_s
        return time_s
