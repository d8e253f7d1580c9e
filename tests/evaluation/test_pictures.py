import base64
from dataclasses import replace

import cv2
import numpy as np
import pytest

from jmpose_cli.evaluation.pictures import MISSED, RIGHT, TRUTH, WRONG, worst_frames
from jmpose_cli.metrics.posetrack import evaluate_posetrack, pair_inputs
from tests.metrics.pose_files import JOINTS15, Person, read_pair

NAME = "000342_mpii_test"


@pytest.fixture
def evaluated(tmp_path):
    """Twelve frames: frame 3 misses everybody, frame 8 one person, the others are right."""
    people = [Person(1, x=10, y=60), Person(2, x=10, y=160)]
    predicted = [list(people) for _ in range(12)]
    predicted[3], predicted[8] = [], [people[0]]
    truth, guesses = read_pair(tmp_path, [people] * 12, predicted)
    evaluation = evaluate_posetrack([pair_inputs(NAME, truth, guesses, protocol="posetrack18")], protocol="posetrack18")
    return evaluation, {NAME: truth}, {NAME: guesses}


def decode(picture):
    data = np.frombuffer(base64.b64decode(picture.jpeg), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def shows(picture, colour):
    return (np.abs(decode(picture) - colour).max(2) < 50).sum() > 20


def test_the_worst_come_first(evaluated):
    pictures, notes = worst_frames(*evaluated, images=None, number=12)
    assert [p.caption for p in pictures] == [
        f"{NAME}, 000003.jpg: {2 * len(JOINTS15)} wrong joints",
        f"{NAME}, 000008.jpg: {len(JOINTS15)} wrong joints",
    ]
    assert "--images" in notes[0]


def test_right_wrong_and_missed_have_their_colours(evaluated, tmp_path):
    pictures, _ = worst_frames(*evaluated, images=None, number=12)
    assert shows(pictures[0], TRUTH) and shows(pictures[0], MISSED) and not shows(pictures[0], RIGHT)
    assert shows(pictures[1], RIGHT) and shows(pictures[1], MISSED) and not shows(pictures[1], WRONG)


@pytest.mark.parametrize("place", ["images/val", "val", "", "elsewhere"])
def test_pictures_are_found_by_the_end_of_their_names(evaluated, tmp_path, place):
    folder = tmp_path / "pictures" / place / NAME
    folder.mkdir(parents=True)
    for number in range(12):
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), np.full((240, 500, 3), 255, np.uint8))
    pictures, notes = worst_frames(*evaluated, images=tmp_path / "pictures", number=12)
    white = (decode(pictures[0]) > 180).all(2).mean()
    if place == "elsewhere":
        assert white < 0.1
        assert "2 pictures were not found" in notes[0]
    else:
        assert white > 0.5
        assert notes == []


@pytest.mark.parametrize("name", ["{out}/000003.jpg", "../out/000003.jpg", "x/../../out/000003.jpg", "link/000003.jpg"])
def test_a_picture_outside_the_folder_is_not_shown(evaluated, tmp_path, name):
    evaluation, truth, guesses = evaluated
    for folder in ("out", "pictures"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pictures" / "link").symlink_to(tmp_path / "out")
    cv2.imwrite(str(tmp_path / "out" / "000003.jpg"), np.full((240, 500, 3), 255, np.uint8))
    images = tuple(replace(i, file_name=name.format(out=tmp_path / "out")) for i in truth[NAME].images)
    truth = {NAME: replace(truth[NAME], images=images)}
    pictures, notes = worst_frames(evaluation, truth, guesses, images=tmp_path / "pictures", number=1)
    assert (decode(pictures[0]) > 180).all(2).mean() < 0.1
    assert "not found" in notes[0]


def test_a_broken_picture_is_said(evaluated, tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "000003.jpg").write_bytes(b"no picture")
    pictures, notes = worst_frames(*evaluated, images=tmp_path, number=1)
    assert len(pictures) == 1
    assert "not found or not readable" in notes[0]
