"""Boxes of people from a file: COCO JSON, PoseTrack18 JSON or MOT text."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.json_file import parse_json
from jmpose_cli.formats.mot import parse_mot
from jmpose_cli.formats.names import frame_number
from jmpose_cli.formats.numbers import LARGEST_FRAME
from jmpose_cli.formats.records import JsonTable, check_unique
from jmpose_cli.formats.text_file import read_utf8
from jmpose_cli.values import Detections, Ids

_FORMATS = "COCO JSON (a dataset, or a list of results), PoseTrack18 JSON, or MOT text"


@dataclass(frozen=True)
class BoxesFile:
    """The boxes of one video by frame number.

    Attributes:
        path: Where they were read.
        boxes: Frame number to `[N, 4]` float32 corners in image pixels.
        scores: Frame number to `[N]` float32.
        ids: Frame number to `[N]` track ids; None when the file has no ids.
    """

    path: Path
    boxes: dict[int, NDArray[np.float32]]
    scores: dict[int, NDArray[np.float32]]
    ids: dict[int, Ids] | None

    def at(self, index: int) -> tuple[Detections, Ids | None]:
        """Return the boxes of frame `index` and their ids, when the file has ids."""
        if index not in self.boxes:
            return Detections.empty(), None if self.ids is None else np.zeros(0, np.int64)
        return Detections(self.boxes[index], self.scores[index]), None if self.ids is None else self.ids[index]


def read_boxes(path: Path) -> BoxesFile:
    """Read a boxes file; the format is recognised by the content.

    Frame numbers: MOT counts from 1. In JSON the `frame_index` of an image counts, else the number that its
    `file_name` ends in, else its place in the list.

    Raises:
        JmposeError: The file is missing, of no known format, or holds a box that is none.
    """
    data = read_utf8(path)
    if data.lstrip()[:1] in (b"{", b"["):
        return _from_json(path, parse_json(path, data))
    return _from_mot(path, data)


def _from_json(path: Path, parsed: Any) -> BoxesFile:
    if isinstance(parsed, list):
        table, frame_of = JsonTable(path, "results", parsed), None
    else:
        if "images" not in parsed or "annotations" not in parsed:
            raise JmposeError(f"{path}: without `images` and `annotations`", hint=f"allowed: {_FORMATS}")
        table = JsonTable(path, "annotations", parsed["annotations"])
        frame_of = _frames_by_image(JsonTable(path, "images", parsed["images"]))
    boxes = table.boxes("bbox", required=False)
    images, tracks = table.integers("image_id"), table.integers("track_id", default=-1)
    scores = np.nan_to_num(table.numbers("score"), nan=1.0)
    rows = []
    for row, (image, track) in enumerate(zip(images, tracks, strict=True)):
        if math.isnan(boxes[row, 0]) or (frame_of is not None and not boxes[row, 2:].any()):
            continue  # PoseTrack lists people without joints, whose box is missing or empty
        if frame_of is not None and image not in frame_of:
            raise table.fault(row, "image_id", f"is {image}, which no image has", hint="it must be the id of an image")
        frame = image if frame_of is None else frame_of[image]
        rows.append((frame, track, boxes[row], scores[row], f"{table.section}[{row}]"))
    return _build(path, rows)


def _frames_by_image(images: JsonTable) -> dict[int, int]:
    """Map image ids to frame numbers."""
    ids, given = images.integers("id"), images.counts("frame_index", highest=LARGEST_FRAME)
    check_unique(images, "id", ids)
    numbers = [number for number in given if number is not None]
    if len(numbers) == len(ids):
        check_unique(images, "frame_index", numbers)
        return dict(zip(ids, numbers, strict=True))
    names = [frame_number(str(record.get("file_name", ""))) for record in images.records]
    by_name = [number for number in names if number is not None]
    if len(set(by_name)) == len(ids):
        # PoseTrack17 counts files from 1 in some releases; 18 and 21 from 0.
        return dict(zip(ids, by_name, strict=True))
    return {image: place for place, image in enumerate(ids)}


def _from_mot(path: Path, data: bytes) -> BoxesFile:
    rows = []
    for number, values in _mot_lines(path, data):
        score = values[6] if len(values) > 6 and 0 <= values[6] <= 1 else 1.0
        rows.append((int(values[0]) - 1, int(values[1]), np.array(values[2:6]), score, f"line {number}"))
    return _build(path, rows)


def _mot_lines(path: Path, data: bytes) -> Iterator[tuple[int, list[float]]]:
    try:
        yield from parse_mot(path, data, last_frame=LARGEST_FRAME)
    except JmposeError as error:
        raise JmposeError(error.message, hint=f"allowed: {_FORMATS}; {error.hint}") from error


def _build(path: Path, rows: list[tuple[int, int, NDArray[np.float64], float, str]]) -> BoxesFile:
    """Check boxes and gather them by frame."""
    gathered: dict[int, list[tuple[int, NDArray[np.float32], float]]] = {}
    for frame, track, box, score, where in rows:
        corners = np.array([*box[:2], *(box[:2] + box[2:])], np.float32)
        # In float32: a width of 10^-30 is none.
        if not (corners[2:] > corners[:2]).all():
            given = ", ".join(f"{v:g}" for v in box)
            raise JmposeError(f"{path}: {where} has the box {given}", hint="width and height must be above 0")
        gathered.setdefault(frame, []).append((track, corners, score))
    with_ids = bool(rows) and all(row[1] >= 0 for row in rows)
    for frame, people in gathered.items():
        ids = [track for track, *_ in people]
        if with_ids and len(set(ids)) < len(ids):
            raise JmposeError(f"{path}: frame {frame} has a track id twice", hint="ids must be unique in a frame")
    return BoxesFile(
        path,
        {f: np.stack([corners for _, corners, _ in p]) for f, p in gathered.items()},
        {f: np.array([s for *_, s in p], np.float32) for f, p in gathered.items()},
        {f: np.array([t for t, *_ in p], np.int64) for f, p in gathered.items()} if with_ids else None,
    )
