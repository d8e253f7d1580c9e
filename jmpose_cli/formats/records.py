"""Pose files in memory: one neutral form for COCO and PoseTrack, and the checks that reading them shares.

Columns with one row a person, in file order; float64 throughout, because official evaluations compare in
float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.names import frame_number
from jmpose_cli.formats.numbers import LARGEST, LARGEST_BOX_PX, LARGEST_PX, fits, within
from jmpose_cli.values import Bools, Ids

Doubles = NDArray[np.float64]
Record = dict[str, Any]
FormatKind = Literal["posetrack17", "posetrack18", "posetrack21", "coco", "coco-results", "mot", "cvat", "dlc", "sleap"]
_MISSING = object()
_INT64 = np.iinfo(np.int64)
_MOST_NAMES = 10


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
        joint_counts: `[N]` COCO's num_keypoints: people of 0 are not evaluated. Where the file does not say, the
            number of joints that are there.
        is_crowd: `[N]` COCO's iscrowd.
        integer_coordinates: `[M]` images with people whose keypoint lists hold integers only, which the PoseTrack21 kit
            treats in its own way.
        notes: What was odd about the file.
        unread: Fields that have no place here.
        extra_joints: How many of the joints, the last, stand beside those that a COCO file is evaluated by.
        info: The file's `info`.
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
    joint_counts: Ids
    is_crowd: Bools
    integer_coordinates: Bools
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    extra_joints: int = 0
    info: Record = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_row)

    def in_square_pixels(self, pixel_width: float) -> "PoseRecords":
        """Return the annotations of the same pictures, resized in width so that their pixels are square.

        Args:
            pixel_width: Width of a pixel in heights of a pixel.
        """
        if pixel_width == 1:
            return self

        def wide(points: Doubles) -> Doubles:
            return np.asarray(points * (pixel_width, 1) + ((pixel_width - 1) / 2, 0))  # pixel centres are at integers

        def wide_boxes(boxes: Doubles) -> Doubles:
            return wide(boxes.reshape(-1, 2, 2)).reshape(boxes.shape)

        images = [
            replace(
                image,
                width=None if image.width is None else round(image.width * pixel_width),
                ignore_regions=tuple(wide(region) for region in image.ignore_regions),
            )
            for image in self.images
        ]
        return replace(
            self,
            images=tuple(images),
            xy=wide(self.xy),
            boxes_xyxy_px=wide_boxes(self.boxes_xyxy_px),
            head_boxes_xyxy_px=wide_boxes(self.head_boxes_xyxy_px),
            areas=self.areas * pixel_width,
        )

    def without_extra_joints(self) -> "PoseRecords":
        """Return the same with the joints that a COCO file is evaluated by."""
        if not self.extra_joints:
            return self
        kept = slice(len(self.joints) - self.extra_joints)
        columns = {name: getattr(self, name)[:, kept] for name in ("xy", "visibility", "present", "scores")}
        return replace(self, joints=self.joints[kept], extra_joints=0, **columns)

    def __repr__(self) -> str:
        arrays = (f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray))
        shapes = ", ".join(f"{name}={list(getattr(self, name).shape)}" for name in arrays)
        return f"PoseRecords({self.path.name!r}, images={len(self.images)}, {shapes})"


def bare_records(
    path: Path,
    kind: FormatKind,
    joints: tuple[str, ...],
    images: Sequence[ImageRecord],
    *,
    image_row: Ids,
    track_ids: Ids,
    xy: Doubles,
    visibility: Doubles,
    scores: Doubles,
    person_scores: Doubles | None = None,
    notes: Sequence[str] = (),
    info: Record | None = None,
) -> PoseRecords:
    """Make records of a format that has joints and tracks, and no boxes and areas.

    Args:
        path: Where they were read.
        kind: The format.
        joints: K names.
        images: M images.
        image_row: `[N]` as in `PoseRecords`.
        track_ids: `[N]`.
        xy: `[N, K, 2]` image pixels.
        visibility: `[N, K]` COCO's, 0 where the joint is not there.
        scores: `[N, K]`.
        person_scores: `[N]`; None where the format has none.
        notes: What was odd about the file.
        info: What it says of the tool and of the video.
    """
    count = len(image_row)
    present = visibility > 0
    boxes = np.full((count, 4), np.nan)
    return PoseRecords(
        path=path,
        kind=kind,
        joints=joints,
        images=tuple(images),
        image_row=image_row,
        ids=np.full(count, -1),
        track_ids=track_ids,
        person_ids=np.full(count, -1),
        xy=np.where(present[..., None], xy, 0.0),
        visibility=visibility,
        present=present,
        scores=np.where(present, scores, np.nan),
        person_scores=np.full(count, np.nan) if person_scores is None else person_scores,
        boxes_xyxy_px=boxes,
        head_boxes_xyxy_px=boxes.copy(),
        areas=np.full(count, np.nan),
        joint_counts=present.sum(1),
        is_crowd=np.zeros(count, bool),
        integer_coordinates=np.zeros(len(images), bool),
        notes=tuple(notes),
        info=info or {},
    )


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
        values: list[int] = self._column(field, (int,), "an integer", default)
        self._check_range(field, values, _INT64.min, _INT64.max, "an integer of at most 64 bits")
        return values

    def counts(self, field: str, *, highest: int) -> list[int | None]:
        """One integer from 0 to `highest` a record, None where the field is missing."""
        values = self._column(field, (int,), "an integer", 0)
        self._check_range(field, values, 0, highest, f"an integer from 0 to {highest}")
        return [value if field in record else None for record, value in zip(self.records, values, strict=True)]

    def texts(self, field: str) -> list[str]:
        """One string a record."""
        return self._column(field, (str,), "a string", None)

    def numbers(self, field: str, *, lowest: float = -LARGEST) -> Doubles:
        """`[N]` one number from `lowest` to `LARGEST` a record, NaN where the field is missing."""
        values = self._column(field, (int, float), "a number", math.nan)
        given = [lowest if field not in record else value for record, value in zip(self.records, values, strict=True)]
        self._check_range(field, given, lowest, LARGEST, f"a number from {lowest:.0f} to {LARGEST:.0f}")
        return np.array(values, np.float64)

    def flags(self, field: str, *, default: bool) -> Bools:
        """`[N]` one truth value a record, written as true and false or as 1 and 0."""
        values = self._column(field, (bool, int), "true, false, 0 or 1", default)
        self._check_range(field, values, 0, 1, "true, false, 0 or 1")
        return np.array(values, bool)

    def boxes(self, field: str, *, required: bool) -> Doubles:
        """`[N, 4]` left, top, width, height in pixels; NaN where they are missing or empty, if they may be."""
        table = self.number_lists(field, 4, "x, y, width, height", required=required)
        is_missing = np.isnan(table).all(1)
        right = fits(table, LARGEST_BOX_PX).all(1) & (table[:, 2:] >= 0).all(1)
        for row in np.flatnonzero(~(right | is_missing))[:1].tolist():
            given = ", ".join(f"{value:g}" for value in table[row])
            hint = f"numbers must be {within(LARGEST_BOX_PX)}, width and height not below 0"
            raise self.fault(row, field, f"is {given}", hint=hint)
        return table

    def number_lists(self, field: str, length: int, meaning: str, *, required: bool) -> Doubles:
        """`[N, length]` one list of numbers that fit into a picture; NaN where it is missing or empty, if it may be."""
        table = np.full((len(self), length), math.nan)
        rows = [row for row, record in enumerate(self.records) if required or record.get(field) not in (None, [])]
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

    def _check_range(self, field: str, values: Sequence[float], lowest: float, highest: float, wanted: str) -> None:
        if not values or (lowest <= min(values) and max(values) <= highest):
            return
        row = next(row for row, value in enumerate(values) if not lowest <= value <= highest)
        raise self.fault(row, field, f"is {values[row]}", hint=f"it must be {wanted}")

    def _parse_lists(self, field: str, lists: Sequence[Any], rows: Sequence[int], length: int, meaning: str) -> Doubles:
        try:
            array = np.array(lists)
        except ValueError:
            array = np.array(0)
        # numpy takes true for 1
        if array.dtype.kind in "if" and array.shape == (len(lists), length) and not _holds_bool(lists):
            table = array.astype(np.float64)
            if fits(table, LARGEST_PX).all():
                return table
        for row, values in zip(rows, lists, strict=True):
            problem = _list_problem(values, length)
            if problem:
                hint = f"it must be {length} numbers ({meaning}) {within(LARGEST_PX)}"
                raise self.fault(row, field, problem, hint=hint)
        return np.array(lists, np.float64)


def frame_numbers(images: Sequence[ImageRecord]) -> Ids:
    """`[M]` frame numbers from 0: as said, else from the file names, else the places in the list."""
    said = [image.frame_index for image in images]
    named = [frame_number(image.file_name) for image in images]
    for numbers in (said, named):
        if None not in numbers and len(set(numbers)) == len(numbers):
            return np.array(numbers, np.int64)
    return np.arange(len(images))


def region_notes(images: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Say so when ignore regions are no areas."""
    flat = sum(len(polygon) < 3 for image in images for polygon in image.ignore_regions)
    return (f"ignore regions with fewer than 3 corners contain nothing: {flat}",) if flat else ()


def check_unique(table: JsonTable, field: str, values: Sequence[Any]) -> None:
    """Raise JmposeError when two records have the same value."""
    first: dict[Any, int] = {}
    for row, value in enumerate(values):
        if value in first:
            problem = f"is {value}, as in {table.section}[{first[value]}]"
            raise table.fault(row, field, problem, hint="it must be different in every record")
        first[value] = row


def check_tracks(records: PoseRecords) -> None:
    """Raise JmposeError when two people of one image have the same track id; -1 is no id outside of PoseTrack.

    The message names the first two people, and frames.
    """
    tracks, track = np.unique(records.track_ids, return_inverse=True)
    keys = records.image_row * len(tracks) + track
    if not records.kind.startswith("posetrack"):
        keys = np.where(records.track_ids == -1, -1 - np.arange(len(records)), keys)
    found, first = np.unique(keys, return_index=True)
    if len(found) == len(keys):
        return
    doubled = np.setdiff1d(np.arange(len(keys)), first)
    row = int(doubled[0])
    names = list(dict.fromkeys(_image_name(records.images[place]) for place in records.image_row[doubled].tolist()))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    raise JmposeError(
        f"{records.path}: annotations[{row}].track_id is {records.track_ids[row]}, "
        f"as in annotations[{np.argmax(keys == keys[row])}] of the same image",
        hint=f"it must be different for every person of an image; here {', '.join(names[:_MOST_NAMES])}{more}",
    )


def _image_name(image: ImageRecord) -> str:
    return image.file_name or (str(image.id) if image.frame_index is None else f"frame {image.frame_index}")


def need_tracks(records: PoseRecords, to: str) -> None:
    """Raise JmposeError when somebody has no track id; `to` is the format that needs one."""
    nameless = np.flatnonzero(records.track_ids < 0)
    if nameless.size:
        image = records.images[records.image_row[nameless[0]]]
        raise JmposeError(
            f"{records.path}: person {nameless[0]} in {image.file_name or image.id} has no track_id",
            hint=f"{to} needs one for everybody; track the people first, with `jmpose infer`",
        )


def xywh_to_xyxy(boxes: Doubles) -> Doubles:
    """Left, top, width, height `[N, 4]` to corners."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(corners: Doubles) -> Doubles:
    """Corners `[N, 4]` to left, top, width, height; the shortest decimal sizes that lead back to the same corners."""
    low, high = corners[:, :2], corners[:, 2:]
    sizes = high - low
    for decimals in (9, 6, 3):  # 10.1 + 0.2 - 10.1 is no 0.2
        rounded = np.round(sizes, decimals)
        sizes = np.where(low + rounded == high, rounded, sizes)
    return np.concatenate([low, sizes], axis=1)


def _holds_bool(lists: Sequence[Any]) -> bool:
    return bool in set(map(type, chain.from_iterable(lists)))


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
        if not abs(value) <= LARGEST_PX:
            return f"has {value} at position {position}"
    return ""


def kind_of(value: Any) -> str:
    """Name a JSON value for a message."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value}")
