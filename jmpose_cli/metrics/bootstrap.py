"""Is the difference of two runs more than the luck of the videos? A paired bootstrap over videos.

Videos are drawn with replacement, the same ones for both runs, and both are evaluated on what was drawn (Efron and
Tibshirani, An Introduction to the Bootstrap, chapter 13: percentile intervals). People of one video are alike, so
frames or people would not do as units: their intervals would be far too narrow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.metrics.hota import HotaCounts, hota_figures
from jmpose_cli.metrics.joints import GROUPS, JOINTS, JointTable
from jmpose_cli.metrics.mot import MotCounts, mot_figures
from jmpose_cli.metrics.pose_ap import Curve, average_precision
from jmpose_cli.metrics.posetrack import Evaluation
from jmpose_cli.metrics.rules import AP_RULES
from jmpose_cli.structures import Ids

REPLICATES = 1000
LEVEL = 0.95
METRICS = ("ap", "mota", "hota")
_COLUMNS = (*JOINTS, "total", *GROUPS)


@dataclass(frozen=True)
class Difference:
    """Second run minus first, percentage points; NaN where undefined.

    Attributes:
        value: On all videos.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """The interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def as_json(self) -> dict[str, float | None]:
        """Give the three numbers, None where undefined."""
        return {name: None if np.isnan(value) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same ground truth.

    Attributes:
        differences: By metric (`METRICS`) and column (joints, `total`, groups).
        replicates: Bootstrap replicates.
        videos: Videos that were drawn from.
    """

    differences: Mapping[str, Mapping[str, Difference]]
    replicates: int
    videos: int

    def as_json(self) -> dict[str, Any]:
        """Everything, for `eval.json`."""
        return {
            "replicates": self.replicates,
            "videos": self.videos,
            "level": LEVEL,
            **{m: {c: d.as_json() for c, d in columns.items()} for m, columns in self.differences.items()},
        }


def compare(first: Evaluation, second: Evaluation, *, replicates: int = REPLICATES, seed: int = 0) -> Comparison:
    """Compare two runs; with fewer than two videos there are no intervals.

    Args:
        first: The run to compare with.
        second: Evaluated on the same videos.
        replicates: More make the ends of the intervals steadier.
        seed: Of the draw; the same seed gives the same intervals.

    Raises:
        ValueError: The runs have other videos.
    """
    if [video.name for video in first.videos] != [video.name for video in second.videos]:
        raise ValueError("the runs were evaluated on different videos")
    number = len(first.videos)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(number, np.full(number, 1 / number), size=replicates if number > 1 else 0)
    whole = np.ones((1, number), np.int64)
    differences = {}
    for metric in METRICS:
        on_all = [_columns(run, metric, whole) for run in (first, second)]
        on_drawn = [_columns(run, metric, draws) for run in (first, second)]
        differences[metric] = {
            column: _difference(
                float(on_all[1][0, place] - on_all[0][0, place]), on_drawn[1][:, place] - on_drawn[0][:, place]
            )
            for place, column in enumerate(_COLUMNS)
        }
    return Comparison(differences, len(draws), number)


def _difference(value: float, drawn: Doubles) -> Difference:
    drawn = drawn[~np.isnan(drawn)]  # a joint may be missing from all drawn videos
    if not len(drawn) or np.isnan(value):
        return Difference(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(value, float(low), float(high))


def _columns(run: Evaluation, metric: str, weights: Ids) -> Doubles:
    """`[R, 23]` the columns of a metric for R draws; `weights` `[R, V]` says how often each video was drawn."""
    makers = {"ap": _ap_tables, "mota": _mota_tables, "hota": _hota_tables}
    rows = [_row(table) for table in makers[metric](run, weights)]
    return np.array(rows).reshape(-1, len(_COLUMNS))


def _row(table: JointTable) -> list[float]:
    return [*table.values.tolist(), table.total, *(table.group(name) for name in GROUPS)]


def _ap_tables(run: Evaluation, weights: Ids) -> Iterator[JointTable]:
    annotated = np.array([video.detections.annotated for video in run.videos])  # [V, 15]
    video_of = np.repeat(np.arange(len(run.videos)), [len(video.detections.scores) for video in run.videos])
    everything = run.detections
    ranked = []
    for joint in range(len(JOINTS)):
        there = everything.present[:, joint]
        order = np.argsort(-everything.scores[there, joint], kind="stable")
        ranked.append((everything.correct[there, joint][order], video_of[there][order]))
    without_gt = AP_RULES[run.protocol].ap_without_gt
    for weight in weights:
        values = [
            _weighted_ap(correct, weight[video], int(weight @ annotated[:, joint]), without_gt)
            for joint, (correct, video) in enumerate(ranked)
        ]
        yield JointTable.mean_of(100 * np.array(values))


def _weighted_ap(correct: Doubles, weight: Ids, annotated: int, without_gt: float) -> float:
    """AP with every detection counted `weight` times."""
    seen = np.cumsum(weight)
    if not len(seen) or not seen[-1]:
        return 0.0
    if not annotated:
        return without_gt
    right = np.cumsum(weight * correct)
    # Detections before the first that counts have no precision.
    precision = right / np.maximum(seen, 1)
    return average_precision(Curve(right / annotated, precision, score=np.zeros(len(seen))))


def _mota_tables(run: Evaluation, weights: Ids) -> Iterator[JointTable]:
    for counts in _weighted([video.mot for video in run.videos], weights):
        yield mot_figures(MotCounts(**counts)).mota


def _hota_tables(run: Evaluation, weights: Ids) -> Iterator[JointTable]:
    for counts in _weighted([video.hota for video in run.videos], weights):
        yield hota_figures(HotaCounts(**counts), joined=True).hota


def _weighted(videos: Sequence[MotCounts] | Sequence[HotaCounts], weights: Ids) -> Iterator[dict[str, Doubles]]:
    """Sums of every field over the drawn videos, one draw after the other."""
    stacked = {name: np.array([vars(video)[name] for video in videos]) for name in vars(videos[0])}
    for weight in weights:
        yield {name: np.tensordot(weight, values, 1) for name, values in stacked.items()}
