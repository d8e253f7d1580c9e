"""Joints, visibility and what else changes when people go from one format into another."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.coco import VISIBLE_SCORE
from jmpose_cli.formats.keypoint_mapping import derivation, known_set
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.values import Bools

_HEAD = ("head_bottom", "head_top")
_EARS = ("left_ear", "right_ear")
_WITHOUT_VISIBILITY = frozenset({"coco-results", "dlc", "sleap"})


def _seen_and_hidden(records: PoseRecords) -> bool:
    return records.kind not in _WITHOUT_VISIBILITY and len(np.unique(records.visibility[records.present])) > 1


THINGS: Mapping[str, Callable[[PoseRecords], bool]] = MappingProxyType(
    {
        "joints": lambda r: bool(r.present.any()),
        "track ids": lambda r: bool((r.track_ids >= 0).any()),
        "ids of persons across videos": lambda r: bool((r.person_ids >= 0).any()),
        "ignore regions": lambda r: any(image.ignore_regions for image in r.images),
        "head boxes": lambda r: not np.isnan(r.head_boxes_xyxy_px).all(),
        "boxes of whole people": lambda r: not np.isnan(r.boxes_xyxy_px).all(),
        "areas": lambda r: not np.isnan(r.areas).all(),
        "marks of crowds": lambda r: bool(r.is_crowd.any()),
        "visibility of joints": _seen_and_hidden,
        "marks of frames without annotation": lambda r: not all(i.is_labeled for i in r.images),
        "frames without people": lambda r: len(np.unique(r.image_row)) < len(r.images),
        "sizes of pictures": lambda r: any(image.width is not None for image in r.images),
        "times": lambda r: any(image.time_s is not None for image in r.images),
        "scores of joints": lambda r: not np.isnan(r.scores[r.present]).all(),
        "scores of people": lambda r: not np.isnan(r.person_scores).all(),
        "what `info` says": lambda r: bool(r.info),
    }
)
"""What a file may say, and whether this one does; `targets` names the formats that have a place for it."""


def lost(records: PoseRecords, to: str, holds: frozenset[str]) -> list[str]:
    """What the records have and the format, which `holds` other things, has no place for: at most one sentence."""
    things = [thing for thing, has in THINGS.items() if thing not in holds and has(records)]
    return [f"no place in {to} for: {', '.join(things)}"] if things else []


def in_joints(records: PoseRecords, joints: tuple[str, ...], notes: list[str]) -> PoseRecords:
    """Return the records in another order of joints; those that are not there are absent.

    Head joints that no record has are synthesised from nose and shoulders, see `keypoint_mapping`. The joints of a set
    that jmpose knows go by what they mean: LSP's `neck` is `head_bottom`.

    Args:
        records: People with any joints.
        joints: K names of a PoseTrack or COCO set.
        notes: Gets sentences about joints that were lost, made or left empty.

    Raises:
        JmposeError: Not one of the joints is among the records'.
    """
    same = known_set(records.joints)
    if same is not None:
        records = replace(records, joints=same.common_names)
    n, k = len(records), len(joints)
    known = [joint for joint in joints if joint in records.joints]
    if not known:
        raise JmposeError(
            f"{records.path}: unknown joints {', '.join(records.joints)}", hint=f"wanted: {', '.join(joints)}"
        )
    to, source = [joints.index(j) for j in known], [records.joints.index(j) for j in known]
    xy, visibility, present = np.zeros((n, k, 2)), np.zeros((n, k)), np.zeros((n, k), bool)
    scores = np.full((n, k), np.nan)
    xy[:, to], visibility[:, to] = records.xy[:, source], records.visibility[:, source]
    present[:, to], scores[:, to] = records.present[:, source], records.scores[:, source]
    left_out = [joint for joint in records.joints if joint not in joints]
    if left_out and records.present[:, [records.joints.index(joint) for joint in left_out]].any():
        notes.append(f"joints that the format does not have were left out: {', '.join(left_out)}")
    mapped = replace(records, joints=joints, xy=xy, visibility=visibility, present=present, scores=scores)
    missing = [joint for joint in joints if joint not in known]
    made = _synthesise(mapped, [joint for joint in missing if joint in _HEAD])
    if made:
        notes.append(f"made from nose and shoulders: {', '.join(made)}")
    empty = [joint for joint in missing if joint not in made and joint not in _EARS]
    if empty and n:
        notes.append(f"joints that the file does not have are marked as absent: {', '.join(empty)}")
    return mapped


def in_set(records: PoseRecords, wanted: KeypointSet, notes: list[str]) -> PoseRecords:
    """Return the records in another keypoint set; joints that they lack are derived where `DERIVATIONS` knows how.

    Args:
        records: People with any joints.
        wanted: K joints.
        notes: Gets sentences about joints that were lost, made or left empty.

    Raises:
        JmposeError: Not one of the joints is among the records'.
    """
    n, k = len(records), len(wanted)
    source = known_set(records.joints) or KeypointSet("custom", records.joints, (), (math.nan,) * len(records.joints))
    names = source.common_names
    if not set(names) & set(wanted.common_names):
        raise JmposeError(
            f"{records.path}: unknown joints {', '.join(records.joints)}", hint=f"wanted: {', '.join(wanted.joints)}"
        )
    xy, visibility = np.zeros((n, k, 2)), np.zeros((n, k))
    present, scores = np.zeros((n, k), bool), np.full((n, k), np.nan)
    made, empty = [], []
    for to, (own, joint) in enumerate(zip(wanted.joints, wanted.common_names, strict=True)):
        way = derivation(joint, source)
        if way is None:
            empty.append(own)
            continue
        if way.text:
            made.append(f"{own} ({way.text})")
        of = [names.index(name) for name, _ in way.weights]
        present[:, to] = records.present[:, of].all(1)
        weights = np.array([weight for _, weight in way.weights])
        xy[:, to] = (records.xy[:, of] * weights[:, None]).sum(1)
        visibility[:, to] = records.visibility[:, of].min(1)
        scores[:, to] = records.scores[:, [names.index(name) for name in way.scored_by]].mean(1)
    left_out = [own for own, name in zip(records.joints, names, strict=True) if name not in wanted.common_names]
    if left_out and records.present[:, [records.joints.index(joint) for joint in left_out]].any():
        notes.append(f"joints that the format does not have were left out: {', '.join(left_out)}")
    if made:
        notes.append(f"joints that were made from others: {', '.join(made)}")
    if empty:
        notes.append(f"joints that the file does not have are marked as absent: {', '.join(empty)}")
    return replace(
        records,
        joints=wanted.joints,
        xy=np.where(present[..., None], xy, 0.0),
        visibility=np.where(present, visibility, 0.0),
        present=present,
        scores=np.where(present, scores, np.nan),
        extra_joints=0,
    )


def _synthesise(records: PoseRecords, joints: list[str]) -> list[str]:
    """Fill `head_bottom` (middle of the shoulders) and `head_top` (its mirror image at the nose) in place."""
    place = {joint: column for column, joint in enumerate(records.joints)}
    sources = [place[joint] for joint in ("left_shoulder", "right_shoulder", "nose")]
    there = records.present[:, sources].all(1)
    if not joints or not there.any():
        return []
    left, right, nose = (records.xy[there, column] for column in sources)
    middle = (left + right) / 2
    points = dict(zip(_HEAD, (middle, 2 * nose - middle), strict=True))
    for joint in joints:
        column = place[joint]
        records.xy[there, column], records.present[there, column] = points[joint], True
        records.visibility[there, column] = records.visibility[there][:, sources].min(1)
        records.scores[there, column] = records.scores[there][:, sources[:2]].mean(1)
    return joints


def with_visibility_of(records: PoseRecords, to: str) -> PoseRecords:
    """Renumber hidden and visible joints as another format does.

    PoseTrack writes 0 and 1, COCO and all others 1 and 2; between formats of one family the numbers stay as they are.
    Some formats say nothing about it: there, a joint is visible from the score `VISIBLE_SCORE` on.
    """
    to_posetrack, from_posetrack = to.startswith("posetrack"), records.kind.startswith("posetrack")
    if records.kind not in _WITHOUT_VISIBILITY and to_posetrack == from_posetrack:
        return records
    seen: Bools
    if records.kind in _WITHOUT_VISIBILITY:
        seen = np.asarray(~(records.scores < VISIBLE_SCORE))
    else:
        seen = np.asarray(records.visibility > (0 if from_posetrack else 1))
    return replace(records, visibility=np.where(records.present, seen + (0.0 if to_posetrack else 1.0), 0.0))
