"""Resume: the stages of a video of which an earlier run has done the first frames, and what is kept for the next one.

The stages are a function of the frames in their order, so a run that was killed is continued exactly: what was found in
the frames already done is given to a new tracker, the frames that reach into the windows of the next one are decoded
again, and everything after that is computed as if nothing had happened.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from jmpose_cli.annotate.networks import Networks
from jmpose_cli.annotate.stages import (
    ObservedFrame,
    Observer,
    PosedFrame,
    estimated,
    pose_frames,
    spacing_for,
    tracked,
    windows_of,
)
from jmpose_cli.annotate.store import ClipStore
from jmpose_cli.annotate.task import StoppedError, Watcher
from jmpose_cli.background import StageClock
from jmpose_cli.config import InferConfig, RunConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.values import FrameBatch, Observation
from jmpose_cli.video.source import FrameSource


class ChangedVideoError(JmposeError):
    """The video gives other frames than in the run that is to be resumed."""


def first_needed(store: ClipStore, networks: Networks, *, drawn: int | None) -> int:
    """Return the ordinal number of the first frame whose pixels are needed.

    Args:
        store: What is done.
        networks: The networks.
        drawn: Frames of which the overlay is done; None when it needs none of the frames that have poses.
    """
    if store.fps is None:
        return 0
    first = store.frames
    if store.ending is None:
        first -= spacing_for(networks, store.fps).reach
    if drawn is not None:
        first = min(first, drawn)
    return max(first, 0)


def resumed_frames(
    source: FrameSource,
    config: InferConfig,
    networks: Networks,
    clock: StageClock,
    *,
    store: ClipStore,
    decoded_from: int,
    found: dict[str, Any] | None = None,
) -> Iterator[PosedFrame]:
    """Yield every frame in order with its poses, those that an earlier run did first.

    Nothing is decoded when all frames are done and none is needed.

    Args:
        source: Gives the frames from the one with the ordinal number `decoded_from` on.
        config: The settings.
        networks: The networks.
        clock: Counts busy seconds.
        store: What is done.
        decoded_from: As `first_needed` says.
        found: Receives at the end what is known of the whole video, unless an earlier run has stored it.

    Raises:
        ChangedVideoError: The source does not give the frames that the earlier run saw.
    """
    frames, last = store.frames, store.last
    if not frames:
        yield from pose_frames(source, config, networks, clock, found=found)
        return
    poses, known = store.poses(), store.observations()
    for done in islice(poses, decoded_from):
        yield PosedFrame(None, done, None)
    if store.ending is not None and decoded_from >= frames:
        return
    observer = Observer(config, networks, clock, pixel_width=source.info.pixel_width, after=last)
    batches = clock.waiting_for("decode", iter(source))
    seen = _replayed(batches, known, observer, undecoded=decoded_from, path=source.info.path)
    with closing(windows_of(tracked(seen, source, config, networks, clock, found), networks, source.info)) as windows:
        for one in islice(windows, frames - decoded_from):
            yield PosedFrame(one.key.pixels, next(poses), None)
        yield from estimated(windows, config, networks, clock)


def _replayed(
    batches: Iterable[FrameBatch], known: Iterator[Observation], observer: Observer, *, undecoded: int, path: Path
) -> Iterator[ObservedFrame]:
    """Yield the frames for the tracker: remembered ones without pixels, those decoded again, then new ones."""
    for observation in islice(known, undecoded):
        yield ObservedFrame(None, observation)
    for batch in batches:
        again = list(islice(known, len(batch)))
        rows = len(again)
        if [observation.index for observation in again] != batch.index[:rows].tolist():
            raise ChangedVideoError(f"{path}: other frames than when the run was stopped")
        new = observer.push(FrameBatch(batch.frames[rows:], batch.index[rows:], batch.time_s[rows:]))
        yield from map(ObservedFrame, batch.frames, again)
        yield from new
    if next(known, None) is not None:
        raise ChangedVideoError(f"{path}: fewer frames than when the run was stopped")


def kept_frames(
    frames: Iterable[PosedFrame], store: ClipStore, run: RunConfig, watcher: Watcher, clock: StageClock, *, fps: float
) -> Iterator[PosedFrame]:
    """Pass frames on and keep the new ones, in chunks.

    Raises:
        StoppedError: As asked by the watcher; what came before is committed.
    """
    committed_s = time.monotonic()
    for frame in frames:
        if frame.observation is not None:
            store.add(frame.observation, frame.poses)
            is_late = time.monotonic() - committed_s > run.chunk_s
            if store.waiting >= run.chunk_frames or is_late or watcher.stop.is_set():
                with clock("commit"):
                    store.commit(fps=fps)
                committed_s = time.monotonic()
            watcher.advanced(len(frame.poses))
        yield frame
        if watcher.stop.is_set():
            store.commit(fps=fps)
            raise StoppedError(store.frames)
    store.commit(fps=fps)
