import contextlib
import io
import json

import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD, HALPE26, LSP14, MPII16, POSETRACK15, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.coco import VISIBLE_SCORE, CocoWriter
from jmpose_cli.formats.read import read_poses


def write(path, meta, frames, keypoints=COCO17_HEAD):
    with CocoWriter(path, meta, keypoints, info={"model": "nano"}) as writer:
        for frame in frames:
            writer.write(frame)
    return json.loads(path.read_text())


NEW = {"reviewed": False}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keypoints.coco.json"


def test_content(path, meta, make_poses):
    scores = np.full(19, 0.5, np.float32)
    scores[1] = np.float32(VISIBLE_SCORE) - np.float32(0.01)
    data = write(path, meta, [make_poses(3, []), make_poses(4, [5, 9], scores=scores)])
    assert data["info"]["model"] == "nano"
    assert data["info"]["video"] == {"name": "clip", "source": "clip.mp4", "width": 640, "height": 360, "fps": 25.0}
    assert data["categories"][0]["keypoints"] == list(COCO17.joints)
    size = {"width": 640, "height": 360}
    assert data["images"] == [
        {**size, "id": 4, "file_name": "clip/frame_000003.jpg", "frame_index": 3, "time_s": 0.12} | NEW,
        {**size, "id": 5, "file_name": "clip/frame_000004.jpg", "frame_index": 4, "time_s": 0.16} | NEW,
    ]
    first, second = data["annotations"]
    assert (first["id"], first["image_id"], first["category_id"], first["track_id"]) == (1, 5, 1, 5)
    assert (second["id"], second["image_id"], second["track_id"]) == (2, 5, 9)
    assert second["keypoints"][:9] == [100.0, 0.0, 2, 101.0, 2.0, 1, 102.0, 4.0, 2]
    assert len(second["keypoints"]) == 51
    assert second["num_keypoints"] == 17
    assert second["keypoint_scores"][0] == 0.5
    assert second["bbox"] == [100.0, 10.0, 40.0, 100.0]
    assert second["area"] == 4000.0
    assert (second["score"], second["iscrowd"], second["box_observed"]) == (0.75, 0, True)
    assert "keypoints_raw" not in second and "keypoint_probabilities" not in second
    assert data["categories"][0]["extra_keypoints"] == ["head_bottom", "head_top"]
    assert second["extra_keypoints"] == [117.0, 34.0, 2, 118.0, 36.0, 2] and second["extra_keypoint_scores"] == [
        0.5,
        0.5,
    ]
    assert (second["box_score"], second["source"], second["identity"], second["segmentation"]) == (0.9, "model", 9, [])
    assert second["attributes"] == {"track_id": 9, "keyframe": True, "occluded": False}


@pytest.mark.parametrize("keypoints", [HALPE26, LSP14, MPII16, POSETRACK15], ids=lambda s: s.name)
def test_another_set_by_request_reads_back(path, meta, make_poses, keypoints):
    with CocoWriter(path, meta, COCO17_HEAD, info={}, written=keypoints) as writer:
        writer.write(make_poses(0, raw=True))
    data = json.loads(path.read_text())
    assert data["categories"][0]["keypoints"] == list(keypoints.joints)
    (annotation,) = data["annotations"]
    feet = 6 if keypoints is HALPE26 else 0
    for field in ("keypoints", "keypoints_raw"):
        absent = [annotation[field][i : i + 3] == [0.0, 0.0, 0] for i in range(0, 3 * len(keypoints), 3)]
        assert absent == [False] * (len(keypoints) - feet) + [True] * feet
    assert annotation["num_keypoints"] == len(keypoints) - feet
    records = read_poses(path)
    assert records.joints == keypoints.joints and records.present.sum() == len(keypoints) - feet
    assert records.kind == "coco"


def test_skeleton_is_one_based(path, meta, make_poses):
    category = write(path, meta, [make_poses(0)])["categories"][0]
    names = category["keypoints"]
    assert ["left_elbow", "left_wrist"] in [[names[a - 1], names[b - 1]] for a, b in category["skeleton"]]


def test_smoothed_poses_keep_the_raw_ones(path, meta, make_poses):
    annotation = write(path, meta, [make_poses(0, raw=True)])["annotations"][0]
    assert annotation["keypoints"][3:6] == [1.0, 2.0, 2]
    assert annotation["keypoints_raw"][3:6] == [2.0, 3.0, 2]


def test_another_set_keeps_its_own_names(path, meta, make_poses):
    data = write(path, meta, [make_poses(0, keypoints=POSETRACK18)], POSETRACK18)
    assert data["categories"][0]["keypoints"] == list(POSETRACK18.joints)


def test_folder_of_images_keeps_their_names(path, make_poses):
    meta = VideoMeta("walk", 10, 10, 25.0, "walk", image_names=("a.png", "b.png"))
    assert [i["file_name"] for i in write(path, meta, [make_poses(0), make_poses(1)])["images"]] == ["a.png", "b.png"]


def wandering(make_poses):
    """Frames whose people differ, so that a mix-up of frames or people costs AP."""
    return [make_poses(i, [1, 2, 3], scores=0.2 + 0.1 * i) for i in range(4)]


def test_pycocotools_scores_the_file_against_itself_as_perfect(path, meta, make_poses):
    coco_tools = pytest.importorskip("pycocotools.coco")
    evaluation_tools = pytest.importorskip("pycocotools.cocoeval")
    data = write(path, meta, wandering(make_poses))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_tools.COCO(str(path))
        evaluation = evaluation_tools.COCOeval(truth, truth.loadRes(data["annotations"]), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert len(truth.getAnnIds(imgIds=[2])) == 3
    assert evaluation.stats[0] == 1.0


def test_faster_coco_eval_scores_the_file_against_itself_as_perfect(path, meta, make_poses):
    tools = pytest.importorskip("faster_coco_eval")
    data = write(path, meta, wandering(make_poses))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = tools.COCO(str(path))
        evaluation = tools.COCOeval_faster(truth, truth.loadRes(data["annotations"]), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == 1.0


def test_reads_back_what_was_written(path, meta, make_poses):
    frames = [make_poses(0, []), make_poses(1, [4, 2])]
    write(path, meta, frames)
    records = read_poses(path)
    assert records.joints == COCO17_HEAD.joints and records.extra_joints == 2
    assert records.without_extra_joints().joints == COCO17.joints
    assert [(i.id, i.frame_index, i.time_s, i.width) for i in records.images] == [(1, 0, 0.0, 640), (2, 1, 0.04, 640)]
    assert records.image_row.tolist() == [1, 1]
    assert records.track_ids.tolist() == [4, 2]
    assert np.array_equal(records.xy, frames[1].xy_image)
    assert np.array_equal(records.boxes_xyxy_px, frames[1].people.boxes_xyxy_px)
    assert records.scores[0, 0] == 0.5
    assert records.person_scores.tolist() == [0.75, 0.75]
    assert records.areas.tolist() == [4000, 4000]
    assert records.present.all()
    assert np.isnan(records.head_boxes_xyxy_px).all()


def test_reads_real_ground_truth(shared_data):
    path = shared_data / "coco_persons" / "val.json"
    data = json.loads(path.read_text())
    records = read_poses(path)
    assert (len(records.images), len(records)) == (len(data["images"]), len(data["annotations"])) == (117, 336)
    assert (records.track_ids == -1).all()
    counts = [a["num_keypoints"] for a in data["annotations"]]
    assert (records.visibility > 0).sum(axis=1).tolist() == counts


def tiny():
    """The smallest valid dataset: one frame, one person, one joint."""
    return {
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}],
        "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2], "bbox": [0, 0, 4, 4]}],
    }


def test_tiny_is_valid(path):
    path.write_text(json.dumps(tiny()))
    assert read_poses(path).xy.tolist() == [[[1, 2]]]


REMOVE = object()


def broken(section, field, value):
    data = tiny()
    if value is REMOVE:
        del data[section][0][field]
    else:
        data[section][0][field] = value
    return data


@pytest.mark.parametrize(
    ("section", "field", "value", "said", "hint"),
    [
        ("images", "id", "1", r"images\[0\].id is a string", "an integer"),
        ("images", "id", True, r"images\[0\].id is true or false", "an integer"),
        ("images", "file_name", REMOVE, r"images\[0\].file_name is missing", "a string"),
        ("images", "time_s", "soon", r"images\[0\].time_s is a string", "a number"),
        ("annotations", "image_id", 7, r"annotations\[0\].image_id is 7", "id of one of `images`"),
        ("annotations", "category_id", 2, r"annotations\[0\].category_id is 2", "it must be 1"),
        ("annotations", "keypoints", REMOVE, r"annotations\[0\].keypoints is missing", "3 numbers"),
        ("annotations", "keypoints", [1, 2], r"annotations\[0\].keypoints has 2 values", "x, y, v of 1 joints"),
        ("annotations", "keypoints", [1, None, 2], r"keypoints has null at position 1", "3 numbers"),
        ("annotations", "keypoints", ["1", 2, 2], r"keypoints has a string at position 0", "3 numbers"),
        ("annotations", "keypoints", "1,2,2", r"annotations\[0\].keypoints is a string", "3 numbers"),
        ("annotations", "bbox", [1, 2, 3], r"annotations\[0\].bbox has 3 values", "x, y, width, height"),
        ("annotations", "score", "high", r"annotations\[0\].score is a string", "a number"),
        ("annotations", "iscrowd", "no", r"annotations\[0\].iscrowd is a string", "true, false, 0 or 1"),
        ("annotations", "id", REMOVE, r"annotations\[0\].id is missing", "an integer"),
        ("categories", "keypoints", [], "0 categories have `keypoints`", "exactly one"),
        ("categories", "keypoints", ["nose", "nose"], r"categories\[0\].keypoints is not a list of diff", "one name"),
    ],
)
def test_broken_field_is_named(path, section, field, value, said, hint):
    path.write_text(json.dumps(broken(section, field, value)))
    with pytest.raises(JmposeError, match=said) as caught:
        read_poses(path)
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(tiny())[:80], "is not valid JSON"),
        ("", "is not valid JSON"),
        ('{"images": [NaN]}', "is not valid JSON"),
        ("7", "the top level is the number 7"),
        ("{}", "an object with nothing"),
        ('{"info": 1, "images": []}', "`categories` is null"),
        (json.dumps(tiny() | {"images": 3}), "`images` is the number 3"),
        (json.dumps(tiny() | {"annotations": [[]]}), r"annotations\[0\] is a list"),
        (json.dumps(tiny() | {"images": tiny()["images"] * 2}), r"images\[1\].id is 1, as in images\[0\]"),
        (json.dumps(tiny() | {"annotations": tiny()["annotations"] * 2}), r"annotations\[1\].id is 1, as in"),
    ],
)
def test_broken_file_is_named(path, text, said):
    path.write_text(text)
    with pytest.raises(JmposeError, match=said) as caught:
        read_poses(path)
    assert str(path) in caught.value.message


def test_infinite_number(path):
    path.write_text(json.dumps(tiny()).replace("[1, 2, 2]", "[1, 1e999, 2]"))
    with pytest.raises(JmposeError, match=r"not valid JSON: annotations\[0\]\.keypoints\[1\] is inf"):
        read_poses(path)


def test_missing_file(tmp_path):
    with pytest.raises(JmposeError, match=r"cannot read .*absent.json: No such file"):
        read_poses(tmp_path / "absent.json")
