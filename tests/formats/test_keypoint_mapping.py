import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jmpose.keypoints import COCO17, COCO17_HEAD, POSETRACK18, KeypointSet
from jmpose_cli.formats.keypoint_mapping import coco_set, map_keypoints


def named(keypoints: KeypointSet, **joints: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """One person with the joints given as (x, y, score), all others zero."""
    xy, scores = np.zeros((1, len(keypoints), 2), np.float32), np.zeros((1, len(keypoints)), np.float32)
    for name, (x, y, score) in joints.items():
        xy[0, keypoints.joints.index(name)] = x, y
        scores[0, keypoints.joints.index(name)] = score
    return xy, scores


def test_synthesises_head_as_the_field_does():
    xy, scores = named(COCO17, nose=(50, 40, 0.9), left_shoulder=(70, 60, 0.8), right_shoulder=(40, 64, 0.4))
    mapped_xy, mapped_scores = map_keypoints(xy, scores, COCO17, POSETRACK18)
    bottom, top = POSETRACK18.joints.index("head_bottom"), POSETRACK18.joints.index("head_top")
    assert mapped_xy[0, bottom].tolist() == [55, 62]
    assert mapped_xy[0, top].tolist() == [45, 18]
    assert mapped_scores[0, [bottom, top]] == pytest.approx([0.6, 0.6])


def test_own_head_joints_win_over_synthesis():
    xy, scores = named(COCO17_HEAD, head_top=(1, 2, 0.3), head_bottom=(3, 4, 0.2), nose=(9, 9, 1))
    mapped_xy, mapped_scores = map_keypoints(xy, scores, COCO17_HEAD, POSETRACK18)
    assert mapped_xy[0, POSETRACK18.joints.index("head_top")].tolist() == [1, 2]
    assert mapped_scores[0, POSETRACK18.joints.index("head_bottom")] == np.float32(0.2)


def test_joint_that_nobody_knows_is_absent():
    xy, scores = map_keypoints(np.ones((2, 17, 2), np.float32), np.ones((2, 17), np.float32), POSETRACK18, COCO17)
    assert xy[:, COCO17.joints.index("left_eye")].tolist() == [[0, 0], [0, 0]]
    assert scores[:, COCO17.joints.index("right_eye")].tolist() == [0, 0]


@settings(deadline=None, max_examples=30)
@given(arrays(np.float32, (3, 19, 2), elements=st.floats(-1e4, 1e4, width=32)), st.permutations(range(19)))
def test_reordering_and_back_changes_nothing(xy, order):
    shuffled = KeypointSet(
        name="shuffled",
        joints=tuple(COCO17_HEAD.joints[i] for i in order),
        skeleton=(),
        sigmas=tuple(COCO17_HEAD.sigmas[i] for i in order),
    )
    scores = xy[..., 0]
    there = map_keypoints(xy, scores, COCO17_HEAD, shuffled)
    assert (there[0] == xy[:, order]).all()
    back = map_keypoints(*there, shuffled, COCO17_HEAD)
    assert (back[0] == xy).all()
    assert (back[1] == scores).all()


def test_coco_file_holds_coco_joints_when_it_can():
    assert coco_set(COCO17_HEAD) is COCO17
    assert coco_set(POSETRACK18) is POSETRACK18
