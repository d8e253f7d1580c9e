import numpy as np
import pytest

from jmpose.keypoints import COCO17
from jmpose_cli.pose.doubles import without_doubles
from jmpose_cli.values import FramePoses, TrackedFrame

RNG = np.random.default_rng(0)
SHAPE = RNG.uniform(0, [40, 120], (17, 2))  # one pose, pixels


def frame(*people: tuple[int, np.ndarray], scores: np.ndarray | None = None) -> FramePoses:
    """People as (track id, joints `[17, 2]`), each in the box around its joints."""
    n = len(people)
    xy = np.array([joints for _, joints in people], np.float32).reshape(n, 17, 2)
    boxes = np.concatenate([xy.min(1), xy.max(1)], 1) if n else np.zeros((0, 4), np.float32)
    ids = np.array([track for track, _ in people], np.int64)
    tracked = TrackedFrame(3, 0.1, boxes, np.full(n, 0.5, np.float32), ids, np.arange(n) % 2 == 0)
    joint_scores = np.full((n, 17), 0.8, np.float32) if scores is None else scores
    return FramePoses(tracked, xy, joint_scores, ids.astype(np.float32), xy + 1)


def kept(poses: FramePoses, same_pose_oks: float = 0.7) -> list[int]:
    return without_doubles(poses, COCO17, same_pose_oks=same_pose_oks).people.track_ids.tolist()


def test_of_two_people_with_one_pose_the_one_tracked_first_stays_wherever_it_stands():
    assert kept(frame((5, SHAPE + 1), (2, SHAPE), (7, SHAPE + 200))) == [2, 7]


def test_people_side_by_side_and_people_in_other_poses_stay():
    other = SHAPE[RNG.permutation(17)]
    assert kept(frame((1, SHAPE), (2, SHAPE + np.array([30, 0])), (3, other))) == [1, 2, 3]


@pytest.mark.parametrize("people", [(), ((4, SHAPE),)], ids=["nobody", "one"])
def test_frames_without_pairs(people: tuple[tuple[int, np.ndarray], ...]):
    poses = frame(*people)
    assert without_doubles(poses, COCO17, same_pose_oks=0.1) is poses


def test_the_limit_says_how_alike_poses_must_be_and_1_keeps_even_equal_ones():
    poses = frame((1, SHAPE), (2, SHAPE + 3))
    assert kept(poses, 0.2) == [1]
    assert kept(poses, 0.99) == [1, 2]
    assert kept(frame((1, SHAPE), (2, SHAPE)), 1.0) == [1, 2]


def test_whoever_is_left_out_takes_nobody_along():
    """2 is like 1, and 3 is like 2 but not like 1: 3 stays."""
    assert kept(frame((1, SHAPE), (2, SHAPE + 5), (3, SHAPE + 10)), 0.6) == [1, 3]
    assert kept(frame((2, SHAPE + 5), (3, SHAPE + 10)), 0.6) == [2]


def test_a_joint_counts_for_as_much_as_both_are_sure_of_it():
    moved = SHAPE.copy()
    moved[9] += 100  # a wrist that one of the two has nearly no idea of
    scores = np.full((2, 17), 0.8, np.float32)
    unsure = scores.copy()
    unsure[1, 9] = 0.01
    assert kept(frame((1, SHAPE), (2, moved), scores=scores), 0.95) == [1, 2]
    assert kept(frame((1, SHAPE), (2, moved), scores=unsure), 0.95) == [1]


def test_where_no_joint_has_a_score_nobody_is_left_out():
    assert kept(frame((1, SHAPE), (2, SHAPE), scores=np.zeros((2, 17), np.float32)), 0.1) == [1, 2]


def test_everything_of_those_who_stay_is_kept():
    poses = frame((2, SHAPE), (1, SHAPE), (3, SHAPE + 200))
    left = without_doubles(poses, COCO17, same_pose_oks=0.7)
    rows = [1, 2]
    assert left.people.index == 3 and left.people.time_s == 0.1
    for name in ("boxes_xyxy_px", "scores", "track_ids", "observed"):
        assert np.array_equal(getattr(left.people, name), getattr(poses.people, name)[rows])
    for name in ("xy_image", "scores", "person_scores", "xy_raw_image"):
        assert np.array_equal(getattr(left, name), getattr(poses, name)[rows])


@pytest.mark.parametrize("limit", [0.3, 0.5, 0.7, 0.9])
def test_likeness_is_judged_in_square_pixels(limit):
    nearby = [SHAPE + np.array(shift) for shift in ((0, 0), (8, 0), (0, 8), (16, 4))]
    square = frame(*enumerate(nearby, 1))
    wide = frame(*((track, joints / (2, 1)) for track, joints in enumerate(nearby, 1)))
    found = without_doubles(wide, COCO17, same_pose_oks=limit, pixel_width=2.0)
    assert found.people.track_ids.tolist() == kept(square, limit)
