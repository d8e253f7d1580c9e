import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose.keypoints import COCO17_HEAD
from renderer import JOINTS
from renderer.casting import random_look, random_physique
from renderer.clothes import dress
from renderer.fabric import Fabric
from renderer.skeleton import BONE, Physique, Skeleton
from renderer.standing import Exercise, Sit, Stand
from renderer.transforms import two_bones
from renderer.walking import Gait, Path, Walk

BODY = Skeleton(Physique(1.78))
PATH = Path(np.array([1.0, 2.0]), 0.4, ((1.0, 0.8), (2.0, 0.0)))
MOTIONS = {
    "walk": Walk(BODY, PATH, Gait(1.35, 0.70)),
    "jog": Walk(BODY, PATH, Gait(2.8, 1.03, jog=True, arm_swing=0.5, elbow=1.4)),
    "stand": Stand(BODY, np.array([1.0, 2.0]), 0.4, bow=0.8),
    "sit": Sit(BODY, np.array([1.0, 2.0]), 0.4),
    "exercise": Exercise(BODY, np.array([1.0, 2.0]), 0.4, seed=3),
}
LIMBS = (("upper_arm", "forearm"), ("forearm", "hand"), ("thigh", "shin"), ("shin", "foot"), ("foot", "toes"))


def test_joints_are_those_of_the_project() -> None:
    assert COCO17_HEAD.joints == JOINTS


@given(st.floats(0.1, 2.0), st.floats(-3, 3), st.floats(-1.4, 1.4))
def test_two_bones_keep_their_lengths_and_bend_towards_the_pole(distance, yaw, pitch) -> None:
    root, pole = np.array([0.3, -0.2, 1.0]), np.array([0.0, 0.0, 1.0])
    direction = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    middle, end = two_bones(root, root + distance * direction, (0.4, 0.45), pole)
    assert np.linalg.norm(middle - root) == pytest.approx(0.4)
    assert np.linalg.norm(end - middle) == pytest.approx(0.45)
    assert pole @ (middle - root) >= pole @ direction * (direction @ (middle - root)) - 1e-9


def test_two_bones_reach_a_target_within_their_range() -> None:
    target = np.array([0.5, 0.2, 0.1])
    _, end = two_bones(np.zeros(3), target, (0.4, 0.45), np.array([0.0, 0.0, 1.0]))
    assert end == pytest.approx(target)


@pytest.mark.parametrize("name", MOTIONS)
def test_limbs_keep_their_lengths(name) -> None:
    for time_s in np.linspace(0, 3, 16):
        origins = BODY.solve(MOTIONS[name].pose(float(time_s))).origins
        for side in ("left", "right"):
            for a, b in LIMBS:
                start, end = BONE[f"{side}_{a}"], BONE[f"{side}_{b}"]
                length = np.linalg.norm(BODY.rest[end] - BODY.rest[start])
                assert np.linalg.norm(origins[end] - origins[start]) == pytest.approx(length), (side, a)


@pytest.mark.parametrize("name", MOTIONS)
def test_nobody_sinks_into_the_ground(name) -> None:
    for time_s in np.linspace(0, 3, 31):
        origins = BODY.solve(MOTIONS[name].pose(float(time_s))).origins
        assert origins[:, 2].min() > -0.01


@pytest.mark.parametrize("name", MOTIONS)
def test_motion_is_smooth(name) -> None:
    step = 0.005
    times = np.arange(0, 2, step)
    joints = np.array([BODY.solve(MOTIONS[name].pose(float(t))).joints for t in times])
    # A sprinter's hands and feet move at less than 10 m/s.
    assert np.linalg.norm(np.diff(joints, axis=0), axis=2).max() / step < 10


def test_left_and_right_are_on_their_sides() -> None:
    joints = BODY.solve(Stand(BODY, np.zeros(2), 0.0, turn=0.0).pose(0.0)).joints
    for name in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        left, right = (joints[JOINTS.index(f"{side}_{name}")] for side in ("left", "right"))
        assert left[1] > 0.01 > -0.01 > right[1], name
    assert joints[JOINTS.index("nose")][0] > joints[JOINTS.index("left_ear")][0]


def test_a_standing_body_is_as_tall_as_it_says() -> None:
    joints = BODY.solve(Stand(BODY, np.zeros(2), 0.0).pose(0.0)).joints
    assert joints[JOINTS.index("head_top"), 2] == pytest.approx(1.78, abs=0.02)


def test_a_walker_covers_the_ground_at_its_speed() -> None:
    walk = MOTIONS["walk"]
    start, end = (walk.path.at(1.35 * t)[0] for t in (0.0, 0.5))
    pelvis = walk.pose(0.5).pelvis[:2] - walk.pose(0.0).pelvis[:2]
    assert np.linalg.norm(pelvis) == pytest.approx(np.linalg.norm(end - start), abs=0.05)


@pytest.mark.parametrize("name", ["walk", "jog"])
def test_a_foot_on_the_ground_does_not_slide(name) -> None:
    walk = MOTIONS[name]
    stride_s = 2 * walk.gait.step / walk.gait.speed
    # The middle of the left foot's stance, when it is flat.
    middle = [walk.pose(stride_s * (2 + share)).feet[0] for share in (0.13, 0.15, 0.17)]
    assert all(foot.pitch == pytest.approx(0, abs=0.03) for foot in middle)
    assert np.ptp([foot.ankle for foot in middle], axis=0) == pytest.approx(0, abs=0.005)


def test_a_path_turns_by_its_curvature() -> None:
    quarter = Path(np.zeros(2), 0.0, ((1.0, 1.0), (1.0 + np.pi / 2, 0.0)))
    position, heading = quarter.at(1.0 + np.pi / 2 + 2.0)
    assert heading == pytest.approx(np.pi / 2)
    assert position == pytest.approx([2.0, 3.0])
    assert quarter.at(-1.0)[0] == pytest.approx([-1.0, 0.0])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_anybody_can_be_dressed(seed) -> None:
    rng = np.random.default_rng(seed)
    physique = random_physique(rng)
    figure = dress(Skeleton(physique), random_look(rng, physique), seed, detail=0.6)
    assert figure.weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert figure.weights.min() >= -1e-6
    assert np.linalg.norm(figure.normals, axis=1) == pytest.approx(1, abs=1e-6)
    assert figure.faces.min() == 0
    assert figure.faces.max() == len(figure.vertices) - 1
    low, high = figure.vertices.min(axis=0), figure.vertices.max(axis=0)
    assert -0.01 < low[2] < 0.02
    assert high[2] == pytest.approx(physique.height, abs=0.06)
    assert all(np.isfinite(level).all() and level.min() >= 0 for level in figure.atlas)


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="no pattern 'tartan'"):
        Fabric(np.zeros(3), np.zeros(3), "tartan", 0.1)
