"""`jmpose check`: options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.choices import SUSPECT_KINDS


def check(
    places: Annotated[
        list[Path], typer.Argument(metavar="OUT", help="Folders of clips, or of results with clips in them.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON.")] = False,
    top: Annotated[int, typer.Option(min=0, metavar="N", help="Suspects that a table shows (15).")] = 15,
    kind: Annotated[
        str | None,
        typer.Option(metavar="LIST", help=f"Only some kinds, with commas between: any of {', '.join(SUSPECT_KINDS)}."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No tables; errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Rank what is suspicious in clips, with what to try, and write check.json beside each.

    Joints that jump, left and right exchanged, odd limbs; ids that are lost, doubled or exchanged; people who are not
    there. Suspects are no errors: the exit code is 0.

    Example: jmpose check out --top 30
    """
    from jmpose_cli.clips.check_report import check_clips
    from jmpose_cli.console import Reporter

    reporter = Reporter(quiet=quiet, verbose=verbose)
    kinds = kind.split(",") if kind else ()
    raise typer.Exit(check_clips(places, top=top, kinds=kinds, as_json=as_json, reporter=reporter))
