"""What the detector is asked for, and a training of a few seconds."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import person_nano
from jmpose.centernet import STRIDE, CenterMaps
from jmpose_cli.people.detectors import load_detector
from person_nano import Pictures, losses, targets
from person_nano_data import DOUBTFUL, PERSON, merge
from tests.people.tiny_detectors import save_centernet

SIDE = 64


def exact_maps(boxes: torch.Tensor) -> CenterMaps:
    """Maps that say just these boxes `[P, 4]`, with certainty."""
    cells = SIDE // STRIDE
    centers = torch.full((1, 1, cells, cells), -20.0)
    sizes, offsets = torch.zeros(1, 2, cells, cells), torch.zeros(1, 2, cells, cells)
    for x0, y0, x1, y1 in (boxes / STRIDE).tolist():
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        centers[0, 0, int(y), int(x)] = 20.0
        for i in range(max(int(y) - 1, 0), min(int(y) + 2, cells)):
            for j in range(max(int(x) - 1, 0), min(int(x) + 2, cells)):
                sizes[0, :, i, j] = torch.tensor([y1 - y0, x1 - x0])
                offsets[0, :, i, j] = torch.tensor([y - i, x - j])
    return CenterMaps(centers, sizes, offsets)


def test_maps_that_say_the_boxes_cost_nothing():
    boxes = torch.tensor([[4.0, 2.0, 20.0, 40.0], [30.0, 20.0, 62.0, 63.0]])
    filled = torch.zeros(1, 6, 5)
    filled[0, :2, :4] = boxes
    wanted = targets(filled, SIDE)
    of_middles, of_boxes = losses(exact_maps(boxes), wanted)
    assert of_middles < 1e-3 and of_boxes < 1e-4
    assert (wanted.centers == 1).sum() == 2 and wanted.counted.all()
    other_middles, other_boxes = losses(exact_maps(boxes + torch.tensor([8.0, 8.0, 0.0, 0.0])), wanted)
    assert other_middles > 1 and other_boxes > 0.1


@pytest.mark.parametrize("who", ["small", "doubtful"])
def test_people_that_are_small_or_doubtful_are_neither_asked_for_nor_denied(who, monkeypatch):
    filled = torch.zeros(1, 6, 5)
    filled[0, 0] = torch.tensor([8.0, 8.0, 12.0, 14.0, who == "doubtful"])
    monkeypatch.setattr(person_nano, "SMALLEST", 20 if who == "small" else 1)
    wanted = targets(filled, SIDE)
    assert wanted.centers.max() < 1 and wanted.weights.max() == 0
    assert (wanted.counted[0] == 0).nonzero().tolist() == [[2, 2], [3, 2]]


def test_listed_boxes_that_the_teacher_does_not_know_are_doubtful_unless_trusted():
    listed = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], float)
    found = np.array([[1, 0, 10, 20], [80, 0, 90, 20], [20, 0, 30, 20]], float)
    scores = np.array([0.15, 0.9, 0.2])
    boxes, kinds = merge(listed, found, scores, trusted=False)
    assert boxes[:, 0].tolist() == [0, 50, 80, 20]
    assert kinds.tolist() == [PERSON, DOUBTFUL, PERSON, DOUBTFUL]
    assert merge(listed, found, scores, trusted=True)[1].tolist() == [PERSON, PERSON, PERSON, DOUBTFUL]
    assert merge(listed, np.empty((0, 4)), np.empty(0), trusted=False)[1].tolist() == [DOUBTFUL, DOUBTFUL]


@pytest.fixture
def data(tmp_path):
    """Three pictures with a bright box each, on which somebody is."""
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(3):
        picture = np.full((80, 100, 3), 40, np.uint8)
        picture[20:60, 30:70] = 250
        cv2.imwrite(str(tmp_path / f"images/train/{number}.png"), picture)
        (tmp_path / f"labels/train/{number}.txt").write_text("0 0.5 0.5 0.4 0.5\n1 0.1 0.1 0.1 0.1\n")
    return tmp_path


def test_boxes_follow_what_is_done_to_the_picture(data, monkeypatch):
    monkeypatch.setattr(person_nano, "in_other_light", lambda picture, random: picture)
    pictures = Pictures(data, 256)
    for mosaic in (0.0, 1.0):
        pictures.mosaic.fill_(mosaic)
        made = [pictures[index] for index in [*range(3)] * 4]
        assert sum(int((boxes[:, 2] > 0).sum()) for _, boxes in made) > 6
        for picture, boxes in made:
            for x0, y0, x1, y1, doubtful in boxes[boxes[:, 2] > 0].round().int().tolist():
                bright = (picture[0, y0:y1, x0:x1] > 180).float().mean()
                assert bright == 0 if doubtful else bright > 0.8


def test_a_training_writes_a_detector_and_what_a_checkpoint_has_when_the_time_is_over(data, tmp_path, monkeypatch):
    save_centernet(tmp_path / "start.safetensors", imgsz=96)
    out = tmp_path / "out"
    words = ["--data", data, "--out", out, "--init", tmp_path / "start.safetensors", "--side", SIDE, "--batch", 2]

    def trained(minutes: float) -> tuple[int, dict[str, torch.Tensor]]:
        options = [*words, "--workers", 0, "--export-side", 96, "--minutes", minutes]
        monkeypatch.setattr("sys.argv", ["person_nano.py", *map(str, options)])
        person_nano.main()
        options = {"engine": "torch", "device": "cpu", "min_score": 0.1, "input_size": None, "threads": 1}
        detector, _ = load_detector(out / "person-nano.safetensors", **options)
        assert (detector.input_size, detector.start_score) == (96, person_nano.START_SCORE)
        step = torch.load(out / "checkpoint.pt", weights_only=True)["step"]
        return step, load_file(out / "person-nano.safetensors")

    steps, weights = trained(0.1)
    (out / "person-nano.safetensors").unlink()
    again, same = trained(0.001)
    start = load_file(tmp_path / "start.safetensors")
    assert steps == again > 0 and all((same[name] == weight).all() for name, weight in weights.items())
    assert any((start[name] != weight).any() for name, weight in weights.items())
