"""The reviewer who knows the ground truth, and that the page does what its desk says."""

import importlib.util
import shutil
from dataclasses import replace

import numpy as np
import pytest

from jmpose_cli.clips.operations import SwapSides
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.truth import read_truth, write_truth
from reviewer import GOES, IDS, JOINTS, SELECTS, Desk, Reviewer, best_of
from tests.clips.walkers import Walker, walk
from tests.review.page_client import make_folder

KNEE, LATE = 13, 60


@pytest.fixture
def right():
    """Two people who keep apart."""
    return walk(Walker(2, 300.0), Walker(5, 900.0, y=430.0), noise_px=0.0)


@pytest.fixture
def ground(right, tmp_path):
    write_truth(right, tmp_path / "keypoints.coco.json")
    return read_poses(tmp_path / "keypoints.coco.json")


@pytest.fixture
def wrong(right):
    """The two exchange their ids, and knees and the joints after them are off for a while."""
    xy, late = right.xy.copy(), right.frame >= LATE
    lost = (right.track_ids == 2) & (right.frame >= 10) & (right.frame < LATE)
    xy[lost, KNEE:] += (70.0, -60.0)
    doubt = np.where(lost[:, None] & (np.arange(xy.shape[1]) >= KNEE), 0.3, 0.95)
    return replace(
        right, xy=xy, probabilities=doubt, track_ids=np.where(late, 7 - right.track_ids, right.track_ids)
    ).sorted()


@pytest.mark.parametrize("way", ["where_most_is_wrong", "every_suspect"])
def test_a_reviewer_reaches_the_goal_in_far_fewer_actions_than_frame_by_frame(wrong, ground, way):
    reviewer, plain = (Reviewer(Desk(wrong, spreads=spreads), ground) for spreads in (True, False))
    assert reviewer.look().pck < 95 and len(reviewer.look().switches) == 2
    getattr(reviewer, way)()
    plain.frame_by_frame()
    assert reviewer.look().is_done and plain.look().is_done
    assert plain.desk.actions[JOINTS] == 30 and reviewer.desk.actions[JOINTS] <= 15
    assert plain.desk.actions[IDS] == 1 and plain.desk.actions[SELECTS] == 2
    assert plain.desk.actions[GOES] == LATE


def test_an_id_that_went_to_somebody_else_meanwhile_is_given_back(right, ground):
    late, mine = right.frame >= LATE, right.track_ids == 2
    meanwhile = (right.frame >= 40) & ~late
    ids = np.where(mine & late, 11, 2)  # somebody else has 2 from frame 40 on
    wrong = replace(right, track_ids=ids).rows(np.where(mine, ~meanwhile, right.frame >= 40))
    reviewer = Reviewer(Desk(wrong, spreads=True), ground)
    assert [(one.frame, one.before, one.after) for one in reviewer.look().switches] == [(LATE, 2, 11)]
    reviewer.where_most_is_wrong()
    assert reviewer.look().switches == [] and reviewer.desk.actions[IDS] <= 4


def test_exchanged_legs_take_a_key_or_two(right, ground):
    legs = ("left_hip", "left_knee", "left_ankle")
    wrong = SwapSides(track=2, frames=(20, 30), joints=legs).apply(right)
    wrong = SwapSides(track=5, frames=(40, 60), joints=legs).apply(wrong)
    reviewer = Reviewer(Desk(replace(wrong, sources=np.zeros_like(wrong.sources)), spreads=True), ground)
    while reviewer.look().pck < 100:
        reviewer._mend_worst(reviewer.look())
    assert reviewer.desk.actions[JOINTS] == 0 and reviewer.desk.actions.total() <= 6


def test_joints_are_gripped_where_no_other_lies_over_them(right):
    desk = Desk(right, spreads=False, canvas=(1280, 720))
    desk.go(2, 0)
    (row,) = desk.rows(2)
    xy = right.xy.copy()
    xy[row, 9], xy[row, 10] = xy[row, 7] + (5, 0), xy[row, 7]  # a wrist near the elbow, the other one on it
    desk.truth = replace(desk.truth, xy=xy)
    x, y = desk.grip(2, 9, 600.0, 300.0)
    assert np.linalg.norm(xy[row, 9] - (x, y)) < np.linalg.norm(xy[row, 7] - (x, y))
    assert desk.grip(2, 7, 600.0, 300.0) is None and desk.grip(2, 10, 600.0, 300.0) is None
    desk.drag(2, 7, 600.0, 300.0)
    assert desk.actions == {GOES: 1, SELECTS: 1, JOINTS: 1}


def test_joints_that_are_worth_most_an_action_are_chosen():
    assert best_of(np.array([0.0, 5.0, 1.0, 4.0])) == [1, 3]
    assert best_of(np.array([0.5, 0.0])) == [0]


@pytest.mark.browser
def test_the_page_does_what_the_desk_says(tmp_path):
    if importlib.util.find_spec("playwright") is None or shutil.which("chromium") is None:
        pytest.skip("Playwright or Chromium is not installed")
    from browser_desk import BrowserDesk, opened, same_poses, served

    folder, video = make_folder(tmp_path)
    before = read_truth(folder)
    with served(folder, "--video", str(video)) as address, opened(address) as page:
        shown = BrowserDesk(page, folder, spreads=True)
        desks = [shown, Desk(before, spreads=True, canvas=shown.canvas)]
        for desk in desks:
            desk.go_to_suspect(0)
            desk.go(1, 3)
            desk.drag(1, 5, 300.0, 150.0)
            desk.step()
            desk.press("Shift+L")
            desk.select(1)
            desk.select_other(8)
            desk.press("x")
            desk.mark_reviewed()
    assert shown.actions == desks[1].actions and shown.actions.total() == 10
    assert same_poses(shown.truth, desks[1].truth, off_px=2.0) == []
    assert same_poses(read_truth(folder), shown.truth, off_px=0.02) == []
