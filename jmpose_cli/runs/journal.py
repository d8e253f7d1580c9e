"""What happened to which video: an append-only file of checksummed lines in the folder of the results.

Several processes may append to one journal. A line is a CRC-32 in eight hexadecimal digits, a space, and a JSON object;
a line that is torn or damaged is passed over.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import orjson

from jmpose_cli.files import LineFile, explain_os_errors
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
            self._lines = LineFile(path)

    def add(self, event: Event, **facts: Any) -> None:
        """Append an entry, and bring it to the disk."""
        with explain_os_errors(self.path, ends_run=True), self.locked():
            self._lines.append(to_json({"event": event, **facts}))

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from writing here and what follows from it, inside the block."""
        return self._lines.locked()

    def news(self) -> Iterator[Entry]:
        """Yield the entries that were not yielded before, in order; own ones too."""
        with explain_os_errors(self.path, ends_run=True):
            for end, text in self._lines.texts(self._read_to):
                self._read_to = end
                entry = None if text is None else _entry_in(text)
                if entry is not None:
                    yield entry

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def _entry_in(text: bytes) -> Entry | None:
    try:
        entry = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return entry if _is_known(entry) else None


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
