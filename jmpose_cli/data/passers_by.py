"""A second person in a window, cut out of another picture along the joints, in front of the one in the box or behind.

Every random choice comes from the generator passed in, so a window is a function of its seed.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.data.degrade import Occluder
from jmpose_cli.data.samples import Doubles, Labels, RawWindow
from jmpose_cli.values import Bools, Bytes

MIN_JOINTS = 8
"""Least number of known joints of somebody who is cut out."""

_THICKNESS = (("ankle", 0.22), ("wrist", 0.18), ("knee", 0.34), ("elbow", 0.24), ("hip", 0.4), ("shoulder", 0.4))
_TORSO = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
_HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def add_passer_by(
    rng: np.random.Generator,
    crops: Sequence[Bytes],
    labels: Labels,
    keypoints: KeypointSet,
    *,
    times: Sequence[float],
    key: int,
    other: Callable[[], RawWindow],
) -> list[Bytes]:
    """Let somebody from another picture walk past, about as large as the person in the box.

    Half of them are in front, the others behind where the person's joints are known in all frames. What is annotated
    of the person stays so, hidden or not.

    Args:
        rng: The source of chance.
        crops: T crops `[H, W, 3]` uint8.
        labels: The person's joints, crop pixels.
        keypoints: The joints' names.
        times: T times, 0 for the key frame.
        key: Place of the key frame.
        other: Draws somebody: a window of one frame. Asked up to three times for one with `MIN_JOINTS` known joints.

    Returns:
        T crops; those given where too few joints are known.
    """
    known = labels.used(key)
    if known.sum() < MIN_JOINTS:
        return list(crops)
    cut = _cut_out(rng, keypoints, other)
    if cut is None:
        return list(crops)
    low, high = labels.xy[key][known].min(0), labels.xy[key][known].max(0)
    height = max(float((high - low).max()), 1.0)
    shape = _resized(cut, height * float(np.exp(rng.uniform(-0.25, 0.25))) / max(cut.mask.shape))
    across = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.55)
    at = (low + high) / 2 + height * np.array([across, rng.uniform(-0.1, 0.1)])
    speed = height * rng.normal(0, rng.choice([0.02, 0.12]), 2) * np.array([1.0, 0.2])
    passed = [shape.paste(crop, at + speed * t) for crop, t in zip(crops, times, strict=True)]
    everywhere = all((labels.used(t) == known).all() for t in range(len(crops)))
    if not everywhere or rng.random() < 0.5:
        return passed
    size = crops[0].shape[1::-1]
    masks = [silhouette(xy, known, keypoints, size) for xy in labels.xy]
    return [np.where(m[..., None] > 0, crop, p) for crop, p, m in zip(crops, passed, masks, strict=True)]


def silhouette(xy: Doubles, known: Bools, keypoints: KeypointSet, size_wh: Sequence[int]) -> Bytes:
    """Draw roughly what a person covers, from joints `[K, 2]` of which some are known.

    Returns:
        `[H, W]` uint8, 1 where the person is: limbs as thick as bodies have them for their trunk, trunk and head.
    """
    names = keypoints.joints
    place = {name: xy[k] for k, name in enumerate(names) if known[k]}
    width, height = size_wh
    mask = np.zeros((height, width), np.uint8)
    if not place:
        return mask
    points = np.stack([*place.values()])
    trunk = _trunk(place) or 0.3 * float((points.max(0) - points.min(0)).max())
    for a, b in keypoints.skeleton:
        if a in place and b in place:
            share = min((s for part, s in _THICKNESS if a.endswith(part) or b.endswith(part)), default=0.2)
            first, last = (np.rint(place[name]).astype(int).tolist() for name in (a, b))
            cv2.line(mask, first, last, 1, max(round(share * trunk), 1))
    if all(name in place for name in _TORSO):
        corners = np.rint([place[name] for name in _TORSO]).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(corners), 1)
    face = [place[name] for name in _HEAD if name in place]
    if face:
        centre = np.rint(np.mean(face, 0)).astype(int).tolist()
        cv2.circle(mask, centre, max(round(0.32 * trunk), 1), 1, -1)
    return mask


def _trunk(place: dict[str, Doubles]) -> float:
    """Length of the trunk along the sides that are known, pixels; 0 where none is."""
    sides = [(f"{side}_shoulder", f"{side}_hip") for side in ("left", "right")]
    lengths = [np.linalg.norm(place[a] - place[b]) for a, b in sides if a in place and b in place]
    return float(max(lengths, default=0.0))


def _cut_out(rng: np.random.Generator, keypoints: KeypointSet, other: Callable[[], RawWindow]) -> Occluder | None:
    """Cut somebody out, mirrored by chance; None where three are known too little."""
    for _ in range(3):
        raw = other()
        picture, known = raw.pictures[0], raw.labels.used(0)
        if known.sum() < MIN_JOINTS:
            continue
        mask = silhouette(raw.labels.xy[0], known, keypoints, picture.shape[1::-1])
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows) < 8 or len(columns) < 8:
            continue
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        step = -1 if rng.random() < 0.5 else 1
        return Occluder(np.ascontiguousarray(picture[part][:, ::step]), np.ascontiguousarray(mask[part][:, ::step]))
    return None


def _resized(shape: Occluder, factor: float) -> Occluder:
    size = tuple(max(round(side * factor), 4) for side in shape.mask.shape[::-1])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    texture, mask = (
        cv2.resize(shape.texture, size, interpolation=how),
        cv2.resize(shape.mask, size, interpolation=cv2.INTER_NEAREST),
    )
    return Occluder(np.asarray(texture, np.uint8), np.asarray(mask, np.uint8))
