"""From raw windows to training windows: one affine for all frames, colour, made-up motion, degradation.

Every random choice comes from the generator passed in, so a window is a function of its seed. Coordinates are (x, y)
with pixel centres at integers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from jmpose.config import STRIDE, Preprocess
from jmpose.keypoints import KeypointSet
from jmpose.targets import heatmap_to_crop
from jmpose_cli.data.degrade import degrade_window, own_grain
from jmpose_cli.data.passers_by import add_passer_by
from jmpose_cli.data.samples import Doubles, Labels, RawWindow, Taught
from jmpose_cli.values import Bools, Bytes, Float

MOST_ZOOM = 1.6
"""Change of scale up to which a teacher's peaks are as wide as those that are wanted, nearly."""

_LOWER = ("hip", "knee", "ankle")


@dataclass(frozen=True)
class Augmentation:
    """How strongly windows are varied; the defaults are the paper's and DCPose's where those say.

    Attributes:
        rotation_deg: Largest rotation.
        scale: Largest change of scale as a share.
        shift: Largest shift as a share of the crop's height.
        flip: Chance of a mirrored window.
        half_body: Chance of a crop around the upper or the lower body, when enough of its joints are known.
        half_body_joints: Least number of known joints for that.
        colour: Strength of colour changes, 0 to 1.
        degrade: Chance of degraded windows.
        motion: Largest shift between frames of a still image as a share of the crop's height.
        missing: Chance that the frames on one side are missing, as at the ends of tracks.
        grain: Chance that each frame has mild noise and compression of its own, as those of cameras and files do.
        swap: Chance that the initial heatmaps of some frames have the left and right joints of arms or legs mixed, as
            single frames do now and then; what follows learns to trust the others.
        passers_by: Chance that somebody from another picture is seen beside the person, in front or behind.
    """

    rotation_deg: float = 45.0
    scale: float = 0.35
    shift: float = 0.07
    flip: float = 0.5
    half_body: float = 0.3
    half_body_joints: int = 8
    colour: float = 1.0
    degrade: float = 0.5
    motion: float = 0.035
    missing: float = 0.15
    grain: float = 0.0
    swap: float = 0.0
    passers_by: float = 0.0


PLAIN = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""No change at all: validation."""


@dataclass(frozen=True)
class Window:
    """One sample as the loader gives it.

    Attributes:
        crops: `[T, H, W, 3]` uint8 RGB.
        exists: `[T]` False where a frame repeats another.
        xy: `[T, K, 2]` float32 crop pixels.
        weight: `[T, K]` float32.
        present: `[T, K]` float32.
        to_image: `[2, 3]` float32, crop pixels to image pixels of the key frame.
        swap: `[T, 2]` float32, share of the other side to be mixed into the initial heatmaps of arms and of legs.
        taught: `[K, h, w]` float32, a teacher's heatmaps of the key frame where the crop's are, NaN where it says
            nothing; `[0, h, w]` where nobody asks for them.
    """

    crops: Bytes
    exists: Bools
    xy: Float
    weight: Float
    present: Float
    to_image: Float
    swap: Float
    taught: Float


@dataclass(frozen=True)
class Motion:
    """Smooth motion of a whole picture: pixels, radians and log scale per step, and the change of the shift."""

    shift: Doubles
    bend: Doubles
    turn: float
    zoom: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size_px: float) -> "Motion":
        """Draw a motion, half of them slow."""
        size = size_px * rng.choice([0.25, 1.0])
        turn, zoom = float(rng.normal(0, 0.04)), float(rng.normal(0, 0.02))
        return cls(rng.normal(0, size, 2), rng.normal(0, size / 4, 2), turn, zoom)

    def affine(self, time_step: float, size_wh: tuple[int, int]) -> Doubles:
        """Affine `[3, 3]` in crop pixels that moves the key frame's content to its place at `time_step`."""
        angle, scale = self.turn * time_step, np.exp(self.zoom * time_step)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        centre = (np.array(size_wh) - 1) / 2
        shift = self.shift * time_step + self.bend * time_step**2
        return np.vstack([np.column_stack([linear, centre + shift - linear @ centre]), [0, 0, 1]])


@dataclass(frozen=True)
class ColourChange:
    """Per-channel gain, offset in grey levels, gamma, and whether colour is removed."""

    gain: Doubles
    offset: float
    gamma: float
    grey: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, strength: float) -> "ColourChange":
        """Draw a change to be applied alike to all frames of a window."""
        gain = 1 + strength * (rng.uniform(0.6, 1.4) * rng.uniform(0.88, 1.12, 3) - 1)
        gamma = float(np.exp(strength * rng.uniform(-0.35, 0.35)))
        return cls(gain, strength * float(rng.uniform(-30, 30)), gamma, bool(rng.random() < 0.08 * strength))

    def __call__(self, crop: Bytes) -> Bytes:
        """Apply the change to `[H, W, 3]` uint8."""
        levels = np.arange(256)[:, None] / 255
        table = np.rint(np.clip(255 * levels**self.gamma * self.gain + self.offset, 0, 255)).astype(np.uint8)
        changed = cv2.LUT(crop, table[None])
        if self.grey:
            changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return np.asarray(changed, np.uint8)


def make_window(
    rng: np.random.Generator,
    raw: RawWindow,
    preprocess: Preprocess,
    *,
    offsets: Sequence[int],
    settings: Augmentation,
    height: int | None = None,
    other: Callable[[], RawWindow] | None = None,
    taught: bool = False,
) -> Window:
    """Build one window.

    Args:
        rng: The source of chance; a plain window draws nothing.
        raw: The pictures and labels.
        preprocess: Input size, padding and joints of the model.
        offsets: Frames of the window relative to the key frame, with 0; a still image moves by one step a place.
        settings: How much is varied.
        height: Height of the crop when it is not the model's; the width keeps the model's aspect ratio.
        other: Draws a window of one frame: its picture is what occluders are cut from, its person may pass by. None
            takes this window's own.
        taught: Whether a teacher's heatmaps are wanted.
    """
    size = _crop_size(preprocess, height)
    key = list(offsets).index(0)
    times = [float(place - key) for place in range(len(offsets))]
    affine = random_affine(rng, raw, preprocess, size, key=key, settings=settings)
    motion = Motion.draw(rng, settings.motion * size[1]) if raw.is_still and settings.motion else None
    warps = [affine if motion is None else motion.affine(t, size) @ affine for t in times]
    crops = [cv2.warpAffine(p, w[:2], size, flags=cv2.INTER_LINEAR) for p, w in zip(raw.pictures, warps, strict=True)]
    labels = _moved(raw.labels, warps, size, preprocess.keypoints)
    if settings.passers_by and rng.random() < settings.passers_by:
        somebody = other or (lambda: raw)
        crops = add_passer_by(rng, crops, labels, preprocess.keypoints, times=times, key=key, other=somebody)
    if settings.colour:
        change = ColourChange.draw(rng, settings.colour)
        crops = [change(crop) for crop in crops]
    if settings.degrade and rng.random() < settings.degrade:
        direction = motion.shift if motion is not None else rng.normal(0, 1, 2)
        angle = float(np.arctan2(direction[1], direction[0]))
        hidden = labels.xy[key][labels.used(key)]
        own = crops[key][::-1, ::-1]
        crops = degrade_window(
            rng,
            crops,
            times=times,
            direction=angle,
            joints_px=hidden,
            texture=lambda: other().pictures[0] if other else own,
        )
    if settings.grain and rng.random() < settings.grain:
        crops = own_grain(rng, crops)
    swap = np.zeros((len(times), 2), np.float32)
    if settings.swap and rng.random() < settings.swap:
        swap = _draw_swap(rng, len(times), key)
    exists = raw.exists.copy()
    if settings.missing and rng.random() < settings.missing:
        crops, labels = _lose_a_side(rng, crops, labels, exists, key)
    return Window(
        crops=np.stack(crops),
        exists=exists,
        xy=labels.xy.astype(np.float32),
        weight=labels.weight.astype(np.float32),
        present=labels.present.astype(np.float32),
        to_image=np.linalg.inv(affine)[:2].astype(np.float32),
        swap=swap,
        taught=_taught_maps(raw.taught, warps[key], size, preprocess, wanted=taught),
    )


def _taught_maps(
    known: Taught | None, affine: Doubles, size: tuple[int, int], preprocess: Preprocess, *, wanted: bool
) -> Float:
    """Bring a teacher's heatmaps to those of the crop that `affine` `[3, 3]` cuts out of the picture."""
    width, height = size[0] // STRIDE, size[1] // STRIDE
    joints = len(preprocess.keypoints)
    nothing = np.full((joints if wanted else 0, height, width), np.nan, np.float32)
    if not wanted or known is None:
        return nothing
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    at = heatmap_to_crop(corners, heatmap_size=(height, width), alignment=preprocess.heatmap_alignment).numpy()
    to_crop = np.vstack([np.column_stack([at[1] - at[0], at[2] - at[0], at[0]]), [0, 0, 1]])
    forward = np.linalg.inv(to_crop) @ affine @ np.vstack([known.to_image, [0, 0, 1]])
    zoom = np.sqrt(abs(np.linalg.det(forward))) * known.heatmaps.shape[1] / height
    if not 1 / MOST_ZOOM < zoom < MOST_ZOOM:
        return nothing
    beyond = (np.nan,) * 4
    planes = known.heatmaps.transpose(1, 2, 0)
    # OpenCV fills the rim of up to four channels only.
    parts = [
        cv2.warpAffine(
            np.ascontiguousarray(planes[..., first : first + 4]), forward[:2], (width, height), borderValue=beyond
        ).reshape(height, width, -1)
        for first in range(0, joints, 4)
    ]
    moved = np.concatenate(parts, 2).transpose(2, 0, 1)
    if np.linalg.det(affine[:2, :2]) < 0:
        moved = moved[list(preprocess.keypoints.flip_index)]
    return np.ascontiguousarray(moved, np.float32)


def _draw_swap(rng: np.random.Generator, frames: int, key: int) -> Float:
    """Mix arms, legs or both in less than half of the frames, in every other window the key frame among them."""
    share = np.zeros((frames, 2), np.float32)
    others = rng.permutation([place for place in range(frames) if place != key])
    order = [key, *others] if rng.random() < 0.5 else [*others, key]
    most = (frames - 1) // 2
    places = order[: rng.integers(1, most + 1)] if most else []
    limbs = [(True, True), (True, False), (False, True)][rng.integers(3)]
    for place in places:
        share[place] = rng.uniform(0.4, 1.0) * np.array(limbs)
    return share


def _crop_size(preprocess: Preprocess, height: int | None) -> tuple[int, int]:
    """(width, height) of a crop."""
    if height is None:
        return preprocess.input_width, preprocess.input_height
    return round(height * preprocess.input_width / preprocess.input_height), height


def random_affine(
    rng: np.random.Generator,
    raw: RawWindow,
    preprocess: Preprocess,
    size: tuple[int, int],
    *,
    key: int,
    settings: Augmentation,
) -> Doubles:
    """Draw the affine `[3, 3]` from image pixels to crop pixels; without settings that of `crop_affine`."""
    low, high = raw.box_xyxy_px[:2].astype(float), raw.box_xyxy_px[2:].astype(float)
    if settings.half_body and rng.random() < settings.half_body:
        low, high = _half_body(rng, raw.labels, preprocess.keypoints, key, settings, low, high)
    side = np.maximum(high - low, 1.0) * preprocess.box_padding
    scale = 1 / max(side[0] / size[0], side[1] / size[1])
    scale *= 1 + settings.scale * rng.uniform(-1, 1) if settings.scale else 1.0
    # The paper's family: a clipped normal distribution, in six of ten windows.
    angle = 0.0
    if settings.rotation_deg and rng.random() < 0.6:
        half = settings.rotation_deg / 2
        angle = float(np.deg2rad(np.clip(rng.normal(0, half), -settings.rotation_deg, settings.rotation_deg)))
    mirror = -1.0 if settings.flip and rng.random() < settings.flip else 1.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    target = (np.array(size) - 1) / 2
    if settings.shift:
        target = target + rng.uniform(-settings.shift, settings.shift, 2) * size[1]
    return np.vstack([np.column_stack([linear, target - linear @ ((low + high) / 2)]), [0, 0, 1]])


def _half_body(
    rng: np.random.Generator,
    labels: Labels,
    keypoints: KeypointSet,
    key: int,
    settings: Augmentation,
    low: Doubles,
    high: Doubles,
) -> tuple[Doubles, Doubles]:
    """Box around the upper or the lower body, half again as large; the given box when too little is known."""
    known = labels.used(key)
    if known.sum() < settings.half_body_joints:
        return low, high
    is_lower = np.array([joint.endswith(_LOWER) for joint in keypoints.joints])
    part = known & (is_lower if rng.random() < 0.35 else ~is_lower)
    if part.sum() < 3:
        return low, high
    first, last = labels.xy[key][part].min(0), labels.xy[key][part].max(0)
    margin = 0.25 * max(float((last - first).max()), 0.25 * float((high - low).max()))
    return first - margin, last + margin


def _moved(labels: Labels, warps: Sequence[Doubles], size: tuple[int, int], keypoints: KeypointSet) -> Labels:
    """Bring labels into the crops; joints that fall outside are not there, and say so with less weight."""
    xy = np.stack([points @ w[:2, :2].T + w[:2, 2] for points, w in zip(labels.xy, warps, strict=True)])
    outside = ((xy < -0.5) | (xy > np.array(size) - 0.5)).any(2) & (labels.present > 0)
    present = np.where(outside, 0.0, labels.present)
    weight = np.where(outside, 0.3 * labels.weight, labels.weight)
    moved = Labels(xy, weight, present)
    return moved.flipped(keypoints) if np.linalg.det(warps[0][:2, :2]) < 0 else moved


def _lose_a_side(
    rng: np.random.Generator, crops: list[Bytes], labels: Labels, exists: Bools, key: int
) -> tuple[list[Bytes], Labels]:
    """Replace the frames before or after the key frame by the key frame; changes `exists`."""
    lost = range(key) if rng.random() < 0.5 else range(key + 1, len(crops))
    xy, weight, present = labels.xy.copy(), labels.weight.copy(), labels.present.copy()
    kept = list(crops)
    for place in lost:
        kept[place], exists[place] = crops[key], False
        xy[place], weight[place], present[place] = xy[key], weight[key], present[key]
    return kept, Labels(xy, weight, present)
