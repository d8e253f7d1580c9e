import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jmpose.keypoints import (
    COCO17,
    COCO17_HEAD,
    HALPE26,
    KEYPOINT_SETS,
    LSP14,
    MPII16,
    POSETRACK15,
    POSETRACK18,
    WHOLEBODY23,
    KeypointSet,
)
from jmpose_cli.formats.keypoint_mapping import (
    derived_joints,
    known_set,
    map_keypoints,
    map_poses,
    present_joints,
    truth_set,
)
from jmpose_cli.values import FramePoses, TrackedFrame

HALPE_WITHOUT_FACE_AND_FEET = (
    "left_eye right_eye left_ear right_ear "
    "left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel"
)


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


def test_what_is_known_of_the_joints_comes_along():
    xy, scores = named(COCO17, nose=(50, 40, 0.9), left_shoulder=(70, 60, 0.8), right_shoulder=(40, 64, 0.4))
    covariances, probabilities = np.zeros((1, 17, 3), np.float32), np.zeros((1, 17), np.float32)
    covariances[0, [0, 5, 6]] = [[1, 0, 2], [4, 1, 4], [8, -1, 4]]
    probabilities[0, [0, 5, 6]] = [0.9, 0.5, 0.7]
    box = TrackedFrame(0, 0.0, np.zeros((1, 4)), np.ones(1), np.ones(1, np.int64), np.ones(1, bool))
    poses = FramePoses(box, xy, scores, np.ones(1), xy + 1, covariances, probabilities)
    mapped = map_poses(poses, COCO17, POSETRACK18)
    nose, bottom, top = (POSETRACK18.joints.index(name) for name in ("nose", "head_bottom", "head_top"))
    assert (mapped.xy_image == map_keypoints(xy, scores, COCO17, POSETRACK18)[0]).all()
    assert mapped.xy_raw_image[0, bottom].tolist() == [56, 63]
    assert mapped.covariances[0, [nose, bottom, top]].tolist() == [[1, 0, 2], [3, 0, 2], [7, 0, 10]]
    assert mapped.probabilities[0, [nose, bottom, top]] == pytest.approx([0.9, 0.6, 0.6])


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
    assert truth_set(COCO17_HEAD) is COCO17_HEAD
    assert truth_set(POSETRACK18) is POSETRACK18
    turned = KeypointSet("turned", COCO17_HEAD.joints[::-1], (), COCO17_HEAD.sigmas[::-1])
    assert truth_set(turned).joints == (*COCO17.joints, "head_top", "head_bottom")
    assert truth_set(turned).sigmas == (*COCO17.sigmas, *COCO17_HEAD.sigmas[:-3:-1])


def test_lsp_neck_is_the_upper_neck_and_halpe_neck_is_not():
    xy, scores = named(LSP14, neck=(5, 6, 0.7), head_top=(7, 1, 0.5))
    mapped_xy, mapped_scores = map_keypoints(xy, scores, LSP14, MPII16)
    assert mapped_xy[0, MPII16.joints.index("upper_neck")].tolist() == [5, 6]
    assert mapped_scores[0, MPII16.joints.index("upper_neck")] == np.float32(0.7)
    xy, scores = named(LSP14, neck=(5, 6, 0.7), left_shoulder=(10, 20, 0.4), right_shoulder=(0, 22, 0.2))
    mapped_xy, mapped_scores = map_keypoints(xy, scores, LSP14, HALPE26)
    assert mapped_xy[0, HALPE26.joints.index("neck")].tolist() == [5, 21]
    assert mapped_scores[0, HALPE26.joints.index("neck")] == pytest.approx(0.3)


def test_the_head_of_halpe_serves_posetrack():
    points = {"head": (5, 1, 0.9), "neck": (4, 20, 0.8), "nose": (6, 8, 1), "left_shoulder": (0, 25, 1)}
    xy, scores = named(HALPE26, **points)
    mapped_xy, mapped_scores = map_keypoints(xy, scores, HALPE26, POSETRACK18)
    rows = [POSETRACK18.joints.index(joint) for joint in ("head_top", "head_bottom")]
    assert mapped_xy[0, rows].tolist() == [[5, 1], [4, 20]]
    assert mapped_scores[0, rows] == pytest.approx([0.9, 0.8])
    assert derived_joints(HALPE26, POSETRACK18) == {"head_bottom": "the neck, which is a little lower"}


def test_pelvis_and_thorax_of_coco():
    xy, scores = named(
        COCO17,
        left_hip=(0, 50, 0.2),
        right_hip=(10, 54, 0.6),
        left_shoulder=(0, 10, 1),
        right_shoulder=(8, 12, 0.5),
    )
    mapped_xy, mapped_scores = map_keypoints(xy, scores, COCO17, MPII16)
    rows = [MPII16.joints.index(joint) for joint in ("pelvis", "thorax")]
    assert mapped_xy[0, rows].tolist() == [[5, 52], [4, 11]]
    assert mapped_scores[0, rows] == pytest.approx([0.4, 0.75])


@pytest.mark.parametrize(
    ("source", "target", "absent"),
    [
        (COCO17_HEAD, HALPE26, "left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel"),
        (COCO17_HEAD, WHOLEBODY23, "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"),
        (COCO17_HEAD, MPII16, ""),
        (COCO17_HEAD, LSP14, ""),
        (COCO17, POSETRACK15, ""),
        (WHOLEBODY23, POSETRACK15, ""),
        (HALPE26, WHOLEBODY23, ""),
        (HALPE26, COCO17_HEAD, ""),
        (LSP14, COCO17, "nose left_eye right_eye left_ear right_ear"),
        (MPII16, POSETRACK18, "nose left_ear right_ear"),
        (POSETRACK15, HALPE26, HALPE_WITHOUT_FACE_AND_FEET),
    ],
    ids=lambda value: value.name if isinstance(value, KeypointSet) else "",
)
def test_what_cannot_be_derived_is_absent(source, target, absent):
    there = present_joints(source, target)
    assert " ".join(joint for joint, known in zip(target.joints, there, strict=True) if not known) == absent
    k = len(source)
    xy, scores = map_keypoints(np.ones((2, k, 2), np.float32), np.ones((2, k), np.float32), source, target)
    assert (xy[:, ~there] == 0).all() and (scores[:, ~there] == 0).all() and (scores[:, there] == 1).all()


@pytest.mark.parametrize("target", KEYPOINT_SETS.values(), ids=KEYPOINT_SETS)
@pytest.mark.parametrize("source", KEYPOINT_SETS.values(), ids=KEYPOINT_SETS)
def test_mapping_commutes_with_mirroring(source, target):
    rng = np.random.default_rng(0)
    xy, scores = rng.normal(0, 100, (3, len(source), 2)).astype(np.float32), rng.random((3, len(source)), np.float32)

    def mirrored(xy, scores, keypoints):
        flip = list(keypoints.flip_index)
        return xy[:, flip] * np.float32([-1, 1]), scores[:, flip]

    before = map_keypoints(*mirrored(xy, scores, source), source, target)
    after = mirrored(*map_keypoints(xy, scores, source, target), target)
    assert np.allclose(before[0], after[0], atol=1e-3) and np.allclose(before[1], after[1])


def test_a_set_is_itself():
    for keypoints in KEYPOINT_SETS.values():
        assert derived_joints(keypoints, keypoints) == {} and present_joints(keypoints, keypoints).all()
        assert known_set(keypoints.joints) is keypoints
    assert known_set(("nose", "left_eye")) is None
