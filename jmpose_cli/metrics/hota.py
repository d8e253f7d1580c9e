"""Keypoint HOTA (Luiten et al., IJCV 2020), joint by joint, as in the PoseTrack21 devkit or by the book.

Similarity of two joints: 1 - d / 0.5001, not below 0, with d the distance in head sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.metrics.joints import JOINTS, JointTable
from jmpose_cli.metrics.rules import HotaRule
from jmpose_cli.metrics.video import People, PosePairs, VideoPair
from jmpose_cli.values import Bools, Ids

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""Similarities from which a match counts; figures are means over them."""
_REACH = 0.5001  # head sizes at which similarity is 0
_SLACK = np.finfo(float).eps
_TINY = 1e-10
_K = len(JOINTS)


@dataclass(frozen=True)
class HotaCounts:
    """What HOTA is made of: `[A, 15]` for A thresholds, of one video or several.

    The association sums are over the true positives: divided by their number they are AssA and its relatives.

    Attributes:
        tp: Matched joints.
        fn: Annotated joints without a match.
        fp: Predicted joints without a match.
        similarity: Sum over the matches.
        association: Sum of the association's Jaccard index.
        association_recall: Sum of its recall.
        association_precision: Sum of its precision.
        fragments: Sum of its Jaccard index by unbroken piece (FragA).
        association_totals: `[A]` sum over videos of tp of all joints times the mean over joints of AssA.
        similarity_totals: `[A]` the same for LocA.
    """

    tp: Doubles
    fn: Doubles
    fp: Doubles
    similarity: Doubles
    association: Doubles
    association_recall: Doubles
    association_precision: Doubles
    fragments: Doubles
    association_totals: Doubles
    similarity_totals: Doubles

    def __add__(self, other: "HotaCounts") -> "HotaCounts":
        mine, theirs = vars(self), vars(other)
        return HotaCounts(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class HotaResult:
    """HOTA and its parts, percent, means over the thresholds.

    Totals follow the devkit: detection counts are summed over joints, AssA of a video is the mean over its joints,
    and HOTA is made of those two.

    Attributes:
        hota: Geometric mean of DetA and AssA.
        det_a: Detection accuracy.
        ass_a: Association accuracy.
        loc_a: Mean similarity of the matches.
    """

    hota: JointTable
    det_a: JointTable
    ass_a: JointTable
    loc_a: JointTable


@dataclass(frozen=True)
class _Matches:
    """All matched joints of a video: rows of people, joint, similarity."""

    truth_row: Ids
    predicted_row: Ids
    joint: Ids
    similarity: Doubles


def count_hota(video: VideoPair, pairs: PosePairs, *, rule: HotaRule = "devkit") -> HotaCounts:
    """Count one video.

    Args:
        video: Under the rules of the PoseTrack21 devkit.
        pairs: Its pairs.
        rule: `devkit`: joints are matched by similarity alone, and a frame without predicted people costs all
            annotated joints of the whole video (a known error of the kit, part of its numbers). `standard`: matching
            prefers pairs of tracks that fit over the whole video (the paper's section 4), and such a frame costs its
            own joints.
    """
    truth, predicted = video.truth, video.predicted
    matches = _match(video, pairs, rule)
    counts_truth, truth_of = _joints_of_tracks(truth)
    counts_predicted, track_of = _joints_of_tracks(predicted)
    person, track = truth_of[matches.truth_row], track_of[matches.predicted_row]
    cell = (person * len(counts_predicted) + track) * _K + matches.joint
    sums = np.zeros((6, len(ALPHAS), _K))
    for a, alpha in enumerate(ALPHAS):
        counted = matches.similarity >= alpha - _SLACK
        cells, number = np.unique(cell[counted], return_counts=True)
        pair, joint = np.divmod(cells, _K)
        mine, theirs = np.divmod(pair, max(len(counts_predicted), 1))
        of_truth, of_predicted = counts_truth[mine, joint], counts_predicted[theirs, joint]
        union = of_truth + of_predicted - number
        square = number.astype(float) ** 2
        pieces = _squared_pieces(cell[counted], person[counted], matches.joint[counted], matches.truth_row[counted])
        per_cell = (number, square / union, square / of_truth, square / of_predicted, pieces / union)
        for row, values in enumerate(per_cell):
            sums[row, a] = np.bincount(joint, values, minlength=_K)
        sums[5, a] = np.bincount(matches.joint[counted], matches.similarity[counted], minlength=_K)
    tp = sums[0]
    objects, guesses = _all_joints(video, rule)
    return HotaCounts(
        tp=tp,
        fn=objects - tp,
        fp=guesses - tp,
        similarity=sums[5],
        association=sums[1],
        association_recall=sums[2],
        association_precision=sums[3],
        fragments=sums[4],
        association_totals=tp.sum(1) * (sums[1] / np.maximum(tp, 1)).mean(1),
        similarity_totals=tp.sum(1) * _loc_a(sums[5], tp).mean(1),
    )


def _loc_a(similarity: Doubles, tp: Doubles) -> Doubles:
    """Mean similarity, 1 where nothing is matched."""
    return np.asarray(np.maximum(similarity, _TINY) / np.maximum(tp, _TINY))


def _all_joints(video: VideoPair, rule: HotaRule) -> tuple[Doubles, Doubles]:
    """`[15]` annotated and predicted joints that count as missed or false when they are not matched."""
    truth, predicted = video.truth, video.predicted
    objects = truth.present.sum(0).astype(float)
    if rule == "devkit" and len(predicted):
        empty = predicted.per_frame == 0
        occupied = truth.per_frame > 0
        in_empty = truth.present[empty[truth.frame]].sum(0)
        objects += int((empty & occupied).sum()) * objects - in_empty
    return objects, predicted.present.sum(0).astype(float)


def _joints_of_tracks(people: People) -> tuple[Ids, Ids]:
    """`[T, 15]` how often each track has each joint, `[N]` the track of each row."""
    tracks, track_of = np.unique(people.track, return_inverse=True)
    counts = np.zeros((len(tracks), _K), np.int64)
    np.add.at(counts, track_of, people.present)
    return counts, track_of


def _squared_pieces(cell: Ids, person: Ids, joint: Ids, time: Ids) -> Doubles:
    """Sum of squared lengths of unbroken runs of each cell, in ascending order of cells.

    A run ends when the person's joint is matched with another track; a gap does not end it.
    """
    owner = person * _K + joint
    order = np.lexsort((time, owner))
    breaks = np.flatnonzero(np.diff(cell[order], prepend=-1) | np.diff(owner[order], prepend=-1))
    lengths = np.diff(breaks, append=len(order))
    _, place = np.unique(cell[order][breaks], return_inverse=True)
    return np.asarray(np.bincount(place, lengths.astype(float) ** 2), np.float64)


def _match(video: VideoPair, pairs: PosePairs, rule: HotaRule) -> _Matches:
    """Match joints in every frame; pairs without similarity are left out."""
    similarity = np.maximum(1 - pairs.distance / _REACH, 0.0)
    value = similarity if rule == "devkit" else similarity * _global_alignment(video, pairs, similarity)
    possible = value > 0
    q, joint = np.nonzero(possible)
    people = len(video.truth), len(video.predicted)
    choices = [
        np.bincount(row[q] * _K + joint, minlength=n * _K)[row[q] * _K + joint]
        for row, n in zip((pairs.truth_row, pairs.predicted_row), people, strict=True)
    ]
    alone = (choices[0] == 1) & (choices[1] == 1)
    matched = np.zeros(possible.shape, bool)
    matched[q[alone], joint[alone]] = True
    frame = np.searchsorted(pairs.starts, q[~alone], side="right") - 1
    for place in np.unique(frame * _K + joint[~alone]).tolist():
        _match_table(video, pairs, value, matched, *divmod(place, _K))
    q, joint = np.nonzero(matched)
    return _Matches(pairs.truth_row[q], pairs.predicted_row[q], joint, similarity[q, joint])


def _match_table(video: VideoPair, pairs: PosePairs, value: Doubles, matched: Bools, frame: int, joint: int) -> None:
    """Match one joint in one frame where several pairs are possible; fills `matched`."""
    from scipy.optimize import linear_sum_assignment

    rows = slice(pairs.starts[frame], pairs.starts[frame + 1])
    shape = (int(video.truth.per_frame[frame]), int(video.predicted.per_frame[frame]))
    table = value[rows, joint].reshape(shape)
    mine, theirs = linear_sum_assignment(-table)
    chosen = np.zeros(shape, bool)
    chosen[mine, theirs] = table[mine, theirs] > 0
    matched[rows, joint] = chosen.ravel()


def _global_alignment(video: VideoPair, pairs: PosePairs, similarity: Doubles) -> Doubles:
    """`[Q, 15]` how well the two tracks of each pair fit over the whole video (the paper's equation 23)."""
    truth, predicted = video.truth, video.predicted
    by_truth, by_predicted = (np.zeros((len(p), _K)) for p in (truth, predicted))
    np.add.at(by_truth, pairs.truth_row, similarity)
    np.add.at(by_predicted, pairs.predicted_row, similarity)
    union = by_truth[pairs.truth_row] + by_predicted[pairs.predicted_row] - similarity
    share = np.divide(similarity, union, out=np.zeros_like(similarity), where=union > _SLACK)
    counts_truth, truth_of = _joints_of_tracks(truth)
    counts_predicted, track_of = _joints_of_tracks(predicted)
    mine, theirs = truth_of[pairs.truth_row], track_of[pairs.predicted_row]
    cell = mine * len(counts_predicted) + theirs
    potential = np.zeros((len(counts_truth) * len(counts_predicted), _K))
    np.add.at(potential, cell, share)
    union_of_tracks = counts_truth[mine] + counts_predicted[theirs] - potential[cell]
    return np.asarray(potential[cell] / np.maximum(union_of_tracks, 1))


def hota_figures(counts: HotaCounts, *, joined: bool) -> HotaResult:
    """Figures from counts.

    Joints that are neither annotated nor predicted have HOTA 0, as in the devkit.

    Args:
        counts: Of one or more videos.
        joined: False for a video by itself: its totals are plain means over the joints in the devkit, while those
            of a data set, even of one video, are made of summed counts.
    """
    det_a = counts.tp / np.maximum(counts.tp + counts.fn + counts.fp, 1)
    ass_a = counts.association / np.maximum(counts.tp, 1)
    loc_a = _loc_a(counts.similarity, counts.tp)
    hota = np.sqrt(det_a * ass_a)
    if not joined:
        return HotaResult(*(_table(values, values.mean(1)) for values in (hota, det_a, ass_a, loc_a)))
    tp = counts.tp.sum(1)
    det_total = tp / np.maximum(tp + (counts.fn + counts.fp).sum(1), 1)
    ass_total = counts.association_totals / np.maximum(tp, 1)
    loc_total = np.maximum(counts.similarity_totals, _TINY) / np.maximum(tp, _TINY)
    return HotaResult(
        hota=_table(hota, np.sqrt(det_total * ass_total)),
        det_a=_table(det_a, det_total),
        ass_a=_table(ass_a, ass_total),
        loc_a=_table(loc_a, loc_total),
    )


def _table(values: Doubles, total: Doubles) -> JointTable:
    """Means over the thresholds, percent."""
    return JointTable(100 * values.mean(0), float(100 * total.mean()))


def add_up(videos: Sequence[HotaCounts]) -> HotaCounts:
    """Counts of several videos together."""
    first, *others = videos
    for other in others:
        first = first + other
    return first
