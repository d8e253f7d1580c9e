"""Ground truth of a rendered frame: joints, their visibility, boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .skeleton import BONE, JOINTS, PosedBones
from .transforms import Array, Bools, Floats, Ints

# How far below the skin or clothes that stand for it a joint may lie, metres.
_UNDER_SKIN = {
    "nose": 0.04,
    "eye": 0.03,
    "ear": 0.03,
    "shoulder": 0.11,
    "elbow": 0.08,
    "wrist": 0.06,
    "hip": 0.18,
    "knee": 0.10,
    "ankle": 0.08,
    "bottom": 0.13,
    "top": 0.14,
}
_DEPTH = np.array([_UNDER_SKIN[name.rsplit("_", 1)[-1]] for name in JOINTS])
NOWHERE = -10_000.0
"""Both coordinates of a joint beside or behind the camera, which has no place in the picture."""
_NEAR = 0.3
# Corners of a box around the unit-scale skull: back and front, both sides, chin and crown.
_SKULL = np.array([(x, y, z) for x in (-0.10, 0.10) for y in (-0.078, 0.078) for z in (-0.113, 0.120)])


@dataclass(frozen=True)
class Shot:
    """What one sharp picture knows about who is where.

    Attributes:
        distance: `[H, W]` float32 metres from the camera to what is seen.
        outline: `[A]` pixels of each actor's outline in the picture, hidden ones included.
        seen: `[A]` pixels in which each actor is seen.
    """

    distance: Floats
    outline: Ints
    seen: Ints


@dataclass(frozen=True)
class Truth:
    """The fields of `RenderedFrame` that describe people; see there."""

    joints_xy: Floats
    visible: Bools
    boxes_xyxy: Floats
    head_boxes_xyxy: Floats
    track_ids: Ints
    shown: Floats


def read_truth(camera: Camera, people: Sequence[tuple[int, PosedBones, Floats]], shot: Shot) -> Truth:
    """Describe everybody whose outline touches the picture.

    Args:
        camera: Of the middle of the exposure.
        people: (track id, bones, vertices `[V, 3]` in the world) of each actor.
        shot: A picture taken near the middle of the exposure.
    """
    inside = [i for i, pixels in enumerate(shot.outline) if pixels > 0]
    n = len(inside)
    joints, visible = np.zeros((n, len(JOINTS), 2), np.float32), np.zeros((n, len(JOINTS)), np.bool_)
    boxes, heads = np.zeros((n, 4), np.float32), np.zeros((n, 4), np.float32)
    for row, i in enumerate(inside):
        _, bones, vertices = people[i]
        xy, depth = camera.project(bones.joints)
        joints[row] = np.where(depth[:, None] > _NEAR, xy, NOWHERE)
        visible[row] = _visible(camera, bones.joints, xy, depth, shot.distance)
        boxes[row] = _extent(camera, vertices.astype(np.float64), clip=True)
        heads[row] = _extent(camera, _skull(bones), clip=False)
    ids = np.array([people[i][0] for i in inside], np.int64)
    shown = np.array([shot.seen[i] / shot.outline[i] for i in inside], np.float32)
    return Truth(joints, visible, boxes, heads, ids, shown)


def _visible(camera: Camera, points: Array, xy: Array, depth: Array, distance: Floats) -> Bools:
    """Whether nothing but the joint's own skin lies between it and the camera."""
    column, row = np.rint(xy).astype(np.int64).T
    inside = (depth > _NEAR) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    away = np.linalg.norm(points - camera.position, axis=1)
    result = np.zeros(len(points), np.bool_)
    for i in np.flatnonzero(inside):
        # The farthest of 3 x 3 pixels: a joint on an outline is not hidden by a neighbour's rim.
        near = distance[max(row[i] - 1, 0) : row[i] + 2, max(column[i] - 1, 0) : column[i] + 2]
        result[i] = float(near.max()) > away[i] - _DEPTH[i]
    return result


def _skull(bones: PosedBones) -> Array:
    """Corners of a box around the head, `[8, 3]` in the world."""
    rotation = bones.rotations[BONE["head"]]
    crown, ears = bones.joints[JOINTS.index("head_top")], bones.joints[[3, 4]]
    # Ears lie 0.158 m apart on the unit-scale skull, the crown 0.12 m above its middle.
    scale = float(np.linalg.norm(ears[0] - ears[1])) / 0.158
    middle = crown - rotation @ np.array([-0.005, 0.0, 0.120]) * scale
    return np.asarray(middle + scale * _SKULL @ rotation.T)


def _extent(camera: Camera, points: Array, *, clip: bool) -> Floats:
    """Corners (left, top, right, bottom) around the projections of points in front of the camera."""
    xy, depth = camera.project(points)
    xy = xy[depth > _NEAR]
    if not len(xy):
        return np.zeros(4, np.float32)
    low, high = xy.min(axis=0), xy.max(axis=0)
    if clip:
        limit = np.array([camera.width - 1, camera.height - 1])
        low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    return np.concatenate([low, high]).astype(np.float32)
