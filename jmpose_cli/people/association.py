"""Who is who from one look at the people to the next: motion, overlap and appearance.

In the manner of BoT-SORT (Aharon et al., 2022): strong boxes are matched to all tracks first, weak boxes to those that
were seen at the last look, and what is left to tracks that are not established yet. Otherwise than there, how far a
box may be from where somebody is expected grows with the time since they were seen, so that lost people and slow videos
are one case; appearance is evidence for and against beside the place; weak boxes may begin a track that a strong one
establishes, which reaches back to them; and a second box on somebody establishes nobody.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.people.assignment import best_pairs
from jmpose_cli.people.boxes import hidden_shares, overlaps, within_shares
from jmpose_cli.people.motion import BoxFilter
from jmpose_cli.values import Bools, Detections, Float, Ids

FIRST_ROUND_SCORE = 0.25
"""Boxes from here on are matched first, the weaker ones with what is left."""
ORDINARY_STEPS_PER_S = 8.0
"""Looks a second from which on people are remembered for seconds alone, not for looks."""
REMEMBERED_STEPS = 3
"""Looks for which a lost person is remembered at least."""
_REACH_AT_ONCE, _MOST_REACH = 0.3, 2.0  # body heights within which boxes are joined: without delay, and at most
_LEAST_FIRST, _LEAST_WEAK, _LEAST_NEW = 0.1, 0.65, 0.2  # likeness from which on a box is somebody's, by round
_APPEARANCE_WEIGHT = 0.6  # of a certain likeness or difference, in overlaps
_DOUBLE_OVERLAP, _DOUBLE_WITHIN = 0.35, 0.85  # from which on two boxes may show one person
_CLEAN_HIDDEN, _CLEAN_SHARED = 0.25, 0.6  # up to which a crop shows its own person
_EDGE = 0.01  # of the picture's width: a box that comes so near to its left or right edge is cut
# Who leaves the picture is watched for so long at most and at least; moves so fast at least, in body heights a second;
# and may come out so much later than expected.
_WATCHED_S, _WATCHED_LEAST_S, _LEAVES_HEIGHTS_PER_S, _LATER_S = 0.6, 0.25, 0.2, 0.3
_FORGET = 0.05  # share of the newest crop in a track's looks, once there are many
_ENOUGH_CROPS = 3


class Track:
    """One person over time, as far as can be told.

    Attributes:
        id: From 1; 0 until it is established.
        hits: Boxes that it has had.
        looks: `[D]` mean of its clean crops; None without any.
        crops: How many they were.
        out_s: When it will have left the picture; infinite as long as it is not on its way out.
    """

    def __init__(self, box: Doubles, score: float, time_s: float, step: int) -> None:
        self.id = 0
        self.motion = BoxFilter.start(box, time_s)
        self.best_score, self.hits, self.last_step = score, 1, step
        self.looks: Float | None = None
        self.crops = 0
        self.out_s = np.inf
        self._sides: deque[tuple[float, float, float]] = deque()  # time, left, right

    def watch(self, box: Doubles, time_s: float, width: float) -> None:
        """Note when the person will be out of a picture of a width: the side that is not cut says how fast they go."""
        self._sides.append((time_s, float(box[0]), float(box[2])))
        while time_s - self._sides[0][0] > _WATCHED_S:
            self._sides.popleft()
        self.out_s = np.inf
        cut_left, cut_right = box[0] <= _EDGE * width, box[2] >= (1 - _EDGE) * width
        before_s, left, right = self._sides[0]
        if cut_left == cut_right or time_s - before_s < _WATCHED_LEAST_S:
            return
        still_in = float(box[2] if cut_left else width - box[0])
        speed = ((right if cut_left else width - left) - still_in) / (time_s - before_s)
        if speed > _LEAVES_HEIGHTS_PER_S * (box[3] - box[1]):
            self.out_s = time_s + still_in / speed + _LATER_S

    def learn(self, looks: Float) -> None:
        """Take in the looks of a crop that shows this person."""
        self.crops += 1
        share = max(1 / self.crops, _FORGET)
        self.looks = looks.copy() if self.looks is None else (1 - share) * self.looks + share * looks


class Associator:
    """The tracks of one shot; `step` is called for each look at the people.

    Args:
        start_score: Box score that establishes a track; weaker boxes only continue or begin one.
        lost_after_s: Seconds for which a person out of sight is remembered; in slow videos at least 3 looks.
        heights_per_s: Body heights that people out of sight are taken to move in a second.
        pixel_width: Width of a pixel in heights of a pixel.
        appearance: Scale of the looks that are given; None where none are.
        numbers: Gives the ids.
        keep_all: Every box is somebody, also one that overlaps another.
        width: Of the picture, in square pixels; None: not known.
    """

    def __init__(
        self,
        *,
        start_score: float,
        lost_after_s: float,
        heights_per_s: float,
        pixel_width: float,
        appearance: AppearanceScale | None,
        numbers: Iterator[int],
        keep_all: bool = False,
        width: float | None = None,
    ) -> None:
        self._width = width
        self._start_score, self._lost_after_s, self._heights_per_s = start_score, lost_after_s, heights_per_s
        self._appearance, self._keep_all = appearance, keep_all
        self._wide = np.array([pixel_width, 1.0, pixel_width, 1.0])
        self._first_score = min(start_score, FIRST_ROUND_SCORE)
        self._tracks: list[Track] = []
        self._step = 0
        self._numbers = numbers

    def step(
        self,
        time_s: float,
        people: Detections,
        looks: Float | None,
        *,
        step_s: float,
        camera: Doubles | None = None,
    ) -> tuple[list[Track], Bools]:
        """Say whose the boxes of the next look are.

        Args:
            time_s: When.
            people: The boxes.
            looks: `[N, D]` unit vectors; rows of zeros for those of whom nothing is known.
            step_s: Typical time between two looks.
            camera: `[2, 3]` similarity of square pixels from the last look to this one; None: the camera stood still.

        Returns:
            The track of each box, which may get its id later; and `[N]` whether the box shows its own
            person, and not only a part that the picture's edge leaves of them.
        """
        self._step += 1
        boxes, scores = people.boxes_xyxy_px.astype(np.float64) * self._wide, people.scores.astype(np.float64)
        ordinary = step_s <= 1 / ORDINARY_STEPS_PER_S + 1e-6
        memory_s = self._lost_after_s if ordinary else max(self._lost_after_s, (REMEMBERED_STEPS + 0.5) * step_s)
        self._tracks = [
            track for track in self._tracks if time_s - track.motion.seen_s <= memory_s + 1e-6 and time_s <= track.out_s
        ]
        for track in self._tracks:
            if camera is not None:
                track.motion.follow(camera)
            track.motion.predict(time_s)
        frame = _Look(boxes, scores, looks, time_s, self._width)
        known = [track for track in self._tracks if track.id]
        self._match(known, np.flatnonzero(scores >= self._first_score), frame, _LEAST_FIRST, sure=True)
        seen = [track for track in known if track.last_step == self._step - 1]
        self._match(seen, np.flatnonzero(frame.free & (scores < self._first_score)), frame, _LEAST_WEAK)
        begun = [track for track in self._tracks if not track.id]
        self._match(begun, np.flatnonzero(frame.free), frame, _LEAST_NEW)
        self._tracks = [track for track in self._tracks if track.id or track.last_step == self._step]
        for row in np.flatnonzero(frame.free).tolist():
            track = Track(boxes[row], float(scores[row]), time_s, self._step)
            self._watch(track, boxes[row], time_s)
            self._tracks.append(track)
            frame.give(row, track)
        self._establish(frame)
        return frame.owners, frame.clean & frame.whole

    def _watch(self, track: Track, box: Doubles, time_s: float) -> None:
        if self._width is not None:
            track.watch(box, time_s, self._width)

    def _establish(self, frame: "_Look") -> None:
        """Give ids to new tracks that are sure by now; a second box on somebody waits until it goes its own way."""
        owners = frame.owners
        for row, track in enumerate(owners):
            if track.id or track.best_score < self._start_score or not (track.hits > 1 or self._step == 1):
                continue
            known = [place for place, other in enumerate(owners) if other.id and other.last_step == self._step]
            if self._keep_all or not self._is_double(row, known, frame):
                track.id = next(self._numbers)

    def _is_double(self, row: int, known: list[int], frame: "_Look") -> bool:
        """Whether a box shows somebody who has another one: they overlap, and do not look different."""
        if not known:
            return False
        overlap, within = overlaps(frame.boxes[[row]], frame.boxes[known])[0], within_shares(frame.boxes, row, known)
        alike = np.zeros(len(known))
        if self._appearance is not None and frame.looks is not None and frame.looks[row].any():
            alike = self._appearance.evidence(frame.looks[known] @ frame.looks[row]) * frame.looks[known].any(1)
        return bool((((overlap > _DOUBLE_OVERLAP) | (within > _DOUBLE_WITHIN)) & (alike >= 0)).any())

    def _match(self, tracks: Sequence[Track], rows: Ids, frame: "_Look", least: float, *, sure: bool = False) -> None:
        """Give boxes to tracks: as much likeness together as can be.

        Args:
            tracks: Those that want a box.
            rows: Of the boxes on offer.
            frame: What is seen.
            least: Likeness that is needed.
            sure: The score of a box and the looks of a person count.
        """
        if not tracks or not len(rows):
            return
        likeness = self._likeness(tracks, frame.boxes[rows], frame.time_s)
        value = likeness
        if sure:
            value = likeness * frame.scores[rows] + _APPEARANCE_WEIGHT * self._evidence(tracks, rows, frame)
        value = np.where((likeness > 0) & (value >= least), value, 0.0)  # 0: as good as no box
        for place, column in best_pairs(value):
            track, row = tracks[place], int(rows[column])
            track.motion.update(frame.boxes[row])
            self._watch(track, frame.boxes[row], frame.time_s)
            track.hits, track.last_step = track.hits + 1, self._step
            track.best_score = max(track.best_score, float(frame.scores[row]))
            frame.give(row, track)

    def _likeness(self, tracks: Sequence[Track], boxes: Doubles, time_s: float) -> Doubles:
        """Return `[T, N]` how well boxes fit where people are expected: overlap, or how near they are, 0 to 1."""
        expected = np.array([track.motion.box() for track in tracks])
        gone_s = time_s - np.array([track.motion.seen_s for track in tracks])
        reach = np.minimum(_REACH_AT_ONCE + self._heights_per_s * gone_s, _MOST_REACH)
        between = (expected[:, None, :2] + expected[:, None, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
        heights = [np.maximum(some[:, 3] - some[:, 1], 1e-6) for some in (expected, boxes)]
        lower, higher = np.minimum(heights[0][:, None], heights[1]), np.maximum(heights[0][:, None], heights[1])
        near = np.clip(1 - np.linalg.norm(between, axis=2) / (reach[:, None] * lower), 0, 1) * lower / higher
        return np.asarray(np.maximum(overlaps(expected, boxes), near))

    def _evidence(self, tracks: Sequence[Track], rows: Ids, frame: "_Look") -> Doubles:
        """Return `[T, n]` what looks say, from -1, somebody else, to 1; 0 where nothing is known."""
        found = np.zeros((len(tracks), len(rows)))
        if self._appearance is None or frame.looks is None:
            return found
        there = frame.looks[rows]
        weight = (1 - frame.hidden[rows]) * there.any(1)
        for place, track in enumerate(tracks):
            if track.looks is not None:
                cosine = there @ track.looks / np.linalg.norm(track.looks)
                found[place] = self._appearance.evidence(cosine) * min(1.0, track.crops / _ENOUGH_CROPS)
        return np.asarray(found * weight)


class _Look:
    """The boxes of one look, and whose they are."""

    def __init__(
        self, boxes: Doubles, scores: Doubles, looks: Float | None, time_s: float, width: float | None
    ) -> None:
        self.boxes, self.scores, self.looks, self.time_s = boxes, scores, looks, time_s
        self.hidden, shared = hidden_shares(boxes)
        self.clean: Bools = (self.hidden < _CLEAN_HIDDEN) & (shared < _CLEAN_SHARED) & (scores >= FIRST_ROUND_SCORE)
        self.whole = np.ones(len(boxes), bool)
        if width is not None:
            self.whole = (boxes[:, 0] > _EDGE * width) & (boxes[:, 2] < (1 - _EDGE) * width)
        self.free = np.ones(len(boxes), bool)
        self._owners: dict[int, Track] = {}

    def give(self, row: int, track: Track) -> None:
        """Note whose a box is; a crop that shows its own person teaches the track its looks."""
        self.free[row] = False
        self._owners[row] = track
        if self.looks is not None and self.clean[row] and self.looks[row].any():
            track.learn(self.looks[row])

    @property
    def owners(self) -> list[Track]:
        """The track of each box; all must have one."""
        return [self._owners[row] for row in range(len(self.boxes))]
