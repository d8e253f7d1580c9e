"""People that were found twice: two boxes, one pose."""

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.values import Float, FramePoses


def without_doubles(
    poses: FramePoses, keypoints: KeypointSet, *, same_pose_oks: float, pixel_width: float = 1.0
) -> FramePoses:
    """Leave out people of a frame whose pose is that of a person who was tracked before them.

    Boxes of one person need not overlap by much, one may show the upper body only; and a box of somebody hidden behind
    another mostly gets the pose of the one in front. Both are seen in the poses.

    Args:
        poses: Raw poses of one frame.
        keypoints: Their joints.
        same_pose_oks: Poses that are more alike than this are one; from 1 on nobody is left out.
        pixel_width: Width of a pixel in heights of a pixel.
    """
    if len(poses) < 2:
        return poses
    oks = oks_between(poses.in_square_pixels(pixel_width), keypoints)
    kept = np.zeros(len(poses), bool)
    for row in np.argsort(poses.people.track_ids, kind="stable").tolist():
        kept[row] = not (oks[row, kept] > same_pose_oks).any()
    return poses if kept.all() else poses.only(kept)


def oks_between(poses: FramePoses, keypoints: KeypointSet) -> Float:
    """Object keypoint similarity `[N, N]` of COCO between people, joints weighted by the lower of their two scores."""
    boxes = poses.people.boxes_xyxy_px
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    area = np.minimum(areas[:, None], areas[None]).clip(min=1)[..., None]
    apart_sq = ((poses.xy_image[:, None] - poses.xy_image[None]) ** 2).sum(-1)
    alike = np.exp(-apart_sq / (2 * area * (2 * np.array(keypoints.sigmas)) ** 2))
    weight = np.minimum(poses.scores[:, None], poses.scores[None])
    oks: Float = (weight * alike).sum(-1) / weight.sum(-1).clip(min=1e-9)
    return oks
