"""A clip that is under review: its corrections, open for more, its frames, and what has changed since when."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jmpose_cli.choices import SuspectKind
from jmpose_cli.clips.corrections import Corrections
from jmpose_cli.clips.dismissals import right_tracks, still_suspicious
from jmpose_cli.clips.edit import operations_in
from jmpose_cli.clips.layout import RUN_FILE
from jmpose_cli.clips.live_truth import Change, joined
from jmpose_cli.clips.operation import rows_in
from jmpose_cli.clips.operations import Estimated, Operation
from jmpose_cli.clips.render import Step, refresh
from jmpose_cli.clips.run_record import read_run, recorded_joins
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.clips.video import open_clip
from jmpose_cli.config import DecodeConfig, InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import Truth
from jmpose_cli.review.estimate import NEAR, EstimateRequest, Estimator, operation_for
from jmpose_cli.review.frames import FrameCache
from jmpose_cli.review.opening import parse_aside
from jmpose_cli.review.progress import Progress, progress_of
from jmpose_cli.review.summaries import lanes, poses, runs
from jmpose_cli.review.suspicions import Suspicions
from jmpose_cli.runs.clip_claim import kept_from_runs
from jmpose_cli.video.source import ChildPool, FrameSource

WINDOW = 256
"""Frames that a video is opened for at a time: a decoder that has reached the end of them is used again."""
MOST_FRAMES = 512
"""Frames whose poses are told at once."""
MOST_SOON = 4
"""Frames that are read before they are asked for, as the page may jump there."""
LONGEST_LOOK_S = 5.0
"""How long an answer waits for the suspects of the clip as it is; then it tells those that are known."""
_MOST_CHANGES = 1000
SURE = 0.5
"""Severity from which on what suspects advise is done without a look at each."""


class StaleError(JmposeError):
    """An action was meant for a clip that has changed since it was looked at."""


@dataclass
class _Open:
    corrections: Corrections
    frames: FrameCache
    suspicions: Suspicions
    closing: ExitStack
    revision: int = 1
    changes: list[Change] = field(default_factory=list)  # the last ones, each of which led to the next revision


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

    @property
    def is_open(self) -> bool:
        """It has been looked at."""
        return self._open is not None

    def summary(self) -> dict[str, Any]:
        """Return what the page needs to begin: joints, frames, tracks, steps."""
        with self._lock:
            now = self._opened()
            truth = now.corrections.live.head
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
                "lanes": lanes(now.corrections.live),
            }

    def progress(self) -> Progress:
        """Return how far it is, see `progress_of`; at once, also while it is being opened."""
        now = self._open
        if now is None:
            return progress_of(self.folder)
        reviewed = now.corrections.live.reviewed
        found, is_all = now.suspicions.found(0.0)
        left = len(still_suspicious(found, now.corrections.done)) if is_all else None
        return {"frames": len(reviewed), "reviewed": int(reviewed.sum()), "suspects": left}

    def changes(self, since: int) -> dict[str, Any]:
        """Return how the clip stands now, and what has changed since another revision.

        Args:
            since: The revision that is known.

        Returns:
            `frames` that have changed, as runs; `lanes` of tracks that have changed, `gone` ids of those that are not
            there any more. Where nobody knows what has changed, `frames` is None and `lanes` are all.
        """
        with self._lock:
            now = self._opened()
            known = len(now.changes) - (now.revision - since)
            if not 0 <= known <= len(now.changes):
                return {"frames": None, **self._standing(now), "lanes": lanes(now.corrections.live), "gone": []}
            return self._changed(now, joined(now.changes[known:]))

    def _changed(self, now: _Open, change: Change) -> dict[str, Any]:
        live, tracks = now.corrections.live, change.tracks.tolist()
        told = lanes(live, tracks)
        gone = sorted({*tracks} - {lane["id"] for lane in told})
        return {"frames": runs(live.index[change.places]), **self._standing(now), "lanes": told, "gone": gone}

    def poses(self, first: int, end: int) -> dict[str, Any]:
        """Return the people of the frames numbered `first` to `end - 1`, at most `MOST_FRAMES`."""
        if not 0 <= first < end <= first + MOST_FRAMES:
            raise JmposeError(f"frames {first} to {end - 1}", hint=f"ask for 1 to {MOST_FRAMES} frames")
        with self._lock:
            now = self._opened()
            return {"revision": now.revision, "frames": poses(now.corrections.live, first, end)}

    def suspects(self, most: int | None = None) -> dict[str, Any]:
        """Return what is suspicious now, worst first, as `jmpose check` finds it.

        Args:
            most: How many are told, the worst; None means all.

        Returns:
            `revision`; `suspects` as in `check.json`, each with `fix`: the operations that it advises; `total`, how
            many there are; `is_all`: all of the clip was looked at since it was changed.
        """
        revision, found, is_all = self._found()
        told = [one.as_json() | {"fix": _advised(one)} for one in found[:most]]
        return {"revision": revision, "suspects": told, "total": len(found), "is_all": is_all}

    def _found(self) -> tuple[int, list[Suspect], bool]:
        """Return the revision, its suspects, worst first, and whether all was looked at."""
        with self._lock:
            now = self._opened()
            revision, steps = now.revision, now.corrections.done
        found, is_all = now.suspicions.found(LONGEST_LOOK_S)
        return revision, still_suspicious(found, steps), is_all

    def fix_all(self, kind: SuspectKind, revision: int) -> dict[str, Any]:
        """Do what suspects of a kind advise that are more likely errors than not, as one step; as `do`.

        What cannot be done any more after the ones before it is left.

        Raises:
            JmposeError: Nothing is left to do, or as from `do`.
        """
        found_at, found, _ = self._found()
        with self._lock:
            live = self._opened().corrections.live
            chosen, tried = list[Operation](), list[Change]()
            for one in found if found_at == revision else ():
                if one.kind == kind and one.severity >= SURE and one.remedy:
                    operations = operations_in(one.remedy)
                    with suppress(JmposeError):
                        tried.append(live.apply(operations))
                        chosen += operations
            live.revert(joined(tried))
            if not chosen:
                raise JmposeError(f"{kind}: nothing to do at once", hint="go through them one by one")
            return self.do(chosen, revision)

    def estimate(self, estimator: Estimator, wanted: EstimateRequest) -> Estimated:
        """Ask the model of the clip for a pose; nothing is done with it yet.

        Raises:
            JmposeError: There is no such frame, or the model or the video cannot be opened.
        """
        video, _ = self._source()
        with self._lock:
            live = self._opened().corrections.live
            truth = live.part(rows_in(live, wanted.track, (wanted.frame - NEAR, wanted.frame + NEAR + 1)))
        config = read_run(self.folder).config if (self.folder / RUN_FILE).is_file() else InferConfig()
        return operation_for(truth, wanted, estimator, video, config)

    def image(self, number: int) -> bytes:
        """Return a frame as JPEG.

        Raises:
            JmposeError: The clip or the video has no such frame, or it cannot be decoded.
        """
        with self._lock:
            now = self._opened()
            index = now.corrections.live.index
        if number not in index:
            raise JmposeError(f"there is no frame {number}", hint=f"the clip has {len(index)} frames")
        return now.frames.image(number)

    def want_soon(self, numbers: Sequence[int]) -> None:
        """Say which frames may be asked for next, at most `MOST_SOON`; they are read before."""
        with self._lock:
            now = self._opened()
        now.frames.want_soon(numbers[:MOST_SOON])

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

    def _act(self, revision: int, action: Callable[[Corrections], Change]) -> dict[str, Any]:
        with self._lock:
            now = self._opened()
            if revision != now.revision:
                raise StaleError("the clip was changed in another window", hint="look at it, and do it again")
            now.corrections.check_is_ours()
            change = action(now.corrections)
            now.revision += 1
            now.changes = [*now.changes, replace(change, undo=())][-_MOST_CHANGES:]
            now.suspicions.note(change)
            return self._changed(now, change)

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
            closed, self._open = self._open, None
            if closed is not None:
                closed.closing.close()
        if closed is not None:
            closed.suspicions.close()  # it may wait for the lock

    def _opened(self) -> _Open:
        if self._open is None:
            with ExitStack() as stack:
                stack.enter_context(kept_from_runs(self.folder))
                parse_aside(self.folder)
                corrections = stack.enter_context(Corrections(self.folder))
                head = corrections.live.head
                frames = FrameCache(self._opener(head), int(head.index.max(initial=-1)))
                stack.callback(frames.close)
                suspicions = Suspicions(lambda: corrections.live, self._lock, recorded_joins(self.folder))
                threading.Thread(target=_prepare, args=(corrections,), name="prepare", daemon=True).start()
                self._open = _Open(corrections, frames, suspicions, stack.pop_all())
        return self._open

    def _opener(self, truth: Truth) -> Callable[[int], FrameSource]:
        """Return a function that opens the video at a frame."""

        def opened(first: int) -> FrameSource:
            path, decode = self._source()
            window = decode.model_copy(update={"frames": (first, first + WINDOW), "time": None})
            source = open_clip(path, window, children=self._children, keep_open=True)
            size, said = (source.info.width, source.info.height), (truth.video.width, truth.video.height)
            counted, noted = source.info.frames_claimed, self._frames_noted()
            if size != said:
                odd = f"has frames of {size[0]}x{size[1]}, the poses are of a video with {said[0]}x{said[1]}"
            elif counted is not None and noted is not None and counted != noted:
                odd = f"has {counted} frames, the poses are of a video with {noted}"
            else:
                return source
            source.close()
            hint = "it is another video, or was changed: name the one that the poses are of with --video"
            raise JmposeError(f"{path}: {odd}", hint=hint)

        return opened

    def _frames_noted(self) -> int | None:
        """Return how many frames the video had when the poses were made, where its header and `run.json` say so."""
        if not (self.folder / RUN_FILE).is_file():
            return None
        video = read_run(self.folder).values.get("video")
        frames = video.get("frames_claimed") if isinstance(video, dict) else None
        return frames if type(frames) is int else None

    def _source(self) -> tuple[Path, DecodeConfig]:
        """Return where the video lies and how it is decoded."""
        if (self.folder / RUN_FILE).is_file():
            record = read_run(self.folder)
            return record.video(self._video), record.config.decode
        if self._video is None:
            raise JmposeError(f"{self.folder}: nothing says where the video lies", hint="name it with --video")
        if not self._video.exists():
            raise JmposeError(f"{self._video}: the video is not there", hint="say where it lies now with --video FILE")
        return self._video, DecodeConfig()

    @staticmethod
    def _standing(now: _Open) -> dict[str, Any]:
        """Return what may change with every action."""
        corrections, live = now.corrections, now.corrections.live
        done, undone = corrections.done, corrections.undone
        return {
            "revision": now.revision,
            "undo": _text(done[-1]) if done else None,
            "redo": _text(undone[-1]) if undone else None,
            "steps": len(done),
            "reviewed": runs(live.index[live.reviewed]),
            "right": right_tracks(live.roster, done),
        }


def _prepare(corrections: Corrections) -> None:
    with suppress(JmposeError, OSError):  # the first correction says what is wrong
        corrections.prepare()


def _advised(one: Suspect) -> list[dict[str, Any]]:
    return [operation.model_dump(exclude_none=True) for operation in operations_in(one.remedy)]


def _text(step: Sequence[Operation]) -> str:
    return "; ".join(map(str, step))
