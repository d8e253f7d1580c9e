import json
import time
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.people.detect_yolo import YoloDetector, load_saved, planned_weights
from jmpose_cli.people.yolo_description import check_network
from tests.people.tiny_detectors import copied, save_yolo, truncated


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_yolo(path, imgsz=128)
    return path


def frames(count: int, *, height: int = 90, width: int = 160) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


def text(tiny: Path, folder: Path) -> Path:
    (folder / "text.pt").write_text("not weights")
    return folder / "text.pt"


def lonely(tiny: Path, folder: Path) -> Path:
    (folder / "alone.safetensors").write_bytes(tiny.read_bytes())
    return folder / "alone.safetensors"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "tiny.safetensors: no readable detector"),
        (text, "text.pt: no readable detector"),
        (lonely, "alone.safetensors: no readable detector"),
        (lambda tiny, folder: copied(tiny, folder, kind="pose"), "kind is 'pose', expected 'yolo-detector'"),
        (lambda tiny, folder: copied(tiny, folder, names={"0": "dog"}), "without the class 'person'"),
    ],
)
def test_bad_weights(tiny, tmp_path, make, message):
    with pytest.raises(JmposeError, match=message.replace(".", r"\.")) as caught:
        YoloDetector(make(tiny, tmp_path), device="cpu", min_score=0.5)
    assert caught.value.hint


class Runs:
    """Runs code where it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self):
        return (Path.touch, (self.made,))


@pytest.fixture(scope="module")
def checkpoint(tiny) -> dict[str, object]:
    """What ultralytics would save of the tiny network."""
    model = load_saved(tiny)[0].half()
    return {"model": model, "ema": None, "train_args": {"imgsz": [96, 128]}, "date": "2026"}


def saved(content: object, folder: Path, name: str = "x.pt") -> Path:
    import torch

    torch.save(content, folder / name)
    return folder / name


def test_a_checkpoint_of_ultralytics_finds_what_the_network_in_it_finds(tiny, checkpoint, tmp_path):
    ours = YoloDetector(tiny, device="cpu", min_score=0.0001)
    theirs = YoloDetector(saved(checkpoint, tmp_path), device="cpu", min_score=0.0001)
    assert theirs.input_size == 128
    pairs = zip(ours.detect(frames(2)), theirs.detect(frames(2)), strict=True)
    for expected, found in pairs:
        assert len(found) > 0
        np.testing.assert_allclose(found.boxes_xyxy_px, expected.boxes_xyxy_px, atol=0.05)


@pytest.mark.parametrize("where", ["alone", "model", "beside", "inside", "legacy"])
def test_no_code_in_a_checkpoint_is_run(checkpoint, tmp_path, where):
    import torch

    made = tmp_path / "made"
    code = Runs(made)
    if where == "inside":
        model = deepcopy(checkpoint["model"])
        model.extra = code
        content: object = checkpoint | {"model": model}
    else:
        content = {"alone": code, "model": {"model": code}, "beside": checkpoint | {"notes": code}}.get(where, code)
    path = saved(content, tmp_path)
    if where == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(JmposeError, match=r"refused, because reading it would run|no readable detector"):
        YoloDetector(path, device="cpu", min_score=0.5)
    assert not made.exists()


def compressed(checkpoint: dict[str, object], folder: Path) -> Path:
    path = saved(checkpoint, folder)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def repeated(checkpoint: dict[str, object], folder: Path) -> Path:
    import torch

    model = deepcopy(checkpoint["model"])
    weight = model.model[-1].cv2[0][0].conv.weight
    weight.data = torch.zeros(1, dtype=weight.dtype).expand(weight.shape)
    return saved(checkpoint | {"model": model}, folder)


def endless(checkpoint: dict[str, object], folder: Path) -> Path:
    model = deepcopy(checkpoint["model"])
    model._modules["again"] = model
    return saved(checkpoint | {"model": model}, folder)


def renamed(checkpoint: dict[str, object], folder: Path) -> Path:
    model = deepcopy(checkpoint["model"])
    model.yaml["activation"] = "print('nn.SiLU()') or torch.nn.SiLU()"
    return saved(checkpoint | {"model": model}, folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (compressed, "it is compressed"),
        (repeated, "no plain tensor"),
        (endless, "too many parts"),
        (renamed, "activation"),
        (lambda c, folder: saved(c | {"train_args": {"imgsz": 10**6}}, folder), "imgsz: 1000000 is not"),
        (lambda c, folder: saved(c | {"model": [c]}, folder), "not a detection network"),
        (lambda c, folder: saved(c | {"model": c["model"].model}, folder), "not a detection network"),
        (lambda c, folder: saved([1], folder), "not a detection network"),
    ],
)
def test_a_checkpoint_that_is_no_detector_of_ultralytics(checkpoint, tmp_path, make, message):
    with pytest.raises(JmposeError, match=message):
        YoloDetector(make(checkpoint, tmp_path), device="cpu", min_score=0.5)


def edited(key: str, value: object) -> Callable[[dict], None]:
    def edit(description: dict) -> None:
        *path, last = key.split(".")
        place = description
        for step in path:
            place = place[int(step) if isinstance(place, list) else step]
        place[int(last) if isinstance(place, list) else last] = value

    return edit


CODE = "__import__('pathlib').Path('made').touch() or torch.nn.SiLU()"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edited("yaml.activation", CODE), "activation"),
        (edited("yaml.activation", "nn.modules.os"), "activation"),
        (edited("yaml.activation", ["nn.SiLU()"]), "activation: a list"),
        (edited("yaml.backbone.0.2", "nn.Module.__init__"), "layer 0 is a 'nn.Module"),
        (edited("yaml.backbone.0.2", "torchvision.ops.os"), "layer 0"),
        (edited("yaml.backbone.0.2", "load_checkpoint"), "which no known detector has"),
        (edited("yaml.backbone.0.2", ["Conv"]), "layer 0 is a a list|layer 0 is a"),
        (edited("yaml.backbone.0.3", [320, CODE, "None", True, 2, True]), "layer 0, TorchVision"),
        (edited("yaml.backbone.0.3", [320, "mobilenet_v2", "DEFAULT", True, 2, True]), "'DEFAULT' is not one of"),
        (edited("yaml.backbone.5.1", 10**6), "repeats: 1000000 is not a whole number from 1 to 64"),
        (edited("yaml.backbone.5.1", 2.0), "repeats"),
        (edited("yaml.backbone.5.3", [10**9]), "layer 5, C2PSA: 1000000000"),
        (edited("yaml.backbone.5.3", ["max_channels"]), "layer 5, C2PSA: 'max_channels'"),
        (edited("yaml.backbone.5.0", -9), "layer 5, from"),
        (edited("yaml.backbone.5", [[[]]]), "layer 5 is a list"),
        (edited("yaml.backbone", "Conv"), "backbone is 'Conv'"),
        (edited("yaml.head", []), "a detector ends in|layer"),
        (edited("yaml.scales", {"n": [1000.0, 0.25, 1024]}), "scale n: 1000.0"),
        (edited("yaml.scales", {"n": [0.33, float("nan"), 256]}), "scale n: nan"),
        (edited("yaml.scales", 5), "scales is 5"),
        (edited("yaml.scale", "q"), "scale 'q'"),
        (edited("yaml.nc", 10**12), "nc: 1000000000000"),
        (edited("yaml.nc", True), "nc: True"),
        (edited("yaml.nc", 2), "does not hold the weights"),
        (edited("yaml.reg_max", 10**6), "reg_max"),
        (edited("yaml.channels", 10**6), "channels is 1000000"),
        (edited("yaml", None), "the network is None"),
        (edited("imgsz", 10**6), "imgsz: 1000000"),
        (edited("imgsz", "640"), "imgsz: '640'"),
        (edited("imgsz", None), "imgsz: None"),
        (edited("names", None), "names is None"),
        (edited("names", {"x": "person"}), "class 'x'"),
        (edited("names", {"0": ["person"]}), "class '0' is a list"),
    ],
)
def test_a_description_that_is_not_that_of_a_known_detector_builds_nothing(tiny, tmp_path, monkeypatch, edit, message):
    monkeypatch.chdir(tmp_path)
    path = copied(tiny, tmp_path)
    description = json.loads(path.with_suffix(".json").read_text())
    edit(description)
    path.with_suffix(".json").write_text(json.dumps(description))
    started = time.monotonic()
    with pytest.raises(JmposeError, match=message):
        YoloDetector(path, device="cpu", min_score=0.5)
    assert not (tmp_path / "made").exists() and time.monotonic() - started < 10


def test_a_network_that_grows_its_pictures_is_not_run():
    grow = {"nc": 1, "backbone": [[-1, 1, "nn.Upsample", ["None", 2, "nearest"]]] * 12}
    network = check_network(grow | {"head": [[[-1], 1, "Detect", ["nc"]]]})
    with pytest.raises(ValueError, match="too much memory"):
        planned_weights(network, 640)


@pytest.mark.parametrize("name", ["v8/yolov8", "v9/yolov9c", "v10/yolov10n", "11/yolo11", "12/yolo12", "26/yolo26-p6"])
def test_descriptions_of_published_detectors_are_known(name):
    import yaml
    from ultralytics.utils import ROOT as PACKAGE

    description = yaml.safe_load((PACKAGE / "cfg" / "models" / f"{name}.yaml").read_text())
    checked = check_network(description)
    assert len(checked["backbone"]) == len(description["backbone"]) and checked["head"] == description["head"]
