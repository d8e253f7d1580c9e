"""`jmpose eval` from its options to its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.evaluation.report import print_tables, write_eval_json
from jmpose_cli.evaluation.results import EvaluatedSet, ModelOptions
from jmpose_cli.evaluation.score_files import Scoring, evaluate_files, track_threshold_of
from jmpose_cli.files import explain_os_errors
from jmpose_cli.metrics.bootstrap import MIN_REPLICATES, Comparison, compare
from jmpose_cli.metrics.rules import HotaRule, Protocol

EVAL_FILE, PAGE_FILE = "eval.json", "report.html"


@dataclass(frozen=True)
class EvalOptions:
    """The options of `jmpose eval`, as given."""

    protocol: Protocol
    gt: Path | None
    pred: tuple[Path, ...]
    ignore_extra: bool
    as_model: bool
    by_identity: bool
    only_reviewed: bool
    data: Path | None
    run: ModelOptions
    track_threshold: str | None
    hota: HotaRule
    box_tracking: bool
    fps: float
    replicates: int
    out: Path | None
    html: bool
    images: Path | None
    overwrite: bool
    quiet: bool
    verbose: bool


def run_eval(options: EvalOptions) -> int:
    """Score, print, write; return the exit code.

    Raises:
        JmposeError: Options that do not go together, or anything that the inputs are to blame for.
    """
    _check(options)
    reporter = Reporter(quiet=options.quiet, verbose=options.verbose)
    evaluated = _evaluated(options, reporter)
    comparisons = _comparisons(evaluated, options.replicates)
    if options.out is not None:
        with explain_os_errors(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
        write_eval_json(options.out / EVAL_FILE, evaluated, comparisons)
    notes = list(evaluated.notes)
    if options.html and options.out is not None:
        from jmpose_cli.evaluation.page import write_page

        notes += write_page(options.out / PAGE_FILE, evaluated, comparisons=comparisons, images=_images(options))
    first = evaluated.runs[0].evaluation
    for note in dict.fromkeys([*notes, *(first.notes if first else [])]):
        reporter.note(note)
    if not options.quiet:
        print_tables(evaluated, comparisons)
        if options.out is not None:
            reporter.header({"results": str(options.out)})
    return 0


def _check(options: EvalOptions) -> None:
    """Refuse options that do not go together before anything is read."""
    if (options.gt is None) == (options.data is None):
        hint = "--gt and --pred score existing files; --data runs a model on a data set and scores it"
        raise JmposeError("one of --gt and --data is needed", hint=hint)
    if options.gt is not None and not options.pred:
        raise JmposeError("--gt without --pred", hint="name the predictions with --pred PATH")
    if options.data is not None and options.pred:
        raise JmposeError("--data with --pred", hint="use --gt PATH --pred PATH to score existing predictions")
    if options.data is not None and (options.as_model or options.by_identity or options.only_reviewed):
        raise JmposeError(
            "--data with --as, --by or --only-reviewed", hint="they are about clips that --gt and --pred name"
        )
    if options.data is not None and options.out is None:
        raise JmposeError("--data without --out", hint="name a folder for the predictions and the figures")
    if options.html and options.out is None:
        raise JmposeError("--html without --out", hint="name a folder for the page")
    if 0 < options.replicates < MIN_REPLICATES:
        hint = f"allowed: 0 for no intervals, or at least {MIN_REPLICATES}"
        raise JmposeError(f"--replicates {options.replicates}", hint=hint)
    if options.images is not None and not options.images.is_dir():
        raise JmposeError(f"--images {options.images}: no such folder")
    if options.out is None:
        return
    if options.out.exists() and not options.out.is_dir():
        raise JmposeError(f"--out {options.out} is a file", hint="name a folder")
    existing = [name for name in (EVAL_FILE, PAGE_FILE) if (options.out / name).exists()]
    if existing and not options.overwrite:
        raise JmposeError(f"{options.out / existing[0]} exists", hint="replace it with --overwrite, or choose --out")


def _evaluated(options: EvalOptions, reporter: Reporter) -> EvaluatedSet:
    scoring = Scoring(
        protocol=options.protocol,
        hota_rule=options.hota,
        track_threshold=track_threshold_of(options.track_threshold),
        box_tracking=options.box_tracking,
        fps=options.fps,
        ignore_extra=options.ignore_extra,
        as_model=options.as_model,
        by_identity=options.by_identity,
        only_reviewed=options.only_reviewed,
    )
    if options.gt is not None:
        return evaluate_files(options.gt, options.pred, scoring)
    from jmpose_cli.evaluation.score_model import evaluate_model

    assert options.data is not None
    assert options.out is not None
    return evaluate_model(options.data, options.out, options.run, scoring, reporter)


def _comparisons(evaluated: EvaluatedSet, replicates: int) -> Mapping[str, Comparison]:
    """Differences of the runs, by a title that names both."""
    found = {run.label: run.evaluation for run in evaluated.runs}
    return {
        f"{second} minus {first}": compare(one, other, replicates=replicates)
        for first, second in evaluated.compared
        if (one := found[first]) is not None and (other := found[second]) is not None
    }


def _images(options: EvalOptions) -> Path | None:
    """Where the pictures lie, as far as known."""
    if options.images is not None or options.data is None:
        return options.images
    return options.data if options.data.is_dir() else options.data.parent
