"""Boxes of people from a file: COCO JSON, PoseTrack18 JSON or MOT text."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import JsonTable
from jmpose_cli.regular_file import read_regular
from jmpose_cli.structures import Detections, Ids

_FORMATS = "COCO JSON (a dataset, or a list of results), PoseTrack18 JSON, or MOT text"
_MOT_COLUMNS = "frame, id, left, top, width, height, score, with frames from 1"


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
        """Give the boxes of frame `index` and their ids, when the file has ids."""
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
    try:
        data = read_regular(path)
    except OSError as error:
        raise JmposeError(f"{path}: cannot be read ({error.strerror})", hint=f"allowed: {_FORMATS}") from error
    start = data.lstrip()[:1]
    if start == b"{" or start == b"[":
        try:
            parsed = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise JmposeError(f"{path} is not valid JSON: {error}", hint="the file may be cut off") from error
        return _from_json(path, parsed)
    return _from_mot(path, data)


def _from_json(path: Path, parsed: Any) -> BoxesFile:
    if isinstance(parsed, list):
        table, frame_of = JsonTable(path, "results", parsed), None
    else:
        if "images" not in parsed or "annotations" not in parsed:
            raise JmposeError(f"{path}: without `images` and `annotations`", hint=f"allowed: {_FORMATS}")
        table = JsonTable(path, "annotations", parsed["annotations"])
        frame_of = _frames_by_image(JsonTable(path, "images", parsed["images"]))
    boxes = table.number_lists("bbox", 4, "left, top, width, height", required=False)
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
    ids, numbers = images.integers("id"), images.integers("frame_index", default=-1)
    names = [re.search(r"(\d+)\.\w+$", str(record.get("file_name", ""))) for record in images.records]
    by_name = [int(found.group(1)) if found else -1 for found in names]
    if all(number >= 0 for number in numbers):
        return dict(zip(ids, numbers, strict=True))
    if by_name and -1 not in by_name and len(set(by_name)) == len(by_name):
        # PoseTrack17 counts files from 1 in some releases; 18 and 21 from 0.
        return dict(zip(ids, by_name, strict=True))
    return {image: place for place, image in enumerate(ids)}


def _from_mot(path: Path, data: bytes) -> BoxesFile:
    rows = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = [float(part) for part in re.split(r"[,\s]+", line.strip().rstrip(","))]
        except ValueError:
            values = []
        if len(values) < 6 or values[0] < 1:
            raise JmposeError(
                f"{path}: line {number} is no box: {line[:60]!r}", hint=f"allowed: {_FORMATS}; MOT: {_MOT_COLUMNS}"
            )
        score = values[6] if len(values) > 6 and 0 <= values[6] <= 1 else 1.0
        rows.append((int(values[0]) - 1, int(values[1]), np.array(values[2:6]), score, f"line {number}"))
    return _build(path, rows)


def _build(path: Path, rows: list[tuple[int, int, NDArray[np.float64], float, str]]) -> BoxesFile:
    """Check boxes and gather them by frame."""
    gathered: dict[int, list[tuple[int, NDArray[np.float64], float]]] = {}
    for frame, track, box, score, where in rows:
        if not np.isfinite(box).all() or box[2] <= 0 or box[3] <= 0:
            given = ", ".join(f"{v:g}" for v in box)
            raise JmposeError(f"{path}: {where} has the box {given}", hint="width and height must be above 0")
        gathered.setdefault(frame, []).append((track, box, score))
    with_ids = bool(rows) and all(row[1] >= 0 for row in rows)
    for frame, people in gathered.items():
        ids = [track for track, *_ in people]
        if with_ids and len(set(ids)) < len(ids):
            raise JmposeError(f"{path}: frame {frame} has a track id twice", hint="ids must be unique in a frame")
    return BoxesFile(
        path,
        {f: np.array([[*b[:2], *(b[:2] + b[2:])] for _, b, _ in p], np.float32) for f, p in gathered.items()},
        {f: np.array([s for *_, s in p], np.float32) for f, p in gathered.items()},
        {f: np.array([t for t, *_ in p], np.int64) for f, p in gathered.items()} if with_ids else None,
    )
