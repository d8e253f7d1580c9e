"""A clip that is under review: its corrections, open for more, its frames, and what has changed since when."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jmpose_cli.choices import SuspectKind
from jmpose_cli.clips.check import suspects
from jmpose_cli.clips.corrections import Corrections
from jmpose_cli.clips.dismissals import right_tracks, still_suspicious
from jmpose_cli.clips.edit import operations_in
from jmpose_cli.clips.layout import RUN_FILE
from jmpose_cli.clips.operations import Estimated, Operation
from jmpose_cli.clips.render import Step, refresh
from jmpose_cli.clips.run_record import read_run
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.clips.video import open_clip
from jmpose_cli.config import DecodeConfig, InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import Truth
from jmpose_cli.review.estimate import EstimateRequest, Estimator, operation_for
from jmpose_cli.review.frames import FrameCache
from jmpose_cli.review.summaries import changed_numbers, lanes, poses, runs
from jmpose_cli.runs.clip_claim import kept_from_runs
from jmpose_cli.values import Ids
from jmpose_cli.video.source import ChildPool, FrameSource

WINDOW = 256
"""Frames that a video is opened for at a time: a decoder that has reached the end of them is used again."""
MOST_FRAMES = 512
"""Frames whose poses are told at once."""
_MOST_CHANGES = 1000
SURE = 0.5
"""Severity from which on what suspects advise is done without a look at each."""


class StaleError(JmposeError):
    """An action was meant for a clip that has changed since it was looked at."""


@dataclass
class _Open:
    corrections: Corrections
    frames: FrameCache
    closing: ExitStack
    revision: int = 1
    changes: list[tuple[int, Ids]] = field(default_factory=list)  # revision, and the frames that it changed


class ReviewClip:
    """A clip, opened when it is first looked at; may be used by many threads.

    Args:
        folder: Of the clip.
        name: As the page calls it.
        video: Where its video lies now; None takes the place that `run.json` names.
        children: Decoding processes.
    """

    def __init__(self, folder: Path, name: str, *, video: Path | None, children: ChildPool) -> None:
        self.folder, self.name = folder, name
        self._video, self._children = video, children
        self._lock, self._rendering = threading.RLock(), threading.Lock()
        self._open: _Open | None = None
        self._suspects: tuple[int, list[Suspect]] = (0, [])

    @property
    def is_open(self) -> bool:
        """It has been looked at."""
        return self._open is not None

    def summary(self) -> dict[str, Any]:
        """Return what the page needs to begin: joints, frames, tracks, steps."""
        with self._lock:
            now = self._opened()
            truth = now.corrections.truth
            return {
                "name": self.name,
                "width": truth.video.width,
                "height": truth.video.height,
                "pixel_aspect": truth.video.pixel_aspect[0] / truth.video.pixel_aspect[1],
                "fps": truth.video.fps,
                "joints": list(truth.keypoints.joints),
                "skeleton": truth.keypoints.skeleton_index,
                "flip": truth.keypoints.flip_index,
                "frames": runs(truth.index),
                **self._standing(now),
            }

    def changes(self, since: int) -> dict[str, Any]:
        """Return the revision, the frames that have changed since another one, and how the clip stands now.

        Args:
            since: The revision that is known; the frames are None where nobody knows any more.
        """
        with self._lock:
            now = self._opened()
            return {"frames": _since(now, since), **self._standing(now)}

    def poses(self, first: int, end: int) -> dict[str, Any]:
        """Return the people of the frames numbered `first` to `end - 1`, at most `MOST_FRAMES`."""
        if not 0 <= first < end <= first + MOST_FRAMES:
            raise JmposeError(f"frames {first} to {end - 1}", hint=f"ask for 1 to {MOST_FRAMES} frames")
        with self._lock:
            now = self._opened()
            truth, revision = now.corrections.truth, now.revision
        return {"revision": revision, "frames": poses(truth, first, end)}

    def suspects(self) -> dict[str, Any]:
        """Return what is suspicious now, worst first, as `jmpose check` finds it.

        Returns:
            `revision`, and `suspects` as in `check.json`, each with `fix`: the operations that it advises.
        """
        revision, found = self._found()
        return {"revision": revision, "suspects": [one.as_json() | {"fix": _advised(one)} for one in found]}

    def _found(self) -> tuple[int, list[Suspect]]:
        """Return the revision and the suspects of it, worst first."""
        with self._lock:
            now = self._opened()
            truth, steps, revision = now.corrections.truth, now.corrections.done, now.revision
            if self._suspects[0] == revision:
                return self._suspects
        found = revision, still_suspicious(suspects(truth), steps)
        with self._lock:
            self._suspects = found
        return found

    def fix_all(self, kind: SuspectKind, revision: int) -> dict[str, Any]:
        """Do what suspects of a kind advise that are more likely errors than not, as one step; as `do`.

        What cannot be done any more after the ones before it is left.

        Raises:
            JmposeError: Nothing is left to do, or as from `do`.
        """
        found_at, found = self._found()
        truth, chosen = self._truth(), list[Operation]()
        for one in found if found_at == revision else ():
            if one.kind == kind and one.severity >= SURE and one.remedy:
                operations = operations_in(one.remedy)
                with suppress(JmposeError):
                    for operation in operations:
                        truth = operation.apply(truth)
                    chosen += operations
        if not chosen:
            raise JmposeError(f"{kind}: nothing to do at once", hint="go through them one by one")
        return self.do(chosen, revision)

    def estimate(self, estimator: Estimator, wanted: EstimateRequest) -> Estimated:
        """Ask the model of the clip for a pose; nothing is done with it yet.

        Raises:
            JmposeError: There is no such frame, or the model or the video cannot be opened.
        """
        truth, (video, _) = self._truth(), self._source()
        config = read_run(self.folder).config if (self.folder / RUN_FILE).is_file() else InferConfig()
        return operation_for(truth, wanted, estimator, video, config)

    def _truth(self) -> Truth:
        with self._lock:
            return self._opened().corrections.truth

    def image(self, number: int) -> bytes:
        """Return a frame as JPEG.

        Raises:
            JmposeError: The clip or the video has no such frame, or it cannot be decoded.
        """
        with self._lock:
            now = self._opened()
            truth = now.corrections.truth
        if number not in truth.index:
            raise JmposeError(f"there is no frame {number}", hint=f"the clip has {len(truth.index)} frames")
        return now.frames.image(number)

    def do(self, operations: Sequence[Operation], revision: int) -> dict[str, Any]:
        """Apply operations as one step; it is on the disk when this returns.

        Args:
            operations: At least one.
            revision: The one for which they are meant.

        Raises:
            StaleError: The clip has changed since that revision; nothing is done.
            JmposeError: They cannot be applied, another program has changed the truth, or the disk is full.
        """
        return self._act(revision, lambda corrections: corrections.do(operations, write=False))

    def undo(self, revision: int) -> dict[str, Any]:
        """Take the last step back; as `do`."""
        return self._act(revision, lambda corrections: corrections.undo(write=False))

    def redo(self, revision: int) -> dict[str, Any]:
        """Do again what was taken back last; as `do`."""
        return self._act(revision, lambda corrections: corrections.redo(write=False))

    def _act(self, revision: int, action: Callable[[Corrections], None]) -> dict[str, Any]:
        with self._lock:
            now = self._opened()
            if revision != now.revision:
                raise StaleError("the clip was changed in another window", hint="look at it, and do it again")
            now.corrections.check_is_ours()
            before = now.corrections.truth
            action(now.corrections)
            changed = changed_numbers(before, now.corrections.truth)
            now.revision += 1
            now.changes = [*now.changes, (now.revision, changed)][-_MOST_CHANGES:]
            return {"frames": runs(changed), **self._standing(now)}

    def render(self, step: Step | None = None) -> list[str]:
        """Bring the file of the truth and all that derives from it up to date.

        Args:
            step: Called after each frame of the overlay; an exception that it raises ends the rendering.

        Returns:
            Sentences for the user.

        Raises:
            JmposeError: Another program has changed the truth, or a file cannot be written.
        """
        with self._rendering:
            with self._lock:
                now = self._opened()
                now.corrections.write()
                is_corrected = bool(now.corrections.done or now.corrections.undone)
            return refresh(self.folder, video=self._video, step=step) if is_corrected else []

    def close(self) -> None:
        """Let others correct the clip."""
        with self._rendering, self._lock:
            if self._open is not None:
                self._open.closing.close()
                self._open = None

    def _opened(self) -> _Open:
        if self._open is None:
            with ExitStack() as stack:
                stack.enter_context(kept_from_runs(self.folder))
                corrections = stack.enter_context(Corrections(self.folder))
                frames = FrameCache(self._opener(corrections.truth), int(corrections.truth.index.max(initial=-1)))
                stack.callback(frames.close)
                self._open = _Open(corrections, frames, stack.pop_all())
        return self._open

    def _opener(self, truth: Truth) -> Callable[[int], FrameSource]:
        """Return a function that opens the video at a frame."""

        def opened(first: int) -> FrameSource:
            path, decode = self._source()
            window = decode.model_copy(update={"frames": (first, first + WINDOW), "time": None})
            source = open_clip(path, window, children=self._children)
            size, said = (source.info.width, source.info.height), (truth.video.width, truth.video.height)
            if size == said:
                return source
            source.close()
            raise JmposeError(
                f"{path}: has frames of {size[0]}x{size[1]}, the poses are of a video with {said[0]}x{said[1]}",
                hint="name the video that the poses are of with --video",
            )

        return opened

    def _source(self) -> tuple[Path, DecodeConfig]:
        """Return where the video lies and how it is decoded."""
        path, decode = self._video, DecodeConfig()
        if (self.folder / RUN_FILE).is_file():
            record = read_run(self.folder)
            path, decode = path or Path(record.input), record.config.decode
        if path is None:
            raise JmposeError(f"{self.folder}: nothing says where the video lies", hint="name it with --video")
        if not path.exists():
            raise JmposeError(f"{path}: the video is not there", hint="say where it lies now with --video")
        return path, decode

    @staticmethod
    def _standing(now: _Open) -> dict[str, Any]:
        """Return what may change with every action."""
        corrections, truth = now.corrections, now.corrections.truth
        done, undone = corrections.done, corrections.undone
        return {
            "revision": now.revision,
            "undo": _text(done[-1]) if done else None,
            "redo": _text(undone[-1]) if undone else None,
            "steps": len(done),
            "reviewed": runs(truth.index[truth.reviewed]),
            "right": right_tracks(truth, done),
            "lanes": lanes(truth),
        }


def _since(now: _Open, since: int) -> list[list[int]] | None:
    if not now.revision - len(now.changes) <= since <= now.revision:
        return None
    parts = [numbers for revision, numbers in now.changes if revision > since]
    return runs(np.unique(np.concatenate(parts))) if parts else []


def _advised(one: Suspect) -> list[dict[str, Any]]:
    return [operation.model_dump(exclude_none=True) for operation in operations_in(one.remedy)]


def _text(step: Sequence[Operation]) -> str:
    return "; ".join(map(str, step))
