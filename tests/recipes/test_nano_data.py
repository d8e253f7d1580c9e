"""The pictures of people that the shipped models are trained on: what lies where in them."""

import cv2
import numpy as np
import pytest

import nano_data
from nano_data import BOX_HEIGHT, PATCH_HEIGHT, PATCH_WIDTH, patch_to_image, taught_affine

BOX = (100.0, 50.0, 60.0, 160.0)
MIDDLE = np.array([PATCH_WIDTH - 1, PATCH_HEIGHT - 1]) / 2


def test_people_fill_as_much_of_a_picture_as_its_folder_says():
    to_image = patch_to_image(BOX)
    assert BOX[3] / to_image[0, 0] == pytest.approx(BOX_HEIGHT)
    assert to_image[:, :2] @ MIDDLE + to_image[:, 2] == pytest.approx([130, 130])


@pytest.mark.parametrize("scale", [1.0, nano_data.WIDER])
def test_what_the_teacher_finds_in_its_crop_is_found_in_the_picture(scale):
    place = np.array([170.0, 260.0])
    x, y = np.meshgrid(np.arange(PATCH_WIDTH), np.arange(PATCH_HEIGHT))
    spot = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 8**2))
    crop, affine = nano_data._crop(spot.astype(np.float32), scale)
    _, _, _, peak = cv2.minMaxLoc(crop)
    assert affine[:, :2] @ peak + affine[:, 2] == pytest.approx(place, abs=affine[0, 0])


def test_the_middle_of_the_teachers_heatmaps_is_that_of_the_picture():
    height, width = nano_data.TEACHER_HEIGHT // 4, nano_data.TEACHER_WIDTH // 4
    to_patch = taught_affine()
    # Across, the mirrored answer is in it; down, heatmap pixels lie on the first of four.
    across, down = to_patch[:, :2] @ (np.array([width - 1, height - 1]) / 2) + to_patch[:, 2] - MIDDLE
    assert across == pytest.approx(0, abs=1e-9)
    assert down == pytest.approx(-1.5 * nano_data.FINER)
