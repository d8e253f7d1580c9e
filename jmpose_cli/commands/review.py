"""`jmpose review`: options to one call."""

from pathlib import Path
from typing import Annotated

import typer


def review(
    places: Annotated[
        list[Path], typer.Argument(metavar="OUT", help="Folders of clips, or of results with clips in them.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one (0).")] = 0,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; others than this machine's own let other machines in (127.0.0.1)."),
    ] = "127.0.0.1",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page; the address is printed in any case (yes).")
    ] = True,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the video lies now, for one clip whose video was moved.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Correct the poses of clips in a browser, with the suspicious ones first.

    Every action is kept at once, as a step that `jmpose edit` lists and takes back. Ctrl-C ends the server and rebuilds
    all files that derive from the poses.

    Example: jmpose review out
    """
    from jmpose_cli.extras import check_installed

    for module in ("starlette", "uvicorn"):
        check_installed(module, extra="review", by="jmpose review")

    from jmpose_cli.console import Reporter
    from jmpose_cli.review.serve import review as serve

    reporter = Reporter(verbose=verbose, quiet=quiet)
    code = serve(places, host=host, port=port, video=video, open_browser=browser, reporter=reporter)
    raise typer.Exit(code)
