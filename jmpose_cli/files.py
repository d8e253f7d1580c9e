"""Files that survive kills and full disks, with errors that say what to do.

A file is whole or not there (`write_whole`, `PartialFile`), or it is a row of checksummed records, of which a torn end
is dropped (`RecordFile`), or of checksummed lines of text, of which torn ones are passed over (`LineFile`).
`jmpose.files` holds what the networks need of it: `WholeFile` and `file_sha256`.
"""

import contextlib
import errno
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
from typing import IO, Any, BinaryIO, Self

import numpy as np
import orjson

from jmpose.files import WholeFile
from jmpose.regular_file import open_own, open_regular
from jmpose_cli.errors import JmposeError, OutputError, is_of_the_disk

BUFFER_BYTES = 1 << 20
Arrays = dict[str, np.ndarray]

_RECORD_HEAD = struct.Struct("<4sIQ")  # mark, CRC-32 of the payload, its length
_RECORD_MARK = b"JMR1"
_NUMBER_KINDS = re.compile(r"[<>|=]?[?biufcSU]\d{0,9}")
_LONGEST_WAIT_S = 120.0  # a network file system may keep the lock of a lost machine for 90 s
_WAIT_STEP_S = 0.1
_HINTS = {
    errno.ENOSPC: "free some disk space, or choose a folder on another disk with --out",
    errno.EDQUOT: "your quota on this disk is used up; choose a folder on another disk with --out",
    errno.EACCES: "choose a folder that you may write to with --out",
    errno.EPERM: "choose a folder that you may write to with --out",
    errno.EROFS: "this disk is read-only; choose another folder with --out",
    errno.EFBIG: "larger files are not allowed here (ulimit -f, or the disk's own limit): raise it, or choose another "
    "disk with --out",
    errno.EMFILE: "raise the number of files that a process may open (ulimit -n), or give fewer --workers",
    errno.EIO: "the disk or its connection fails; check it, or choose a folder on another disk with --out",
}


@contextlib.contextmanager
def explain_os_errors(path: Path, *, ends_run: bool = False) -> Iterator[None]:
    """Turn an OSError inside the block into a JmposeError that names `path`.

    It is an OutputError when all else fails too: by its number, or because of what the file is for.

    Args:
        path: What is written.
        ends_run: A run cannot do without this file, whatever is the matter with it.
    """
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check that the folder exists and can be written to")
        kind = OutputError if ends_run or is_of_the_disk(error) else JmposeError
        raise kind(f"cannot write {path}: {error.strerror or error}", hint=hint) from error


def check_is_there(file: IO[bytes], path: Path) -> None:
    """Check that an open file still is what stands under its name: what is written to a removed one is lost.

    Raises:
        OSError: It was removed, or another one was put in its place.
    """
    if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
        raise FileNotFoundError(errno.ENOENT, "another file was put in its place")


class PartialFile:
    """A binary file that appears under its name only when it is complete; until then it is `<name>.partial`.

    A context manager: a clean exit commits, an exception discards.

    Args:
        path: The final name. What stands there is replaced by `commit`.

    Raises:
        JmposeError: The file cannot be created or written (also from `write` and `commit`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = WholeFile(path)
        with explain_os_errors(path):
            self._whole.begin()
            self._file = open(self._whole.partial, "xb", buffering=BUFFER_BYTES)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with explain_os_errors(self.path):
            self._file.write(data)

    def commit(self) -> None:
        """Bring everything to the disk and give the file its name; a failure discards."""
        try:
            with explain_os_errors(self.path):
                self._file.close()
                self._whole.commit()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; does nothing after `commit`."""
        # Closing flushes, which fails again on a full disk; the file goes away in any case.
        with contextlib.suppress(OSError):
            self._file.close()
        self._whole.discard()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that replaces what stands there when it is complete; a failure leaves that as it was.

    Raises:
        JmposeError: The file cannot be written.
    """
    with PartialFile(path) as file:
        file.write(content)


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
        self._file = open_own(path, "a+b")
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
        with open_regular(self.path) as reader:
            for payload in _payloads(reader):
                record = _unpack(payload)
                if record is None:
                    return
                yield record

    def append(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Append one record; after a failure the file is as before."""
        payload = _pack(values, arrays or {})
        record = memoryview(_RECORD_HEAD.pack(_RECORD_MARK, zlib.crc32(payload), len(payload)) + payload)
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


class LineFile:
    """An append-only file of checksummed lines: CRC-32 in eight hexadecimal digits, a space, a text.

    Args:
        path: The file, made where it is missing; its folder must exist.

    Raises:
        OSError: The file cannot be opened; from `append` and `texts`, read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_own(path, "ab")

    def append(self, text: bytes) -> None:
        """Append a text without line feeds and bring it to the disk; after a failure the file is as before."""
        check_is_there(self._file, self.path)
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        end = os.fstat(self._file.fileno()).st_size
        if end and not self._ends_with_newline(end):
            line = b"\n" + line  # after one that was torn
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except BaseException:
            os.ftruncate(self._file.fileno(), end)
            raise

    def _ends_with_newline(self, end: int) -> bool:
        with open_regular(self.path) as file:
            file.seek(end - 1)
            return file.read(1) == b"\n"

    def texts(self, begin: int = 0) -> Iterator[tuple[int, bytes | None]]:
        """Yield the lines; see `checked_texts`."""
        return checked_texts(self.path, begin)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from doing the same inside the block; waits for them."""
        with contextlib.suppress(OSError):  # a file system without locks; one line is one write there too
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def hold(self) -> bool:
        """Lock the file until it is closed; False, at once, where another process has it locked."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
        return True

    def holder(self) -> int | None:
        """Tell which process has the file locked, where the system says so."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            inode = os.fstat(self._file.fileno()).st_ino
            locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
            found = {int(one[4]) for one in locks if one[1] == "FLOCK" and one[5].endswith(f":{inode}")}
            return found.pop() if len(found) == 1 else None
        return None

    @property
    def is_closed(self) -> bool:
        """It was closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._file.close()


def checked_texts(path: Path, begin: int = 0) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of a `LineFile` that end, from a place where one begins.

    Yields:
        Where the line ends, and its text; None of a damaged line.

    Raises:
        OSError: The file cannot be read.
    """
    with open_regular(path) as file:
        file.seek(begin)
        for line in file:
            if not line.endswith(b"\n"):
                return  # somebody may be writing it just now
            begin += len(line)
            yield begin, _checked_text(line)


def _checked_text(line: bytes) -> bytes | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    with contextlib.suppress(ValueError):
        if int(checksum, 16) == zlib.crc32(text):
            return text
    return None


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
        head = reader.read(_RECORD_HEAD.size)
        if len(head) < _RECORD_HEAD.size:
            return
        mark, checksum, length = _RECORD_HEAD.unpack(head)
        if mark != _RECORD_MARK or length > os.fstat(reader.fileno()).st_size:
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
        length += _RECORD_HEAD.size + len(payload)
    return length


def _pack(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    layout = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = orjson.dumps({"values": dict(values), "layout": layout})
    return b"".join((struct.pack("<I", len(head)), head, *(array.tobytes() for array in arrays.values())))


def _unpack(payload: bytes) -> tuple[dict[str, Any], Arrays] | None:
    """Return what a record holds; None when it is not what `_pack` makes."""
    try:
        (length,) = struct.unpack_from("<I", payload)
        at = 4 + length
        head = orjson.loads(payload[4:at])
        arrays: Arrays = {}
        for name, kind, shape in head["layout"]:
            if not _NUMBER_KINDS.fullmatch(kind):
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
