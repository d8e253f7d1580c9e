import pytest

from jmpose.keypoints import KEYPOINT_SETS, KeypointSet


@pytest.mark.parametrize("keypoints", KEYPOINT_SETS.values(), ids=KEYPOINT_SETS)
def test_mirroring_twice_changes_nothing(keypoints: KeypointSet) -> None:
    flip = keypoints.flip_index
    assert [flip[i] for i in flip] == list(range(len(keypoints)))
    for joint, other in zip(keypoints.joints, flip, strict=True):
        mirrored = keypoints.joints[other]
        assert (joint.startswith("left"), joint.startswith("right")) == (
            mirrored.startswith("right"),
            mirrored.startswith("left"),
        )


@pytest.mark.parametrize("keypoints", KEYPOINT_SETS.values(), ids=KEYPOINT_SETS)
def test_skeleton_joins_different_joints_of_the_set(keypoints: KeypointSet) -> None:
    assert all(a != b for a, b in keypoints.skeleton_index)
    assert len(set(keypoints.joints)) == len(keypoints)


def test_a_sigma_for_each_joint() -> None:
    with pytest.raises(ValueError, match="few: 1 sigmas for 2 joints"):
        KeypointSet("few", ("nose", "left_eye"), (), (0.1,))
