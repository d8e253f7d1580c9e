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
from collections.abc import Sequence
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
from jmpose_cli.clips.operation import ROUNDING_PX, with_joints
from jmpose_cli.clips.operations import AnyOperation, Operation, Replace, first_fault
from jmpose_cli.clips.run_record import recorded_files
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import LineFile, checked_texts, explain_os_errors, write_whole
from jmpose_cli.formats.json_file import parse_json
from jmpose_cli.formats.read import poses_in
from jmpose_cli.formats.truth import MODEL, Truth, truth_in, write_truth
from jmpose_cli.text import to_json

_MOST_KEPT = 16  # truths before the last steps: taking back one of them is immediate

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
        truth: The truth with all steps that count.
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
        self._past: list[Truth] = []
        self._is_ours = False
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
        with suppress(OSError):
            if self._is_ours and not self._file.path.stat().st_size:
                self._file.path.unlink()
        self._file.close()

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

    def do(self, operations: Sequence[Operation], *, write: bool = True, key: str | None = None) -> None:
        """Apply operations, all or none, as one step.

        Args:
            operations: At least one.
            write: Also the file of the truth. Otherwise the step is kept all the same, and `write` can follow.
            key: Of at most 64 characters, by which whoever asks can tell that it was done: nothing is done twice.

        Raises:
            JmposeError: One cannot be applied; nothing has changed then. Or something cannot be written, see `write`.
        """
        if key is not None and self.has(key):
            return
        truth = _applied(self.truth, operations)
        log = replace(self._log, done=[*self._log.done, tuple(operations)], undone=[])
        self._turn(log, truth, [*self._past, self.truth], write, _Done, key=key, operations=tuple(operations))

    def undo(self, steps: int = 1, *, write: bool = True, key: str | None = None) -> None:
        """Take the last steps back.

        Raises:
            JmposeError: There are not as many, or as from `do`.
        """
        if key is not None and self.has(key):
            return
        log = replace(self._log, done=[*self._log.done], undone=[*self._log.undone])
        log.turn("undo", steps)
        is_kept = steps <= len(self._past)
        truth = self._past[-steps] if is_kept else _replayed(self._base, log)
        self._turn(log, truth, self._past[:-steps] if is_kept else [], write, _Turn, key=key, event="undo", steps=steps)

    def redo(self, steps: int = 1, *, write: bool = True, key: str | None = None) -> None:
        """Do again what was taken back.

        Raises:
            JmposeError: There are not as many, or as from `do`.
        """
        if key is not None and self.has(key):
            return
        log = replace(self._log, done=[*self._log.done], undone=[*self._log.undone])
        log.turn("redo", steps)
        past, truth = [*self._past], self.truth
        for step in log.done[-steps:]:
            past.append(truth)
            truth = _applied(truth, step)
        self._turn(log, truth, past, write, _Turn, key=key, event="redo", steps=steps)

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
            self._turn(self._log, self.truth, self._past, True, _Written)

    def _open(self, accept_edits: bool) -> None:
        self._log = _read_log(self._file.path)
        data = _bytes(self._path)
        self._disk, self._seen = _sha256(data), _stamp(self._path)
        if not self._log.lines:
            if self._model_path.is_file() and (data is None or file_sha256(self._model_path) != self._disk):
                raise JmposeError(
                    f"{self.folder}: {CORRECTIONS_FILE} is missing, and {TRUTH_FILE} is not what the model gave",
                    hint=f"put the file back, or remove {MODEL_FILE} to begin from the truth as it is",
                )
            model = data
            self.model_is_lost = not _is_as_recorded(self.folder, self._disk)
        else:
            model = _bytes(self._model_path)
            if model is None or _sha256(model) != self._log.model:
                raise JmposeError(
                    f"{self._model_path}: {'missing' if model is None else 'not the file that was corrected'}",
                    hint="put the file back: corrections count from it",
                )
        assert model is not None
        base = _truth_in(self._path, model)
        self._base = replace(base, model_xy=np.where(base.present[..., None], base.xy, np.nan))
        self.truth = _replayed(self._base, self._log)
        is_changed = self._log.lines and data is not None and self._disk not in self._log.known()
        if (is_changed or self.model_is_lost) and not accept_edits:
            raise JmposeError(
                f"{self._path}: another program has changed it",
                hint="--accept-edits takes the changes as corrections; else put back a copy of the file",
            )
        if is_changed and data is not None:
            edited = _marked(self.truth, _truth_in(self._path, data))
            self.edits = Replace.between(self.truth, edited, origin="another program")

    def _turn(self, log: _Log, truth: Truth, past: list[Truth], write: bool, kind: type[_Line], **facts: Any) -> None:
        """Go over to another state; what cannot be written has hints that hold here."""
        try:
            self._go_over(log, truth, past, write, kind, **facts)
        except OutputError as error:
            kept = kind is not _Written and self._log is log
            then = "the step is kept, and the next `jmpose edit` writes it" if kept else "then do it again"
            raise OutputError(error.message, hint=f"make room, or see to the disk; {then}") from error

    def _go_over(
        self, log: _Log, truth: Truth, past: list[Truth], write: bool, kind: type[_Line], **facts: Any
    ) -> None:
        """Go over to another state: a line in the log and, if wanted, the file of the truth."""
        if not self._log.lines:
            self._begin()
            log.lines, log.model = self._log.lines, self._log.model
        if kind is not _Written:
            facts["when"] = datetime.now(UTC).isoformat(timespec="seconds")
        if not write:
            self._append(kind, facts)
            log.lines, log.is_ahead = self._log.lines, True
            self._log, self.truth, self._past = log, truth, past[-_MOST_KEPT:]
            return
        whole = WholeFile(self._path)
        with explain_os_errors(self._path):
            whole.begin()
        try:
            if log.done:
                write_truth(truth, whole.partial)
            else:
                write_whole(whole.partial, _bytes(self._model_path) or b"")
            new = (file_sha256(whole.partial), self._disk)
            self.check_is_ours()
            if kind is not _Written or self._log.truth != new:
                self._append(kind, facts | {"truth": new[0], "over": new[1]})
            log.lines, log.truth, log.is_ahead = self._log.lines, new, False
            self._log, self.truth, self._past = log, truth, past[-_MOST_KEPT:]
            with explain_os_errors(self._path):
                whole.commit()
        except BaseException:
            whole.discard()
            raise
        self._disk, self._seen = new[0], _stamp(self._path)

    def _begin(self) -> None:
        data = _bytes(self._path)
        if data is None or _sha256(data) != self._disk:
            raise _changed_now(self._path)
        write_whole(self._model_path, data)
        self._append(_Begin, {"model": self._disk})
        self._log.model = self._disk

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
    path, data = folder / CORRECTIONS_FILE, _bytes(folder / TRUTH_FILE)
    log = _read_log(path) if path.is_file() else _Log(path)
    if not log.lines:
        return "untouched" if _is_as_recorded(folder, _sha256(data)) else "changed"
    if data is not None and _sha256(data) not in log.known():
        return "changed"
    return "behind" if log.is_ahead or (log.truth is not None and _sha256(data) != log.truth[0]) else "current"


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


def _applied(truth: Truth, operations: Sequence[Operation]) -> Truth:
    for operation in operations:
        truth = operation.apply(truth)
    return truth


def _replayed(base: Truth, log: _Log) -> Truth:
    truth = base
    for number, step in enumerate(log.done):
        try:
            truth = _applied(truth, step)
        except JmposeError as error:
            hint = "the log does not belong to this clip, or was changed by hand; put back a copy of it"
            raise JmposeError(f"{log.path}: correction {number + 1}: {error.message}", hint=hint) from error
    return truth


def _truth_in(path: Path, data: bytes) -> Truth:
    parsed = parse_json(path, data)
    return truth_in(poses_in(path, parsed, kind="coco"), parsed)


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
        raise JmposeError(f"cannot read {path}: {error.strerror or error}", hint="check the file's rights") from error


def _sha256(data: bytes | None) -> str:
    """Return the sha256 of a content; "" of none."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _changed_now(path: Path) -> JmposeError:
    return JmposeError(f"{path}: another program has just changed it", hint="look at it, and do it again")
