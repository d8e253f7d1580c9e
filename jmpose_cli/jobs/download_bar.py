"""Progress of a file that is fetched."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from jmpose_cli.console import make_console
from jmpose_cli.zoo.download import Progress


@contextmanager
def download_bar(*, shown: bool = True) -> Iterator[Progress | None]:
    """Give what a download calls as it goes on; on a terminal it draws a bar on standard error."""
    console = make_console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    with Bars(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda there, whole: bars.update(task, completed=there, total=whole)
