import pytest

from jmpose.keypoints import (
    COCO17,
    HALPE26,
    KEYPOINT_SETS,
    LSP14,
    MPII16,
    POSETRACK15,
    POSETRACK18,
    WHOLEBODY23,
    KeypointSet,
)

EACH_SET = pytest.mark.parametrize("keypoints", KEYPOINT_SETS.values(), ids=KEYPOINT_SETS)


@EACH_SET
def test_mirroring_twice_changes_nothing(keypoints: KeypointSet) -> None:
    flip = keypoints.flip_index
    assert [flip[i] for i in flip] == list(range(len(keypoints)))
    for joint, other in zip(keypoints.joints, flip, strict=True):
        mirrored = keypoints.joints[other]
        assert (joint.startswith("left"), joint.startswith("right")) == (
            mirrored.startswith("right"),
            mirrored.startswith("left"),
        )


@EACH_SET
def test_skeleton_joins_different_joints_of_the_set(keypoints: KeypointSet) -> None:
    assert all(a != b for a, b in keypoints.skeleton_index)
    assert len(set(keypoints.joints)) == len(keypoints)
    pairs = {frozenset(pair) for pair in keypoints.skeleton_index}
    mirrored = {frozenset(keypoints.flip_index[joint] for joint in pair) for pair in pairs}
    assert len(pairs) == len(keypoints.skeleton) and mirrored == pairs


# The ears of PoseTrack18 are never annotated.
@EACH_SET
def test_every_joint_hangs_on_the_skeleton(keypoints: KeypointSet) -> None:
    drawn = {joint for pair in keypoints.skeleton for joint in pair}
    assert set(keypoints.joints) - drawn == ({"left_ear", "right_ear"} if keypoints is POSETRACK18 else set())


@EACH_SET
def test_common_names_tell_all_joints_apart(keypoints: KeypointSet) -> None:
    assert len(set(keypoints.common_names)) == len(keypoints)


COCO_ORDER = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)


@pytest.mark.parametrize(
    ("keypoints", "joints"),
    [
        (COCO17, COCO_ORDER),
        # mmpose, configs/_base_/datasets/coco_wholebody.py, 0 to 22
        (
            WHOLEBODY23,
            f"{COCO_ORDER} left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
        ),
        # mmpose, configs/_base_/datasets/halpe26.py
        (
            HALPE26,
            f"{COCO_ORDER} head neck hip "
            "left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel",
        ),
        # mmpose, configs/_base_/datasets/mpii.py
        (
            MPII16,
            "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top "
            "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist",
        ),
        # Leeds Sports Pose, README of the data set
        (
            LSP14,
            "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
            "left_shoulder left_elbow left_wrist neck head_top",
        ),
        # poseval, ids of the PoseTrack17 files
        (
            POSETRACK15,
            "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
            "left_shoulder left_elbow left_wrist head_bottom nose head_top",
        ),
        # mmpose, configs/_base_/datasets/posetrack18.py
        (
            POSETRACK18,
            "nose head_bottom head_top left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
            "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, KeypointSet) else "",
)
def test_joints_in_the_order_of_the_data_set(keypoints: KeypointSet, joints: str) -> None:
    assert " ".join(keypoints.joints) == joints


def test_sigmas_as_published() -> None:
    coco = (0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107)
    coco += (0.087, 0.087, 0.089, 0.089)
    assert COCO17.sigmas == coco
    assert WHOLEBODY23.sigmas == (*coco, 0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
    assert HALPE26.sigmas == (*coco, 0.08, 0.08, 0.08, 0.089, 0.089, 0.089, 0.089, 0.089, 0.089)


@pytest.mark.parametrize("keypoints", [POSETRACK15, LSP14, MPII16], ids=lambda s: s.name)
def test_body_sigmas_are_those_of_coco(keypoints: KeypointSet) -> None:
    known = dict(zip(COCO17.joints, COCO17.sigmas, strict=True))
    shared = [joint for joint in keypoints.joints if joint in known]
    assert len(shared) >= 12
    assert all(keypoints.sigmas[keypoints.joints.index(joint)] == known[joint] for joint in shared)


def test_a_sigma_for_each_joint() -> None:
    with pytest.raises(ValueError, match="few: 1 sigmas for 2 joints"):
        KeypointSet("few", ("nose", "left_eye"), (), (0.1,))


def test_a_synonym_needs_its_joint() -> None:
    with pytest.raises(ValueError, match="few: a synonym for neck, which it does not have"):
        KeypointSet("few", ("nose",), (), (0.1,), synonyms=(("neck", "head_bottom"),))
