"""What all detectors of ours on torch do, and what the shipped one finds."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED
from jmpose_cli.people.detect import PersonDetector
from jmpose_cli.people.detector_description import START_SCORE
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.people.letterbox import letterbox
from tests.people.tiny_detectors import copied, save_nanodet, save_yolo

PERSON_NANO = SHIPPED / "person-nano.safetensors"
LOW = 0.0001  # random networks are sure of nothing


def load(weights: Path, *, min_score: float, input_size: int | None = None, threads: int = 1) -> PersonDetector:
    """Load a detector on torch."""
    options = {"min_score": min_score, "input_size": input_size, "threads": threads}
    return load_detector(weights, engine="torch", device="cpu", **options)[0]


@pytest.fixture(scope="module", params=[save_yolo, save_nanodet], ids=["yolo", "nanodet"])
def tiny(request, tmp_path_factory) -> Path:
    """A detector of each kind with random weights."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    request.param(path, imgsz=128)
    return path


def frames(count: int, *, height: int = 90, width: int = 160) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "shape", "scale", "offset"),
    [((90, 160), (96, 128), 0.8, (0, 12)), ((160, 90), (128, 96), 0.8, (12, 0)), ((64, 64), (128, 128), 2.0, (0, 0))],
)
def test_letterbox_keeps_the_shape_and_pads_to_cells(size, shape, scale, offset):
    pictures, got_scale, got_offset = letterbox(np.full((2, *size, 3), 200, np.uint8), 128)
    assert pictures.shape == (2, *shape, 3) and got_scale == pytest.approx((scale, scale)) and got_offset == offset
    inside = pictures[0, offset[1] : shape[0] - offset[1], offset[0] : shape[1] - offset[0]]
    assert (inside == 200).all() and (pictures[0] == 114).sum() == pictures[0].size - inside.size


def test_the_network_sees_square_pixels(tiny):
    square = cv2.resize(frames(1, height=9, width=16)[0], (320, 180))
    wide = cv2.resize(square, (160, 180), interpolation=cv2.INTER_AREA)
    pictures, scale, offset = letterbox(wide[None], 128, pixel_width=2.0)
    expected, both, same_offset = letterbox(square[None], 128)
    assert pictures.shape == expected.shape and offset == same_offset and scale == (2 * both[0], both[1])
    assert np.abs(pictures.astype(int) - expected).max() < 8
    detector = load(tiny, min_score=LOW)
    (found,), (wanted,) = detector.detect(wide[None], pixel_width=2.0), detector.detect(square[None])
    best = found.boxes_xyxy_px[0] * (2, 1, 2, 1)
    assert np.abs(wanted.boxes_xyxy_px - best).max(1).min() < 2


@pytest.mark.parametrize("threads", [1, 2])
def test_boxes_of_a_frame_do_not_depend_on_its_batch(tiny, threads):
    detector = load(tiny, min_score=LOW, threads=threads)
    pictures = frames(5)
    together = detector.detect(pictures)
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = detector.detect(picture[None])
        assert len(found) > 0
        assert (alone.boxes_xyxy_px == found.boxes_xyxy_px).all() and (alone.scores == found.scores).all()
    detector.close()


def test_boxes_lie_in_the_frame_best_first(tiny):
    (found,) = load(tiny, min_score=LOW).detect(frames(1))
    boxes = found.boxes_xyxy_px
    assert boxes.min() >= 0 and (boxes[:, 2] <= 160).all() and (boxes[:, 3] <= 90).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all() and (np.diff(found.scores) <= 0).all()


def test_no_frames_and_a_high_threshold(tiny):
    detector = load(tiny, min_score=0.99)
    assert detector.detect(frames(0)) == [] and len(detector.detect(frames(1))[0]) == 0


def test_the_input_size_can_be_chosen(tiny):
    assert load(tiny, min_score=0.5).input_size == 128
    assert load(tiny, min_score=0.5, input_size=64).input_size == 64


@pytest.mark.parametrize("text", ["[]", "{}", "null", "[" * 100_000, '{"kind": ' * 50_000, "\x00"])
def test_a_description_that_is_no_object(tiny, tmp_path, text):
    path = copied(tiny, tmp_path)
    path.with_suffix(".json").write_text(text)
    with pytest.raises(JmposeError, match="no readable detector"):
        load(path, min_score=0.5)


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (1080, 1920), (64, 96)])
def test_nobody_is_in_a_picture_of_one_colour(size):
    detector = load(PERSON_NANO, min_score=START_SCORE)
    for brightness in (0, 8, 60, 128, 250, 255):
        (found,) = detector.detect(np.full((1, *size, 3), brightness, np.uint8))
        assert len(found) == 0, brightness


@pytest.mark.parametrize("teacher", [False, True])
def test_people_are_found_in_real_pictures(shared_data, teacher):
    detector = load(shared_data / "teachers" / "yolo11n_dequant.pt" if teacher else PERSON_NANO, min_score=0.3)
    coco = json.loads((shared_data / "coco_persons" / "val.json").read_text())
    found = wanted = 0
    for image in coco["images"][:25]:
        people = [a["bbox"] for a in coco["annotations"] if a["image_id"] == image["id"] and a["bbox"][3] > 120]
        picture = cv2.cvtColor(cv2.imread(str(shared_data / "coco_persons" / image["file_name"])), cv2.COLOR_BGR2RGB)
        (boxes,) = detector.detect(picture[None])
        for x, y, w, h in people:
            low = np.maximum(boxes.boxes_xyxy_px[:, :2], [x, y])
            high = np.minimum(boxes.boxes_xyxy_px[:, 2:], [x + w, y + h])
            overlap = np.clip(high - low, 0, None).prod(1)
            union = (boxes.boxes_xyxy_px[:, 2:] - boxes.boxes_xyxy_px[:, :2]).prod(1) + w * h - overlap
            found += bool((overlap / union > 0.5).any())
            wanted += 1
    assert wanted >= 15 and found / wanted >= (0.8 if teacher else 0.4)
