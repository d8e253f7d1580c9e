"""PoseTrack18, PoseTrack21 and COCO files in memory: lists of images and of people that point to them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jmpose.keypoints import COCO17, POSETRACK18
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.cvat import ID_ATTRIBUTE
from jmpose_cli.formats.names import frame_number
from jmpose_cli.formats.numbers import LARGEST_BOX_PX, LARGEST_FRAME, LARGEST_PX, fits, within
from jmpose_cli.formats.records import (
    Doubles,
    FormatKind,
    ImageRecord,
    JsonTable,
    PoseRecords,
    Record,
    check_tracks,
    check_unique,
    kind_of,
    region_notes,
    xywh_to_xyxy,
)
from jmpose_cli.values import Bools, Ids

_INT32 = 2**31 - 1  # what evaluations count in
_EARS = ("left_ear", "right_ear")
_ID_FIELDS = ("track_id", ID_ATTRIBUTE)
_LONGEST_ID = 15  # digits
_IMAGE_FIELDS = frozenset(
    {"id", "file_name", "width", "height", "frame_index", "time_s", "is_labeled", "ignore_regions_x"}
    | {"ignore_regions_y", "vid_id", "nframes", "frame_id", "has_no_densepose", "has_labeled_person"}
)
_PERSON_FIELDS = frozenset(
    {"id", "image_id", "category_id", "track_id", "person_id", "keypoints", "scores", "keypoint_scores", "score"}
    | {"bbox", "bbox_head", "area", "iscrowd", "num_keypoints", "extra_keypoints", "extra_keypoint_scores"}
)


def read_dataset(path: Path, data: Record, kind: FormatKind) -> PoseRecords:
    """Read a parsed file that has `images`.

    Args:
        path: The file, for messages.
        data: Its top level.
        kind: `posetrack18`, `posetrack21` or `coco`.

    Raises:
        JmposeError: A field is missing, of the wrong kind or length, not finite or doubled.
    """
    joints, category_id = _joints(path, data, kind)
    extra = _extra_joint_names(path, data, joints) if kind == "coco" else ()
    images_table = JsonTable(path, "images", data["images"])
    images = _read_images(images_table)
    if kind == "coco" and "annotations" not in data:
        raise JmposeError(f"{path}: without `annotations`", hint="a COCO data set has images, annotations, categories")
    table = JsonTable(path, "annotations", data.get("annotations", []))
    for row, found in enumerate(table.integers("category_id", default=category_id)):
        if found != category_id:
            hint = f"it must be {category_id}, the category that has keypoints"
            raise table.fault(row, "category_id", f"is {found}", hint=hint)
    is_coco = kind == "coco"
    records = _build_records(
        kind,
        table,
        joints,
        images,
        score_field="keypoint_scores" if is_coco else "scores",
        id_default=None if is_coco else -1,
        track_default=-1 if is_coco else None,
        keypoints_required=is_coco,
        extra=extra,
    )
    if is_coco:
        check_unique(table, "id", records.ids.tolist())
        if (records.track_ids == -1).all():
            records = _with_ids_of_cvat(table, records)
    else:
        check_tracks(records)
    unread = _unread_fields([(images_table, _IMAGE_FIELDS), (table, _PERSON_FIELDS)])
    info = data.get("info")
    return replace(records, unread=unread, info=info if isinstance(info, dict) else {})


def _with_ids_of_cvat(table: JsonTable, records: PoseRecords) -> PoseRecords:
    """Take ids from `attributes`, where CVAT's COCO export has them, and frame numbers from the names of its images.

    Its `track_id` is a number that CVAT has given; one that came with the track stands in an attribute of ours.

    Raises:
        JmposeError: An id is none, or two people of one image have the same.
    """
    said = [record.get("attributes") for record in table.records]
    known = [value if isinstance(value, dict) else {} for value in said]
    numbers, own = ([_id_in(table, row, entry, name) for row, entry in enumerate(known)] for name in _ID_FIELDS)
    if not any(number is not None for number in (*numbers, *own)):
        return records
    notes: list[str] = []
    if any(number is not None for number in own):
        given = {number: mine for number, mine in zip(numbers, own, strict=True) if mine is not None}
        free = max(given.values()) + 1
        new = dict.fromkeys(n for n, mine in zip(numbers, own, strict=True) if mine is None and n not in given)
        new.pop(None, None)
        ids_of = given | dict(zip(new, range(free, free + len(new)), strict=True))
        ids = [ids_of.get(number, -1) if mine is None else mine for number, mine in zip(numbers, own, strict=True)]
        if new:
            notes.append(f"tracks without {ID_ATTRIBUTE} got new ids from {free} on: {len(new)}")
    else:
        ids = [-1 if number is None else number for number in numbers]
    images = records.images
    named = [frame_number(image.file_name) for image in images]
    if all(image.frame_index is None for image in images) and None not in named and len(set(named)) == len(named):
        images = tuple(replace(image, frame_index=number) for image, number in zip(images, named, strict=True))
    found = replace(records, track_ids=np.array(ids, np.int64), images=images, notes=(*records.notes, *notes))
    check_tracks(found)
    return found


def _id_in(table: JsonTable, row: int, attributes: Record, name: str) -> int | None:
    """Read a whole number, which may be written as text; None where it is not said."""
    value = attributes.get(name)
    if value is None or value == "":
        return None
    text = str(value) if type(value) in (int, str) else "?"
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_ID:
        raise table.fault(row, f"attributes.{name}", f"is {str(value)[:40]!r}", hint="it must be a whole number from 0")
    return int(text)


def _joints(path: Path, data: Record, kind: FormatKind) -> tuple[tuple[str, ...], int]:
    if kind == "posetrack21" and "categories" not in data:
        return POSETRACK18.joints, 1
    joints, category_id = _joint_names(path, data.get("categories"))
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


def read_results(path: Path, data: list[Any]) -> PoseRecords:
    """Read a COCO results list; it names no joints, so it must have COCO's 17.

    Raises:
        JmposeError: A field is missing, of the wrong kind or length, or there are several categories.
    """
    table = JsonTable(path, "results", data)
    categories = table.integers("category_id", default=1)
    for row, category in enumerate(categories):
        if category != categories[0]:
            hint = "only people have keypoints: all results must be of one category"
            raise table.fault(row, "category_id", f"is {category}, but {categories[0]} in results[0]", hint=hint)
    image_ids = table.integers("image_id")
    images = tuple(ImageRecord(i, "", None, None, None, None) for i in dict.fromkeys(image_ids))
    first = table.records[0].get("keypoints") if table.records else None
    if isinstance(first, list) and len(first) != 3 * len(COCO17):
        hint = f"a results list names no joints, so it must have the {len(COCO17)} of COCO"
        raise table.fault(0, "keypoints", f"has {len(first)} numbers", hint=hint)
    records = _build_records(
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
    unread = _unread_fields([(table, _PERSON_FIELDS)])
    return replace(records, scores=records.visibility.copy(), unread=unread)


def _joint_names(path: Path, categories: Any) -> tuple[tuple[str, ...], int]:
    """Joint names and id of the one category that has keypoints.

    Raises:
        JmposeError: There is none or more than one, or a name is no string or doubled.
    """
    table = JsonTable(path, "categories", categories)
    rows = [row for row, record in enumerate(table.records) if record.get("keypoints")]
    if len(rows) != 1:
        raise JmposeError(
            f"{path}: {len(rows)} categories have `keypoints`",
            hint="exactly one category must name the joints",
        )
    names = table.records[rows[0]]["keypoints"]
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise table.fault(rows[0], "keypoints", "is not a list of different strings", hint="one name a joint")
    return tuple(names), table.integers("id")[rows[0]]


def _extra_joint_names(path: Path, data: Record, joints: tuple[str, ...]) -> tuple[str, ...]:
    """Joints that the category names beside its `keypoints`.

    Raises:
        JmposeError: They are no list of names that differ from each other and from the others.
    """
    table = JsonTable(path, "categories", data.get("categories"))
    row = next(row for row, record in enumerate(table.records) if record.get("keypoints"))
    names = table.records[row].get("extra_keypoints", [])
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise table.fault(row, "extra_keypoints", "is not a list of strings", hint="one name a joint")
    if len({*names, *joints}) < len(names) + len(joints):
        raise table.fault(row, "extra_keypoints", "names a joint twice", hint="every joint stands once")
    return tuple(names)


def _read_images(table: JsonTable) -> tuple[ImageRecord, ...]:
    """Frames from the records of `images`.

    Raises:
        JmposeError: A field is missing or of the wrong kind, or two images have the same id.
    """
    ids = table.integers("id")
    check_unique(table, "id", ids)
    columns = zip(
        ids,
        table.texts("file_name"),
        table.counts("width", highest=int(LARGEST_BOX_PX)),
        table.counts("height", highest=int(LARGEST_BOX_PX)),
        table.counts("frame_index", highest=LARGEST_FRAME),
        table.numbers("time_s").tolist(),
        table.flags("is_labeled", default=True).tolist(),
        _video_names(table),
        table.counts("nframes", highest=LARGEST_FRAME),
        strict=True,
    )
    return tuple(
        ImageRecord(
            id=image_id,
            file_name=name,
            width=width,
            height=height,
            frame_index=index,
            time_s=None if math.isnan(time) else time,
            is_labeled=is_labeled,
            ignore_regions=_ignore_regions(table, row),
            vid_id=video,
            nframes=nframes,
        )
        for row, (image_id, name, width, height, index, time, is_labeled, video, nframes) in enumerate(columns)
    )


def _video_names(table: JsonTable) -> list[str | None]:
    """`vid_id` of each image, which PoseTrack21's own documentation writes as a number."""
    names: list[str | None] = []
    for row, record in enumerate(table.records):
        name = record.get("vid_id")
        if name is not None and type(name) not in (int, str):
            raise table.fault(row, "vid_id", f"is {kind_of(name)}", hint="it must be a string of six digits")
        names.append(f"{name:06d}" if type(name) is int else name)
    return names


def _ignore_regions(table: JsonTable, row: int) -> tuple[Doubles, ...]:
    """Polygons of one image from the parallel lists `ignore_regions_x` and `ignore_regions_y`."""
    record = table.records[row]
    axes = [record.get(f"ignore_regions_{axis}") or [] for axis in "xy"]
    try:
        polygons = [np.array(polygon) for polygon in zip(*axes, strict=True)]
        kinds = {type(number) for axis in axes for polygon in axis for number in polygon}
    except (TypeError, ValueError):
        polygons, kinds = [np.array(0)], set()
    if bool in kinds or any(p.ndim != 2 or p.dtype.kind not in "iuf" for p in polygons):
        hint = "x and y must be lists of polygons, each a list of numbers, of the same lengths"
        raise table.fault(row, "ignore_regions_x", "and _y do not make polygons", hint=hint)
    corners = tuple(p.T.astype(np.float64) for p in polygons if p.size)
    for number, polygon in enumerate(corners):
        if not fits(polygon, LARGEST_PX).all():
            problem = f"and _y have a corner of polygon {number} outside every picture"
            raise table.fault(row, "ignore_regions_x", problem, hint=f"corners must be numbers {within(LARGEST_PX)}")
    return corners


def _build_records(
    kind: FormatKind,
    table: JsonTable,
    joints: tuple[str, ...],
    images: tuple[ImageRecord, ...],
    *,
    score_field: str,
    id_default: int | None,
    track_default: int | None,
    keypoints_required: bool,
    extra: tuple[str, ...] = (),
) -> PoseRecords:
    """Columns from the records of `annotations`.

    Args:
        kind: The file's format.
        table: The annotations.
        joints: Joint names of the file.
        images: Frames of the file.
        score_field: Name of the list of joint scores.
        id_default: Annotation id where there is none; None = it must be there.
        track_default: Track id where there is none; None = it must be there.
        keypoints_required: False reads people without keypoints as people whose joints are all absent.
        extra: Joints that stand in `extra_keypoints`, with scores in `extra_keypoint_scores`.

    Raises:
        JmposeError: A field is missing, of the wrong kind or length, not finite, or names an unknown image.
    """
    k = len(joints)
    row_of = {image.id: row for row, image in enumerate(images)}
    image_ids = table.integers("image_id")
    for row, image_id in enumerate(image_ids):
        if image_id not in row_of:
            raise table.fault(row, "image_id", f"is {image_id}", hint="it must be the id of one of `images`")
    triples = table.number_lists("keypoints", 3 * k, f"x, y, v of {k} joints", required=keypoints_required)
    triples = np.nan_to_num(triples).reshape(len(table), k, 3)
    scores = table.number_lists(score_field, k, f"one score for each of {k} joints", required=False)
    if extra:
        e = len(extra)
        more = table.number_lists("extra_keypoints", 3 * e, f"x, y, v of {e} joints", required=False)
        triples = np.concatenate([triples, np.nan_to_num(more).reshape(len(table), e, 3)], 1)
        more = table.number_lists("extra_keypoint_scores", e, f"one score for each of {e} joints", required=False)
        scores = np.concatenate([scores, more], 1)
    body_boxes = xywh_to_xyxy(table.boxes("bbox", required=False))
    # Of a head only the diagonal counts, so its corners may be any two.
    head_boxes = xywh_to_xyxy(table.number_lists("bbox_head", 4, "x, y, width, height", required=False))
    image_row = np.array([row_of[i] for i in image_ids], np.int64)
    absent = triples[:, :, 2] <= 0 if kind == "coco" else (triples == 0).all(2)
    counts = zip(table.counts("num_keypoints", highest=_INT32), (~absent).sum(1).tolist(), strict=True)
    return PoseRecords(
        path=table.path,
        kind=kind,
        joints=(*joints, *extra),
        images=images,
        image_row=image_row,
        ids=np.array(table.integers("id", default=id_default), np.int64),
        track_ids=np.array(table.integers("track_id", default=track_default), np.int64),
        person_ids=np.array(table.integers("person_id", default=-1), np.int64),
        xy=triples[:, :, :2],
        visibility=triples[:, :, 2],
        present=~absent,
        scores=scores,
        person_scores=table.numbers("score"),
        boxes_xyxy_px=body_boxes,
        head_boxes_xyxy_px=head_boxes,
        areas=table.numbers("area", lowest=0),
        joint_counts=np.array([visible if stated is None else stated for stated, visible in counts], np.int64),
        is_crowd=table.flags("iscrowd", default=False),
        integer_coordinates=_integer_images(table, triples, image_row, len(images)),
        notes=region_notes(images),
        extra_joints=len(extra),
    )


def _integer_images(table: JsonTable, triples: Doubles, image_row: Ids, images: int) -> Bools:
    """`[M]` images with people, all of whose keypoints are written as integers."""
    whole = (triples == np.floor(triples)).all((1, 2))
    for row in np.flatnonzero(whole).tolist():  # 3.0 is no integer there
        whole[row] = not any(type(value) is float for value in table.records[row].get("keypoints") or ())
    people = np.bincount(image_row, minlength=images)
    return np.asarray((people > 0) & (np.bincount(image_row[whole], minlength=images) == people))


def _unread_fields(tables: Sequence[tuple[JsonTable, frozenset[str]]]) -> tuple[str, ...]:
    """Names of the fields beyond the known ones."""
    found: set[str] = set()
    for table, known in tables:
        found.update(*table.records)
        found -= known
    return tuple(sorted(found))
