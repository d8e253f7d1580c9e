"""Poses of one keypoint set expressed in another, by what the joints mean."""

from dataclasses import dataclass, replace

import numpy as np

from jmpose.keypoints import COCO17, KEYPOINT_SETS, KeypointSet
from jmpose_cli.values import Bools, Float, FramePoses


@dataclass(frozen=True)
class Derivation:
    """How a joint follows from others.

    Attributes:
        text: For people.
        weights: (joint, weight) by common names; the joint is their weighted sum.
        scored_by: Joints whose mean score it carries.
    """

    text: str
    weights: tuple[tuple[str, float], ...]
    scored_by: tuple[str, ...]


_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
_MIDDLE_OF_SHOULDERS = Derivation("middle of the shoulders", tuple((j, 0.5) for j in _SHOULDERS), _SHOULDERS)
_MIDDLE_OF_HIPS = Derivation("middle of the hips", tuple((j, 0.5) for j in _HIPS), _HIPS)
_NECK = Derivation("the neck, which is a little lower", (("neck", 1.0),), ("neck",))
_ABOVE_NOSE = Derivation(
    "middle of the shoulders mirrored at the nose",
    (("nose", 2.0), *((j, -0.5) for j in _SHOULDERS)),
    _SHOULDERS,
)
DERIVATIONS = {
    "head_bottom": (_NECK, _MIDDLE_OF_SHOULDERS),
    "head_top": (_ABOVE_NOSE,),
    "neck": (_MIDDLE_OF_SHOULDERS,),
    "thorax": (_MIDDLE_OF_SHOULDERS,),
    "pelvis": (_MIDDLE_OF_HIPS,),
}
"""By common name, the ways to make a joint that a set lacks, best first. Those of the head are what the field does at
prediction time (DetectAndTrack, DCPose); PoseTrack's `head_bottom` is the upper neck, so that one is a little low."""


def derivation(joint: str, source: KeypointSet) -> Derivation | None:
    """Find the way to a joint, by its common name, from those of `source`; None where there is none.

    A joint that `source` has is itself; its `text` is then empty.
    """
    known = source.common_names
    if joint in known:
        return Derivation("", ((joint, 1.0),), (joint,))
    ways = DERIVATIONS.get(joint, ())
    return next((way for way in ways if {name for name, _ in way.weights} <= set(known)), None)


def absent_joints(xy: Float, scores: Float) -> Bools:
    """`[N, K]` joints `[N, K, 2]` that are not there: at (0, 0) with a score of 0; no model gives that."""
    return np.asarray((xy == 0).all(2) & (scores == 0))


def map_keypoints(xy: Float, scores: Float, source: KeypointSet, target: KeypointSet) -> tuple[Float, Float]:
    """Reorder joints by their meaning; derive those that the source lacks where `DERIVATIONS` knows how.

    Any other missing joint becomes (0, 0) with score 0; see `present_joints`. So does one that follows from a joint
    which is absent.

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
    column = {name: place for place, name in enumerate(source.common_names)}
    absent = absent_joints(xy, scores)
    for to, joint in enumerate(target.common_names):
        way = derivation(joint, source)
        if way is None:
            continue
        for name, weight in way.weights:
            mapped_xy[:, to] += np.float32(weight) * xy[:, column[name]]
        for name in way.scored_by:
            mapped_scores[:, to] += scores[:, column[name]] / np.float32(len(way.scored_by))
        gone = absent[:, [column[name] for name, _ in way.weights]].any(1)
        mapped_xy[gone, to], mapped_scores[gone, to] = 0, 0
    return mapped_xy, mapped_scores


def map_covariances(covariances: Float, source: KeypointSet, target: KeypointSet) -> Float:
    """Reorder covariances as `map_keypoints` does joints; the errors of different joints count as independent.

    Args:
        covariances: `[N, K, 3]` in the source's order: xx, xy, yy.
        source: Keypoint set of `covariances`.
        target: Keypoint set wanted.

    Returns:
        `[N, T, 3]` float32 in the target's order; zeros for joints that the source does not give.
    """
    mapped = np.zeros((len(covariances), len(target), 3), np.float32)
    column = {name: place for place, name in enumerate(source.common_names)}
    for to, joint in enumerate(target.common_names):
        way = derivation(joint, source)
        for name, weight in way.weights if way else ():
            mapped[:, to] += np.float32(weight) ** 2 * covariances[:, column[name]]
    return mapped


def map_poses(poses: FramePoses, source: KeypointSet, target: KeypointSet) -> FramePoses:
    """Give poses in another keypoint set, with all that is known of their joints.

    A derived joint has the mean probability of the joints that score it.
    """
    xy, scores = map_keypoints(poses.xy_image, poses.scores, source, target)
    raw, covariances, probabilities = poses.xy_raw_image, poses.covariances, poses.probabilities
    return replace(
        poses,
        xy_image=xy,
        scores=scores,
        xy_raw_image=None if raw is None else map_keypoints(raw, poses.scores, source, target)[0],
        covariances=None if covariances is None else map_covariances(covariances, source, target),
        probabilities=None
        if probabilities is None
        else map_keypoints(poses.xy_image, probabilities, source, target)[1],
    )


def present_joints(source: KeypointSet, target: KeypointSet) -> Bools:
    """`[T]` whether poses of `source` give the joints of `target`."""
    return np.array([derivation(joint, source) is not None for joint in target.common_names])


def derived_joints(source: KeypointSet, target: KeypointSet) -> dict[str, str]:
    """Name the joints of `target` that poses of `source` give by a rule, each with the rule."""
    ways = [(own, derivation(joint, source)) for own, joint in zip(target.joints, target.common_names, strict=True)]
    return {own: way.text for own, way in ways if way is not None and way.text}


def truth_set(source: KeypointSet) -> KeypointSet:
    """What a COCO file holds unless asked otherwise: all joints of the source, COCO's 17 first when it has them all."""
    if not set(COCO17.joints) <= set(source.joints) or source.joints[: len(COCO17)] == COCO17.joints:
        return source
    joints = (*COCO17.joints, *(joint for joint in source.joints if joint not in COCO17.joints))
    sigmas = dict(zip(source.joints, source.sigmas, strict=True))
    return replace(source, joints=joints, sigmas=tuple(sigmas[joint] for joint in joints))


def extra_joints(joints: tuple[str, ...]) -> tuple[str, ...]:
    """Return the joints that stand beside COCO's 17; none where those do not come first."""
    return joints[len(COCO17) :] if joints[: len(COCO17)] == COCO17.joints else ()


def known_set(joints: tuple[str, ...]) -> KeypointSet | None:
    """Find the set with these joints in this order."""
    return next((s for s in KEYPOINT_SETS.values() if s.joints == joints), None)
