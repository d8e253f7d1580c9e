"""Clips in the formats of other tools: written, read by the tools' own readers, and read back to the last bit."""

import json
from dataclasses import fields, replace
from xml.etree import ElementTree

import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.truth import TRUTH_FILE, read_truth, write_truth
from jmpose_cli.handover.targets import TARGETS
from jmpose_cli.handover.write import write_poses

PEOPLE = ((2, [3, 1]), (3, []), (4, [1, 12]), (5, [1]))
"""Frames and the ids of those who are there."""


@pytest.fixture
def truth(tmp_path, meta, make_poses):
    """Four frames; one joint is hidden, one is not there in one frame, one in none."""
    generator = np.random.default_rng(0)
    path = tmp_path / "clip" / TRUTH_FILE
    path.parent.mkdir()
    with CocoWriter(path, meta, COCO17_HEAD, info={"model": "nano"}) as writer:
        for index, ids in PEOPLE:
            writer.write(make_poses(index, ids, scores=generator.random((len(ids), 19)).astype(np.float32)))
    plain = read_truth(path)
    xy = np.round(plain.xy + generator.random(plain.xy.shape) * 9, 2)
    visibility, scores = plain.visibility.copy(), plain.scores.copy()
    visibility[1, 4] = visibility[:, 18] = 0
    xy[visibility == 0], scores[visibility == 0] = 0, 0
    write_truth(replace(plain, xy=xy, visibility=visibility, scores=scores), path)
    return path


def through(path, to, **options):
    """Write a truth in another format and read that; also return the notes."""
    target = path.parents[1] / f"clip{TARGETS[to].suffix}"
    notes = write_poses(read_poses(path), target, to=to, **options)
    return read_poses(target), notes


def same(before, after, *names):
    """Compare columns of people, who may stand in another order within a frame."""
    orders = [np.lexsort((records.track_ids, frames_of(records))) for records in (before, after)]
    assert np.array_equal(frames_of(before)[orders[0]], frames_of(after)[orders[1]])
    for name in names:
        one, other = (getattr(records, name)[order] for records, order in zip((before, after), orders, strict=True))
        assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), name


def frames_of(records):
    return np.array([image.frame_index for image in records.images])[records.image_row]


def test_cvat(truth):
    before = read_poses(truth)
    after, notes = through(truth, "cvat")
    assert after.joints == before.joints and [image.frame_index for image in after.images] == [2, 3, 4, 5]
    same(before, after, "track_ids", "xy", "present", "visibility")
    assert {(image.width, image.height) for image in after.images} == {(640, 360)}
    assert after.info["video"] == {"name": "clip", "source": "clip.mp4", "width": 640, "height": 360}
    lost = "boxes of whole people, areas, times, scores of joints, scores of people, what `info` says"
    assert notes == [f"no place in cvat for: {lost}"]


def test_labels_for_cvat(truth):
    target = truth.parents[1] / "labels.json"
    write_poses(read_poses(truth), target, to="cvat-labels")
    (label,) = json.loads(target.read_bytes())
    assert (label["type"], label["attributes"][0]["name"]) == ("skeleton", "jmpose_id")
    assert [one["name"] for one in label["sublabels"]] == list(COCO17_HEAD.joints)
    drawn = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
    assert [node.get("data-label-name") for node in drawn.iter("circle")] == list(COCO17_HEAD.joints)
    assert len(list(drawn.iter("line"))) == len(COCO17_HEAD.skeleton)
    assert all(0 <= float(node.get(axis)) <= 100 for node in drawn.iter("circle") for axis in ("cx", "cy"))


@pytest.mark.parametrize("to", ["dlc", "dlc-h5"])
def test_deeplabcut(truth, to):
    if to == "dlc-h5":
        pytest.importorskip("tables"), pytest.importorskip("h5py")
    before = read_poses(truth)
    after, notes = through(truth, to)
    assert after.joints == before.joints and [image.frame_index for image in after.images] == [2, 3, 4, 5]
    same(before, after, "track_ids", "xy", "present")
    there = replace(before, scores=np.where(before.present, before.scores, np.nan))
    same(there, after, "scores")
    assert "boxes of whole people" in notes[0] and not after.notes


def test_pandas_reads_both(truth):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    folder, before = truth.parents[1], read_poses(truth)
    for to in ("dlc", "dlc-h5"):
        write_poses(before, folder / f"clip{TARGETS[to].suffix}", to=to)
    table = pandas.read_hdf(folder / "clip.h5")
    assert table.equals(pandas.read_csv(folder / "clip.csv", header=[0, 1, 2, 3], index_col=0))
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert table.loc[4, ("jmpose", "track_12", "nose", "x")] == before.xy[3, 0, 0]


@pytest.mark.parametrize(
    ("to", "read"), [("dlc", "from_dlc_file"), ("dlc-h5", "from_dlc_file"), ("sleap", "from_sleap_file")]
)
def test_movement_reads_them(truth, to, read):
    load_poses = pytest.importorskip("movement.io.load_poses")
    target, before = truth.parents[1] / f"clip{TARGETS[to].suffix}", read_poses(truth)
    write_poses(before, target, to=to)
    poses = getattr(load_poses, read)(target, fps=25)
    assert set(poses.individuals.values) == {"track_1", "track_3", "track_12"}
    nose = poses.position.sel(individuals="track_1", keypoints="nose").values
    assert np.allclose(nose.reshape(-1, 2)[-1], before.xy[4, 0], atol=1e-5)  # of SLEAP, it keeps 32 bits


def test_sleap(truth):
    pytest.importorskip("sleap_io")
    before = read_poses(truth)
    after, _ = through(truth, "sleap")
    assert after.joints == before.joints and [image.frame_index for image in after.images] == [2, 3, 4, 5]
    same(before, after, "track_ids", "xy", "present", "person_scores")
    there = replace(before, scores=np.where(before.present, before.scores, np.nan))
    same(there, after, "scores")
    assert after.info == before.info and {image.width for image in after.images} == {640}


def test_openpose(truth):
    folder = truth.parents[1] / "op"
    (folder).mkdir()
    (folder / "clip_000000000099_keypoints.json").write_text("{}")
    (folder / "mine.json").write_text("{}")
    notes = write_poses(read_poses(truth), folder, to="openpose")
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"clip_{frame:012d}_keypoints.json" for frame in (2, 3, 4, 5)),
        "mine.json",
    ]
    people = json.loads((folder / "clip_000000000002_keypoints.json").read_bytes())["people"]
    before = read_poses(truth)
    assert [person["person_id"] for person in people] == [[3], [1]]
    joints = np.array(people[0]["pose_keypoints_2d"]).reshape(25, 3)
    left, right = (before.xy[0, COCO17.joints.index(f"{side}_shoulder")] for side in ("left", "right"))
    assert joints[0].tolist() == [*before.xy[0, 0], before.scores[0, 0]]
    assert joints[1, :2].tolist() == ((left + right) / 2).tolist()
    assert joints[2, :2].tolist() == right.tolist() and not joints[19:].any()
    assert any("neck (middle of the shoulders), mid_hip (middle of the hips)" in note for note in notes)


def test_alphapose(truth):
    target = truth.parents[1] / "results.json"
    write_poses(read_poses(truth), target, to="alphapose")
    results, before = json.loads(target.read_bytes()), read_poses(truth)
    assert [(one["image_id"], one["idx"]) for one in results] == [
        (f"frame_{frame:06d}.jpg", track) for frame, tracks in PEOPLE for track in tracks
    ]
    joints = np.array(results[0]["keypoints"]).reshape(26, 3)
    assert joints[:17, :2].tolist() == before.xy[0, :17].tolist() and results[0]["box"] == [0.0, 10.0, 40.0, 100.0]


def test_trc(truth):
    folder = truth.parents[1] / "trc"
    write_poses(read_poses(truth), folder, to="trc")
    assert sorted(path.name for path in folder.iterdir()) == [f"clip_track{track}.trc" for track in (1, 12, 3)]
    lines = (folder / "clip_track1.trc").read_text().splitlines()
    assert lines[2].split("\t") == ["25.0", "25.0", "4", "19", "px", "25.0", "3", "4"]
    assert lines[3].split("\t")[2::3][:2] == ["nose", "left_eye"] and lines[5] == ""
    before, rows = read_poses(truth), [line.split("\t") for line in lines[6:]]
    assert {len(row) for row in rows} == {2 + 3 * 19} and [row[0] for row in rows] == ["3", "4", "5", "6"]
    assert [float(cell) for cell in rows[0][2:4]] == before.xy[1, 0].tolist() and rows[1][2:] == [""] * 57


def test_c3d(truth):
    ezc3d = pytest.importorskip("ezc3d")
    target = truth.parents[1] / "clip.c3d"
    write_poses(read_poses(truth), target, to="c3d")
    file, before = ezc3d.c3d(str(target)), read_poses(truth)
    labels, points = file["parameters"]["POINT"]["LABELS"]["value"], file["data"]["points"]
    assert labels[:2] == ["1:nose", "1:left_eye"] and points.shape == (4, 3 * 19, 4)
    assert file["header"]["points"]["first_frame"] == 2 and file["parameters"]["POINT"]["RATE"]["value"][0] == 25
    assert np.allclose(points[:2, 0, 0], before.xy[1, 0], atol=1e-4) and np.isnan(points[:2, 0, 1]).all()


def test_nwb(truth):
    pynwb = pytest.importorskip("pynwb")
    pytest.importorskip("ndx_pose")
    target = truth.parents[1] / "clip.nwb"
    everybody = read_poses(truth)
    rows = np.flatnonzero(everybody.track_ids == 1)  # each person takes a second
    columns = {
        field.name: getattr(everybody, field.name)[rows]
        for field in fields(everybody)
        if isinstance(getattr(everybody, field.name), np.ndarray) and field.name != "integer_coordinates"
    }
    write_poses(replace(everybody, **columns), target, to="nwb")
    before = read_poses(truth)
    with pynwb.NWBHDF5IO(str(target), "r") as io:
        person = io.read().processing["behavior"]["track_1"]
        nose = person.pose_estimation_series["nose"]
        assert nose.data[0].tolist() == before.xy[1, 0].tolist() and np.isnan(nose.data[1]).all()
        assert nose.confidence[0] == before.scores[1, 0] and nose.timestamps[:].tolist() == [0.08, 0.12, 0.16, 0.2]
        assert list(person.skeleton.nodes[:]) == list(before.joints)


def test_parquet(truth):
    pytest.importorskip("pyarrow")
    from pyarrow.parquet import read_table

    target = truth.parents[1] / "clip.parquet"
    write_poses(read_poses(truth), target, to="parquet")
    table, before = read_table(target).to_pydict(), read_poses(truth)
    assert table["frame_index"] == frames_of(before).tolist() and table["track_id"] == before.track_ids.tolist()
    assert table["nose_x"] == before.xy[:, 0, 0].tolist() and table["head_top_x"] == [None] * 5
