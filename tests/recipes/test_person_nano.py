"""What the detector is asked for, and a training of a few seconds."""

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import person_nano
from jmpose.nanodet import BINS, Cells, NanoDet
from jmpose_cli.people.detectors import load_detector
from person_nano import Pictures, assign, compare, fit_logits, losses
from person_nano_data import DOUBTFUL, PERSON, merge
from tests.people.tiny_detectors import save_nanodet

SIDE = 64


def told(boxes: torch.Tensor) -> Cells:
    """What cells say when each tells, with certainty, the box of `[P, 4]` that its middle lies in."""
    cells = NanoDet().eval()(torch.zeros(1, 3, SIDE, SIDE))
    scores, sides = torch.full_like(cells.scores, -20.0), torch.full_like(cells.sides, -50.0)
    for box in boxes:
        inside = ((cells.middles > box[:2]) & (cells.middles < box[2:])).all(-1)
        distances = torch.cat([cells.middles - box[:2], box[2:] - cells.middles], -1) / cells.strides[:, None]
        for cell in inside.nonzero()[:, 0].tolist():
            scores[0, cell] = 20.0
            for side, distance in enumerate(distances[cell].clamp(max=BINS - 1.01).tolist()):
                below = int(distance)
                share = torch.tensor([below + 1 - distance, distance - below]).clamp(min=1e-9)
                sides[0, cell, side, below : below + 2] = share.log()
    return cells._replace(scores=scores, sides=sides)


def filled(*rows: list[float]) -> torch.Tensor:
    return torch.cat([torch.tensor([*rows]), torch.zeros(6 - len(rows), 5)])[None]


def test_cells_that_tell_the_boxes_cost_little():
    boxes = torch.tensor([[4.0, 2.0, 20.0, 40.0], [30.0, 20.0, 62.0, 63.0]])
    people = filled(*([*box.tolist(), 0.0] for box in boxes))
    wanted = assign(told(boxes), people)
    assert wanted.counted.all() and wanted.scores.max() == pytest.approx(1, abs=1e-3)
    assert {tuple(box) for box in wanted.boxes[wanted.scores > 0].tolist()} == {tuple(box) for box in boxes.tolist()}
    answers = told(boxes)
    answers = answers._replace(scores=torch.where(wanted.scores > 0, 20.0, -20.0))
    of_scores, of_boxes, _ = losses(answers, wanted)
    assert of_scores < 0.05 and of_boxes < 1e-3
    others = losses(told(boxes + torch.tensor([8.0, 8.0, 0.0, 0.0])), wanted)
    assert others[0] > 1 and others[1] > 0.05


def test_sides_are_held_to_both_bins_around_them():
    people = filled([4.0, 2.0, 21.0, 40.0, 0.0])
    right = told(people[0, :1, :4])
    wanted = assign(right, people)
    _, _, least = losses(right, wanted)
    for change in (-0.5, 0.5):
        sides = right.sides.clone()
        sides[..., 1] += change
        assert losses(right._replace(sides=sides), wanted)[2] > least


@pytest.mark.parametrize("who", ["small", "doubtful"])
def test_people_that_are_small_or_doubtful_are_neither_asked_for_nor_denied(who, monkeypatch):
    people = filled([8.0, 8.0, 24.0, 22.0, float(who == "doubtful")])
    monkeypatch.setattr(person_nano, "SMALLEST", 20 if who == "small" else 1)
    cells = told(people[0, :1, :4])
    wanted = assign(cells, people)
    assert wanted.scores.max() == 0
    assert sorted(cells.middles[~wanted.counted[0]].tolist()) == [[12, 12], [12, 20], [16, 16], [20, 12], [20, 20]]
    assert losses(cells, wanted)[0] < 1e-3 and losses(cells, assign(cells, torch.zeros_like(people)))[0] > 1


def test_listed_boxes_that_the_teacher_does_not_know_are_doubtful_unless_trusted():
    listed = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], float)
    found = np.array([[1, 0, 10, 20], [80, 0, 90, 20], [20, 0, 30, 20]], float)
    scores = np.array([0.15, 0.9, 0.2])
    boxes, kinds = merge(listed, found, scores, trusted=False)
    assert boxes[:, 0].tolist() == [0, 50, 80, 20]
    assert kinds.tolist() == [PERSON, DOUBTFUL, PERSON, DOUBTFUL]
    assert merge(listed, found, scores, trusted=True)[1].tolist() == [PERSON, PERSON, PERSON, DOUBTFUL]
    assert merge(listed, np.empty((0, 4)), np.empty(0), trusted=False)[1].tolist() == [DOUBTFUL, DOUBTFUL]


def test_boxes_are_right_once_a_person_and_do_not_count_on_doubtful_ones():
    people = np.array([[0, 0, 10, 20], [40, 0, 50, 20], [80, 0, 90, 20]], float)
    found = people[[0, 0, 1, 2]] + [[0], [1], [1], [30]]
    counted, right = compare(found, people, np.array([False, True, False]))
    assert counted.tolist() == [True, True, False, True] and right.tolist() == [True, False, False, False]
    counted, right = compare(found, np.empty((0, 4)), np.empty(0, bool))
    assert counted.all() and not right.any()


def test_calibrated_scores_are_shares_of_right_boxes():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, 20_000)
    truth = 1 / (1 + np.exp(-(2.5 * np.log(scores / (1 - scores)) - 1)))
    scale, shift = fit_logits(scores, rng.random(len(scores)) < truth)
    assert scale == pytest.approx(2.5, abs=0.1) and shift == pytest.approx(-1, abs=0.1)


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
    save_nanodet(tmp_path / "start.safetensors", imgsz=96)
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
