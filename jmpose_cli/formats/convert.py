"""`jmpose convert`: pose files from one format into another, a file or a folder of them."""

from collections.abc import Mapping
from pathlib import Path

from jmpose_cli.choices import TargetFormat
from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.write import SUFFIXES, write_poses

_READABLE = (".json", ".txt")


def convert_files(source: Path, target: Path, *, to: TargetFormat, overwrite: bool, reporter: Reporter) -> int:
    """Convert one file, or every annotation file directly in a folder.

    Args:
        source: A file or a folder.
        target: A file for a file; a folder, where names stay and endings change, for a folder. An existing folder
            also takes a file.
        to: The format.
        overwrite: Replace existing files.
        reporter: Says what was done.

    Returns:
        0 when all were converted, 1 when some failed.

    Raises:
        JmposeError: Nothing to convert, existing targets, or a target that is its own source.
    """
    plan = _plan(source, target, to, reporter)
    for path, written in plan.items():
        if written.resolve() == path.resolve():
            raise JmposeError(f"{path} would replace itself", hint="choose another target")
    existing = [written for written in plan.values() if written.exists()]
    if existing and not overwrite:
        raise JmposeError(f"{existing[0]} exists", hint="replace it with --overwrite, or choose another target")
    failed = 0
    files_of: dict[str, list[str]] = {}
    for path, written in plan.items():
        try:
            for note in _convert(path, written, to, reporter):
                files_of.setdefault(note, []).append(path.name)
        except JmposeError as error:
            failed += 1
            reporter.failure(path.name, error)
    for note, names in files_of.items():
        reporter.note(f"{names[0] if len(names) == 1 else f'{len(names)} files'}: {note}")
    return 1 if failed else 0


def _plan(source: Path, target: Path, to: TargetFormat, reporter: Reporter) -> Mapping[Path, Path]:
    """Target of every source."""
    if not source.exists():
        raise JmposeError(f"{source}: no such file or folder", hint="check the path")
    if not source.is_dir():  # what is neither is refused by who reads it
        return {source: target / f"{source.stem}{SUFFIXES[to]}" if target.is_dir() else target}
    if target.is_file():
        raise JmposeError(f"{target} is a file", hint="a folder is converted into a folder")
    try:
        entries = sorted(source.iterdir())
    except OSError as error:
        raise JmposeError(f"{source}: cannot be read ({error.strerror})", hint="check its permissions") from error
    files = [entry for entry in entries if entry.is_file() and entry.suffix in _READABLE]
    if not files:
        raise JmposeError(f"{source}: no annotation files", hint=f"files end in {' or '.join(_READABLE)}")
    others = [entry.name for entry in entries if entry not in files]
    if others:
        reporter.note(f"{source}: left out: {', '.join(others[:5])}{' ...' * (len(others) > 5)}")
    doubled = {file.stem for file in files if sum(other.stem == file.stem for other in files) > 1}
    if doubled:
        raise JmposeError(
            f"{source}: {sorted(doubled)[0]} stands for two files", hint="convert them one by one, to different names"
        )
    return {file: target / f"{file.stem}{SUFFIXES[to]}" for file in files}


def _convert(path: Path, written: Path, to: TargetFormat, reporter: Reporter) -> list[str]:
    """Convert one file; return what the user should know."""
    records = read_poses(path)
    with explain_os_errors(written):
        written.parent.mkdir(parents=True, exist_ok=True)
    notes = [*records.notes, *write_poses(records, written, to=to)]
    if records.unread:
        notes.append(f"fields that were not carried over: {', '.join(records.unread)}")
    counts = f"{records.kind}, {len(records.images)} frames, {len(records)} people"
    reporter.header({path.name: f"{counts} -> {written}"})
    return notes
