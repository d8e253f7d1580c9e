"""Training on the terminal: a bar for the epoch, a table after each validation."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from jmpose_cli.console import make_console
from jmpose_cli.training.report import StepReport
from jmpose_cli.training.validate import Score

LOG_WIDTH = 140
_LOG_EVERY_S = 30.0
_STEADY_S = 10.0  # the first steps warm up: before, an estimate of what is left would mean nothing
_MEMORY = 0.95  # of the running means
# Losses of the key frame's final and initial heatmaps side by side, and the information terms.
_SHOWN = {"heatmap": "final", "initial_key": "initial", "information": "information"}


class EpochProgress:
    """Counts the steps of one epoch and says how long the run will take.

    Args:
        show: Called with a line of figures and the steps done.
        first: Steps of the run that were done before.
        total: Steps of the whole run; None where its length is a time.
    """

    def __init__(self, show: "_Show", *, first: int, total: int | None) -> None:
        self._show, self._done, self._total = show, first, total
        self._means: dict[str, float] = {}
        self._began, self._steps, self._windows, self._waited_s = time.monotonic(), 0, 0, 0.0

    def advance(self, report: StepReport) -> None:
        """Count one step."""
        for name, value in report.losses.items():
            self._means[name] = _MEMORY * self._means.get(name, value) + (1 - _MEMORY) * value
        self._done, self._steps = self._done + 1, self._steps + 1
        self._windows, self._waited_s = self._windows + report.windows, self._waited_s + report.waited_s
        elapsed = time.monotonic() - self._began
        losses = " ".join(f"{said} {self._means[name]:.4f}" for name, said in _SHOWN.items() if name in self._means)
        left_s, of_total = report.left_s, ""
        if self._total is not None:
            left_s, of_total = elapsed / self._steps * (self._total - self._done), f"/{self._total}"
        steady = elapsed >= _STEADY_S and self._steps > 1 and left_s is not None
        left = f", {timedelta(seconds=round(left_s or 0))} left" if steady else ""
        self._show(
            f"step {self._done}{of_total} loss: {losses}; rate {report.rate:.2g} "
            f"{self._windows / elapsed:.0f} windows/s, {self._waited_s / elapsed:.0%} waiting for data{left}",
            self._steps,
        )


class _Show:
    """Shows a line: in a bar on a terminal, now and then in a log."""

    def __init__(self, console: Console | None, name: str, bar: Progress | None, task: TaskID | None) -> None:
        self._console, self._name, self._bar, self._task = console, name, bar, task
        self._said_at = time.monotonic()

    def __call__(self, line: str, done: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, line=line)
        elif self._console is not None and time.monotonic() - self._said_at > _LOG_EVERY_S:
            self._said_at = time.monotonic()
            self._console.print(f"{self._name} {line}", highlight=False, markup=False)


class Count:
    """Counts the batches of a validation."""

    def __init__(self, show: _Show, total: int) -> None:
        self._show, self._total, self._done = show, total, 0

    def advance(self) -> None:
        """Count one batch."""
        self._done += 1
        self._show(f"batch {self._done}/{self._total}", self._done)


class Display:
    """Prints for people; silent on all devices but the first.

    Args:
        quiet: Errors only.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = make_console(stderr=True, quiet=quiet, log_width=LOG_WIDTH)
        self._quiet = quiet

    def silence(self) -> None:
        """Say nothing any more."""
        self._console.quiet = self._quiet = True

    def header(self, lines: Mapping[str, str]) -> None:
        """Print what the run uses, one line a thing."""
        for name, text in lines.items():
            self._console.print(f"{name:>12}  ", end="", style="bold")
            self._console.print(text, highlight=False, markup=False)

    def note(self, text: str) -> None:
        """Print something the user should know that is no error."""
        self._console.print(f"note: {text}", style="yellow", highlight=False, markup=False)

    @contextmanager
    def epoch(
        self, number: int, epochs: int | None, first: int, total: int | None, steps: int
    ) -> Iterator[EpochProgress]:
        """Show the progress of one epoch of `steps` steps; `first` steps of the run's `total` are done."""
        with self._shown(f"epoch {number + 1}" + (f"/{epochs}" if epochs else ""), steps) as show:
            yield EpochProgress(show, first=first, total=total)

    @contextmanager
    def validation(self, label: str, total: int) -> Iterator[Count]:
        """Show the progress of one validation set of so many batches."""
        with self._shown(f"validation, {label}", total) as show:
            yield Count(show, total)

    @contextmanager
    def _shown(self, name: str, total: int) -> Iterator[_Show]:
        if self._quiet or not self._console.is_terminal:
            yield _Show(None if self._quiet else self._console, name, None, None)
            return
        text = {field: TextColumn(f"{{task.{field}}}", markup=False) for field in ("description", "fields[line]")}
        columns = (text["description"], BarColumn(20), text["fields[line]"])
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield _Show(self._console, name, bar, bar.add_task(name, total=total, line=""))

    def scores(self, epoch: int, scores: Sequence[Score]) -> None:
        """Print the temporal output beside the initial heatmaps."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(f"epoch {epoch + 1}", overflow="fold")
        for column in ("metric", "temporal", "initial", "gain"):
            table.add_column(column, justify="right")
        for score in scores:
            gain = None if score.final is None or score.initial is None else score.final - score.initial
            table.add_row(score.label, score.metric, *map(_figure, (score.final, score.initial)), _figure(gain, "+"))
        self._console.print(table, highlight=False)


def _figure(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"
