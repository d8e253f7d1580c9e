"""A video that is resumed after any frame gives what it gives when it is never stopped."""

from pathlib import Path

import pytest

from jmpose_cli.annotate.resume import ChangedVideoError, first_needed, kept_frames, resumed_frames
from jmpose_cli.annotate.stages import PosedFrame, pose_frames
from jmpose_cli.annotate.store import ClipStore
from jmpose_cli.annotate.task import StoppedError, Watcher
from jmpose_cli.background import StageClock
from jmpose_cli.config import InferConfig, RunConfig
from tests.annotate.made_up import FPS, MadeUpVideo, made_up_networks
from tests.annotate.test_stages import facts

FRAMES = 22
CONFIG = InferConfig.model_validate({"people": {"detect_every": 2}})


def run(path: Path, *, stop_after: int | None = None, drawn: int | None = None, frames: int = FRAMES) -> tuple:
    """Run until so many frames came; return them, the frames whose poses were estimated, and the first one decoded."""
    networks, clock, watcher, got = made_up_networks(), StageClock(), Watcher(), []
    with ClipStore(path, {}) as store:
        first = first_needed(store, networks, drawn=drawn)
        source = MadeUpVideo(frames, deliver_from=first)
        results = resumed_frames(source, CONFIG, networks, clock, store=store, decoded_from=first)
        try:
            for frame in kept_frames(results, store, RunConfig(chunk_frames=4), watcher, clock, fps=FPS):
                got.append(frame)
                if len(got) == stop_after:
                    watcher.stop.set()
            store.finish({"notes": source.notes, "video": {}})
        except StoppedError as stopped:
            assert stopped.frames >= len(got)
        return got, networks.estimator.asked, first


@pytest.fixture(scope="module")
def undisturbed() -> list[PosedFrame]:
    return list(pose_frames(MadeUpVideo(FRAMES), CONFIG, made_up_networks()))


def poses_of(frames: list[PosedFrame]) -> list[tuple]:
    return [fact[:5] for fact in facts(frames)]


@pytest.mark.parametrize("drawn", [None, 0, 9])
@pytest.mark.parametrize("stop_after", range(1, FRAMES))
def test_after_any_frame(undisturbed, tmp_path, stop_after, drawn):
    got, _, first = run(tmp_path / "r", stop_after=stop_after)
    assert first == 0 and poses_of(got) == poses_of(undisturbed[:stop_after])
    done = ClipStore(tmp_path / "r", {})
    with done:
        assert stop_after <= done.frames < FRAMES + 1
    got, asked, first = run(tmp_path / "r", drawn=drawn)
    assert poses_of(got) == poses_of(undisturbed)
    assert asked == list(range(done.frames, FRAMES)) == [f.observation.index for f in got if f.observation]
    assert first == max(0, min(done.frames - 2, done.frames if drawn is None else drawn))
    assert [f.pixels is None for f in got] == [number < first for number in range(FRAMES)]


def test_what_is_done_is_neither_decoded_nor_estimated(undisturbed, tmp_path):
    run(tmp_path / "r")
    got, asked, first = run(tmp_path / "r")
    assert poses_of(got) == poses_of(undisturbed) and (asked, first) == ([], FRAMES)


def test_a_video_that_has_become_another_is_noticed(tmp_path):
    run(tmp_path / "r", stop_after=12)
    with ClipStore(tmp_path / "r", {}) as store:
        done = store.frames
    with pytest.raises(ChangedVideoError, match="fewer frames than when the run was stopped"):
        run(tmp_path / "r", frames=done - 1)
