"""The pictures of people that the shipped models are trained on: what lies where in them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import nano_data
from jmpose.keypoints import COCO17_HEAD
from jmpose_cli.data.samples import Choice
from jmpose_cli.data.sources import CropWindows
from nano_data import BOX_HEIGHT, PATCH_HEIGHT, PATCH_WIDTH, Person, in_crowds, patch_to_image, taught_affine, write_set

BOX = (100.0, 50.0, 60.0, 160.0)
MIDDLE = np.array([PATCH_WIDTH - 1, PATCH_HEIGHT - 1]) / 2


def test_people_fill_as_much_of_a_picture_as_its_folder_says():
    to_image = patch_to_image(BOX)
    assert BOX[3] / to_image[0, 0] == pytest.approx(BOX_HEIGHT)
    assert to_image[:, :2] @ MIDDLE + to_image[:, 2] == pytest.approx([130, 130])


def test_crowds_are_people_whose_boxes_overlap_in_one_picture():
    boxes = [("a", (0, 0, 10, 20)), ("a", (5, 0, 10, 20)), ("a", (40, 0, 10, 20)), ("b", (0, 0, 10, 20))]
    people = [Person(Path(image), box, {}, "more") for image, box in boxes]
    assert in_crowds(people).tolist() == [True, True, False, False]
    barely = [Person(Path("a"), box, {}, "more") for box in ((0, 0, 10, 20), (9, 0, 10, 20))]
    assert not in_crowds(barely).any()


def test_people_go_to_folders_by_what_is_seen_of_them(tmp_path):
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((200, 300, 3), 90, np.uint8))
    joints = {"left_shoulder": (60.0, 40.0), "right_shoulder": (40.0, 40.0), "nose": (50.0, 20.0)}
    boxes = [(20, 0, 60, 180), (40, 0, 60, 180), (200, 0, 60, 180), (120, 0, 60, 180)]
    people = [Person(picture, box, joints, "coco") for box in boxes]

    calls = iter(range(4))

    def teacher(_patch):
        turned = next(calls) == 3  # the last one shows no face
        score = np.full(17, 0.9)
        score[:5] = 0.01 if turned else 0.9
        return np.full((17, 2), 100.0), score, np.zeros(17), np.zeros((17, 64, 48), np.uint8)

    assert write_set(people, teacher, tmp_path, source="coco") == {"coco": 1, "coco-behind": 1, "coco-crowded": 2}
    rows = {}
    for name in ("coco", "coco-behind", "coco-crowded"):
        source = CropWindows(tmp_path / name, keypoints=COCO17_HEAD, moving=False, taught=True)
        assert source.has_teacher and source.read(0, Choice((0,))).box_xyxy_px[3] > BOX_HEIGHT
        with np.load(tmp_path / name / "labels.npz") as labels:
            rows[name] = labels["rows"].tolist()
    assert rows == {"coco": [2], "coco-behind": [3], "coco-crowded": [0, 1]}


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
