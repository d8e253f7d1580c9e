"""What people see while a run goes on: header, progress, notes, table. Everything goes to standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from jmpose_cli.console import make_console
from jmpose_cli.errors import JmposeError
from jmpose_cli.text import one_line

LINE_EVERY_S = 5.0  # without a terminal
STEADY_S = 10.0  # the first frames wait for all that starts: before, an estimate of what is left would mean nothing


class _Remaining(TimeRemainingColumn):
    """The time that is left, from when it can be told."""

    def render(self, task: Task) -> Text:
        """Show nothing at first."""
        return super().render(task) if (task.elapsed or 0.0) >= STEADY_S else Text("")


class FrameProgress:
    """Counts frames of one video: a bar on a terminal, a line every few seconds elsewhere.

    Args:
        console: Where to print.
        name: The video's name.
        total: Frames to come as far as known; the container's claim is an upper bound only.
        bar: rich's bars, or None without a terminal.
    """

    def __init__(self, console: Console | None, name: str, total: int | None, bar: Progress | None) -> None:
        self._console, self._name, self._total, self._bar = console, one_line(name), total, bar
        self._task: TaskID | None = bar.add_task(one_line(name), total=total) if bar else None
        self._started = self._printed = time.monotonic()
        self.done = 0

    def advance(self, people: int) -> None:
        """Count one frame, finished to the last writer."""
        self.done += 1
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=1, description=f"{self._name} ({people} people)")
        now = time.monotonic()
        if self._console and not self._bar and now - self._printed >= LINE_EVERY_S:
            self._printed = now
            self._console.print(self._line(now - self._started), highlight=False)

    def _line(self, elapsed_s: float) -> str:
        rate = self.done / elapsed_s
        if not self._total or elapsed_s < STEADY_S:
            return f"{self._name}: {self.done} frames, {rate:.1f} frames/s"
        left_s = max(self._total - self.done, 0) / rate
        return f"{self._name}: {self.done} of {self._total} frames, {rate:.1f} frames/s, {left_s:.0f} s left"

    def finish(self) -> None:
        """Set the total to what was really there."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=self.done, completed=self.done)


class Reporter:
    """Prints for people.

    Args:
        quiet: Errors only.
        verbose: Stage timings of each video, and tracebacks.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = make_console(stderr=True)
        self.quiet, self.verbose = quiet, verbose

    def header(self, lines: dict[str, str]) -> None:
        """Print what the run uses, one line a thing."""
        for name, text in {} if self.quiet else lines.items():
            self._console.print(f"{name:>10}  ", end="", style="bold")
            self._console.print(one_line(text), highlight=False)

    def note(self, text: str) -> None:
        """Print something the user should know that is no error."""
        if not self.quiet:
            self._console.print(f"note: {one_line(text)}", style="yellow", highlight=False)

    def failure(self, name: str, error: JmposeError) -> None:
        """Print why one input failed."""
        message = error.message if name in error.message else f"{name}: {error.message}"
        self._console.print(f"error: {one_line(message)}", style="red", highlight=False)
        if error.hint:
            self._console.print(f"hint: {one_line(error.hint)}", highlight=False)

    @contextmanager
    def progress(self, name: str, total: int | None) -> Iterator[FrameProgress]:
        """Show the progress of one video."""
        if self.quiet or not self._console.is_terminal:
            yield FrameProgress(None if self.quiet else self._console, name, total, None)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, _Remaining(), console=self._console) as bar:
            frames = FrameProgress(self._console, name, total, bar)
            yield frames
            frames.finish()


def stages_text(seconds: dict[str, float]) -> str:
    """List stages with their busy seconds."""
    return ", ".join(f"{stage} {spent:.1f} s" for stage, spent in seconds.items())
