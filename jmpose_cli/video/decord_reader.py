"""Decodes a video with decord, in constant memory.

decord has no limit on what it reads ahead: once asked for a frame, it puts the rest of the file into memory, and
decodes it there when nobody takes the frames as fast as they come. A seek empties that queue. So frames are read in
chunks of whole key-frame groups, only when the receiver has room for the whole chunk, with a seek after each.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jmpose_cli.text import printable
from jmpose_cli.values import Bytes
from jmpose_cli.video.av_library import file_url
from jmpose_cli.video.container import Probe
from jmpose_cli.video.kept_file import KeptFile, Replay
from jmpose_cli.video.key_groups import KeyGroup, NoKeyGroupsError, key_groups
from jmpose_cli.video.messages import DecoderGaveUpError, Job
from jmpose_cli.video.orientation import Orientation
from jmpose_cli.video.pyav_reader import first_picture
from jmpose_cli.video.reading import Picture, ReadingNotes

_THREADS = 2
# Where decord cannot decode a frame it repeats an earlier one, silently; above this share of the file it is an error.
_TOLERATED_SUBSTITUTES = "1e-9"


@dataclass(frozen=True)
class Chunk:
    """Frames that are decoded in one go.

    Attributes:
        first: Frame number of the first one.
        pts: Timestamps of the frames in ticks.
    """

    first: int
    pts: tuple[int, ...]

    def since(self, frame: int) -> "Chunk":
        """Leave out the frames before `frame`."""
        left_out = max(frame - self.first, 0)
        return Chunk(self.first + left_out, self.pts[left_out:])


def plan_chunks(groups: Iterator[KeyGroup | None], *, capacity: int) -> Iterator[Chunk | None]:
    """Join key-frame groups to chunks of at most half the receiver's capacity: it is emptied while it is filled.

    A group that is longer stays one chunk up to the full capacity; beyond, it is cut. Each chunk begins at a closed
    key frame, or in the middle of a group that was cut.

    Args:
        groups: From `key_groups`.
        capacity: Number of frames that the receiver can hold.

    Yields:
        The chunks, at most `capacity` frames each; None as a sign of life.

    Raises:
        NoKeyGroupsError: If there is no closed key frame for too long.
    """
    first = 0
    waiting: list[int] = []
    try:
        for group in groups:
            if group is None:
                yield None
                continue
            if waiting and group.is_closed and len(waiting) + len(group.pts) > capacity // 2:
                yield from _cut(first, waiting, capacity)
                first, waiting = group.first, []
            if not group.is_closed and len(waiting) + len(group.pts) > capacity:
                raise NoKeyGroupsError("the file's key frames are no clean places to start for decord")
            waiting.extend(group.pts)
    except NoKeyGroupsError:
        if len(waiting) <= capacity:  # what came before is good, but is not cut without knowing what follows
            yield from _cut(first, waiting, capacity)
        raise
    yield from _cut(first, waiting, capacity)


def _cut(first: int, pts: list[int], capacity: int) -> Iterator[Chunk]:
    for offset in range(0, len(pts), capacity):
        yield Chunk(first + offset, tuple(pts[offset : offset + capacity]))


def read_with_decord(
    job: Job, file: KeptFile, found: Probe, notes: ReadingNotes, *, capacity: int, wait_for_room: Callable[[int], None]
) -> Iterator[Picture | None]:
    """Decode a video's frames in order of presentation.

    Args:
        job: The file, and from where on frames are wanted; to leave out the others is up to the caller.
        file: What is open of the file; receives what is opened here.
        found: The probe of this file.
        notes: Receives the count of frames.
        capacity: Number of frames that the receiver can hold.
        wait_for_room: Returns when the receiver can take so many frames at once.

    Yields:
        The frames; None now and then while none is given, a sign of life.

    Raises:
        DecoderGaveUpError: If decord cannot read the file, or not rightly, or not further.
    """
    wanted = job.selection
    if file.groups is None:
        most_frames = capacity if job.whole_groups else None
        file.groups = Replay(key_groups(job.path, stream=found.info.stream, most_frames=most_frames))
    try:
        for chunk in plan_chunks(iter(file.groups), capacity=capacity):
            if chunk is None:
                yield None
                continue
            notes.frames = chunk.first + len(chunk.pts)
            last_s = float(chunk.pts[-1] * found.time_base)
            if notes.frames <= wanted.first_frame or (wanted.begin_s is not None and last_s < wanted.begin_s):
                yield None
                continue
            if file.reader is None:
                reader = _open(job)
                yield None
                if found.asks_for_a_turn:
                    _check_turn(reader, job, found)
                    yield None
                file.reader = reader
            wait_for_room(len(chunk.pts))
            yield from _read_chunk(file.reader, chunk.since(wanted.first_frame) if job.keep_open else chunk, found)
    except NoKeyGroupsError as error:
        raise DecoderGaveUpError(str(error)) from error


def _open(job: Job) -> Any:
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:
        raise DecoderGaveUpError("decord is not installed, or not for this system") from error
    decord.logging.set_level(decord.logging.FATAL)
    if printable(str(job.path)) != str(job.path):
        raise DecoderGaveUpError("decord takes no file whose name is no UTF-8")
    try:
        return decord.VideoReader(file_url(job.path), num_threads=_THREADS, fault_tol=_TOLERATED_SUBSTITUTES)
    except _errors() as error:
        raise DecoderGaveUpError("decord cannot open the file") from error


def _errors() -> tuple[type[Exception], ...]:
    """Return what decord raises at files it cannot read."""
    import decord
    from decord._ffi.base import DECORDLimitReachedError

    return (decord.DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, StopIteration)


def _check_turn(reader: Any, job: Job, found: Probe) -> None:
    """Compare decord's first picture with PyAV's: decord knows some ways only in which files ask to be turned.

    Raises:
        DecoderGaveUpError: If decord's picture lies otherwise.
    """
    try:
        frame = reader.next()
        reader.seek(0)
    except _errors() as error:
        raise DecoderGaveUpError("decord cannot decode frame 0") from error
    right = first_picture(job, found)
    if right is None or tuple(frame.shape) != right.shape:
        raise DecoderGaveUpError("decord does not turn the pictures as the file asks")
    given = np.empty_like(right)
    _paint(frame, found.info.orientation, given)
    # A few hundred rows and columns are enough.
    rows, columns = (slice(None, None, -(-side // 256)) for side in right.shape[:2])
    given, right = given[rows, columns].astype(np.float32), right[rows, columns].astype(np.float32)
    apart = [float(np.abs(turned - right).mean()) for turned in (given, given[::-1], given[:, ::-1], given[::-1, ::-1])]
    if apart[0] > 2 * min(apart) + 1:
        raise DecoderGaveUpError("decord does not turn the pictures as the file asks")


def _paint(frame: Any, orientation: Orientation, out: Bytes) -> None:
    """Copy what decord gives, which is turned by where the stored rows point to, and never mirrored."""
    turned = frame.asnumpy()
    if orientation.mirrored:
        turned = turned[:, ::-1] if orientation.swaps_sides else turned[::-1]
    np.copyto(out, turned)


def _read_chunk(reader: Any, chunk: Chunk, found: Probe) -> Iterator[Picture]:
    shape = (found.info.height, found.info.width, 3)
    index = chunk.first
    try:
        reader.seek_accurate(chunk.first)
        for index, pts in enumerate(chunk.pts, chunk.first):
            frame = reader.next()
            if tuple(frame.shape) != shape:
                raise DecoderGaveUpError(f"decord gives frames of shape {tuple(frame.shape)} instead of {shape}")
            yield Picture(index, pts, partial(_paint, frame, found.info.orientation))
        reader.seek(0)
    except GeneratorExit:
        reader.seek(0)  # it reads on otherwise
        raise
    except _errors() as error:
        raise DecoderGaveUpError(f"decord cannot decode frame {index}") from error
