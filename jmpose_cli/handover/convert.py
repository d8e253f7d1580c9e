"""`jmpose convert`: pose files and clips from one format into another, one or a folder of them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.read import READABLE, is_json, poses_in
from jmpose_cli.formats.truth import truth_in, write_truth
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.handover.targets import Target
from jmpose_cli.handover.write import target_of, write_poses
from jmpose_cli.video.content import check_unchanged

_TRUTH = FORMATS["coco"].file_name
_RUN_FILE = "run.json"


def convert_files(
    source: Path,
    target: Path,
    *,
    to: str,
    video: Path | None = None,
    overwrite: bool,
    reporter: Reporter,
    notes_on: Callable[[Path], list[str]] = lambda _: [],
) -> int:
    """Convert one file or clip, every clip below a folder, or every annotation file directly in a folder.

    Args:
        source: A file, the folder of a clip, a folder of such folders, or a folder of files.
        target: A file or, for formats of many files, a folder. Of several sources, a folder, where names stay and
            endings change. An existing folder takes a file also of a single source.
        to: The format.
        video: The video of the clip, for formats that hold pictures; None takes what `run.json` names.
        overwrite: Replace existing files.
        reporter: Says what was done.
        notes_on: Tells of the folder of a clip what is to be known of its truth; what it raises fails that source.

    Returns:
        0 when all were converted, 1 when some failed.

    Raises:
        JmposeError: Nothing to convert, an unknown format or one whose package is missing, existing targets, or a
            target that is its own source.
    """
    form = target_of(to)
    form.check()
    plan = _plan(source, target, form, reporter)
    if video is not None and len(plan) > 1:
        raise JmposeError(f"--video with {len(plan)} sources", hint="convert them one by one")
    for path, written in plan.items():
        if written.resolve() == path.resolve():
            raise JmposeError(f"{path} would replace itself", hint="choose another target")
    existing = [written for written in plan.values() if _stands(written)]
    if existing and not overwrite:
        raise JmposeError(f"{existing[0]} exists", hint="replace it with --overwrite, or choose another target")
    failed = 0
    files_of: dict[str, list[str]] = {}
    for path, written in plan.items():
        name = _name(path)
        try:
            for note in notes_on(path.parent) if path.name == _TRUTH else ():
                reporter.note(note)
            for note in _convert(path, written, to, video, reporter):
                files_of.setdefault(note, []).append(name)
        except JmposeError as error:
            failed += 1
            reporter.failure(name, error)
    for note, names in files_of.items():
        reporter.note(f"{names[0] if len(names) == 1 else f'{len(names)} files'}: {note}")
    return 1 if failed else 0


def _stands(path: Path) -> bool:
    """Whether something is there that would be replaced; an empty folder is nothing."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _name(path: Path) -> str:
    """Name a source for people: a clip by its folder."""
    return path.resolve().parent.name if path.name == _TRUTH else path.name


def _plan(source: Path, target: Path, form: Target, reporter: Reporter) -> Mapping[Path, Path]:
    """Target of every source."""
    if not source.exists():
        raise JmposeError(f"{source}: no such file or folder", hint="check the path")
    if not source.is_dir():  # what is neither is refused by who reads it
        return {source: _written(source.stem, target, form)}
    if (source / _TRUTH).is_file():
        return {source / _TRUTH: _written(_name(source / _TRUTH), target, form)}
    if target.is_file():
        raise JmposeError(f"{target} is a file", hint="a folder is converted into a folder")
    try:
        entries = sorted(source.iterdir())
        clips = sorted(path for path in source.rglob(_TRUTH) if path.is_file())
    except OSError as error:
        raise JmposeError(f"{source}: cannot be read ({error.strerror})", hint="check its permissions") from error
    if clips:
        return {clip: target / _with_suffix(clip.parent.relative_to(source), form) for clip in clips}
    files = [entry for entry in entries if entry.is_file() and entry.suffix in READABLE]
    if not files:
        raise JmposeError(
            f"{source}: no annotation files and no clips",
            hint=f"files end in {', '.join(READABLE)}; clips are folders with {_TRUTH}",
        )
    others = [entry.name for entry in entries if entry not in files]
    if others:
        reporter.note(f"{source}: left out: {', '.join(others[:5])}{' ...' * (len(others) > 5)}")
    doubled = {file.stem for file in files if sum(other.stem == file.stem for other in files) > 1}
    if doubled:
        raise JmposeError(
            f"{source}: {sorted(doubled)[0]} stands for two files", hint="convert them one by one, to different names"
        )
    return {file: target / _with_suffix(Path(file.stem), form) for file in files}


def _with_suffix(name: Path, form: Target) -> Path:
    return name.with_name(name.name + form.suffix)


def _written(name: str, target: Path, form: Target) -> Path:
    """Where the one source goes; a format of many files goes into an existing folder itself."""
    return target / f"{name}{form.suffix}" if form.suffix and target.is_dir() else target


def _convert(path: Path, written: Path, to: str, video: Path | None, reporter: Reporter) -> list[str]:
    """Convert one file; return what the user should know."""
    is_copy = to == "coco" and path.name == _TRUTH
    data = read_json(path) if is_json(path) else None
    records = poses_in(path, data)
    with explain_os_errors(written):
        written.parent.mkdir(parents=True, exist_ok=True)
    if is_copy:  # all that a truth holds has its place in one
        if records.kind != "coco":
            raise JmposeError(f"{path} is a {records.kind} file", hint="a truth is a COCO file")
        write_truth(truth_in(records, data), written)
        notes = []
    else:
        footage = video or _video_of(path, is_read=to == "frames")
        notes = [*records.notes, *write_poses(records, written, to=to, footage=footage)]
    if records.unread and not is_copy:
        notes.append(f"fields that were not carried over: {', '.join(records.unread)}")
    counts = f"{records.kind}, {len(records.images)} frames, {len(records)} people"
    reporter.header({_name(path): f"{counts} -> {written}"})
    return notes


def _video_of(path: Path, *, is_read: bool) -> Path | None:
    """Return the video that the run of a clip has read, if the run's record says so.

    Raises:
        JmposeError: `is_read`, and it does not hold what it did.
    """
    try:
        record = orjson.loads((path.parent / _RUN_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    given = record.get("input") if isinstance(record, dict) else None
    if not isinstance(given, str) or "://" in given:
        return None
    if is_read and os.path.exists(given):
        check_unchanged(Path(given), record, hint="put it back, or name the right one with --video")
    return Path(given)
