"""What spoils real video: blur along the motion, defocus, moving occluders, low resolution, noise in the dark.

Every random choice comes from the generator passed in, so a window is a function of its seed. Crops are
`[H, W, 3]` uint8 RGB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from jmpose_cli.data.samples import Doubles
from jmpose_cli.values import Bytes

KINDS = ("motion_blur", "defocus", "occluder", "low_resolution", "dark_noise", "compression")


def motion_blur(crop: Bytes, length_px: float, angle: float) -> Bytes:
    """Blur along a straight line of `length_px` pixels at `angle` radians."""
    if length_px < 1:
        return crop
    half = int(np.ceil(length_px / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    # Points along the line, each shared among four cells: a drawn line would be off centre, and shift the joints.
    points = 8 * half
    along = ((np.arange(points) + 0.5) / points - 0.5) * length_px
    x, y = half + along * np.cos(angle), half + along * np.sin(angle)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, below in np.ndindex(2, 2):
        share = np.abs(1 - right - (x - column)) * np.abs(1 - below - (y - row)) / points
        # Cells beyond the edge have no share.
        np.add.at(kernel, (np.minimum(row + below, 2 * half), np.minimum(column + right, 2 * half)), share)
    return _bytes(cv2.filter2D(crop, -1, kernel))


def defocus(crop: Bytes, sigma_px: float) -> Bytes:
    """Blur by a Gaussian."""
    return _bytes(cv2.GaussianBlur(crop, (0, 0), sigma_px))


def low_resolution(crop: Bytes, factor: float) -> Bytes:
    """Shrink by `factor` and enlarge again."""
    small = cv2.resize(crop, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return _bytes(cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def dark_noise(rng: np.random.Generator, crop: Bytes, *, gain: float, grain: float) -> Bytes:
    """Darken by `gain` and add Gaussian noise of `grain` grey levels."""
    return np.clip(crop * gain + rng.normal(0, grain, crop.shape), 0, 255).astype(np.uint8)


def compression(crop: Bytes, quality: int) -> Bytes:
    """Compress as JPEG, quality 1 to 100."""
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _bytes(cv2.imdecode(data, cv2.IMREAD_COLOR))


def own_grain(rng: np.random.Generator, crops: Sequence[Bytes]) -> list[Bytes]:
    """Add mild noise and compression to every frame on its own: neighbours then know what the key frame has lost."""
    noise, quality = float(rng.uniform(1, 8)), int(rng.integers(35, 90))
    return [
        compression(dark_noise(rng, crop, gain=1, grain=noise), quality=quality + int(rng.integers(-10, 11)))
        for crop in crops
    ]


def _bytes(image: object) -> Bytes:
    return np.asarray(image, np.uint8)


@dataclass(frozen=True)
class Occluder:
    """A textured shape that hides part of a crop.

    Attributes:
        texture: `[h, w, 3]` uint8.
        mask: `[h, w]` uint8, 1 where the shape is.
    """

    texture: Bytes
    mask: Bytes

    @classmethod
    def draw(cls, rng: np.random.Generator, picture: Bytes, *, smallest_px: float, largest_px: float) -> "Occluder":
        """Cut a random ellipse or box out of a picture."""
        h, w = (max(int(rng.uniform(smallest_px, largest_px)), 4) for _ in range(2))
        h, w = min(h, picture.shape[0]), min(w, picture.shape[1])
        top, left = rng.integers(picture.shape[0] - h + 1), rng.integers(picture.shape[1] - w + 1)
        mask = np.zeros((h, w), np.uint8)
        if rng.random() < 0.5:
            mask[:] = 1
        else:
            cv2.ellipse(mask, (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1, -1)
        texture = picture[top : top + h, left : left + w]
        if rng.random() < 0.4:
            texture = np.broadcast_to(texture.reshape(-1, 3).mean(0).astype(np.uint8), (h, w, 3))
        return cls(np.ascontiguousarray(texture), mask)

    def paste(self, crop: Bytes, centre: Doubles) -> Bytes:
        """Return a copy of `crop` with the shape centred at `centre` (x, y), clipped to the picture."""
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


def degrade_window(
    rng: np.random.Generator,
    crops: Sequence[Bytes],
    *,
    times: Sequence[float],
    direction: float,
    joints_px: Doubles,
    texture: Callable[[], Bytes],
) -> list[Bytes]:
    """Degrade a window in one or two ways.

    Blur is strongest in the key frame and by chance less in its neighbours, an occluder moves past, and what comes
    from the camera or the file is alike in all frames.

    Args:
        rng: The source of chance.
        crops: T crops.
        times: T times, 0 for the key frame.
        direction: Of the motion, radians, for motion blur.
        joints_px: `[n, 2]` joints that an occluder may hide, crop pixels.
        texture: Gives the picture that an occluder is cut from; called only when there is one.
    """
    height, width = crops[0].shape[:2]
    share = [1.0 if t == 0 else float(rng.random()) for t in times]
    spoiled = list(crops)
    for kind in rng.choice(len(KINDS), size=1 + int(rng.random() < 0.3), replace=False).tolist():
        strength = float(rng.uniform(0.25, 1.0))
        if KINDS[kind] == "motion_blur":
            lengths = [height * 0.14 * strength * s for s in share]
            spoiled = [motion_blur(c, length, direction) for c, length in zip(spoiled, lengths, strict=True)]
        elif KINDS[kind] == "defocus":
            sigmas = [height * (0.002 + 0.03 * strength * s) for s in share]
            spoiled = [defocus(c, sigma) for c, sigma in zip(spoiled, sigmas, strict=True)]
        elif KINDS[kind] == "occluder":
            largest = height * (0.25 + 0.3 * strength)
            shape = Occluder.draw(rng, texture(), smallest_px=0.08 * height, largest_px=largest)
            at = joints_px[rng.integers(len(joints_px))] if len(joints_px) else rng.uniform(0, [width, height])
            speed = rng.normal(0, 0.2 * height, 2)
            spoiled = [shape.paste(c, at + speed * t) for c, t in zip(spoiled, times, strict=True)]
        elif KINDS[kind] == "low_resolution":
            spoiled = [low_resolution(c, 1.5 + 5 * strength) for c in spoiled]
        elif KINDS[kind] == "dark_noise":
            dark, grain = 1 - 0.7 * strength, 4 + 26 * strength
            spoiled = [dark_noise(rng, c, gain=dark, grain=grain) for c in spoiled]
        else:
            spoiled = [compression(c, round(60 - 50 * strength)) for c in spoiled]
    return spoiled
