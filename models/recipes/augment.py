"""Training crops from patches: one affine, colour, blur, occlusion. NumPy and OpenCV only.

Every random choice comes from the generator passed in, so a sample is a function of its seed.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jmpose.keypoints import COCO17_HEAD

UPPER = [i for i, n in enumerate(COCO17_HEAD.joints) if not n.endswith(("hip", "knee", "ankle"))]
LOWER = [i for i, n in enumerate(COCO17_HEAD.joints) if n.endswith(("hip", "knee", "ankle"))]
FLIP = list(COCO17_HEAD.flip_index)
CROP_HEIGHT = 256  # of the crop that a patch is made for


@dataclass(frozen=True)
class Labels:
    """Joint labels of one patch: `xy` [K, 2] in pixels, `weight` [K] of the loss, `present` [K] 0 or 1."""

    xy: np.ndarray
    weight: np.ndarray
    present: np.ndarray


def random_affine(rng: np.random.Generator, labels: Labels, patch_hw: tuple[int, int], height: int) -> np.ndarray:
    """Draw the affine `[2, 3]` from patch pixels to pixels of a crop `height` tall (width 3/4 of it).

    Rotation (sd 25 degrees, in 60 % of samples), scale 0.7 to 1.35, shift, mirror, half body in 25 %.
    """
    centre = (np.array([patch_hw[1], patch_hw[0]]) - 1) / 2
    shown = CROP_HEIGHT  # patch pixels that fill the crop's height
    if rng.random() < 0.25:
        half = np.array(UPPER if rng.random() < 0.65 else LOWER)
        half = half[(labels.weight[half] > 0) & (labels.present[half] > 0)]
        if len(half) >= 4:
            low, high = labels.xy[half].min(0), labels.xy[half].max(0)
            size = max(high[1] - low[1], (high[0] - low[0]) * 4 / 3) * 1.5
            centre, shown = (low + high) / 2, float(np.clip(size, 96, CROP_HEIGHT))
    scale = height / shown * np.exp(rng.uniform(-0.35, 0.3))
    angle = np.deg2rad(np.clip(rng.normal(0, 25), -60, 60)) if rng.random() < 0.6 else 0.0
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    width = height * 3 // 4
    target = (np.array([width, height]) - 1) / 2 + rng.uniform(-0.07, 0.07, 2) * height
    return np.concatenate([linear, (target - linear @ centre)[:, None]], 1)


def warp_labels(labels: Labels, affine: np.ndarray, height: int) -> Labels:
    """Move labels into the crop; joints that fall outside become absent, a mirror swaps left and right."""
    xy = labels.xy @ affine[:, :2].T + affine[:, 2]
    weight, present = labels.weight.copy(), labels.present.copy()
    width = height * 3 // 4
    outside = ((xy < -0.5) | (xy > np.array([width, height]) - 0.5)).any(1) & (present > 0)
    present[outside] = 0
    weight[outside] *= 0.3
    if np.linalg.det(affine[:, :2]) < 0:
        xy, weight, present = xy[FLIP], weight[FLIP], present[FLIP]
    return Labels(xy.astype(np.float32), weight, present)


def warp(patch: np.ndarray, affine: np.ndarray, height: int) -> np.ndarray:
    """Resample a patch `[H, W, 3]` uint8 to a crop `[height, 3/4 height, 3]`."""
    return cv2.warpAffine(patch, affine, (height * 3 // 4, height), flags=cv2.INTER_LINEAR)


def colour(rng: np.random.Generator) -> "ColourChange":
    """Draw a colour change to be applied alike to all frames of a window."""
    gain = rng.uniform(0.6, 1.4) * rng.uniform(0.88, 1.12, 3)
    return ColourChange(gain, rng.uniform(-30, 30), np.exp(rng.uniform(-0.35, 0.35)), rng.random() < 0.08)


@dataclass(frozen=True)
class ColourChange:
    """Per-channel gain, offset in grey levels, gamma, and whether colour is removed."""

    gain: np.ndarray
    offset: float
    gamma: float
    grey: bool

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """Apply to a crop `[H, W, 3]` uint8."""
        level = 255 * (np.arange(256) / 255) ** self.gamma
        table = np.clip(level[:, None] * self.gain + self.offset, 0, 255).astype(np.uint8)
        crop = cv2.LUT(crop, table[:, None, :])
        if self.grey:
            crop = np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        return crop


def motion_blur(crop: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Blur along a straight line of `length` pixels at `angle` radians."""
    size = int(np.ceil(length)) | 1
    if size < 3:
        return crop
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    step = np.array([np.cos(angle), np.sin(angle)]) * (length / 2)
    ends = [tuple(round(v * 16) for v in (middle + sign * step)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return cv2.filter2D(crop, -1, kernel / max(kernel.sum(), 1e-6))


def degrade(rng: np.random.Generator, crop: np.ndarray, strength: float) -> np.ndarray:
    """Apply at most one of motion blur, defocus, low resolution, noise, JPEG; `strength` 0..1."""
    height = crop.shape[0]
    kind = rng.integers(5)
    if kind == 0:
        return motion_blur(crop, height * (0.02 + 0.1 * strength * rng.random()), rng.uniform(0, np.pi))
    if kind == 1:
        return cv2.GaussianBlur(crop, (0, 0), height * (0.004 + 0.022 * strength * rng.random()))
    if kind == 2:
        factor = 1 / (1.3 + 3.5 * strength * rng.random())
        small = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if kind == 3:
        noise = rng.normal(0, 4 + 22 * strength * rng.random(), crop.shape)
        return np.clip(crop + noise, 0, 255).astype(np.uint8)
    quality = int(60 - 50 * strength * rng.random())
    return cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@dataclass(frozen=True)
class Occluder:
    """A textured shape that hides part of a crop: `texture` [h, w, 3] and `mask` [h, w] uint8."""

    texture: np.ndarray
    mask: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, patch: np.ndarray, height: int, largest: float = 0.35) -> "Occluder":
        """Cut a random ellipse or box, up to `largest` of the crop's height, out of another patch."""
        h, w = (max(int(height * rng.uniform(0.08, largest)), 4) for _ in range(2))
        h, w = min(h, patch.shape[0] - 1), min(w, patch.shape[1] - 1)
        top, left = rng.integers(patch.shape[0] - h), rng.integers(patch.shape[1] - w)
        mask = np.zeros((h, w), np.uint8)
        if rng.random() < 0.5:
            mask[:] = 255
        else:
            cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 255, -1)
        texture = patch[top : top + h, left : left + w]
        if rng.random() < 0.4:
            texture = np.broadcast_to(texture.reshape(-1, 3).mean(0).astype(np.uint8), (h, w, 3))
        return cls(np.ascontiguousarray(texture), mask)

    def paste(self, crop: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """Give a copy of `crop` with the shape centred at `centre` (x, y), clipped to the picture."""
        h, w = self.mask.shape
        left, top = round(float(centre[0]) - w / 2), round(float(centre[1]) - h / 2)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + w, crop.shape[1]), min(top + h, crop.shape[0])
        out = crop.copy()
        if x1 > x0 and y1 > y0:
            part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
            hidden = self.mask[part] > 0
            out[y0:y1, x0:x1][hidden] = self.texture[part][hidden]
        return out
