import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.camera import Camera


def camera(**more) -> Camera:
    values = {"position": np.array([1.0, -2.0, 1.7]), "yaw": 1.3, "tilt": 0.2, "roll": 0.1, "focal_px": 400.0}
    return Camera(**(values | more), width=320, height=180)


def test_looks_along_its_yaw_with_up_at_the_top_and_left_at_the_left() -> None:
    level = camera(position=np.zeros(3), yaw=np.pi / 2, tilt=0.0, roll=0.0)
    xy, depth = level.project(np.array([(0.0, 4.0, 0.0), (1.0, 4.0, 0.0), (0.0, 4.0, 1.0)]))
    assert xy == pytest.approx(np.array([(159.5, 89.5), (259.5, 89.5), (159.5, -10.5)]))
    assert depth == pytest.approx([4, 4, 4])


def test_a_positive_tilt_looks_down() -> None:
    xy, _ = camera(position=np.zeros(3), yaw=0.0, tilt=0.2, roll=0.0).project(np.array([5.0, 0.0, 0.0]))
    assert xy[1] < 89.5


@given(st.floats(-0.6, 0.6), st.floats(-0.5, 0.5), st.floats(0.5, 30))
def test_rays_lead_back_to_the_point(x, z, depth) -> None:
    cam = camera()
    point = cam.position + depth * (cam.rotation.T @ np.array([x, z, 1.0]))
    xy, away = cam.project(point)
    assert cam.position + away * cam.rays(xy) == pytest.approx(point, abs=1e-6)


def test_the_ground_homography_equals_projection() -> None:
    cam = camera()
    ground = np.array([2.0, 6.0])
    image = cam.ground_homography() @ np.append(ground, 1.0)
    assert image[:2] / image[2] == pytest.approx(cam.project(np.append(ground, 0.0))[0])


def test_turning_maps_pixels_by_its_homography() -> None:
    cam = camera()
    turned = cam.turned(yaw=0.03, tilt=-0.02, roll=0.01, zoom=1.1)
    point = np.array([3.0, 6.0, 1.0])
    image = turned.homography_from(cam) @ np.append(cam.project(point)[0], 1.0)
    assert image[:2] / image[2] == pytest.approx(turned.project(point)[0])
