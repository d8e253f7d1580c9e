"""Nothing is lost on the way from one format to another that both can hold."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jmpose.keypoints import COCO17, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.posetrack17 import JOINTS as JOINTS17
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import ImageRecord, PoseRecords
from jmpose_cli.handover.targets import TARGETS
from jmpose_cli.handover.write import write_poses

EARS = [POSETRACK18.joints.index(joint) for joint in ("left_ear", "right_ear")]
NUMBERS = st.floats(-500, 2500).map(lambda x: round(x, 4)) | st.integers(-50, 2000).map(float)


def make_records(draw, joints, *, kind, scored, ears=False):
    """Random people in up to three images."""
    n_images = draw(st.integers(1, 3))
    image_row = np.array(sorted(draw(st.lists(st.integers(0, n_images - 1), max_size=5))), np.int64)
    n, k = len(image_row), len(joints)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    xy = np.array(draw(st.lists(NUMBERS, min_size=2 * n * k, max_size=2 * n * k)), np.float64).reshape(n, k, 2)
    present = rng.random((n, k)) < 0.8
    if n:
        present[:, 0] = True  # PoseTrack17 drops people without joints
    if not ears and "left_ear" in joints:
        present[:, [joints.index("left_ear"), joints.index("right_ear")]] = False
    xy[~present] = 0
    visibility = np.where(present, rng.integers(1 if kind == "coco" else 0, 2, (n, k)), 0).astype(float)
    visibility[present & (xy == 0).all(2)] = 1
    boxes, heads = (np.cumsum(rng.uniform(1, 90, (n, 2, 2)), 1).reshape(n, 4) for _ in range(2))
    regions = [
        tuple(rng.uniform(0, 500, (c, 2)) for c in rng.integers(3, 6, rng.integers(0, 3))) for _ in range(n_images)
    ]
    images = tuple(
        ImageRecord(
            id=10003420000 + number,
            file_name=f"images/val/000342_mpii_test/{number:06d}.jpg",
            width=None,
            height=None,
            frame_index=None,
            time_s=None,
            is_labeled=bool(rng.random() < 0.7),
            ignore_regions=() if kind == "coco" else regions[number],
            vid_id="000342",
            nframes=n_images,
        )
        for number in range(n_images)
    )
    return PoseRecords(
        path=Path("made.json"),
        kind=kind,
        joints=joints,
        images=images,
        image_row=image_row,
        ids=np.arange(1, n + 1),
        track_ids=rng.permutation(50)[:n],
        person_ids=np.full(n, -1),
        xy=xy,
        visibility=visibility,
        present=present,
        scores=np.where(present, rng.random((n, k)), 0.0) if scored else np.full((n, k), np.nan),
        person_scores=rng.random(n) if scored else np.full(n, np.nan),
        boxes_xyxy_px=np.round(boxes, 3),
        head_boxes_xyxy_px=np.round(heads, 3),
        areas=np.round(rng.uniform(1, 900, n), 2) if kind == "coco" else np.full(n, np.nan),
        joint_counts=present.sum(1),
        is_crowd=rng.random(n) < 0.2 if kind == "coco" else np.zeros(n, bool),
        integer_coordinates=np.zeros(n_images, bool),
    )


@st.composite
def posetrack(draw):
    return make_records(draw, POSETRACK18.joints, kind="posetrack18", scored=draw(st.booleans()))


@st.composite
def coco(draw):
    return make_records(draw, COCO17.joints, kind="coco", scored=draw(st.booleans()), ears=True)


ANY = ("coco", "coco-results", "csv", "mot", "parquet", "posetrack17", "posetrack18", "posetrack21")
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def through(folder, records, *formats):
    """Write and read again, format after format."""
    for to in formats:
        path = folder / f"file{TARGETS[to].suffix}"
        write_poses(records, path, to=to)
        records = read_poses(path, kind=to)
    return records


def same_poses(one, other, joints):
    """Equal joints, scores, tracks and frames."""
    a, b = ([records.joints.index(joint) for joint in joints] for records in (one, other))
    assert np.array_equal(one.image_row, other.image_row)
    there = one.present[:, a]
    assert np.array_equal(there, other.present[:, b])
    assert np.array_equal(one.xy[:, a][there], other.xy[:, b][there])
    assert np.array_equal(one.scores[:, a][there], other.scores[:, b][there], equal_nan=True)


def same_images(one, other, *fields):
    for field in fields:
        assert [getattr(i, field) for i in one.images] == [getattr(i, field) for i in other.images], field


def same_regions(one, other):
    for mine, theirs in zip(one.images, other.images, strict=True):
        assert [r.tolist() for r in mine.ignore_regions] == [r.tolist() for r in theirs.ignore_regions]


def same_columns(one, other, *names):
    for name in names:
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-9, equal_nan=True), name


class TestPoseTrack:
    @quick
    @given(records=posetrack())
    def test_18_to_18(self, tmp_path, records):
        again = through(tmp_path, records, "posetrack18")
        same_poses(records, again, POSETRACK18.joints)
        same_regions(records, again)
        same_images(records, again, "id", "file_name", "is_labeled", "vid_id", "nframes")
        same_columns(records, again, "track_ids", "ids", "visibility", "person_scores")
        same_columns(records, again, "boxes_xyxy_px", "head_boxes_xyxy_px")

    @quick
    @given(records=posetrack())
    def test_18_to_17_and_back(self, tmp_path, records):
        again = through(tmp_path, records, "posetrack17", "posetrack18")
        same_poses(records, again, JOINTS17)
        same_regions(records, again)
        same_images(records, again, "id", "file_name", "is_labeled", "vid_id")
        same_columns(records, again, "track_ids", "visibility", "person_scores", "head_boxes_xyxy_px")

    @quick
    @given(records=posetrack())
    def test_18_to_21_and_back(self, tmp_path, records):
        again = through(tmp_path, records, "posetrack21", "posetrack18")
        same_poses(records, again, POSETRACK18.joints)
        same_regions(records, again)
        same_images(records, again, "id", "file_name", "is_labeled", "vid_id", "nframes")
        same_columns(records, again, "track_ids", "visibility", "boxes_xyxy_px", "head_boxes_xyxy_px")

    @quick
    @given(records=posetrack())
    def test_18_to_coco_and_back(self, tmp_path, records):
        again = through(tmp_path, records, "coco", "posetrack18")
        common = [joint for joint in COCO17.joints if joint in POSETRACK18.joints]
        same_poses(records, again, common)
        same_columns(records, again, "track_ids", "person_scores", "boxes_xyxy_px", "head_boxes_xyxy_px")

    @quick
    @given(records=posetrack())
    def test_18_to_mot(self, tmp_path, records):
        again = through(tmp_path, records, "mot")
        numbers = records.image_row
        for number in set(numbers.tolist()):
            mine = {
                int(t): records.boxes_xyxy_px[row].tolist()
                for row, t in enumerate(records.track_ids)
                if numbers[row] == number
            }
            theirs = {
                int(t): again.boxes_xyxy_px[row].tolist()
                for row, t in enumerate(again.track_ids)
                if again.image_row[row] == number
            }
            assert mine.keys() == theirs.keys()
            for track, box in mine.items():
                assert theirs[track] == pytest.approx(box, abs=1e-9)

    @quick
    @given(records=posetrack(), to=st.sampled_from(ANY))
    def test_the_same_bytes_again(self, tmp_path, records, to):
        first, second = tmp_path / "a", tmp_path / "b"
        write_poses(records, first, to=to)
        write_poses(records, second, to=to)
        assert first.read_bytes() == second.read_bytes()


class TestCoco:
    @quick
    @given(records=coco())
    def test_coco_to_coco(self, tmp_path, records):
        again = through(tmp_path, records, "coco")
        same_poses(records, again, COCO17.joints)
        same_images(records, again, "id", "file_name", "is_labeled")
        same_columns(records, again, "ids", "visibility", "areas", "is_crowd", "boxes_xyxy_px", "person_scores")

    @quick
    @given(records=coco())
    def test_coco_to_posetrack_and_back(self, tmp_path, records):
        again = through(tmp_path, records, "posetrack18", "coco")
        common = [joint for joint in COCO17.joints if joint in POSETRACK18.joints]
        same_poses(records, again, common)
        same_columns(records, again, "track_ids", "boxes_xyxy_px")

    @quick
    @given(records=coco())
    def test_coco_to_results(self, tmp_path, records):
        again = through(tmp_path, records, "coco-results")
        assert again.xy.tolist() == records.xy.tolist()
        mine = [records.images[row].id for row in records.image_row]
        assert [again.images[row].id for row in again.image_row] == mine
        if not np.isnan(records.person_scores).any():
            assert again.person_scores.tolist() == records.person_scores.tolist()

    def test_loads_in_pycocotools(self, tmp_path):
        from pycocotools.coco import COCO

        records = read_poses(_one_person(tmp_path))
        write_poses(records, tmp_path / "coco.json", to="coco")
        data = COCO(str(tmp_path / "coco.json"))
        (annotation,) = data.loadAnns(data.getAnnIds())
        assert annotation["num_keypoints"] == 13
        write_poses(records, tmp_path / "results.json", to="coco-results")
        assert len(data.loadRes(str(tmp_path / "results.json")).getAnnIds()) == 1


def _one_person(folder, **more):
    keypoints = [0, 0, 0] * 17
    for joint in range(17):
        if joint not in EARS:
            keypoints[3 * joint : 3 * joint + 3] = [10 + joint, 20 + joint, 1]
    person = {"id": 1, "image_id": 5, "track_id": 4, "keypoints": keypoints, "scores": [], **more}
    data = {
        "images": [{"id": 5, "file_name": "images/x/000007.jpg"}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(POSETRACK18.joints)}],
    }
    path = folder / "one.json"
    path.write_text(json.dumps(data))
    return path


def test_mot_takes_the_extent_of_the_joints_where_there_is_no_box(tmp_path):
    write_poses(read_poses(_one_person(tmp_path)), tmp_path / "one.txt", to="mot")
    frame, track, *numbers = (tmp_path / "one.txt").read_text().strip().split(",")
    assert (frame, track) == ("8", "4")  # the name of the picture says frame 7, MOT counts from 1
    # x from 10 to 26, y from 20 to 36: 16 wide, times 1.3.
    assert [float(v) for v in numbers[:5]] == pytest.approx([18 - 10.4, 28 - 10.4, 20.8, 20.8, 1.0])


def test_head_joints_are_synthesised_and_said(tmp_path):
    keypoints = [5.0, 6.0, 2.0] + [0, 0, 0] * 4 + [0, 20, 2, 10, 22, 2] + [0, 0, 0] * 10
    person = {"id": 1, "image_id": 5, "category_id": 1, "track_id": 4, "keypoints": keypoints}
    data = {
        "images": [{"id": 5, "file_name": "a.jpg"}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data))
    notes = write_poses(read_poses(tmp_path / "coco.json"), tmp_path / "pt.json", to="posetrack18")
    assert any("made from nose and shoulders" in note for note in notes)
    records = read_poses(tmp_path / "pt.json")
    bottom, top = (records.joints.index(joint) for joint in ("head_bottom", "head_top"))
    assert records.xy[0, bottom].tolist() == [5, 21]
    assert records.xy[0, top].tolist() == [5, -9]


def test_csv(tmp_path):
    records = read_poses(_one_person(tmp_path, score=0.5, bbox=[1, 2, 3, 4]))
    write_poses(records, tmp_path / "one.csv", to="csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "one.csv").read_text()))
    assert (row["track_id"], row["person_score"], row["box_w"]) == ("4", "0.5", "3.0")
    assert (row["nose_x"], row["nose_y"], row["nose_score"]) == ("10.0", "20.0", "")
    assert row["left_ear_x"] == ""


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("posetrack17", "boxes of whole people"),
        ("coco", "bbox_head"),
        ("coco-results", "no place in coco-results for: track ids, head boxes, boxes of whole people"),
        ("mot", "no place in mot for: joints, head boxes"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, to, said):
    path = _one_person(tmp_path, bbox=[1, 2, 3, 4], bbox_head=[1, 2, 3, 4])
    notes = write_poses(read_poses(path), tmp_path / "out", to=to)
    assert any(said in note for note in notes)


def test_no_track_ids(tmp_path):
    records = read_poses(_one_person(tmp_path))
    nameless = replace(records, track_ids=np.array([-1]))
    for to in ("posetrack17", "posetrack18", "posetrack21", "mot"):
        with pytest.raises(JmposeError, match=r"person 0 in images/x/000007\.jpg has no track_id"):
            write_poses(nameless, tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()


def test_boxes_alone_cannot_become_poses(tmp_path):
    (tmp_path / "boxes.txt").write_text("1,1,0,0,5,5\n")
    records = read_poses(tmp_path / "boxes.txt")
    with pytest.raises(JmposeError, match="without joints"):
        write_poses(records, tmp_path / "out.json", to="posetrack18")
    write_poses(records, tmp_path / "again.txt", to="mot")
    assert read_poses(tmp_path / "again.txt").boxes_xyxy_px.tolist() == [[0, 0, 5, 5]]


def test_track_ids_that_the_official_evaluation_refuses_are_said(tmp_path):
    records = replace(read_poses(_one_person(tmp_path)), track_ids=np.array([10_000]))
    notes = write_poses(records, tmp_path / "out.json", to="posetrack18")
    assert any("10000" in note for note in notes)
