"""PoseTrack17 files: Matlab annotation lists as JSON, where every value is a list of one."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jmpose.keypoints import POSETRACK15
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.names import frame_number, image_id_scheme
from jmpose_cli.formats.numbers import LARGEST, LARGEST_PX, fits, within
from jmpose_cli.formats.records import (
    Doubles,
    ImageRecord,
    PoseRecords,
    Record,
    kind_of,
    region_notes,
)
from jmpose_cli.values import Ids

JOINTS = POSETRACK15.joints
"""By the ids of the format. 6 and 7, MPII's pelvis and thorax, do not exist: PoseTrack numbers its own 15."""
_HEAD_CORNERS = ("x1", "y1", "x2", "y2")
_MAX_WHOLE = 2**53  # beyond, a double skips integers


@dataclass(frozen=True)
class Joints:
    """P points of a file: `[P]` rows of people and ids of joints, `[P, 2]` pixels, `[P]` is_visible and scores."""

    rows: Ids
    ids: Ids
    xy: Doubles
    visible: Doubles
    scores: Doubles


class _Reader:
    """Reads one file; keeps the columns that grow person by person."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.images: list[ImageRecord] = []
        self.image_row: list[int] = []
        self.track_ids: list[int] = []
        self.heads: list[list[float]] = []
        self.person_scores: list[float] = []
        self._points: list[Record] = []
        self._point_rows: list[int] = []
        self._wheres: list[str] = []  # of the people

    def read(self, annolist: Any) -> None:
        """Read all images."""
        names = [self._image_name(place, entry) for place, entry in enumerate(self._list(annolist, "annolist"))]
        for place, (entry, name) in enumerate(zip(annolist, names, strict=True)):
            self.images.append(self._image(place, entry, name))
            for number, person in enumerate(self._list(entry.get("annorect") or [], f"annolist[{place}].annorect")):
                self._person(place, person, f"annolist[{place}].annorect[{number}]")

    def _fault(self, where: str, problem: str, hint: str) -> JmposeError:
        return JmposeError(f"{self._path}: {where} {problem}", hint=hint)

    def _list(self, value: Any, where: str) -> list[Record]:
        entries = [value] if isinstance(value, dict) else value
        if not isinstance(entries, list):
            raise self._fault(where, f"is {kind_of(value)}", "it must be a list of objects")
        for place, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise self._fault(f"{where}[{place}]", f"is {kind_of(entry)}", "it must be an object")
        return entries

    def _number(
        self, record: Record, field: str, where: str, *, default: float | None, limit: float = LARGEST_PX
    ) -> float:
        """One number within plus and minus `limit`, alone or in a list of one; a missing one without default raises."""
        value = record.get(field)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or value == []:
            if default is None:
                raise self._fault(f"{where}.{field}", "is missing", "it must be a number")
            return default
        if type(value) not in (int, float):
            raise self._fault(f"{where}.{field}", f"is {kind_of(value)}", "it must be a number, or a list of one")
        if not abs(value) <= limit:
            raise self._fault(f"{where}.{field}", f"is {value}", f"it must be a number {within(limit)}")
        return float(value)

    def _whole(self, record: Record, field: str, where: str) -> int:
        value = self._number(record, field, where, default=None, limit=_MAX_WHOLE)
        if not value.is_integer():
            raise self._fault(f"{where}.{field}", f"is {value:g}", "it must be an integer")
        return int(value)

    def _image_name(self, place: int, entry: Record) -> str:
        where = f"annolist[{place}].image"
        (image,) = self._list(entry.get("image"), where)[:1] or [{}]
        name = image.get("name")
        if not isinstance(name, str):
            raise self._fault(f"{where}.name", "is missing", "it must be the picture's file name")
        return name

    def _image(self, place: int, entry: Record, name: str) -> ImageRecord:
        where = f"annolist[{place}]"
        folder = Path(name).parent.name
        number = frame_number(name)
        sequence, first = image_id_scheme(folder)
        regions = self._list(entry.get("ignore_regions") or [], f"{where}.ignore_regions")
        polygons = (self._polygon(region, f"{where}.ignore_regions[{i}]") for i, region in enumerate(regions))
        return ImageRecord(
            id=first + (place if number is None else number),
            file_name=name,
            width=None,
            height=None,
            frame_index=None,
            time_s=None,
            is_labeled=bool(self._number(entry, "is_labeled", where, default=1)),
            ignore_regions=tuple(polygon for polygon in polygons if len(polygon)),
            vid_id=f"{sequence:06d}",
        )

    def _polygon(self, region: Record, where: str) -> Doubles:
        points = self._list(region.get("point") or [], f"{where}.point")
        corners = [
            [self._number(p, axis, f"{where}.point[{i}]", default=None) for axis in "xy"] for i, p in enumerate(points)
        ]
        return np.array(corners, np.float64).reshape(-1, 2)

    def _person(self, place: int, person: Record, where: str) -> None:
        # The official reader drops people without points.
        holders = self._list(person.get("annopoints") or [], f"{where}.annopoints")
        points = [p for holder in holders for p in self._list(holder.get("point") or [], f"{where}.annopoints.point")]
        if not points:
            return
        row = len(self.image_row)
        track = self._whole(person, "track_id", where)
        for other in range(row - 1, -1, -1):
            if self.image_row[other] != place:
                break
            if self.track_ids[other] == track:
                problem = f"is {track}, which another person in {self.images[place].file_name} has too"
                raise self._fault(f"{where}.track_id", problem, "it must be different for every person of an image")
        self.image_row.append(place)
        self.track_ids.append(track)
        self.heads.append([self._number(person, corner, where, default=np.nan) for corner in _HEAD_CORNERS])
        self.person_scores.append(self._number(person, "score", where, default=np.nan, limit=LARGEST))
        self._points.extend(points)
        self._point_rows.extend([row] * len(points))
        self._wheres.append(f"{where}.annopoints.point")

    def joints(self) -> Joints:
        """All points of all people, checked."""
        rows = np.array(self._point_rows, np.int64)
        ids = self._point_column("id", None)
        for number in np.flatnonzero(~np.isin(ids, np.arange(len(JOINTS))))[:1].tolist():
            hint = f"PoseTrack17 has the joints 0 to {len(JOINTS) - 1}"
            raise self._fault(f"{self._where_point(number)}.id", f"is {ids[number]:g}", hint)
        keys, first = np.unique(rows * len(JOINTS) + ids, return_index=True)
        if len(keys) < len(ids):
            number = int(np.setdiff1d(np.arange(len(ids)), first)[0])
            problem = f"is {ids[number]:g} again"
            raise self._fault(f"{self._where_point(number)}.id", problem, "a person has each joint once")
        xy = np.stack([self._point_column(axis, None) for axis in "xy"], 1)
        visible, scores = self._point_column("is_visible", 1.0), self._point_column("score", np.nan)
        return Joints(rows, ids.astype(np.int64), xy, visible, scores)

    def _point_column(self, field: str, default: float | None) -> Doubles:
        """`[P]` one number of every point."""
        given = (point.get(field, default) for point in self._points)
        values = [value[0] if type(value) is list and len(value) == 1 else value for value in given]
        if set(map(type, values)) <= {int, float}:
            column = np.array(values, np.float64)
            if (fits(column, LARGEST_PX) | np.isnan(column)).all():  # the default may be NaN
                return column
        places = enumerate(self._points)
        return np.array([self._number(p, field, self._where_point(i), default=default) for i, p in places], np.float64)

    def _where_point(self, number: int) -> str:
        row = self._point_rows[number]
        return f"{self._wheres[row]}[{number - bisect_left(self._point_rows, row)}]"


def read_posetrack17(path: Path, annolist: Any) -> PoseRecords:
    """Read the annotation list of a PoseTrack17 file, ground truth or predictions.

    `x1`, `y1`, `x2`, `y2` are the corners of the head. People without points are dropped, as the official reader does.
    Image ids follow PoseTrack18's scheme.

    Raises:
        JmposeError: A field is missing, of the wrong kind, or out of range.
    """
    reader = _Reader(path)
    reader.read(annolist)
    n, k = len(reader.image_row), len(JOINTS)
    xy, visibility = np.zeros((n, k, 2)), np.zeros((n, k))
    scores, present = np.full((n, k), np.nan), np.zeros((n, k), bool)
    points = reader.joints()
    place = (points.rows, points.ids)
    xy[place], visibility[place], scores[place], present[place] = points.xy, points.visible, points.scores, True
    notes = region_notes(reader.images)
    ids = [image.id for image in reader.images]
    images = reader.images
    if len(set(ids)) < len(ids):  # pictures of several folders, or names without numbers
        images = [ImageRecord(**{**vars(image), "id": place}) for place, image in enumerate(images)]
    return PoseRecords(
        path=path,
        kind="posetrack17",
        joints=JOINTS,
        images=tuple(images),
        image_row=np.array(reader.image_row, np.int64),
        ids=np.full(n, -1),
        track_ids=np.array(reader.track_ids, np.int64),
        person_ids=np.full(n, -1),
        xy=xy,
        visibility=visibility,
        present=present,
        scores=scores,
        person_scores=np.array(reader.person_scores, np.float64),
        boxes_xyxy_px=np.full((n, 4), np.nan),
        head_boxes_xyxy_px=np.array(reader.heads, np.float64).reshape(n, 4),
        areas=np.full(n, np.nan),
        joint_counts=present.sum(1),
        is_crowd=np.zeros(n, bool),
        integer_coordinates=np.zeros(len(images), bool),
        notes=notes,
    )


def annolist_of(records: PoseRecords) -> list[Record]:
    """Build the annotation list of records that have the 15 joints; people without joints cannot be held."""
    columns = [records.joints.index(joint) for joint in JOINTS]
    people: list[list[Record]] = [[] for _ in records.images]
    rows = zip(
        records.image_row.tolist(),
        records.track_ids.tolist(),
        records.person_scores.tolist(),
        records.head_boxes_xyxy_px.tolist(),
        _point_lists(records, columns),
        strict=True,
    )
    for image, track, score, head, points in rows:
        if points:
            people[image].append(_annorect(track, score, head, points))
    return [
        _annolist_entry(image, number, rects)
        for number, (image, rects) in enumerate(zip(records.images, people, strict=True), 1)
    ]


def _annolist_entry(image: ImageRecord, number: int, people: list[Record]) -> Record:
    entry: Record = {
        "image": [{"name": image.file_name}],
        "imgnum": [number],
        "is_labeled": [int(image.is_labeled)],
        "annorect": people,
    }
    if image.ignore_regions:
        entry["ignore_regions"] = [
            {"point": [{"x": [x], "y": [y]} for x, y in polygon.tolist()]} for polygon in image.ignore_regions
        ]
    return entry


def _annorect(track: int, score: float, head: list[float], points: list[Record]) -> Record:
    rect: Record = {}
    if not any(map(math.isnan, head)):
        rect.update((name, [value]) for name, value in zip(_HEAD_CORNERS, head, strict=True))
    rect["track_id"] = [track]
    if not math.isnan(score):
        rect["score"] = [score]
    rect["annopoints"] = [{"point": points}]
    return rect


def _point_lists(records: PoseRecords, columns: list[int]) -> list[list[Record]]:
    """Points of each person, those that are there."""
    lists: list[list[Record]] = [[] for _ in range(len(records))]
    present = records.present[:, columns]
    rows, joints = np.nonzero(present)
    xy, visible, scores = (a[:, columns][present].tolist() for a in (records.xy, records.visibility, records.scores))
    for row, joint, (x, y), shown, score in zip(rows.tolist(), joints.tolist(), xy, visible, scores, strict=True):
        point: Record = {"id": [joint], "x": [x], "y": [y]}
        scored = not math.isnan(score)
        if scored:
            point["score"] = [score]
        if not scored or shown != 1:
            point["is_visible"] = [shown]
        lists[row].append(point)
    return lists
