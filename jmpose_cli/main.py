"""The `jmpose` command. Imports nothing heavy: `jmpose --help` must be immediate."""

import os
import sys

import typer

import jmpose_cli.posix_only  # noqa: F401  # before all others
from jmpose_cli import __version__
from jmpose_cli.commands.check import check
from jmpose_cli.commands.convert import convert
from jmpose_cli.commands.doctor import doctor
from jmpose_cli.commands.edit import EditCommand, edit
from jmpose_cli.commands.evaluate import evaluate
from jmpose_cli.commands.export import export
from jmpose_cli.commands.infer import infer
from jmpose_cli.commands.models import models
from jmpose_cli.commands.render import render
from jmpose_cli.commands.review import review
from jmpose_cli.commands.train import train
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.home import settle
from jmpose_cli.machine import explain
from jmpose_cli.standard_streams import StandardStreams
from jmpose_cli.text import one_line

app = typer.Typer(
    name="jmpose",
    help="Videos of people in, tracked keypoints out, by a pose model that looks at several frames at once.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(infer)
app.command("eval")(evaluate)
app.command()(check)
app.command()(train)
app.command()(render)
app.command(cls=EditCommand)(edit)
app.command()(review)
app.command()(convert)
app.command()(export)
app.command()(doctor)
app.add_typer(models)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jmpose {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Keep `infer` a named command, and carry the options that belong to none."""


def run() -> None:
    """Entry point: one clear error instead of a traceback, exit code 1 (an input or the disk failed) or 2 (usage)."""
    _read_names_as_utf8()
    streams = StandardStreams()
    settle()
    sys.exit(_exit_code() or streams.exit_code)


def _exit_code() -> int | str | None:
    """Run the command; return what `sys.exit` takes."""
    try:
        app()
    except SystemExit as ended:
        return ended.code
    except JmposeError as error:
        if "--verbose" in sys.argv:
            raise
        print_error(error)
        return 1 if isinstance(error, OutputError) else 2
    except (ImportError, OSError, MemoryError, RuntimeError) as error:
        explained = explain(error)
        if explained is None or "--verbose" in sys.argv:
            raise
        print_error(explained)
        return 2
    return 0


def _read_names_as_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale is another one, such as C in containers and cron jobs.

    There, Python can name no file beyond ASCII. The encoding of file names is fixed when the interpreter starts.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"  # for workers and decoders
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def print_error(error: JmposeError) -> None:
    """Print an error and its hint to standard error."""
    typer.secho(f"error: {one_line(error.message)}", err=True, fg=typer.colors.RED)
    if error.hint:
        typer.secho(f"hint: {one_line(error.hint)}", err=True)


if __name__ == "__main__":
    run()
