"""Joints and visibility between formats, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jmpose.keypoints import COCO17, LSP14, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import ImageRecord, PoseRecords
from jmpose_cli.handover.convert_joints import in_joints, lost, with_visibility_of
from jmpose_cli.handover.targets import TARGETS


def people(kind, joints, points):
    """One person in one image; `points` gives x, y, v, score by joint."""
    k = len(joints)
    xy, visibility, scores = np.zeros((1, k, 2)), np.zeros((1, k)), np.full((1, k), np.nan)
    present = np.zeros((1, k), bool)
    for joint, (x, y, v, score) in points.items():
        column = joints.index(joint)
        xy[0, column], visibility[0, column], scores[0, column], present[0, column] = (x, y), v, score, True
    nothing = np.full(1, np.nan)
    boxes = np.full((1, 4), np.nan)
    return PoseRecords(
        path=Path("made.json"),
        kind=kind,
        joints=tuple(joints),
        images=(ImageRecord(1, "a.jpg", None, None, None, None),),
        image_row=np.zeros(1, np.int64),
        ids=np.array([1]),
        track_ids=np.array([1]),
        person_ids=np.array([-1]),
        xy=xy,
        visibility=visibility,
        present=present,
        scores=scores,
        person_scores=nothing,
        boxes_xyxy_px=boxes,
        head_boxes_xyxy_px=boxes.copy(),
        areas=nothing.copy(),
        joint_counts=np.zeros(1, np.int64),
        is_crowd=np.zeros(1, bool),
        integer_coordinates=np.zeros(1, bool),
    )


UPPER = {
    "nose": (5, 6, 2, 0.9),
    "left_shoulder": (0, 20, 2, 0.4),
    "right_shoulder": (10, 22, 1, 0.6),
}


def test_the_head_from_nose_and_shoulders():
    notes = []
    mapped = in_joints(people("coco", COCO17.joints, UPPER), POSETRACK18.joints, notes)
    bottom, top = (POSETRACK18.joints.index(joint) for joint in ("head_bottom", "head_top"))
    assert mapped.xy[0, [bottom, top]].tolist() == [[5, 21], [5, -9]]
    assert mapped.scores[0, [bottom, top]].tolist() == [0.5, 0.5]
    assert mapped.visibility[0, [bottom, top]].tolist() == [1, 1]  # the least of the three
    assert notes == ["made from nose and shoulders: head_bottom, head_top"]


@pytest.mark.parametrize("joint", UPPER)
def test_no_head_without_all_three(joint):
    points = {name: point for name, point in UPPER.items() if name != joint}
    notes = []
    mapped = in_joints(people("coco", COCO17.joints, points), POSETRACK18.joints, notes)
    assert mapped.present.sum() == 2
    assert notes == ["joints that the file does not have are marked as absent: head_bottom, head_top"]


def test_a_head_joint_that_is_there_is_kept():
    notes = []
    points = UPPER | {"head_bottom": (1, 2, 1, 0.1)}
    mapped = in_joints(people("coco", (*COCO17.joints, "head_bottom"), points), POSETRACK18.joints, notes)
    assert mapped.xy[0, POSETRACK18.joints.index("head_bottom")].tolist() == [1, 2]
    assert mapped.xy[0, POSETRACK18.joints.index("head_top")].tolist() == [5, -9]
    assert notes == ["made from nose and shoulders: head_top"]


def test_posetrack_joints_in_coco():
    notes = []
    points = {"nose": (1, 2, 1, 0.5), "head_top": (3, 4, 1, 0.5)}
    mapped = in_joints(people("posetrack18", POSETRACK18.joints, points), COCO17.joints, notes)
    assert mapped.present[0].tolist() == [True] + [False] * 16
    assert notes == [
        "joints that the format does not have were left out: head_bottom, head_top",
        "joints that the file does not have are marked as absent: left_eye, right_eye",
    ]


def test_not_one_known_joint():
    with pytest.raises(JmposeError, match=r"made\.json: unknown joints Nose, Neck") as caught:
        in_joints(people("coco", ("Nose", "Neck"), {}), POSETRACK18.joints, [])
    assert "wanted: nose" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "to", "given", "wanted"),
    [
        ("posetrack21", "coco", [0, 1], [1, 2]),  # hidden, visible
        ("posetrack17", "coco", [0, 1], [1, 2]),
        ("coco", "posetrack18", [1, 2], [0, 1]),
        ("coco", "posetrack17", [1, 2], [0, 1]),
        ("coco", "coco", [1, 2], [1, 2]),
        ("posetrack18", "posetrack21", [0, 0.25], [0, 0.25]),
        ("coco-results", "coco", [0.1, 0.5], [1, 2]),
        ("coco-results", "posetrack18", [0.1, 0.5], [0, 1]),
    ],
)
def test_visibility(kind, to, given, wanted):
    points = {"nose": (1, 2, given[0], 0.1), "left_knee": (3, 4, given[1], 0.5)}
    converted = with_visibility_of(people(kind, COCO17.joints, points), to)
    knee = COCO17.joints.index("left_knee")
    assert converted.visibility[0, [0, knee]].tolist() == wanted
    assert converted.visibility.sum() == sum(wanted)


def test_what_is_lost():
    records = people("posetrack21", POSETRACK18.joints, {"nose": (1, 2, 1, 0.5)})
    assert lost(records, "posetrack18", TARGETS["posetrack18"].holds) == []
    square = (np.array([[0.0, 0], [1, 0], [1, 1]]),)
    full = replace(
        records,
        person_ids=np.array([4]),
        head_boxes_xyxy_px=np.ones((1, 4)),
        boxes_xyxy_px=np.ones((1, 4)),
        is_crowd=np.array([True]),
        areas=np.ones(1),
        images=(
            replace(records.images[0], ignore_regions=square, is_labeled=False, width=9, time_s=0.5),
            records.images[0],
        ),
    )
    expected = {
        "posetrack17": "ids of persons across videos, boxes of whole people, areas, marks of crowds, "
        "sizes of pictures, times",
        "posetrack18": "ids of persons across videos, areas, marks of crowds",
        "posetrack21": "areas, marks of crowds",
        "coco": "ids of persons across videos, ignore regions",
        "mot": "joints, ids of persons across videos, ignore regions, head boxes, areas, marks of crowds, "
        "marks of frames without annotation, frames without people, sizes of pictures, times, scores of joints",
    }
    for to, things in expected.items():
        assert lost(full, to, TARGETS[to].holds) == [f"no place in {to} for: {things}"]


def test_joints_of_a_known_set_go_by_their_meaning():
    notes = []
    points = {"neck": (3, 4, 2, 0.5), "head_top": (3, 1, 2, 0.5), "left_hip": (5, 9, 2, 0.5)}
    mapped = in_joints(people("coco", LSP14.joints, points), POSETRACK18.joints, notes)
    assert mapped.xy[0, POSETRACK18.joints.index("head_bottom")].tolist() == [3, 4]
    assert notes == ["joints that the file does not have are marked as absent: nose"]
