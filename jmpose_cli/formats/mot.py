"""MOT text files: one box a line, `frame, id, left, top, width, height, score, class, ...`, frames from 1."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.numbers import LARGEST, LARGEST_BOX_PX, number_of
from jmpose_cli.formats.records import Doubles, ImageRecord, PoseRecords, xywh_to_xyxy, xyxy_to_xywh
from jmpose_cli.formats.text_file import read_utf8
from jmpose_cli.values import Ids

_PERSON = 1  # class of pedestrians in MOT16 to 20; -1 where classes are not given
_MAX_FRAME = 10**6  # every frame up to the last one is listed
_MAX_ID = 2**53  # beyond, a double skips integers
COLUMNS = ("frame", "id", "left", "top", "width", "height", "score")
_NEEDED = 6  # columns of a box


def read_mot(path: Path) -> PoseRecords:
    """Read a MOT file, ground truth or tracks: people without joints.

    Frame n becomes image n - 1 with that `frame_index`; every frame up to the last one is listed. In MOT's own
    ground truth, boxes with score 0 or of other classes than 1 do not count and are left out.

    Raises:
        JmposeError: A line that is no box, or an id that a frame has twice.
    """
    parsed = list(parse_mot(path, read_utf8(path), last_frame=_MAX_FRAME))
    counted = [(number, values) for number, values in parsed if _counts(values)]
    notes: tuple[str, ...] = ()
    if len(counted) < len(parsed):
        notes = (f"boxes that do not count in MOT (score 0 or class not {_PERSON}): {len(parsed) - len(counted)}",)
    _check_ids(path, counted)
    table = np.array([values[:6] for _, values in counted], np.float64).reshape(-1, 6)
    n = len(table)
    frames = table[:, 0].astype(np.int64) - 1
    none, joints = np.full(n, -1), np.zeros((n, 0))
    return PoseRecords(
        path=path,
        kind="mot",
        joints=(),
        images=tuple(ImageRecord(i + 1, "", None, None, i, None) for i in range(int(frames.max(initial=-1)) + 1)),
        image_row=frames,
        ids=none,
        track_ids=table[:, 1].astype(np.int64),
        person_ids=none.copy(),
        xy=np.zeros((n, 0, 2)),
        visibility=joints,
        present=np.zeros((n, 0), bool),
        scores=joints.copy(),
        person_scores=np.array([values[6] if len(values) > 6 else np.nan for _, values in counted]),
        boxes_xyxy_px=xywh_to_xyxy(table[:, 2:]),
        head_boxes_xyxy_px=np.full((n, 4), np.nan),
        areas=np.full(n, np.nan),
        joint_counts=np.zeros(n, np.int64),
        is_crowd=np.zeros(n, bool),
        integer_coordinates=np.zeros(int(frames.max(initial=-1)) + 1, bool),
        notes=notes,
    )


def parse_mot(path: Path, data: bytes, *, last_frame: int) -> Iterator[tuple[int, list[float]]]:
    """Yield the number of each line that is not empty, from 1, and its values in the order of `COLUMNS`.

    Args:
        path: The file, for messages.
        data: Its content.
        last_frame: Highest frame number that is taken.

    Raises:
        JmposeError: A line that is no box; the message names the column.
    """
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        values = [number_of(part) for part in re.split(r"[,\s]+", line.strip().rstrip(","))]
        problem = _problem(values, last_frame)
        if problem:
            hint = f"MOT: {', '.join(COLUMNS)}, with frames from 1 to {last_frame}"
            raise JmposeError(f"{path}: line {number} is no box ({problem}): {line[:60]!r}", hint=hint)
        yield number, values


def _problem(values: list[float], last_frame: int) -> str:
    if len(values) < _NEEDED:
        return f"{len(values)} columns of at least {_NEEDED}"
    limits = (last_frame, _MAX_ID, *[LARGEST_BOX_PX] * 4)
    lowest = (1, -_MAX_ID, -LARGEST_BOX_PX, -LARGEST_BOX_PX, 0, 0)
    for place, value in enumerate(values):
        name = COLUMNS[place] if place < len(COLUMNS) else f"column {place + 1}"
        if value != value:
            return f"{name} is no number"
        low, high = (lowest[place], limits[place]) if place < _NEEDED else (-LARGEST, LARGEST)
        if not low <= value <= high:
            return f"{name} is not from {low:.0f} to {high:.0f}"
    if values[0] % 1 or values[1] % 1:
        return "frame and id must be integers"
    if not (values[4] and values[5]):
        return "width and height must be above 0"
    return ""


def _counts(values: list[float]) -> bool:
    """Whether a line is a person; -1 stands for "not said".

    The eighth column is a class where a visibility, or nothing, follows. In the ten columns of MOT15 it is where the
    person stands, in metres.
    """
    has_class = len(values) in (8, 9) and values[7] > 0
    return not has_class or (values[7] == _PERSON and values[6] != 0)


def _check_ids(path: Path, boxes: list[tuple[int, list[float]]]) -> None:
    first: dict[tuple[float, float], int] = {}
    for number, values in boxes:
        key = (values[0], values[1])
        if values[1] >= 0 and key in first:
            raise JmposeError(
                f"{path}: line {number} has the id {values[1]:g} of line {first[key]} in the same frame",
                hint="ids must be different within a frame",
            )
        first[key] = number


def mot_text(frames: Ids, track_ids: Ids, boxes_xyxy_px: Doubles, scores: Doubles) -> str:
    """Build the lines of a file; frames from 0, `[N]` each, boxes `[N, 4]`; numbers as short as they can be."""
    lines = []
    values = xyxy_to_xywh(boxes_xyxy_px)
    order = np.argsort(frames, kind="stable")
    for row in order.tolist():
        box = ",".join(repr(value) for value in values[row].tolist())
        lines.append(f"{int(frames[row]) + 1},{int(track_ids[row])},{box},{float(scores[row])!r},-1,-1,-1")
    return "".join(f"{line}\n" for line in lines)
