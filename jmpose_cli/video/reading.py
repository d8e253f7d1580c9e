"""What every decoder gives: numbered pictures, rising times made from their timestamps, and word of damage."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from jmpose_cli.values import Bytes
from jmpose_cli.video.container import Probe


@dataclass(frozen=True)
class Picture:
    """A decoded frame that is not yet converted to RGB, so that skipping one costs little.

    Attributes:
        index: Frame number in the file, from 0.
        pts: Timestamp in ticks of the stream; None where the file has none.
        paint: Writes the picture as RGB, turned upright, into an `[H, W, 3]` uint8 array.
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
        damaged_frames: Number of frames that were decoded with visible damage.
        remarks: Sentences for the user.
    """

    frames: int = 0
    damaged_packets: int = 0
    damaged_frames: int = 0
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
        gaps: Begin and end in seconds of each time without pictures that is longer than a second, and than five frames.
    """

    time_base: Fraction
    fps: float
    last_s: float | None = None
    repaired: int = 0
    gaps: list[tuple[float, float]] = field(default_factory=list)

    def stamp(self, pts: int | None) -> float:
        """Return the time in seconds of the next frame in order of presentation."""
        time_s = None if pts is None else float(pts * self.time_base)
        if time_s is None or (self.last_s is not None and time_s <= self.last_s):
            time_s = 0.0 if self.last_s is None else self.last_s + 1 / self.fps
            self.repaired += 1
        if self.last_s is not None and time_s - self.last_s > max(1.0, 5 / self.fps):
            self.gaps.append((self.last_s, time_s))
        self.last_s = time_s
        return time_s

    def count(self, index: int) -> float:
        """Return the time in seconds of frame `index` of a file without timestamps."""
        self.last_s = index / self.fps
        return self.last_s


def describe_damage(found: Probe, notes: ReadingNotes, clock: Clock, *, is_complete: bool) -> Iterator[str]:
    """Yield sentences for the user about what is missing or was mended.

    Args:
        found: The probe of the file, with its claims.
        notes: What the reader counted.
        clock: The clock that stamped the frames.
        is_complete: Whether the file was read to its end, so that its claims can be checked.
    """
    if notes.damaged_packets:
        yield f"damaged pictures that cannot be decoded and are left out: {notes.damaged_packets}"
    if notes.damaged_frames:
        yield f"damaged pictures that are shown as far as they could be decoded: {notes.damaged_frames}"
    if clock.repaired:
        yield f"timestamps missing or out of order that were replaced: {clock.repaired}"
    if clock.gaps:
        begin_s, end_s = clock.gaps[0]
        others = f", and {len(clock.gaps) - 1} more such gaps" if len(clock.gaps) > 1 else ""
        yield f"there are no pictures between {begin_s:.2f} s and {end_s:.2f} s{others}"
    if not is_complete or clock.last_s is None:
        return
    claimed = found.info.frames_claimed
    if claimed is not None and claimed != notes.frames:
        yield f"the container claims {claimed} frames, {notes.frames} could be decoded"
    elif claimed is None and found.end_s is not None and found.end_s - clock.last_s > max(0.1, 2 / clock.fps):
        yield f"the last picture is at {clock.last_s:.2f} s, by the container the video lasts to {found.end_s:.2f} s"
