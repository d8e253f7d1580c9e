"""Where heads are, from joints and boxes, and how to make them unrecognisable."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jmpose.keypoints import KeypointSet
from jmpose_cli.values import Bools, Bytes, FramePoses

Doubles = NDArray[np.float64]

_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
# Half the height of a head as a multiple of the distance between two joints. A distance seen from the side or
# from above is shorter than the true one, so the larger estimates are nearer to the truth. From average adult
# proportions: head 23 cm high, ears 15 cm apart, eyes 6.3 cm, shoulder joints 35 cm, shoulder to hip 50 cm.
_HALF_HEIGHT_FROM = (
    ("head_bottom", "head_top", 0.55),
    ("left_ear", "right_ear", 0.8),
    ("left_eye", "right_eye", 1.8),
    ("nose", "left_ear", 0.95),
    ("nose", "right_ear", 0.95),
    ("left_shoulder", "right_shoulder", 0.36),
    ("left_shoulder", "left_hip", 0.23),
    ("right_shoulder", "right_hip", 0.23),
)
_UP = np.array([0.0, -1.0])
# Half axes across and along the head, in half heights: seen, and guessed from the shoulders.
_FACE_AXES = np.array([1.15, 1.4])
_NECK_AXES = np.array([1.6, 1.9])
# Cells across a hidden head: no feature of a face survives.
_CELLS = 6
# The ellipse ends softly, outside itself.
_FADE = 1.15


@dataclass(frozen=True)
class HeadEllipses:
    """Ellipses, one a person, that cover head and hair with some margin and lean with the neck.

    Attributes:
        centre_xy_px: `[N, 2]` image pixels; where those are not square, x counts in heights of a pixel.
        half_axes_px: `[N, 2]` across the head and along it.
        angle_deg: `[N]` clockwise turn from upright.
    """

    centre_xy_px: Doubles
    half_axes_px: Doubles
    angle_deg: Doubles

    def boxes_xyxy_px(self, *, scale: float = 1.0) -> Doubles:
        """`[N, 4]` corners of the bounds of the ellipses, made `scale` times as large."""
        angle = np.deg2rad(self.angle_deg)
        across, along = scale * self.half_axes_px.T
        reach = np.stack(
            [
                np.hypot(across * np.cos(angle), along * np.sin(angle)),
                np.hypot(across * np.sin(angle), along * np.cos(angle)),
            ],
            axis=1,
        )
        return np.concatenate([self.centre_xy_px - reach, self.centre_xy_px + reach], axis=1)


def head_ellipses(
    poses: FramePoses, keypoints: KeypointSet, min_score: float, *, pixel_width: float = 1.0
) -> HeadEllipses:
    """Find every person's head.

    From the face where its joints are certain, else generously above the shoulders, else the top of the box.

    Args:
        poses: The people; each gets an ellipse, whatever their scores.
        keypoints: Keypoint set of `poses`.
        min_score: Joints below it are not believed.
        pixel_width: Width of a pixel in heights of a pixel.
    """
    poses = poses.in_square_pixels(pixel_width)
    joints = _Joints(poses, keypoints, min_score)
    boxes = poses.people.boxes_xyxy_px.astype(np.float64)
    corner, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    face, face_radius = joints.bounding_circle(_FACE)
    estimates = np.sort([ratio * joints.distance(a, b) for a, b, ratio in _HALF_HEIGHT_FROM], axis=0)
    # One joint gone astray must not blow the head up, so the second largest where there are three.
    half_height = np.where(estimates[-3] > 0, estimates[-2], estimates[-1])
    half_height = np.minimum(np.maximum(half_height, 1.15 * face_radius), 0.6 * size.max(axis=1))[:, None]

    shoulders, shoulders_seen = joints.middle("left_shoulder", "right_shoulder")
    hips, hips_seen = joints.middle("left_hip", "right_hip")
    neck_up = np.where(shoulders_seen, _unit(face - shoulders), _UP)
    back_up = np.where(hips_seen, _unit(shoulders - hips), _UP)
    from_face = face + 0.25 * half_height * neck_up
    from_shoulders = shoulders + 1.7 * half_height * back_up

    def believed(certain: Bools, centre: Doubles) -> Bools:
        inside = (centre > corner - 0.15 * size) & (centre < corner + 1.15 * size)
        return np.asarray(certain & (half_height > 0) & inside.all(axis=1, keepdims=True))

    cases = [believed(face_radius[:, None] >= 0, from_face), believed(shoulders_seen, from_shoulders)]
    # The top of a standing person, or half of a close-up.
    top = np.minimum(np.maximum(0.22 * size[:, 1], 0.55 * size[:, 0]), size[:, 1])
    from_box = corner + np.stack([size[:, 0] / 2, 0.45 * top], axis=1)
    box_axes = np.stack([0.55 * size[:, 0], 0.65 * top], axis=1)
    up = np.select(cases, [neck_up, back_up], _UP)
    return HeadEllipses(
        centre_xy_px=np.select(cases, [from_face, from_shoulders], from_box),
        half_axes_px=np.select(cases, [_FACE_AXES * half_height, _NECK_AXES * half_height], box_axes).clip(2),
        angle_deg=np.rad2deg(np.arctan2(up[:, 0], -up[:, 1])),
    )


def hide_heads(canvas: Bytes, heads: HeadEllipses, *, pixel_width: float = 1.0) -> None:
    """Replace what is inside the ellipses by a coarse average of itself, in place.

    Args:
        canvas: `[H, W, 3]` uint8.
        heads: Ellipses, which may reach out of the picture.
        pixel_width: Width of a pixel in heights of a pixel.
    """
    height, width = canvas.shape[:2]
    bounds = heads.boxes_xyxy_px(scale=_FADE) / np.array([pixel_width, 1, pixel_width, 1])
    for row, (x0, y0, x1, y1) in enumerate(np.rint(bounds).astype(int).tolist()):
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1 + 1, width), min(y1 + 1, height)
        if right <= left or bottom <= top:
            continue
        region = canvas[top:bottom, left:right]
        cell = max((x1 - x0) * pixel_width, y1 - y0) / _CELLS
        cells = (max(1, round((right - left) * pixel_width / cell)), max(1, round((bottom - top) / cell)))
        coarse = cv2.resize(region, cells, interpolation=cv2.INTER_AREA)
        smooth = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        weight = _soft_ellipse(heads, row, (left, top, right, bottom), pixel_width)
        region[:] = cv2.blendLinear(smooth, region, weight, 1 - weight)


def _soft_ellipse(
    heads: HeadEllipses, row: int, window: tuple[int, int, int, int], pixel_width: float
) -> NDArray[np.float32]:
    """Weights of the window's pixels: 1 inside the ellipse, falling to 0 until `_FADE` times its size."""
    left, top, right, bottom = window
    # A coarse grid is enough for so smooth a thing.
    columns, rows = (min(48, n) for n in (right - left, bottom - top))
    x = left - 0.5 + (np.arange(columns) + 0.5) * (right - left) / columns
    dx = x * pixel_width - heads.centre_xy_px[row, 0]
    dy = top - 0.5 + (np.arange(rows)[:, None] + 0.5) * (bottom - top) / rows - heads.centre_xy_px[row, 1]
    angle = np.deg2rad(heads.angle_deg[row])
    across, along = heads.half_axes_px[row]
    distance = np.hypot(
        (np.cos(angle) * dx + np.sin(angle) * dy) / across, (np.cos(angle) * dy - np.sin(angle) * dx) / along
    )
    weight = ((_FADE - distance) / (_FADE - 1)).clip(0, 1).astype(np.float32)
    return np.asarray(cv2.resize(weight, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR))


class _Joints:
    """Joints of all people by name; a name that the set lacks is never seen."""

    def __init__(self, poses: FramePoses, keypoints: KeypointSet, min_score: float) -> None:
        self._xy = poses.xy_image.astype(np.float64)
        self._seen = poses.scores >= min_score
        self._index = {name: i for i, name in enumerate(keypoints.common_names)}

    def seen(self, name: str) -> Bools:
        """`[N]` whether the joint is there and believed."""
        if name not in self._index:
            return np.zeros(len(self._xy), bool)
        return np.asarray(self._seen[:, self._index[name]])

    def xy(self, name: str) -> Doubles:
        """`[N, 2]`; zeros when the set lacks the name."""
        if name not in self._index:
            return np.zeros((len(self._xy), 2))
        return np.asarray(self._xy[:, self._index[name]])

    def distance(self, a: str, b: str) -> Doubles:
        """`[N]` pixels between two joints; 0 where one is not seen."""
        return np.where(self.seen(a) & self.seen(b), np.linalg.norm(self.xy(a) - self.xy(b), axis=1), 0.0)

    def middle(self, a: str, b: str) -> tuple[Doubles, Bools]:
        """`[N, 2]` halfway point, `[N, 1]` whether both are seen."""
        return (self.xy(a) + self.xy(b)) / 2, (self.seen(a) & self.seen(b))[:, None]

    def bounding_circle(self, names: tuple[str, ...]) -> tuple[Doubles, Doubles]:
        """`[N, 2]` middle of the bounds of those seen, `[N]` distance to the farthest; -1 where none is."""
        xy = np.stack([self.xy(name) for name in names])
        seen = np.stack([self.seen(name) for name in names])[..., None]
        low = np.where(seen, xy, np.inf).min(axis=0)
        high = np.where(seen, xy, -np.inf).max(axis=0)
        some = seen.any(axis=0)
        centre = np.where(some, (np.where(some, low, 0) + np.where(some, high, 0)) / 2, 0.0)
        farthest = np.where(seen[..., 0], np.linalg.norm(xy - centre, axis=2), -1.0).max(axis=0)
        return centre, farthest


def _unit(vectors: Doubles) -> Doubles:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
