"""The terminal: one way to make a console, on which every text is text.

Names of files, models and data sets hold what they like; brackets in them are no markup and colons no emoji. Styles are
given beside the text: `print(text, style="red")`, `rich.text.Text`.
"""

from rich.console import Console

LOG_WIDTH = 200  # without a terminal: a sentence stays on one line


def make_console(*, stderr: bool = False, quiet: bool = False, log_width: int = LOG_WIDTH) -> Console:
    """Make a console on which strings are printed as they are.

    Args:
        stderr: Print to standard error.
        quiet: Print nothing.
        log_width: Columns where the output is no terminal.
    """
    console = Console(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = log_width
    return console
