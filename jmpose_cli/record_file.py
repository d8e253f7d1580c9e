"""Files of checksummed records: what was appended and reached the disk is read back, a torn end is dropped."""

import fcntl
import math
import os
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import orjson

from jmpose_cli.errors import JmposeError
from jmpose_cli.files import check_is_there

_HEAD = struct.Struct("<4sIQ")  # mark, CRC-32 of the payload, its length
_MARK = b"JMR1"
_KINDS = re.compile(r"[<>|=]?[?biufcSU]\d{0,9}")
_LONGEST_WAIT_S = 120.0  # a network file system may keep the lock of a lost machine for 90 s
_WAIT_STEP_S = 0.1

Arrays = dict[str, np.ndarray]


class RecordFile:
    """An append-only file of records, each a JSON object with named arrays; a context manager.

    Opening drops what follows the last whole record, so a process that is killed at any moment loses at most what it
    had not appended. The file is locked while it is open: two processes never append to one.

    Args:
        path: The file; its folder must exist.
        is_known: Tells whether a record that was read is one that its reader can use; without, all are. What follows
            the last such record is dropped too: a checksum says that a record is whole, not who wrote it.

    Raises:
        JmposeError: Another process holds the file for longer than a dying one would.
        OSError: The file cannot be opened; from `append` and `commit`, the disk is full or fails.
    """

    def __init__(self, path: Path, *, is_known: Callable[[dict[str, Any], Arrays], bool] | None = None) -> None:
        self.path = path
        self._file: BinaryIO = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            _lock(self._file, path)
            self._end = _valid_length(self._file, is_known or (lambda values, arrays: True))
            self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Arrays]]:
        """Yield the records in order; those appended meanwhile come too."""
        with open(self.path, "rb") as reader:
            for payload in _payloads(reader):
                record = _unpack(payload)
                if record is None:
                    return
                yield record

    def append(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Append one record; after a failure the file is as before."""
        payload = _pack(values, arrays or {})
        record = memoryview(_HEAD.pack(_MARK, zlib.crc32(payload), len(payload)) + payload)
        try:
            written = 0
            while written < len(record):  # a raw write may take a part only
                written += self._file.write(record[written:])
        except BaseException:
            self._file.truncate(self._end)
            raise
        self._end += len(record)

    def commit(self) -> None:
        """Bring everything appended to the disk."""
        check_is_there(self._file, self.path)
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Drop all records."""
        self._end = 0
        self._file.truncate(0)

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._file.close()


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock against other processes; one that was just killed may hold it for a moment yet."""
    until = time.monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise JmposeError(
                    f"{path}: another process is writing it", hint="wait for the other jmpose, or stop it"
                ) from None
            time.sleep(_WAIT_STEP_S)
        except OSError:
            return  # a file system without locks; the claims keep other runs away


def _payloads(reader: BinaryIO) -> Iterator[bytes]:
    """Yield payloads up to the first that is not whole."""
    while True:
        head = reader.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        mark, checksum, length = _HEAD.unpack(head)
        if mark != _MARK or length > os.fstat(reader.fileno()).st_size:
            return
        payload = reader.read(length)
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload


def _valid_length(file: BinaryIO, is_known: Callable[[dict[str, Any], Arrays], bool]) -> int:
    file.seek(0)
    length = 0
    for payload in _payloads(file):
        record = _unpack(payload)
        if record is None or not is_known(*record):
            break
        length += _HEAD.size + len(payload)
    return length


def _pack(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    layout = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = orjson.dumps({"values": dict(values), "layout": layout})
    return b"".join((struct.pack("<I", len(head)), head, *(array.tobytes() for array in arrays.values())))


def _unpack(payload: bytes) -> tuple[dict[str, Any], Arrays] | None:
    """Give what a record holds; None when it is not what `_pack` makes."""
    try:
        (length,) = struct.unpack_from("<I", payload)
        at = 4 + length
        head = orjson.loads(payload[4:at])
        arrays: Arrays = {}
        for name, kind, shape in head["layout"]:
            if not _KINDS.fullmatch(kind):
                return None
            dtype = np.dtype(kind)
            count = math.prod(shape)
            if count < 0:
                return None
            arrays[name] = np.frombuffer(payload, dtype, count, at).reshape(shape).copy()
            at += dtype.itemsize * count
        values = head["values"]
    except (struct.error, ValueError, KeyError, TypeError, OverflowError):
        return None
    return (values, arrays) if isinstance(values, dict) else None
