"""`jmpose edit`: corrections by commands, each written as on the command line."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jmpose_cli.clips.corrections import Corrections, Step
from jmpose_cli.clips.from_file import merged
from jmpose_cli.clips.layout import TRUTH_FILE
from jmpose_cli.clips.operation import FrameRange
from jmpose_cli.clips.operations import (
    Accept,
    Delete,
    Dismiss,
    Interpolate,
    InterpolateJoints,
    Merge,
    Operation,
    Propagate,
    Rename,
    Replace,
    Review,
    SetBox,
    SetOccluded,
    Split,
    Swap,
    SwapSides,
    TakeBack,
    changed_frames,
    first_fault,
)
from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.truth import Truth

Request = tuple[str, str]
"""An option without its dashes, and its value."""
FROM = "from"

_ID, _FRAMES = r"(\d{1,10})", r"(?:@(\d{0,10}:\d{0,10}|\d{1,10}))?"
_NUMBER = r"-?\d{1,9}(?:\.\d{1,9})?"
_TRACK = re.compile(_ID + _FRAMES)
_SPANS = "FRAMES are A:B, which is A to B-1 and open where a side is left out, or one frame"
_Match = re.Match[str]


def _track_and_frames(kind: Callable[..., Operation]) -> tuple[str, str, Callable[[_Match], Operation]]:
    return _TRACK.pattern, "ID or ID@FRAMES", lambda found: kind(track=int(found[1]), frames=_range(found[2]))


def _filled(*, joints: tuple[str, ...], **fields: Any) -> Operation:
    return InterpolateJoints(joints=joints, **fields) if joints else Interpolate(**fields)


def _occluded(occluded: bool) -> tuple[str, str, Callable[[_Match], Operation]]:
    return _track_and_frames(lambda **fields: SetOccluded(occluded=occluded, **fields))


def _reviewed(reviewed: bool) -> tuple[str, str, Callable[[_Match], Operation]]:
    pattern = r"(\d{0,10}:\d{0,10}|\d{1,10})"
    return pattern, "FRAMES", lambda found: Review(frames=_range(found[1]), reviewed=reviewed)


_WRITTEN: dict[str, tuple[str, str, Callable[[_Match], Operation]]] = {
    "merge": (
        rf"{_ID}(?:,\d{{1,10}})+",
        "ID,ID; the first stays",
        lambda found: Merge(tracks=tuple(map(int, found[0].split(",")))),
    ),
    "split": (
        rf"{_ID}@{_ID}(?:={_ID})?",
        "ID@FRAME or ID@FRAME=NEW",
        lambda found: Split(track=int(found[1]), frame=int(found[2]), new=int(found[3]) if found[3] else None),
    ),
    "swap": (
        rf"{_ID},{_ID}{_FRAMES}",
        "ID,ID or ID,ID@FRAMES",
        lambda found: Swap(tracks=(int(found[1]), int(found[2])), frames=_range(found[3])),
    ),
    "rename": (rf"{_ID}={_ID}", "ID=NEW", lambda found: Rename(track=int(found[1]), new=int(found[2]))),
    "swap-sides": (
        rf"{_ID}(?:@~{_ID}|{_FRAMES})(?:=(\w+(?:,\w+)*))?",
        "ID, ID@FRAMES or ID@~FRAME, for some joints followed by =JOINT,JOINT",
        lambda found: SwapSides(
            track=int(found[1]),
            frames=_range(found[3]),
            joints=tuple(found[4].split(",")) if found[4] else (),
            around=int(found[2]) if found[2] else None,
        ),
    ),
    "delete": _track_and_frames(Delete),
    "propagate": _track_and_frames(Propagate),
    "interpolate": (
        rf"{_TRACK.pattern}(?:=(\w+(?:,\w+)*))?",
        "ID or ID@FRAMES, for some joints followed by =JOINT,JOINT",
        lambda found: _filled(
            track=int(found[1]), frames=_range(found[2]), joints=tuple(found[3].split(",")) if found[3] else ()
        ),
    ),
    "accept": _track_and_frames(Accept),
    "take-back": _track_and_frames(TakeBack),
    "occluded": _occluded(True),
    "not-occluded": _occluded(False),
    "box": (
        rf"{_ID}@{_ID}=({_NUMBER}(?:,{_NUMBER}){{3}})",
        "ID@FRAME=LEFT,TOP,RIGHT,BOTTOM",
        lambda found: SetBox.model_validate(
            {"track": int(found[1]), "frame": int(found[2]), "box": tuple(map(float, found[3].split(",")))}
        ),
    ),
    "dismiss": (
        rf"(?:([a-z]+):)?(\d{{1,10}}(?:,\d{{1,10}})*){_FRAMES}",
        "KIND:ID[,ID][@FRAMES], or without KIND",
        lambda found: Dismiss.model_validate(
            {"kind": found[1], "tracks": tuple(map(int, found[2].split(","))), "frames": _range(found[3])}
        ),
    ),
    "review": _reviewed(True),
    "unreview": _reviewed(False),
}
"""By option: what its value looks like, for the program and for people, and what it means."""


def operation_of(option: str, text: str) -> Operation:
    """Read an operation as the command line has it.

    Args:
        option: Such as `merge`.
        text: Such as `3,7`.

    Raises:
        JmposeError: It is not written as the option wants it.
    """
    pattern, form, make = _WRITTEN[option]
    found = re.fullmatch(pattern, text.replace(" ", ""), re.ASCII)
    if found is None:
        hint = f"write --{option} {form}" + (f"; {_SPANS}" if "FRAMES" in form else "")
        raise JmposeError(f"--{option} {text!r:.80} is not understood", hint=hint)
    try:
        return make(found)
    except ValidationError as error:
        raise JmposeError(f"--{option} {text!r:.80}: {first_fault(error)}") from error


def operations_in(options: str) -> list[Operation]:
    """Read what a suspect advises: options and their values, blanks between.

    Raises:
        JmposeError: They are no options of operations.
    """
    words = options.split()
    return [operation_of(option.removeprefix("--"), text) for option, text in zip(words[::2], words[1::2], strict=True)]


def _range(text: str | None) -> FrameRange:
    if text is None:
        return None, None
    begin, colon, end = text.partition(":")
    if not colon:
        return int(begin), int(begin) + 1
    return int(begin) if begin else None, int(end) if end else None


def edit_clip(
    folder: Path,
    requests: Sequence[Request],
    *,
    undo: int = 0,
    redo: int = 0,
    accept_edits: bool = False,
    dry_run: bool = False,
    reporter: Reporter,
) -> bool:
    """Correct a clip; without any request, say how it has been corrected.

    Args:
        folder: Of the clip.
        requests: In order; all are done, as one step, or none.
        undo: How many steps to take back.
        redo: How many of those that were taken back to do again.
        accept_edits: Take what another program has made of the truth as a correction, before all requests.
        dry_run: Only say what would change.
        reporter: Gets a line a request.

    Returns:
        Whether files may derive from an older truth: the clip has corrections, and this is no dry run.

    Raises:
        JmposeError: A request cannot be done; nothing has changed then. Or see `Corrections`.
    """
    if bool(undo) + bool(redo) + bool(requests or accept_edits) > 1:
        raise JmposeError(
            "undo, redo and corrections in one command", hint="give --undo, --redo and others one at a time"
        )
    with Corrections(folder, accept_edits=accept_edits) as corrections:
        if corrections.is_behind and not dry_run:
            corrections.write()
            reporter.note(f"{TRUTH_FILE} now has all corrections; a process was stopped before it had written it")
        if undo or redo:
            _turn(corrections, undo, redo, dry_run, reporter)
            return not dry_run
        if corrections.model_is_lost and not dry_run:
            corrections.begin()
        operations = _operations(corrections, requests, accept_edits, reporter)
        if operations and not dry_run:
            corrections.do(operations)
            reporter.header({"written": f"{folder / TRUTH_FILE}, with {_count(corrections.done)}"})
        if not requests and not accept_edits:
            _tell(corrections, reporter)
        return not dry_run and bool(corrections.done or corrections.undone or corrections.model_is_lost)


def _operations(
    corrections: Corrections, requests: Sequence[Request], accept_edits: bool, reporter: Reporter
) -> list[Operation]:
    """Return the operations that change something."""
    truth, found = corrections.truth, list[Operation]()
    if corrections.model_is_lost:
        reporter.note(f"{TRUTH_FILE} as it is counts as what the model gave: nothing tells how it was before")
    elif accept_edits and corrections.edits is None:
        reporter.note("nothing to accept: no other program has changed the truth")
    edits = [] if corrections.edits is None else [("accept-edits", "", corrections.edits)]
    given: list[tuple[str, str, Operation | None]] = [*edits, *((option, text, None) for option, text in requests)]
    for option, text, operation in given:
        if operation is None:
            operation = _from_file(truth, text, reporter) if option == FROM else operation_of(option, text)
        new = operation.apply(truth)
        changed = changed_frames(truth, new)
        sizes = "told no more" if isinstance(operation, Dismiss) else _sizes(changed)
        reporter.header({option: f"{text} ({sizes})".lstrip()})
        if changed or isinstance(operation, Dismiss):
            found.append(operation)
        truth = new
    return found


def _from_file(truth: Truth, text: str, reporter: Reporter) -> Operation:
    path = Path(text)
    new, notes = merged(truth, read_poses(path))
    for note in notes:
        reporter.note(f"{path}: {note}")
    return Replace.between(truth, new, origin=path.name)


def _sizes(changed: dict[int, int]) -> str:
    if not changed:
        return "nothing changes"
    people = sum(changed.values())
    return f"{len(changed)} frame{'s' * (len(changed) > 1)}" + (
        f", {people} pose{'s' * (people > 1)}" if people else ""
    )


def _turn(corrections: Corrections, undo: int, redo: int, dry_run: bool, reporter: Reporter) -> None:
    """Take steps back, or do them again, and name them."""
    steps = corrections.done[::-1][:undo] if undo else corrections.undone[::-1][:redo]
    if not dry_run or len(steps) < max(undo, redo):  # it says what is wrong
        corrections.undo(undo) if undo else corrections.redo(redo)
    for step in steps:
        reporter.header({"undone" if undo else "redone": _text(step)})
    if not dry_run:
        reporter.header({"written": f"{corrections.folder / TRUTH_FILE}, with {_count(corrections.done)}"})


def _tell(corrections: Corrections, reporter: Reporter) -> None:
    reporter.header({"clip": f"{corrections.folder}, with {_count(corrections.done)}"})
    for number, step in enumerate(corrections.done, 1):
        reporter.header({str(number): _text(step)})
    for step in corrections.undone[::-1]:
        reporter.header({"undone": _text(step)})


def _text(step: Step) -> str:
    return "; ".join(map(str, step))


def _count(steps: Sequence[Any]) -> str:
    return f"{len(steps)} correction{'s' * (len(steps) != 1)}"
