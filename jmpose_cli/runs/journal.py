"""What happened to which video: an append-only file of checksummed lines in the folder of the results.

Several processes may append to one journal. A line is a CRC-32 in eight hexadecimal digits, a space, and a JSON object;
a line that is torn or damaged is passed over.
"""

import errno
import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import orjson

from jmpose.regular_file import open_own, open_regular
from jmpose_cli.files import check_is_there, explain_os_errors
from jmpose_cli.text import to_json

Entry = dict[str, Any]
Event = Literal["run", "begin", "done", "failed", "stopped", "kept", "edited"]

# What the entries of each event must have; one that lacks it, or has it as something else, is not ours.
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "run": {"run": str, "config": dict, "weights": dict},
    "begin": {"name": str, "run": str},
    "done": {
        **dict.fromkeys(("name", "run", "input"), str),
        **dict.fromkeys(("frames", "people", "tracks"), int),
        **dict.fromkeys(("stamp", "stage_s", "files"), dict),
        "wall_s": (int, float),
        "notes": list,
    },
    "failed": {**dict.fromkeys(("name", "run", "input", "message", "hint"), str), "stamp": dict},
    "stopped": {"name": str, "run": str},
    "kept": {"name": str, "run": str},
    "edited": dict.fromkeys(("name", "run", "reason", "hint"), str),
}


class Journal:
    """A journal that is open for appending; entries of other processes are seen by `news`.

    Args:
        path: The file; its folder must exist.

    Raises:
        OutputError: The file cannot be opened or written (also from `add`); no run can do without it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0
        with explain_os_errors(path, ends_run=True):
            self._file = open_own(path, "ab")

    def add(self, event: Event, **facts: Any) -> None:
        """Append an entry, and bring it to the disk."""
        text = to_json({"event": event, **facts})
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        with explain_os_errors(self.path, ends_run=True), self.locked():
            check_is_there(self._file, self.path)
            end = os.fstat(self._file.fileno()).st_size
            if end and not self._ends_with_newline(end):
                line = b"\n" + line  # after one that was torn
            try:
                if self._file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(self._file.fileno(), end)
                raise
            os.fsync(self._file.fileno())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here and what follows from it, inside the block."""
        with suppress(OSError):  # a file system without locks; one line is one write there too
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _ends_with_newline(self, end: int) -> bool:
        with open_regular(self.path) as file:
            file.seek(end - 1)
            return file.read(1) == b"\n"

    def news(self) -> Iterator[Entry]:
        """Yield the entries that were not yielded before, in order; own ones too."""
        with explain_os_errors(self.path, ends_run=True), open_regular(self.path) as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # somebody may be writing it just now
                self._read_to += len(line)
                entry = _checked(line)
                if entry is not None:
                    yield entry

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _checked(line: bytes) -> Entry | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    with suppress(ValueError, orjson.JSONDecodeError):
        if int(checksum, 16) == zlib.crc32(text):
            entry = orjson.loads(text)
            return entry if _is_known(entry) else None
    return None


def _is_known(entry: Any) -> bool:
    """Tell whether a value is an entry as this version makes them; of events that it does not know, all are."""
    event = entry.get("event") if isinstance(entry, dict) else None
    if not isinstance(event, str) or any(
        not isinstance(entry.get(name), kind) for name, kind in _FIELDS.get(event, {}).items()
    ):
        return False
    if event == "run":
        values = [value for part in entry["config"].values() if isinstance(part, dict) for value in part.values()]
        parts = entry["weights"].values()
        return all(part is None or isinstance(part, dict) for part in parts) and not any(
            isinstance(value, dict) for value in values
        )
    files = entry["files"].values() if event == "done" else ()
    return all(isinstance(facts, list) and len(facts) == 2 for facts in files)
