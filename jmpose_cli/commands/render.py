"""`jmpose render`: options to one call per clip."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.choices import Labels


def render(
    folders: Annotated[
        list[Path], typer.Argument(metavar="OUT", help="Folders of clips, or of results with clips in them.")
    ],
    format: Annotated[
        str | None, typer.Option("--format", metavar="LIST", help="Files to write, as for `jmpose infer`.")
    ] = None,
    keypoints: Annotated[
        str | None, typer.Option(metavar="SET", help="Joints of the overlay and of all files but the truth.")
    ] = None,
    overlay: Annotated[bool | None, typer.Option("--overlay/--no-overlay", help="Write overlay.mp4.")] = None,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the video lies now, for one clip whose video was moved.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Joints below this score are not drawn (0.2).")] = None,
    labels: Annotated[Labels | None, typer.Option(help="What stands beside heads (id).")] = None,
    line_width: Annotated[float | None, typer.Option(metavar="FACTOR", help="Of all that is drawn (1).")] = None,
    faint_unsure: Annotated[
        bool | None,
        typer.Option("--faint-unsure/--no-faint-unsure", help="Draw joints faintly that may be off (yes)."),
    ] = None,
    frame_time: Annotated[
        bool | None, typer.Option("--frame-time/--no-frame-time", help="Write the frame's number and time (no).")
    ] = None,
    openpose_colours: Annotated[
        bool | None,
        typer.Option("--openpose-colours/--own-colours", help="Draw OpenPose's limbs in its colours (own)."),
    ] = None,
    black_background: Annotated[
        bool | None,
        typer.Option("--black-background/--picture", help="Draw on black, or on the picture (picture)."),
    ] = None,
    blur_faces: Annotated[
        bool | None, typer.Option("--blur-faces/--faces", help="Blur faces in the overlay (no).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Rebuild the files and the overlay of clips from their keypoints, without a network.

    What is not said stays as it was in the run. Corrections are in all that is written.

    Example: jmpose render out/match --labels both --frame-time
    """
    from jmpose_cli.clips.find import find_clips
    from jmpose_cli.clips.render import render_clips
    from jmpose_cli.console import Reporter

    changes = {
        "formats": format.split(",") if format else None,
        "keypoints": keypoints,
        "overlay": overlay,
        "min_score": min_score,
        "labels": labels,
        "line_width": line_width,
        "faint_unsure": faint_unsure,
        "frame_time": frame_time,
        "openpose_colours": openpose_colours,
        "black_background": black_background,
        "blur_faces": blur_faces,
    }
    reporter = Reporter(quiet=quiet, verbose=verbose)
    raise typer.Exit(render_clips(find_clips(folders), changes, video=video, reporter=reporter))
