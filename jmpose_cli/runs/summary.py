"""The state of all videos, for programs: `summary.json` and `failures.json` in the folder of the results."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmpose_cli.clips.layout import FAILURES_FILE, SUMMARY_FILE
from jmpose_cli.files import write_whole
from jmpose_cli.runs.journal import Entry, Journal
from jmpose_cli.runs.plan import History
from jmpose_cli.text import to_json

_STATES = ("done", "edited", "failed")


@dataclass(frozen=True)
class Failure:
    """A video that failed, for the table and `failures.json`."""

    name: str
    input: str
    message: str
    hint: str


def write_summary(out: Path, journal: Path, *, asked: Collection[str], failures: Sequence[Failure]) -> None:
    """Write `summary.json`, the state of all videos that the journal knows, and `failures.json`, those that failed.

    Args:
        out: Folder of the results.
        journal: The journal's file.
        asked: Names of the videos that the user named. What failed before it was begun, as it is no video, counts as
            long as it is named: nobody wants to read for ever what was wrong with a list that is mended.
        failures: Those of this run, with those that the journal does not hold.
    """
    reader, history = Journal(journal), History()
    try:
        with reader.locked():  # another run may end at the same time
            history.take_in(reader.news())
            videos = {
                name: _row(entry, history.done.get(name))
                for name, entry in history.last.items()
                if entry["event"] != "failed" or name in asked or name in history.begun
            }
            videos |= {one.name: _failed_row(one.input, one.message, one.hint) for one in failures}
            failed = [{"name": n, **row} for n, row in videos.items() if row["state"] == "failed"]
            totals = {
                **{state: sum(row["state"] == state for row in videos.values()) for state in _STATES},
                **{key: sum(row.get(key, 0) for row in videos.values()) for key in ("frames", "people")},
            }
            write_whole(out / SUMMARY_FILE, to_json({**totals, "videos": videos}, indent=True) + b"\n")
            write_whole(out / FAILURES_FILE, to_json(failed, indent=True) + b"\n")
    finally:
        reader.close()


def _row(entry: Entry, done: Entry | None) -> dict[str, Any]:
    """Return a video's row of the summary.

    Args:
        entry: The last one on it.
        done: The one on the results that it has.
    """
    if entry["event"] == "failed":
        return _failed_row(entry["input"], entry["message"], entry["hint"])
    keys = ("input", "frames", "people", "tracks", "wall_s", "stage_s", "notes")
    facts = {key: done[key] for key in keys} if done else {}
    if entry["event"] == "edited":
        return {"state": "edited", **facts, "reason": entry["reason"], "hint": entry["hint"]}
    return {"state": "done", **facts}


def _failed_row(given: str, message: str, hint: str) -> dict[str, Any]:
    return {"state": "failed", "input": given, "reason": message, "hint": hint}
