"""`jmpose infer --keypoints`, on the example clip with the shipped weights."""

import csv
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from jmpose.build import build_model
from jmpose.keypoints import HALPE26, KEYPOINT_SETS
from jmpose.presets import CONFIGS
from jmpose.weights import save_model
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import read_truth
from jmpose_cli.main import app
from jmpose_cli.video.source import open_video
from tests.commands.test_infer import CLIP, infer, read

HALPE_FILE = "keypoints.halpe26.coco.json"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    assert infer(CLIP, "--out", out, "--frames", "0:4", "--format", "coco,posetrack18,csv", "--quiet") == 0
    return out / "street"


@pytest.fixture(scope="module")
def halpe(tmp_path_factory):
    out = tmp_path_factory.mktemp("halpe")
    options = ["--frames", "0:4", "--format", "coco,posetrack18,csv", "--quiet", "--keypoints", "halpe26"]
    assert infer(CLIP, "--out", out, *options) == 0
    return out / "street"


def joints(folder, name="keypoints.coco.json"):
    """The joints of the first person by name."""
    data = read(folder, name)
    values = data["annotations"][0]["keypoints"]
    names = data["categories"][0]["keypoints"]
    return {name: values[3 * i : 3 * i + 3] for i, name in enumerate(names)}


def test_the_files_hold_the_set(own, halpe):
    ours, theirs = joints(own), joints(halpe, HALPE_FILE)
    assert tuple(theirs) == HALPE26.joints
    assert all(theirs[name] == value for name, value in ours.items())
    middle = [(ours["left_hip"][axis] + ours["right_hip"][axis]) / 2 for axis in (0, 1)]
    assert theirs["hip"][:2] == pytest.approx(middle, abs=0.01)
    assert theirs["left_heel"] == [0, 0, 0]


def test_head_joints_of_the_model_are_taken(own, halpe):
    with (own / "keypoints.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert joints(halpe, HALPE_FILE)["head"][:2] == [float(row["head_top_x"]), float(row["head_top_y"])]


@pytest.mark.parametrize("name", ["posetrack18.json", "keypoints.coco.json"])
def test_posetrack18_and_the_truth_stay_as_they_are(own, halpe, name):
    assert (own / name).read_bytes() == (halpe / name).read_bytes()


def test_a_model_of_posetracks_joints(tmp_path):
    """Its truth has them too, and is a COCO file all the same, which the other commands read."""
    usual = CONFIGS["nano"]
    config = replace(usual, preprocess=replace(usual.preprocess, keypoint_set="posetrack18"))
    torch.manual_seed(0)
    model = save_model(build_model(config).eval(), tmp_path / "other.safetensors")
    boxes = tmp_path / "boxes.txt"
    boxes.write_text("".join(f"{frame},1,290,172,122,244,1\n" for frame in (1, 2, 3)))
    out = tmp_path / "out"
    assert infer(CLIP, "--out", out, "--frames", "0:3", "--model", model, "--boxes", boxes, "--no-overlay") == 0
    assert tuple(joints(out / "street")) == KEYPOINT_SETS["posetrack18"].joints
    assert CliRunner().invoke(app, ["check", str(out / "street")]).exit_code == 0
    assert CliRunner().invoke(app, ["render", str(out / "street"), "--no-overlay"]).exit_code == 0
    assert read_truth(out / "street").keypoints.joints == KEYPOINT_SETS["posetrack18"].joints


def test_the_record_says_what_became_of_the_joints(own, halpe):
    assert read(own, "run.json")["keypoints"] == {"model": "coco17_head"}
    record = read(halpe, "run.json")
    assert record["config"]["output"]["keypoints"] == "halpe26"
    assert record["keypoints"] == {
        "model": "coco17_head",
        "written": "halpe26",
        "derived": {"neck": "middle of the shoulders", "hip": "middle of the hips"},
        "absent": [name for name in HALPE26.joints if "toe" in name or "heel" in name],
    }


def test_the_overlay_draws_the_set(own, halpe):
    pictures = []
    for folder in (own, halpe):
        with open_video(folder / "overlay.mp4", decoder="pyav") as source:
            pictures.append(next(iter(source)).frames[0].astype(int))
    assert pictures[0].shape == pictures[1].shape
    assert (abs(pictures[0] - pictures[1]) > 60).any()  # the spine, say


def test_the_header_says_what_is_absent(tmp_path):
    options = ["--frames", "0:1", "--no-overlay", "--keypoints", "wholebody23", "--workers", "0"]
    shown = CliRunner().invoke(app, ["infer", str(CLIP), "--out", str(tmp_path), *options]).stderr
    (line,) = (line for line in shown.splitlines() if line.lstrip().startswith("keypoints"))
    assert "coco17_head, 19 joints, written as wholebody23; absent: left_big_toe" in line


def test_an_unknown_set_is_an_error(tmp_path):
    with pytest.raises(JmposeError, match=r"output\.keypoints = 'halpe': allowed: coco17, .*halpe26"):
        infer(CLIP, "--out", tmp_path, "--keypoints", "halpe")


def test_help_names_every_set():
    shown = CliRunner().invoke(app, ["infer", "--help"], env={"COLUMNS": "200"}).stdout
    assert all(name in shown for name in KEYPOINT_SETS)
