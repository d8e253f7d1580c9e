"""Boxes from maps of middles, and files of a CenterNet that are not what they should be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from jmpose.centernet import CenterMaps, CenterNet, scored_boxes
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.detect_centernet import CenterNetDetector
from jmpose_cli.people.detect_yolo import YoloDetector
from jmpose_cli.people.detectors import load_detector
from tests.people.tiny_detectors import copied, save_centernet, truncated

SETTINGS = {"device": "cpu", "min_score": 0.5, "input_size": None, "threads": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_centernet(path, imgsz=128)
    return path


def test_a_box_lies_around_a_peak_and_cells_beside_it_have_none():
    centers = torch.full((1, 1, 4, 6), -9.0)
    centers[0, 0, 2, 3], centers[0, 0, 2, 4], centers[0, 0, 0, 0] = 2.0, 1.0, 0.0
    sizes = torch.tensor([3.0, 2.0])[:, None, None].expand(1, 2, 4, 6)  # heights, widths
    offsets = torch.tensor([0.5, 0.25])[:, None, None].expand(1, 2, 4, 6)  # down, right
    (rows,) = scored_boxes(CenterMaps(centers, sizes, offsets))
    sure = rows[rows[:, 4] > 0.01]
    assert sure[:, :4].tolist() == [[-3, -4, 5, 8], [9, 4, 17, 16]]
    assert sure[:, 4].tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-2.0))])


def test_no_box_has_a_negative_side():
    maps = CenterMaps(torch.zeros(1, 1, 2, 2), torch.full((1, 2, 2, 2), -3.0), torch.zeros(1, 2, 2, 2))
    (rows,) = scored_boxes(maps)
    assert (rows[:, 2:4] == rows[:, :2]).all()


def test_the_kind_of_a_detector_is_that_of_its_description(tiny):
    detector, _ = load_detector(tiny, engine="auto", **SETTINGS)
    assert isinstance(detector, CenterNetDetector) and detector.engine == "torch"
    assert (detector.name, detector.start_score, detector.input_size) == ("tiny", 0.4, 128)
    with pytest.raises(JmposeError, match="kind is 'centernet-detector', expected 'yolo-detector'"):
        YoloDetector(tiny, device="cpu", min_score=0.5)


def test_what_is_saved_finds_what_the_network_found(tiny, tmp_path):
    from jmpose_cli.people.detect_centernet import load_finder, save_centernet_detector

    save_centernet_detector(load_finder(tiny)[0].model, tmp_path / "again.safetensors", imgsz=128, start_score=0.4)
    picture = np.random.default_rng(0).integers(0, 255, (1, 90, 160, 3), dtype=np.uint8)
    one, two = (CenterNetDetector(path, device="cpu", min_score=0.1) for path in (tiny, tmp_path / "again.safetensors"))
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
        state = {name: tensor.half().contiguous() for name, tensor in CenterNet().state_dict().items()} | change
        save_file(state, path, metadata={"kind": "jmpose-centernet"} | metadata)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "tiny.safetensors is damaged or no safetensors file"),
        (alone, "tiny.safetensors: no readable detector"),
        (lambda tiny, folder: copied(tiny, folder, kind="pose"), "kind is 'pose', expected 'centernet-detector' or"),
        (lambda tiny, folder: copied(tiny, folder, kind=["x"]), "kind is a list"),
        (lambda tiny, folder: copied(tiny, folder, names={"0": "dog"}), "without the class 'person'"),
        (lambda tiny, folder: copied(tiny, folder, names=None), "names is None"),
        (lambda tiny, folder: copied(tiny, folder, imgsz=10**6), "imgsz: 1000000 is not a whole number"),
        (lambda tiny, folder: copied(tiny, folder, imgsz=None), "imgsz: None"),
        (lambda tiny, folder: copied(tiny, folder, start_score=float("nan")), "start_score: nan"),
        (lambda tiny, folder: copied(tiny, folder, start_score="0.5"), "start_score: '0.5'"),
        (with_tensors({}, kind="jmpose-appearance"), "holds no CenterNet of people"),
        (with_tensors({"more": torch.zeros(3)}), "does not hold the weights of a CenterNet of people: 1 unknown"),
        (with_tensors({"size.3.bias": torch.zeros(3)}), r"of another shape \(size.3.bias \[3\] for \[2\]"),
        (with_tensors({"size.3.bias": torch.zeros(2, dtype=torch.int64)}), "of another type"),
    ],
)
def test_files_that_are_no_detector(tiny, tmp_path, make, message):
    with pytest.raises(JmposeError, match=message) as caught:
        load_detector(make(tiny, tmp_path), engine="torch", **SETTINGS)
    assert caught.value.hint
