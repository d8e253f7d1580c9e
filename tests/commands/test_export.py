"""Exported models give our poses to programs that know nothing of jmpose."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jmpose_cli.main import app
from jmpose_cli.pose.estimator import EstimatorSettings
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker
from jmpose_cli.upkeep.model_check import _example_frames
from jmpose_cli.values import TrackedFrame
from tests.jmpose.tiny_vitpose import save_vitpose

BOX = (290.0, 172.0, 412.0, 416.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny"
    save_vitpose(path, decoder="classic")
    return path


@pytest.fixture(scope="module")
def pose(model):
    """The pose of the middle frame of five, whose person stands still, and the frames."""
    estimator = TorchEstimator.load(model, EstimatorSettings())
    frames = _example_frames()[0].frames
    maker, made, one = WindowMaker(Spacing(estimator.preprocess.window_offsets, 1.0)), [], np.ones(1)
    for index, frame in enumerate(frames):
        boxes = np.array([BOX], np.float32)
        made += maker.push(SeenFrame(frame, TrackedFrame(index, index / 30, boxes, one, one.astype(int), one > 0)))
    return estimator.estimate([*made, *maker.finish()][2:3])[0], frames


def export(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_example_beside_the_graphs_gives_our_poses(model, pose, tmp_path):
    pytest.importorskip("onnx", reason="graphs are written by the package onnx, of the extra of that name")
    folder = tmp_path / "out"
    assert export(model, folder, "--to", "onnx", "--quiet").exit_code == 0
    about = json.loads((folder / "metadata.json").read_text())
    assert about["window_offsets"] == [-2, -1, 0, 1, 2] and len(about["joints"]) == 17
    assert about["graphs"]["encode"]["inputs"] == {"crops": ["float32", 4, 3, *about["input_hw"]]}
    poses, frames = pose
    np.save(tmp_path / "window.npy", frames[:5])
    words = [sys.executable, str(folder / "example.py"), str(tmp_path / "window.npy"), *map(str, BOX)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == about["joints"]
    found = np.array([line.split()[1:] for line in lines], float)
    assert np.abs(found[:, :2] - poses.xy_image[0]).max() < 0.1
    assert np.abs(found[:, 2] - poses.scores[0]).max() < 1e-3
    again = export(model, folder, "--to", "onnx")
    assert "holds files already" in again.exception.message and "--overwrite" in again.exception.hint


def test_torchscript_decodes_as_we_do(model, pose, tmp_path):
    assert export(model, tmp_path / "out", "--to", "torchscript", "--quiet").exit_code == 0
    about = json.loads((tmp_path / "out" / "metadata.json").read_text())
    encode, fuse = (torch.jit.load(tmp_path / "out" / f"{name}.pt") for name in ("encode", "fuse"))
    with torch.inference_mode():
        heatmaps, *maps = encode(torch.rand(*about["graphs"]["encode"]["inputs"]["crops"][1:]) * 255)
        windows = [torch.stack([each] * len(at), 1) for each, at in zip(maps, about["places"], strict=True)]
        affine, exists = torch.eye(2, 3).expand(4, 5, 2, 3), torch.ones(4, 5, dtype=torch.bool)
        joints, scores, covariances, fused = fuse(affine, exists, torch.stack([heatmaps] * 5, 1), *windows)
    assert joints.shape == (4, 17, 2) and covariances.shape == (4, 17, 3) and fused.shape == heatmaps.shape
    assert torch.allclose(scores, fused.flatten(2).amax(-1).clamp(0, 1))


def test_what_cannot_be_exported_is_one_error(tmp_path):
    wrong = export("person-nano", tmp_path / "out", "--to", "onnx")
    assert "is a person detector" in wrong.exception.message and not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    wrong = export("nano", tmp_path / "file", "--to", "onnx")
    assert "is no folder" in wrong.exception.message
