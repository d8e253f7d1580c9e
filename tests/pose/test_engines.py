"""ONNX Runtime gives the poses of torch, of graphs that fit the weights, and says what it cannot do."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from jmpose.config import Calibration
from jmpose.weights import save_calibration
from jmpose_cli.device import cpu_has_int8
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED, TEMPORAL_PART
from jmpose_cli.onnx_graphs import GraphsError
from jmpose_cli.onnx_providers import tensorrt_version
from jmpose_cli.pose import onnx_export
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings
from jmpose_cli.upkeep.model_check import _example_windows
from jmpose_cli.values import FramePoses
from tests.jmpose.tiny_vitpose import save_vitpose

NANO = SHIPPED / "nano.safetensors"


def alike(found: list[FramePoses], wanted: list[FramePoses]) -> None:
    for one, other in zip(found, wanted, strict=True):
        sure = other.scores > 0.3
        apart = np.linalg.norm(one.xy_image - other.xy_image, axis=-1)[sure]
        assert sure.mean() > 0.3 and apart.max() < 1 and np.quantile(apart, 0.99) < 0.1
        assert np.abs(one.scores - other.scores).max() < 1e-4
        assert np.allclose(one.covariances[sure], other.covariances[sure], rtol=1e-3, atol=0.02)


@pytest.mark.parametrize(("model", "flip_test"), [("nano", False), ("nano", True), ("small", False)])
def test_poses_are_those_of_torch(model: str, flip_test: bool) -> None:
    settings = EstimatorSettings(batch=4, flip_test=flip_test)
    onnx, plain = (
        load_estimator(SHIPPED / f"{model}.safetensors", settings, engine=engine)[0] for engine in ("auto", "torch")
    )
    assert (onnx.engine, plain.engine) == ("onnx", "torch")
    assert onnx.sha256 == plain.sha256 and onnx.preprocess == plain.preprocess
    windows = _example_windows(plain)[2:3]
    for found, wanted in zip(onnx.estimate_both(windows), plain.estimate_both(windows), strict=True):
        alike(found, wanted)
    assert all(map(np.array_equal, *([p.xy_image for p in poses] for poses in _twice(onnx, windows))))


def _twice(estimator, windows):
    return estimator.estimate(windows), estimator.estimate_both(windows)[0]


@pytest.mark.skipif(not cpu_has_int8(), reason="sums of products of bytes overflow on this processor")
def test_int8_is_near_and_a_persons_pose_does_not_depend_on_company() -> None:
    small = SHIPPED / "small.safetensors"
    exact, quantised = (
        load_estimator(small, EstimatorSettings(precision=precision), engine="auto")[0]
        for precision in ("fp32", "int8")
    )
    assert quantised.engine == "onnx" and quantised.sha256 == exact.sha256
    windows = _example_windows(exact)[2:4]
    for found, wanted in zip(quantised.estimate(windows), exact.estimate(windows), strict=True):
        sure = wanted.scores > 0.3
        apart = np.linalg.norm(found.xy_image - wanted.xy_image, axis=-1)[sure]
        heights = np.diff(wanted.people.boxes_xyxy_px[:, [1, 3]])[:, 0]
        assert 0 < np.median(apart) < 0.01 * np.median(heights)
    together, alone = quantised.estimate(windows)[1], quantised.estimate(windows[1:])[0]
    assert np.array_equal(together.xy_image, alone.xy_image)


def test_int8_without_a_graph_in_it_is_an_error(tmp_path: Path) -> None:
    settings = EstimatorSettings(precision="int8")
    small = SHIPPED / "small.safetensors"
    for path, engine, said in ((NANO, "auto", "nano has no graph in it"), (small, "torch", "onnx only")):
        with pytest.raises(JmposeError, match=f"--precision int8.*{said}"):
            load_estimator(path, settings, engine=engine)  # type: ignore[arg-type]
    alone = shutil.copy(small, tmp_path)
    with pytest.raises(JmposeError, match="small has no graph in it"):
        load_estimator(Path(alone), settings, engine="onnx")


def copied(folder: Path) -> Path:
    """The shipped model with its graphs."""
    for file in SHIPPED.glob("nano.*"):
        shutil.copy(file, folder)
    return folder / "nano.safetensors"


def recalibrated(weights: Path) -> None:
    save_calibration(weights, Calibration(4.0, -1.0, 1.0, -1.0, people=9))


def cut(weights: Path) -> None:
    graph = weights.with_name("nano.fuse.onnx")
    graph.write_bytes(graph.read_bytes()[:-1000])


def not_of_poses(weights: Path) -> None:
    description = weights.with_name("nano.onnx.json")
    description.write_text(json.dumps(json.loads(description.read_text()) | {"config": {"name": 3}}))


def no_graph(weights: Path) -> None:
    """What claims to be a graph, with its checksum."""
    from jmpose_cli.onnx_graphs import read_graphs, write_description

    description = weights.with_name("nano.onnx.json")
    facts = json.loads(description.read_text())
    graph = weights.with_name("nano.encode.onnx")
    graph.write_bytes(b"no graph")
    write_description(description, facts, files={name: weights.with_name(f[0]) for name, f in facts["files"].items()})
    read_graphs(description, made_from=facts["made_from"])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (recalibrated, "made from other weights"),
        (cut, "checksum is another one"),
        (not_of_poses, "of no pose model"),
        (no_graph, "ONNX Runtime cannot load it"),
    ],
)
def test_graphs_that_do_not_fit_are_left_alone_with_a_note_or_an_error(tmp_path, harm, said):
    weights = copied(tmp_path)
    harm(weights)
    estimator, note = load_estimator(weights, EstimatorSettings(), engine="auto")
    assert estimator.engine == "torch" and said in note and "onnx_files.py" in note
    with pytest.raises(JmposeError, match=said):
        load_estimator(weights, EstimatorSettings(), engine="onnx")


@pytest.mark.parametrize(
    ("engine", "settings", "said"),
    [
        ("onnx", {"device": "mps"}, "it runs on cpu and cuda only, not on mps"),
        ("onnx", {"precision": "bf16"}, "on cpu it computes in fp32 and int8 only, not in bf16"),
        ("onnx", {"device": "cuda:0", "precision": "fp16"}, "on cuda:0 it computes in fp32 and tf32 only, not in fp16"),
        ("onnx", {"compiled": True}, "it cannot be compiled by torch"),
        ("tensorrt", {}, "it runs on cuda only, not on cpu"),
        ("tensorrt", {"precision": "int8"}, "it runs on cuda only, not on cpu"),
        ("tensorrt", {"device": "cuda:0"}, "on cuda:0 it computes in tf32 and fp16 only, not in fp32"),
    ],
)
def test_what_onnx_cannot_do_is_an_error(engine, settings, said):
    with pytest.raises(JmposeError, match=said) as caught:
        load_estimator(SHIPPED / "small.safetensors", EstimatorSettings(**settings), engine=engine)
    assert caught.value.hint == "use --engine torch, or auto"


def test_graphs_are_for_one_number_of_people(tmp_path):
    weights = copied(tmp_path)
    description = weights.with_name("nano.onnx.json")
    description.write_text(json.dumps(json.loads(description.read_text()) | {"people_a_call": 16}))
    with pytest.raises(GraphsError, match="do not take 4 people"):
        load_estimator(weights, EstimatorSettings(), engine="onnx")


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("engine", "precision", "most_px"),
    [("onnx", "fp32", 1), ("onnx", "tf32", 2), ("tensorrt", "tf32", 2), ("tensorrt", "fp16", 3)],
)
def test_on_cuda_poses_are_near_those_of_the_cpu(tmp_path, monkeypatch, engine, precision, most_px):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    provider = {"onnx": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[engine]
    if provider not in onnxruntime.get_available_providers():
        pytest.skip(f"needs an onnxruntime-gpu with {provider}")
    if engine == "tensorrt" and tensorrt_version() == "unknown":
        pytest.skip("needs the libraries of TensorRT")
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path))
    settings = EstimatorSettings(device="cuda:0", precision=precision, batch=6)
    on_cuda, _ = load_estimator(NANO, settings, engine=engine)
    on_cpu, _ = load_estimator(NANO, EstimatorSettings(), engine="onnx")
    assert on_cuda.engine == engine
    windows = _example_windows(on_cpu)[2:4]
    for found, wanted in zip(on_cuda.estimate(windows), on_cpu.estimate(windows), strict=True):
        sure = wanted.scores > 0.3
        apart = np.linalg.norm(found.xy_image - wanted.xy_image, axis=-1)[sure]
        assert np.quantile(apart, 0.9) < most_px and np.abs(found.scores - wanted.scores)[sure].max() < 0.1
    assert engine == "onnx" or list((tmp_path / "tensorrt").glob("*/*.engine"))


def test_graphs_of_other_models_are_made_once(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="graphs are written by the package onnx, of the extra of that name")
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny"
    save_vitpose(path, decoder="classic")
    settings, part = EstimatorSettings(flip_test=True), {"temporal": TEMPORAL_PART}  # which does not fit
    plain, _ = load_estimator(path, settings, engine="auto", **part)
    assert plain.engine == "torch"
    onnx, _ = load_estimator(path, settings, engine="onnx", **part)
    assert onnx.temporal is None and onnx.sha256 == plain.sha256
    windows = _example_windows(plain)[:1]
    (found,), (wanted,) = onnx.estimate(windows), plain.estimate(windows)
    assert np.abs(found.scores - wanted.scores).max() < 1e-4 and np.abs(found.xy_image - wanted.xy_image).max() < 1
    monkeypatch.setattr(onnx_export, "write_pose_graphs", None)
    again, _ = load_estimator(path, settings, engine="onnx", **part)
    assert np.array_equal(again.estimate(windows)[0].xy_image, found.xy_image)
    (made,) = (tmp_path / "cache" / "onnx").iterdir()
    graph = made / "model.encode.onnx"
    graph.write_bytes(graph.read_bytes()[:-9])
    with pytest.raises(JmposeError, match="damaged") as caught:
        load_estimator(path, settings, engine="onnx", **part)
    assert str(made) in caught.value.hint
