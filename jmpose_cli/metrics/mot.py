"""PoseTrack MOTA, MOTP, precision and recall: CLEAR MOT joint by joint (poseval `evaluateTracking`, py-motmetrics).

Each joint type of each video is tracked for itself: a nose can be taken over by another person's prediction while
the wrists are not. The pose assignment of AP plays no part.
"""

from dataclasses import dataclass

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.metrics.assignment import match_nearest
from jmpose_cli.metrics.joints import JOINTS, JointTable
from jmpose_cli.metrics.video import MATCH_DISTANCE, PosePairs, VideoPair
from jmpose_cli.values import Bools, Ids

_K = len(JOINTS)


@dataclass(frozen=True)
class MotCounts:
    """Events of each joint, of one or more videos.

    Attributes:
        misses: `[15]` annotated joints without a prediction.
        switches: `[15]` matches with another track than the one before.
        false_positives: `[15]` predicted joints without an annotation.
        objects: `[15]` annotated joints.
        matches: `[15]` matched joints, switches included.
        distance: `[15]` sum over the matches, head sizes.
    """

    misses: Doubles
    switches: Doubles
    false_positives: Doubles
    objects: Doubles
    matches: Doubles
    distance: Doubles

    @classmethod
    def zero(cls) -> "MotCounts":
        """No events."""
        return cls(*(np.zeros(_K) for _ in range(6)))

    def __add__(self, other: "MotCounts") -> "MotCounts":
        return MotCounts(*(a + b for a, b in zip(self._columns(), other._columns(), strict=True)))

    def _columns(self) -> tuple[Doubles, ...]:
        return (self.misses, self.switches, self.false_positives, self.objects, self.matches, self.distance)

    def as_json(self) -> dict[str, dict[str, float]]:
        """Counts by joint."""
        names = ("misses", "switches", "false_positives", "objects", "matches", "distance")
        columns = zip(names, self._columns(), strict=True)
        return {name: dict(zip(JOINTS, column.tolist(), strict=True)) for name, column in columns}


@dataclass(frozen=True)
class MotResult:
    """CLEAR MOT figures, percent; undefined (NaN) for joints that are nowhere annotated.

    Attributes:
        mota: 1 - (misses + switches + false positives) / objects; can be far below 0.
        motp: 1 - mean distance of the matches, 0 when nothing matches.
        precision: Matches / predictions.
        recall: Matches / objects.
    """

    mota: JointTable
    motp: JointTable
    precision: JointTable
    recall: JointTable


def mot_figures(counts: MotCounts) -> MotResult:
    """Figures from counts.

    MOTP is poseval's with the py-motmetrics it was made for: newer versions list a distance more than once, and
    today's poseval adds them all up.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = counts.misses + counts.switches + counts.false_positives
        mota = np.where(counts.objects > 0, 1 - errors / counts.objects, np.nan)
        precision = counts.matches / (counts.matches + counts.false_positives)
        recall = np.where(counts.objects > 0, counts.matches / counts.objects, np.nan)
        motp = np.where(counts.matches > 0, 1 - counts.distance / counts.matches, 0.0)
    return MotResult(*(JointTable.mean_of(100 * row) for row in (mota, motp, precision, recall)))


def count_mot(video: VideoPair, pairs: PosePairs) -> MotCounts:
    """Count the events of one video.

    As in poseval, the last evaluated frame is left out, and a frame without annotated or without predicted people
    counts exactly one miss and one false positive for each joint type, however many people there are.
    """
    truth, predicted = video.truth, video.predicted
    truth_ids, truth_of = np.unique(truth.track, return_inverse=True)
    track_ids, track_of = np.unique(predicted.track, return_inverse=True)
    matcher = _Matcher(len(truth_ids), len(track_ids))
    allowed = np.where(pairs.distance <= MATCH_DISTANCE, pairs.distance, np.inf)
    placeholders = 0
    for frame in range(video.frames - 1):
        rows = slice(truth.starts[frame], truth.starts[frame + 1])
        columns = slice(predicted.starts[frame], predicted.starts[frame + 1])
        shape = (rows.stop - rows.start, columns.stop - columns.start, _K)
        if 0 in shape:
            placeholders += 1
            continue
        block = allowed[pairs.starts[frame] : pairs.starts[frame + 1]].reshape(shape)
        matcher.step(block, truth_of[rows], track_of[columns])
        matcher.objects += truth.present[rows].sum(0)
        matcher.predictions += predicted.present[columns].sum(0)
    return MotCounts(
        misses=matcher.objects - matcher.matches + placeholders,
        switches=matcher.switches,
        false_positives=matcher.predictions - matcher.matches + placeholders,
        objects=matcher.objects + placeholders,
        matches=matcher.matches,
        distance=matcher.distance,
    )


class _Matcher:
    """py-motmetrics' accumulator for 15 joint types at once."""

    def __init__(self, people: int, tracks: int) -> None:
        self._last = np.full((people, _K), -1)  # the track that each person's joint was matched with last
        self._place = np.full(tracks + 1, -1)  # of a track in the frame; the last entry serves "never matched"
        self._joints = np.arange(_K)
        self.objects, self.predictions, self.switches, self.matches, self.distance = (np.zeros(_K) for _ in range(5))

    def step(self, distance: Doubles, people: Ids, tracks: Ids) -> None:
        """Match one frame.

        Args:
            distance: `[G, P, 15]`, infinite where a match is forbidden.
            people: `[G]` numbers of the annotated people.
            tracks: `[P]` numbers of the predicted tracks.
        """
        matched = self._kept(distance, people, tracks)
        free = np.where(matched.any(1, keepdims=True) | matched.any(0, keepdims=True), np.inf, distance)
        if np.isfinite(free).any():
            new = match_nearest(free)
            person, place, joint = np.nonzero(new)
            before = self._last[people[person], joint]
            switched = (before >= 0) & (before != tracks[place])
            self.switches += np.bincount(joint[switched], minlength=_K)
            self._last[people[person], joint] = tracks[place]
            matched |= new
        self.matches += matched.sum((0, 1))
        self.distance += np.where(matched, distance, 0.0).sum((0, 1))

    def _kept(self, distance: Doubles, people: Ids, tracks: Ids) -> Bools:
        """Matches of the past that still hold, even where another prediction is nearer."""
        self._place[tracks] = np.arange(len(tracks))
        place = self._place[self._last[people]]  # [G, 15]
        self._place[tracks] = -1
        matched = np.zeros(distance.shape, bool)
        person, joint = np.nonzero(place >= 0)
        column = place[person, joint]
        holds = np.isfinite(distance[person, column, joint])
        person, joint, column = person[holds], joint[holds], column[holds]
        # Two people may have had the same track in turn: the first in the file keeps it.
        _, first = np.unique(column * _K + joint, return_index=True)
        matched[person[first], column[first], joint[first]] = True
        return matched
