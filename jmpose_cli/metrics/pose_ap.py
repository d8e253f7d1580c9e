"""PoseTrack AP: average precision of joints under the pose assignment of poseval (`evaluateAP`, `assignGTmulti`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.metrics.joints import JOINTS, JointTable
from jmpose_cli.metrics.video import MATCH_DISTANCE, PosePairs, VideoPair
from jmpose_cli.values import Bools, Ids


@dataclass(frozen=True)
class JointDetections:
    """What AP is made of: every predicted joint with its score and whether it is right.

    Attributes:
        scores: `[N, 15]` of N predicted people.
        correct: `[N, 15]` the pose is assigned to a person and this joint lies within half a head of theirs.
        present: `[N, 15]` the joint is predicted.
        annotated: `[15]` number of annotated joints.
    """

    scores: Doubles
    correct: Bools
    present: Bools
    annotated: Ids


def assign_poses(pairs: PosePairs, joints_of: Ids, predicted: int) -> Ids:
    """Assign predicted poses to annotated people.

    Each prediction keeps the person whose joints it hits best (share of the person's joints within half a head,
    the first on ties); each person then takes the best prediction left (the first in file order on ties; scores play
    no part). This is not an optimal assignment: a prediction that loses its person gets no other.

    Args:
        pairs: Pairs and distances.
        joints_of: Annotated joints of each annotated person.
        predicted: Number of predicted people.

    Returns:
        `[predicted]` index into `pairs` of each prediction's person, -1 for none.
    """
    hits = (pairs.distance <= MATCH_DISTANCE).sum(1)
    share = hits / np.maximum(joints_of[pairs.truth_row], 1)
    best = _first_of_each(pairs.predicted_row, share, pairs.truth_row)
    best = best[share[best] > 0]
    taken = best[_first_of_each(pairs.truth_row[best], share[best], pairs.predicted_row[best])]
    pair_of = np.full(predicted, -1)
    pair_of[pairs.predicted_row[taken]] = taken
    return pair_of


def _first_of_each(owner: Ids, value: Doubles, tie: Ids) -> Ids:
    """Index of each owner's highest value, the lowest `tie` first."""
    order = np.lexsort((tie, -value, owner))
    _, first = np.unique(owner[order], return_index=True)
    return np.asarray(order[first])


def joint_detections(video: VideoPair, pairs: PosePairs) -> JointDetections:
    """Label every predicted joint of one video."""
    truth, predicted = video.truth, video.predicted
    pair_of = assign_poses(pairs, truth.present.sum(1), len(predicted))
    correct = np.zeros(predicted.present.shape, bool)
    assigned = pair_of >= 0
    correct[assigned] = pairs.distance[pair_of[assigned]] <= MATCH_DISTANCE
    return JointDetections(predicted.scores, correct, predicted.present, truth.present.sum(0))


def join_detections(videos: Sequence[JointDetections]) -> JointDetections:
    """Put videos one after the other, which is the order of tied scores."""
    return JointDetections(
        scores=np.concatenate([v.scores for v in videos]),
        correct=np.concatenate([v.correct for v in videos]),
        present=np.concatenate([v.present for v in videos]),
        annotated=np.sum([v.annotated for v in videos], axis=0),
    )


@dataclass(frozen=True)
class Curve:
    """Precision over recall of one joint as the score threshold falls.

    Attributes:
        recall: `[n]` 0 to 1, rising; NaN when nothing is annotated.
        precision: `[n]` 0 to 1.
        score: `[n]` the thresholds, falling.
    """

    recall: Doubles
    precision: Doubles
    score: Doubles


def precision_recall(detections: JointDetections, joint: int) -> Curve:
    """Curve of one joint; equal scores rank in file order (videos by name, frames, people)."""
    there = detections.present[:, joint]
    scores, correct = detections.scores[there, joint], detections.correct[there, joint]
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(correct[order])
    with np.errstate(invalid="ignore"):
        recall = right / np.float64(detections.annotated[joint])
    return Curve(recall, right / np.arange(1, len(right) + 1), scores[order])


def average_precision(curve: Curve) -> float:
    """Area under the monotone envelope of the whole curve, 0 to 1 (VOC 2010 and later)."""
    if not len(curve.recall):
        return 0.0
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * envelope))


@dataclass(frozen=True)
class ApResult:
    """AP, and precision and recall when every prediction counts; percent.

    Attributes:
        ap: Average precision.
        precision: At the lowest score.
        recall: At the lowest score.
    """

    ap: JointTable
    precision: JointTable
    recall: JointTable


def evaluate_ap(detections: JointDetections, *, without_gt: float) -> ApResult:
    """Evaluate all joints.

    Args:
        detections: Of one or more videos.
        without_gt: Value of AP and recall for a joint that is predicted but nowhere annotated; NaN leaves it out of
            the total.
    """
    values = np.zeros((3, len(JOINTS)))
    for joint in range(len(JOINTS)):
        curve = precision_recall(detections, joint)
        if not len(curve.recall):
            continue  # nothing predicted: 0, which counts in the total
        if detections.annotated[joint]:
            values[:, joint] = average_precision(curve), curve.precision[-1], curve.recall[-1]
        else:
            values[:, joint] = without_gt, curve.precision[-1], without_gt
    return ApResult(*(JointTable.mean_of(row) for row in 100 * values))


@dataclass(frozen=True)
class PckCounts:
    """Joints within half a head of where they belong; `[15]` each, of one or more videos.

    Attributes:
        correct: Joints of people whom a prediction is assigned to, hit by that prediction.
        of_found: Annotated joints of those people.
        of_all: Annotated joints of everybody.
    """

    correct: Doubles
    of_found: Doubles
    of_all: Doubles

    def __add__(self, other: "PckCounts") -> "PckCounts":
        return PckCounts(self.correct + other.correct, self.of_found + other.of_found, self.of_all + other.of_all)


@dataclass(frozen=True)
class PckResult:
    """PCKh@0.5 (Andriluka et al., CVPR 2014) under the pose assignment of PoseTrack, percent.

    Attributes:
        all_people: Of all annotated people; joints of people whom no prediction is assigned to are wrong.
        found_people: Of the people whom a prediction is assigned to: the quality of poses apart from detection.
    """

    all_people: JointTable
    found_people: JointTable


def count_pckh(video: VideoPair, pairs: PosePairs) -> PckCounts:
    """Count one video."""
    annotated = video.truth.present
    pair_of = assign_poses(pairs, annotated.sum(1), len(video.predicted))
    used = pair_of[pair_of >= 0]
    correct = (pairs.distance[used] <= MATCH_DISTANCE).sum(0)
    of_found = annotated[pairs.truth_row[used]].sum(0)
    return PckCounts(correct.astype(float), of_found.astype(float), annotated.sum(0).astype(float))


def pckh_figures(counts: PckCounts) -> PckResult:
    """Shares from counts; joints that are nowhere annotated are undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (counts.correct / counts.of_all, counts.correct / counts.of_found)
    return PckResult(*(JointTable.mean_of(100 * share) for share in shares))
