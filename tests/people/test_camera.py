"""How the camera moved, from pictures; and ids that outlast it."""

import cv2
import numpy as np
import pytest

from jmpose_cli.people.camera import CameraMotion, back_through, box_moved
from jmpose_cli.people.track import PeopleTracker
from jmpose_cli.values import Detections

NOBODY = np.zeros((0, 4), np.float32)


@pytest.fixture(scope="module")
def wall() -> np.ndarray:
    """A picture with something to follow everywhere, `[900, 1600, 3]`."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    return cv2.resize(noise, (1600, 900), interpolation=cv2.INTER_CUBIC)


def seen(wall: np.ndarray, x: float, y: float = 200.0, *, zoom: float = 1.0) -> np.ndarray:
    """What a camera sees of the wall whose window begins at a place."""
    by = np.array([[zoom, 0, -zoom * x], [0, zoom, -zoom * y]])
    return cv2.warpAffine(wall, by, (640, 360))


@pytest.mark.parametrize(("dx", "dy", "zoom"), [(14, 0, 1.0), (-9, 5, 1.0), (0, 0, 1.03)])
def test_a_pan_and_a_zoom_are_measured(wall, dx, dy, zoom):
    camera = CameraMotion()
    assert camera.update(seen(wall, 300), NOBODY) is None
    moved = camera.update(seen(wall, 300 + dx, 200 + dy, zoom=zoom), NOBODY)
    place = np.array([400.0, 100.0])
    assert moved[:, :2] @ place + moved[:, 2] == pytest.approx(zoom * (place - [dx, dy]), abs=0.7)


def test_a_camera_at_rest_and_people_who_walk_say_nothing(wall):
    camera, rng = CameraMotion(), np.random.default_rng(1)
    for n in range(6):
        frame = seen(wall, 300).copy()
        box = np.array([[60 + 25 * n, 40, 260 + 25 * n, 340]], np.float32)
        x0, y0, x1, y1 = box[0].astype(int)
        frame[y0:y1, x0:x1] = wall[:300, :200]  # a large person in front of much of it
        noise = rng.normal(0, 3, frame.shape)
        assert camera.update((frame + noise).clip(0, 255).astype(np.uint8), box) is None


def test_a_slow_pan_is_told_in_the_end(wall):
    camera = CameraMotion()
    steps = [camera.update(seen(wall, 300 + 0.2 * n), NOBODY) for n in range(41)]
    told = [step for step in steps if step is not None]
    assert 2 <= len(told) < 20
    assert sum(float(step[0, 2]) for step in told) == pytest.approx(-8, abs=0.8)


def test_nothing_to_follow_and_a_cut(wall):
    camera = CameraMotion()
    blank = np.full((360, 640, 3), 90, np.uint8)
    assert camera.update(blank, NOBODY) is None and camera.update(blank, NOBODY) is None
    camera.update(seen(wall, 300), NOBODY)
    assert camera.update(seen(wall, 900, 500), NOBODY) is None  # another place
    camera.update(seen(wall, 300), NOBODY)
    camera.forget()
    assert camera.state is None and camera.update(seen(wall, 320), NOBODY) is None


def test_it_is_continued_from_its_state(wall):
    one, other = CameraMotion(), CameraMotion()
    one.update(seen(wall, 300), NOBODY)
    other.state = one.state
    assert np.array_equal(*(camera.update(seen(wall, 320), NOBODY) for camera in (one, other)))


def test_boxes_go_along():
    by = np.array([[1.1, 0, 20], [0, 1.1, -5]])
    box = np.array([100.0, 50.0, 140.0, 150.0])
    there = box_moved(box, by)
    assert there == pytest.approx([130, 50, 174, 160])  # its centre at (152, 105), a tenth larger
    assert box_moved(there, back_through(by, None)) == pytest.approx(box)
    twice = back_through(by, back_through(by, None))
    assert box_moved(box_moved(there, by), twice) == pytest.approx(box)


@pytest.mark.parametrize("followed", [True, False])
def test_ids_outlast_a_camera_that_is_swung(followed):
    """Two people stand; the camera is swung by more than they are apart while nobody looks."""
    tracker = PeopleTracker(fps=25.0)
    frames, out = 20, []
    for n in range(frames):
        shift = 0 if n < 10 else -150
        boxes = np.array([[300 + shift, 100, 350 + shift, 250], [450 + shift, 100, 500 + shift, 250]], np.float32)
        camera = np.array([[1, 0, -150], [0, 1, 0]], np.float32) if n == 10 and followed else None
        out += tracker.push(n, n / 25, Detections(boxes, np.full(2, 0.9, np.float32)), camera=camera)
    out += tracker.finish()
    first, last = (
        dict(zip(f.track_ids.tolist(), f.boxes_xyxy_px[:, 0].tolist(), strict=True)) for f in (out[0], out[-1])
    )
    kept = {i: last.get(i) for i in first}
    expected = {i: x - 150 for i, x in first.items()}
    assert (kept == expected) == followed
