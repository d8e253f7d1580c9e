"""Poses of one keypoint set expressed in another, by joint name."""

import numpy as np

from jmpose.keypoints import COCO17, KeypointSet
from jmpose_cli.structures import Float

_HEAD = ("head_bottom", "head_top")
_HEAD_SOURCES = ("left_shoulder", "right_shoulder", "nose")


def map_keypoints(xy: Float, scores: Float, source: KeypointSet, target: KeypointSet) -> tuple[Float, Float]:
    """Reorder joints by name; fill what the source does not know.

    Head joints that only the target has are synthesised as the field does at prediction time (DetectAndTrack,
    DCPose): `head_bottom` is the middle of the shoulders, `head_top` mirrors that point at the nose, and both
    carry the mean of the two shoulder scores. PoseTrack's `head_bottom` is the upper neck, so this one is a
    little low. Any other missing joint becomes (0, 0) with score 0.

    Args:
        xy: `[N, K, 2]` joints in the source's order, image pixels.
        scores: `[N, K]` their scores.
        source: Keypoint set of `xy`.
        target: Keypoint set wanted.

    Returns:
        `[N, T, 2]` float32 joints and `[N, T]` float32 scores in the target's order.
    """
    mapped_xy = np.zeros((len(xy), len(target), 2), np.float32)
    mapped_scores = np.zeros((len(xy), len(target)), np.float32)
    known = [j for j in target.joints if j in source.joints]
    to, fr = _indices(target, known), _indices(source, known)
    mapped_xy[:, to] = xy[:, fr]
    mapped_scores[:, to] = scores[:, fr]
    wanted = [j for j in _HEAD if j in target.joints and j not in source.joints]
    if wanted and set(_HEAD_SOURCES) <= set(source.joints):
        head_xy, head_score = _synthetic_head(xy, scores, source)
        columns = [_HEAD.index(j) for j in wanted]
        mapped_xy[:, _indices(target, wanted)] = head_xy[:, columns]
        mapped_scores[:, _indices(target, wanted)] = head_score[:, None]
    return mapped_xy, mapped_scores


def coco_set(source: KeypointSet) -> KeypointSet:
    """What a COCO file holds: COCO's 17 joints when the source has them all, else the source's own."""
    return COCO17 if set(COCO17.joints) <= set(source.joints) else source


def _indices(keypoints: KeypointSet, names: list[str]) -> list[int]:
    return [keypoints.joints.index(name) for name in names]


def _synthetic_head(xy: Float, scores: Float, source: KeypointSet) -> tuple[Float, Float]:
    """`[N, 2, 2]` head_bottom and head_top, `[N]` their common score."""
    left, right, nose = _indices(source, list(_HEAD_SOURCES))
    middle = (xy[:, left] + xy[:, right]) / np.float32(2)
    head = np.stack([middle, np.float32(2) * xy[:, nose] - middle], axis=1)
    return head, np.asarray((scores[:, left] + scores[:, right]) / np.float32(2))
