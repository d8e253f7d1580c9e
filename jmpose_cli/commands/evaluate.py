"""`jmpose eval`: options to settings, one call, an exit code."""

from pathlib import Path
from typing import Annotated

import typer

from jmpose_cli.choices import ClipSide, PersonIds
from jmpose_cli.metrics.rules import HotaRule, Protocol

_FILES, _RUN, _SCORE, _OUT = "Score existing files", "Run a model and score it", "Rules", "Output"


def evaluate(
    protocol: Annotated[
        Protocol,
        typer.Option(help="Rule set: official AP and MOTA (17, 18), AP and HOTA (21), OKS (coco), boxes (mot)."),
    ] = "posetrack18",
    gt: Annotated[
        Path | None,
        typer.Option(
            help="Ground truth: a file, a folder with one per video, or clips that were corrected.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    pred: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Predictions: a file, a folder with files of the same names, or clips. Twice: a comparison.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    ignore_extra: Annotated[
        bool, typer.Option("--ignore-extra", help="Skip predictions without ground truth.", rich_help_panel=_FILES)
    ] = False,
    as_: Annotated[
        ClipSide,
        typer.Option("--as", help="What of clips is scored as predictions.", rich_help_panel=_FILES),
    ] = "corrected",
    by: Annotated[
        PersonIds,
        typer.Option(help="Ids of clips in --pred: raw tracks, or those of joined tracks.", rich_help_panel=_FILES),
    ] = "track",
    only_reviewed: Annotated[
        bool,
        typer.Option("--only-reviewed", help="Of clips in --gt, count reviewed frames only.", rich_help_panel=_FILES),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="PoseTrack data set folder, or a COCO keypoint file.", rich_help_panel=_RUN),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set.", rich_help_panel=_RUN)] = "val",
    model: Annotated[
        str, typer.Option(metavar="NAME|ID|PATH", help="Pose model, as for infer.", rich_help_panel=_RUN)
    ] = "auto",
    boxes: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Boxes that the model gets, any of gt,detect,FILE; each is scored.",
            rich_help_panel=_RUN,
        ),
    ] = "gt,detect",
    detector: Annotated[
        str, typer.Option(metavar="NAME|ID|PATH", help="Person detector, as for infer.", rich_help_panel=_RUN)
    ] = "auto",
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Average with the mirrored picture.", rich_help_panel=_RUN)
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=_RUN)
    ] = "auto",
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch no models, not even those that are named.", rich_help_panel=_RUN)
    ] = False,
    track_threshold: Annotated[
        str | None,
        typer.Option(
            metavar="auto|X",
            help="Leave joints with a lower score out of MOTA and HOTA; auto: the best for MOTA.",
            rich_help_panel=_SCORE,
        ),
    ] = None,
    hota: Annotated[
        HotaRule, typer.Option(help="PoseTrack21's own HOTA, or the published definition.", rich_help_panel=_SCORE)
    ] = "devkit",
    box_tracking: Annotated[
        bool, typer.Option("--box-tracking", help="Score tracked boxes too.", rich_help_panel=_SCORE)
    ] = False,
    fps: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1000,
            help="Frames a second of boxes whose files tell no times, for gaps and late starts.",
            rich_help_panel=_SCORE,
        ),
    ] = 25.0,
    replicates: Annotated[
        int, typer.Option(min=0, help="Bootstrap draws of a comparison: 0, or at least 100.", rich_help_panel=_SCORE)
    ] = 1000,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for eval.json and the page.", rich_help_panel=_OUT)
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Also write OUT/report.html, one file.", rich_help_panel=_OUT)
    ] = False,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, for the page.", rich_help_panel=_OUT)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing results.", rich_help_panel=_OUT)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No tables; errors only.", rich_help_panel=_OUT)] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.", rich_help_panel=_OUT)
    ] = False,
) -> None:
    """Score keypoints and tracks with the official rules.

    Examples: jmpose eval --gt annotations/val --pred out --protocol posetrack18 --out scores

    jmpose eval --gt out --pred out --as model --only-reviewed

    jmpose eval --data posetrack_data --split val --model nano --boxes gt,detect --out scores
    """
    from jmpose_cli.evaluation.results import ModelOptions
    from jmpose_cli.evaluation.run import EvalOptions, run_eval

    options = EvalOptions(
        protocol=protocol,
        gt=gt,
        pred=tuple(pred or ()),
        ignore_extra=ignore_extra,
        as_model=as_ == "model",
        by_identity=by == "identity",
        only_reviewed=only_reviewed,
        data=data,
        run=ModelOptions(split, model, tuple(boxes.split(",")), detector, flip_test, device, overwrite, offline),
        track_threshold=track_threshold,
        hota=hota,
        box_tracking=box_tracking,
        fps=fps,
        replicates=replicates,
        out=out,
        html=html,
        images=images,
        overwrite=overwrite,
        quiet=quiet,
        verbose=verbose,
    )
    raise typer.Exit(run_eval(options))
