"""What is to be done: each video's state by the journal, the files that are there, and the settings."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from jmpose.files import file_sha256
from jmpose_cli.clips.layout import CORRECTIONS_FILE, RESULT_FILES, STATE_FOLDER, TRUTH_FILE, replacing_mark
from jmpose_cli.clips.run_record import is_as_written, recorded_files
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.runs.inputs import Clip, Source, clip_source, input_stamp
from jmpose_cli.runs.journal import Entry
from jmpose_cli.runs.storage import Storage
from jmpose_cli.video.content import input_hash

State = Literal["todo", "render", "done", "edited", "failed", "refused", "unreadable"]


_REPLACE = "replace it with --overwrite, or choose another --out"


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
class PlannedClip:
    """One video of the plan.

    Attributes:
        clip: The video.
        state: What is to happen: "render" ones have poses, from which the other files are made anew; "edited" ones are
            left as the user has made them, "failed" ones failed before and are
            left, "refused" ones would replace something, "unreadable" ones fail without being tried.
        reason: Why, a clause; empty for a new video.
        hint: What the user can do about it.
        stamp: Fingerprint of the input.
        entry: The journal's last entry on it when the plan was made.
        frames: Number of frames by the container's claim; for "done" what was processed. None: not known.
        is_estimate: `frames` was not counted: it follows from the duration.
        is_unrecorded: It is "done" or "edited", and the journal does not say so yet.
    """

    clip: Clip
    state: State
    reason: str = ""
    hint: str = ""
    stamp: dict[str, Any] = field(default_factory=dict)
    frames: int | None = None
    is_estimate: bool = False
    entry: Entry | None = None
    is_unrecorded: bool = False


class History:
    """What the journal says, reduced to the last entry on each video.

    Attributes:
        last: By a video's name, the last entry on what came of it: "done", "failed" or "edited"; "kept" makes it "done"
            again.
        done: By a video's name, the entry on the results that it has.
        begun: By a video's name, the last time that it was begun, whatever came of it.
    """

    def __init__(self) -> None:
        self._settings: dict[str, Settings] = {}
        self.last: dict[str, Entry] = {}
        self.done: dict[str, Entry] = {}
        self.begun: dict[str, Entry] = {}
        self._moved: dict[str, list[Entry]] = {}  # by name, other places where the video of the results was found

    def take_in(self, entries: Iterable[Entry], *, without: str = "") -> None:
        """Read further entries, without those of one run."""
        for entry in entries:
            if entry.get("run") == without:
                continue
            if entry["event"] == "run":
                self._settings[entry["run"]] = Settings(entry["config"], entry["weights"])
            elif entry["event"] == "begin":
                self.begun[entry["name"]] = entry
            elif entry["event"] in ("failed", "edited"):
                self.last[entry["name"]] = entry
            elif entry["event"] == "done":
                self.last[entry["name"]] = self.done[entry["name"]] = entry
                self._moved[entry["name"]] = []
            elif entry["event"] == "kept" and entry["name"] in self.done:
                self.last[entry["name"]] = self.done[entry["name"]]
                self._moved[entry["name"]].append(entry)

    def newest_settings(self) -> Settings | None:
        """Return the settings of the last run; None when there was none."""
        return next(reversed(self._settings.values()), None)

    def is_open(self, name: str) -> bool:
        """Whether a video has not been done."""
        entry = self.last.get(name)
        return entry is None or entry["event"] != "done"

    def files(self, name: str, folder: Path) -> Mapping[str, Any]:
        """Return size and sha256 of each result file as it was written last: by a run, or from the truth since."""
        if name not in self.done:
            return {}
        return recorded_files(folder) or self.done[name]["files"]

    def edited(self, name: str, folder: Path) -> str | None:
        """Name a result file that is not as it was written; None when there is none."""
        files = self.files(name, folder)
        return next((file for file, facts in files.items() if _is_other(folder / file, facts)), None)

    def at_source(self, name: str, source: Source) -> Entry | None:
        """Return the entry that says what a video was like when it lay there; None when only other places are known."""
        known = [self.done[name], *self._moved[name]] if name in self.done else [self.begun[name]]
        return next((entry for entry in reversed(known) if _is_from(entry, source)), None)

    def owner(self, name: str) -> Entry | None:
        """Return the entry on the video that the results, or else what is unfinished, are of."""
        if name in self.done:
            return self.done[name]
        return self.begun.get(name) if name not in self.last else None

    def change(self, entry: Entry, settings: Settings, *, of_output: bool = True) -> str:
        """Say what differs between an entry's settings and those of now; empty when nothing does.

        Args:
            entry: Of the journal.
            settings: Those of now.
            of_output: Output settings count too.
        """
        before = self._settings.get(entry["run"])
        if before is None:
            return "the settings that it was made with are not known"
        for part in sorted({*before.weights, *settings.weights}):
            old, new = (s.weights.get(part) or {} for s in (before, settings))
            if old.get("sha256") != new.get("sha256"):
                return f"other weights: {part} was {old.get('name', 'none')}, is {new.get('name', 'none')}"
        now = orjson.loads(orjson.dumps(settings.config))  # as the journal gives it back
        new_flat = _flat(now)
        # What an older version did not know of was as it is unless told otherwise.
        usual = {key: value for key, value in _flat(InferConfig().of_results()).items() if key in new_flat}
        old_flat = usual | _flat(before.config)
        for key in sorted({*old_flat, *new_flat}):
            if not of_output and key.startswith("output."):
                continue
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
) -> PlannedClip:
    """Decide what happens to a video.

    Args:
        clip: The video.
        history: What the journal says.
        out: Folder of all results.
        settings: Those of this run.
        overwrite: Do everything again, and replace results that were edited or are of another video.
        retry_failed: Do those again that failed.
        verify_hash: Compare the input's content instead of its size and time of change.
        storage: Reads addresses; None takes one for this video alone.

    Raises:
        StoppedError: The user asked to stop while a server was waited for.
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
        one = PlannedClip(clip, "unreadable", f"{clip.path}: cannot be read ({error.strerror})")
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
) -> PlannedClip:
    if clip.problem:
        return PlannedClip(clip, "unreadable", clip.problem)
    try:
        stamp = input_stamp(clip, storage)
    except JmposeError as error:
        return PlannedClip(clip, "unreadable", error.message, error.hint)
    except OSError as error:
        return PlannedClip(clip, "unreadable", f"{clip.path}: cannot be read ({error.strerror})")
    folder, last = out / clip.name, history.last.get(clip.name)
    source, owner = clip_source(clip), history.owner(clip.name)
    there = history.at_source(clip.name, source) if owner else None
    is_other = owner is not None and there is None and not _is_moved(clip, owner, stamp)
    if overwrite:
        reason = f"--overwrite, in place of {_origin(owner)}" if owner and is_other else "--overwrite" if last else ""
        return PlannedClip(clip, "todo", reason, stamp=stamp)
    if owner and is_other:
        return _refused(
            clip,
            stamp,
            f"{folder}: holds the results of {_origin(owner)}, {source.source} is another video",
            "name both in one command, which gives each a folder of its own, or choose another --out, or replace what "
            "is there with --overwrite",
        )
    reason = ""
    if last is not None and last["event"] == "failed" and _is_from(last, source):
        change = history.change(last, settings) or _input_change(clip, last, last, stamp, verify_hash=verify_hash)
        if not change and not retry_failed:
            return PlannedClip(clip, "failed", last["message"], "--retry-failed tries it again", stamp)
        reason = f"failed before; {change or '--retry-failed'}"
    done = history.done.get(clip.name)
    if done is not None:
        change = history.change(done, settings)
        if there is not None:
            change = change or _input_change(clip, done, there, stamp, verify_hash=verify_hash)
        files = history.files(clip.name, folder)
        missing = [name for name, facts in files.items() if _size(folder / name) != facts[0]]
        if not change and not missing:
            if (folder / CORRECTIONS_FILE).exists():
                return _corrected(clip, folder, stamp, last)
            is_unrecorded = there is None or last is not done
            return PlannedClip(clip, "done", stamp=stamp, frames=done["frames"], is_unrecorded=is_unrecorded)
        if (
            change
            and not missing
            and there is not None
            and not history.change(done, settings, of_output=False)
            and not _input_change(clip, done, there, stamp, verify_hash=verify_hash)
            and _has_poses(clip, folder, files)
        ):
            return PlannedClip(clip, "render", change, stamp=stamp, frames=done["frames"])
        reason = reason or change or f"{missing[0]} is missing"
    is_left_alone = not is_being_replaced(out, clip.name)  # else some files are new, and nobody has edited them
    if is_left_alone and history.files(clip.name, folder) and (folder / CORRECTIONS_FILE).exists():
        return _corrected(clip, folder, stamp, last)
    edited = history.edited(clip.name, folder)
    if edited and is_left_alone:
        text = f"{folder}: {edited} was changed after jmpose wrote it"
        is_unrecorded = last is None or last["event"] != "edited"
        return PlannedClip(clip, "edited", text, _REPLACE, stamp, is_unrecorded=is_unrecorded)
    if clip.name not in history.begun and any((folder / name).exists() for name in RESULT_FILES):
        return _refused(clip, stamp, f"{folder}: holds results that are not in this folder's journal")
    return PlannedClip(clip, "todo", reason, stamp=stamp)


def _has_poses(clip: Clip, folder: Path, files: Mapping[str, Any]) -> bool:
    """Whether the other files of a video can be made of its truth: what is there is ours, and the video lies here."""
    truth = folder / TRUTH_FILE
    return not clip.url and recorded_files(folder) is not None and is_as_written(truth, files.get(TRUTH_FILE))


def _corrected(clip: Clip, folder: Path, stamp: dict[str, Any], last: Entry | None) -> PlannedClip:
    """Leave a video alone that people have corrected."""
    is_unrecorded = last is None or last["event"] != "edited"
    return PlannedClip(clip, "edited", f"{folder}: holds corrections", _REPLACE, stamp, is_unrecorded=is_unrecorded)


def _refused(clip: Clip, stamp: dict[str, Any], reason: str, hint: str = _REPLACE) -> PlannedClip:
    return PlannedClip(clip, "refused", reason, hint, stamp)


def _origin(entry: Entry) -> str:
    """Say where the video of an entry came from."""
    return str(entry.get("source") or entry.get("input") or "another video")


def _is_from(entry: Entry, source: Source) -> bool:
    """Whether an entry is on a video at this place; journals of old versions do not always say it."""
    places = [entry.get(key) for key in (("source", "real") if "source" in entry else ("input",))]
    return places == [None] or any(place in (source.source, source.real) for place in places)


def _stamp(entry: Entry) -> dict[str, Any]:
    """Return the fingerprint in an entry; journals of old versions do not always have it."""
    stamp = entry.get("stamp")
    return stamp if isinstance(stamp, dict) else {}


def _is_moved(clip: Clip, entry: Entry, stamp: dict[str, Any]) -> bool:
    """Whether a video of an entry is this one, which only lies elsewhere: by its content, where that is known."""
    before = _stamp(entry)
    if before.get("size") != stamp.get("size"):
        return False
    if clip.url or entry["event"] == "begin":
        return before == stamp and len(stamp) > 1  # the size alone says nothing
    return bool(entry.get("sha256")) and input_hash(clip.path) == entry["sha256"]


def _input_change(clip: Clip, entry: Entry, there: Entry, stamp: dict[str, Any], *, verify_hash: bool) -> str:
    """Say how the input differs from the one of an entry; empty when it is the same.

    Args:
        clip: The input.
        entry: What came of it before.
        there: The entry with its fingerprint at the place where it lies.
        stamp: Its fingerprint now.
        verify_hash: Compare the content instead of the fingerprint.
    """
    if verify_hash and entry.get("sha256") and not clip.url:
        return "" if input_hash(clip.path) == entry["sha256"] else "the input's content has changed"
    before = _stamp(there)
    for key in sorted({*stamp, *before}):
        if stamp.get(key) != before.get(key):
            what = {"mtime_ns": "time of change"}.get(key, key)
            return f"the input has changed ({what})"
    return ""


def is_being_replaced(out: Path, name: str) -> bool:
    """Whether a run was killed while it replaced a video's result files: some are new, and nobody has edited them."""
    return replacing_mark(work_folder(out, name)).exists()


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


def work_folder(out: Path, name: str) -> Path:
    """Return the folder for what is unfinished of a video."""
    return out / STATE_FOLDER / "work" / work_key(name)


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
