"""Scoring files in this process: COCO data sets that leave things out, and ground truth on which nothing is scored."""

import json

import pytest

from jmpose.keypoints import COCO17
from jmpose_cli.errors import JmposeError
from jmpose_cli.evaluation.score_files import Scoring, evaluate_files
from jmpose_cli.formats.mot import read_mot

OKS = Scoring("coco")
JOINTS = [[100 + 10 * i, 50 + 20 * i, 2] for i in range(17)]
EXTENT = [100, 50, 160, 320]  # of the joints


def person(**change):
    flat = [value for joint in JOINTS for value in joint]
    whole = {"id": 1, "image_id": 5, "category_id": 7, "keypoints": flat, "bbox": EXTENT, "area": 160 * 320}
    changed = whole | {"num_keypoints": 17, "iscrowd": 0} | change
    return {key: value for key, value in changed.items() if value is not None}


def shifted(pixels):
    """A result whose joints are all so far to the right."""
    flat = [value for x, y, _ in JOINTS for value in (x + pixels, y, 0.5)]
    return {"image_id": 5, "category_id": 1, "keypoints": flat, "score": 0.9}


@pytest.fixture
def score(tmp_path):
    def from_people(people, results, scoring=OKS):
        truth = {
            "images": [{"id": 5, "file_name": "5.jpg"}],
            "annotations": people,
            "categories": [{"id": 7, "name": "person", "keypoints": list(COCO17.joints)}],
        }
        (tmp_path / "gt.json").write_text(json.dumps(truth))
        (tmp_path / "results.json").write_text(json.dumps(results))
        evaluated = evaluate_files(tmp_path / "gt.json", [tmp_path / "results.json"], scoring)
        return evaluated.runs[0].oks, evaluated.notes

    return from_people


def test_any_number_of_the_category(score):
    figures, notes = score([person()], [shifted(0)])
    assert figures["AP"] == pytest.approx(1)
    assert notes == ()


@pytest.mark.parametrize("number", [-3, 2**62])
def test_any_number_of_the_annotation(score, number):
    assert score([person(id=number)], [shifted(0)])[0]["AP"] == pytest.approx(1)


@pytest.mark.parametrize("change", [{"num_keypoints": None}, {"iscrowd": None}, {"num_keypoints": None, "bbox": None}])
def test_what_a_data_set_may_leave_out(score, change):
    whole, _ = score([person()], [shifted(12)])
    assert 0 < whole["AP"] < 1
    assert score([person(**change)], [shifted(12)]) == (whole, ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"area": None}, "1 people without `area`: it was taken from the box of 1;"),
        ({"area": None, "bbox": None}, "1 people without `area`: it was taken from the extent of the joints of 1;"),
    ],
)
def test_area_is_derived_and_said(score, change, said):
    whole, _ = score([person()], [shifted(12)])
    figures, notes = score([person(**change)], [shifted(12)])
    assert figures == whole
    assert said in notes[0]


def test_stated_counts_decide(score):
    with pytest.raises(JmposeError, match=r"nothing to score: no annotated person of .*gt\.json has visible joints"):
        score([person(num_keypoints=0)], [shifted(0)])


@pytest.mark.parametrize("results", [[], [shifted(0)]])
@pytest.mark.parametrize("people", [[], [person(keypoints=[1, 2, 0] * 17, num_keypoints=None)], [person(iscrowd=1)]])
def test_nothing_is_scored(score, people, results):
    with pytest.raises(JmposeError, match="nothing to score"):
        score(people, results)


@pytest.mark.parametrize("change", [{"area": 2e10}, {"area": None, "bbox": [0, 0, 10**6, 10**6]}])
def test_areas_beyond_those_that_are_scored(score, change):
    with pytest.raises(JmposeError, match="nothing to score: the area of every annotated person"):
        score([person(**change)], [shifted(0)])


def test_no_box_that_counts(tmp_path):
    for name, text in (("gt.txt", "1,1,0,0,5,5,0,1,1\n"), ("tracks.txt", "1,1,0,0,5,5,1\n")):
        (tmp_path / name).write_text(text)
    with pytest.raises(JmposeError, match=r"nothing to score: .*gt\.txt has a box that counts"):
        evaluate_files(tmp_path / "gt.txt", [tmp_path / "tracks.txt"], Scoring("mot"))


def test_ten_columns_hold_a_place_in_the_world_and_no_class(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_text("1,1,88,99,61,218,1,4.4852,5.5016,0\n1,2,9,9,30,90,1,8,0.5\n")  # the second is of class 8
    assert read_mot(path).track_ids.tolist() == [1]


def test_one_track_twice_in_a_picture(score, tmp_path):
    people = [person(track_id=3), person(id=2, track_id=3)]
    boxes = [shifted(0) | {"bbox": EXTENT, "track_id": 1}]
    with pytest.raises(JmposeError, match=r"annotations\[1\]\.track_id is 3, as in annotations\[0\]"):
        score(people, boxes, Scoring("coco", box_tracking=True))
