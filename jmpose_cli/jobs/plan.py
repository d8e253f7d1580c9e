"""What is to be done: each video's state by the journal, the files that are there, and the settings."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from jmpose.files import file_sha256
from jmpose_cli.config import DecodeConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.jobs.inputs import RESULT_FILES, Clip, input_hash, input_stamp
from jmpose_cli.jobs.journal import Entry
from jmpose_cli.jobs.storage import Storage
from jmpose_cli.video.info import DEFAULT_FPS

State = Literal["todo", "done", "failed", "refused", "unreadable"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides results besides the input.

    Attributes:
        config: The settings that matter, as JSON.
        weights: Name and sha256 by part.
    """

    config: dict[str, Any]
    weights: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Planned:
    """One video of the plan.

    Attributes:
        clip: The video.
        state: What is to happen: "failed" ones failed before and are left, "refused" ones would replace something,
            "unreadable" ones fail without being tried.
        reason: Why, a clause; empty for a new video.
        hint: What the user can do about it.
        stamp: Fingerprint of the input.
        entry: The journal's last word on it when the plan was made.
        frames: Number of frames by the container's claim; for "done" what was processed. None: not known.
    """

    clip: Clip
    state: State
    reason: str = ""
    hint: str = ""
    stamp: dict[str, Any] = field(default_factory=dict)
    frames: int | None = None
    entry: Entry | None = None


class History:
    """What the journal says, folded to the last word on each video."""

    def __init__(self) -> None:
        self._settings: dict[str, Settings] = {}
        self.last: dict[str, Entry] = {}  # by the video's name: its last "done" or "failed"
        self.begun: set[str] = set()  # videos that were begun, whatever came of it
        self._files: dict[str, dict[str, list[Any]]] = {}  # of the last results of each video

    def take_in(self, entries: Iterable[Entry], *, without: str = "") -> None:
        """Read further entries, without those of one run."""
        for entry in entries:
            if entry.get("run") == without:
                continue
            if entry["event"] == "run":
                self._settings[entry["run"]] = Settings(entry["config"], entry["weights"])
            elif entry["event"] == "begin":
                self.begun.add(entry["name"])
            elif entry["event"] in ("done", "failed"):
                self.last[entry["name"]] = entry
                if entry["event"] == "done":
                    self._files[entry["name"]] = entry["files"]

    def is_open(self, name: str) -> bool:
        """Whether a video has not been done."""
        entry = self.last.get(name)
        return entry is None or entry["event"] != "done"

    def edited(self, name: str, folder: Path) -> str | None:
        """Name a result file that is not as it was written; None when there is none."""
        files = self._files.get(name, {})
        return next((file for file, facts in files.items() if _is_other(folder / file, facts)), None)

    def change(self, entry: Entry, settings: Settings) -> str:
        """Say what differs between an entry's settings and those of now; empty when nothing does."""
        before = self._settings.get(entry["run"])
        if before is None:
            return "the settings that it was made with are not known"
        for part in sorted({*before.weights, *settings.weights}):
            old, new = (s.weights.get(part) or {} for s in (before, settings))
            if old.get("sha256") != new.get("sha256"):
                return f"other weights: {part} was {old.get('name', 'none')}, is {new.get('name', 'none')}"
        now = orjson.loads(orjson.dumps(settings.config))  # as the journal gives it back
        old_flat, new_flat = _flat(before.config), _flat(now)
        for key in sorted({*old_flat, *new_flat}):
            if old_flat.get(key) != new_flat.get(key):
                return f"other settings: {key} was {_shown(old_flat.get(key))}, is {_shown(new_flat.get(key))}"
        return ""


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def plan_clip(
    clip: Clip,
    history: History,
    *,
    out: Path,
    settings: Settings,
    overwrite: bool = False,
    retry_failed: bool = False,
    verify_hash: bool = False,
    storage: Storage | None = None,
) -> Planned:
    """Decide what happens to a video.

    Args:
        clip: The video.
        history: What the journal says.
        out: Folder of all results.
        settings: Those of this run.
        overwrite: Do everything again, and replace results of unknown origin.
        retry_failed: Do those again that failed.
        verify_hash: Compare the input's content instead of its size and time of change.
        storage: Reads addresses; None takes one for this video alone.

    Raises:
        StoppedError: The user has had enough of waiting for a server.
    """
    try:
        one = _decide(
            clip,
            history,
            out=out,
            settings=settings,
            overwrite=overwrite,
            retry_failed=retry_failed,
            verify_hash=verify_hash,
            storage=storage,
        )
    except OSError as error:
        one = Planned(clip, "unreadable", f"{clip.path}: cannot be read ({error.strerror})")
    return replace(one, entry=history.last.get(clip.name))


def _decide(
    clip: Clip,
    history: History,
    *,
    out: Path,
    settings: Settings,
    overwrite: bool,
    retry_failed: bool,
    verify_hash: bool,
    storage: Storage | None,
) -> Planned:
    if clip.problem:
        return Planned(clip, "unreadable", clip.problem)
    try:
        stamp = input_stamp(clip, storage)
    except JmposeError as error:
        return Planned(clip, "unreadable", error.message, error.hint)
    except OSError as error:
        return Planned(clip, "unreadable", f"{clip.path}: cannot be read ({error.strerror})")
    folder, entry = out / clip.name, history.last.get(clip.name)
    if overwrite:
        return Planned(clip, "todo", "--overwrite" if entry else "", stamp=stamp)
    reason = ""
    if entry is not None:
        reason = history.change(entry, settings) or _input_change(clip, entry, stamp, verify_hash=verify_hash)
        if entry["event"] == "failed":
            if not reason and not retry_failed:
                return Planned(clip, "failed", entry["message"], "--retry-failed tries it again", stamp)
            reason = f"failed before; {reason or '--retry-failed'}"
        elif not reason:
            wrong = [name for name, facts in entry["files"].items() if _size(folder / name) != facts[0]]
            if not wrong:
                return Planned(clip, "done", stamp=stamp, frames=entry["frames"])
            reason = f"{wrong[0]} is missing"
    edited = history.edited(clip.name, folder)
    if edited:
        return _refused(clip, stamp, f"{folder}: {edited} was changed after jmpose wrote it")
    if clip.name not in history.begun and any((folder / name).exists() for name in RESULT_FILES):
        return _refused(clip, stamp, f"{folder}: holds results that are not in this folder's journal")
    return Planned(clip, "todo", reason, stamp=stamp)


def _refused(clip: Clip, stamp: dict[str, Any], reason: str) -> Planned:
    return Planned(clip, "refused", reason, "replace it with --overwrite, or choose another --out", stamp)


def _input_change(clip: Clip, entry: Entry, stamp: dict[str, Any], *, verify_hash: bool) -> str:
    """Say how the input differs from the one of an entry; empty when it is the same."""
    if verify_hash and entry.get("sha256") and not clip.url:
        return "" if input_hash(clip) == entry["sha256"] else "the input's content has changed"
    for key in sorted({*stamp, *entry["stamp"]}):
        if stamp.get(key) != entry["stamp"].get(key):
            what = {"mtime_ns": "time of change"}.get(key, key)
            return f"the input has changed ({what})"
    return ""


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _is_other(path: Path, facts: list[Any]) -> bool:
    """Whether a result file is there and is not the one that was written."""
    size = _size(path)
    if size is None:
        return False
    if size != facts[0]:
        return True
    return file_sha256(path) != str(facts[1])


def work_key(name: str) -> str:
    """Name a video's claim and work folder: readable, of bounded length, and unique."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[-48:]
    return f"{plain.lstrip('.')}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"


def of_shard(clips: list[Clip], shard: tuple[int, int] | None) -> list[Clip]:
    """Take every nth video in the order of names, which is the same on every machine.

    Args:
        clips: All videos.
        shard: Number of this part, from 1, and number of parts.
    """
    if shard is None:
        return clips
    number, parts = shard
    return sorted(clips, key=lambda clip: clip.name)[number - 1 :: parts]


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read `i/n`.

    Raises:
        JmposeError: It is not that, or i is not 1 to n.
    """
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise JmposeError(f"--shard {text}: not a part", hint="write i/n with i from 1 to n, such as 2/8")


def frames_in_range(claimed: int | None, fps: float | None, decode: DecodeConfig) -> int | None:
    """Estimate how many of a video's frames the settings take; None where that is not known.

    Args:
        claimed: Number of frames by the header; None where it is not said.
        fps: Average frame rate; None where the file has no timestamps.
        decode: The settings.
    """
    fps = fps or decode.fps or DEFAULT_FPS
    first, last = decode.frames or (None, None)
    begin_s, end_s = decode.time or (None, None)
    start = max(first or 0, round((begin_s or 0) * fps))
    stops = [claimed, last, None if end_s is None else round(end_s * fps)]
    known = [stop for stop in stops if stop is not None]
    return max(min(known) - start, 0) if known else None
