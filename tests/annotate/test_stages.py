"""The stages over a video, and over frames that come one after the other."""

import threading

import numpy as np
import pytest

from jmpose_cli.annotate.stages import LiveStages, PosedFrame, pose_frames
from jmpose_cli.config import InferConfig
from jmpose_cli.values import Detections, FrameBatch
from tests.annotate.made_up import CUT_AT, FPS, KnownBoxes, MadeUpVideo, made_up_networks

FRAMES = 34
CONFIG = InferConfig()


def facts(frames: list[PosedFrame]) -> list[tuple]:
    """Return all of the frames that can be compared."""
    return [
        (
            f.poses.people.index,
            f.poses.people.segment,
            f.poses.people.track_ids.tolist(),
            f.poses.people.observed.tolist(),
            f.poses.xy_image.tobytes(),
            None if f.observation is None else f.observation.index,
            None if f.pixels is None else f.pixels.tobytes(),
        )
        for f in frames
    ]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, FRAMES])
def test_frames_that_come_as_they_like_get_the_poses_of_a_video(batch, every):
    config = InferConfig.model_validate({"people": {"detect_every": every}})
    wanted = list(pose_frames(MadeUpVideo(FRAMES), config, made_up_networks()))
    assert [f.poses.people.index for f in wanted] == list(range(FRAMES))
    assert {f.poses.people.segment for f in wanted[:CUT_AT]} == {0} and wanted[CUT_AT].poses.people.segment == 1
    live, got = LiveStages(config, made_up_networks(), fps=FPS), []
    for taken, frames in enumerate(MadeUpVideo(FRAMES, batch=batch), start=1):
        got += live.push(frames)
        # Half a second or seven looks for gaps, two frames for windows.
        assert taken * batch - len(got) <= max(round(FPS / 2), 7 * every) + 4 + batch
    assert facts([*got, *live.finish()]) == facts(wanted)


def test_a_video_that_is_left_early_leaves_no_thread():
    before = threading.active_count()
    frames = pose_frames(MadeUpVideo(FRAMES), CONFIG, made_up_networks())
    next(frames)
    assert threading.active_count() > before
    frames.close()
    assert threading.active_count() == before


class Twice:
    """Finds one person twice."""

    start_score = 0.25

    def detect(self, frames: np.ndarray, *, pixel_width: float = 1.0) -> list[Detections]:
        return [KnownBoxes().at(0)[0] for _ in frames]


def test_people_found_twice_are_one_and_known_boxes_are_all_kept():
    def people(**parts: object) -> set[int]:
        frames = pose_frames(MadeUpVideo(6), CONFIG, made_up_networks(**parts))
        return {len(frame.poses) for frame in frames}

    assert people(detector=Twice()) == {1}
    assert people(detector=None, boxes=KnownBoxes()) == {2}


def test_the_tracker_says_what_it_cannot_do():
    live = LiveStages(CONFIG, made_up_networks(), fps=0.2)
    for batch in MadeUpVideo(4, batch=1):
        live.push(FrameBatch(batch.frames, batch.index, batch.index * 5.0))
    assert "too seldom" in live.notes()[0]
