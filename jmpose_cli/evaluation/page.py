"""The HTML page of an evaluation: one file, everything inside, nothing fetched."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jmpose_cli import __version__
from jmpose_cli.evaluation.pictures import FramePicture, worst_frames
from jmpose_cli.evaluation.report import TITLES, counts_line, rules_line, threshold_line
from jmpose_cli.evaluation.results import EvaluatedRun, EvaluatedSet
from jmpose_cli.files import write_whole
from jmpose_cli.formats.records import Doubles
from jmpose_cli.metrics.bootstrap import METRICS, Comparison
from jmpose_cli.metrics.joints import GROUPS, JOINTS
from jmpose_cli.metrics.pose_ap import precision_recall
from jmpose_cli.metrics.posetrack import Evaluation

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TEMPLATE = "page.html.j2"
WORST_FRAMES = 12
# From head to foot, left beside right.
_ORDER = (
    *("head_top", "nose", "head_bottom", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_RUN_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_DASHES = ("solid", "dash", "dot", "dashdot")
_CURVE_POINTS = 200


@dataclass(frozen=True)
class _Table:
    """A table of the page; cells are (shown, exact), both strings."""

    heading: str
    lines: list[str]
    columns: list[str]
    rows: list[tuple[str, list[tuple[str, str]]]]


def write_page(
    path: Path,
    evaluated: EvaluatedSet,
    *,
    comparisons: Mapping[str, Comparison],
    images: Path | None,
    worst: int = WORST_FRAMES,
) -> list[str]:
    """Write the page.

    Args:
        path: The file.
        evaluated: What was evaluated.
        comparisons: Differences of runs, by a title that names both.
        images: Folder of the pictures; None draws frames without them.
        worst: Frames to draw for each run.

    Returns:
        Sentences about pictures that were not found.

    Raises:
        JmposeError: The file cannot be written.
    """
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    notes: list[str] = []
    runs = [run for run in evaluated.runs if run.evaluation is not None]
    galleries: list[tuple[str, list[FramePicture]]] = []
    for run in runs:
        assert run.evaluation is not None
        pictures, missing = worst_frames(
            run.evaluation, dict(evaluated.truth), dict(run.predicted), images=images, number=worst
        )
        galleries.append((run.label, pictures))
        notes += missing
    environment = Environment(loader=PackageLoader("jmpose_cli", "evaluation"), autoescape=True, trim_blocks=True)
    page = environment.get_template(TEMPLATE).render(
        version=__version__,
        protocol=evaluated.protocol,
        facts=_facts(evaluated),
        notes=_notes(evaluated, notes),
        tables=[table for run in evaluated.runs for table in _tables(run)],
        charts=[(title, _as_html(figure)) for title, figure in _charts(runs, comparisons)],
        comparisons=[_comparison_table(title, comparison) for title, comparison in comparisons.items()],
        videos=_video_table(runs) if runs else None,
        galleries=[gallery for gallery in galleries if gallery[1]],
        plotly=get_plotlyjs(),
    )
    write_whole(path, page.encode())
    return list(dict.fromkeys(notes))


def _facts(evaluated: EvaluatedSet) -> list[tuple[str, str]]:
    facts = [("Protocol", evaluated.protocol), ("Runs", ", ".join(run.label for run in evaluated.runs))]
    first = evaluated.runs[0].evaluation
    if first is not None:
        facts.append(("Evaluated", counts_line(first)))
        facts.append(("Rules", rules_line(first)))
    return facts


def _notes(evaluated: EvaluatedSet, more: Sequence[str]) -> list[str]:
    of_runs = [note for run in evaluated.runs if run.evaluation for note in run.evaluation.notes]
    return list(dict.fromkeys([*evaluated.notes, *of_runs, *more]))


def _cell(value: float, *, signed: bool = False) -> tuple[str, str]:
    if np.isnan(value):
        return "–", "undefined: nothing annotated, or too few videos"
    return (f"{value:+.1f}" if signed else f"{value:.1f}"), f"{value:.6f}"


def _tables(run: EvaluatedRun) -> Iterator[_Table]:
    if run.evaluation is not None:
        tables = run.evaluation.tables()
        rows = [(title, [_cell(v) for v in tables[name].columns().values()]) for name, title in TITLES.items()]
        yield _Table(run.label, [threshold_line(run.evaluation)], [*GROUPS, "Total"], rows)
    if run.oks is not None:
        cells = [_cell(100 * value if value >= 0 else float("nan")) for value in run.oks.values()]
        yield _Table(run.label, ["COCO keypoints, OKS"], list(run.oks), [("OKS", cells)])
    if run.boxes is not None:
        boxes = run.boxes
        cells = [_cell(boxes.hota), _cell(boxes.mota), _cell(boxes.idf1), (str(boxes.switches), str(boxes.switches))]
        yield _Table(
            f"{run.label}: boxes", ["tracking of boxes"], ["HOTA", "MOTA", "IDF1", "switches"], [("boxes", cells)]
        )


def _comparison_table(title: str, comparison: Comparison) -> _Table:
    rows = []
    for metric in METRICS:
        cells = []
        for column in (*GROUPS, "total"):
            difference = comparison.differences[metric][column]
            shown, exact = _cell(difference.value, signed=True)
            if not np.isnan(difference.low):
                exact = f"{exact}, 95 % interval {difference.low:+.2f} to {difference.high:+.2f}"
            cells.append((shown + "*" * difference.is_clear, exact))
        rows.append((TITLES[metric], cells))
    return _Table(title, [comparison.basis], [*GROUPS, "Total"], rows)


def _video_table(runs: Sequence[EvaluatedRun]) -> _Table:
    evaluations = [run.evaluation for run in runs if run.evaluation is not None]
    names = ["AP", "MOTA", "HOTA"]
    columns = [
        "frames",
        "people",
        *(f"{name}, {run.label}" if len(runs) > 1 else name for run in runs for name in names),
    ]
    rows = []
    for place, video in enumerate(evaluations[0].videos):
        cells = [(str(video.frames), str(video.frames)), (str(video.people), str(video.people))]
        for evaluation in evaluations:
            alone = evaluation.of_video(evaluation.videos[place])
            cells += [_cell(v) for v in (alone.ap.ap.total, alone.mot.mota.total, alone.hota.hota.total)]
        rows.append((video.name, cells))
    return _Table("Videos", ["click a heading to sort"], columns, rows)


def _charts(runs: Sequence[EvaluatedRun], comparisons: Mapping[str, Comparison]) -> "Iterator[tuple[str, Figure]]":
    named = [(run.label, run.evaluation) for run in runs if run.evaluation is not None]
    if named:
        for metric in METRICS:
            yield f"{TITLES[metric]} of each joint", _bars(named, metric)
        yield "Precision over recall of each joint", _curves(named)
    for title, comparison in comparisons.items():
        if comparison.replicates:
            yield f"{title}: differences with 95 % intervals", _differences(comparison)


def _labelled(joint: str) -> str:
    return joint.replace("_", " ")


def _bars(runs: Sequence[tuple[str, Evaluation]], metric: str) -> "Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (label, evaluation) in enumerate(runs):
        table = evaluation.tables()[metric]
        values = [table.values[JOINTS.index(joint)] for joint in _ORDER] + [table.total]
        names = [*map(_labelled, _ORDER), "Total"]
        colour = _RUN_COLOURS[number % len(_RUN_COLOURS)]
        hover = "%{x}: %{y:.2f}"
        figure.add_bar(x=names, y=values, name=label, marker_color=colour, hovertemplate=hover)
    figure.update_layout(barmode="group", yaxis_title=f"{TITLES[metric]} (percent)", showlegend=len(runs) > 1)
    return figure


def _curves(runs: Sequence[tuple[str, Evaluation]]) -> "Figure":
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    columns = 5
    rows = -(-len(_ORDER) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[_labelled(j) for j in _ORDER],
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.02,
        vertical_spacing=0.08,
    )
    for number, (label, evaluation) in enumerate(runs):
        colour, dash = _RUN_COLOURS[number % len(_RUN_COLOURS)], _DASHES[number % len(_DASHES)]
        for place, joint in enumerate(_ORDER):
            curve = precision_recall(evaluation.detections, JOINTS.index(joint))
            recall, precision = _thinned(curve.recall, curve.precision)
            figure.add_trace(
                go.Scatter(
                    x=(100 * recall).round(2),
                    y=(100 * precision).round(2),
                    mode="lines",
                    line={"color": colour, "dash": dash, "width": 1.5},
                    name=label,
                    legendgroup=label,
                    showlegend=place == 0 and len(runs) > 1,
                ),
                row=place // columns + 1,
                col=place % columns + 1,
            )
    figure.update_xaxes(range=[0, 102])
    figure.update_yaxes(range=[0, 102])
    for column in range(1, columns + 1):
        figure.update_xaxes(title_text="recall (percent)", row=rows, col=column)
    for row in range(1, rows + 1):
        figure.update_yaxes(title_text="precision (percent)", row=row, col=1)
    figure.update_annotations(font_size=12)
    figure.update_layout(height=640)
    return figure


def _thinned(recall: Doubles, precision: Doubles) -> tuple[Doubles, Doubles]:
    """Keep at most 200 points, evenly along the recall, so that the shape stays."""
    if not len(recall) or np.isnan(recall[0]):
        return np.zeros(0), np.zeros(0)
    wanted = np.linspace(recall[0], recall[-1], _CURVE_POINTS)
    rows = np.unique(np.clip(np.searchsorted(recall, wanted), 0, len(recall) - 1))
    return recall[rows], precision[rows]


def _differences(comparison: Comparison) -> "Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    columns = [*_ORDER, "total"]
    for number, metric in enumerate(METRICS):
        found = [comparison.differences[metric][column] for column in columns]
        figure.add_scatter(
            x=[_labelled(column).replace("total", "Total") for column in columns],
            y=[d.value for d in found],
            error_y={"array": [d.high - d.value for d in found], "arrayminus": [d.value - d.low for d in found]},
            mode="markers",
            name=TITLES[metric],
            marker={"color": _RUN_COLOURS[number], "size": 8, "symbol": ("circle", "square", "diamond")[number]},
        )
    figure.add_hline(0, line_width=1, line_color="#666666")
    figure.update_layout(scattermode="group", yaxis_title="difference (percentage points)")
    return figure


def _as_html(figure: "Figure") -> str:
    """The chart without plotly's own script, which stands once in the page."""
    from plotly.io import to_html

    height = figure.layout.height or 380
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 60, "r": 20, "t": 30, "b": 60},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    options: dict[str, Any] = {"displayModeBar": False, "responsive": True}
    return str(to_html(figure, include_plotlyjs=False, full_html=False, config=options))
