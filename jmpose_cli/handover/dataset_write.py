"""Texts of COCO, PoseTrack and MOT files from the neutral form, without loss of what the format can hold.

Each function gets what is written and a list for sentences about what the format does not hold.
"""

from dataclasses import replace

import numpy as np
import orjson

from jmpose.keypoints import COCO17, POSETRACK18, KeypointSet
from jmpose_cli.formats.base import person_category
from jmpose_cli.formats.keypoint_mapping import known_set
from jmpose_cli.formats.mot import mot_text
from jmpose_cli.formats.posetrack17 import JOINTS as JOINTS17
from jmpose_cli.formats.posetrack17 import annolist_of
from jmpose_cli.formats.posetrack18 import MAX_TRACKS
from jmpose_cli.formats.records import (
    Doubles,
    ImageRecord,
    PoseRecords,
    Record,
    frame_numbers,
    xyxy_to_xywh,
)
from jmpose_cli.handover.convert_joints import in_joints

_BOX_MARGIN = 1.3  # PoseTrack's boxes are the extent of the joints times this


def _keypoint_set(joints: tuple[str, ...]) -> KeypointSet:
    """The known set with these joints, for its skeleton, or one without a skeleton."""
    return known_set(joints) or KeypointSet("custom", joints, (), (1.0,) * len(joints))


def _absent_as_zero(records: PoseRecords) -> tuple[Doubles, Doubles]:
    """Joints and third values with zeros for absent joints; a joint given at (0, 0) gets v = 1 to stay present."""
    xy = np.where(records.present[..., None], records.xy, 0.0)
    visibility = np.where(records.present, records.visibility, 0.0)
    bare = records.present & (xy == 0).all(2) & (visibility == 0)
    return xy, np.where(bare, 1.0, visibility)


def _keypoint_lists(records: PoseRecords, xy: Doubles, third: Doubles) -> list[list[float]]:
    """x, y and third value of each joint; integers in the images that had nothing else."""
    table = np.concatenate([xy, third[..., None]], 2).reshape(len(xy), 3 * third.shape[1])
    lists: list[list[float]] = table.tolist()
    whole = records.integer_coordinates[records.image_row] & (table == np.floor(table)).all(1)
    for row in np.flatnonzero(whole).tolist():
        lists[row] = [int(value) for value in lists[row]]
    return lists


def _xywh(corners: Doubles) -> list[list[float] | None]:
    missing = np.asarray(np.isnan(corners).any(1)).tolist()
    return [None if lacks else box for box, lacks in zip(xyxy_to_xywh(corners).tolist(), missing, strict=True)]


def _without_none(record: Record) -> Record:
    return {key: value for key, value in record.items() if value is not None}


def posetrack17(records: PoseRecords, notes: list[str]) -> bytes:
    """Return a PoseTrack17 file."""
    mapped = in_joints(records, JOINTS17, notes)
    empty = int((~mapped.present.any(1)).sum())
    if empty:
        notes.append(f"people without joints cannot be written and were left out: {empty}")
    return orjson.dumps({"annolist": annolist_of(mapped)})


def posetrack18(records: PoseRecords, notes: list[str]) -> bytes:
    """Return a PoseTrack18 file."""
    return _posetrack(records, notes, is_21=False)


def posetrack21(records: PoseRecords, notes: list[str]) -> bytes:
    """Return a PoseTrack21 file."""
    return _posetrack(records, notes, is_21=True)


def _posetrack(records: PoseRecords, notes: list[str], *, is_21: bool) -> bytes:
    mapped = in_joints(records, POSETRACK18.joints, notes)
    if len(records) and int(records.track_ids.max()) >= MAX_TRACKS:
        notes.append(f"track ids of {MAX_TRACKS} and more are refused by the official evaluation")
    people = np.bincount(records.image_row, minlength=len(records.images)) > 0
    images = [
        _posetrack_image(image, len(records.images)) | ({"has_labeled_person": bool(has)} if is_21 else {})
        for image, has in zip(records.images, people.tolist(), strict=True)
    ]
    annotations = _annotations(mapped, notes, score_field="scores", with_absent=True)
    if is_21:
        for record, person_id in zip(annotations, records.person_ids.tolist(), strict=True):
            record["person_id"] = person_id
    return _dataset(images, annotations, POSETRACK18)


def _posetrack_image(image: ImageRecord, images: int) -> Record:
    record = {
        "id": image.id,
        "frame_id": image.id,
        "file_name": image.file_name,
        "vid_id": image.vid_id,
        "nframes": images if image.nframes is None else image.nframes,
        "is_labeled": image.is_labeled,
        "has_no_densepose": True,
        "ignore_regions_x": [polygon[:, 0].tolist() for polygon in image.ignore_regions],
        "ignore_regions_y": [polygon[:, 1].tolist() for polygon in image.ignore_regions],
    }
    return _without_none(record | _optional_image_fields(image))


def _optional_image_fields(image: ImageRecord) -> Record:
    return {
        "width": image.width,
        "height": image.height,
        "frame_index": image.frame_index,
        "time_s": image.time_s,
    }


def _annotations(records: PoseRecords, notes: list[str], *, score_field: str, with_absent: bool) -> list[Record]:
    """Records of all people; `with_absent` gives an empty list of scores to people who have none."""
    xy, third = _absent_as_zero(records)
    unscored = np.isnan(records.scores)
    scored = np.asarray(~unscored.all(1))
    halves = int((unscored & records.present)[scored].sum())
    if halves:
        notes.append(f"joints without a score beside others that have one got the score 0: {halves}")
    scores = np.nan_to_num(records.scores, nan=0.0).tolist()
    columns = zip(
        _annotation_ids(records, notes),
        records.image_row.tolist(),
        records.track_ids.tolist(),
        _keypoint_lists(records, xy, third),
        scores,
        scored.tolist(),
        records.person_scores.tolist(),
        _xywh(records.boxes_xyxy_px),
        _xywh(records.head_boxes_xyxy_px),
        strict=True,
    )
    annotations = []
    for own_id, row, track, keypoints, joint_scores, has_scores, score, box, head in columns:
        record = {
            "id": own_id,
            "image_id": records.images[row].id,
            "category_id": 1,
            "track_id": track if track >= 0 else None,
            "keypoints": keypoints,
            score_field: joint_scores if has_scores else ([] if with_absent else None),
            "score": None if np.isnan(score) else score,
            "bbox": box,
            "bbox_head": head,
        }
        annotations.append(_without_none(record))
    return annotations


def _annotation_ids(records: PoseRecords, notes: list[str]) -> list[int]:
    """The people's own ids, or 1, 2, 3 ... when some have none or the same."""
    if (records.ids >= 0).all() and len(np.unique(records.ids)) == len(records):
        return list(records.ids.tolist())
    if (records.ids >= 0).any():
        notes.append("annotation ids were missing or doubled: people were numbered from 1")
    return list(range(1, len(records) + 1))


def _dataset(images: list[Record], annotations: list[Record], keypoints: KeypointSet) -> bytes:
    document = {"images": images, "annotations": annotations, "categories": [person_category(keypoints)]}
    return orjson.dumps(document)


def coco(records: PoseRecords, notes: list[str]) -> bytes:
    """COCO's 17 joints, with others beside them, when the records have them all or are PoseTrack's; else their own."""
    mapped = replace(records, boxes_xyxy_px=np.nan_to_num(boxes_or_extent(records, notes)))
    if "left_eye" in records.joints or records.kind.startswith("posetrack"):
        extra = tuple(joint for joint in records.joints if joint not in COCO17.joints)
        mapped = replace(in_joints(mapped, (*COCO17.joints, *extra), notes), extra_joints=len(extra))
    images = []
    for image in records.images:
        labels = {"is_labeled": False} if not image.is_labeled else {}
        fields = {"id": image.id, "file_name": image.file_name or _frame_name(image)} | _optional_image_fields(image)
        images.append(_without_none(fields) | labels)
    annotations = _annotations(mapped, notes, score_field="keypoint_scores", with_absent=False)
    areas = np.where(np.isnan(records.areas), _box_areas(mapped.boxes_xyxy_px), records.areas).tolist()
    base = len(mapped.joints) - mapped.extra_joints
    counts, crowds = mapped.present[:, :base].sum(1).tolist(), records.is_crowd.tolist()
    third = mapped.visibility.astype(int).tolist()
    for record, area, count, crowd, visibility in zip(annotations, areas, counts, crowds, third, strict=True):
        record |= {"area": area, "num_keypoints": count, "iscrowd": int(crowd)}
        record["keypoints"][2::3] = visibility
        if mapped.extra_joints:
            _split_joints(record, base)
    if not np.isnan(records.head_boxes_xyxy_px).all():
        notes.append("head boxes are kept in the field bbox_head, which is not COCO's")
    category = person_category(_keypoint_set(mapped.joints), extra=mapped.extra_joints)
    head: Record = {"info": records.info} if records.info else {}
    return orjson.dumps(head | {"images": images, "annotations": annotations, "categories": [category]})


def _frame_name(image: ImageRecord) -> str:
    """Name a frame that has no name as `jmpose infer` does."""
    return "" if image.frame_index is None else f"frame_{image.frame_index:06d}.jpg"


def _split_joints(record: Record, base: int) -> None:
    """Move what is told of the joints after the first `base` into fields of their own."""
    for name, values in (("keypoints", 3 * base), ("keypoint_scores", base)):
        if name in record:
            record[name], record[f"extra_{name}"] = record[name][:values], record[name][values:]


def _box_areas(corners: Doubles) -> Doubles:
    return np.asarray(xyxy_to_xywh(corners)[:, 2:].prod(1))


def coco_results(records: PoseRecords, notes: list[str]) -> bytes:
    """Return a COCO results list."""
    mapped = in_joints(records, COCO17.joints, notes)
    xy, _ = _absent_as_zero(mapped)
    third = np.where(mapped.present, np.nan_to_num(mapped.scores, nan=1.0), 0.0)
    results = [
        {"image_id": records.images[row].id, "category_id": 1, "keypoints": keypoints, "score": score}
        for row, keypoints, score in zip(
            records.image_row.tolist(),
            _keypoint_lists(records, xy, third),
            scores_of_people(records).tolist(),
            strict=True,
        )
    ]
    return orjson.dumps(results)


def scores_of_people(records: PoseRecords) -> Doubles:
    """`[N]` person scores; the mean of the joint scores where there is none, and 1 without those."""
    counted = records.present & ~np.isnan(records.scores)
    total = np.where(counted, records.scores, 0.0).sum(1)
    means = np.where(counted.any(1), total / np.maximum(counted.sum(1), 1), 1.0)
    return np.where(np.isnan(records.person_scores), means, records.person_scores)


def boxes_or_extent(records: PoseRecords, notes: list[str]) -> Doubles:
    """`[N, 4]` boxes; where there is none, the extent of the joints times 1.3, as in PoseTrack; NaN without joints."""
    boxless = np.asarray(np.isnan(records.boxes_xyxy_px).any(1))
    if not boxless.any():
        return records.boxes_xyxy_px
    notes.append(f"people without a box got the extent of their joints times {_BOX_MARGIN}: {int(boxless.sum())}")
    present = records.present[..., None]
    low = np.where(present, records.xy, np.inf).min(1, initial=np.inf)
    high = np.where(present, records.xy, -np.inf).max(1, initial=-np.inf)
    there = np.asarray(records.present.any(1))[:, None]
    low, high = np.where(there, low, np.nan), np.where(there, high, np.nan)
    centre, half = (low + high) / 2, (high - low) / 2 * _BOX_MARGIN
    extent = np.concatenate([centre - half, centre + half], 1)
    return np.where(boxless[:, None], extent, records.boxes_xyxy_px)


def mot(records: PoseRecords, notes: list[str]) -> bytes:
    """Return a MOT text."""
    boxes = boxes_or_extent(records, notes)
    kept = ~np.isnan(boxes).any(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    if not kept.all():
        notes.append(f"people without a box that has a size were left out: {int((~kept).sum())}")
    frames = frame_numbers(records.images)[records.image_row]
    scores = scores_of_people(records)
    return mot_text(frames[kept], records.track_ids[kept], boxes[kept], scores[kept]).encode()
