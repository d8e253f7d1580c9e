"""Frames in: `open_video` gives the frames of a video file or an image folder as RGB batches, in constant memory."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from jmpose_cli.choices import Decoder
from jmpose_cli.errors import JmposeError
from jmpose_cli.values import FrameBatch
from jmpose_cli.video.child_process import ChildPool
from jmpose_cli.video.file_source import VideoFileSource
from jmpose_cli.video.image_folder import ImageFolderSource, is_picture
from jmpose_cli.video.info import Selection, VideoInfo
from jmpose_cli.video.messages import DecoderName
from jmpose_cli.video.picture_size import MOST_MEGAPIXELS

__all__ = ["ChildPool", "FrameSource", "VideoInfo", "open_video"]


class FrameSource(Protocol):
    """The frames of one video, read once from first to last; a context manager.

    Attributes:
        info: What is known about the video; `decoder` follows a change of decoder.
        notes: Sentences for the user, complete when the frames are: decoder changes, damage, count mismatches.
    """

    info: VideoInfo
    notes: list[str]

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[FrameBatch]:
        """Yield batches in order of presentation; each is the receiver's own memory."""

    def close(self) -> None:
        """Stop reading and release everything; may be called at any time, and again."""


def open_video(
    path: Path | str,
    *,
    decoder: Decoder = "auto",
    frames: tuple[int | None, int | None] | None = None,
    time_s: tuple[float | None, float | None] | None = None,
    batch: int = 16,
    stall_timeout_s: float = 20.0,
    fps: float | None = None,
    deliver_from: int = 0,
    children: ChildPool | None = None,
    stream: int | None = None,
    max_megapixels: float = MOST_MEGAPIXELS,
    keep_open: bool = False,
) -> FrameSource:
    """Open a video file, or a folder of images or a file of several pictures as a video.

    A file is decoded in a child process, so that a broken one fails alone. The first frame is decoded before this
    returns.

    Args:
        path: A video file, or a folder whose images, in natural order of their names, are the frames.
        decoder: "decord" or "pyav"; "auto" begins with decord, and PyAV takes over at the first frame that decord
            cannot give, rightly and in constant memory. Image folders need neither.
        frames: Half-open range `(A, B)` of frame numbers; None at an end leaves it open.
        time_s: Half-open range `(A, B)` of seconds from the first frame.
        batch: Most frames in a batch; batches of large frames are smaller, at most 32 MiB.
        stall_timeout_s: A decoder without any progress for so many seconds is stopped.
        fps: Frames per second of an image folder and of a file without timestamps; None: not known.
        deliver_from: Frames of a file with smaller numbers are read and not given out; all else is as if they were.
            There is no seek: a decoder that starts in the middle may see damage, missing timestamps and pictures
            that lean on earlier ones otherwise than one that came all the way. Beyond the last frame, none comes.
        children: Decoding processes that are used again; None starts one for this video alone.
        stream: Which video stream of a file is read, from 1, cover pictures not counted; None takes the one marked as
            default, else the largest.
        max_megapixels: Larger frames are refused by what the header says, before memory is taken for them.
        keep_open: One of `children` keeps the file open when this ends, also before its last frame: it is likely to be
            read again from another frame on.

    Returns:
        The frames; `index` counts from 0 at the start of the file whatever the range, `time_s` rises strictly and is
        what the file's own clock shows.

    Raises:
        JmposeError: If the path is missing, unreadable, not a video, holds audio only, has no frame that decodes, the
            range is invalid or holds no frame, its frames are too large; while iterating, if decoding stalls or
            crashes.
    """
    path = Path(path)
    selection = Selection.checked(frames, time_s)
    if batch < 1:
        raise JmposeError(f"a batch of {batch} frames is not possible", hint="use 1 or more")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise JmposeError(f"{fps} frames per second are not possible", hint="use a number above 0")
    # Unlike Path.is_dir, os.path.isdir is False also where the parent folder may not be searched.
    if os.path.isdir(path) or is_picture(path):
        return ImageFolderSource(
            path,
            selection=selection,
            batch=batch,
            fps=fps,
            deliver_from=deliver_from,
            max_megapixels=max_megapixels,
        )
    plan: dict[str, tuple[DecoderName, ...]] = {"auto": ("decord", "pyav"), "decord": ("decord",), "pyav": ("pyav",)}
    if decoder not in plan:
        raise JmposeError(f"there is no decoder {decoder!r}", hint="use auto, decord or pyav")
    return VideoFileSource(
        path,
        decoders=plan[decoder],
        selection=selection,
        batch=batch,
        stall_timeout_s=stall_timeout_s,
        deliver_from=deliver_from,
        children=children,
        fps=fps,
        stream=stream,
        max_megapixels=max_megapixels,
        keep_open=keep_open,
    )
