"""A small PoseTrack data set out of the rendered example, and settings that train on it in seconds."""

import json

import av
import numpy as np
import pytest
import yaml

from jmpose_cli.config import load_settings
from jmpose_cli.training.config import TrainConfig
from tests.conftest import ROOT

CLIP, TRUTH = ROOT / "examples/street.mp4", ROOT / "examples/street.posetrack18.json"
FRAMES = range(40, 52)
VIDEO = "000001_street"

TINY = {
    "model": "nano",
    "change": {
        "channels": 8,
        "head_channels": 8,
        "mutual_blocks": 1,
        "preprocess": {"input_height": 64, "input_width": 64, "window_offsets": [-1, 0, 1]},
    },
    "threads": 1,
    "device": "cpu",
    "data": {
        "train": [{"kind": "posetrack", "split": "train"}],
        "val": [{"kind": "posetrack", "split": "val"}],
        "reach": 2,
        "workers": 0,
    },
    "optim": {"backbone_lr": 1e-3, "batch": 4, "epochs": 2, "warmup_steps": 0},
}


@pytest.fixture(scope="session")
def posetrack(tmp_path_factory):
    """Root of a data set with one video, which is both its training and its validation split."""
    root = tmp_path_factory.mktemp("posetrack")
    (root / "images" / VIDEO).mkdir(parents=True)
    with av.open(str(CLIP)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in FRAMES:
                frame.to_image().save(root / "images" / VIDEO / f"{number - FRAMES[0]:06d}.jpg", quality=90)
    content = json.loads(TRUTH.read_text())
    ids = {content["images"][number]["id"]: place for place, number in enumerate(FRAMES)}
    images = [
        {"id": place, "file_name": f"images/{VIDEO}/{place:06d}.jpg", "is_labeled": True} for place in ids.values()
    ]
    people = [p | {"image_id": ids[p["image_id"]]} for p in content["annotations"] if p["image_id"] in ids]
    for split in ("train", "val"):
        (root / "annotations" / split).mkdir(parents=True)
        text = json.dumps({"images": images, "annotations": people, "categories": content["categories"]})
        (root / "annotations" / split / f"{VIDEO}.json").write_text(text)
    return root


@pytest.fixture
def settings(posetrack, tmp_path):
    """Build the tiny settings with some of them changed, as `section.key=value`."""

    def build(*assignments):
        tree = json.loads(json.dumps(TINY))
        tree["data"]["root"] = str(posetrack)
        file = tmp_path / "tiny-settings.yaml"
        file.write_text(yaml.safe_dump(tree))
        return load_settings(TrainConfig, file=file, assignments=assignments, options={})

    return build


def weights_of(path):
    """Tensors of a weights file."""
    from safetensors.numpy import load_file

    return {name: np.asarray(value) for name, value in load_file(path).items()}
