"""Which format a file is recognised as, and files that are none."""

import json

import numpy as np
import pytest

from jmpose.keypoints import COCO17, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses

IMAGE = {"id": 5, "file_name": "images/x/000000.jpg"}
PERSON = {"id": 1, "image_id": 5, "category_id": 1, "track_id": 0, "keypoints": [1, 2, 1] * 17}
RESULT = {"image_id": 5, "category_id": 1, "keypoints": [1, 2, 0.5] * 17, "score": 0.25}


def category(joints):
    return [{"id": 1, "name": "person", "keypoints": list(joints)}]


def dataset(joints, *, image=None, person=None):
    return {"images": [IMAGE | (image or {})], "annotations": [PERSON | (person or {})], "categories": category(joints)}


@pytest.fixture
def write(tmp_path):
    def to_file(data, name="file.json"):
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return to_file


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (dataset(POSETRACK18.joints), "posetrack18"),
        (dataset(POSETRACK18.joints, person={"person_id": 3}), "posetrack21"),
        (dataset(POSETRACK18.joints, image={"has_labeled_person": True}), "posetrack21"),
        (dataset(COCO17.joints), "coco"),
        ([RESULT], "coco-results"),
        ([], "coco-results"),
        ({"annolist": []}, "posetrack17"),
    ],
)
def test_kinds(write, data, kind):
    path = write(data)
    assert read_poses(path).kind == kind
    assert read_poses(path, kind=kind).kind == kind


def test_another_kind_was_wanted(write):
    with pytest.raises(JmposeError, match=r"is a coco-results file") as caught:
        read_poses(write([RESULT]), kind="coco")
    assert "jmpose convert" in caught.value.hint


def test_person_ids(write):
    assert read_poses(write(dataset(POSETRACK18.joints, person={"person_id": 3}))).person_ids.tolist() == [3]
    assert read_poses(write(dataset(POSETRACK18.joints))).person_ids.tolist() == [-1]


def test_results_list(write):
    records = read_poses(write([RESULT, RESULT | {"image_id": 9}]))
    assert records.joints == COCO17.joints
    assert [image.id for image in records.images] == [5, 9]
    assert records.scores[0].tolist() == [0.5] * 17
    assert records.person_scores.tolist() == [0.25, 0.25]
    assert records.present.all()


def test_results_with_other_joints(write):
    with pytest.raises(JmposeError, match=r"results\[0\].keypoints has 45 numbers") as caught:
        read_poses(write([RESULT | {"keypoints": [1, 2, 3] * 15}]))
    assert "names no joints" in caught.value.hint


def test_presence_in_coco_is_its_visibility(write):
    person = {"keypoints": [5, 5, 0, 0, 0, 1, 5, 5, 2] + [0] * 42}
    assert read_poses(write(dataset(COCO17.joints, person=person))).present[0, :3].tolist() == [False, True, True]


def test_fields_without_a_place_are_listed(write):
    data = dataset(COCO17.joints, image={"license": 3}, person={"segmentation": []})
    assert read_poses(write(data)).unread == ("license", "segmentation")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("3", "the top level is the number 3"),
        ('"x"', "the top level is a string"),
        ({"a": 1, "b": 2}, "an object with a, b"),
        ([3], r"results\[0\] is the number 3"),
        ([{"image_id": "5", "keypoints": []}], r"results\[0\].image_id is a string"),
        ({"images": [], "categories": category(COCO17.joints)}, "without `annotations`"),
        ('{"images": [', "is not valid JSON"),
        ("", "is not valid JSON"),
    ],
)
def test_files_of_no_format(write, data, said):
    with pytest.raises(JmposeError, match=said):
        read_poses(write(data))


def test_a_folder(tmp_path):
    with pytest.raises(JmposeError, match="is a folder"):
        read_poses(tmp_path)


def test_test_split_without_annotations(write):
    data = dataset(POSETRACK18.joints)
    del data["annotations"]
    records = read_poses(write(data))
    assert (len(records), len(records.images)) == (0, 1)
    assert not np.any(records.integer_coordinates)
