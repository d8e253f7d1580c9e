"""How far a clip is that is not open: from its small files, so that a thousand of them are told at once."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from jmpose.regular_file import read_regular
from jmpose_cli.clips.layout import CHECK_FILE, CORRECTIONS_FILE, RUN_FILE, TRUTH_FILE
from jmpose_cli.files import checked_texts

_MOST_CHECK_BYTES = 8 << 20
Progress = dict[str, int | None]


def progress_of(folder: Path) -> Progress:
    """Return how far a clip is, without a look at its truth.

    Returns:
        `frames`, `reviewed` of them, and `suspects`, those of a `check.json` that is newer than what it is about; each
        None where nothing tells.
    """
    try:
        record = orjson.loads(read_regular(folder / RUN_FILE))
        frames, decode = record["frames"], record["config"]["decode"]
        first = (decode.get("frames") or [0])[0] or 0
        is_known = type(frames) is int and 0 <= frames < 1 << 31 and type(first) is int and not decode.get("time")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        is_known = False
    reviewed = _reviewed(folder / CORRECTIONS_FILE, first, frames) if is_known else None
    return {"frames": frames if is_known else None, "reviewed": reviewed, "suspects": _suspects(folder)}


def _reviewed(log: Path, first: int, count: int) -> int | None:
    """Count the frames that the corrections leave as reviewed, of `count` from `first` on."""
    done: list[list[dict[str, Any]]] = []
    undone: list[list[dict[str, Any]]] = []
    try:
        for _, text in checked_texts(log):
            line = orjson.loads(text or b"")
            if line["event"] == "done":
                undone.clear()
                done.append([one for one in line["operations"] if one["op"] in ("review", "replace")])
            elif line["event"] in ("undo", "redo"):
                source, target = (done, undone) if line["event"] == "undo" else (undone, done)
                target += [source.pop() for _ in range(line["steps"])]
        marks = np.zeros(count, bool)
        for operation in (one for step in done for one in step):
            if operation["op"] == "review":
                begin, end = operation.get("frames") or (None, None)
                within = slice(max((begin or 0) - first, 0), None if end is None else max(end - first, 0))
                marks[within] = operation.get("reviewed", True)
            for frame in operation["frames"] if operation["op"] == "replace" else ():
                if 0 <= frame["frame"] - first < count:
                    marks[frame["frame"] - first] = frame["reviewed"]
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    return int(marks.sum())


def _suspects(folder: Path) -> int | None:
    check = folder / CHECK_FILE
    try:
        facts = check.stat()
        others = [folder / TRUTH_FILE, *(one for one in [folder / CORRECTIONS_FILE] if one.exists())]
        if facts.st_size > _MOST_CHECK_BYTES or any(one.stat().st_mtime_ns > facts.st_mtime_ns for one in others):
            return None
        found = orjson.loads(read_regular(check))
        return None if "kinds" in found else len(found["suspects"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
