"""What `jmpose check` shows and leaves: a table a clip, `check.json` beside its truth."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from jmpose.files import file_sha256
from jmpose_cli.choices import SUSPECT_KINDS
from jmpose_cli.clips.check import hints, rank_frames, suspects, tally
from jmpose_cli.clips.corrections import notes_on_state, steps_of
from jmpose_cli.clips.dismissals import still_suspicious
from jmpose_cli.clips.find import find_clips
from jmpose_cli.clips.layout import CHECK_FILE, TRUTH_FILE
from jmpose_cli.clips.run_record import recorded_joins
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.console import Reporter, make_console
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.formats.truth import read_truth
from jmpose_cli.text import to_json

MOST_FRAMES = 12  # that are named above a table
_WIDTH = 160  # of tables that do not go to a terminal


def check_clips(places: Sequence[Path], *, top: int, kinds: Collection[str], as_json: bool, reporter: Reporter) -> int:
    """Check clips, write `check.json` of each, and print what is suspicious.

    Args:
        places: Folders of clips, or folders with clips below them.
        top: Most suspects that a table shows.
        kinds: Only suspects of these kinds; all when empty.
        as_json: Print all as JSON instead of tables.
        reporter: Tells of clips that cannot be read.

    Returns:
        0, also with suspects; 1 when a clip cannot be read or written, the others are checked nevertheless.

    Raises:
        JmposeError: A folder is not there or holds no clip, or a kind is not known.
    """
    unknown = [kind for kind in kinds if kind not in SUSPECT_KINDS]
    if unknown:
        raise JmposeError(f"there is no kind {unknown[0]!r} of suspects", hint=f"allowed: {', '.join(SUSPECT_KINDS)}")
    found, failed = [], False
    for folder in find_clips(places):
        try:
            for note in notes_on_state(folder):
                reporter.note(note)
            document, chosen = check_clip(folder, kinds=kinds)
        except JmposeError as error:
            if reporter.verbose:
                raise
            reporter.failure(str(folder), error)
            failed = True
            continue
        found.append({"clip": str(folder), **document})
        if not as_json and not reporter.quiet:
            _print_clip(folder, document, chosen, top)
    if as_json:
        print(to_json(found, indent=True).decode())
    return int(failed)


def check_clip(folder: Path, *, kinds: Collection[str] = ()) -> tuple[dict[str, Any], list[Suspect]]:
    """Check one clip and write its `check.json`.

    Args:
        folder: Holds its truth.
        kinds: Only suspects of these kinds; all when empty.

    Returns:
        What the file says, and the suspects, worst first.

    Raises:
        JmposeError: The truth cannot be read, or the file cannot be written.
    """
    truth = read_truth(folder)
    everything = still_suspicious(suspects(truth, recorded_joins(folder)), steps_of(folder))
    chosen = [one for one in everything if not kinds or one.kind in kinds]
    document = {
        "sha256": file_sha256(folder / TRUTH_FILE),
        "hints": hints(truth, everything),
        "frames": rank_frames(chosen),
        "suspects": [one.as_json() for one in chosen],
        **({"kinds": sorted(kinds)} if kinds else {}),
    }
    write_whole(folder / CHECK_FILE, to_json(document, indent=True) + b"\n")
    return document, chosen


def _print_clip(folder: Path, document: dict[str, Any], chosen: Sequence[Suspect], top: int) -> None:
    console = make_console(log_width=_WIDTH)
    console.print(str(folder), style="bold")
    if not chosen:
        console.print("nothing suspicious\n")
        return
    first = document["frames"][:MOST_FRAMES]
    console.print(f"{tally(chosen)}; look first at frame{'s' * (len(first) > 1)} {', '.join(map(str, first))}")
    for hint in document["hints"]:
        console.print(f"hint: {hint}", style="yellow")
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("severity", "frame"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("jmpose edit", overflow="fold")
    for one in chosen[:top]:
        table.add_row(f"{one.severity:.2f}", str(one.at), one.kind, Text(one.reason), Text(one.remedy))
    console.print(table)
    if len(chosen) > top:
        console.print(f"and {len(chosen) - top} more in {CHECK_FILE} (--top {len(chosen)} shows them)")
    console.print()
