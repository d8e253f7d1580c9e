"""`jmpose doctor`: options to one call, an exit code."""

from typing import Annotated

import typer


def doctor(
    device: Annotated[str, typer.Option(metavar="NAME", help="Device to check, as for infer.")] = "auto",
    model: Annotated[str, typer.Option(metavar="NAME|PATH", help="Pose model to check, as for infer.")] = "auto",
    detector: Annotated[str, typer.Option(metavar="NAME|PATH", help="Detector to check, as for infer.")] = "auto",
    self_test: Annotated[
        bool, typer.Option("--self-test/--no-self-test", help="Run the tool on a few frames of the example.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of lines.")] = False,
) -> None:
    """Say what works on this machine and what does not, and what to do about it.

    The exit code is 0 when all that `jmpose infer` needs works, else 1. Nothing is fetched.
    """
    try:
        from jmpose_cli.upkeep.doctor import InferOptions, run_doctor
    except ImportError as error:  # what the checks themselves need
        from jmpose_cli.machine import explain
        from jmpose_cli.text import one_line

        explained = explain(error)
        hint = explained.hint if explained else "install it again: pip install --force-reinstall jmpose"
        typer.secho(f"error: jmpose is not whole: {one_line(str(error))}", err=True, fg=typer.colors.RED)
        typer.secho(f"hint: {hint}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(run_doctor(InferOptions(device, model, detector), self_test=self_test, as_json=as_json))
