import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from jmpose_cli.config import PeopleConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.detect import YoloDetector, letterbox, save_detector
from tests.conftest import ROOT

SHIPPED = ROOT / "jmpose_cli" / "weights" / "person-nano.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A narrow YOLO26 with random weights, saved as ours."""
    torch = pytest.importorskip("torch")
    import yaml
    from ultralytics.nn.tasks import DetectionModel

    network = yaml.safe_load((ROOT / "models/recipes/person-nano.yaml").read_text())
    network["scales"] = {"n": [0.33, 0.0625, 256]}
    torch.manual_seed(0)
    model = DetectionModel(network, verbose=False)
    model.names = {0: "person"}
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_detector(model, path, imgsz=128)
    return path


def frames(count: int, *, height: int = 90, width: int = 160) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "shape", "scale", "offset"),
    [((90, 160), (96, 128), 0.8, (0, 12)), ((160, 90), (128, 96), 0.8, (12, 0)), ((64, 64), (128, 128), 2.0, (0, 0))],
)
def test_letterbox_keeps_the_shape_and_pads_to_cells(size, shape, scale, offset):
    pictures, got_scale, got_offset = letterbox(np.full((2, *size, 3), 200, np.uint8), 128)
    assert pictures.shape == (2, *shape, 3) and got_scale == pytest.approx(scale) and got_offset == offset
    inside = pictures[0, offset[1] : shape[0] - offset[1], offset[0] : shape[1] - offset[0]]
    assert (inside == 200).all() and (pictures[0] == 114).sum() == pictures[0].size - inside.size


def test_boxes_of_a_frame_do_not_depend_on_its_batch(tiny):
    detector = YoloDetector(tiny, device="cpu", min_score=0.0001)
    pictures = frames(5)
    together = detector.detect(pictures)
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = detector.detect(picture[None])
        assert len(found) > 0
        assert (alone.boxes_xyxy_px == found.boxes_xyxy_px).all() and (alone.scores == found.scores).all()


def test_boxes_lie_in_the_frame_best_first(tiny):
    (found,) = YoloDetector(tiny, device="cpu", min_score=0.0001).detect(frames(1))
    boxes = found.boxes_xyxy_px
    assert boxes.min() >= 0 and (boxes[:, 2] <= 160).all() and (boxes[:, 3] <= 90).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all() and (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (1080, 1920), (64, 96)])
def test_nobody_is_in_a_picture_of_one_colour(size):
    detector = YoloDetector(SHIPPED, device="cpu", min_score=PeopleConfig().min_box_score)
    for brightness in (0, 8, 60, 128, 250, 255):
        (found,) = detector.detect(np.full((1, *size, 3), brightness, np.uint8))
        assert len(found) == 0, brightness


def test_no_frames_and_a_high_threshold(tiny):
    detector = YoloDetector(tiny, device="cpu", min_score=0.99)
    assert detector.detect(frames(0)) == [] and len(detector.detect(frames(1))[0]) == 0


def test_the_input_size_can_be_chosen(tiny):
    assert YoloDetector(tiny, device="cpu", min_score=0.5).input_size == 128
    assert YoloDetector(tiny, device="cpu", min_score=0.5, input_size=64).input_size == 64


def copied(tiny: Path, folder: Path, **change: object) -> Path:
    target = folder / tiny.name
    target.write_bytes(tiny.read_bytes())
    description = json.loads(tiny.with_suffix(".json").read_text()) | change
    target.with_suffix(".json").write_text(json.dumps(description))
    return target


def truncated(tiny: Path, folder: Path) -> Path:
    path = copied(tiny, folder)
    path.write_bytes(path.read_bytes()[:5000])
    return path


def text(tiny: Path, folder: Path) -> Path:
    (folder / "text.pt").write_text("not weights")
    return folder / "text.pt"


def lonely(tiny: Path, folder: Path) -> Path:
    (folder / "alone.safetensors").write_bytes(tiny.read_bytes())
    return folder / "alone.safetensors"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "tiny.safetensors: no readable YOLO detector"),
        (text, "text.pt: no readable YOLO detector"),
        (lonely, "alone.safetensors: no readable YOLO detector"),
        (lambda tiny, folder: copied(tiny, folder, kind="pose"), "kind is 'pose'"),
        (lambda tiny, folder: copied(tiny, folder, names={"0": "dog"}), "without the class 'person'"),
    ],
)
def test_bad_weights(tiny, tmp_path, make, message):
    with pytest.raises(JmposeError, match=message.replace(".", r"\.")) as caught:
        YoloDetector(make(tiny, tmp_path), device="cpu", min_score=0.5)
    assert caught.value.hint or "kind" in message


@pytest.mark.parametrize("teacher", [False, True])
def test_people_are_found_in_real_pictures(shared_data, teacher):
    weights = shared_data / "teachers" / "yolo11n_dequant.pt" if teacher else SHIPPED
    detector = YoloDetector(weights, device="cpu", min_score=0.3)
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
