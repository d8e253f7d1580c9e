"""What a decoding child process and its parent say to each other, and what ends a decoder early."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jmpose_cli.video.info import Selection, VideoInfo

DecoderName = Literal["decord", "pyav"]

ENOUGH = b"enough"
"""Parent to child, in place of the word that a frame was copied: no more frames are wanted."""


class DecoderGaveUpError(Exception):
    """This decoder cannot continue with the file, another one may; the message is a clause for the user."""


@dataclass(frozen=True)
class Position:
    """The last frame that a decoder gave before another one takes over.

    Attributes:
        index: Its frame number.
        pts: Its timestamp in ticks of the stream; None where the file has no timestamps.
        time_s: Its timestamp as given out, in seconds.
    """

    index: int
    pts: int | None
    time_s: float


@dataclass(frozen=True)
class Job:
    """Parent to child, first: what to decode.

    Attributes:
        path: The video file.
        decoder: Which library decodes.
        stream: Which of the video streams, from 1; None chooses.
        selection: The frames to send.
        after: Continue after this frame; None starts with the file's first.
        whole_groups: Give up, instead of reading the same frames again and again, when key frames are too far
            apart for decord to be both fast and bounded in memory.
        deliver_from: Frames with smaller numbers are read and not sent.
        stall_timeout_s: The child ends itself when it makes no step for so many seconds.
        fps: Frames per second of a file without timestamps; None: not known.
        max_megapixels: Larger frames are refused.
        keep_open: The file is likely to be the next job's too, from another frame on.
    """

    path: Path
    decoder: DecoderName
    stream: int | None
    selection: Selection
    after: Position | None
    whole_groups: bool
    deliver_from: int
    stall_timeout_s: float
    max_megapixels: float
    fps: float | None = None
    keep_open: bool = False


@dataclass(frozen=True)
class Opened:
    """Child to parent: the file is a video, frames will follow."""

    info: VideoInfo


@dataclass(frozen=True)
class Alive:
    """Child to parent, every second while no frame comes: the decoder skips frames that nobody wants."""


@dataclass(frozen=True)
class FrameReady:
    """Child to parent: the next slot of the ring holds this frame."""

    at: Position


@dataclass(frozen=True)
class Passed:
    """Child to parent: this frame of the selection was read and is not sent."""

    at: Position


@dataclass(frozen=True)
class Finished:
    """Child to parent, last: the selection is complete.

    Attributes:
        frames_in_file: Number of frames in the file; None when decoding stopped at the selection's end.
        last_time_s: Time of the last frame decoded, in seconds from the first; None when there was none.
        remarks: Sentences for the user about damage.
    """

    frames_in_file: int | None
    last_time_s: float | None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """Child to parent, last: no more frames will come.

    Attributes:
        cause: "file": the file is at fault, no decoder will read it. "decoder": this decoder cannot continue; all
            frames before are right. "fault": it hangs, crashed, or failed in an unexpected way.
        message: What is wrong.
        hint: What to do about it.
    """

    cause: Literal["file", "decoder", "fault"]
    message: str
    hint: str = ""


ChildMessage = Opened | Alive | FrameReady | Passed | Finished | Failed
