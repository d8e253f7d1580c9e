"""Read pose files of any known format into the neutral form; the format is recognised by the content."""

from pathlib import Path
from typing import Any

import numpy as np

from jmpose.keypoints import COCO17, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.mot import read_mot
from jmpose_cli.formats.posetrack17 import read_posetrack17
from jmpose_cli.formats.records import (
    FormatKind,
    ImageRecord,
    JsonTable,
    PoseRecords,
    Record,
    build_records,
    check_unique,
    joint_names,
    kind_of,
    read_images,
    read_json,
    unread_fields,
)

_EARS = ("left_ear", "right_ear")
_POSETRACK_ONLY = {"head_bottom", "head_top"}
_IMAGE_FIELDS = frozenset(
    {"id", "file_name", "width", "height", "frame_index", "time_s", "is_labeled", "ignore_regions_x"}
    | {"ignore_regions_y", "vid_id", "nframes", "frame_id", "has_no_densepose", "has_labeled_person"}
)
_PERSON_FIELDS = frozenset(
    {"id", "image_id", "category_id", "track_id", "person_id", "keypoints", "scores", "keypoint_scores", "score"}
    | {"bbox", "bbox_head", "area", "iscrowd", "num_keypoints"}
)
_KNOWN = "PoseTrack17, 18 and 21 JSON, COCO keypoint data sets and results lists, MOT text (.txt)"


def read_poses(path: Path, *, kind: FormatKind | None = None) -> PoseRecords:
    """Read a pose file.

    Args:
        path: JSON, or MOT text when its name ends in `.txt`.
        kind: The format that is wanted; None takes any.

    Raises:
        JmposeError: The file is missing, broken, of no known or of another format, or a field is missing, of the
            wrong kind or length, not finite or doubled; the message names the record and the field.
    """
    if path.is_dir():
        raise JmposeError(f"{path} is a folder", hint="a file is wanted here")
    data: Any = None
    if path.suffix.lower() == ".txt":
        found: FormatKind = "mot"
    else:
        data = read_json(path)
        found = recognise(path, data)
    if kind is not None and found != kind:
        raise JmposeError(f"{path} is a {found} file", hint=f"a {kind} file is wanted; `jmpose convert` makes one")
    if found == "mot":
        return read_mot(path)
    if found == "posetrack17":
        return read_posetrack17(path, data["annolist"])
    if found == "coco-results":
        return _read_results(path, data)
    return _read_dataset(path, data, found)


def recognise(path: Path, data: Any) -> FormatKind:
    """Tell the format of parsed JSON.

    Raises:
        JmposeError: None is known to look like this, or it looks like two.
    """
    if isinstance(data, list):
        return "coco-results"
    if not isinstance(data, dict):
        raise JmposeError(f"{path}: the top level is {kind_of(data)}", hint=f"known: {_KNOWN}")
    if "annolist" in data:
        if "images" in data or "annotations" in data:
            hint = "a PoseTrack17 file has the one, PoseTrack18 and COCO files the others"
            raise JmposeError(f"{path} has `annolist` beside `images` or `annotations`", hint=hint)
        return "posetrack17"
    if "images" not in data:
        keys = ", ".join(list(data)[:5]) or "nothing"
        raise JmposeError(f"{path}: an object with {keys}", hint=f"known: {_KNOWN}")
    if _looks_like_21(data):
        return "posetrack21"
    names = {name for category in _objects(data.get("categories")) for name in category.get("keypoints") or ()}
    if names & _POSETRACK_ONLY:
        return "posetrack18"
    # COCO files have people whose joints carry other names, PoseTrack's misspelt ones have their own images.
    return "posetrack18" if any("vid_id" in image for image in _objects(data["images"])[:1]) else "coco"


def _objects(value: Any) -> list[Record]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _looks_like_21(data: Record) -> bool:
    """PoseTrack21 marks images with people and names people across videos; its submissions have no categories."""
    if any("has_labeled_person" in image for image in _objects(data["images"])[:1]):
        return True
    people = _objects(data.get("annotations"))[:1]
    return any("person_id" in person or ("categories" not in data and "track_id" in person) for person in people)


def _read_dataset(path: Path, data: Record, kind: FormatKind) -> PoseRecords:
    joints, category_id = _joints(path, data, kind)
    images_table = JsonTable(path, "images", data["images"])
    images = read_images(images_table)
    if kind == "coco" and "annotations" not in data:
        raise JmposeError(f"{path}: without `annotations`", hint="a COCO data set has images, annotations, categories")
    table = JsonTable(path, "annotations", data.get("annotations", []))
    for row, found in enumerate(table.integers("category_id", default=category_id)):
        if found != category_id:
            hint = f"it must be {category_id}, the category that has keypoints"
            raise table.fault(row, "category_id", f"is {found}", hint=hint)
    is_coco = kind == "coco"
    records = build_records(
        kind,
        table,
        joints,
        images,
        score_field="keypoint_scores" if is_coco else "scores",
        id_default=None if is_coco else -1,
        track_default=-1 if is_coco else None,
        keypoints_required=is_coco,
    )
    if is_coco:
        check_unique(table, "id", records.ids.tolist())
    else:
        _check_tracks(table, records)
    unread = unread_fields([(images_table, _IMAGE_FIELDS), (table, _PERSON_FIELDS)])
    return PoseRecords(**{**vars(records), "unread": unread})


def _joints(path: Path, data: Record, kind: FormatKind) -> tuple[tuple[str, ...], int]:
    if kind == "posetrack21" and "categories" not in data:
        return POSETRACK18.joints, 1
    joints, category_id = joint_names(path, data.get("categories"))
    if kind == "coco":
        return joints, category_id
    lacking = [joint for joint in POSETRACK18.joints if joint not in joints and joint not in _EARS]
    unknown = [joint for joint in joints if joint not in POSETRACK18.joints]
    if lacking or unknown:
        found = (("lacks", lacking), ("has unknown", unknown))
        problems = " and ".join(f"{verb} {', '.join(names)}" for verb, names in found if names)
        hint = f"PoseTrack's joints must be there, in any order (ears may lack): {', '.join(POSETRACK18.joints)}"
        raise JmposeError(f"{path}: categories[0].keypoints {problems}", hint=hint)
    return joints, category_id


def _check_tracks(table: JsonTable, records: PoseRecords) -> None:
    """Raise when two people of one image have the same track id."""
    keys = records.image_row * (int(records.track_ids.max(initial=0)) + 2) + records.track_ids
    _, first, number = np.unique(keys, return_index=True, return_counts=True)
    if (number > 1).any():
        row = int(np.setdiff1d(np.arange(len(keys)), first)[0])
        image = records.images[records.image_row[row]].file_name
        problem = f"is {records.track_ids[row]}, as in annotations[{np.argmax(keys == keys[row])}] of the same image"
        hint = f"it must be different for every person of an image; here {image}"
        raise table.fault(row, "track_id", problem, hint=hint)


def _read_results(path: Path, data: list[Any]) -> PoseRecords:
    """Read a COCO results list; it names no joints, so it must have COCO's 17, or only boxes."""
    table = JsonTable(path, "results", data)
    image_ids = table.integers("image_id")
    images = tuple(ImageRecord(i, "", None, None, None, None) for i in dict.fromkeys(image_ids))
    first = table.records[0].get("keypoints") if table.records else None
    if isinstance(first, list) and len(first) != 3 * len(COCO17):
        hint = f"a results list names no joints, so it must have the {len(COCO17)} of COCO"
        raise table.fault(0, "keypoints", f"has {len(first)} numbers", hint=hint)
    records = build_records(
        "coco-results",
        table,
        COCO17.joints,
        images,
        score_field="keypoint_scores",
        id_default=-1,
        track_default=-1,
        keypoints_required=True,
    )
    # The third number of each joint is its score here.
    unread = unread_fields([(table, _PERSON_FIELDS)])
    return PoseRecords(**{**vars(records), "scores": records.visibility.copy(), "unread": unread})
