"""`jmpose train`: options to one call."""

import os
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Name of a shipped configuration, or a YAML file; see --list.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Run folder: weights, scores, checkpoints, TensorBoard.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Root of the data; paths in the configuration are relative to it.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Weights to start from: any pose model that infer takes, by name, Hub id or path."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --out, with its own settings; CONFIG may be left out.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read all data, take two steps and a validation step, then stop.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    devices: Annotated[int | None, typer.Option(help="Number of devices on this machine.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change a setting, such as optim.batch=16; may be repeated."),
    ] = None,
    list_configs: Annotated[bool, typer.Option("--list", help="List the shipped configurations.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Train or adapt a model on PoseTrack, COCO keypoints, or your own corrected videos.

    A run can be stopped at any moment; --resume --out FOLDER resumes it as if nothing had happened.
    The temporal output is scored beside the initial (single-frame) heatmaps.

    Example: jmpose train nano-coco --data my_data --out runs/mine
    """
    from jmpose_cli.console import say_start
    from jmpose_cli.extras import check_installed
    from jmpose_cli.training.config import shipped_configs
    from jmpose_cli.training.origin import new_settings, resumed_settings

    if list_configs:
        _list_configs(shipped_configs())
        raise typer.Exit
    if check and resume:
        raise typer.BadParameter("--check looks at a new run, --resume resumes one: leave one of them out")
    if (not config and not resume) or (out is None and not check):
        lacking = "CONFIG" if not config and not resume else "--out"
        wanted = "--resume --out FOLDER" if resume else "CONFIG --out FOLDER"
        raise typer.BadParameter(f"{lacking} is missing; jmpose train {wanted}")
    for module in ("lightning_fabric", "tensorboard"):
        check_installed(module, extra="train", by="jmpose train")
    options = {"data.root": data, "device": device, "devices": devices, "init": init}
    if resume:
        assert out is not None
        origin = resumed_settings(out, config, assignments or [], options)
    else:
        origin = new_settings(config, assignments or [], options)

    if os.environ.get("LOCAL_RANK", "0") == "0":  # the process of the first device speaks for all
        say_start("loading torch, then the data", quiet=quiet)
    from jmpose_cli.training import train as job
    from jmpose_cli.training.display import Display

    display = Display(quiet=quiet)
    if check:
        job.check(origin, out or Path(), display=display)
    else:
        assert out is not None
        job.train(origin, out, resume=resume, display=display)


def _list_configs(configs: dict[str, Path]) -> None:
    """Print names, and the comments at the beginning of the files, which say what they are for."""
    from rich.table import Table

    from jmpose_cli.console import make_console

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, path in sorted(configs.items()):
        comment = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
        table.add_row(name, " ".join(line.lstrip("# ") for line in comment))
    make_console(log_width=120).print(table)
