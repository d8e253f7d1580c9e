"""`jmpose edit`: options in the order in which they were given, one call, an exit code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

_ORDER = f"{__name__}.order"
_TRACKS, _FRAMES, _FILES, _STEPS = "Tracks", "Frames", "Files", "Steps"
_OF_ONE, _OF_SOME = "ID[@FRAMES]", "ID[@FRAMES][=JOINTS]"
_Requests = list[str] | None


class EditCommand(TyperCommand):
    """A command that knows the order of its options: corrections are done in it.

    `--undo` and `--redo` may stand without a number.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the names of the options that were given, one an occurrence."""
        args = list(_numbered(args))
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def _numbered(args: list[str]) -> Iterator[str]:
    """Give `--undo` and `--redo` the number that follows, or 1."""
    rest = iter([*args, ""])
    arg = next(rest)
    for following in rest:
        if arg not in ("--undo", "--redo"):
            yield arg
        elif following.isascii() and following.isdigit():
            yield f"{arg}={following}"
            following = next(rest)
        else:
            yield f"{arg}=1"
        arg = following


def edit(
    context: typer.Context,
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Folder of a video that `jmpose infer` has left.")],
    merge: Annotated[
        _Requests,
        typer.Option(metavar="ID,ID", help="Tracks are one person; the first id stays.", rich_help_panel=_TRACKS),
    ] = None,
    split: Annotated[
        _Requests,
        typer.Option(
            metavar="ID@FRAME[=NEW]", help="From a frame on, a track is somebody else.", rich_help_panel=_TRACKS
        ),
    ] = None,
    swap: Annotated[
        _Requests,
        typer.Option(metavar="ID,ID[@FRAMES]", help="Two tracks exchange their ids.", rich_help_panel=_TRACKS),
    ] = None,
    rename: Annotated[
        _Requests, typer.Option(metavar="ID=NEW", help="Give a track a free id.", rich_help_panel=_TRACKS)
    ] = None,
    delete: Annotated[
        _Requests, typer.Option(metavar=_OF_ONE, help="Nobody is there.", rich_help_panel=_TRACKS)
    ] = None,
    interpolate: Annotated[
        _Requests,
        typer.Option(
            metavar=_OF_SOME, help="Fill gaps of a track, or put joints onto the line between.", rich_help_panel=_TRACKS
        ),
    ] = None,
    swap_sides: Annotated[
        _Requests,
        typer.Option(
            metavar=_OF_SOME,
            help="Exchange left and right of a person; @~FRAME: for as long as it goes on around.",
            rich_help_panel=_FRAMES,
        ),
    ] = None,
    propagate: Annotated[
        _Requests,
        typer.Option(
            metavar=_OF_ONE, help="Spread corrected joints to the frames around theirs.", rich_help_panel=_FRAMES
        ),
    ] = None,
    accept: Annotated[
        _Requests,
        typer.Option(metavar=_OF_ONE, help="What was propagated or interpolated is right.", rich_help_panel=_FRAMES),
    ] = None,
    take_back: Annotated[
        _Requests,
        typer.Option(metavar=_OF_ONE, help="What was propagated or interpolated goes.", rich_help_panel=_FRAMES),
    ] = None,
    box: Annotated[
        _Requests,
        typer.Option(
            metavar="ID@FRAME=LEFT,TOP,RIGHT,BOTTOM", help="Where a person's box is.", rich_help_panel=_FRAMES
        ),
    ] = None,
    occluded: Annotated[
        _Requests, typer.Option(metavar=_OF_ONE, help="The whole person is hidden.", rich_help_panel=_FRAMES)
    ] = None,
    not_occluded: Annotated[
        _Requests, typer.Option(metavar=_OF_ONE, help="And is not.", rich_help_panel=_FRAMES)
    ] = None,
    dismiss: Annotated[
        _Requests,
        typer.Option(
            metavar="[KIND:]ID[,ID][@FRAMES]",
            help="What `jmpose check` finds suspicious there is right: it is told no more.",
            rich_help_panel=_FRAMES,
        ),
    ] = None,
    review: Annotated[
        _Requests, typer.Option(metavar="FRAMES", help="Mark frames as reviewed.", rich_help_panel=_FRAMES)
    ] = None,
    unreview: Annotated[
        _Requests, typer.Option(metavar="FRAMES", help="Take the mark back.", rich_help_panel=_FRAMES)
    ] = None,
    from_: Annotated[
        _Requests,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Take what another program has made of the poses: a file of any format that `jmpose convert` reads, "
            "matched by frame and track id.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    accept_edits: Annotated[
        bool,
        typer.Option(
            "--accept-edits",
            help="Take what another program has changed in keypoints.coco.json as a correction.",
            rich_help_panel=_FILES,
        ),
    ] = False,
    undo: Annotated[
        int,
        typer.Option(
            metavar="[N]", min=0, help="Take the last N steps back (1).", show_default=False, rich_help_panel=_STEPS
        ),
    ] = 0,
    redo: Annotated[
        int,
        typer.Option(metavar="[N]", min=0, help="Do N of them again (1).", show_default=False, rich_help_panel=_STEPS),
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and write nothing.", rich_help_panel=_STEPS)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")] = False,
) -> None:
    """Correct the poses of a clip, and rebuild all files that derive from them.

    Corrections are done in the order in which they stand, all or none, as one step. Without any, the steps so far
    are listed. FRAMES are A:B, which is A to B-1 and open where a side is left out, or one frame.

    Example: jmpose edit out/street --merge 3,7 --swap 2,5@200: --delete 6@0:30
    """
    from jmpose_cli.clips.edit import edit_clip
    from jmpose_cli.clips.render import refresh
    from jmpose_cli.console import Reporter
    from jmpose_cli.formats.truth import TRUTH_FILE
    from jmpose_cli.runs.clip_claim import kept_from_runs

    given = {
        **{"merge": merge, "split": split, "swap": swap, "rename": rename, "delete": delete},
        **{"interpolate": interpolate, "swap_sides": swap_sides, "propagate": propagate},
        **{"accept": accept, "take_back": take_back, "box": box, "dismiss": dismiss},
        **{"occluded": occluded, "not_occluded": not_occluded},
        **{"review": review, "unreview": unreview, "from_": from_},
    }
    values = {name: iter(texts or ()) for name, texts in given.items()}
    requests = [
        (name.strip("_").replace("_", "-"), next(values[name])) for name in context.meta[_ORDER] if name in values
    ]
    reporter = Reporter(quiet=quiet, verbose=verbose)
    folder = clip.parent if clip.name == TRUTH_FILE else clip
    with kept_from_runs(folder):
        is_corrected = edit_clip(
            folder,
            requests,
            undo=undo,
            redo=redo,
            accept_edits=accept_edits,
            dry_run=dry_run,
            reporter=reporter,
        )
        if is_corrected:
            for note in refresh(folder):
                reporter.note(note)
