"""Values stay what they are: digits, integers, ids, order; what had to be changed is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose.keypoints import COCO17, POSETRACK18
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import xywh_to_xyxy, xyxy_to_xywh
from jmpose_cli.handover.targets import TARGETS
from jmpose_cli.handover.write import write_poses

JSON_FORMATS = ("posetrack17", "posetrack18", "posetrack21", "coco", "coco-results")


def dataset(people, *, joints=POSETRACK18.joints, names=("images/000342_mpii_test/000007.jpg",)):
    """Image i has the id 5 + i; people get ids from 1, track ids from 4 and all joints unless they say otherwise."""
    annotations = [
        {"id": 1 + i, "image_id": 5, "category_id": 1, "track_id": 4 + i, "keypoints": [1, 2, 1] * len(joints)} | person
        for i, person in enumerate(people)
    ]
    images = [{"id": 5 + i, "file_name": name, "vid_id": "000342", "nframes": 90} for i, name in enumerate(names)]
    categories = [{"id": 1, "name": "person", "keypoints": list(joints)}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def convert(tmp_path):
    """Convert parsed JSON; gives what was written and the notes."""

    def run(data, to):
        source, target = tmp_path / "source.json", tmp_path / f"target{TARGETS[to].suffix}"
        source.write_text(json.dumps(data))
        notes = write_poses(read_poses(source), target, to=to)
        text = target.read_text()
        return (json.loads(text) if to in JSON_FORMATS else text), notes

    return run


def test_every_recorded_file_comes_back(shared_data, tmp_path):
    files = [f for f in sorted((shared_data / "oracle").rglob("*.json")) if f.name != "expected.json"]
    for file in files:
        records = read_poses(file)
        notes = write_poses(records, tmp_path / "again.json", to=records.kind)
        again = read_poses(tmp_path / "again.json", kind=records.kind)
        assert notes == [], file
        for name, column in vars(records).items():
            if isinstance(column, np.ndarray):
                assert np.array_equal(column, getattr(again, name), equal_nan=column.dtype.kind == "f"), (file, name)
        for mine, theirs in zip(records.images, again.images, strict=True):
            regions = [[r.tolist() for r in image.ignore_regions] for image in (mine, theirs)]
            assert regions[0] == regions[1]
            assert replace(mine, ignore_regions=(), nframes=None) == replace(theirs, ignore_regions=(), nframes=None)


@pytest.mark.parametrize("to", JSON_FORMATS)
def test_a_second_pass_changes_no_byte(shared_data, tmp_path, to):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    for file in sorted((shared_data / "oracle" / "poseval" / "01").glob("*/*.json")):
        write_poses(read_poses(file), first, to=to)
        assert write_poses(read_poses(first, kind=to), second, to=to) in (
            [],
            ["head boxes are kept in the field bbox_head, which is not COCO's"],
        )
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("to", ["posetrack18", "posetrack21", "coco", "coco-results"])
def test_integers_stay_integers(convert, to):
    people = [{"keypoints": [1, 2, 1] * 17}, {"keypoints": [1, 2, 1] * 16 + [1.5, 2, 1], "image_id": 6}]
    data, _ = convert(dataset(people, names=("a/1.jpg", "a/2.jpg")), to)
    whole, mixed = (person["keypoints"] for person in (data if to == "coco-results" else data["annotations"]))
    assert {type(value) for value in whole} == {int}
    assert type(mixed[0]) is float
    assert mixed[-3:-1] == [1.5, 2.0]


@given(corners=st.lists(st.tuples(*[st.integers(-10_000, 10_000)] * 2, *[st.integers(1, 10_000)] * 2), min_size=1))
@settings(deadline=None)
def test_sizes_of_boxes_keep_their_digits(corners):
    boxes = np.array(corners) / 10
    assert xyxy_to_xywh(xywh_to_xyxy(boxes)).tolist() == boxes.tolist()


def test_occlusion_of_posetrack21_goes_to_coco_and_back(convert):
    triples = [5, 6, 0, 7, 8, 1] + [0, 0, 0] * 3 + [9, 9, 0] * 12
    data, _ = convert(dataset([{"keypoints": triples, "person_id": 3}]), "coco")
    (person,) = data["annotations"]
    assert person["keypoints"][:3] == [5, 6, 1]
    assert person["num_keypoints"] == 13
    again, _ = convert(data, "posetrack21")
    assert again["annotations"][0]["keypoints"][:3] == [5, 6, 0]


def test_a_joint_at_the_origin_stays_there(convert):
    data, _ = convert(dataset([{"keypoints": [0, 0, 2] + [1, 2, 1] * 16}], joints=COCO17.joints), "posetrack18")
    assert data["annotations"][0]["keypoints"][:3] == [0, 0, 1]
    hidden, _ = convert(dataset([{"keypoints": [0, 0, 1] + [1, 2, 1] * 16}], joints=COCO17.joints), "posetrack18")
    assert hidden["annotations"][0]["keypoints"][:3] == [0, 0, 1]  # 0, 0, 0 would be absent


def test_person_ids_stay_in_posetrack21_and_are_missed_elsewhere(convert):
    data, notes = convert(dataset([{"person_id": 77}]), "posetrack21")
    assert (data["annotations"][0]["person_id"], notes) == (77, [])
    assert data["images"][0]["has_labeled_person"] is True
    _, notes = convert(dataset([{"person_id": 77}]), "posetrack18")
    assert notes == ["no place in posetrack18 for: ids of persons across videos"]


@pytest.mark.parametrize("ids", [(3, 3), (3, -1)])
def test_doubled_and_missing_ids_are_replaced_and_said(convert, ids):
    data, notes = convert(dataset([{"id": i} for i in ids]), "coco")
    assert [person["id"] for person in data["annotations"]] == [1, 2]
    assert any("numbered from 1" in note for note in notes)


def test_scores_of_some_joints(convert):
    person = {"id": [13], "x": [1], "y": [2]}
    points = [person | {"score": [0.5]}, person | {"id": [0]}]
    annolist = [
        {"image": [{"name": "a/1.jpg"}], "annorect": [{"track_id": [1], "annopoints": [{"point": points}]}]},
    ]
    data, notes = convert({"annolist": annolist}, "posetrack18")
    assert data["annotations"][0]["scores"] == [0.5] + [0.0] * 16
    assert notes == ["joints without a score beside others that have one got the score 0: 1"]


def test_no_scores_at_all(convert):
    assert convert(dataset([{}]), "posetrack18")[0]["annotations"][0]["scores"] == []
    assert "keypoint_scores" not in convert(dataset([{}]), "coco")[0]["annotations"][0]
    results, _ = convert(dataset([{}]), "coco-results")
    assert results[0]["score"] == 1
    assert results[0]["keypoints"][2::3] == [1, 0, 0] + [1] * 14  # eyes are not PoseTrack's


def test_the_score_of_a_person_is_the_mean_of_the_joints(convert):
    scores = [0.25, 0.75] + [0.0] * 15
    results, _ = convert(dataset([{"keypoints": [1, 2, 1] * 2 + [0, 0, 0] * 15, "scores": scores}]), "coco-results")
    assert results[0]["score"] == 0.5


def test_boxes_made_from_joints_are_said(convert):
    triples = [10, 20, 1, 0, 0, 0, 0, 0, 0] + [0, 0, 0] * 13 + [30, 60, 1]
    data, notes = convert(dataset([{"keypoints": triples}]), "coco")
    assert data["annotations"][0]["bbox"] == pytest.approx([7, 14, 26, 52])
    assert data["annotations"][0]["area"] == pytest.approx(26 * 52)
    assert "people without a box got the extent of their joints times 1.3: 1" in notes


def test_people_keep_their_order(convert):
    people = [{"track_id": 9, "bbox": [1, 1, 2, 2]}, {"track_id": 4, "bbox": [3, 3, 2, 2]}]
    text, _ = convert(dataset(people), "mot")
    assert [line.split(",")[:2] for line in text.splitlines()] == [["8", "9"], ["8", "4"]]
    data, _ = convert(dataset(people), "posetrack18")
    assert [person["track_id"] for person in data["annotations"]] == [9, 4]


def test_csv_and_mot_number_frames_alike(convert):
    data = dataset(
        [{"bbox": [1, 1, 2, 2]}, {"image_id": 6, "bbox": [1, 1, 2, 2]}], names=("v/000030.jpg", "v/000034.jpg")
    )
    rows = convert(data, "csv")[0].splitlines()
    assert [row.split(",")[1] for row in rows] == ["frame_index", "30", "34"]
    assert [line.split(",")[0] for line in convert(data, "mot")[0].splitlines()] == ["31", "35"]


def test_people_that_mot_cannot_hold_are_counted(convert):
    text, notes = convert(dataset([{"keypoints": [0, 0, 0] * 17}, {"keypoints": [4, 5, 1] + [0, 0, 0] * 16}]), "mot")
    assert text == ""
    assert "people without a box that has a size were left out: 2" in notes


def test_people_that_posetrack17_cannot_hold_are_counted(convert):
    data, notes = convert(dataset([{"keypoints": [0, 0, 0] * 17}, {}]), "posetrack17")
    assert len(data["annolist"][0]["annorect"]) == 1
    assert "people without joints cannot be written and were left out: 1" in notes
