"""What the model gave of a clip, as corrections begin with it, and a cache of it for long clips.

A truth of a gigabyte takes a minute to parse. So what was parsed of a large file is kept in the user's own cache, under
the sha256 of the file, and mapped into memory next time. Whoever asks gets columns of their own: pages that are changed
are copied by the system.
"""

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

import jmpose_cli
from jmpose.files import WholeFile, file_sha256
from jmpose.keypoints import KeypointSet
from jmpose_cli.clips.operation import settled
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.truth import ROW_COLUMNS, Truth
from jmpose_cli.home import library_folder

LEAST_BYTES = 32 << 20
"""Smaller files are parsed in no time."""
MOST_CACHED_BYTES = 8 << 30
_HEAD = struct.Struct("<8sQ")
_MARK = b"JMTRUTH1"
_ALIGNED = 4096
_FRAME_COLUMNS = ("index", "time_s", "reviewed")


@dataclass(frozen=True)
class _Contents:
    """What stands at the beginning of a cached truth.

    Attributes:
        columns: By name: kind of number, shape, and where it begins.
    """

    keypoints: KeypointSet
    video: VideoMeta
    info: dict[str, Any]
    columns: dict[str, tuple[str, tuple[int, ...], int]]


_CONTENTS = TypeAdapter(_Contents)
Truths = Callable[[], Truth]
"""Gives a truth with columns that belong to whoever asks."""


def corrected_from(path: Path, sha256: str, source: Path, parse: Callable[[], Truth]) -> Truths:
    """Return what gives the truth that corrections begin with: settled, and with the model's joints as such.

    Args:
        path: The file of the truth, for messages.
        sha256: Of the file that the model gave.
        source: That file.
        parse: Reads it.

    Raises:
        JmposeError: As from `parse`.
    """
    cached = _cache_file(sha256) if source.stat().st_size >= LEAST_BYTES else None
    base = None if cached is None else _mapped(cached, path)
    if base is None:
        base = _prepared(parse())
        if cached is not None and _keep(base, cached):
            base = _mapped(cached, path) or base  # its memory can be given back
    return lambda: _copied(base)


def is_parsed(source: Path) -> bool:
    """Whether `corrected_from` needs no time for a file: it is small, in the cache, or there is no cache.

    Args:
        source: What the model gave.
    """
    if source.stat().st_size < LEAST_BYTES:
        return True
    cached = _cache_file(file_sha256(source))
    return cached is None or cached.is_file()


def _copied(base: Truth) -> Truth:
    """Return the same with columns of its own; those that are mapped are mapped anew, and copied as they change."""
    columns: dict[str, Any] = {name: _own(column) for name, column in base.row_columns().items()}
    return replace(base, **columns)


def _own(column: np.ndarray) -> np.ndarray:
    if isinstance(column, np.memmap) and column.filename is not None:
        with suppress(OSError):
            return np.asarray(np.memmap(column.filename, column.dtype, "c", column.offset, column.shape))
    return column.copy()


def _prepared(truth: Truth) -> Truth:
    truth = settled(truth)
    return replace(truth, model_xy=np.where(truth.present[..., None], truth.xy, np.nan))


def _cache_file(sha256: str) -> Path | None:
    folder = library_folder("truths")
    return None if folder is None else folder / f"{sha256}-{jmpose_cli.__version__}"


def _keep(truth: Truth, file: Path) -> bool:
    """Write a truth into the cache; others that were not used for long make room. False where it cannot be written."""
    columns: dict[str, np.ndarray] = {name: getattr(truth, name) for name in _FRAME_COLUMNS} | truth.row_columns()
    layout, end = {}, 0
    for name, column in columns.items():
        layout[name] = (column.dtype.str, column.shape, end)
        end += -(-column.nbytes // _ALIGNED) * _ALIGNED
    contents = _CONTENTS.dump_json(_Contents(truth.keypoints, truth.video, truth.info, layout))
    _make_room(file.parent, end)
    begin = _begin(len(contents))
    try:
        with WholeFile(file, shared=True) as partial, partial.open("xb") as target:
            target.write(_HEAD.pack(_MARK, len(contents)) + contents)
            for name, column in columns.items():
                target.seek(begin + layout[name][2])
                target.write(np.ascontiguousarray(column).data)
            target.truncate(begin + end)
    except OSError:
        return False
    return True


def _begin(length: int) -> int:
    """Return where the columns begin after so many bytes of contents."""
    return -(-(_HEAD.size + length) // _ALIGNED) * _ALIGNED


def _make_room(folder: Path, size: int) -> None:
    with suppress(OSError):
        files = sorted((facts.st_mtime, facts.st_size, file) for file in folder.iterdir() for facts in [file.stat()])
        used = size + sum(one for _, one, _ in files)
        for _, one, file in files:
            if used <= MOST_CACHED_BYTES:
                break
            file.unlink()
            used -= one


def _mapped(file: Path, path: Path) -> Truth | None:
    """Return a truth of the cache; None where it is not there or not whole."""
    try:
        with file.open("rb") as opened:
            mark, length = _HEAD.unpack(opened.read(_HEAD.size))
            if mark != _MARK or length > os.fstat(opened.fileno()).st_size:
                return None
            contents = _CONTENTS.validate_json(opened.read(length))
            columns: dict[str, Any] = {
                name: np.memmap(file, np.dtype(kind), "c", _begin(length) + offset, shape)
                for name, (kind, shape, offset) in contents.columns.items()
            }
    except (OSError, ValueError, TypeError, struct.error, ValidationError):
        return None
    if not columns.keys() >= {*_FRAME_COLUMNS, "frame", "xy"} or not columns.keys() <= {*_FRAME_COLUMNS, *ROW_COLUMNS}:
        return None
    with suppress(OSError):
        os.utime(file)  # those that were not used for long go first
    return Truth(path=path, keypoints=contents.keypoints, video=contents.video, info=contents.info, **columns)
