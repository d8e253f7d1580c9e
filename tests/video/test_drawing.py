import cv2
import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, HALPE26, KEYPOINT_SETS, LSP14, POSETRACK18, KeypointSet
from jmpose_cli.values import FramePoses, TrackedFrame
from jmpose_cli.video.drawing import DrawStyle, _Paper, _place, draw_people, track_colours
from jmpose_cli.video.heads import head_ellipses

GREY = np.full((360, 640, 3), 120, np.uint8)
# A person 200 px high whose head top is at the origin; looking at us, so that left is on the right.
STANDING = {
    "nose": (40, 20),
    "left_eye": (46, 14),
    "right_eye": (34, 14),
    "left_ear": (54, 16),
    "right_ear": (26, 16),
    "head_bottom": (40, 36),
    "head_top": (40, 0),
    "left_shoulder": (64, 44),
    "right_shoulder": (16, 44),
    "left_elbow": (74, 74),
    "right_elbow": (6, 74),
    "left_wrist": (78, 104),
    "right_wrist": (2, 104),
    "left_hip": (56, 104),
    "right_hip": (24, 104),
    "left_knee": (56, 150),
    "right_knee": (24, 150),
    "left_ankle": (56, 196),
    "right_ankle": (24, 196),
    "neck": (40, 42),
    "thorax": (40, 44),
    "pelvis": (40, 104),
    "left_big_toe": (58, 200),
    "right_big_toe": (22, 200),
    "left_small_toe": (62, 200),
    "right_small_toe": (18, 200),
    "left_heel": (54, 200),
    "right_heel": (26, 200),
}


def people(
    *corners: tuple[float, float],
    keypoints: KeypointSet = COCO17,
    scores: float = 0.9,
    scale: float = 1.0,
    ids: list[int] | None = None,
) -> FramePoses:
    """Standing people whose boxes have these top-left corners."""
    n = len(corners)
    origin = np.array(corners, np.float32).reshape(n, 2)
    body = np.array([STANDING[j] for j in keypoints.common_names], np.float32) * scale
    size = np.float32([80, 200]) * np.float32(scale)
    frame = TrackedFrame(
        index=0,
        time_s=0.0,
        boxes_xyxy_px=np.concatenate([origin, origin + size], axis=1),
        scores=np.ones(n, np.float32),
        track_ids=np.array(ids or range(1, n + 1), np.int64),
        observed=np.ones(n, bool),
    )
    joint_scores = np.full((n, len(keypoints)), scores, np.float32)
    return FramePoses(frame, origin[:, None] + body, joint_scores, np.ones(n, np.float32))


def colours_at(picture: np.ndarray, *points: tuple[float, float]) -> list[tuple[int, ...]]:
    return [tuple(picture[round(y), round(x)].tolist()) for x, y in points]


def middle(a: str, b: str, corner: tuple[float, float]) -> tuple[float, float]:
    (ax, ay), (bx, by) = STANDING[a], STANDING[b]
    return corner[0] + (ax + bx) / 2, corner[1] + (ay + by) / 2


@pytest.mark.parametrize("keypoints", KEYPOINT_SETS.values(), ids=lambda k: k.name)
def test_limbs_have_the_track_colours_left_light_and_right_dark(keypoints):
    at = (200, 80)
    picture = draw_people(GREY, people(at, keypoints=keypoints, ids=[5]), keypoints, DrawStyle())
    shades = track_colours(5)
    drawn = colours_at(
        picture,
        middle("left_knee", "left_ankle", at),
        middle("right_knee", "right_ankle", at),
        (at[0] + 49, at[1] + 104),  # between the hips, off the pelvis
    )
    assert drawn == [shades.light, shades.dark, shades.middle]


def test_left_and_right_joints_have_two_hues():
    at = (200, 80)
    picture = draw_people(GREY, people(at), COCO17, DrawStyle())
    left, right = colours_at(
        picture, *((at[0] + x, at[1] + y) for x, y in (STANDING["left_knee"], STANDING["right_knee"]))
    )
    assert left[2] > left[0] + 100
    assert right[0] > right[2] + 100


def test_neck_joins_nose_and_shoulders_when_the_set_has_none():
    at, point = (200, 80), (40, 32)
    with_neck = draw_people(GREY, people(at), COCO17, DrawStyle())
    assert colours_at(with_neck, (at[0] + point[0], at[1] + point[1])) == [track_colours(1).middle]
    poses = people(at)
    poses.scores[0, COCO17.joints.index("left_shoulder")] = 0.1
    without = draw_people(GREY, poses, COCO17, DrawStyle())
    assert colours_at(without, (at[0] + point[0], at[1] + point[1])) == [(120, 120, 120)]


def test_a_set_with_a_neck_of_its_own_draws_no_other():
    at, chest = (200, 80), (40, 60)
    (spot,) = colours_at(
        draw_people(GREY, people(at, keypoints=HALPE26), HALPE26, DrawStyle()), (at[0] + chest[0], at[1] + chest[1])
    )
    assert spot == track_colours(1).middle  # the spine
    poses = people(at, keypoints=HALPE26)
    for joint in ("head", "neck"):
        poses.scores[0, HALPE26.joints.index(joint)] = 0
    picture = draw_people(GREY, poses, HALPE26, DrawStyle())
    assert colours_at(picture, (at[0] + 40, at[1] + 32), (at[0] + 40, at[1] + 60)) == [(120, 120, 120)] * 2


def test_heads_known_from_elsewhere_are_hidden():
    noise = np.random.default_rng(0).integers(0, 255, GREY.shape, np.uint8)
    style = DrawStyle(blur_faces=True, min_score=0.99)
    whole, bodies = people((200, 80), keypoints=COCO17), people((200, 80), keypoints=LSP14, scores=0)
    heads = head_ellipses(whole, COCO17, 0.2)
    ours, plain = (draw_people(noise, bodies, LSP14, style, heads=given) for given in (heads, None))
    assert (ours[100, 240] != plain[100, 240]).any()
    assert (ours == draw_people(noise, people((200, 80), scores=0.98), COCO17, style, heads=heads)).all()


def test_input_frame_is_left_alone_and_may_be_read_only():
    frame = GREY.copy()
    frame.flags.writeable = False
    picture = draw_people(frame, people((200, 80)), COCO17, DrawStyle(blur_faces=True))
    assert (frame == GREY).all()
    assert picture.shape == frame.shape
    assert picture.dtype == np.uint8
    assert not np.shares_memory(picture, frame)


@pytest.mark.parametrize("background", ["frame", "black"])
def test_nobody(background):
    picture = draw_people(GREY, people(), COCO17, DrawStyle(background=background))
    assert (picture == (120 if background == "frame" else 0)).all()


def test_black_background_shows_nothing_of_the_frame():
    frame = np.random.default_rng(0).integers(0, 255, GREY.shape, np.uint8)
    style = DrawStyle(background="black", blur_faces=True)
    assert (
        draw_people(frame, people((200, 80)), COCO17, style) == draw_people(GREY, people((200, 80)), COCO17, style)
    ).all()


def test_joints_below_the_score_are_not_drawn_and_nobody_without_joints_is_named():
    at = (200, 80)
    assert (draw_people(GREY, people(at, scores=0.29), COCO17, DrawStyle(min_score=0.3)) == GREY).all()
    assert (draw_people(GREY, people(at, scores=0.3), COCO17, DrawStyle(min_score=0.3))[100:] != 120).any()


def test_half_a_pixel_makes_a_difference():
    pictures = [draw_people(GREY, people((x, 80.0)), COCO17, DrawStyle()) for x in (200.0, 200.25)]
    assert (pictures[0] != pictures[1]).any()


def test_lines_grow_with_the_person():
    def filled(scale: float) -> int:
        row = draw_people(np.zeros((1080, 1920, 3), np.uint8), people((300, 40), scale=scale), COCO17, DrawStyle())
        return int((row[round(40 + 173 * scale)].max(axis=1) > 100).sum())

    assert filled(0.5) < filled(2) < filled(4.5)


def test_nearer_people_are_drawn_over_others():
    near, far = (200, 82), (200, 80)
    point = middle("left_knee", "left_ankle", near)
    for corners in ((near, far), (far, near)):
        picture = draw_people(GREY, people(*corners), COCO17, DrawStyle())
        assert colours_at(picture, point) == [track_colours(corners.index(near) + 1).light]


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (40, 4000, 3)])
@pytest.mark.parametrize("blur", [True, False])
def test_any_size_of_frame(shape, blur):
    frame = np.zeros(shape, np.uint8)
    assert draw_people(frame, people((0, 0), (500, 3)), COCO17, DrawStyle(blur_faces=blur)).shape == shape


def test_people_far_outside_the_frame():
    corners = ((-1e6, 50), (1e7, -1e7), (600, 340), (-70, -190))
    draw_people(GREY, people(*corners, keypoints=COCO17_HEAD), COCO17_HEAD, DrawStyle(blur_faces=True))


def test_empty_box():
    poses = people((100, 100), keypoints=POSETRACK18)
    poses.people.boxes_xyxy_px[:] = 100
    draw_people(GREY, poses, POSETRACK18, DrawStyle(blur_faces=True))


class TestColours:
    def test_stable(self):
        assert track_colours(3) == track_colours(3)

    @pytest.mark.parametrize("step", [1, 2, 3, 4])
    def test_neighbouring_ids_are_far_apart(self, step):
        table = np.array([[track_colours(i).middle for i in range(60)]], np.uint8)
        lab = cv2.cvtColor(table, cv2.COLOR_RGB2LAB)[0].astype(float)
        assert np.linalg.norm(lab[step:] - lab[:-step], axis=1).min() > 25

    def test_shades_differ_in_lightness(self):
        table = np.array([[c.light, c.middle, c.dark] for c in map(track_colours, range(60))], np.uint8)
        lightness = cv2.cvtColor(table, cv2.COLOR_RGB2LAB)[..., 0].astype(int)
        assert (np.diff(lightness, axis=1) < -20).all()


class TestPlates:
    """`_place` with plates of 20 x 10 on a canvas of 200 x 100."""

    CANVAS = np.zeros((100, 200, 3), np.uint8)

    def place(self, head: list[float], taken: list[list[float]], bottom: float = 90) -> list[float]:
        return _place(20, 10, np.array(head), bottom, np.array([head, *taken]), _Paper(self.CANVAS, 1.0)).tolist()

    def test_above_the_head(self):
        assert self.place([90, 30, 110, 50], []) == [90, 18, 110, 28]

    def test_beside_the_head_when_it_is_at_the_upper_edge(self):
        assert self.place([90, 0, 110, 20], []) == [113, 5, 133, 15]

    def test_other_side_when_the_first_is_taken(self):
        assert self.place([90, 0, 110, 20], [[111, 0, 140, 30]]) == [67, 5, 87, 15]

    def test_higher_when_another_head_is_above(self):
        assert self.place([90, 40, 110, 60], [[70, 28, 130, 40]]) == [90, 16, 110, 26]

    def test_inside_the_picture_whatever_happens(self):
        x0, y0, x1, y1 = self.place([-50, -50, 250, 150], [])
        assert (0 < x0 < x1 < 200, 0 < y0 < y1 < 100) == (True, True)


def test_plates_do_not_lie_on_each_other():
    poses = people((200, 100), (205, 100), (210, 100), (215, 100), scores=0.0)
    poses.scores[:, COCO17.joints.index("left_ankle")] = 1.0  # no limb has the plates' colour then
    picture = draw_people(GREY, poses, COCO17, DrawStyle())
    counts = [int((picture == track_colours(i).middle).all(axis=2).sum()) for i in range(1, 5)]
    assert min(counts) > 0.9 * max(counts) > 0
