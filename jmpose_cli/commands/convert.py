"""`jmpose convert`: options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.handover.targets import TARGETS


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Annotation file, clip, or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File, or a folder if IN is one.")],
    to: Annotated[str, typer.Option(metavar="FORMAT", help=f"Format to write: {', '.join(TARGETS)}.")],
    video: Annotated[Path | None, typer.Option(help="The video of IN, for `frames`; else that of run.json.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Convert keypoint and track annotations between formats, to and from those of other tools.

    Reads clips that `infer` left, PoseTrack17, 18 and 21, COCO data sets and results, MOT text, CVAT, DeepLabCut and
    SLEAP. What the new format cannot hold is reported.

    Example: jmpose convert out/street street.xml --to cvat
    """
    from jmpose_cli.clips.corrections import notes_on_state
    from jmpose_cli.console import Reporter
    from jmpose_cli.handover.convert import convert_files

    reporter = Reporter(quiet=quiet, verbose=verbose)
    code = convert_files(
        source, target, to=to, video=video, overwrite=overwrite, reporter=reporter, notes_on=notes_on_state
    )
    raise typer.Exit(code)
