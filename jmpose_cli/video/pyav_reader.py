"""Decodes a video with PyAV, which reads what decord refuses and continues after damage."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from os import cpu_count
from typing import Any

import numpy as np

from jmpose_cli.values import Bytes
from jmpose_cli.video.av_library import pyav
from jmpose_cli.video.container import Probe, limit_size, open_container
from jmpose_cli.video.key_groups import NoKeyGroupsError, key_groups
from jmpose_cli.video.messages import Job
from jmpose_cli.video.orientation import turn_upright
from jmpose_cli.video.reading import Picture, ReadingNotes

_MOST_THREADS = 4  # each holds frames in memory, and more gain little


@dataclass(frozen=True)
class _Start:
    """Where decoding begins.

    Attributes:
        index: Number of the first frame given.
        after_pts: That frame is the first one later than this; None finds it by counting from the file's beginning.
    """

    index: int = 0
    after_pts: int | None = None


def read_with_pyav(job: Job, found: Probe, notes: ReadingNotes) -> Iterator[Picture | None]:
    """Decode a video's frames in order of presentation.

    Packets that cannot be decoded are counted and skipped, as players do.

    Args:
        job: The file, and from where on frames are wanted; to leave out the others is up to the caller.
        found: The probe of this file.
        notes: Receives the counts of frames and of damaged packets, and remarks.

    Yields:
        The frames; None now and then while none is given, a sign of life.
    """
    if job.after is not None:
        start = _Start(job.after.index + 1, job.after.pts)
    else:
        start = yield from _find_start(job, found)
    painter = _Painter(found, notes)
    notes.frames = start.index if start.after_pts is not None else 0
    for frame in _decode_behind(job, found.info.stream, start.after_pts, notes):
        if start.after_pts is not None and frame.pts is not None and frame.pts <= start.after_pts:
            yield None
            continue
        index = notes.frames
        notes.frames += 1
        notes.damaged_frames += frame.is_corrupt
        yield Picture(index, frame.pts, partial(painter.paint, frame, index)) if index >= start.index else None


def first_picture(job: Job, found: Probe) -> Bytes | None:
    """Decode the first frame `[H, W, 3]`, upright; None where none can be decoded."""
    notes = ReadingNotes()
    for frame in _decode(job, found.info.stream, None, notes):
        picture = np.empty((found.info.height, found.info.width, 3), np.uint8)
        _Painter(found, notes).paint(frame, 0, picture)
        return picture
    return None


def _find_start(job: Job, found: Probe) -> Generator[None, None, _Start]:
    """Yield signs of life; return the last key frame before which no frame is wanted."""
    start, wanted = _Start(), job.selection
    if not wanted.starts_late:
        return start
    try:
        for group in key_groups(job.path, stream=found.info.stream):
            if group is None:
                yield None
                continue
            number_is_late = group.first > wanted.first_frame
            if number_is_late and (wanted.begin_s is None or float(group.pts[0] * found.time_base) > wanted.begin_s):
                break
            start = _Start(group.first, group.pts[0] - 1)
    except NoKeyGroupsError:
        return _Start()
    return start


def _decode_behind(job: Job, stream: int, after_pts: int | None, notes: ReadingNotes) -> Iterator[Any]:
    """Yield the frames of a file, from its beginning or from some frame not later than `after_pts + 1`."""
    if after_pts is not None:
        frames = _decode(job, stream, after_pts + 1, notes)
        first = next(frames, None)
        if first is not None and first.pts is not None and first.pts <= after_pts + 1:
            yield first
            yield from frames
            return
        notes.damaged_packets = 0  # the seek missed its aim, all will be read again
    yield from _decode(job, stream, None, notes)


def _decode(job: Job, index: int, seek_pts: int | None, notes: ReadingNotes) -> Iterator[Any]:
    """Yield the frames from the key frame before `seek_pts`, or from the beginning."""
    error_type = pyav().error.FFmpegError
    with open_container(job.path, max_megapixels=job.max_megapixels) as container:
        stream = container.streams[index]
        limit_size(stream, job.max_megapixels)
        stream.thread_type = "AUTO"
        stream.thread_count = min(_MOST_THREADS, cpu_count() or 1)
        try:
            if seek_pts is not None:
                container.seek(seek_pts, stream=stream)
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()
                except error_type:
                    notes.damaged_packets += 1
        except error_type as error:
            notes.remarks.append(f"reading ended early: {error.strerror}")


class _Painter:
    """Converts frames to upright RGB of the size that the first frame had."""

    def __init__(self, found: Probe, notes: ReadingNotes) -> None:
        self._info = found.info
        self._notes = notes
        self._converter = pyav().video.reformatter.VideoReformatter()
        size = (self._info.width, self._info.height)
        self._stored_size = size[::-1] if self._info.orientation.swaps_sides else size
        self._size_remarked = False

    def paint(self, frame: Any, index: int, out: Bytes) -> None:
        """Write a frame into `out[H, W, 3]`."""
        width, height = self._stored_size
        if (frame.width, frame.height) != self._stored_size and not self._size_remarked:
            self._size_remarked = True
            self._notes.remarks.append(
                f"the frame size changes at frame {index} from {width}x{height} to {frame.width}x{frame.height}; "
                "all frames are scaled to the first size"
            )
        rgb = self._converter.reformat(frame, width=width, height=height, format="rgb24")
        plane = rgb.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
        turn_upright(rows.reshape(height, width, 3), self._info.orientation, out)
