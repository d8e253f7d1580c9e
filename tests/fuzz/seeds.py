"""Small valid files to begin with, each made once in a process."""

import io
import json
import multiprocessing
import os
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutate import RUNS_CODE
from tests.video_assets import draw_number, make_video

SIZE_WH = (64, 48)
FRAMES = 3

# The encoder and its pixel format by file name; all are quick.
_CONTAINERS = {
    "v.mp4": ("libx264", "yuv420p", None),
    "sound.mp4": ("libx264", "yuv420p", "aac"),
    "v.mov": ("mpeg4", "yuv420p", None),
    "v.mkv": ("libx264", "yuv420p", None),
    "v.avi": ("mpeg4", "yuv420p", None),
    "v.ts": ("libx264", "yuv420p", None),
    "v.webm": ("libvpx", "yuv420p", None),
    "v.flv": ("flv", "yuv420p", None),
    "v.h264": ("libx264", "yuv420p", None),
    "jpeg.mov": ("mjpeg", "yuvj420p", None),
    "deep.mkv": ("ffv1", "yuv420p10le", None),
}


@cache
def videos() -> dict[str, bytes]:
    """Containers and codecs, three frames each, and some that are turned or of odd pixels."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (codec, pix_fmt, audio) in _CONTAINERS.items():
            path = Path(folder) / name
            frames = 30 if name == "v.ts" else FRAMES  # its packets are recognised by their repetition
            make_video(
                path, frames=frames, size=SIZE_WH, codec=codec, pix_fmt=pix_fmt, audio=audio, time_base=Fraction(1, 25)
            )
            made[name] = path.read_bytes()
        for name, more in {"turned.mp4": {"rotation": 90}, "late.mp4": {"timestamps": (3600, 3601, 3605)}}.items():
            path = Path(folder) / name
            make_video(path, frames=FRAMES, size=SIZE_WH, **more)  # type: ignore[arg-type]
            made[name] = path.read_bytes()
    return made


@cache
def images() -> dict[str, bytes]:
    """Still pictures and such of several pages, by file name."""
    import cv2
    from PIL import Image

    made = {}
    pages = [draw_number(number, width=SIZE_WH[0], height=SIZE_WH[1]) for number in range(3)]
    for suffix in ("png", "jpg", "bmp", "webp", "tif"):
        made[f"0.{suffix}"] = cv2.imencode(f".{suffix}", pages[0][:, :, ::-1])[1].tobytes()
    made["grey.png"] = cv2.imencode(".png", pages[0][:, :, 0])[1].tobytes()
    made["deep.png"] = cv2.imencode(".png", pages[0][:, :, 0].astype(np.uint16) * 200)[1].tobytes()
    stills = [Image.fromarray(page) for page in pages]
    for name, kind in (("pages.tif", "TIFF"), ("moving.webp", "WEBP"), ("moving.gif", "GIF"), ("moving.png", "PNG")):
        buffer = io.BytesIO()
        stills[0].save(buffer, kind, save_all=True, append_images=stills[1:])
        made[name] = buffer.getvalue()
    return made


@cache
def poses() -> dict[str, Any]:
    """Pose files of each format as trees, two people in three frames, and MOT text."""
    from jmpose_cli.formats.read import read_poses
    from jmpose_cli.handover.write import write_poses

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "000001_clip.json"
        source.write_text(json.dumps(_posetrack18()))
        made: dict[str, Any] = {"posetrack18": _posetrack18()}
        for kind in ("posetrack17", "posetrack21", "coco", "coco-results", "mot"):
            target = Path(folder) / kind / ("000001_clip.txt" if kind == "mot" else "000001_clip.json")
            target.parent.mkdir()
            write_poses(read_poses(source), target, to=kind)
            text = target.read_text()
            made[kind] = text if kind == "mot" else json.loads(text)
    return made


def _posetrack18() -> dict[str, Any]:
    from jmpose.keypoints import POSETRACK18

    images = [
        {
            "id": 1000 + number,
            "frame_id": 1000 + number,
            "file_name": f"images/val/000001_clip/{number:06d}.png",
            "vid_id": "000001",
            "is_labeled": True,
            "width": SIZE_WH[0],
            "height": SIZE_WH[1],
            "nframes": FRAMES,
            "ignore_regions_x": [[0, 5, 5]],
            "ignore_regions_y": [[0, 0, 5]],
        }
        for number in range(FRAMES)
    ]
    people = []
    for number in range(FRAMES):
        for track in (1, 2):
            x, y = 20.0 * track, 10.0
            joints = [value for k in range(len(POSETRACK18.joints)) for value in (x + k / 2, y + k, 1)]
            people.append(
                {
                    "id": 100 * track + number,
                    "image_id": 1000 + number,
                    "track_id": track,
                    "category_id": 1,
                    "bbox": [x - 5, y - 5, 20.0, 30.0],
                    "bbox_head": [x, y, 6.0, 8.0],
                    "keypoints": joints,
                    "scores": [0.5] * len(POSETRACK18.joints),
                    "score": 0.75,
                    "area": 600.0,
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(POSETRACK18.joints), "skeleton": []}
    ]
    return {"images": images, "annotations": people, "categories": categories}


@cache
def frames_of_poses() -> dict[str, bytes]:
    """The pictures that `poses` names."""
    import cv2

    return {
        f"images/val/000001_clip/{number:06d}.png": cv2.imencode(
            ".png", draw_number(number, width=SIZE_WH[0], height=SIZE_WH[1])
        )[1].tobytes()
        for number in range(FRAMES)
    }


def data_set() -> dict[str | bytes, bytes | None]:
    """A data set of one video for training, below `data`."""
    files: dict[str | bytes, bytes | None] = {f"data/{name}": data for name, data in frames_of_poses().items()}
    return files | {"data/annotations/val/000001_clip.json": json.dumps(poses()["posetrack18"]).encode()}


def settings() -> dict[str, Any]:
    """All settings of `infer`, as its YAML has them."""
    from jmpose_cli.config import InferConfig

    tree = InferConfig().model_dump(mode="json")
    tree["run"]["workers"] = 0
    tree["output"]["overlay"] = False
    return tree


def training() -> dict[str, Any]:
    """Settings of a training run that takes a second."""
    vit = {"width": 32, "layers": 1, "heads": 2}
    offsets = [-1, 0, 1]
    return {
        "model": {
            "name": "tiny",
            "backbone": {"kind": "vitpose", "timm_name": "", "channels": 256, "vit": vit},
            "preprocess": {
                "input_height": 32,
                "input_width": 32,
                "keypoint_set": "posetrack18",
                "heatmap_sigma": 1.0,
                "window_offsets": offsets,
            },
            "channels": 8,
            "head_channels": 8,
            "mutual_blocks": 1,
        },
        "change": {"dilation": 1},
        "threads": 1,
        "device": "cpu",
        "data": {
            "root": "data",
            "train": [{"kind": "posetrack", "split": "val", "weight": 1.0}],
            "val": [{"kind": "posetrack", "split": "val", "name": "all", "max_videos": 1}],
            "reach": 1,
            "workers": 0,
            "cache": "out/cache",
        },
        "augment": {"rotation_deg": 10.0, "flip": 0.5, "half_body_joints": 8},
        "optim": {"lr": 1e-3, "backbone_lr": 1e-3, "batch": 2, "epochs": 2, "warmup_steps": 0, "sizes": [[1.0, 0]]},
        "save": {"keep": 1},
    }


def folder_of_vitpose() -> dict[str, bytes]:
    """A tiny ViTPose as transformers saves it."""
    return _weights()["vitpose"]


def model() -> dict[str, bytes]:
    """A tiny pose model as jmpose saves it: `tiny.safetensors` and its JSON."""
    return _weights()["model"]


def detectors() -> tuple[dict[str, bytes], ...]:
    """A NanoDet and a tiny YOLO as jmpose saves them: `tiny.safetensors` and its JSON."""
    return _weights()["nanodet"], _weights()["yolo"]


def folder_of_detector() -> dict[str, bytes]:
    """A tiny RT-DETR as transformers saves it."""
    return _weights()["rt_detr"]


def checkpoint() -> bytes:
    """What `torch.save` makes of a few tensors, as projects publish weights."""
    return _weights()["checkpoints"]["plain"]


def evil_checkpoints() -> list[bytes]:
    """Checkpoints that run code where they are unpickled."""
    return [data for name, data in _weights()["checkpoints"].items() if name != "plain"]


@cache
def _weights() -> dict[str, dict[str, bytes]]:
    """All files that torch is needed for, made in a process apart: it takes a gigabyte."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        return apart.submit(_make_weights).result()


def _make_weights() -> dict[str, dict[str, bytes]]:
    import torch

    from jmpose.pretrained import load_vitpose
    from jmpose.weights import save_model
    from tests.jmpose.tiny_vitpose import save_vitpose
    from tests.people.test_detect_transformers import network, save
    from tests.people.tiny_detectors import save_nanodet, save_yolo

    with tempfile.TemporaryDirectory() as name:
        folders = {kind: Path(name) / kind for kind in ("vitpose", "model", "nanodet", "yolo", "rt_detr")}
        for folder in folders.values():
            folder.mkdir()
        save_vitpose(folders["vitpose"])
        save_model(load_vitpose(folders["vitpose"]), folders["model"] / "tiny.safetensors")
        save_nanodet(folders["nanodet"] / "tiny.safetensors", imgsz=64)
        save_yolo(folders["yolo"] / "tiny.safetensors", imgsz=64)
        save(network("rt_detr"), folders["rt_detr"])
        made = {kind: {file.name: file.read_bytes() for file in folder.iterdir()} for kind, folder in folders.items()}
    names = ("backbone.conv1.weight", "backbone.bn1.running_mean", "keypoint_head.final_layer.bias")
    tensors = {name: torch.zeros(4, 3, 3, 3) if "conv" in name else torch.zeros(4) for name in names}
    checkpoints = {"plain": _saved({"state_dict": tensors, "meta": {"epoch": 3}})}
    for number, call in enumerate(
        ((eval, (RUNS_CODE,)), (os.system, ("touch $HOME/EXECUTED",)), (__import__, ("this",)))
    ):
        tree = {"model": _Evil(call), "state_dict": {}, "epoch": 1}
        checkpoints |= {f"zip {number}": _saved(tree), f"old {number}": _saved(tree, in_zip=False)}
        checkpoints[f"pickle {number}"] = pickle.dumps(tree)
    return made | {"checkpoints": checkpoints}


def _saved(tree: object, *, in_zip: bool = True) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(tree, buffer, _use_new_zipfile_serialization=in_zip)
    return buffer.getvalue()


class _Evil:
    """Calls a function where it is unpickled."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call
