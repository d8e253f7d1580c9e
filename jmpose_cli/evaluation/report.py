"""Reports of an evaluation: tables on the terminal and `eval.json`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jmpose_cli import __version__
from jmpose_cli.console import make_console
from jmpose_cli.evaluation.results import EvaluatedRun, EvaluatedSet
from jmpose_cli.files import write_whole
from jmpose_cli.metrics.bootstrap import METRICS, Comparison
from jmpose_cli.metrics.boxes import BoxTracking
from jmpose_cli.metrics.identity import LATE_S, SHORT_GAP_S
from jmpose_cli.metrics.joints import GROUPS
from jmpose_cli.metrics.posetrack import Evaluation

TITLES = {
    "ap": "AP",
    "precision": "precision",
    "recall": "recall",
    "pckh": "PCKh@0.5",
    "pckh_found": "of those found",
    "mota": "MOTA",
    "motp": "MOTP",
    "mot_precision": "MOT precision",
    "mot_recall": "MOT recall",
    "hota": "HOTA",
    "det_a": "DetA",
    "ass_a": "AssA",
    "loc_a": "LocA",
}
_WIDTH = 120  # of the tables when they do not go to a terminal


def print_tables(evaluated: EvaluatedSet, comparisons: Mapping[str, Comparison]) -> None:
    """Print the official tables of every run, and their differences, to standard output."""
    console = make_console(log_width=_WIDTH)
    for run in evaluated.runs:
        _print_run(console, run)
    for title, comparison in comparisons.items():
        _print_comparison(console, title, comparison)
    _print_summary(console, evaluated)


def _print_run(console: Console, run: EvaluatedRun) -> None:
    console.print(run.label, style="bold")
    if run.evaluation is not None:
        _print_posetrack(console, run.evaluation)
    if run.oks is not None:
        people = sum(len(records) for records in run.predicted.values())
        console.print(f"COCO keypoints, {people} predicted people")
        table = _table(list(run.oks))
        table.add_row("OKS", *map(_shown_share, run.oks.values()))
        console.print(table)
    if run.boxes is not None:
        _print_boxes(console, run.boxes)
    console.print()


def _print_boxes(console: Console, boxes: BoxTracking) -> None:
    events = boxes.events
    table = _table(["HOTA", "MOTA", "IDF1", "switches"])
    table.add_row("boxes", f"{boxes.hota:.1f}", f"{boxes.mota:.1f}", f"{boxes.idf1:.1f}", str(boxes.switches))
    table.add_row("with right ids", f"{boxes.ceiling_hota:.1f}", "", f"{boxes.ceiling_idf1:.1f}", "0")
    console.print(table)
    console.print(
        f"switches: {events.crossing} at crossings, {events.short_gap} after gaps of up to {SHORT_GAP_S:g} s, "
        f"{events.long_gap} after longer ones, {events.returning} to an earlier id; "
        f"late starts (over {LATE_S:g} s): {events.late} of {events.found} people",
        soft_wrap=True,
    )


def _print_summary(console: Console, evaluated: EvaluatedSet) -> None:
    """Print the totals of several runs side by side."""
    totals = {run.label: _totals(run) for run in evaluated.runs}
    if len(totals) < 2:
        return
    table = _table(list(dict.fromkeys(name for row in totals.values() for name in row)))
    for label, row in totals.items():
        table.add_row(label, *row.values())
    console.print("Totals", style="bold")
    console.print(table)


def _totals(run: EvaluatedRun) -> dict[str, str]:
    if run.evaluation is not None:
        tables = run.evaluation.tables()
        return {TITLES[name]: _shown(tables[name].total) for name in ("ap", "mota", "hota", "pckh", "pckh_found")}
    if run.oks is not None:
        return {name: _shown_share(value) for name, value in run.oks.items()}
    assert run.boxes is not None
    return {"HOTA": _shown(run.boxes.hota), "MOTA": _shown(run.boxes.mota), "IDF1": _shown(run.boxes.idf1)}


def _print_posetrack(console: Console, evaluation: Evaluation) -> None:
    for line in (counts_line(evaluation), rules_line(evaluation), threshold_line(evaluation)):
        console.print(line, soft_wrap=True)
    table = _table([*GROUPS, "Total"])
    tables = evaluation.tables()
    for name, title in TITLES.items():
        table.add_row(title, *(_shown(value) for value in tables[name].columns().values()))
    console.print(table)


def counts_line(evaluation: Evaluation) -> str:
    """Say how much was evaluated."""
    videos = len(evaluation.videos)
    return f"{videos} video{'s' * (videos != 1)}, {evaluation.frames} frames, {evaluation.people} people"


def rules_line(evaluation: Evaluation) -> str:
    """Say whose rules the figures follow."""
    rules = evaluation.rules()
    return f"AP: {rules['ap']}; MOTA: {rules['mot']}; HOTA: {rules['hota']}"


def threshold_line(evaluation: Evaluation) -> str:
    """Say which joints were tracked."""
    threshold = evaluation.track_threshold
    used = "all joints" if threshold is None else f"joints with a score of {threshold:.4g} and more"
    found = " (best MOTA of 20 thresholds tried)" if evaluation.sweep is not None else ""
    return f"MOTA and HOTA: {used}{found}; AP: all joints"


def _print_comparison(console: Console, title: str, comparison: Comparison) -> None:
    console.print(Text.assemble((title, "bold"), f" ({comparison.basis})"), soft_wrap=True)
    table = _table([*GROUPS, "Total"])
    for metric in METRICS:
        cells = []
        for column in (*GROUPS, "total"):
            difference = comparison.differences[metric][column]
            star = "*" if difference.is_clear else ""
            interval = "" if np.isnan(difference.low) else f"\n{_signed(difference.low)} {_signed(difference.high)}"
            cells.append(f"{_signed(difference.value)}{star}{interval}")
        table.add_row(TITLES[metric], *cells)
    console.print(table)
    console.print()


def _table(columns: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _shown(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def _shown_share(value: float) -> str:
    """Show a figure of pycocotools, from 0 to 1, -1 for none annotated."""
    return _shown(100 * value if value >= 0 else float("nan"))


def _signed(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:+.1f}"


def write_eval_json(path: Path, evaluated: EvaluatedSet, comparisons: Mapping[str, Comparison]) -> None:
    """Write everything to a file.

    The figures of the first run stand at the top level. `runs` has all of them by label when there are several,
    `compare` their differences.
    """
    runs = {run.label: run_json(run, evaluated) for run in evaluated.runs}
    first, *others = runs.values()
    document: dict[str, Any] = {"jmpose": __version__, **first}
    document["notes"] = list(dict.fromkeys([*evaluated.notes, *document["notes"]]))
    if others:
        document["runs"] = runs
        document["compare"] = {title: comparison.as_json() for title, comparison in comparisons.items()}
    write_whole(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def run_json(run: EvaluatedRun, evaluated: EvaluatedSet) -> dict[str, Any]:
    """All figures of one run; percent, but `coco` from 0 to 1 with -1 for "none annotated", as in pycocotools."""
    truth = evaluated.truth.values()
    if run.evaluation is not None:
        figures = run.evaluation.as_json()
    else:
        figures = {
            "protocol": evaluated.protocol,
            "frames": sum(len(records.images) for records in truth),
            "people": sum(len(records) for records in truth),
            "predicted_people": sum(len(records) for records in run.predicted.values()),
            "videos": {},
            "notes": [],
        }
    boxes = None if run.boxes is None else asdict(run.boxes)
    return {"label": run.label, **figures, "coco": run.oks, "boxes": boxes}
