"""The terminal: one way to make a console, on which every text is text.

Names of files, models and data sets hold what they like; brackets in them are no markup, colons no emoji, and control
characters no commands. Styles are given beside the text: `print(text, style="red")`, `rich.text.Text`.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from jmpose_cli.text import visible

LOG_WIDTH = 200  # without a terminal: a sentence stays on one line


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
