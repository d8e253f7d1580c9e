"""`jmpose convert`: options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.choices import TargetFormat


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Annotation file, or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File, or a folder if IN is one.")],
    to: Annotated[TargetFormat, typer.Option(help="Format to write; that of IN is recognised.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Convert keypoint and track annotations between formats.

    Reads PoseTrack17, 18 and 21, COCO data sets and results, and MOT text. What the new format cannot hold is
    reported.

    Example: jmpose convert annotations/val val17 --to posetrack17
    """
    from jmpose_cli.console import Reporter
    from jmpose_cli.formats.convert import convert_files

    reporter = Reporter(quiet=quiet, verbose=verbose)
    raise typer.Exit(convert_files(source, target, to=to, overwrite=overwrite, reporter=reporter))
