"""Boxes from what cells tell, and files of a NanoDet that are not what they should be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jmpose.nanodet import BINS, Cells, NanoDet, scored_boxes
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.detect_nanodet import NanoDetDetector
from jmpose_cli.people.detect_yolo import YoloDetector
from jmpose_cli.people.detectors import load_detector
from tests.people.tiny_detectors import copied, save_nanodet, truncated

SETTINGS = {"device": "cpu", "min_score": 0.5, "input_size": None, "threads": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_nanodet(path, imgsz=128)
    return path


def test_a_box_lies_around_the_middle_of_its_cell():
    sides = torch.full((1, 2, 4, BINS), -20.0)
    for side, distance in enumerate((1, 2, 0, 10)):
        sides[0, :, side, distance] = 20.0
    sides[0, 1, 0, 2] = 20.0  # between one cell and two
    cells = Cells(
        torch.tensor([[0.0, 2.0]]), sides, torch.tensor([[12.0, 4.0], [48.0, 16.0]]), torch.tensor([8.0, 32.0])
    )
    (rows,) = scored_boxes(cells)
    assert rows[0].tolist() == pytest.approx([12 - 8, 4 - 16, 12, 4 + 80, 0.5], abs=1e-4)
    assert rows[1].tolist() == pytest.approx([48 - 1.5 * 32, 16 - 64, 48, 16 + 320, 1 / (1 + np.exp(-2.0))], abs=1e-4)


def test_cells_lie_row_by_row_the_finest_level_first():
    cells = NanoDet().eval()(torch.zeros(2, 3, 64, 96))
    assert cells.scores.shape == (2, 8 * 12 + 4 * 6 + 2 * 3) and cells.sides.shape[2:] == (4, BINS)
    assert cells.middles[[0, 1, 12, 96, 97, 120, -1]].tolist() == [
        [4, 4], [12, 4], [4, 12], [8, 8], [24, 8], [16, 16], [80, 48]
    ]  # fmt: skip
    assert cells.strides.unique_consecutive().tolist() == [8, 16, 32]


def test_the_kind_of_a_detector_is_that_of_its_description(tiny):
    detector, _ = load_detector(tiny, engine="auto", **SETTINGS)
    assert isinstance(detector, NanoDetDetector) and detector.engine == "torch"
    assert (detector.name, detector.start_score, detector.input_size) == ("tiny", 0.4, 128)
    with pytest.raises(JmposeError, match="kind is 'nanodet-detector', expected 'yolo-detector'"):
        YoloDetector(tiny, device="cpu", min_score=0.5)


def test_what_is_saved_finds_what_the_network_found(tiny, tmp_path):
    from jmpose_cli.people.detect_nanodet import load_finder, save_nanodet_detector

    save_nanodet_detector(load_finder(tiny)[0].model, tmp_path / "again.safetensors", imgsz=128, start_score=0.4)
    picture = np.random.default_rng(0).integers(0, 255, (1, 90, 160, 3), dtype=np.uint8)
    one, two = (NanoDetDetector(path, device="cpu", min_score=0.1) for path in (tiny, tmp_path / "again.safetensors"))
    (found,), (again,) = one.detect(picture), two.detect(picture)
    assert len(found) > 5 and (found.boxes_xyxy_px == again.boxes_xyxy_px).all()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def alone(tiny: Path, folder: Path) -> Path:
    path = copied(tiny, folder)
    path.with_suffix(".json").unlink()
    return path


def with_tensors(change: dict[str, torch.Tensor], **metadata: str):
    """Give a function that saves a tiny detector with other tensors."""
    from safetensors.torch import save_file

    def make(tiny: Path, folder: Path) -> Path:
        path = copied(tiny, folder)
        state = {name: tensor.half().contiguous() for name, tensor in NanoDet().state_dict().items()} | change
        save_file(state, path, metadata={"kind": "jmpose-nanodet"} | metadata)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "tiny.safetensors is damaged or no safetensors file"),
        (alone, "tiny.safetensors: no readable detector"),
        (lambda tiny, folder: copied(tiny, folder, kind="pose"), "kind is 'pose', expected 'nanodet-detector' or"),
        (lambda tiny, folder: copied(tiny, folder, kind=["x"]), "kind is a list"),
        (lambda tiny, folder: copied(tiny, folder, names={"0": "dog"}), "without the class 'person'"),
        (lambda tiny, folder: copied(tiny, folder, names=None), "names is None"),
        (lambda tiny, folder: copied(tiny, folder, imgsz=10**6), "imgsz: 1000000 is not a whole number"),
        (lambda tiny, folder: copied(tiny, folder, imgsz=None), "imgsz: None"),
        (lambda tiny, folder: copied(tiny, folder, start_score=float("nan")), "start_score: nan"),
        (lambda tiny, folder: copied(tiny, folder, start_score="0.5"), "start_score: '0.5'"),
        (with_tensors({}, kind="jmpose-appearance"), "holds no NanoDet of people"),
        (with_tensors({"more": torch.zeros(3)}), "does not hold the weights of a NanoDet of people: 1 unknown"),
        (with_tensors({"heads.0.1.bias": torch.zeros(3)}), r"of another shape \(heads.0.1.bias \[3\] for \[45\]"),
        (with_tensors({"heads.0.1.bias": torch.zeros(45, dtype=torch.int64)}), "of another type"),
    ],
)
def test_files_that_are_no_detector(tiny, tmp_path, make, message):
    with pytest.raises(JmposeError, match=message) as caught:
        load_detector(make(tiny, tmp_path), engine="torch", **SETTINGS)
    assert caught.value.hint
