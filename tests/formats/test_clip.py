"""Clips: what was written is read back, and written again it is the same."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, POSETRACK18, KeypointSet
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.clip import ClipPoses, read_clip, to_records, write_clip
from jmpose_cli.formats.writers import FORMATS

ALL = ("coco", "posetrack18", "csv")


@pytest.fixture
def clip(make_poses, meta) -> ClipPoses:
    generator = np.random.default_rng(1)

    def scores(people: int) -> np.ndarray:
        return np.round(generator.random((people, 17)), 6)

    frames = [make_poses(2, [3, 1], keypoints=COCO17, scores=scores(2)), make_poses(3, [], keypoints=COCO17)]
    frames.append(make_poses(5, [1], keypoints=COCO17, scores=scores(1)))
    observed = replace(frames[0].people, observed=np.array([True, False]))
    frames[0] = replace(frames[0], people=observed)
    return ClipPoses(tuple(frames), COCO17, meta, {"tool": "test"})


def test_what_is_written_is_read_back(clip, tmp_path):
    assert write_clip(tmp_path / "a", clip, formats=ALL) == []
    read = read_clip(tmp_path / "a")
    assert read == clip
    write_clip(str(tmp_path / "b"), read, formats=ALL)
    assert read_clip(str(tmp_path / "b")) == read
    for form in ("coco", "csv"):
        assert (tmp_path / "a" / FORMATS[form].file_name).read_bytes() == (
            tmp_path / "b" / FORMATS[form].file_name
        ).read_bytes()


def take_box_scores_out(folder):
    file = folder / FORMATS["coco"].file_name
    data = json.loads(file.read_bytes())
    for person in data["annotations"]:
        del person["box_score"]
    file.write_text(json.dumps(data))


def test_files_of_older_versions_have_box_scores_in_the_table_alone(clip, tmp_path):
    write_clip(tmp_path, clip, formats=ALL)
    take_box_scores_out(tmp_path)
    assert read_clip(tmp_path) == clip
    (tmp_path / FORMATS["csv"].file_name).unlink()
    read = read_clip(tmp_path)
    assert np.isnan(read.frames[0].people.scores).all() and read != clip
    write_clip(tmp_path / "again", read, formats=ALL)
    with (tmp_path / "again" / FORMATS["csv"].file_name).open(newline="") as file:
        assert [row["box_score"] for row in csv.DictReader(file)] == ["", "", ""]
    assert read_clip(tmp_path / "again") == read


def test_smoothed_poses_keep_the_raw_ones(make_poses, meta, tmp_path):
    clip = ClipPoses(
        (make_poses(0, [1, 2], raw=True, keypoints=COCO17), make_poses(1, [], raw=True, keypoints=COCO17)), COCO17, meta
    )
    write_clip(tmp_path, clip, formats=ALL)
    read = read_clip(tmp_path)
    assert read == clip and read.frames[0].xy_raw_image is not None


def test_a_posetrack_file_has_no_ears_and_gets_none(make_poses, meta, tmp_path):
    clip = ClipPoses((make_poses(0, [1]), make_poses(1, [2])), COCO17_HEAD, replace(meta, name="000342_mpii_test"))
    write_clip(tmp_path / "a", clip, formats=["posetrack18"])
    read = read_clip(tmp_path / "a")
    assert read.written == POSETRACK18 and len(read.keypoints) == 15 and "left_ear" not in read.keypoints.joints
    assert read.frames[0].xy_image.shape == (1, 15, 2) and np.isfinite(read.frames[0].xy_image).all()
    assert (read.video.name, read.video.fps) == ("000342_mpii_test", 25)
    write_clip(tmp_path / "b", read, formats=["posetrack18", "coco"])
    assert read_clip(tmp_path / "b" / FORMATS["posetrack18"].file_name).frames[0].xy_image.shape == (1, 15, 2)
    again = json.loads((tmp_path / "b" / FORMATS["posetrack18"].file_name).read_bytes())
    first = json.loads((tmp_path / "a" / FORMATS["posetrack18"].file_name).read_bytes())
    assert [image["id"] for image in again["images"]] == [image["id"] for image in first["images"]]
    assert [p["keypoints"] for p in again["annotations"]] == [p["keypoints"] for p in first["annotations"]]
    assert [p["keypoints"][9:12] for p in again["annotations"]] == [[0, 0, 0]] * 2  # an ear


def test_joints_of_a_set_that_is_nobodys(make_poses, meta, tmp_path):
    own = KeypointSet("own", ("beak", "tail", "left_wing"), (("beak", "tail"),), (0.1, 0.1, 0.1))
    clip = ClipPoses((make_poses(0, [1], keypoints=own),), own, meta)
    write_clip(tmp_path / "a", clip, formats=["coco"])
    read = read_clip(tmp_path / "a")
    assert (read.keypoints.joints, read.keypoints.skeleton) == (own.joints, own.skeleton)
    write_clip(tmp_path / "b", read, formats=["coco"])
    name = FORMATS["coco"].file_name
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_frames_of_an_image_folder_keep_their_names(make_poses, tmp_path):
    video = VideoMeta("shots", 64, 48, 10.0, "shots", ("a.png", "b.png", "c.png"), pixel_aspect=(4, 3))
    clip = ClipPoses((make_poses(1, [1], keypoints=COCO17), make_poses(2, [1], keypoints=COCO17)), COCO17, video)
    write_clip(tmp_path / "a", clip, formats=["coco"])
    read = read_clip(tmp_path / "a")
    assert read.video == replace(video, image_names=("", "b.png", "c.png"))
    write_clip(tmp_path / "b", read, formats=["coco"])
    name = FORMATS["coco"].file_name
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_files_of_others(tmp_path):
    file = tmp_path / "boxes.txt"
    file.write_text("1,7,1,1,40,100,0.9,-1,-1,-1\n3,7,11,1,40,100,0.9,-1,-1,-1\n")
    read = read_clip(file)
    assert [frame.people.index for frame in read.frames] == [0, 1, 2] and read.frames[0].xy_image.shape == (1, 0, 2)
    assert read.frames[2].people.boxes_xyxy_px.tolist() == [[11, 1, 51, 101]]
    image = {"width": 64, "height": 48}
    person = {"category_id": 1, "keypoints": [1, 2, 2] + [0] * 48, "num_keypoints": 1, "iscrowd": 0, "area": 1}
    data = {
        "images": [{"id": 4, "file_name": "000004.jpg", **image}, {"id": 3, "file_name": "000003.jpg", **image}],
        "annotations": [{"id": 1, "image_id": 3, "bbox": [0, 0, 9, 9], **person}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.joints)}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data))
    read = read_clip(tmp_path / "coco.json")
    assert [(f.people.index, len(f)) for f in read.frames] == [(3, 1), (4, 0)]
    assert read.frames[0].people.track_ids.tolist() == [-1] and np.isnan(read.frames[0].person_scores).all()
    with pytest.raises(JmposeError, match="without track ids"):
        write_clip(tmp_path / "out", read)
    assert list((tmp_path / "out").iterdir()) == []
    data["images"][0]["width"] = 65
    (tmp_path / "coco.json").write_text(json.dumps(data))
    with pytest.raises(JmposeError, match="pictures of 2 sizes"):
        read_clip(tmp_path / "coco.json")


def test_what_cannot_be_read_or_written(clip, tmp_path):
    with pytest.raises(JmposeError, match=r"holds no keypoints\.coco\.json and no posetrack18\.json"):
        read_clip(tmp_path)
    with pytest.raises(JmposeError, match="there is no format 'yaml'"):
        write_clip(tmp_path / "out", clip, formats=["yaml"])
    write_clip(tmp_path, clip, formats=ALL)
    take_box_scores_out(tmp_path)
    (tmp_path / FORMATS["csv"].file_name).write_text("frame_index,track_id\n1,2\n")
    with pytest.raises(JmposeError, match=r"keypoints\.csv: is not the table of a run"):
        read_clip(tmp_path)


def test_records_are_the_rows_of_the_table(make_poses, meta, tmp_path):
    frames = (make_poses(2, [3, 1], raw=True), make_poses(3, [], raw=True), make_poses(4, [1], raw=True))
    write_clip(tmp_path, ClipPoses(frames, COCO17_HEAD, meta), formats=["csv"])
    with (tmp_path / FORMATS["csv"].file_name).open(newline="") as file:
        table = list(csv.DictReader(file))
    records = to_records(frames, COCO17_HEAD)
    assert [list(record) for record in records] == [[c for c in row if c != "video"] for row in table]
    for record, row in zip(records, table, strict=True):
        assert list(record.values()) == pytest.approx([float(row[column]) for column in record], abs=0.006)
    assert to_records(frames[2], COCO17_HEAD) == records[2:]
