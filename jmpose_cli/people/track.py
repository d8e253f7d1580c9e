"""Boxes of single frames to people with ids, handed out in order with a bounded delay.

`association` says whose each box is. What comes of it is done here: ids that reach back to a person's first frame, gaps
filled, cuts, and frames held until nothing can change in them.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from statistics import median

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.people.association import REMEMBERED_STEPS, Associator, Track
from jmpose_cli.people.camera import back_through, box_moved
from jmpose_cli.people.detector_description import START_SCORE
from jmpose_cli.people.stitch import Identities, Sightings, stitch
from jmpose_cli.values import Detections, Float, Ids, TrackedFrame

SURE_SCORE = 0.6  # a person seen in one single frame is kept from this box score on
_LOOKS_EVERY_S = 0.15  # of each track that are kept for the end
MAX_HELD_FRAMES = 24  # bounds memory at high frame rates; longer gaps are not filled then
_FILLED_STEPS = 7  # looks over which gaps are filled at least, where that takes no more than twice the usual time
_STEPS_MEASURED = 15  # the median of so many intervals is the pace; a single gap does not change it
# From here on people move further than boxes can be joined over, and many are in one frame only.
FAR_APART_S = 1.0


@dataclass
class _Row:
    box: Float
    score: float
    observed: bool
    looks: Float | None = None  # of a clean crop


@dataclass
class _Held:
    """A frame that waits until nothing can change in it any more."""

    index: int
    time_s: float
    segment: int
    detected: bool
    view: (
        Doubles | None
    )  # similarity [2, 3] of square pixels to the segment's first frame; None: the camera stood still
    rows: dict[int, _Row] = field(default_factory=dict)
    nameless: list[tuple[Track, _Row]] = field(default_factory=list)


class PeopleTracker:
    """Assigns an id to every person of one video. One object a video: `push` frames in order, then `finish`.

    Args:
        fps: Average frame rate.
        new_track_score: Box score that starts a track; weaker boxes only continue one. Higher means fewer
            false people, and people found later.
        lost_after_s: Seconds for which a person out of sight keeps its id. Higher bridges longer
            occlusions, and gives more ids to the wrong person.
        max_gap_s: Gaps of a track up to this many seconds are filled by linear interpolation; in slow videos up to
            7 looks, and twice as many seconds at most.
        detect_every: Frames between detections; frames in between are always filled.
        max_people: Keep at most this many in a frame: those shown before first, then the largest and surest.
        heights_per_s: Body heights that people are taken to move in a second while nobody sees them. Higher
            joins boxes further apart, and gives more ids to the wrong person.
        pixel_width: Width of a pixel in heights of a pixel.
        appearance: Scale of the looks that come with the boxes; None: none come.
        keep_all: Every box is somebody, as boxes of a file are.
        width_px: Of the frames; None: not known.
    """

    def __init__(
        self,
        *,
        fps: float,
        new_track_score: float = START_SCORE,
        lost_after_s: float = 2.0,
        max_gap_s: float = 0.5,
        detect_every: int = 1,
        max_people: int | None = None,
        heights_per_s: float = 0.7,
        pixel_width: float = 1.0,
        appearance: AppearanceScale | None = None,
        keep_all: bool = False,
        width_px: int | None = None,
    ) -> None:
        self._width = None if width_px is None else width_px * pixel_width
        self._new_track_score, self._max_gap_s, self._max_people = new_track_score, max_gap_s, max_people
        self._lost_after_s, self._heights_per_s = lost_after_s, heights_per_s
        self._pixel_width, self._appearance, self._keep_all = pixel_width, appearance, keep_all
        self._wide = np.array([pixel_width, 1.0] * 2)
        self._intervals_s: deque[float] = deque(maxlen=_STEPS_MEASURED)
        self._step_s = detect_every / fps  # typical time between two looks
        self._last_look_s = 0.0
        self._steps, self._far_steps = 0, 0
        self._delay = max(MAX_HELD_FRAMES, 2 * detect_every)
        self._held: deque[_Held] = deque()
        self._segment, self._numbers = 0, count(1)
        self._associator = self._new_associator()
        self._last_seen: dict[int, tuple[int, float, _Row]] = {}  # id: frame number, time, box
        self._last_step: _Held | None = None
        self._steps_in_segment = 0
        self._view: Doubles | None = None
        self._shown: set[int] = set()
        # All that was seen: track, segment, frame number and place in the looks; time; box.
        self._seen: list[tuple[int, int, int, int]] = []
        self._seen_s, self._seen_boxes = array("d"), array("f")
        self._looks: list[Float] = []
        self._looked_s: dict[int, float] = {}

    def push(
        self,
        index: int,
        time_s: float,
        detections: Detections | None,
        *,
        cut: bool = False,
        track_ids: Ids | None = None,
        looks: Float | None = None,
        camera: Float | None = None,
    ) -> list[TrackedFrame]:
        """Add the next frame; return the frames that are settled now, in order, each once.

        Args:
            index: Frame number, ascending.
            time_s: Timestamp in seconds.
            detections: The people found; None when this frame was not looked at.
            cut: A hard cut lies before this frame: all tracks end.
            track_ids: `[N]` ids that come with the boxes; they are kept and nothing is associated.
            looks: `[N, D]` unit vectors of appearance, zeros for those of whom nothing is known; None without any.
            camera: `[2, 3]` similarity from pixels of the last frame with detections to this one; None: it stood still.
        """
        settled: list[TrackedFrame] = []
        if cut and self._held:
            settled = self._end_segment()
            self._segment += 1
        moved = None if camera is None or cut else self._square(camera)
        if moved is not None:
            self._view = back_through(moved, self._view)
        frame = _Held(index, time_s, self._segment, detections is not None, self._view)
        self._held.append(frame)
        if detections is not None:
            rows = [
                _Row(box, float(score), True)
                for box, score in zip(detections.boxes_xyxy_px, detections.scores, strict=True)
            ]
            if track_ids is None:
                self._associate(frame, detections, rows, looks, moved)
            else:
                frame.rows = dict(zip(track_ids.tolist(), rows, strict=True))
            self._last_step = frame
            self._steps_in_segment += 1
        return settled + self._release()

    def finish(self) -> list[TrackedFrame]:
        """Return the last frames."""
        return self._end_segment()

    def _new_associator(self) -> Associator:
        return Associator(
            start_score=self._new_track_score,
            lost_after_s=self._lost_after_s,
            heights_per_s=self._heights_per_s,
            pixel_width=self._pixel_width,
            appearance=self._appearance,
            numbers=self._numbers,
            keep_all=self._keep_all,
            width=self._width,
        )

    def _square(self, camera: Float) -> Doubles:
        """Return a similarity of pixels as one of square pixels."""
        wide = np.array([self._pixel_width, 1.0])
        return np.asarray(camera * wide[:, None] / np.append(wide, 1.0), np.float64)

    def _associate(
        self,
        frame: _Held,
        detections: Detections,
        rows: list[_Row],
        looks: Float | None,
        camera: Doubles | None,
    ) -> None:
        """Find out who is who, and write it into the held frames."""
        self._keep_pace(frame.time_s)
        owners, clean = self._associator.step(frame.time_s, detections, looks, step_s=self._step_s, camera=camera)
        if looks is not None:
            for place in np.flatnonzero(clean & looks.any(1)).tolist():
                rows[place].looks = looks[place]
        frame.nameless = list(zip(owners, rows, strict=True))
        for held in self._held:  # whoever has an id by now had it from the first box on
            waiting, held.nameless = held.nameless, []
            for track, row in waiting:
                if track.id:
                    self._record(track.id, held, row)
                else:
                    held.nameless.append((track, row))

    def _keep_pace(self, time_s: float) -> None:
        """Measure the time between looks."""
        if self._steps:
            self._intervals_s.append(time_s - self._last_look_s)
            self._step_s = median(self._intervals_s)
        self._last_look_s = time_s
        self._steps += 1
        self._far_steps += self._step_s >= FAR_APART_S

    def notes(self) -> Iterator[str]:
        """Yield a sentence for the user where people who move could not be followed."""
        if self._steps < 2 or self._far_steps <= self._steps / 2:
            return
        yield (
            f"people are looked for every {self._step_s:.3g} s, too seldom to follow those who move: they get new ids; "
            "more frames a second help (--detect-every 1, or --fps where the rate is assumed), or own boxes with track "
            f"ids (--boxes); people.heights_per_s={self._heights_per_s:g} sets how far apart boxes are joined"
        )

    def _record(self, track: int, frame: _Held, row: _Row) -> None:
        """Put a box into its frame, and boxes into the frames since the track was last seen."""
        frame.rows[track] = row
        before = self._last_seen.get(track)
        self._last_seen[track] = (frame.index, frame.time_s, row)
        if before is None:
            return
        index, time_s, old = before
        between = [f for f in self._held if index < f.index < frame.index]
        if frame.time_s - time_s > self._filled_s() + 1e-6 and any(f.detected for f in between):
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
            known = step is not None and step.index > first.index and step.time_s >= first.time_s + self._filled_s()
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
        self._associator = self._new_associator()
        self._last_seen, self._last_step, self._steps_in_segment = {}, None, 0
        self._view = None
        return settled

    def _sure_score(self) -> float:
        """Return the score from which on somebody seen in one frame only is kept."""
        return SURE_SCORE if self._step_s < FAR_APART_S else 0.0

    def _keep_singles(self, frame: _Held, *, least: float) -> None:
        """Assign ids of their own to boxes that no track has claimed, from a score on."""
        for track, row in frame.nameless:
            if track.hits == 1 and row.score >= max(least, self._new_track_score):
                frame.rows[next(self._numbers)] = row
        frame.nameless = []

    def _emit(self, frame: _Held) -> TrackedFrame:
        self._keep_singles(frame, least=self._sure_score())
        ids = self._chosen(frame)
        rows = [frame.rows[i] for i in ids]
        self._remember(frame, ids, rows)
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

    def _remember(self, frame: _Held, ids: list[int], rows: list[_Row]) -> None:
        """Keep what tells at the end who is who: boxes that were seen, and some of the clean looks."""
        for track, row in zip(ids, rows, strict=True):
            if not row.observed:
                continue
            look = -1
            if row.looks is not None and frame.time_s - self._looked_s.get(track, -np.inf) >= _LOOKS_EVERY_S:
                self._looked_s[track] = frame.time_s
                look = len(self._looks)
                self._looks.append(row.looks.astype(np.float16))
            self._seen.append((track, frame.segment, frame.index, look))
            self._seen_s.append(frame.time_s)
            box = row.box * self._wide
            self._seen_boxes.extend((box if frame.view is None else box_moved(box, frame.view)).tolist())

    def sightings(self, size: tuple[int, int]) -> Sightings:
        """Return where tracks were seen.

        Args:
            size: Width and height of the frames, pixels.
        """
        columns = np.array(self._seen, np.int64).reshape(-1, 4)
        return Sightings(
            track=columns[:, 0],
            segment=columns[:, 1],
            frame=columns[:, 2],
            time_s=np.array(self._seen_s, np.float64),
            boxes=np.frombuffer(self._seen_boxes, np.float32).reshape(-1, 4).astype(np.float64),
            look=columns[:, 3],
            looks=np.stack(self._looks) if self._looks else np.zeros((0, 1), np.float16),
            size=(size[0] * self._pixel_width, size[1]),
        )

    def identities(self, size: tuple[int, int]) -> Identities:
        """Say at the end of the video which tracks are one person.

        Args:
            size: Width and height of the frames, pixels.
        """
        return stitch(self.sightings(size), self._appearance)

    def _forget_s(self) -> float:
        """Return the seconds by which the library has let go of a lost track."""
        return max(self._lost_after_s, (REMEMBERED_STEPS + 1) * self._step_s) + self._filled_s() + 1.0

    def _filled_s(self) -> float:
        """Return the seconds of the longest gap that is filled."""
        return min(max(self._max_gap_s, _FILLED_STEPS * self._step_s), 2 * self._max_gap_s)

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
