"""The truth of a clip: read, written again to the byte, and refused where it contradicts itself."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jmpose.keypoints import COCO17, COCO17_HEAD
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.truth import CORRECTED, PROPAGATED, TRUTH_FILE, doubled_ids, read_truth, write_truth


@pytest.fixture
def folder(tmp_path, meta, make_poses):
    """A folder with a truth of three frames: two people, nobody, one person."""
    generator = np.random.default_rng(0)
    with CocoWriter(tmp_path / TRUTH_FILE, meta, COCO17_HEAD, info={"model": "nano"}) as writer:
        for index, ids in ((2, [3, 1]), (3, []), (5, [1])):
            poses = make_poses(index, ids, raw=True)
            joints = (len(ids), len(COCO17_HEAD))
            spread = np.round(generator.random((*joints, 3)) * 9, 3).astype(np.float32)
            likely = np.round(generator.random(joints), 6).astype(np.float32)
            writer.write(replace(poses, covariances=spread, probabilities=likely))
    return tmp_path


def test_a_truth_that_is_read_and_written_is_the_same_to_the_byte(folder):
    truth = read_truth(folder)
    assert truth.index.tolist() == [2, 3, 5] and truth.frame.tolist() == [0, 0, 2]
    assert truth.keypoints is COCO17_HEAD and truth.xy.shape == (3, 19, 2)
    assert truth.track_ids.tolist() == truth.identity.tolist() == [3, 1, 1]
    assert truth.sources.max() == 0 and not truth.reviewed.any() and truth.visibility.min() == 2
    assert truth.covariances is not None and truth.probabilities is not None and truth.raw_xy is not None
    write_truth(truth, folder / "again.json")
    assert (folder / "again.json").read_bytes() == (folder / TRUTH_FILE).read_bytes()


def test_what_people_say_is_kept(folder):
    truth = read_truth(folder)
    sources, visibility, xy = truth.sources.copy(), truth.visibility.copy(), truth.xy.copy()
    scores = truth.scores.copy()
    sources[0, 4], sources[2] = CORRECTED, PROPAGATED
    visibility[0, 4], visibility[1, 18] = 1, 0
    xy[0, 4], xy[1, 18], scores[1, 18] = (7.25, 8.5), 0, 0
    said = replace(
        truth,
        sources=sources,
        visibility=visibility,
        xy=xy,
        scores=scores,
        identity=np.array([3, 7, 7]),
        reviewed=np.array([False, True, False]),
        occluded=np.array([False, True, False]),
    )
    write_truth(said, folder / "said.json")
    read = read_truth(folder / "said.json")
    for name, column in said.row_columns().items():
        there = np.where(said.present[..., None], column, 0) if name == "raw_xy" else column
        assert np.array_equal(getattr(read, name), there), name
    assert read.reviewed.tolist() == [False, True, False]
    people = json.loads((folder / "said.json").read_bytes())["annotations"]
    assert [person["source"] for person in people] == ["model", "model", "propagated"]
    assert people[0]["keypoint_sources"][3:6] == ["model", "corrected", "model"]
    assert people[1]["num_keypoints"] == 17 and people[1]["extra_keypoints"][3:] == [0, 0, 0]
    assert "keypoint_sources" not in people[2]


def test_a_file_of_an_older_version_is_a_truth(folder):
    data = json.loads((folder / TRUTH_FILE).read_bytes())
    new = {"reviewed", "box_score", "source", "identity", "attributes", "covariance", "keypoint_probabilities"}
    for record in (*data["images"], *data["annotations"], *data["categories"]):
        for name in [name for name in record if name in new or name.startswith("extra_")]:
            del record[name]
    (folder / TRUTH_FILE).write_text(json.dumps(data))
    truth = read_truth(folder)
    assert truth.keypoints is COCO17 and np.isnan(truth.box_scores).all() and truth.covariances is None
    assert truth.identity.tolist() == [3, 1, 1] and not truth.reviewed.any() and truth.sources.max() == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda people: people[1].update(track_id=3), r"frame 2: annotations\[1\] is of track 3, as annotations\[0\]"),
        (lambda people: people[2].pop("bbox"), r"frame 5: annotations\[2\] has no bbox"),
        (lambda people: people[0].pop("track_id"), r"frame 2: annotations\[0\] has no track_id"),
        (lambda people: people[0].update(source="guess"), r"annotations\[0\]\.source is 'guess'"),
        (lambda people: people[0].update(keypoint_sources=["model"]), r"annotations\[0\]\.keypoint_sources"),
    ],
)
def test_what_contradicts_itself_is_named(folder, spoil, said):
    data = json.loads((folder / TRUTH_FILE).read_bytes())
    spoil(data["annotations"])
    (folder / TRUTH_FILE).write_text(json.dumps(data))
    with pytest.raises(JmposeError, match=said):
        read_truth(folder)


def test_people_of_one_id_are_found(folder):
    truth = read_truth(folder)
    assert doubled_ids(truth) == []
    assert doubled_ids(replace(truth, track_ids=np.array([1, 1, 1]))) == ["frame 2 has 2 people of track 1"]
