"""Detectors with random weights, saved as jmpose saves them."""

import json
from pathlib import Path

import torch

# The neck and head of ultralytics' YOLO26n (AGPL-3.0) with one class, narrowed, on MobileNetV2 of torchvision.
YOLO = {
    "nc": 1,
    "end2end": True,
    "reg_max": 1,
    "scale": "n",
    "scales": {"n": [0.33, 0.0625, 256]},
    "backbone": [
        [-1, 1, "TorchVision", [320, "mobilenet_v2", "None", True, 2, True]],
        [0, 1, "Index", [32, 7]],  # stride 8
        [0, 1, "Index", [96, 14]],  # stride 16
        [0, 1, "Index", [320, 18]],  # stride 32
        [-1, 1, "SPPF", [1024, 5, 3, True]],
        [-1, 2, "C2PSA", [1024]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 2, "C3k2", [512, True]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 1], 1, "Concat", [1]],
        [-1, 2, "C3k2", [256, True]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 8], 1, "Concat", [1]],
        [-1, 2, "C3k2", [512, True]],
        [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 5], 1, "Concat", [1]],
        [-1, 1, "C3k2", [1024, True, 0.5, True]],
        [[11, 14, 17], 1, "Detect", ["nc"]],
    ],
}


def save_yolo(path: Path, *, imgsz: int) -> None:
    """Write a narrow YOLO26."""
    from copy import deepcopy

    from ultralytics.nn.tasks import DetectionModel

    from jmpose_cli.people.detect_yolo import save_detector

    torch.manual_seed(0)
    model = DetectionModel(deepcopy(YOLO), verbose=False)
    model.names = {0: "person"}
    save_detector(model, path, imgsz=imgsz)


def save_nanodet(path: Path, *, imgsz: int) -> None:
    """Write a NanoDet whose scores and boxes differ from cell to cell."""
    from jmpose.nanodet import NanoDet
    from jmpose_cli.people.detect_nanodet import save_nanodet_detector

    torch.manual_seed(0)
    network = NanoDet()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):  # as it begins, such a network answers any picture alike
                torch.nn.init.kaiming_normal_(layer.weight)
                layer.bias.zero_()
        for head in network.heads:
            head[-1].weight.mul_(0.1)
    save_nanodet_detector(network, path, imgsz=imgsz, start_score=0.4)


def copied(tiny: Path, folder: Path, **change: object) -> Path:
    """Copy a detector, with a description that says something else."""
    target = folder / tiny.name
    target.write_bytes(tiny.read_bytes())
    description = json.loads(tiny.with_suffix(".json").read_text()) | change
    target.with_suffix(".json").write_text(json.dumps(description))
    return target


def truncated(tiny: Path, folder: Path) -> Path:
    """Copy a detector, with the beginning of its weights only."""
    path = copied(tiny, folder)
    path.write_bytes(path.read_bytes()[:5000])
    return path
