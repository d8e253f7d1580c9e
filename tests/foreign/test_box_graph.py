"""Detectors of other projects in every form that is read: boxes where they were put, and what their families need."""

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.people.box_graph import FAMILIES, open_box_graph
from jmpose_cli.people.detect_graph import GraphDetector
from jmpose_cli.people.detectors import load_detector
from tests.foreign.small_graphs import constant_graph

FRAME = np.zeros((1, 480, 640, 3), np.uint8)
# Of the frame, with scores; the third is of another class. Inputs are 320x320, so scales are 1/2.
PEOPLE = np.float32([[40, 60, 120, 300], [400, 100, 480, 340], [200, 200, 280, 280]])
SCORES = np.float32([0.9, 0.6, 0.8])
LABELS = np.array([0, 0, 2])
HALF, OFF_CENTRE = PEOPLE / 2, np.float32([0, 40, 0, 40])  # the middle of the input
CELLS = 40 * 40 + 20 * 20 + 10 * 10


def middles(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def classes(columns: int = 80) -> np.ndarray:
    table = np.zeros((3, columns), np.float32)
    table[np.arange(3), LABELS] = SCORES
    return table


def padded(rows: np.ndarray, count: int, fill: float = 0.0) -> np.ndarray:
    table = np.full((count, rows.shape[1]), fill, np.float32)
    table[: len(rows)] = rows
    return table


def grid() -> dict[str, np.ndarray]:
    """YOLOX: each box in the cell of stride 8 that its middle lies in."""
    table, boxes = np.zeros((CELLS, 85), np.float32), middles(HALF)
    column, row = (boxes[:, :2] // 8).astype(int).T
    at = row * 40 + column
    table[at, :2] = boxes[:, :2] / 8 - np.stack([column, row], 1)
    table[at, 2:4] = np.log(boxes[:, 2:] / 8)
    table[at, 4] = SCORES
    table[at, 5 + LABELS] = 1
    return {"output": table[None]}


def objects() -> dict[str, np.ndarray]:
    rows = np.concatenate([middles(HALF + OFF_CENTRE), SCORES[:, None], classes() / SCORES[:, None]], 1)
    return {"output": padded(rows, 3 * CELLS)[None]}


def columns() -> dict[str, np.ndarray]:
    rows = np.concatenate([middles(HALF + OFF_CENTRE), classes()], 1)
    doubled = np.concatenate([rows, rows - np.eye(1, 84, 4, dtype=np.float32) * 0.1])  # the same people, less sure
    return {"output0": padded(doubled, CELLS).T[None].copy()}


def rows() -> dict[str, np.ndarray]:
    return {"output0": padded(np.c_[HALF + OFF_CENTRE, SCORES, LABELS], 300)[None]}


def kept() -> dict[str, np.ndarray]:
    labels = np.zeros(100, np.int64)
    labels[:3] = LABELS
    return {"dets": padded(np.c_[HALF, SCORES], 100)[None], "labels": labels[None]}


def sized() -> dict[str, np.ndarray]:
    return {"labels": LABELS[None], "boxes": PEOPLE[None], "scores": SCORES[None]}


def shares() -> np.ndarray:
    return np.float32(middles(PEOPLE) / [640, 480, 640, 480])


def queries() -> dict[str, np.ndarray]:
    return {"output0": padded(np.concatenate([shares(), classes()], 1), 300)[None]}


def logits(people: int = 0) -> dict[str, np.ndarray]:
    scores = np.roll(padded(classes(91), 300), people, 1).clip(1e-6, 1 - 1e-6)
    return {"logits": np.log(scores / (1 - scores))[None], "pred_boxes": padded(shares(), 300)[None]}


def corners() -> dict[str, np.ndarray]:
    return {"boxes": padded(HALF, CELLS)[None], "scores": padded(classes(), CELLS)[None]}


SIZES = {"others": {"orig_target_sizes": ["batch", 2]}}


@pytest.mark.parametrize(
    ("name", "outputs", "more", "form", "family"),
    [
        ("yolox_nano", grid(), {}, "grid", "yolox"),
        ("net", grid(), {}, "grid", "yolox"),
        ("yolov5s", objects(), {}, "objects", "yolo"),
        ("yolo11n", columns(), {}, "columns", "yolo"),
        ("yolo26n", rows(), {}, "rows", "yolo"),
        ("yolox_m_humanart", kept(), {}, "kept", "yolox"),
        ("rtmdet_m", kept(), {}, "kept", "rtmdet"),
        ("dfine_s", sized(), SIZES, "sized", "rtdetr"),
        ("rtdetr-l", queries(), {}, "queries", "rtdetr"),
        ("rtdetr_r18vd", logits(), {}, "pairs", "rtdetr"),
        ("rfdetr_s", logits(people=1), {}, "pairs", "rfdetr"),
        ("rtmdet_raw", corners(), {}, "pairs", "rtmdet"),
    ],
)
def test_people_are_where_they_were_put(tmp_path, name, outputs, more, form, family):
    path = constant_graph(tmp_path / f"{name}.onnx", outputs, **more)
    _, boxes = open_box_graph(path)
    assert (boxes.form, boxes.family) == (form, family)
    detector, about = load_detector(path, engine="auto", device="cpu", min_score=0.1, input_size=None, threads=2)
    assert isinstance(detector, GraphDetector) and detector.engine == "onnx" and FAMILIES[family].title in about
    for found in detector.detect(np.concatenate([FRAME, FRAME])):
        assert found.boxes_xyxy_px == pytest.approx(PEOPLE[:2], abs=0.05)
        assert found.scores == pytest.approx(SCORES[:2], abs=1e-5)
    detector.close()


def test_what_ultralytics_notes_is_read(tmp_path):
    noted = {"names": "{0: 'car', 1: 'Person'}", "imgsz": "[320, 320]", "task": "detect"}
    table = np.concatenate([middles(HALF + OFF_CENTRE), [[0, s] for s in SCORES], np.full((3, 40), 0.99)], 1)
    outputs = {"output0": padded(table.astype(np.float32), CELLS).T[None].copy()}  # with columns of something else
    path = constant_graph(tmp_path / "net.onnx", outputs, size=("h", "w"), metadata=noted)
    (found,) = GraphDetector(path, min_score=0.1).detect(FRAME)
    assert len(found) == 3 and found.scores == pytest.approx(sorted(SCORES, reverse=True))
    path = constant_graph(tmp_path / "cars.onnx", outputs, metadata=noted | {"names": "{0: 'car'}"})
    with pytest.raises(JmposeError, match=r"without the class 'person' \(it has car\)"):
        open_box_graph(path)


def test_settings_beside_it_count(tmp_path):
    path = constant_graph(tmp_path / "end2end.onnx", kept())
    with pytest.raises(JmposeError, match="neither its outputs nor its name say") as caught:
        open_box_graph(path)
    assert "family: NAME" in caught.value.hint
    (tmp_path / "end2end.yaml").write_text("family: rtmdet\nperson_class: 2\nstart_score: 0.4")
    detector = GraphDetector(path, min_score=0.1)
    (found,) = detector.detect(FRAME)
    assert found.boxes_xyxy_px == pytest.approx(PEOPLE[2:]) and detector.start_score == 0.4
    (tmp_path / "end2end.yaml").write_text("family: yolo9000")
    with pytest.raises(JmposeError, match="family is 'yolo9000'"):
        open_box_graph(path)


def test_a_class_that_is_not_there_is_an_error(tmp_path):
    path = constant_graph(tmp_path / "yolo11n.onnx", columns())
    (tmp_path / "yolo11n.yaml").write_text("person_class: 80")
    with pytest.raises(JmposeError, match="person_class is 80, it has 80 classes") as caught:
        open_box_graph(path)
    assert caught.value.hint == "0 to 79"


def test_an_input_of_another_size_is_an_error(tmp_path):
    path = constant_graph(tmp_path / "yolo11n.onnx", columns())
    with pytest.raises(JmposeError, match="its input is 320x320, not 640x640"):
        GraphDetector(path, min_score=0.1, input_size=640)


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    """People are as wide as they are shown, where pixels are not square."""
    path = constant_graph(tmp_path / "yolox.onnx", grid())
    narrow = np.zeros((1, 480, 320, 3), np.uint8)  # shown as 640 wide
    (found,) = GraphDetector(path, min_score=0.1).detect(narrow, pixel_width=2.0)
    assert found.boxes_xyxy_px == pytest.approx(PEOPLE[:2] * np.float32([0.5, 1, 0.5, 1]), abs=0.05)
