"""Pose files in memory: one neutral form for COCO and PoseTrack, and the checks that reading them shares.

Columns with one row a person, in file order; float64 throughout, because official evaluations compare in
float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from jmpose_cli.errors import JmposeError
from jmpose_cli.structures import Bools, Ids

Doubles = NDArray[np.float64]
Record = dict[str, Any]
FormatKind = Literal["posetrack17", "posetrack18", "posetrack21", "coco", "coco-results", "mot"]
_MISSING = object()


@dataclass(frozen=True)
class ImageRecord:
    """One frame of a pose file.

    Attributes:
        id: The file's own id of the image.
        file_name: As in the file.
        width: Pixels; None when the file does not say.
        height: Pixels; None when the file does not say.
        frame_index: Frame number in the video from 0; None when the file does not say.
        time_s: Timestamp in seconds; None when the file does not say.
        is_labeled: False on frames that PoseTrack left without annotation.
        ignore_regions: `[P, 2]` polygons in image pixels where nothing is evaluated.
        vid_id: PoseTrack's name of the video; None when the file does not say.
        nframes: Frames of the whole video; None when the file does not say.
    """

    id: int
    file_name: str
    width: int | None
    height: int | None
    frame_index: int | None
    time_s: float | None
    is_labeled: bool = True
    ignore_regions: tuple[Doubles, ...] = ()
    vid_id: str | None = None
    nframes: int | None = None


@dataclass(frozen=True, repr=False)
class PoseRecords:
    """A whole pose file: N people in M images with K joints.

    Attributes:
        path: Where it was read.
        kind: The format that it was in.
        joints: K joint names in the file's order.
        images: M images in file order.
        image_row: `[N]` position in `images` of each person's frame.
        ids: `[N]` annotation ids; -1 where the file has none.
        track_ids: `[N]` track ids; -1 where the file has none.
        person_ids: `[N]` PoseTrack21's ids across videos; -1 where the file has none.
        xy: `[N, K, 2]` joints in image pixels.
        visibility: `[N, K]` third value of each joint as in the file.
        present: `[N, K]` the file gives the joint. PoseTrack18 and 21, COCO results: not x = y = v = 0; PoseTrack17: it
            is listed; COCO data sets: v > 0.
        scores: `[N, K]` joint scores; NaN where the file has none.
        person_scores: `[N]` NaN where the file has none.
        boxes_xyxy_px: `[N, 4]` corners; NaN where the file has none.
        head_boxes_xyxy_px: `[N, 4]` corners; NaN where the file has none.
        areas: `[N]` square pixels; NaN where the file has none.
        is_crowd: `[N]` COCO's iscrowd.
        integer_coordinates: `[M]` images with people whose keypoint lists hold integers only, which the PoseTrack21 kit
            treats in its own way.
        notes: What was odd about the file.
        unread: Fields that have no place here.
    """

    path: Path
    kind: FormatKind
    joints: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    image_row: Ids
    ids: Ids
    track_ids: Ids
    person_ids: Ids
    xy: Doubles
    visibility: Doubles
    present: Bools
    scores: Doubles
    person_scores: Doubles
    boxes_xyxy_px: Doubles
    head_boxes_xyxy_px: Doubles
    areas: Doubles
    is_crowd: Bools
    integer_coordinates: Bools
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_row)

    def __repr__(self) -> str:
        arrays = (f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray))
        shapes = ", ".join(f"{name}={list(getattr(self, name).shape)}" for name in arrays)
        return f"PoseRecords({self.path.name!r}, images={len(self.images)}, {shapes})"


class JsonTable:
    """Typed access to the records of one list of a JSON file; errors name file, record and field.

    Args:
        path: The file, for messages.
        section: Name of the list, for messages.
        records: The list's value as parsed.

    Raises:
        JmposeError: `records` is not a list of objects.
    """

    def __init__(self, path: Path, section: str, records: Any) -> None:
        self.path = path
        self.section = section
        if not isinstance(records, list):
            raise JmposeError(
                f"{path}: `{section}` is {kind_of(records)}", hint=f"`{section}` must be a list of objects"
            )
        self.records: list[Record] = records
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                raise JmposeError(f"{path}: {section}[{row}] is {kind_of(record)}", hint="it must be an object")

    def __len__(self) -> int:
        return len(self.records)

    def fault(self, row: int, field: str, problem: str, *, hint: str) -> JmposeError:
        """The error for one field of one record."""
        return JmposeError(f"{self.path}: {self.section}[{row}].{field} {problem}", hint=hint)

    def integers(self, field: str, *, default: int | None = None) -> list[int]:
        """One integer a record; `default` where the field is missing, None meaning that it must be there."""
        return self._column(field, (int,), "an integer", default)

    def texts(self, field: str) -> list[str]:
        """One string a record."""
        return self._column(field, (str,), "a string", None)

    def numbers(self, field: str) -> Doubles:
        """`[N]` one finite number a record, NaN where the field is missing."""
        values = self._column(field, (int, float), "a number", math.nan)
        return np.array(values, np.float64)

    def flags(self, field: str, *, default: bool) -> Bools:
        """`[N]` one truth value a record, written as true and false or as 1 and 0."""
        values = self._column(field, (bool, int), "true, false, 0 or 1", default)
        return np.array(values, bool)

    def number_lists(self, field: str, length: int, meaning: str, *, required: bool) -> Doubles:
        """`[N, length]` one list of finite numbers a record; NaN where it is missing or empty, if it may be."""
        table = np.full((len(self), length), math.nan)
        rows = [row for row, record in enumerate(self.records) if required or record.get(field)]
        lists = [self.records[row].get(field, _MISSING) for row in rows]
        if lists:
            table[rows] = self._parse_lists(field, lists, rows, length, meaning)
        return table

    def _column(self, field: str, kinds: tuple[type, ...], wanted: str, default: Any) -> list[Any]:
        values = [record.get(field, default) for record in self.records]
        for row, value in enumerate(values):
            # `type` and not isinstance: True is no id.
            if type(value) not in kinds:
                problem = "is missing" if field not in self.records[row] else f"is {kind_of(value)}"
                raise self.fault(row, field, problem, hint=f"it must be {wanted}")
        return values

    def _parse_lists(self, field: str, lists: Sequence[Any], rows: Sequence[int], length: int, meaning: str) -> Doubles:
        try:
            array = np.array(lists)
        except ValueError:
            array = np.array(0)
        if array.dtype.kind in "if" and array.shape == (len(lists), length) and np.isfinite(array).all():
            return array.astype(np.float64)
        for row, values in zip(rows, lists, strict=True):
            problem = _list_problem(values, length)
            if problem:
                raise self.fault(row, field, problem, hint=f"it must be {length} numbers ({meaning})")
        return np.array(lists, np.float64)


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        JmposeError: The file is missing, unreadable, empty or not JSON.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise JmposeError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        hint = "the file may be cut off; NaN and Infinity are not allowed in JSON"
        raise JmposeError(f"{path} is not valid JSON: {error}", hint=hint) from error


def read_json_object(path: Path) -> Record:
    """Parse a JSON file whose top level is an object.

    Raises:
        JmposeError: As `read_json`, or it holds something else.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise JmposeError(f"{path}: the top level is {kind_of(data)}", hint="it must be an object with `images`")
    return data


def joint_names(path: Path, categories: Any) -> tuple[tuple[str, ...], int]:
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


def read_images(table: JsonTable) -> tuple[ImageRecord, ...]:
    """Frames from the records of `images`.

    Raises:
        JmposeError: A field is missing or of the wrong kind, or two images have the same id.
    """
    ids = table.integers("id")
    check_unique(table, "id", ids)
    columns = zip(
        ids,
        table.texts("file_name"),
        table.integers("width", default=-1),
        table.integers("height", default=-1),
        table.integers("frame_index", default=-1),
        table.numbers("time_s").tolist(),
        table.flags("is_labeled", default=True).tolist(),
        _video_names(table),
        table.integers("nframes", default=-1),
        strict=True,
    )
    return tuple(
        ImageRecord(
            id=image_id,
            file_name=name,
            width=width if width >= 0 else None,
            height=height if height >= 0 else None,
            frame_index=index if index >= 0 else None,
            time_s=None if math.isnan(time) else time,
            is_labeled=is_labeled,
            ignore_regions=_ignore_regions(table, row),
            vid_id=video,
            nframes=nframes if nframes >= 0 else None,
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
    except (TypeError, ValueError):
        polygons = [np.array(0)]
    if any(p.ndim != 2 or p.dtype.kind not in "if" for p in polygons):
        hint = "x and y must be lists of polygons, each a list of numbers, of the same lengths"
        raise table.fault(row, "ignore_regions_x", "and _y do not make polygons", hint=hint)
    return tuple(p.T.astype(np.float64) for p in polygons if p.size)


def region_notes(images: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Say so when ignore regions are no areas."""
    flat = sum(len(polygon) < 3 for image in images for polygon in image.ignore_regions)
    return (f"ignore regions with fewer than 3 corners contain nothing: {flat}",) if flat else ()


def build_records(
    kind: FormatKind,
    table: JsonTable,
    joints: tuple[str, ...],
    images: tuple[ImageRecord, ...],
    *,
    score_field: str,
    id_default: int | None,
    track_default: int | None,
    keypoints_required: bool,
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
    boxes = (table.number_lists(name, 4, "x, y, width, height", required=False) for name in ("bbox", "bbox_head"))
    body_boxes, head_boxes = map(xywh_to_xyxy, boxes)
    image_row = np.array([row_of[i] for i in image_ids], np.int64)
    absent = triples[:, :, 2] <= 0 if kind == "coco" else (triples == 0).all(2)
    return PoseRecords(
        path=table.path,
        kind=kind,
        joints=joints,
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
        areas=table.numbers("area"),
        is_crowd=table.flags("iscrowd", default=False),
        integer_coordinates=_integer_images(table, triples, image_row, len(images)),
        notes=region_notes(images),
    )


def _integer_images(table: JsonTable, triples: Doubles, image_row: Ids, images: int) -> Bools:
    """`[M]` images with people, all of whose keypoints are written as integers."""
    whole = (triples == np.floor(triples)).all((1, 2))
    for row in np.flatnonzero(whole).tolist():  # 3.0 is no integer there
        whole[row] = not any(type(value) is float for value in table.records[row].get("keypoints") or ())
    people = np.bincount(image_row, minlength=images)
    return np.asarray((people > 0) & (np.bincount(image_row[whole], minlength=images) == people))


def unread_fields(tables: Sequence[tuple[JsonTable, frozenset[str]]]) -> tuple[str, ...]:
    """Names of the fields beyond the known ones."""
    found: set[str] = set()
    for table, known in tables:
        found.update(*table.records)
        found -= known
    return tuple(sorted(found))


def check_unique(table: JsonTable, field: str, values: Sequence[Any]) -> None:
    """Raise JmposeError when two records have the same value."""
    first: dict[Any, int] = {}
    for row, value in enumerate(values):
        if value in first:
            problem = f"is {value}, as in {table.section}[{first[value]}]"
            raise table.fault(row, field, problem, hint="it must be different in every record")
        first[value] = row


def xywh_to_xyxy(boxes: Doubles) -> Doubles:
    """Left, top, width, height `[N, 4]` to corners."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _list_problem(values: Any, length: int) -> str:
    if values is _MISSING:
        return "is missing"
    if not isinstance(values, list):
        return f"is {kind_of(values)}"
    if len(values) != length:
        return f"has {len(values)} values"
    for position, value in enumerate(values):
        if type(value) not in (int, float):
            return f"has {kind_of(value)} at position {position}"
        if not math.isfinite(value):
            return f"has {value} at position {position}"
    return ""


def kind_of(value: Any) -> str:
    """Name a JSON value for a message."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value}")
