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
        ({"images": [IMAGE | {"frame_id": 5}], "annotations": []}, "posetrack21"),
        (dataset(COCO17.joints), "coco"),
        (dataset(COCO17.joints, image={"vid_id": "000342"}), "coco"),
        ([RESULT], "coco-results"),
        ([], "coco-results"),
        ({"annolist": []}, "posetrack17"),
    ],
)
def test_kinds(write, data, kind):
    path = write(data)
    assert read_poses(path).kind == kind
    assert read_poses(path, kind=kind).kind == kind


def test_misspelt_joints_of_posetrack(write):
    with pytest.raises(JmposeError, match=r"categories\[0\].keypoints lacks nose, .* and has unknown Nose, Neck"):
        read_poses(write(dataset(["Nose", "Neck"], image={"vid_id": "000342"})))


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


def test_results_of_two_categories(write):
    with pytest.raises(JmposeError, match=r"results\[1\].category_id is 3, but 1 in results\[0\]") as caught:
        read_poses(write([RESULT, RESULT | {"category_id": 3}]))
    assert "one category" in caught.value.hint


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("keypoints", [1, True, 1] + [1, 2, 1] * 16, "keypoints has true or false at position 1"),
        ("keypoints", {}, "keypoints is an object"),
        ("scores", [False] + [0.5] * 16, "scores has true or false at position 0"),
        ("scores", "", "scores is a string"),
        ("scores", False, "scores is true or false"),
        ("bbox", 0, "bbox is the number 0"),
        ("bbox", [1, 2, 3, None], "bbox has null at position 3"),
        ("bbox_head", [1, 2], "bbox_head has 2 values"),
        ("track_id", 2**63, "track_id is 9223372036854775808"),
        ("track_id", True, "track_id is true or false"),
        ("image_id", 6, "image_id is 6"),
    ],
)
def test_values_that_look_like_nothing_or_like_numbers(write, field, value, said):
    with pytest.raises(JmposeError, match=said):
        read_poses(write(dataset(POSETRACK18.joints, person={field: value})))


@pytest.mark.parametrize("track_id", [2**62, -5])
def test_any_track_id_is_told_apart(write, track_id):
    data = dataset(POSETRACK18.joints)
    data["images"].append({"id": 6, "file_name": "images/x/000001.jpg"})
    data["annotations"] = [PERSON | {"image_id": i, "track_id": t} for i in (5, 6) for t in (track_id, 1)]
    assert read_poses(write(data)).track_ids.tolist() == [track_id, 1, track_id, 1]
    data["annotations"][1]["track_id"] = track_id
    with pytest.raises(JmposeError, match=rf"annotations\[1\].track_id is {track_id}, as in annotations\[0\]"):
        read_poses(write(data))


@pytest.mark.parametrize("names", [5, ["nose", ["x"]], ["nose", {}], "nose"])
def test_joint_names_of_another_kind(write, names):
    with pytest.raises(JmposeError, match=r"categories\[0\].keypoints is not a list of different strings"):
        read_poses(write(dataset([]) | {"categories": [{"id": 1, "name": "person", "keypoints": names}]}))


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


def test_every_recorded_file(shared_data):
    files = [f for f in sorted((shared_data / "oracle").rglob("*.json")) if f.name != "expected.json"]
    assert len(files) > 80
    for file in files:
        records, data = read_poses(file), json.loads(file.read_text())
        if records.kind == "posetrack17":
            assert len(records.images) == len(data["annolist"])
            assert len(records) == sum(len(image["annorect"]) for image in data["annolist"])
            continue
        people = data if records.kind == "coco-results" else data["annotations"]
        assert len(records) == len(people)
        for row, person in enumerate(people):
            triples = np.array(person["keypoints"], float).reshape(-1, 3)
            assert np.array_equal(records.xy[row], triples[:, :2])
            assert np.array_equal(records.present[row], triples.any(1) if records.kind != "coco" else triples[:, 2] > 0)
