import orjson
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, HALPE26
from jmpose_cli.formats.tabular import CsvWriter

pq = pytest.importorskip("pyarrow.parquet")

from jmpose_cli.formats import parquet  # noqa: E402  # it imports pyarrow


def write(path, meta, frames, *, keypoints=COCO17_HEAD, with_raw=False, written=None):
    with parquet.ParquetWriter(path, meta, keypoints, with_raw=with_raw, written=written) as writer:
        for frame in frames:
            writer.write(frame)
    return pq.ParquetFile(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keypoints.parquet"


def test_one_row_a_person_a_frame(path, meta, make_poses):
    file = write(path, meta, [make_poses(0, []), make_poses(1, [4, 9]), make_poses(2, [4])])
    rows = file.read().to_pylist()
    assert [(r["video"], r["frame_index"], r["time_s"], r["track_id"]) for r in rows] == [
        ("clip", 1, 0.04, 4),
        ("clip", 1, 0.04, 9),
        ("clip", 2, 0.08, 4),
    ]
    second = rows[1]
    assert [second[f"box_{value}"] for value in "xywh"] == [100, 10, 40, 100]
    assert [second[f"left_eye_{value}"] for value in ("x", "y", "score")] == [101, 2, 0.5]
    assert (second["head_top_x"], second["person_score"], second["box_observed"]) == (118, 0.75, True)
    facts = {"width": 640, "height": 360, "fps": 25.0, "pixel_aspect": [1, 1], "keypoints": "coco17_head"}
    assert orjson.loads(file.schema_arrow.metadata[b"jmpose"]) == facts


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("written", [None, HALPE26])
def test_columns_are_those_of_the_csv_table(path, meta, make_poses, raw, written):
    names = write(path, meta, [make_poses(0, raw=raw)], with_raw=raw, written=written).schema_arrow.names
    table = path.with_suffix(".csv")
    with CsvWriter(table, meta, COCO17_HEAD, with_raw=raw, written=written):
        pass
    assert names == table.read_text().strip().split(",")


def test_joints_that_the_poses_lack_are_null(path, meta, make_poses):
    (row,) = write(path, meta, [make_poses(0, raw=True)], with_raw=True, written=HALPE26).read().to_pylist()
    assert (row["left_eye_x"], row["head_x"], row["head_y"], row["head_score"]) == (1, 18, 36, 0.5)
    assert [row[f"left_heel_{value}"] for value in ("x", "y", "score", "x_raw", "y_raw")] == [None] * 5
    assert (row["hip_x"], row["hip_x_raw"]) == (11.5, 12.5)


def test_long_videos_are_written_in_groups(path, meta, make_poses, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 8)
    frames = [make_poses(n, [1, 2, 3] if n % 5 else [], keypoints=COCO17) for n in range(40)]
    file = write(path, meta, frames, keypoints=COCO17)
    groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert sum(groups) == 96 and max(groups) <= 10 and len(groups) > 8
    assert file.read()["frame_index"].to_pylist() == [n for n in range(40) if n % 5 for _ in range(3)]


def test_raw_must_be_announced(path, meta, make_poses):
    with pytest.raises(ValueError, match="with_raw is False"):
        write(path, meta, [make_poses(0, raw=True)])
