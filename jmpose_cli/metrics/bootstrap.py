"""Is the difference of two runs more than the luck of the videos? A paired bootstrap over videos.

Videos are drawn with replacement, the same ones for both runs, and both are evaluated on what was drawn (Efron and
Tibshirani, An Introduction to the Bootstrap, chapter 13: percentile intervals). People of one video are alike, so
frames or people would not do as units: their intervals would be far too narrow.

Few videos carry no interval. Between two equal runs, n videos all change in the same direction in 2 of 2^n cases, and
then every draw leaves out 0: with fewer than six videos that alone happens more often than the 5 % that a 95 % interval
allows. So there are none below six, of a joint none where fewer than six videos have it.
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
from jmpose_cli.values import Ids

REPLICATES = 1000
LEVEL = 0.95
MIN_VIDEOS = 6
"""The fewest with 2 / 2^n below 1 - `LEVEL`."""
MIN_REPLICATES = 100
"""The ends of a 95 % interval lie among the 2.5 % outermost draws, of which there must be some."""
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
        """Return the three numbers, None where undefined."""
        return {name: None if np.isnan(value) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same ground truth.

    Attributes:
        differences: By metric (`METRICS`) and column (joints, `total`, groups).
        replicates: Bootstrap replicates; 0 when there are no intervals.
        videos: Videos of the ground truth.
        rare: Some columns have no interval, as too few videos have their joints.
    """

    differences: Mapping[str, Mapping[str, Difference]]
    replicates: int
    videos: int
    rare: bool = False

    @property
    def basis(self) -> str:
        """Say what the intervals are made of, or why there are none."""
        if self.videos < MIN_VIDEOS:
            videos = f"{self.videos} video{'s' * (self.videos != 1)}"
            return f"no intervals and no *: they take {MIN_VIDEOS} videos, here is {videos}"
        if not self.replicates:
            return "no intervals and no *: no replicates were asked for"
        said = f"95 % intervals of {self.replicates} draws of {self.videos} videos; * leaves out 0"
        return said + f"; none where fewer than {MIN_VIDEOS} videos have the joints" * self.rare

    def as_json(self) -> dict[str, Any]:
        """Everything, for `eval.json`."""
        return {
            "replicates": self.replicates,
            "videos": self.videos,
            "level": LEVEL,
            "basis": self.basis,
            **{m: {c: d.as_json() for c, d in columns.items()} for m, columns in self.differences.items()},
        }


def compare(first: Evaluation, second: Evaluation, *, replicates: int = REPLICATES, seed: int = 0) -> Comparison:
    """Compare two runs; with fewer than `MIN_VIDEOS` videos there are no intervals.

    Args:
        first: The run to compare with.
        second: Evaluated on the same videos.
        replicates: More make the ends of the intervals steadier; fewer than `MIN_REPLICATES` give none.
        seed: Of the draw; the same seed gives the same intervals.

    Raises:
        ValueError: The runs have other videos.
    """
    if [video.name for video in first.videos] != [video.name for video in second.videos]:
        raise ValueError("the runs were evaluated on different videos")
    number = len(first.videos)
    rng = np.random.default_rng(seed)
    enough = number >= MIN_VIDEOS and replicates >= MIN_REPLICATES
    draws = rng.multinomial(number, np.full(number, 1 / number), size=replicates if enough else 0)
    carried = _videos_of_columns(first) >= MIN_VIDEOS
    whole = np.ones((1, number), np.int64)
    differences = {}
    for metric in METRICS:
        on_all = [_columns(run, metric, whole) for run in (first, second)]
        on_drawn = [_columns(run, metric, draws) for run in (first, second)]
        differences[metric] = {
            column: _difference(
                float(on_all[1][0, place] - on_all[0][0, place]),
                on_drawn[1][:, place] - on_drawn[0][:, place],
                carried=bool(carried[place]),
            )
            for place, column in enumerate(_COLUMNS)
        }
    return Comparison(differences, len(draws), number, rare=not carried.all())


def _videos_of_columns(run: Evaluation) -> Ids:
    """`[23]` videos in which the joints of each column are annotated; of a group, those of its rarest joint."""
    annotated = np.array([video.detections.annotated for video in run.videos]) > 0  # [V, 15]
    joints = annotated.sum(0)
    groups = [joints[[JOINTS.index(joint) for joint in members]].min() for members in GROUPS.values()]
    return np.array([*joints, annotated.any(1).sum(), *groups], np.int64)


def _difference(value: float, drawn: Doubles, *, carried: bool) -> Difference:
    drawn = drawn[~np.isnan(drawn)]  # a joint may be missing from all drawn videos
    if not carried or not len(drawn) or np.isnan(value):
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
