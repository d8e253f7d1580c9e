"""DeepLabCut's tables: CSV and, by pandas and PyTables, HDF5; of one animal or of several.

Four rows of headings (`scorer`, `individuals`, `bodyparts`, `coords`; without `individuals` for one animal), then a row
for each frame with `x`, `y` and `likelihood` of every joint of every individual. An individual is `track_<id>`.
"""

import csv
import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.hdf5 import open_hdf5
from jmpose_cli.formats.names import frame_number
from jmpose_cli.formats.numbers import LARGEST, LARGEST_PX, number_of
from jmpose_cli.formats.records import Doubles, ImageRecord, PoseRecords, bare_records
from jmpose_cli.formats.text_file import read_utf8

LEVELS = ("scorer", "individuals", "bodyparts", "coords")
COORDS = ("x", "y", "likelihood")
_MAX_FRAME = 10**7


def read_csv(path: Path) -> PoseRecords:
    """Read a CSV table.

    Raises:
        JmposeError: It is no such table, or a cell is no number; the message names line and column.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_utf8(path).decode(), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise JmposeError(f"{path} is not valid CSV: {error}", hint="it may be cut off or damaged") from error
    heads: dict[str, list[str]] = {}
    for row in rows[: len(LEVELS)]:
        if row and row[0] in LEVELS and row[0] not in heads:
            heads[row[0]] = row
    if not {"scorer", "bodyparts", "coords"} <= heads.keys():
        raise JmposeError(
            f"{path}: is no table of DeepLabCut",
            hint="its first lines are scorer, (individuals,) bodyparts and coords; jmpose's own CSV is not read, "
            "keypoints.coco.json is",
        )
    labels = next((n for n, cell in enumerate(heads["coords"]) if cell in COORDS), len(heads["coords"]))
    columns = [
        (who, part, coord)
        for who, part, coord in zip(
            heads.get("individuals", [""] * len(heads["coords"]))[labels:],
            heads["bodyparts"][labels:],
            heads["coords"][labels:],
            strict=False,
        )
    ]
    names: list[str] = []
    values = np.full((len(rows) - len(heads), len(columns)), np.nan)
    for place, row in enumerate(rows[len(heads) :]):
        if len(row) != labels + len(columns):
            raise JmposeError(
                f"{path}: row {place + len(heads) + 1} has {len(row)} cells", hint=f"it must be {labels + len(columns)}"
            )
        names.append(row[labels - 1] if labels else "")
        values[place] = [_value(cell) for cell in row[labels:]]
        wrong = [n for n, cell in enumerate(row[labels:]) if values[place, n] != values[place, n] and not _empty(cell)]
        if wrong:
            column = ", ".join(columns[wrong[0]])
            raise JmposeError(
                f"{path}: row {place + len(heads) + 1}, {column} is {row[labels + wrong[0]][:40]!r}",
                hint="it must be a number, or empty",
            )
    return _records(path, columns, [_frame(path, name) for name in names], values, set(heads["scorer"][labels:]))


def _empty(cell: str) -> bool:
    return cell.strip().lower() in ("", "nan")


def _value(cell: str) -> float:
    return number_of(cell.strip())


def _frame(path: Path, name: str) -> int:
    """Read a frame number, or the one in the name of a picture."""
    found = frame_number(name) if not name.isascii() or not name.isdigit() else int(name[:16])
    if found is None or found > _MAX_FRAME:
        raise JmposeError(
            f"{path}: a row of {name[:80]!r}",
            hint=f"rows are frame numbers up to {_MAX_FRAME}, or names that end in one",
        )
    return found


def read_h5(path: Path) -> PoseRecords:
    """Read a table that pandas has written in HDF5, of both of its layouts; nothing in it is run.

    Raises:
        JmposeError: It is no such table, or h5py is not installed.
    """
    with open_hdf5(path) as file:
        groups = [group for group in file.values() if _text(group.attrs.get("pandas_type", "")).startswith("frame")]
        if len(groups) != 1:
            raise JmposeError(
                f"{path}: holds {len(groups)} tables of pandas",
                hint="a DeepLabCut file has one; of SLEAP, name the .slp",
            )
        group = groups[0]
        columns, index, values = _of_table(path, group) if "table" in group else _of_blocks(path, group)
    names = [_text(entry) for entry in index]
    short = [column[-3:] if len(column) > len(LEVELS) - 1 else ("", *column[-2:]) for column in columns]
    scorers = {column[0] for column in columns}
    if values.shape != (len(names), len(columns)) or any(len(column) not in (3, 4) for column in columns):
        raise JmposeError(f"{path}: is no table of DeepLabCut", hint=f"its columns have the levels {', '.join(LEVELS)}")
    return _records(path, short, [_frame(path, name) for name in names], values.astype(np.float64), scorers)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _of_blocks(path: Path, group: Any) -> tuple[list[tuple[str, ...]], Sequence[Any], Any]:
    """Read the layout "fixed": one block of values, headings as levels and the places in them."""
    if "block1_values" in group:
        raise JmposeError(f"{path}: has columns of several types", hint="a DeepLabCut file has numbers only")
    columns = _levels(group, "block0_items")
    values = group["block0_values"][()]
    if "axis1" in group:
        return columns, group["axis1"][()].tolist(), values
    return columns, [entry[-1] for entry in _levels(group, "axis1")], values


def _levels(group: Any, name: str) -> list[tuple[str, ...]]:
    parts = []
    for level in range(sum(key.startswith(f"{name}_level") for key in group)):
        names = [_text(entry) for entry in group[f"{name}_level{level}"][()].tolist()]
        parts.append([names[place] for place in group[f"{name}_label{level}"][()].tolist()])
    return list(zip(*parts, strict=True))


def _of_table(path: Path, group: Any) -> tuple[list[tuple[str, ...]], Sequence[Any], Any]:
    """Read the layout "table": headings are pickled in an attribute."""
    table = group["table"]
    pickled = table.attrs["values_block_0_kind"]
    try:
        columns = _Plain(io.BytesIO(bytes(pickled))).load()
    except (pickle.UnpicklingError, EOFError, UnicodeDecodeError, MemoryError) as error:
        raise JmposeError(f"{path}: headings cannot be read ({error})", hint="read the CSV beside it") from error
    if not isinstance(columns, list) or not all(
        isinstance(column, tuple) and all(isinstance(part, str) for part in column) for column in columns
    ):
        raise JmposeError(f"{path}: headings are no names", hint="read the CSV beside it")
    return columns, table["index"].tolist(), table["values_block_0"]


class _Plain(pickle.Unpickler):
    """Takes lists, tuples and text, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _records(
    path: Path, columns: Sequence[tuple[str, ...]], frames: list[int], values: Doubles, scorers: set[str]
) -> PoseRecords:
    if len(scorers) != 1:
        raise JmposeError(f"{path}: of {len(scorers)} scorers", hint="a file of one is read")
    joints = tuple(dict.fromkeys(part for _, part, _ in columns))
    people = list(dict.fromkeys(who for who, _, _ in columns))
    ids, notes = numbered(people, "individuals")
    if len(set(columns)) < len(columns) or any(coord not in COORDS for _, _, coord in columns):
        raise JmposeError(f"{path}: is no table of DeepLabCut", hint=f"each joint has {', '.join(COORDS)}, once")
    if len(set(frames)) < len(frames):
        raise JmposeError(f"{path}: a frame has two rows", hint="every frame has one; is it of several videos?")
    limits = np.array([LARGEST if coord == "likelihood" else LARGEST_PX for _, _, coord in columns])
    if (np.abs(values) > limits).any():
        row, column = np.argwhere(np.abs(values) > limits)[0].tolist()
        raise JmposeError(
            f"{path}: frame {frames[row]}, {', '.join(columns[column])} is {values[row, column]}",
            hint="no picture is as large",
        )
    order = np.argsort(frames, kind="stable")
    places = {(who, part, coord): n for n, (who, part, coord) in enumerate(columns)}
    table = np.full((len(frames), len(people), len(joints), 3), np.nan)
    for (who, part, coord), place in places.items():
        table[:, people.index(who), joints.index(part), COORDS.index(coord)] = values[order, place]
    present = ~np.isnan(table[..., :2]).any(3)
    image_row, person = np.nonzero(present.any(2))
    found = table[image_row, person]
    there = present[image_row, person]
    images = [ImageRecord(frame + 1, "", None, None, frame, None) for frame in sorted(frames)]
    return bare_records(
        path,
        "dlc",
        joints,
        images,
        image_row=image_row.astype(np.int64),
        track_ids=np.array(ids, np.int64)[person],
        xy=found[..., :2],
        visibility=np.where(there, 2.0, 0.0),
        scores=found[..., 2],
        notes=notes,
    )


def numbered(names: list[str], what: str) -> tuple[list[int], list[str]]:
    """Give ids to named people: the numbers that their names end in, or 1, 2, 3 ...

    Returns:
        The ids, and a sentence where they are not those of the names.
    """
    found = [re.search(r"(\d{1,15})$", name, re.ASCII) for name in names]
    ids = [int(match[1]) for match in found if match]
    if len(set(ids)) == len(names):
        return ids, []
    shown = ", ".join(f"{name or 'the one'} is {number}" for number, name in enumerate(names[:5], 1))
    more = " ..." if len(names) > 5 else ""
    return list(range(1, len(names) + 1)), [f"{what} were numbered: {shown}{more}"]
