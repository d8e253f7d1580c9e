import json

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.people.boxes_file import read_boxes

IMAGES = [{"id": 11, "file_name": "v/000000.jpg"}, {"id": 12, "file_name": "v/000005.jpg"}]
COCO = {
    "images": IMAGES,
    "annotations": [
        {"image_id": 11, "bbox": [10, 20, 30, 40], "track_id": 3, "score": 0.5},
        {"image_id": 12, "bbox": [1, 2, 3, 4], "track_id": 3},
        {"image_id": 12, "bbox": [5, 6, 7, 8.5], "track_id": 4},
    ],
}


def write(tmp_path, content):
    path = tmp_path / "boxes"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def at(file, index):
    found, ids = file.at(index)
    return found.boxes_xyxy_px.tolist(), found.scores.tolist(), None if ids is None else ids.tolist()


def test_coco_numbers_frames_by_file_name(tmp_path):
    file = read_boxes(write(tmp_path, COCO))
    assert at(file, 0) == ([[10, 20, 40, 60]], [0.5], [3])
    assert at(file, 5) == ([[1, 2, 4, 6], [5, 6, 12, 14.5]], [1, 1], [3, 4])
    assert at(file, 1) == ([], [], [])


def test_frame_index_comes_before_file_names(tmp_path):
    images = [image | {"frame_index": 7 + i} for i, image in enumerate(IMAGES)]
    assert at(read_boxes(write(tmp_path, COCO | {"images": images})), 7)[0] == [[10, 20, 40, 60]]


def test_names_without_numbers_count_by_place(tmp_path):
    images = [{"id": 11, "file_name": "a.jpg"}, {"id": 12, "file_name": "b.jpg"}]
    assert len(at(read_boxes(write(tmp_path, COCO | {"images": images})), 1)[0]) == 2


def test_results_list_without_ids(tmp_path):
    file = read_boxes(write(tmp_path, [{"image_id": 2, "category_id": 1, "bbox": [0, 0, 5, 6], "score": 0.25}]))
    assert at(file, 2) == ([[0, 0, 5, 6]], [0.25], None)


def test_posetrack_people_without_box_are_left_out(tmp_path):
    people = [
        *COCO["annotations"],
        {"image_id": 11, "track_id": 9},
        {"image_id": 11, "track_id": 8, "bbox": [5, 5, 0, 0]},
    ]
    assert at(read_boxes(write(tmp_path, COCO | {"annotations": people})), 0)[2] == [3]


def test_mot_counts_frames_from_one(tmp_path):
    file = read_boxes(write(tmp_path, "1,7,10,20,30,40,0.5,-1,-1,-1\n3 8 1 2 3 4\n"))
    assert at(file, 0) == ([[10, 20, 40, 60]], [0.5], [7]) and at(file, 2) == ([[1, 2, 4, 6]], [1], [8])


def test_mot_without_ids(tmp_path):
    assert at(read_boxes(write(tmp_path, "1,-1,10,20,30,40,0.5")), 0)[2] is None


def annotated(**change):
    return COCO | {"annotations": [COCO["annotations"][0] | change]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ({"images": []}, "without `images` and `annotations`"),
        (annotated(bbox=[1, 2, 3]), r"annotations\[0\]\.bbox"),
        (annotated(bbox=[1, 2, -3, 4]), r"annotations\[0\]\.bbox is 1, 2, -3, 4"),
        (annotated(image_id=99), r"annotations\[0\]\.image_id is 99"),
        (annotated(image_id="11"), r"annotations\[0\]\.image_id"),
        (COCO | {"annotations": [COCO["annotations"][0]] * 2}, "frame 0 has a track id twice"),
        ("1,2,3\n", "line 1 is no box"),
        ("1,1,0,0,5,5\nframe,id\n", "line 2 is no box"),
        ("0,1,0,0,5,5\n", "line 1 is no box"),
        ("1,1,0,0,0,5\n", r"line 1 is no box \(width and height must be above 0\)"),
        ("1,1,nan,0,5,5\n", r"line 1 is no box \(left is no number\)"),
    ],
)
def test_bad_files_name_the_place(tmp_path, content, message):
    with pytest.raises(JmposeError, match=message):
        read_boxes(write(tmp_path, content))


def test_a_missing_file(tmp_path):
    with pytest.raises(JmposeError, match=r"cannot read .*No such file"):
        read_boxes(tmp_path / "none.json")
