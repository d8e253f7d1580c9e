import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, POSETRACK18, KeypointSet
from jmpose_cli.values import FramePoses, TrackedFrame
from jmpose_cli.video.heads import HeadEllipses, head_ellipses, hide_heads


def person(box: tuple[float, ...], keypoints: KeypointSet = COCO17, **joints: tuple[float, float]) -> FramePoses:
    """One person of whom only these joints are certain."""
    xy, scores = np.zeros((1, len(keypoints), 2), np.float32), np.zeros((1, len(keypoints)), np.float32)
    for name, point in joints.items():
        xy[0, keypoints.joints.index(name)] = point
        scores[0, keypoints.joints.index(name)] = 0.9
    one = np.ones(1, np.float32)
    frame = TrackedFrame(0, 0.0, np.array([box], np.float32), one, np.array([1]), np.array([True]))
    return FramePoses(frame, xy, scores, one)


FACE = {"nose": (100, 100), "left_eye": (106, 94), "right_eye": (94, 94), "left_ear": (115, 96), "right_ear": (85, 96)}
SHOULDERS = {"left_shoulder": (130, 140), "right_shoulder": (70, 140)}
BOX = (50, 60, 150, 360)


def test_face_on_by_hand():
    heads = head_ellipses(person(BOX, **FACE, **SHOULDERS), COCO17, 0.3)
    # Half heights: ears .8 * 30 = 24, eyes 1.8 * 12 = 21.6, shoulders .36 * 60 = 21.6. The face spans y 94..100.
    assert heads.half_axes_px[0] == pytest.approx([1.15 * 21.6, 1.4 * 21.6])
    assert heads.centre_xy_px[0] == pytest.approx([100, 97 - 0.25 * 21.6])
    assert heads.angle_deg[0] == pytest.approx(0)


@pytest.mark.parametrize(("turn", "angle"), [(90, 90), (180, 180), (-30, -30)])
def test_turns_with_the_person(turn, angle):
    radians = np.deg2rad(turn)
    rotation = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    joints = {n: tuple(rotation @ (np.array(p) - 100) + 100) for n, p in (FACE | SHOULDERS).items()}
    heads = head_ellipses(person((0, 0, 200, 200), **joints), COCO17, 0.3)
    assert abs(heads.angle_deg[0]) == pytest.approx(abs(angle))
    assert heads.half_axes_px[0] == pytest.approx([1.15 * 21.6, 1.4 * 21.6], rel=1e-5)


def test_profile_uses_nose_to_ear():
    heads = head_ellipses(person(BOX, nose=(100, 100), left_ear=(80, 100)), COCO17, 0.3)
    assert heads.half_axes_px[0, 1] == pytest.approx(1.4 * 0.95 * 20)


def test_head_joints_of_posetrack():
    poses = person(BOX, POSETRACK18, nose=(100, 100), head_top=(100, 70), head_bottom=(100, 120))
    assert head_ellipses(poses, POSETRACK18, 0.3).half_axes_px[0, 1] == pytest.approx(1.4 * 0.55 * 50)


def test_uncertain_face_is_sought_above_the_shoulders():
    heads = head_ellipses(person(BOX, **SHOULDERS), COCO17, 0.3)
    half_height = 0.36 * 60
    assert heads.centre_xy_px[0] == pytest.approx([100, 140 - 1.7 * half_height])
    assert heads.half_axes_px[0] == pytest.approx([1.6 * half_height, 1.9 * half_height])
    # It hides the face that is there.
    distance = (np.array(list(FACE.values())) - heads.centre_xy_px[0]) / heads.half_axes_px[0]
    assert np.hypot(*distance.T).max() < 1


def test_person_without_certain_joints_takes_the_top_of_the_box():
    left, top, right, bottom = head_ellipses(person(BOX), COCO17, 0.3).boxes_xyxy_px()[0]
    assert (left < 50, top < 60, right > 150, bottom > 60 + 300 / 6) == (True,) * 4
    # Half of the box when it shows little more than a head.
    close_up = head_ellipses(person((0, 0, 200, 200)), COCO17, 0.3)
    assert close_up.boxes_xyxy_px()[0, 3] > 100


def test_face_outside_the_box_is_not_believed():
    astray = {name: (x + 300, y) for name, (x, y) in FACE.items()}
    heads = head_ellipses(person(BOX, **astray, **SHOULDERS), COCO17, 0.3)
    assert 50 < heads.centre_xy_px[0, 0] < 150


def test_joint_gone_astray_does_not_blow_the_head_up():
    eyes_apart = FACE | {"left_eye": (115, 94), "right_eye": (85, 94)}
    heads = head_ellipses(person(BOX, **eyes_apart, **SHOULDERS), COCO17, 0.3)
    assert heads.half_axes_px[0, 1] == pytest.approx(1.4 * 24)
    ear_lost = FACE | {"left_ear": (115, 290)}
    heads = head_ellipses(person(BOX, **ear_lost, **SHOULDERS), COCO17, 0.3)
    assert heads.half_axes_px[0].max() <= 1.4 * 0.6 * 300


def test_bounds_of_a_turned_ellipse():
    heads = HeadEllipses(np.array([[10.0, 20.0]]), np.array([[3.0, 5.0]]), np.array([90.0]))
    assert heads.boxes_xyxy_px()[0] == pytest.approx([5, 17, 15, 23])
    assert heads.boxes_xyxy_px(scale=2)[0] == pytest.approx([0, 14, 20, 26])


def checkers(cell: int) -> np.ndarray:
    y, x = np.indices((400, 300)) // cell
    return np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("cell", [2, 3, 5])
def test_nothing_of_a_face_survives_and_the_rest_is_untouched(cell):
    picture = checkers(cell)
    heads = head_ellipses(person(BOX, **FACE, **SHOULDERS), COCO17, 0.3)
    hide_heads(picture, heads)
    x, y = heads.centre_xy_px[0]
    across, along = heads.half_axes_px[0]
    inside = np.hypot((np.arange(300) - x) / across, (np.arange(400)[:, None] - y) / along)
    hidden = picture[inside < 0.97].astype(float)
    assert hidden.std() < 0.35 * 127.5
    assert (picture[inside > 1.25] == checkers(cell)[inside > 1.25]).all()


def test_hides_every_certain_face_joint():
    poses = person(BOX, **FACE, **SHOULDERS)
    heads = head_ellipses(poses, COCO17, 0.3)
    distance = (poses.xy_image[0, :5] - heads.centre_xy_px[0]) / heads.half_axes_px[0]
    assert np.hypot(*distance.T).max() < 1


@pytest.mark.parametrize("centre", [(0, 0), (300, 400), (-500, 10), (150, 1000)])
def test_heads_at_and_beyond_the_border(centre):
    picture = checkers(3)
    hide_heads(picture, HeadEllipses(np.array([centre], float), np.array([[30.0, 40.0]]), np.array([20.0])))
    changed = (picture != checkers(3)).any()
    assert changed == (min(centre) >= 0 and centre[1] <= 400)


def test_nobody():
    empty = FramePoses(
        TrackedFrame(
            0, 0.0, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), np.zeros(0, bool)
        ),
        np.zeros((0, 19, 2), np.float32),
        np.zeros((0, 19), np.float32),
        np.zeros(0, np.float32),
    )
    assert head_ellipses(empty, COCO17_HEAD, 0.3).boxes_xyxy_px().shape == (0, 4)
