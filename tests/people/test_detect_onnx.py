"""The shipped detector on ONNX Runtime finds the boxes of torch."""

import json
import shutil

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED
from jmpose_cli.people.detect_export import write_detector_graph
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.people.letterbox import MAX_BOXES, suppressed
from jmpose_cli.upkeep.model_check import _example_frames
from tests.people.tiny_detectors import copied, save_nanodet, save_yolo

SETTINGS = {"device": "cpu", "min_score": 0.02, "input_size": None, "threads": 2}
WEIGHTS = SHIPPED / "person-nano.safetensors"


@pytest.mark.parametrize("pixel_width", [1.0, 1.4])
def test_boxes_are_those_of_torch(pixel_width):
    frames = _example_frames()[0].frames[:3]
    onnx, torch = (load_detector(WEIGHTS, engine=engine, **SETTINGS)[0] for engine in ("auto", "torch"))
    assert (onnx.engine, torch.engine) == ("onnx", "torch") and onnx.sha256 == torch.sha256
    found, wanted = (each.detect(frames, pixel_width=pixel_width) for each in (onnx, torch))
    for one, other in zip(found, wanted, strict=True):
        assert len(other) > 4
        assert np.abs(one.boxes_xyxy_px - other.boxes_xyxy_px).max() < 0.5
        assert np.abs(one.scores - other.scores).max() < 1e-4
    upright = np.ascontiguousarray(frames.transpose(0, 2, 1, 3))
    for one, other in zip(onnx.detect(upright), torch.detect(upright), strict=True):
        assert np.abs(one.boxes_xyxy_px - other.boxes_xyxy_px).max(initial=0) < 0.5


@pytest.mark.parametrize("input_size", [None, 160])
@pytest.mark.parametrize("size", [(90, 160), (160, 90), (64, 64)])
def test_a_graph_that_is_written_finds_the_boxes_of_torch(graph, size, input_size):
    frames = np.random.default_rng(0).integers(0, 255, (2, *size, 3), dtype=np.uint8)
    settings = SETTINGS | {"input_size": input_size}
    onnx, torch = (load_detector(graph, engine=engine, **settings)[0] for engine in ("onnx", "torch"))
    assert (onnx.engine, torch.engine) == ("onnx", "torch") and onnx.start_score == torch.start_score == 0.4
    for one, other in zip(onnx.detect(frames), torch.detect(frames), strict=True):
        assert len(one) == len(other) > 4
        assert np.abs(one.boxes_xyxy_px - other.boxes_xyxy_px).max() < 0.01
        assert np.abs(one.scores - other.scores).max() < 1e-4


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_nanodet(path, imgsz=128)
    write_detector_graph(path)
    return path


def test_no_graph_of_a_yolo_is_written(tmp_path):
    save_yolo(tmp_path / "tiny.safetensors", imgsz=128)
    with pytest.raises(JmposeError, match="kind is 'yolo-detector', expected 'nanodet-detector'"):
        write_detector_graph(tmp_path / "tiny.safetensors")


def test_a_damaged_description_is_an_error_of_any_engine(graph, tmp_path):
    for file in graph.parent.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "tiny.json").write_text("{")
    with pytest.raises(JmposeError, match=r"tiny\.safetensors: no readable detector"):
        load_detector(tmp_path / "tiny.safetensors", engine="auto", **SETTINGS)


def test_the_size_of_the_input_is_that_of_the_description(graph, tmp_path):
    for file in graph.parent.iterdir():
        shutil.copy(file, tmp_path)
    path, settings = tmp_path / graph.name, SETTINGS | {"engine": "onnx"}
    copied(graph, tmp_path, imgsz=96)
    assert load_detector(path, **settings)[0].input_size == 96
    copied(graph, tmp_path, imgsz=10**6)
    with pytest.raises(JmposeError, match="imgsz: 1000000 is not a whole number"):
        load_detector(path, **settings)


@pytest.mark.parametrize(("files", "said"), [({}, "of no detector"), (5, "not a description of graphs")])
def test_a_description_of_other_graphs_is_not_used(graph, tmp_path, files, said):
    path = copied(graph, tmp_path)
    facts = json.loads(graph.with_suffix(".onnx.json").read_text())
    path.with_suffix(".onnx.json").write_text(json.dumps(facts | {"files": files}))
    detector, note = load_detector(path, engine="auto", **SETTINGS)
    assert detector.engine == "torch" and said in note
    with pytest.raises(JmposeError, match=said):
        load_detector(path, engine="onnx", **SETTINGS)


def test_of_boxes_that_overlap_by_more_than_half_the_best_is_kept():
    rows = np.float32([[0, 0, 10, 10, 0.5], [0, 1, 10, 10, 0.9], [0, 6, 10, 16, 0.7], [50, 50, 60, 60, 0.3]])
    assert suppressed(rows)[:, 4].tolist() == np.float32([0.9, 0.7, 0.3]).tolist()
    assert suppressed(rows[:0]).shape == (0, 5)


def test_of_more_boxes_than_a_frame_may_have_the_best_are_kept():
    x = np.arange(2 * MAX_BOXES, dtype=np.float32)
    rows = np.stack([10 * x, 0 * x, 10 * x + 5, 0 * x + 9, x / len(x)], 1)
    assert suppressed(rows).tolist() == rows[: MAX_BOXES - 1 : -1].tolist()


def test_a_graph_of_other_weights_is_not_used(tmp_path):
    for file in SHIPPED.glob("person-nano.*"):
        shutil.copy(file, tmp_path)
    description = tmp_path / "person-nano.onnx.json"
    facts = json.loads(description.read_text())
    description.write_text(json.dumps(facts | {"made_from": {"detector": "0" * 64}}))
    detector, note = load_detector(tmp_path / WEIGHTS.name, engine="auto", **SETTINGS)
    assert detector.engine == "torch" and "made from other weights" in note
    with pytest.raises(JmposeError, match="made from other weights"):
        load_detector(tmp_path / WEIGHTS.name, engine="onnx", **SETTINGS)
