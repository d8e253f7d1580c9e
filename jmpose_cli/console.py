"""The terminal: consoles on which every text is text, messages, and progress.

Names of files, models and data sets hold what they like; brackets in them are no markup, colons no emoji, and control
characters no commands. Styles are given beside the text: `print(text, style="red")`, `rich.text.Text`. What people read
goes to standard error.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.text import Text

from jmpose_cli.errors import JmposeError
from jmpose_cli.text import one_line, visible
from jmpose_cli.zoo.download import Progress as DownloadProgress

LOG_WIDTH = 200  # without a terminal: a sentence stays on one line
LINE_EVERY_S = 5.0  # without a terminal
STEADY_S = 10.0  # the first frames wait for all that starts: before, an estimate of what is left would mean nothing


class _PlainConsole(Console):
    """Prints all text visibly; the only commands that reach the terminal are rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Turn anything into pieces of text; all that is printed or drawn comes through here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def say_start(text: str, *, quiet: bool) -> None:
    """Say on standard error what is being done while there is nothing to count yet: libraries take seconds to load."""
    console = make_console(stderr=True, quiet=quiet)
    console.print(f"{'starting':>10}  ", end="", style="bold")
    console.print(text)


def make_console(*, stderr: bool = False, quiet: bool = False, log_width: int = LOG_WIDTH) -> Console:
    """Make a console on which strings are printed as they are.

    Args:
        stderr: Print to standard error.
        quiet: Print nothing.
        log_width: Columns where the output is no terminal.
    """
    console = _PlainConsole(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = log_width
    return console


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


@contextmanager
def download_bar(*, shown: bool = True) -> Iterator[DownloadProgress | None]:
    """Yield what a download calls as it proceeds; on a terminal it draws a bar on standard error."""
    console = make_console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda there, whole: bars.update(task, completed=there, total=whole)
