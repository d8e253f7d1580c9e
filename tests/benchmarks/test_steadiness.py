import dataclasses

import numpy as np
import pytest

from jmpose.keypoints import COCO17
from mix_ups import Share
from real_video import Clip
from steadiness import ClipFigures, acceleration, count_swaps, is_found, reduction, speed

SIZE = np.array([100.0])
EVERYWHERE = np.ones((1, 17), bool)


def standing() -> np.ndarray:
    """A person `[1, 17, 2]` seen from the front: left joints 40 pixels to the right of right ones."""
    xy = np.zeros((1, 17, 2))
    for k, joint in enumerate(COCO17.joints):
        xy[0, k] = (20 if joint.startswith("left") else -20 if joint.startswith("right") else 0, 10 * ((k + 1) // 2))
    return xy


def mirrored(xy: np.ndarray, *parts: str) -> np.ndarray:
    """Exchange left and right of some parts."""
    flip = [COCO17.flip_index[k] if joint.endswith(parts) else k for k, joint in enumerate(COCO17.joints)]
    return xy[:, flip]


def test_exchanged_arms_and_legs_are_swapped() -> None:
    truth = standing()
    assert count_swaps(truth, truth, EVERYWHERE, SIZE) == Share(2, 0)
    arms = mirrored(truth, "shoulder", "elbow", "wrist")
    assert count_swaps(arms, truth, EVERYWHERE, SIZE) == Share(2, 1)
    assert count_swaps(mirrored(arms, "hip", "knee", "ankle"), truth, EVERYWHERE, SIZE) == Share(2, 2)
    assert count_swaps(arms + np.array([6, 3]), truth, EVERYWHERE, SIZE) == Share(2, 1)  # also when it is not exact


def test_one_exchanged_pair_of_three_is_no_swap() -> None:
    assert count_swaps(mirrored(standing(), "wrist"), standing(), EVERYWHERE, SIZE) == Share(2, 0)


def test_being_wrong_is_no_swap() -> None:
    assert count_swaps(standing() + np.array([0, 50]), standing(), EVERYWHERE, SIZE) == Share(2, 0)


def test_sides_that_are_not_apart_or_not_known_are_not_counted() -> None:
    from_the_side = standing() * [0.2, 1]  # left and right 8 pixels apart, of a box of 100
    assert count_swaps(from_the_side, from_the_side, EVERYWHERE, SIZE) == Share(0, 0)
    few = EVERYWHERE.copy()
    few[0, [COCO17.joints.index("left_hip"), COCO17.joints.index("right_knee")]] = False
    assert count_swaps(standing(), standing(), few, SIZE) == Share(1, 0)


def test_shares_add_up() -> None:
    assert (Share(3, 1) + Share(5, 1)).percent == 25
    assert np.isnan(Share(0, 0).percent)


def test_acceleration_is_in_thousandths_of_the_box() -> None:
    xy, known = np.zeros((5, 2, 2)), np.ones((5, 2), bool)
    xy[:, 0, 0] = [0, 5, 10, 15, 20]  # even motion has none
    xy[:, 1, 1] = [0, 0, 4, 0, 0]
    known[0, 1] = False
    assert acceleration(xy, known, np.full(5, 200.0)).tolist() == pytest.approx([0, 0, 40, 0, 20])


def test_speed_counts_box_sizes_a_second(clip: Clip) -> None:
    assert speed(clip) == pytest.approx(3 * 30 / np.sqrt(30 * 60), rel=0.03)
    assert speed(dataclasses.replace(clip, known=np.zeros((16, 17), bool))) == np.inf


def test_reduction_is_relative_and_weighs_joints() -> None:
    jitter = {"single": np.array([10.0, 10.0]), "temporal": np.array([5.0, 7.0])}
    figures = ClipFigures("a", "a 1", 0.1, jitter, {})
    steady = ClipFigures("b", "b 1", 0.1, {"single": np.array([20.0]), "temporal": np.array([20.0])}, {})
    value, low, high = reduction([figures, steady], "temporal", "single")
    assert (value, low, high) == pytest.approx((-20, -40, 0))


def test_a_found_box_finds_one_person() -> None:
    truth = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [50, 50, 60, 80]], np.float32)
    boxes = np.array([[0, 0, 10, 20], [50, 50, 60, 59]], np.float32)
    assert is_found(truth, boxes).tolist() == [True, False, False]
    assert is_found(truth, np.zeros((0, 4), np.float32)).tolist() == [False] * 3
    assert is_found(truth[:0], boxes).tolist() == []
