"""`jmpose export`: options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.choices import ExportFormat


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A pose model, as --model of `infer` takes it.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the files; it is made.")],
    to: Annotated[ExportFormat, typer.Option(help="Format of the files.")],
    temporal: Annotated[
        str, typer.Option(metavar="WHAT", help="Temporal part, as --temporal of `infer`: auto, own, or a file.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch no models.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Write a pose model for other programs: its graphs with fixed shapes, metadata.json, and an example.

    Example: jmpose export nano exported --to onnx
    """
    from jmpose_cli.console import Reporter
    from jmpose_cli.upkeep.export import export_model

    reporter = Reporter(quiet=quiet, verbose=verbose)
    export_model(model, folder, to=to, temporal=temporal, overwrite=overwrite, offline=offline, reporter=reporter)
