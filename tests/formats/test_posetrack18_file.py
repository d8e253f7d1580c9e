import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmpose.keypoints import COCO17, COCO17_HEAD, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.names import image_id_scheme
from jmpose_cli.formats.posetrack18 import (
    PoseTrack18Writer,
    TrackNumbers,
    UniqueScores,
    head_boxes,
)
from jmpose_cli.formats.read import read_poses

NAMES = [
    *("nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
]


def write(path, meta, frames, keypoints=COCO17_HEAD):
    with PoseTrack18Writer(path, meta, keypoints) as writer:
        for frame in frames:
            writer.write(frame)
    return json.loads(path.read_text()), writer.notes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "000342_mpii_test.json"


@pytest.fixture
def official():
    return VideoMeta("000342_mpii_test", 640, 360, 25.0, "000342_mpii_test")


def read_as_poseval_does(data):
    """The checks and the conversion of poseval's reader: frame by frame {track: {joint: (x, y, score)}}."""
    assert len(data["categories"]) == 1
    names = data["categories"][0]["keypoints"]
    frames = {}
    for image in data["images"]:
        folder, base = image["file_name"].split("/")[-2:]
        assert re.match(r"\d{6}_(mpii|bonn|mpiinew)", folder)
        assert int(base.split(".")[0]) >= 0
        frames[image["id"]] = {}
    assert len(frames) == len(data["images"])
    for annotation in data["annotations"]:
        people = frames[annotation["image_id"]]
        assert 0 <= annotation["track_id"] < 10_000
        assert annotation["track_id"] not in people
        triples = zip(*[iter(annotation["keypoints"])] * 3, strict=True)
        joints = {
            name: (x, y, score)
            for name, (x, y, v), score in zip(names, triples, annotation["scores"], strict=True)
            if (x, y, v) != (0, 0, 0)
        }
        people[annotation["track_id"]] = joints
    return list(frames.values())


def test_official_reader_gets_every_frame_and_joint(path, official, make_poses):
    data, _ = write(path, official, [make_poses(0, []), make_poses(1, [3, 5]), make_poses(2, [5])])
    frames = read_as_poseval_does(data)
    assert [sorted(frame) for frame in frames] == [[], [3, 5], [5]]
    joints = frames[1][5]
    assert set(joints) == set(NAMES) - {"left_ear", "right_ear"}
    assert joints["nose"][:2] == (100, 0)
    assert joints["head_bottom"][:2] == (117, 34)
    assert joints["right_ankle"][:2] == (116, 32)
    assert joints["nose"][2] == pytest.approx(0.5, abs=1e-6)


def test_fields(path, official, make_poses):
    data, notes = write(path, official, [make_poses(0), make_poses(1, [2])])
    assert notes == []
    assert data["categories"][0]["keypoints"] == NAMES
    assert data["images"][1] == {
        "id": 10003420001,
        "frame_id": 10003420001,
        "vid_id": "000342",
        "file_name": "images/000342_mpii_test/000001.jpg",
        "width": 640,
        "height": 360,
        "frame_index": 1,
        "time_s": 0.04,
        "is_labeled": True,
        "has_no_densepose": True,
        "ignore_regions_x": [],
        "ignore_regions_y": [],
        "nframes": 2,
    }
    annotation = data["annotations"][1]
    assert annotation["id"] == 100034200010002
    assert (annotation["image_id"], annotation["category_id"], annotation["track_id"]) == (10003420001, 1, 2)
    assert annotation["bbox"] == [0.0, 10.0, 40.0, 100.0]
    assert annotation["score"] == 0.75
    assert len(annotation["scores"]) == 17
    ears = 3 * NAMES.index("left_ear")
    assert annotation["keypoints"][ears : ears + 6] == [0, 0, 0, 0, 0, 0]


def test_numbers_that_share_an_array_are_floats(path, official, make_poses):
    annotation = write(path, official, [make_poses(0)])[0]["annotations"][0]
    assert np.array(annotation["keypoints"]).dtype.kind == "f"
    assert np.array(annotation["scores"]).dtype.kind == "f"


def test_joints_of_low_score_and_at_the_origin_stay(path, official, make_poses):
    data, _ = write(path, official, [make_poses(0, scores=1e-6)])
    joints = read_as_poseval_does(data)[0][1]
    assert joints["nose"][:2] == (0, 0)
    assert len(joints) == 15


def test_coco_joints_get_the_synthetic_head(path, official, make_poses):
    data, _ = write(path, official, [make_poses(0, keypoints=COCO17)], COCO17)
    joints = read_as_poseval_does(data)[0][1]
    assert joints["head_bottom"][:2] == (5.5, 11)
    assert joints["head_top"][:2] == (-5.5, -11)


def test_all_scores_of_a_file_differ(path, official, make_poses):
    data, _ = write(path, official, [make_poses(i, [1, 2, 3], scores=1.0) for i in range(20)])
    scores = [score for annotation in data["annotations"] for score in annotation["scores"]]
    assert len(set(scores)) == len(scores) == 20 * 3 * 17
    assert max(scores) < 1


@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), min_size=1, max_size=6))
def test_unique_scores_keep_the_order_and_break_ties_first_come_first(frames):
    unique = UniqueScores()
    given_scores = np.concatenate([np.array(f, np.float32) for f in frames])
    out = np.concatenate([unique.of_frame(np.array(f, np.float32)) for f in frames])
    through_text = np.array([float(repr(v)) for v in out.tolist()])
    assert len(set(through_text.tolist())) == len(out)
    assert np.abs(out - given_scores).max() <= 2e-6
    steps = np.minimum(np.floor(given_scores.astype(np.float64) * 10**6), 10**6 - 1)
    assert np.array_equal(np.argsort(-through_text), np.argsort(-steps, kind="stable"))


def test_too_many_joints_for_unique_scores():
    unique = UniqueScores()
    unique._given = 10**9 - 1
    assert unique.of_frame(np.zeros(1, np.float32)) == [0.0]
    with pytest.raises(JmposeError, match="more than 1000000000 joints") as caught:
        unique.of_frame(np.zeros(1, np.float32))
    assert "--frames" in caught.value.hint


def test_track_numbers_by_hand():
    numbers = TrackNumbers(4)
    assert numbers.of_frame(np.array([1, 7])) == [1, 0]
    assert numbers.of_frame(np.array([7, 3, 8])) == [0, 3, 2]
    assert (numbers.renumbered, numbers.reused) == (2, 0)
    # All four are taken; 1 was seen longest ago, 7 before 3.
    assert numbers.of_frame(np.array([3, 9])) == [3, 1]
    assert numbers.of_frame(np.array([10])) == [0]
    assert (numbers.renumbered, numbers.reused) == (4, 2)


@given(st.lists(st.sets(st.integers(0, 30), max_size=5), max_size=30))
def test_track_numbers_are_valid_in_every_frame(frames):
    numbers = TrackNumbers(5)
    before: dict[int, int] = {}
    for ids in map(sorted, frames):
        out = numbers.of_frame(np.array(ids, np.int64))
        assert len(set(out)) == len(ids)
        assert all(0 <= n < 5 for n in out)
        now = dict(zip(ids, out, strict=True))
        assert all(before[i] == n for i, n in now.items() if i in before)
        before = now


def test_more_people_in_a_frame_than_numbers():
    with pytest.raises(JmposeError, match="6 people in one frame; PoseTrack18 holds 5"):
        TrackNumbers(5).of_frame(np.arange(6))


def test_track_ids_above_the_limit_are_renumbered_and_said(path, official, make_poses):
    data, notes = write(path, official, [make_poses(0, [1, 123456])])
    assert [a["track_id"] for a in data["annotations"]] == [1, 0]
    assert len(notes) == 1
    assert "than in the other files: 1, of these with that of an earlier track: 0" in notes[0]


@pytest.mark.parametrize(
    ("name", "sequence", "first"),
    [
        ("000342_mpii_test", 342, 10003420000),
        ("001001_bonn_train", 1001, 20010010000),
        ("003526_mpiinew_test", 3526, 30035260000),
        ("holiday", 125684, 91256840000),
    ],
)
def test_image_ids(name, sequence, first):
    assert image_id_scheme(name) == (sequence, first)


def test_any_video_name_and_a_range_of_frames(path, meta, make_poses):
    data, _ = write(path, meta, [make_poses(12_000), make_poses(12_001)])
    assert [i["file_name"] for i in data["images"]] == ["images/clip/012000.jpg", "images/clip/012001.jpg"]
    assert data["images"][0]["id"] != data["images"][1]["id"]
    assert data["images"][0]["nframes"] == 2


def test_folder_of_images_keeps_their_names(path, make_poses):
    meta = VideoMeta("000342_mpii_test", 9, 9, 25.0, "x", image_names=("a/000007.jpg",))
    assert write(path, meta, [make_poses(0)])[0]["images"][0]["file_name"] == "images/000342_mpii_test/000007.jpg"


def test_head_boxes_by_hand():
    xy = np.zeros((2, 17, 2), np.float32)
    xy[0, 1:3] = (50, 100), (50, 60)
    xy[1, 1:3] = (0, 0), (30, 40)
    assert head_boxes(xy)[0] == pytest.approx([35, 60, 65, 100])
    # Half axes 25 along (.6, .8) and 18.75 across: reach hypot(15, 15) and hypot(20, 11.25).
    x, y = 15 * 2**0.5, np.hypot(20, 11.25)
    assert head_boxes(xy)[1] == pytest.approx([15 - x, 20 - y, 15 + x, 20 + y])


def test_reads_back_what_was_written(path, official, make_poses):
    frames = [make_poses(0, [2, 7]), make_poses(1, [])]
    write(path, official, frames)
    records = read_poses(path)
    assert records.joints == POSETRACK18.joints
    assert [(i.id, i.frame_index, i.is_labeled) for i in records.images] == [
        (10003420000, 0, True),
        (10003420001, 1, True),
    ]
    assert records.track_ids.tolist() == [2, 7]
    assert records.image_row.tolist() == [0, 0]
    assert records.present.sum(axis=1).tolist() == [15, 15]
    assert np.array_equal(records.xy[:, 5:], frames[0].xy_image[:, 5:17])
    assert np.array_equal(records.boxes_xyxy_px, frames[0].people.boxes_xyxy_px)
    assert np.isfinite(records.head_boxes_xyxy_px).all()


def test_reads_official_style_files(shared_data):
    files = sorted((shared_data / "oracle" / "poseval").glob("0[1-4]/*/*.json"))
    assert files
    for file in files:
        data = json.loads(file.read_text())
        records = read_poses(file)
        assert (len(records.images), len(records)) == (len(data["images"]), len(data["annotations"]))


def tiny():
    """The smallest valid file: one frame, one person."""
    return {
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES}],
        "images": [{"id": 5, "file_name": "images/x/000000.jpg"}],
        "annotations": [{"image_id": 5, "track_id": 0, "keypoints": [1, 2, 1] * 17, "scores": []}],
    }


def read(path, data):
    path.write_text(json.dumps(data))
    return read_poses(path)


def test_what_may_be_absent(path):
    data = tiny()
    assert np.isnan(read(path, data).scores).all()
    del data["annotations"][0]["keypoints"]
    assert not read(path, data).present.any()
    del data["annotations"]
    assert len(read(path, data)) == 0


def test_ignore_regions(path):
    data = tiny()
    data["images"][0] |= {"ignore_regions_x": [[0, 1, 2], []], "ignore_regions_y": [[3, 4, 5], []], "is_labeled": False}
    (image,) = read(path, data).images
    assert not image.is_labeled
    assert [r.tolist() for r in image.ignore_regions] == [[[0, 3], [1, 4], [2, 5]]]


@pytest.mark.parametrize("corners", [1, 2])
def test_ignore_regions_that_are_no_areas_are_said(path, corners):
    data = tiny()
    data["images"][0] |= {"ignore_regions_x": [[4] * corners], "ignore_regions_y": [[5] * corners]}
    records = read(path, data)
    assert [len(r) for r in records.images[0].ignore_regions] == [corners]
    assert records.notes == ("ignore regions with fewer than 3 corners contain nothing: 1",)


@pytest.mark.parametrize(("x", "y"), [([[0, 1]], [[0]]), ([[0, 1]], []), ([["a"]], [[1]]), (3, [[1]]), ([3], [4])])
def test_broken_ignore_regions(path, x, y):
    data = tiny()
    data["images"][0] |= {"ignore_regions_x": x, "ignore_regions_y": y}
    with pytest.raises(JmposeError, match=r"images\[0\].ignore_regions_x and _y do not make polygons") as caught:
        read(path, data)
    assert "same lengths" in caught.value.hint


def test_joint_names_in_any_order(path):
    data = tiny()
    data["categories"][0]["keypoints"] = NAMES[::-1]
    assert read(path, data).joints[0] == "right_ankle"


def test_lacking_joint_is_named(path):
    data = tiny()
    data["categories"][0]["keypoints"] = NAMES[:-1]
    with pytest.raises(JmposeError, match=r"categories\[0\].keypoints lacks right_ankle") as caught:
        read(path, data)
    assert "head_bottom" in caught.value.hint


def test_unknown_joint_is_named(path):
    data = tiny()
    data["categories"][0]["keypoints"] = ["Nose", *NAMES[1:]]
    with pytest.raises(JmposeError, match=r"categories\[0\].keypoints lacks nose and has unknown Nose"):
        read(path, data)


def test_fifteen_joints_are_enough(path):
    data = tiny()
    data["categories"][0]["keypoints"] = [name for name in NAMES if "ear" not in name]
    data["annotations"][0]["keypoints"] = [1, 2, 1] * 15
    assert read(path, data).present.all()


def test_no_categories_is_a_posetrack21_submission(path):
    data = tiny()
    del data["categories"]
    records = read(path, data)
    assert (records.kind, records.joints) == ("posetrack21", POSETRACK18.joints)


def test_track_twice_in_a_frame(path):
    data = tiny()
    data["annotations"] *= 2
    with pytest.raises(JmposeError, match=r"annotations\[1\].track_id is 0, as in annotations\[0\] of the same image"):
        read(path, data)


def test_missing_track_id(path):
    data = tiny()
    del data["annotations"][0]["track_id"]
    with pytest.raises(JmposeError, match=r"annotations\[0\].track_id is missing"):
        read(path, data)


def test_scores_of_wrong_length(path):
    data = tiny()
    data["annotations"][0]["scores"] = [0.5] * 15
    with pytest.raises(JmposeError, match=r"annotations\[0\].scores has 15 values") as caught:
        read(path, data)
    assert "one score for each of 17 joints" in caught.value.hint


def test_ids_as_strings(path):
    data = tiny()
    data["annotations"][0]["track_id"] = "0"
    with pytest.raises(JmposeError, match=r"annotations\[0\].track_id is a string") as caught:
        read(path, data)
    assert "an integer" in caught.value.hint


@pytest.mark.parametrize(("given", "kept"), [("000342", "000342"), (342, "000342"), (None, None)])
def test_vid_id_may_be_a_number(path, given, kept):
    data = tiny()
    data["images"][0]["vid_id"] = given
    assert read(path, data).images[0].vid_id == kept


def test_vid_id_of_another_kind(path):
    data = tiny()
    data["images"][0]["vid_id"] = [1]
    with pytest.raises(JmposeError, match=r"images\[0\].vid_id is a list"):
        read(path, data)


def test_absent_is_all_three_zero(path):
    data = tiny()
    data["annotations"][0]["keypoints"] = [0, 0, 0, 0, 0, 1, 5, 0, 0, 0, 5, 0, 5, 5, 0] + [0] * 36
    assert read(path, data).present[0, :5].tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("number", "whole"),
    [(2, True), (2.0, False), (2.5, False)],
)
def test_integer_coordinates_are_noticed(path, number, whole):
    data = tiny()
    data["annotations"][0]["keypoints"][4] = number
    data["images"].append({"id": 6, "file_name": "images/x/000001.jpg"})
    assert read(path, data).integer_coordinates.tolist() == [whole, False]


def test_people_without_joints_stay(path):
    data = tiny()
    data["annotations"][0]["keypoints"] = [0, 0, 0] * 17
    assert len(read(path, data)) == 1
