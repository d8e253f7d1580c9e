"""Boxes of single frames to people with ids: the one file that imports trackers and supervision.

BoT-SORT (Aharon et al., 2022), without its camera motion and appearance parts, associates boxes over time. What
it leaves to the user is done here: ids that reach back to a person's first frame, gaps filled, cuts, and frames
handed out in order with a bounded delay.

It is made for videos, where somebody's boxes in two frames overlap. Where people are looked for less than
`ORDINARY_STEPS_PER_S` times a second, be it a slow recording or a detector that sees few frames, boxes that lie
near each other are joined too, memory is counted in steps, and the motion filter is told that it makes a step of
ordinary length: what it knows of noise is meant for such steps. Association of ground truth with the detector that
ships (TUD-Campus, TUD-Stadtmitte, PETS09-S2L1 and the street example, at 0.2 to 7 frames a second): from 56 % to
70 % of the boxes matched to people keep the person's id.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from jmpose_cli.values import Detections, Float, Ids, TrackedFrame

# Boxes from here on are matched first, the weaker ones with what is left.
FIRST_ROUND_SCORE = 0.25
SURE_SCORE = 0.6  # a person seen in one single frame is kept from this box score on
BACKFILL_IOU = 0.1  # overlap that joins a new track to its first, still nameless box
MAX_HELD_FRAMES = 24  # bounds memory at high frame rates; longer gaps are not filled then
_REFERENCE_FPS = 30.0  # in which the library counts `lost_track_buffer`
ORDINARY_STEPS_PER_S = 8.0  # looks a second from which on boxes of one person overlap
REMEMBERED_STEPS = 3  # looks for which a lost person is remembered at least
_STEPS_MEASURED = 15  # the median of so many intervals is the pace; a single gap does not change it
_REACH_AT_ONCE, _MOST_REACH = 0.3, 2.0  # body heights within which boxes are joined: without delay, and at most
# From here on people move further than boxes can be joined over, and many are in one frame only.
FAR_APART_S = 1.0


class _Likeness:
    """How alike two boxes are, 0 to 1, for the library: their overlap, or how near they are where that reaches further.

    Args:
        pixel_width: Width of a pixel in heights of a pixel; overlaps do not depend on it, distances do.

    Attributes:
        reach_heights: Distance of centres, in heights of the lower box, from which on nearness counts nothing; 0:
            overlap only.
    """

    def __init__(self, *, pixel_width: float) -> None:
        from trackers.utils.iou import IoU

        self._square = np.array([pixel_width, 1])
        self._overlap = IoU()
        self.reach_heights = 0.0

    def compute(self, one: Any, other: Any) -> Any:
        """Return `[N, M]` likenesses of boxes `[N, 4]` and `[M, 4]`."""
        overlap = self._overlap.compute(one, other)
        if not self.reach_heights or not overlap.size:
            return overlap
        between = (one[:, None, :2] + one[:, None, 2:] - other[:, :2] - other[:, 2:]) / 2
        apart = np.linalg.norm(between * self._square, axis=2)
        heights = np.maximum(one[:, None, 3] - one[:, None, 1], 1e-6), np.maximum(other[:, 3] - other[:, 1], 1e-6)
        lower, higher = np.minimum(*heights), np.maximum(*heights)
        near = np.clip(1 - apart / (self.reach_heights * lower), 0, 1) * lower / higher
        return np.maximum(overlap, near)

    def normalize_for_fusion(self, likeness: Any) -> Any:
        """Leave values as they are: they lie in 0 to 1."""
        return likeness


@dataclass
class _Row:
    box: Float
    score: float
    observed: bool


@dataclass
class _Held:
    """A frame that waits until nothing can change in it any more."""

    index: int
    time_s: float
    segment: int
    detected: bool
    rows: dict[int, _Row] = field(default_factory=dict)
    nameless: list[_Row] = field(default_factory=list)


class PeopleTracker:
    """Assigns an id to every person of one video. One object a video: `push` frames in order, then `finish`.

    Args:
        fps: Average frame rate.
        new_track_score: Box score that starts a track; weaker boxes only continue one. Higher means fewer
            false people, and people found later.
        lost_after_s: Seconds for which a person out of sight keeps its id. Higher bridges longer
            occlusions, and gives more ids to the wrong person.
        max_gap_s: Gaps of a track up to this many seconds are filled by linear interpolation.
        detect_every: Frames between detections; frames in between are always filled.
        max_people: Keep at most this many in a frame: those shown before first, then the largest and surest.
        heights_per_s: Body heights that people are taken to move in a second where frames are far apart. Higher
            joins boxes further apart, and gives more ids to the wrong person.
        pixel_width: Width of a pixel in heights of a pixel.
    """

    def __init__(
        self,
        *,
        fps: float,
        new_track_score: float = 0.25,
        lost_after_s: float = 1.0,
        max_gap_s: float = 0.25,
        detect_every: int = 1,
        max_people: int | None = None,
        heights_per_s: float = 0.7,
        pixel_width: float = 1.0,
    ) -> None:
        from trackers import BoTSORTTracker

        self._nominal_fps = max(fps, ORDINARY_STEPS_PER_S)
        self._likeness = _Likeness(pixel_width=pixel_width)
        self._tracker = BoTSORTTracker(
            lost_track_buffer=max(round(lost_after_s * _REFERENCE_FPS), 1),
            frame_rate=self._nominal_fps,
            track_activation_threshold=new_track_score,
            high_conf_det_threshold=min(new_track_score, FIRST_ROUND_SCORE),
            minimum_iou_threshold_first_assoc=0.1,
            minimum_iou_threshold_second_assoc=0.3,
            minimum_iou_threshold_unconfirmed_assoc=0.1,
            minimum_consecutive_frames=2,
            enable_cmc=False,
            iou=self._likeness,
        )
        self._new_track_score, self._max_gap_s, self._max_people = new_track_score, max_gap_s, max_people
        self._memory_s: float = self._tracker.maximum_time_without_update
        self._lost_after_s, self._heights_per_s = lost_after_s, heights_per_s
        self._intervals_s: deque[float] = deque(maxlen=_STEPS_MEASURED)
        self._step_s = detect_every / fps  # typical time between two looks
        self._last_look_s = self._lag_s = 0.0
        self._steps, self._far_steps = 0, 0
        self._delay = max(MAX_HELD_FRAMES, 2 * detect_every)
        self._held: deque[_Held] = deque()
        self._segment, self._next_id = 0, 1
        self._id_of: dict[int, int] = {}  # the library's id in this segment: ours
        self._last_seen: dict[int, tuple[int, float, _Row]] = {}  # our id: frame number, time, box
        self._last_step: _Held | None = None
        self._steps_in_segment = 0
        self._shown: set[int] = set()

    def push(
        self,
        index: int,
        time_s: float,
        detections: Detections | None,
        *,
        cut: bool = False,
        track_ids: Ids | None = None,
    ) -> list[TrackedFrame]:
        """Add the next frame; return the frames that are settled now, in order, each once.

        Args:
            index: Frame number, ascending.
            time_s: Timestamp in seconds.
            detections: The people found; None when this frame was not looked at.
            cut: A hard cut lies before this frame: all tracks end.
            track_ids: `[N]` ids that come with the boxes; they are kept and nothing is associated.
        """
        settled: list[TrackedFrame] = []
        if cut and self._held:
            settled = self._end_segment()
            self._segment += 1
        frame = _Held(index, time_s, self._segment, detections is not None)
        self._held.append(frame)
        if detections is not None:
            rows = [
                _Row(box, float(score), True)
                for box, score in zip(detections.boxes_xyxy_px, detections.scores, strict=True)
            ]
            if track_ids is None:
                self._associate(frame, detections, rows)
            else:
                frame.rows = dict(zip(track_ids.tolist(), rows, strict=True))
            self._last_step = frame
            self._steps_in_segment += 1
        return settled + self._release()

    def finish(self) -> list[TrackedFrame]:
        """Return the last frames."""
        return self._end_segment()

    def _associate(self, frame: _Held, detections: Detections, rows: list[_Row]) -> None:
        """Ask the library who is who, and write the answer into the held frames."""
        import supervision as sv

        their_time_s = self._keep_pace(frame.time_s)
        given = sv.Detections(
            xyxy=detections.boxes_xyxy_px, confidence=detections.scores, data={"row": np.arange(len(rows))}
        )
        tracked = self._tracker.update(given, timestamp=their_time_s)
        if len(tracked) == 0 or tracked.tracker_id is None:
            return
        for row, their_id in sorted(zip(tracked.data["row"].tolist(), tracked.tracker_id.tolist(), strict=True)):
            if their_id < 0:
                if rows[row].score >= self._new_track_score:
                    frame.nameless.append(rows[row])
                continue
            if their_id not in self._id_of:
                self._id_of[their_id] = self._next_id
                self._next_id += 1
                self._backfill(self._id_of[their_id], rows[row])
            self._record(self._id_of[their_id], frame, rows[row])

    def _keep_pace(self, time_s: float) -> float:
        """Fit memory and reach to the time between looks; return the time to tell the library."""
        passed_s = time_s - self._last_look_s
        if self._steps:
            self._intervals_s.append(passed_s)
            self._step_s = median(self._intervals_s)
        is_ordinary = self._step_s <= 1 / ORDINARY_STEPS_PER_S + 1e-6
        # Its clock runs slower between looks that are far apart, so that a look is a step of about a nominal frame.
        slowness = 1.0 if is_ordinary else ORDINARY_STEPS_PER_S / self._nominal_fps
        self._lag_s += passed_s * (1 - slowness) if self._steps else 0.0
        steps_s = 0.0 if is_ordinary else (REMEMBERED_STEPS + 0.5) * self._step_s
        self._tracker.maximum_time_without_update = slowness * max(self._memory_s, steps_s)
        reach = min(_REACH_AT_ONCE + self._heights_per_s * self._step_s, _MOST_REACH)
        self._likeness.reach_heights = 0.0 if is_ordinary else reach
        self._last_look_s = time_s
        self._steps += 1
        self._far_steps += self._step_s >= FAR_APART_S
        return time_s - self._lag_s

    def notes(self) -> Iterator[str]:
        """Yield a sentence for the user where people who move could not be followed."""
        if self._steps < 2 or self._far_steps <= self._steps / 2:
            return
        yield (
            f"people are looked for every {self._step_s:.3g} s, too seldom to follow those who move: they get new ids; "
            "more frames a second help (--detect-every 1, or --fps where the rate is assumed), or own boxes with track "
            f"ids (--boxes); people.heights_per_s={self._heights_per_s:g} sets how far apart boxes are joined"
        )

    def _backfill(self, track: int, row: _Row) -> None:
        """Hand a new track the nameless box of the step before from which the library started it."""
        first = self._last_step
        if first is None or first.segment != self._segment or not first.nameless:
            return
        overlaps = [_iou(row.box, other.box) for other in first.nameless]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= BACKFILL_IOU:
            self._record(track, first, first.nameless.pop(best))

    def _record(self, track: int, frame: _Held, row: _Row) -> None:
        """Put a box into its frame, and boxes into the frames since the track was last seen."""
        frame.rows[track] = row
        before = self._last_seen.get(track)
        self._last_seen[track] = (frame.index, frame.time_s, row)
        if before is None:
            return
        index, time_s, old = before
        between = [f for f in self._held if index < f.index < frame.index]
        if frame.time_s - time_s > self._max_gap_s + 1e-6 and any(f.detected for f in between):
            return
        for held in between:
            share = (held.time_s - time_s) / (frame.time_s - time_s)
            box = (old.box + np.float32(share) * (row.box - old.box)).astype(np.float32)
            held.rows[track] = _Row(box, old.score + share * (row.score - old.score), False)

    def _release(self) -> list[TrackedFrame]:
        """Return the held frames in which no later frame can change anything."""
        settled = []
        while self._held:
            first, step = self._held[0], self._last_step
            known = step is not None and step.index > first.index and step.time_s >= first.time_s + self._max_gap_s
            if not known and len(self._held) <= self._delay:
                break
            settled.append(self._emit(self._held.popleft()))
        return settled

    def _end_segment(self) -> list[TrackedFrame]:
        """Settle all held frames and forget all tracks."""
        single = self._steps_in_segment == 1
        for frame in self._held:
            self._keep_singles(frame, least=0.0 if single else self._sure_score())
        settled = [self._emit(frame) for frame in self._held]
        self._held.clear()
        self._tracker.reset()
        self._id_of, self._last_seen, self._last_step, self._steps_in_segment = {}, {}, None, 0
        return settled

    def _sure_score(self) -> float:
        """Return the score from which on somebody seen in one frame only is kept."""
        return SURE_SCORE if self._step_s < FAR_APART_S else 0.0

    def _keep_singles(self, frame: _Held, *, least: float) -> None:
        """Assign ids of their own to boxes that no track has claimed, from a score on."""
        for row in frame.nameless:
            if row.score >= least:
                frame.rows[self._next_id] = row
                self._next_id += 1
        frame.nameless = []

    def _emit(self, frame: _Held) -> TrackedFrame:
        self._keep_singles(frame, least=self._sure_score())
        ids = self._chosen(frame)
        rows = [frame.rows[i] for i in ids]
        for track in [t for t, seen in self._last_seen.items() if frame.time_s - seen[1] > self._forget_s()]:
            del self._last_seen[track]
        return TrackedFrame(
            index=frame.index,
            time_s=frame.time_s,
            boxes_xyxy_px=np.array([r.box for r in rows], np.float32).reshape(-1, 4),
            scores=np.array([r.score for r in rows], np.float32),
            track_ids=np.array(ids, np.int64),
            observed=np.array([r.observed for r in rows], bool),
            segment=frame.segment,
        )

    def _forget_s(self) -> float:
        """Return the seconds by which the library has let go of a lost track."""
        return max(self._lost_after_s, (REMEMBERED_STEPS + 1) * self._step_s) + self._max_gap_s + 1.0

    def _chosen(self, frame: _Held) -> list[int]:
        """Return the ids of a frame to show, ascending."""
        if self._max_people is None:
            return sorted(frame.rows)

        def rank(track: int) -> tuple[bool, float]:
            row = frame.rows[track]
            width, height = row.box[2:] - row.box[:2]
            return (track not in self._shown, -float(width * height) * row.score)

        chosen = sorted(frame.rows, key=rank)[: self._max_people]
        self._shown.update(chosen)
        return sorted(chosen)


def _iou(one: Float, other: Float) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    overlap = float(np.clip(high - low, 0, None).prod())
    areas = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod())
    return overlap / max(areas - overlap, 1e-9)
