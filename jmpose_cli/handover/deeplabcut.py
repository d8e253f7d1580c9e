"""DeepLabCut's tables of several animals, in CSV and in HDF5; see `formats/deeplabcut`."""

import csv
import io

import numpy as np

from jmpose.files import WholeFile
from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import HANDOVER, require
from jmpose_cli.files import PartialFile, explain_os_errors
from jmpose_cli.formats.deeplabcut import COORDS, LEVELS
from jmpose_cli.formats.records import Doubles
from jmpose_cli.handover.handover import Handover, without_joints

_SCORER = "jmpose"
_KEY = "df_with_missing"  # as DeepLabCut calls it


def _table(given: Handover) -> tuple[list[tuple[str, str, str, str]], Doubles]:
    """Return the headings of the columns and `[M, C]` values; NaN where there is nothing."""
    without_joints(given)
    given.check_size(len(given.frames), 3)
    joints = given.records.joints
    columns, parts = [], []
    for track, rows in given.tracks():
        if not given.records.present[rows].any():
            continue
        columns += [(_SCORER, f"track_{track}", joint, coord) for joint in joints for coord in COORDS]
        xy, scores = given.spread(rows, given.frames)
        parts.append(np.concatenate([xy, scores[..., None]], 2).reshape(len(given.frames), 3 * len(joints)))
    return columns, np.concatenate(parts, 1) if parts else np.zeros((len(given.frames), 0))


def write_csv(given: Handover) -> None:
    """Write the CSV table.

    Raises:
        JmposeError: The table is too large, or the file cannot be written.
    """
    columns, values = _table(given)
    with PartialFile(given.path) as file:
        for place, level in enumerate(LEVELS):
            file.write(_line([level, *(column[place] for column in columns)]))
        for frame, row in zip(given.frames.tolist(), values, strict=True):
            file.write(_line([str(frame), *("" if value != value else repr(value) for value in row.tolist())]))


def _line(cells: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def write_h5(given: Handover) -> None:
    """Write the same table in HDF5, as pandas reads it.

    Raises:
        JmposeError: The table is too large, or the file cannot be written.
    """
    pandas = require("pandas", extra=HANDOVER, by="--to dlc-h5")
    columns, values = _table(given)
    if not columns:
        raise JmposeError(f"{given.records.path}: nobody has joints", hint="an empty table cannot be written")
    names = pandas.MultiIndex.from_tuples(columns, names=LEVELS)
    frame = pandas.DataFrame(values, index=given.frames, columns=names)
    with explain_os_errors(given.path), WholeFile(given.path) as partial:
        frame.to_hdf(str(partial), key=_KEY, format="fixed", mode="w")
