"""Raw windows whose joints can be seen: a bright dot at each of them."""

import cv2
import numpy as np

from jmpose.config import Preprocess
from jmpose.keypoints import COCO17
from jmpose_cli.data.samples import Labels, RawWindow

PREPROCESS = Preprocess(128, 96, "coco17", heatmap_sigma=1.0, window_offsets=(-2, 0, 2))
PICTURE_WH = (320, 240)
BOX = np.array([110, 60, 190, 180], np.float32)
SIDES = np.array([2 if joint.startswith("left") else 1 if joint.startswith("right") else 0 for joint in COCO17.joints])
"""Colour channel of each joint's dot: red in the middle, green on the right, blue on the left."""


def spread_joints(*, shift=(0.0, 0.0)):
    """`[17, 2]` integer places inside `BOX`, at least 14 px apart: upper joints above y = 120, lower joints below."""
    places = [(x, y) for y in (70, 86, 102, 136, 154, 172) for x in (120, 140, 160, 180)]
    upper, lower = places[:12], places[12:]
    taken = [lower.pop(0) if joint.endswith(("hip", "knee", "ankle")) else upper.pop(0) for joint in COCO17.joints]
    return np.array(taken, float) + shift


def dotted(xy, *, size_wh=PICTURE_WH):
    """Black picture with a Gaussian dot of 2 px at each joint, in the channel of its side."""
    picture = np.zeros((size_wh[1], size_wh[0], 3), np.float32)
    for (x, y), side in zip(xy, SIDES, strict=True):
        columns, rows = np.exp(-((np.arange(size_wh[0]) - x) ** 2) / 8), np.exp(-((np.arange(size_wh[1]) - y) ** 2) / 8)
        picture[:, :, side] = np.maximum(picture[:, :, side], 255 * np.outer(rows, columns))
    return picture.astype(np.uint8)


def noisy(seed=0, *, size_wh=PICTURE_WH):
    """Smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 255, (size_wh[1] // 8, size_wh[0] // 8, 3), dtype=np.uint8)
    return cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)


def raw_window(pictures, xy, *, is_still=False, weight=1.0):
    """Window of pictures `[T]` and joints `[T, K, 2]`, all known."""
    xy = np.array(xy, float)
    known = np.ones(xy.shape[:2])
    return RawWindow(
        pictures=list(pictures),
        exists=np.ones(len(xy), bool),
        box_xyxy_px=BOX,
        labels=Labels(xy, weight * known, known),
        is_still=is_still,
        name="made up",
    )


def dotted_window(*, moving=(0.0, 0.0), frames=3):
    """Real window whose person moves by `moving` pixels a frame."""
    key = frames // 2
    xy = [spread_joints(shift=np.array(moving) * (t - key)) for t in range(frames)]
    return raw_window([dotted(points) for points in xy], xy)


def still_window(frames=3):
    """One picture of dots, T times."""
    xy = spread_joints()
    return raw_window([dotted(xy)] * frames, [xy] * frames, is_still=True)


def found_dot(crop, channel, near, *, radius=6):
    """Centre of mass of a channel within `radius` pixels of a place."""
    columns, rows = np.meshgrid(np.arange(crop.shape[1]), np.arange(crop.shape[0]))
    mass = crop[:, :, channel] * ((columns - near[0]) ** 2 + (rows - near[1]) ** 2 < radius**2)
    total = mass.sum()
    return np.array([(mass * columns).sum() / total, (mass * rows).sum() / total]) if total else np.full(2, np.nan)
