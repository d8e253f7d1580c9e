from dataclasses import replace

import numpy as np
import pytest

from renderer import JOINTS, random_scene, render_scene
from renderer.camera import Camera
from renderer.casting import random_look
from renderer.clothes import dress
from renderer.film import render
from renderer.light import Light, sun_from
from renderer.props import upright
from renderer.scene import Actor, CameraMove, Lens, Scene
from renderer.scenery import make_place
from renderer.skeleton import Physique, Skeleton
from renderer.stage import paint_backdrop
from renderer.standing import Stand

SMALL = {"width": 192, "height": 108}


def plain_scene(*places: tuple[float, float], panels=(), sun=(-1.5, 1.2)) -> Scene:
    """People who face the camera from given places on grey ground, the sun at (azimuth, elevation)."""
    camera = Camera(np.array([0.0, 0.0, 1.2]), np.pi / 2, 0.05, 0.0, 240.0, 240, 160)
    light = Light(sun_from(*sun), np.full(3, 0.7), np.full(3, 0.4), np.full(3, 0.2), 0.05)
    actors = []
    for number, place in enumerate(places):
        rng = np.random.default_rng(number)
        physique = Physique(1.75)
        skeleton = Skeleton(physique)
        look = replace(random_look(rng, physique), bag="none", skirt=None)
        motion = Stand(skeleton, np.array(place), -np.pi / 2)
        actors.append(Actor(number + 1, skeleton, dress(skeleton, look, number, detail=0.75), motion))
    backdrop = paint_backdrop(
        camera,
        sky=lambda d: np.full(d.shape, 0.3),
        ground=lambda x, y, f: np.full((*x.shape, 3), 0.2),
        panels=panels,
        supersample=1.0,
    )
    return Scene(camera, CameraMove(), Lens(noise=0.0, samples=1), backdrop, light, tuple(actors))


def film_one(scene: Scene):
    return next(render(scene, frames=1, fps=25.0))


def seen(frame, row: int, *names: str) -> list[bool]:
    return [bool(frame.visible[row, JOINTS.index(name)]) for name in names]


@pytest.mark.parametrize("seed", range(4))
def test_frames_have_the_promised_form(seed) -> None:
    frames = list(render_scene(seed, frames=2, people=3, fps=30.0, samples=1, **SMALL))
    assert [f.time_s for f in frames] == pytest.approx([0, 1 / 30])
    for f in frames:
        n = len(f.track_ids)
        assert f.frame_rgb.shape == (108, 192, 3)
        assert f.frame_rgb.dtype == np.uint8
        assert f.frame_rgb.std() > 8
        assert (f.joints_xy.shape, f.visible.shape) == ((n, 19, 2), (n, 19))
        assert (f.boxes_xyxy.shape, f.head_boxes_xyxy.shape, f.shown.shape) == ((n, 4), (n, 4), (n,))
        assert set(f.track_ids.tolist()) <= {1, 2, 3}
        assert len(set(f.track_ids.tolist())) == n
        assert ((f.shown >= 0) & (f.shown <= 1)).all()
        inside = ((f.joints_xy >= -0.5) & (f.joints_xy <= np.array([191.5, 107.5]))).all(axis=2)
        assert not (f.visible & ~inside).any()
        low, high = f.boxes_xyxy[:, None, :2] - 3, f.boxes_xyxy[:, None, 2:] + 3
        assert not (f.visible & ~((f.joints_xy >= low) & (f.joints_xy <= high)).all(axis=2)).any()


def test_the_same_seed_gives_the_same_frames_and_another_seed_others() -> None:
    first, again, other = (next(render_scene(s, frames=1, people=2, samples=3, **SMALL)) for s in (5, 5, 6))
    assert np.array_equal(first.frame_rgb, again.frame_rgb)
    assert np.array_equal(first.joints_xy, again.joints_xy)
    assert not np.array_equal(first.frame_rgb, other.frame_rgb)


@pytest.mark.parametrize("seed", [1, 3])
def test_visible_joints_lie_on_the_person(seed) -> None:
    scene = random_scene(seed, people=2, duration_s=1.0, **SMALL)
    scene = replace(scene, lens=Lens(noise=0.0, samples=1), move=CameraMove())
    full = film_one(scene)
    for row, track_id in enumerate(full.track_ids):
        alone = tuple(a for a in scene.actors if a.track_id != track_id)
        without = film_one(replace(scene, actors=alone))
        changed = np.abs(full.frame_rgb.astype(int) - without.frame_rgb).max(axis=2) > 2
        for x, y in np.rint(full.joints_xy[row][full.visible[row]]).astype(int):
            assert changed[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()


def test_a_person_in_the_open_is_seen_and_stands_where_the_camera_says() -> None:
    scene = plain_scene((0.0, 5.0))
    frame = film_one(scene)
    assert frame.shown.tolist() == [1.0]
    assert all(seen(frame, 0, "nose", "left_wrist", "right_wrist", "left_hip", "left_knee", "right_ankle", "head_top"))
    feet, _ = scene.camera.project(np.array([0.0, 5.0, 0.0]))
    assert frame.boxes_xyxy[0, 3] == pytest.approx(feet[1], abs=4)
    left, right = (frame.joints_xy[0, JOINTS.index(f"{side}_shoulder"), 0] for side in ("left", "right"))
    assert left > feet[0] > right


def test_a_person_behind_another_is_hidden() -> None:
    frame = film_one(plain_scene((0.0, 4.0), (0.05, 6.5)))
    assert frame.shown[0] == 1.0
    assert frame.shown[1] < 0.35
    assert seen(frame, 1, "left_hip", "right_hip", "left_knee") == [False] * 3
    assert seen(frame, 0, "left_hip", "right_hip", "left_knee") == [True] * 3


def test_a_wall_before_a_person_hides_the_legs_only() -> None:
    texture = np.full((8, 8, 4), 1.0, np.float32)
    frame = film_one(plain_scene((0.0, 5.0), panels=[upright(0.0, 3.5, 3.0, 0.75, texture)]))
    assert seen(frame, 0, "left_knee", "right_knee", "left_ankle") == [False] * 3
    assert seen(frame, 0, "nose", "left_shoulder", "left_elbow") == [True] * 3
    assert 0.3 < frame.shown[0] < 0.8


def test_a_person_beyond_the_edge_is_not_listed() -> None:
    frame = film_one(plain_scene((0.0, 5.0), (30.0, 5.0)))
    assert frame.track_ids.tolist() == [1]


def test_people_throw_shadows_away_from_the_sun() -> None:
    # The sun is on the right at 45 degrees: the shadow lies to the left, as long as the person is tall.
    scene = plain_scene((0.0, 5.0), sun=(0.0, np.pi / 4))
    frame, empty = film_one(scene), film_one(replace(scene, actors=()))
    darker = empty.frame_rgb.astype(int).mean(axis=2) - frame.frame_rgb.mean(axis=2)
    for x, shaded in ((-1.0, True), (-2.2, False), (0.8, False)):
        column, row = np.rint(scene.camera.project(np.array([x, 5.0, 0.0]))[0]).astype(int)
        assert (darker[row, column] > 25) == shaded, x
        assert shaded or abs(darker[row, column]) < 5, x


def test_an_empty_scene_has_no_people() -> None:
    frame = film_one(plain_scene())
    assert frame.joints_xy.shape == (0, 19, 2)
    assert frame.boxes_xyxy.shape == (0, 4)


def test_blur_follows_motion_and_not_stillness() -> None:
    scene = plain_scene((0.0, 5.0))
    still = replace(scene, lens=Lens(noise=0.0, samples=5, shutter=1.0))
    panned = replace(still, move=CameraMove(pan=1.0))
    sharp, blurred = (np.abs(np.diff(film_one(s).frame_rgb.astype(int), axis=1)).max() for s in (still, panned))
    assert blurred < 0.8 * sharp


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place 'moon'"):
        make_place(np.random.default_rng(0), "moon", 0.0)
