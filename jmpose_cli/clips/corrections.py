"""The corrections of a clip: a log of operations beside the truth, and the truth that follows from it.

| file | what it is |
|---|---|
| `model.coco.json` | what the model gave: a copy of the truth, made before the first correction |
| `corrections.jsonl` | the log: checksummed lines, numbered from 0 |
| `keypoints.coco.json` | the truth: the operations that count, applied in their order to what the model gave |

The log decides. An operation is there when its line is on the disk; the truth is prepared before and gets its name
after, so that a process that is killed, or a disk that is full, leaves the old truth or the new one, and all operations
that were acknowledged. A line that announces a truth holds its sha256 and that of the one it replaces: whoever opens
the clip knows by them whether the truth is what it should be, is behind the log and to be made again, or was changed by
another program. Truths are the same to the byte however often they are made, and without operations that count, the
truth is the model's file.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from jmpose.files import WholeFile, file_sha256
from jmpose.regular_file import read_regular
from jmpose_cli.clips.layout import CORRECTIONS_FILE, MODEL_FILE, TRUTH_FILE
from jmpose_cli.clips.live_truth import Change, LiveTruth, joined
from jmpose_cli.clips.operation import ROUNDING_PX, with_joints
from jmpose_cli.clips.operations import AnyOperation, Operation, Replace, first_fault
from jmpose_cli.clips.parsed_truth import LEAST_BYTES, Truths, corrected_from
from jmpose_cli.clips.run_record import recorded_files
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import LineFile, checked_texts, explain_os_errors, write_whole
from jmpose_cli.formats.json_file import parse_json
from jmpose_cli.formats.read import poses_in
from jmpose_cli.formats.truth import MODEL, Truth, truth_in, write_truth
from jmpose_cli.text import to_json

_MOST_KEPT_BYTES = 256 << 20  # of what the last steps have replaced: taking them back is immediate

State = Literal["untouched", "current", "behind", "changed"]
Step = tuple[Operation, ...]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Line(BaseModel):
    """One line of the log.

    Attributes:
        n: Its number; lines of which one is missing cannot be applied.
        truth: The sha256 of the truth that now gets its name.
        over: The sha256 of the one that it replaces; "" of none.
        key: Who asked for it knows it by this; what is asked for again is not done again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    n: Annotated[int, Field(ge=0)]
    truth: _Sha256 | None = None
    over: _Sha256 | Literal[""] | None = None
    key: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class _Begin(_Line):
    event: Literal["begin"] = "begin"
    version: Literal[1] = 1
    model: _Sha256


class _Done(_Line):
    event: Literal["done"] = "done"
    when: str
    operations: Annotated[tuple[AnyOperation, ...], Field(min_length=1)]


class _Turn(_Line):
    event: Literal["undo", "redo"]
    when: str
    steps: Annotated[int, Field(ge=1)]


class _Written(_Line):
    event: Literal["written"] = "written"


_LINE: TypeAdapter[Any] = TypeAdapter(Annotated[_Begin | _Done | _Turn | _Written, Field(discriminator="event")])


@dataclass
class _Log:
    """What a log says.

    Attributes:
        lines: How many there are.
        model: The sha256 of what the model gave.
        done: The steps that count, in order.
        undone: Those that were taken back, the last of them last.
        keys: Those of all lines.
        truth: The last truth that was announced, and the one that it replaces.
        is_ahead: There are steps that the last truth announced does not have.
    """

    path: Path
    lines: int = 0
    model: str = ""
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    truth: tuple[str, str] | None = None
    is_ahead: bool = False

    def add(self, text: bytes) -> None:
        """Take in a line.

        Raises:
            JmposeError: It is none of ours, or others are missing before it.
        """
        try:
            line = _LINE.validate_json(text)
        except ValidationError as error:
            hint = "a newer jmpose has written it, or it was changed by hand; put back a copy of the file"
            raise JmposeError(f"{self.path}: line {self.lines} says {first_fault(error)}", hint=hint) from error
        if line.n != self.lines or isinstance(line, _Begin) != (self.lines == 0):
            hint = "put back a copy of the file, or remove it to begin anew from the truth as it is"
            raise JmposeError(f"{self.path}: line {self.lines} is missing or damaged", hint=hint)
        self.lines += 1
        if line.key is not None:
            self.keys.add(line.key)
        if isinstance(line, _Begin):
            self.model = line.model
        elif isinstance(line, _Done):
            self.done.append(line.operations)
            self.undone.clear()
        elif isinstance(line, _Turn):
            self.turn(line.event, line.steps)
        self.is_ahead = not isinstance(line, _Begin | _Written) or self.is_ahead
        if line.truth is not None:
            self.truth, self.is_ahead = (line.truth, line.over or ""), False

    def turn(self, event: Literal["undo", "redo"], steps: int) -> None:
        """Take steps back, or do them again.

        Raises:
            JmposeError: There are not as many.
        """
        source, target = (self.done, self.undone) if event == "undo" else (self.undone, self.done)
        if steps > len(source):
            what = "corrections" if event == "undo" else "corrections taken back"
            raise JmposeError(
                f"cannot {event} {steps}: {self.path.parent} has {len(source)} {what}",
                hint=f"{event} at most {len(source)}" if source else f"there is nothing to {event}",
            )
        target += [source.pop() for _ in range(steps)]

    def known(self) -> set[str]:
        """Return the sha256 of the truths that may stand there when nobody else has written it."""
        return set(self.truth) if self.truth else {self.model}


class _History:
    """The truth with steps, and what the last of them have replaced.

    Args:
        truths: Give what the model gave.

    Attributes:
        live: The truth.
    """

    def __init__(self, truths: Truths) -> None:
        self.live = LiveTruth(truths())
        self._changes: list[Change] = []
        self._bytes = 0

    def do(self, step: Step) -> Change:
        change = self.live.apply(step)
        self._changes.append(change)
        self._bytes += change.nbytes
        return change

    def forget(self) -> None:
        """Let go of what takes back the oldest steps, where it is too much."""
        while self._bytes > _MOST_KEPT_BYTES and len(self._changes) > 1:
            self._bytes -= self._changes.pop(0).nbytes

    def keeps(self, steps: int) -> bool:
        """Whether so many steps can be taken back here."""
        return steps <= len(self._changes)

    def undo(self, steps: int) -> Change:
        taken = [self._changes.pop() for _ in range(steps)]
        for change in taken:
            self.live.revert(change)
            self._bytes -= change.nbytes
        return joined(taken)


def _read_log(path: Path) -> _Log:
    log = _Log(path)
    try:
        for _, text in checked_texts(path):
            if text is not None:
                log.add(text)
    except OSError as error:
        raise JmposeError(f"cannot read {path}: {error.strerror or error}", hint="check the file's rights") from error
    return log


class Corrections:
    """The corrections of a clip, open for more; a context manager. One process at a time has them open.

    Args:
        folder: A folder that `jmpose infer` has left.
        accept_edits: What another program has made of the truth is taken as a correction, see `edits`.

    Attributes:
        edits: What another program has made of it; None where there is nothing. It counts when it is given to `do`.
        model_is_lost: Another program has changed it before the first correction: as it is, it counts as the model's.

    Raises:
        JmposeError: There is no truth, it or the log is damaged, another process has the log open, or, unless
            `accept_edits`, another program has changed the truth.
    """

    def __init__(self, folder: Path, *, accept_edits: bool = False) -> None:
        self.folder = folder
        self.edits: Replace | None = None
        self.model_is_lost = False
        self._path, self._model_path = folder / TRUTH_FILE, folder / MODEL_FILE
        if not folder.is_dir() or not (self._path.is_file() or self._model_path.is_file()):
            raise JmposeError(f"{folder}: holds no {TRUTH_FILE}", hint="name a folder that `jmpose infer` has left")
        with explain_os_errors(folder / CORRECTIONS_FILE):
            self._file = LineFile(folder / CORRECTIONS_FILE)
        self._truth: Truth | None = None
        self._history: _History
        self._is_ours, self._is_prepared = False, False
        self._beginning = threading.Lock()
        try:
            self._is_ours = self._file.hold()
            if not self._is_ours:
                pid = self._file.holder()
                who = "another process" if pid is None else f"process {pid}"
                raise JmposeError(f"{folder}: {who} is correcting this clip", hint="wait for it, or close it")
            self._open(accept_edits)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others correct the clip."""
        with self._beginning, suppress(OSError):
            if self._is_ours and not self._file.path.stat().st_size:
                self._file.path.unlink()
                if self._is_prepared:
                    self._model_path.unlink()
        self._file.close()

    @property
    def live(self) -> LiveTruth:
        """The truth with all steps that count, to be looked at."""
        return self._history.live

    @property
    def truth(self) -> Truth:
        """A copy of the truth with all steps that count."""
        if self._truth is None:
            self._truth = self.live.truth()
        return self._truth

    @property
    def done(self) -> Sequence[Step]:
        """The steps that count, in order."""
        return tuple(self._log.done)

    @property
    def undone(self) -> Sequence[Step]:
        """The steps that were taken back and can be done again, the next one last."""
        return tuple(self._log.undone)

    @property
    def is_behind(self) -> bool:
        """The truth in its file lacks steps, or is not there; `write` makes it anew."""
        return self._log.is_ahead or (self._log.truth is not None and self._disk != self._log.truth[0])

    def has(self, key: str) -> bool:
        """Whether a step, an undo or a redo with this key is in the log."""
        return key in self._log.keys

    def do(self, operations: Sequence[Operation], *, write: bool = True, key: str | None = None) -> Change:
        """Apply operations, all or none, as one step.

        Args:
            operations: At least one.
            write: Also the file of the truth. Otherwise the step is kept all the same, and `write` can follow.
            key: Of at most 64 characters, by which whoever asks can tell that it was done: nothing is done twice.

        Returns:
            What differs now.

        Raises:
            JmposeError: One cannot be applied; nothing has changed then. Or something cannot be written, see `write`.
        """
        if key is not None and self.has(key):
            return joined([])
        step = tuple(operations)
        log = replace(self._log, done=[*self._log.done, step], undone=[])
        change = self._history.do(step)
        self._turn(log, lambda: self._history.undo(1), write, _Done, key=key, operations=step)
        return change

    def undo(self, steps: int = 1, *, write: bool = True, key: str | None = None) -> Change:
        """Take the last steps back.

        Raises:
            JmposeError: There are not as many, or as from `do`.
        """
        if key is not None and self.has(key):
            return joined([])
        log = replace(self._log, done=[*self._log.done], undone=[*self._log.undone])
        log.turn("undo", steps)
        before, taken = self._history, self._log.done[-steps:]
        is_kept = before.keeps(steps)

        def back() -> None:
            self._history = before
            if is_kept:
                for step in taken:
                    before.do(step)

        if is_kept:
            change = before.undo(steps)
        else:
            self._history = self._replayed(log.done)
            tracks = np.union1d(before.live.roster.track_ids, self.live.roster.track_ids)
            marked = np.flatnonzero(before.live.reviewed != self.live.reviewed)
            change = Change(np.arange(len(self.live.index)), tracks, marked, ())
        self._turn(log, back, write, _Turn, key=key, event="undo", steps=steps)
        return change

    def redo(self, steps: int = 1, *, write: bool = True, key: str | None = None) -> Change:
        """Do again what was taken back.

        Raises:
            JmposeError: There are not as many, or as from `do`.
        """
        if key is not None and self.has(key):
            return joined([])
        log = replace(self._log, done=[*self._log.done], undone=[*self._log.undone])
        log.turn("redo", steps)
        change = joined([self._history.do(step) for step in log.done[-steps:]])
        self._turn(log, lambda: self._history.undo(steps), write, _Turn, key=key, event="redo", steps=steps)
        return change

    def prepare(self) -> None:
        """Copy what the model gave where that takes long, so that the first correction need not; from any thread.

        Raises:
            JmposeError: It cannot be written.
        """
        with self._beginning:
            is_begun = self._log.lines or self._is_prepared or self._file.is_closed
            if not is_begun and self._path.stat().st_size >= LEAST_BYTES:
                self._copy_model()
                self._is_prepared = True

    def begin(self) -> None:
        """Keep the truth as what the model gave, as the first correction does; nothing where there was one.

        Raises:
            JmposeError: It cannot be written.
        """
        if not self._log.lines:
            self._begin()

    def write(self) -> None:
        """Bring the file of the truth up to date.

        Raises:
            JmposeError: It cannot be written, or another program has just done so. The truth is as it was, and what was
                done is in the log.
        """
        if self.is_behind:
            self._turn(self._log, lambda: None, True, _Written)

    def _open(self, accept_edits: bool) -> None:
        self._log = _read_log(self._file.path)
        self._seen = _stamp(self._path)
        self._disk = _sha256_of(self._path)
        if not self._log.lines:
            source = self._path
            if self._model_path.is_file() and _sha256_of(self._model_path) != self._disk:
                raise JmposeError(
                    f"{self.folder}: {CORRECTIONS_FILE} is missing, and {TRUTH_FILE} is not what the model gave",
                    hint=f"put the file back, or remove {MODEL_FILE} to begin from the truth as it is",
                )
            self.model_is_lost = not _is_as_recorded(self.folder, self._disk)
            self._is_prepared = self._model_path.is_file()
        else:
            source = self._model_path
            found = _sha256_of(source)
            if found != self._log.model:
                raise JmposeError(
                    f"{source}: {'not the file that was corrected' if found else 'missing'}",
                    hint="put the file back: corrections count from it",
                )
        model = self._log.model or self._disk
        self._truths = corrected_from(self._path, model, source, lambda: _truth_of(self._path, source, model))
        self._history = self._replayed(self._log.done)
        is_changed = self._log.lines and self._disk not in ("", *self._log.known())
        if (is_changed or self.model_is_lost) and not accept_edits:
            raise JmposeError(
                f"{self._path}: another program has changed it",
                hint="--accept-edits takes the changes as corrections; else put back a copy of the file",
            )
        if is_changed:
            edited = _marked(self.truth, _truth_of(self._path, self._path, self._disk))
            self.edits = Replace.between(self.truth, edited, origin="another program")

    def _replayed(self, done: Sequence[Step]) -> _History:
        history = _History(self._truths)
        for number, step in enumerate(done):
            try:
                history.do(step)
            except JmposeError as error:
                hint = "the log does not belong to this clip, or was changed by hand; put back a copy of it"
                message = f"{self._file.path}: correction {number + 1}: {error.message}"
                raise JmposeError(message, hint=hint) from error
            history.forget()
        return history

    def _turn(self, log: _Log, back: Callable[[], object], write: bool, kind: type[_Line], **facts: Any) -> None:
        """Write down another state, that of `live`; what cannot be written has hints that hold here.

        Args:
            log: With what was done.
            back: Called where it does not count, because its line cannot be written.
            write: Also the file of the truth.
            kind: Of the line.
            facts: What it says.
        """
        self._truth = None
        try:
            self._write_down(log, write, kind, **facts)
        except BaseException as error:
            if self._log is not log:
                back()
                self._truth = None
            if not isinstance(error, OutputError):
                raise
            kept = kind is not _Written and self._log is log
            then = "the step is kept, and the next `jmpose edit` writes it" if kept else "then do it again"
            raise OutputError(error.message, hint=f"make room, or see to the disk; {then}") from error
        self._history.forget()

    def _write_down(self, log: _Log, write: bool, kind: type[_Line], **facts: Any) -> None:
        """Write a line into the log and, if wanted, the file of the truth."""
        if not self._log.lines:
            self._begin()
            log.lines, log.model = self._log.lines, self._log.model
        if kind is not _Written:
            facts["when"] = datetime.now(UTC).isoformat(timespec="seconds")
        if not write:
            self._append(kind, facts)
            log.lines, log.is_ahead = self._log.lines, True
            self._log = log
            return
        whole = WholeFile(self._path)
        with explain_os_errors(self._path):
            whole.begin()
        try:
            if log.done:
                write_truth(self.truth, whole.partial)
            else:
                write_whole(whole.partial, _bytes(self._model_path) or b"")
            new = (file_sha256(whole.partial), self._disk)
            self.check_is_ours()
            if kind is not _Written or self._log.truth != new:
                self._append(kind, facts | {"truth": new[0], "over": new[1]})
            log.lines, log.truth, log.is_ahead = self._log.lines, new, False
            self._log = log
            with explain_os_errors(self._path):
                whole.commit()
        except BaseException:
            whole.discard()
            raise
        self._disk, self._seen = new[0], _stamp(self._path)

    def _begin(self) -> None:
        with self._beginning:
            if self._is_prepared:
                self.check_is_ours()
            else:
                self._copy_model()
            self._append(_Begin, {"model": self._disk})
            self._log.model = self._disk

    def _copy_model(self) -> None:
        write_whole(self._model_path, _bytes_of(self._path, self._disk))

    def _append(self, kind: type[_Line], facts: dict[str, Any]) -> None:
        line = kind(n=self._log.lines, **facts)
        with explain_os_errors(self._file.path):
            self._file.append(to_json(line.model_dump(exclude_none=True)))
        self._log.lines += 1
        if line.key is not None:
            self._log.keys.add(line.key)

    def check_is_ours(self) -> None:
        """Make sure that no other program has written the truth since it was opened.

        Raises:
            JmposeError: One has.
        """
        if _stamp(self._path) != self._seen:
            raise _changed_now(self._path)


def state_of(folder: Path) -> State:
    """Tell whether the truth of a clip is what its corrections make of it, without opening it for more.

    Returns:
        untouched: Nothing was ever corrected. current: All corrections are in it. behind: A process was stopped before
        it was written, and `jmpose edit FOLDER` writes it. changed: Another program has.

    Raises:
        JmposeError: The log is damaged.
    """
    path, disk = folder / CORRECTIONS_FILE, _sha256_of(folder / TRUTH_FILE)
    log = _read_log(path) if path.is_file() else _Log(path)
    if not log.lines:
        return "untouched" if _is_as_recorded(folder, disk) else "changed"
    if disk not in ("", *log.known()):
        return "changed"
    return "behind" if log.is_ahead or (log.truth is not None and disk != log.truth[0]) else "current"


def steps_of(folder: Path) -> Sequence[Step]:
    """Return the steps of a clip's log that count, in order.

    Raises:
        JmposeError: The log is damaged.
    """
    path = folder / CORRECTIONS_FILE
    return tuple(_read_log(path).done) if path.is_file() else ()


def notes_on_state(folder: Path) -> list[str]:
    """Say so when another program has changed the truth of a clip; a command that reads it takes the file as it stands.

    Raises:
        JmposeError: Corrections are on record that are not in the truth, or the log is damaged.
    """
    state = state_of(folder)
    if state == "behind":
        raise JmposeError(
            f"{folder}: corrections are on record that are not in {TRUTH_FILE}",
            hint=f"a process was stopped before it wrote them; jmpose edit {folder} does",
        )
    changed = f"{folder}: {TRUTH_FILE} was changed by another program, and is taken as it is"
    return [changed] if state == "changed" else []


def _is_as_recorded(folder: Path, sha256: str) -> bool:
    """Whether a truth is the one that `run.json` speaks of; also where that says nothing."""
    facts = (recorded_files(folder) or {}).get(TRUTH_FILE)
    return facts is None or facts[1] == sha256


def _truth_of(path: Path, source: Path, sha256: str) -> Truth:
    """Read a truth from the file that has it, under the name that messages are to have."""
    parsed = parse_json(path, _bytes_of(source, sha256))
    return truth_in(poses_in(path, parsed, kind="coco"), parsed)


def _bytes_of(path: Path, sha256: str) -> bytes:
    """Return what a file holds.

    Raises:
        JmposeError: It is not what it was.
    """
    data = _bytes(path)
    if data is None or hashlib.sha256(data).hexdigest() != sha256:
        raise _changed_now(path)
    return data


def _marked(ours: Truth, theirs: Truth) -> Truth:
    """Return another program's truth with what it has moved as corrected.

    Raises:
        JmposeError: It is not about the same joints, frames and picture.
    """
    for what, here, there in (
        ("joints", ours.keypoints.joints, theirs.keypoints.joints),
        ("frames", ours.index.tolist(), theirs.index.tolist()),
        ("a size", (ours.video.width, ours.video.height), (theirs.video.width, theirs.video.height)),
    ):
        if here != there:
            hint = "put back a copy of the file, or remove it: the next correction makes it anew"
            raise JmposeError(f"{theirs.path}: another program has given it other {what}", hint=hint)
    rows = {key: row for row, key in enumerate(zip(ours.frame.tolist(), ours.track_ids.tolist(), strict=True))}
    keys = zip(theirs.frame.tolist(), theirs.track_ids.tolist(), strict=True)
    found = [rows.get(key, -1) for key in keys]
    matched = np.array(found, np.int64)
    if not len(theirs) or not len(ours):
        moved = theirs.present
    else:
        far = (np.abs(theirs.xy - ours.xy[matched]) > ROUNDING_PX).any(2)
        moved = far | (theirs.visibility != ours.visibility[matched]) | (matched < 0)[:, None]
    moved = moved & (theirs.sources == MODEL)
    kept: dict[str, Any] = {}
    for name in ("raw_xy", "covariances", "probabilities"):  # other programs may leave them out
        column = getattr(ours, name)
        if column is not None and getattr(theirs, name) is None and len(ours):
            new = (matched < 0).reshape(-1, *([1] * (column.ndim - 1)))
            kept[name] = np.where(new, 0.0, column[matched])
    everyone, joints = np.arange(len(theirs)), range(len(theirs.keypoints))
    return with_joints(replace(theirs, **kept), everyone, joints, theirs.xy, theirs.visibility, said=moved)


def _bytes(path: Path) -> bytes | None:
    """Return what a file holds; None where there is none."""
    try:
        return read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _sha256_of(path: Path) -> str:
    """Return the sha256 of a file; "" where there is none."""
    try:
        return file_sha256(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> JmposeError:
    return JmposeError(f"cannot read {path}: {error.strerror or error}", hint="check the file's rights")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _changed_now(path: Path) -> JmposeError:
    return JmposeError(f"{path}: another program has just changed it", hint="look at it, and do it again")
