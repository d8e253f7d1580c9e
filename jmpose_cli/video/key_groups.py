"""Key-frame groups of a video, read from its packets without decoding.

A group is a key frame and the frames shown from it up to the next key frame. Groups tell a frame's number and timestamp
before it is decoded, so decoders can start in the middle of a file and still number frames from its beginning.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from jmpose_cli.video.av_library import pyav
from jmpose_cli.video.container import open_container

# Codecs whose every packet shows one picture. VP8 is not among them: its packets may hold a picture never shown.
ONE_PICTURE_A_PACKET = frozenset({"av1", "h264", "hevc", "mjpeg", "mpeg4", "prores", "vp9"})

# Containers that store each picture's timestamp, and an index to seek by. Elsewhere, seeks of decord land beside the
# frame asked for without saying so, and timestamps are guessed from the order of packets.
INDEXED_FORMATS = frozenset({"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})

_PACKETS_BETWEEN_SIGNS_OF_LIFE = 500


class NoKeyGroupsError(Exception):
    """The packets of this file do not tell its frames; the message is a clause that says why."""


@dataclass(frozen=True)
class KeyGroup:
    """A key frame and the frames shown until the next one.

    Attributes:
        first: Frame number of the key frame.
        pts: Timestamps in ticks of the stream, rising, the key frame's first.
        is_closed: Whether no picture stored after the key frame is shown before it; then a decoder that starts here
            gives exactly these frames.
    """

    first: int
    pts: tuple[int, ...]
    is_closed: bool


class _GroupBuilder:
    """Sorts packets, which come in decoding order, into groups."""

    def __init__(self, most_frames: int | None) -> None:
        self._most_frames = most_frames
        self._count = 0
        self._last_pts: int | None = None
        self._groups: list[list[int]] = []  # at most the one being finished and the one being read
        self._closed: list[bool] = []

    def add(self, pts: int, is_key: bool) -> KeyGroup | None:
        """Take one packet; return a group when this packet shows that it is complete."""
        done = None
        if is_key:
            if len(self._groups) == 2:
                done = self._emit()
            self._groups.append([])
            self._closed.append(True)
        if not self._groups:
            raise NoKeyGroupsError("the file does not begin with a key frame")
        target = self._groups[-1]
        if target and pts < target[0]:  # stored after the key frame, shown before it
            self._closed[-1] = False
            if len(self._groups) == 1:
                raise NoKeyGroupsError("the file begins with pictures before its first key frame")
            target = self._groups[0]
        target.append(pts)
        if self._most_frames is not None and len(target) > self._most_frames:
            raise NoKeyGroupsError(f"the file's key frames are more than {self._most_frames} frames apart")
        return done

    def rest(self) -> Iterator[KeyGroup]:
        """Yield the groups that were waiting for more packets."""
        while self._groups:
            yield self._emit()

    def _emit(self) -> KeyGroup:
        pts = sorted(self._groups.pop(0))
        rising = all(a < b for a, b in pairwise(pts))
        if not rising or (self._last_pts is not None and pts[0] <= self._last_pts):
            raise NoKeyGroupsError("the file's timestamps are not in order")
        group = KeyGroup(self._count, tuple(pts), self._closed.pop(0))
        self._count += len(pts)
        self._last_pts = pts[-1]
        return group


def key_groups(path: Path, *, stream: int, most_frames: int | None = None) -> Iterator[KeyGroup | None]:
    """Read the groups of a video stream in order of presentation, without decoding.

    Args:
        path: The video file.
        stream: Index of the stream in the container.
        most_frames: Stop with an error at a group longer than this; None allows any length.

    Yields:
        The groups; None now and then between them, a sign that reading continues.

    Raises:
        NoKeyGroupsError: If packets and frames of this file cannot be told to correspond, or a group is too long.
        JmposeError: If the file is no video.
    """
    builder = _GroupBuilder(most_frames)
    with open_container(path) as container:
        if container.format.name not in INDEXED_FORMATS:
            raise NoKeyGroupsError(f"{container.format.name} files have no exact index of their frames")
        if len(container.streams.video) > 1:  # decord chooses for itself
            raise NoKeyGroupsError("the file holds several video streams, or a cover picture")
        video = container.streams[stream]
        codec = video.codec_context.codec.canonical_name
        if codec not in ONE_PICTURE_A_PACKET:
            raise NoKeyGroupsError(f"a packet of {codec} may hold more or less than one frame")
        try:
            for count, packet in enumerate(container.demux(video)):
                if packet.size == 0:  # the end marker
                    continue
                if packet.pts is None:
                    raise NoKeyGroupsError("the file has frames without a timestamp")
                if packet.is_discard:
                    raise NoKeyGroupsError("the file's edit list hides frames")
                group = builder.add(packet.pts, packet.is_keyframe)
                if group is not None or count % _PACKETS_BETWEEN_SIGNS_OF_LIFE == 0:
                    yield group
        except pyav().error.FFmpegError as error:
            raise NoKeyGroupsError(f"the file is damaged ({error.strerror})") from error
        yield from builder.rest()
