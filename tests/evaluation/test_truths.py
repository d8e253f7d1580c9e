"""Truths of clips as ground truth and as predictions."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose.keypoints import COCO17_HEAD
from jmpose_cli.clips.layout import MODEL_FILE, TRUTH_FILE
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.truth import read_truth, write_truth
from jmpose_cli.main import app
from jmpose_cli.values import FramePoses, TrackedFrame

FRAMES, JOINTS = 10, len(COCO17_HEAD)


def person(index: int) -> FramePoses:
    people = TrackedFrame(
        index=index,
        time_s=index / 25,
        boxes_xyxy_px=np.array([[100, 50, 180, 250]], np.float32),
        scores=np.ones(1, np.float32),
        track_ids=np.array([1]),
        observed=np.ones(1, bool),
    )
    generator = np.random.default_rng(index)
    joints = generator.uniform((100, 50), (180, 250), (1, JOINTS, 2)).astype(np.float32)
    return FramePoses(people, joints, np.full((1, JOINTS), 0.9, np.float32), np.full(1, 0.9, np.float32))


@pytest.fixture
def out(tmp_path):
    """Two clips; in the first, somebody has moved both wrists in every frame and reviewed frames 0 to 4."""
    for name in ("a", "b"):
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        meta = VideoMeta(name, 320, 300, 25.0, f"{name}.mp4")
        with CocoWriter(folder / TRUTH_FILE, meta, COCO17_HEAD, info={}) as writer:
            for index in range(FRAMES):
                writer.write(person(index))
    first = tmp_path / "out" / "a"
    shutil.copy(first / TRUTH_FILE, first / MODEL_FILE)
    truth = read_truth(first)
    xy = truth.xy.copy()
    xy[:, [9, 10]] += 60
    write_truth(replace(truth, xy=xy, reviewed=np.arange(FRAMES) < 5), first / TRUTH_FILE)
    return tmp_path / "out"


def said(*words: object) -> str:
    result = CliRunner().invoke(app, ["eval", *map(str, words)])
    return f"{result.exit_code} {result.stdout} {result.stderr} {result.exception}"


def row(text: str, name: str) -> list[float]:
    line = next(line for line in text.splitlines() if line.startswith(name))
    return [float(word) for word in line.split()[-8:]]


def test_how_wrong_the_model_was_is_one_command(out):
    text = said("--gt", out / "a", "--pred", out / "a", "--as", "model")
    head, *_, total = recalls = row(text, "recall")
    assert head == 100 and recalls[3] == 0 and 80 < total < 95  # the wrists
    text = said("--gt", out, "--pred", out, "--as", "model")
    assert row(text, "recall")[3] == 50 and "nothing was corrected in b" in text


def test_two_annotators_are_compared(out, tmp_path):
    shutil.copytree(out / "a", tmp_path / "second" / "a")
    text = said("--gt", out / "a", "--pred", tmp_path / "second" / "a")
    assert row(text, "recall")[3] == 100
    truth = read_truth(tmp_path / "second" / "a")
    write_truth(replace(truth, xy=np.where(truth.frame[:, None, None] < 5, truth.xy + 60, truth.xy)), truth.path)
    assert row(said("--gt", out / "a", "--pred", tmp_path / "second"), "recall")[3] == 50


def test_reviewed_frames_alone_count_when_asked(out):
    text = said("--gt", out / "a", "--pred", out / "a", "--as", "model", "--only-reviewed")
    assert "5 frames" in text and row(text, "recall")[3] == 0
    text = said("--gt", out / "b", "--pred", out / "a", "--only-reviewed")
    assert "no frame is marked as reviewed" in text
    assert "holds no clips" in said("--gt", __file__, "--pred", out, "--only-reviewed")


@pytest.mark.parametrize("protocol", ["coco", "mot", "posetrack21"])
def test_other_protocols_take_clips_too(out, protocol):
    text = said("--gt", out / "a", "--pred", out / "a", "--as", "model", "--protocol", protocol)
    assert text.startswith("0 ")


def test_a_file_is_not_scored_against_itself(out):
    assert "is ground truth and prediction" in said("--gt", out, "--pred", out)


def test_a_truth_that_lacks_corrections_on_record_is_not_scored(tmp_path, out):
    assert CliRunner().invoke(app, ["edit", str(out / "b"), "--review", "0:3", "--quiet"]).exit_code == 0
    before = (out / "b" / TRUTH_FILE).read_bytes()
    assert CliRunner().invoke(app, ["edit", str(out / "b"), "--review", "3:6", "--quiet"]).exit_code == 0
    (out / "b" / TRUTH_FILE).write_bytes(before)  # as if a process had been killed before it wrote
    assert "corrections are on record that are not in" in said("--gt", out / "b", "--pred", out / "a")


def test_joined_tracks_are_one_person_where_asked_for(out):
    truth = read_truth(out / "a")
    broken = replace(truth, track_ids=np.where(truth.frame < 4, 1, 2), identity=np.ones(FRAMES, np.int64))
    (out.parent / "pred/a").mkdir(parents=True)
    write_truth(broken, out.parent / "pred/a" / TRUTH_FILE)
    command = ("--protocol", "mot", "--gt", out / "a", "--pred", out.parent / "pred/a")
    raw, joined = (said(*command, "--by", by) for by in ("track", "identity"))
    idf1 = [next(line.split()[3] for line in told.splitlines() if line.startswith("boxes")) for told in (raw, joined)]
    assert idf1 == ["60.0", "100.0"]
    assert "--by" in said("--data", out, "--by", "identity", "--out", out.parent / "x")
