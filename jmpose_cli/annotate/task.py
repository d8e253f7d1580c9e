"""One video as a piece of work, what comes of it, and who watches.

Imports nothing heavy: the parent of the workers uses it.
"""

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ClipTask:
    """One video to process.

    Attributes:
        name: Its name, unique in the run.
        path: The video file or folder of images; for a URL the path in it.
        url: Where to fetch it from first; empty for a local path.
        folder: Where its results go.
        work: Folder for what is unfinished; removed when the results are complete.
        stamp: Fingerprint of the input.
    """

    name: str
    path: Path
    url: str
    folder: Path
    work: Path
    stamp: dict[str, Any]


@dataclass(frozen=True)
class ClipSummary:
    """What was found in one video.

    Attributes:
        frames: Frames processed.
        resumed: Of these, frames that an earlier run had done.
        people: Poses written, over all frames.
        tracks: Different people.
        wall_s: Seconds from opening to the last file.
        stage_s: Busy seconds per stage; stages overlap, so they add up to more than `wall_s`.
        notes: Sentences for the user.
        input_sha256: Of the input's content; empty for what was fetched.
        files: Size in bytes and sha256 of each result file, by name.
    """

    frames: int
    resumed: int
    people: int
    tracks: int
    wall_s: float
    stage_s: dict[str, float]
    notes: tuple[str, ...]
    input_sha256: str
    files: dict[str, tuple[int, str]]


class StoppedError(Exception):
    """The run was asked to stop, and what is done is committed.

    Args:
        frames: Number of frames committed.
    """

    def __init__(self, frames: int) -> None:
        super().__init__(frames)
        self.frames = frames


class Watcher:
    """Who wants to know how a video comes along; this one does not.

    Attributes:
        stop: When set, the video is left behind the frames that are done.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()

    def opened(self, total: int | None, done: int) -> None:
        """The video has about `total` frames; an earlier run did the first `done`."""

    def advanced(self, people: int) -> None:
        """One more frame is done."""

    def stepped(self) -> None:
        """Something was done, if only for a frame that is done already."""

    def note(self, text: str) -> None:
        """Something that the user should know at once."""


def remove_work(task: ClipTask) -> None:
    """Remove what was kept to resume."""
    shutil.rmtree(task.work, ignore_errors=True)
