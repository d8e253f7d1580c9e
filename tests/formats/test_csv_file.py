import csv
from dataclasses import replace

import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, HALPE26, KeypointSet
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.tabular import CsvWriter


def write(path, meta, frames, *, keypoints=COCO17_HEAD, with_raw=False, written=None):
    with CsvWriter(path, meta, keypoints, with_raw=with_raw, written=written) as writer:
        for frame in frames:
            writer.write(frame)
    with path.open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keypoints.csv"


def test_one_row_a_person_a_frame(path, meta, make_poses):
    rows = write(path, meta, [make_poses(0, []), make_poses(1, [4, 9]), make_poses(2, [4])])
    assert [(r["frame_index"], r["time_s"], r["track_id"]) for r in rows] == [
        ("1", "0.04", "4"),
        ("1", "0.04", "9"),
        ("2", "0.08", "4"),
    ]
    second = rows[1]
    assert [second[f"box_{c}"] for c in "xywh"] == ["100.0", "10.0", "40.0", "100.0"]
    assert [second[f"left_eye_{c}"] for c in ("x", "y", "score")] == ["101.0", "2.0", "0.5"]
    assert (second["head_top_x"], second["person_score"], second["box_observed"]) == ("118.0", "0.75", "1")
    assert "nose_x_raw" not in second


def test_raw_columns(path, meta, make_poses):
    rows = write(path, meta, [make_poses(0, keypoints=COCO17, raw=True)], keypoints=COCO17, with_raw=True)
    assert (rows[0]["left_eye_x"], rows[0]["left_eye_x_raw"], rows[0]["left_eye_y_raw"]) == ("1.0", "2.0", "3.0")


def test_joints_that_the_poses_lack_are_empty(path, meta, make_poses):
    (row,) = write(path, meta, [make_poses(0, raw=True)], with_raw=True, written=HALPE26)
    assert (row["left_eye_x"], row["head_x"], row["head_y"], row["head_score"]) == ("1.0", "18.0", "36.0", "0.5")
    assert [row[f"left_heel_{c}"] for c in ("x", "y", "score", "x_raw", "y_raw")] == [""] * 5
    assert (row["hip_x"], row["hip_x_raw"]) == ("11.5", "12.5")
    assert [name for name in row if name.endswith("_score")][2:] == [f"{joint}_score" for joint in HALPE26.joints]


def test_rfc_4180(path, make_poses):
    meta = VideoMeta('a "b", c', 10, 10, 25.0, "x")
    rows = write(path, meta, [make_poses(0)])
    assert rows[0]["video"] == 'a "b", c'
    lines = path.read_bytes().split(b"\r\n")
    assert len(lines) == 3
    assert lines[2] == b""
    assert lines[1].startswith(b'"a ""b"", c",0,0.0,1,')


def test_raw_must_be_announced(path, meta, make_poses):
    with pytest.raises(ValueError, match="with_raw is False"):
        write(path, meta, [make_poses(0, raw=True)])


def test_a_name_that_begins_like_a_formula_is_none(path, meta, make_poses):
    evil = KeypointSet("evil", ("=1+1", "nose"), (), (1.0, 1.0))
    rows = write(path, replace(meta, name="=HYPERLINK(1)"), [make_poses(0, keypoints=evil)], keypoints=evil)
    assert [row["video"] for row in rows] == ["'=HYPERLINK(1)"] * len(rows) and rows
    assert "'=1+1_x" in rows[0] and "nose_x" in rows[0]
    assert all(not cell.startswith("=") for line in path.read_text().splitlines() for cell in line.split(","))
