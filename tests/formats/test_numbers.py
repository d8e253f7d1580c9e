"""Every reader of annotations takes numbers that a picture can hold, and names the others."""

import copy
import json
import re

import numpy as np
import pytest

from jmpose.keypoints import COCO17, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.people.boxes_file import read_boxes

IMAGE = {"id": 5, "file_name": "x/000000.jpg", "width": 640, "height": 480, "frame_index": 0, "time_s": 0.0}
PERSON = {
    **{"id": 1, "image_id": 5, "category_id": 1, "track_id": 0, "keypoints": [1, 2, 1] * 17},
    **{"bbox": [1, 2, 3, 4], "area": 12, "num_keypoints": 17, "iscrowd": 0, "score": 0.5},
}
RESULT = {"image_id": 5, "category_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 0.25, "bbox": [1, 2, 3, 4]}
POINT = {"id": [0], "x": [1], "y": [2], "is_visible": [1], "score": [0.5]}
RECT = {"track_id": [0], "x1": [1], "y1": [1], "x2": [5], "y2": [5], "annopoints": [{"point": [POINT]}]}
POLYGON = {"ignore_regions_x": [[0, 5, 5]], "ignore_regions_y": [[0, 0, 5]]}


def dataset(joints):
    image = IMAGE | (POLYGON if joints is POSETRACK18.joints else {})
    return {
        "images": [image],
        "annotations": [PERSON],
        "categories": [{"id": 1, "name": "person", "keypoints": list(joints)}],
    }


FILES = {
    "coco": dataset(COCO17.joints),
    "posetrack18": dataset(POSETRACK18.joints),
    "results": [RESULT],
    "posetrack17": {"annolist": [{"image": [{"name": "x/000000.jpg"}], "annorect": [RECT]}]},
}
BAD = ("NaN", "Infinity", "1e300", "1e308", "-1e308", "9" * 5000, "9" * 25, "true", '"3"')
# Where null means "not given" it is no fault.
PLACES = [
    ("coco", "annotations.0.keypoints.0", ()),
    ("coco", "annotations.0.keypoints.2", ()),
    ("coco", "annotations.0.bbox.2", ("null", "-1", "1000001")),
    ("coco", "annotations.0.area", ("null", "-1")),
    ("coco", "annotations.0.score", ("null",)),
    ("coco", "annotations.0.num_keypoints", ("null", "-1", "1.5")),
    ("coco", "annotations.0.iscrowd", ("2", "null")),
    ("coco", "annotations.0.id", ("null", "1.5")),
    ("coco", "images.0.width", ("-1", "null", "1000001")),
    ("coco", "images.0.frame_index", ("-1", "null")),
    ("coco", "images.0.time_s", ("null",)),
    ("posetrack18", "annotations.0.keypoints.1", ("null",)),
    ("posetrack18", "annotations.0.track_id", ("null", "1.5")),
    ("posetrack18", "images.0.ignore_regions_x.0.1", ("null",)),
    ("results", "0.keypoints.4", ("null",)),
    ("results", "0.score", ("null",)),
    ("posetrack17", "annolist.0.annorect.0.annopoints.0.point.0.x.0", ("null",)),
    ("posetrack17", "annolist.0.annorect.0.annopoints.0.point.0.score.0", ()),
    ("posetrack17", "annolist.0.annorect.0.x1.0", ()),
    ("posetrack17", "annolist.0.annorect.0.track_id.0", ("null", "1.5")),
]


def replaced(data, place, text):
    """JSON of the data with another value at a place."""
    data = copy.deepcopy(data)
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    holder = data
    for part in path:
        holder = holder[part]
    holder[last] = "HERE"
    return json.dumps(data).replace('"HERE"', text)


@pytest.mark.parametrize(
    ("file", "place", "text"), [(file, place, text) for file, place, more in PLACES for text in (*BAD, *more)]
)
def test_number_is_refused_by_name(tmp_path, file, place, text):
    if (place, text) == ("annotations.0.iscrowd", "true"):
        pytest.skip("a truth value is right there")
    path = tmp_path / "file.json"
    path.write_text(replaced(FILES[file], place, text))
    field = [part for part in place.split(".") if not part.isdigit()][-1]
    with pytest.raises(JmposeError) as caught:
        read_poses(path)
    assert str(path) in caught.value.message
    assert re.search(rf"\[0\]\.{field}\b", caught.value.message)


@pytest.mark.parametrize("file", FILES)
def test_good_numbers_are_read(tmp_path, file):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(FILES[file]))
    assert len(read_poses(path)) == 1


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("place", ["annotations.0.bbox.0", "annotations.0.score", "images.0.frame_index"])
def test_boxes_of_json(tmp_path, place, text):
    path = tmp_path / "boxes.json"
    path.write_text(replaced(FILES["coco"], place, text))
    with pytest.raises(JmposeError, match=rf"{re.escape(str(path))}.*\[0\]\.{place.split('.')[2]}"):
        read_boxes(path)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e300", "9" * 5000, "1_0", "true", "", "٣", "0x1"])
@pytest.mark.parametrize("column", ["frame", "id", "left", "top", "width", "height", "score", "column 8"])
@pytest.mark.parametrize("reader", [read_poses, read_boxes])
def test_lines_of_mot(tmp_path, reader, column, text):
    names = ["frame", "id", "left", "top", "width", "height", "score", "column 8"]
    values = ["1", "2", "3", "4", "5", "6", "1", "1"]
    values[names.index(column)] = text
    path = tmp_path / "boxes.txt"
    path.write_text(f"1,1,1,1,5,5\n{','.join(values)}\n", "utf-8")
    if text == "":  # two commas: a column less, which is no fault when it is not needed
        return
    with pytest.raises(JmposeError, match=rf"line 2 is no box \({column} is"):
        reader(path)


def test_a_box_that_float32_makes_empty(tmp_path):
    path = tmp_path / "boxes.txt"
    path.write_text("1,1,100,100,1e-30,5\n")
    with pytest.raises(JmposeError, match="line 1 has the box"):
        read_boxes(path)


def test_frame_numbers_in_names_that_are_none(tmp_path):
    data = copy.deepcopy(FILES["coco"])
    data["images"][0] = {"id": 5, "file_name": f"x/{'1' * 5000}.jpg"}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(data))
    assert list(read_boxes(path).boxes) == [0]
    assert read_poses(path).images[0].id == 5


@pytest.mark.parametrize(("field", "value"), [("id", 5), ("frame_index", 0)])
def test_boxes_of_two_images_of_one_number(tmp_path, field, value):
    images = [IMAGE, IMAGE | {"id": 6, "frame_index": 1} | {field: value}]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(FILES["coco"] | {"images": images}))
    with pytest.raises(JmposeError, match=rf"images\[1\]\.{field} is {value}, as in images\[0\]"):
        read_boxes(path)


def test_mot_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "boxes.txt"
    path.write_text("1,1,3,4,5,6\n", "utf-8-sig")
    assert np.array_equal(read_poses(path).boxes_xyxy_px, [[3, 4, 8, 10]])
    assert list(read_boxes(path).boxes) == [0]
    path.write_text("1,1,3,4,5,6\n", "utf-16")
    for reader in (read_poses, read_boxes):
        with pytest.raises(JmposeError, match=r"boxes\.txt is UTF-16 text"):
            reader(path)
