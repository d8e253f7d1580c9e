"""Corrections that spread in time: what was corrected in some frames of a track, in the frames around them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from jmpose_cli.clips.motion import moved_by_keys
from jmpose_cli.clips.operation import (
    ALL,
    Clip,
    Frame,
    FrameRange,
    Operation,
    TrackId,
    grown,
    joint_places,
    new_people,
    places,
    rows_in,
    rows_of,
    rows_within,
    text_of,
    with_people,
)
from jmpose_cli.clips.tracks import likely_wrong, steadied
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import CORRECTED, INTERPOLATED, MODEL, PROPAGATED, Truth
from jmpose_cli.values import Bools, Ids

Sources = NDArray[np.uint8]
FADE_S = 0.5
REACH_S = 1.0
BEYOND_S = 1.0
"""By motion, frames that do not change are looked at so far beyond those that may."""
_TINY_S = 1e-9


class Propagate(Operation):
    """Corrected joints of a track correct the frames around theirs.

    By motion, a joint is where it probably was, given the corrected places, smooth motion, and what the model saw,
    which counts the less the likelier it is wrong (`motion.moved_by_keys`). Corrections reach as far as they tell
    anything.

    By correction: between two frames in which a joint is corrected, the correction, not the position, is interpolated:
    where the joint is then, is where the model had it, moved by as much. Before the first and after the last one, the
    correction fades out. Where the model had no joint, the position is interpolated.

    Frames that are marked as reviewed stay as they are, and corrections of others end before them.

    Attributes:
        track: Who.
        frames: Which frames may change; corrections outside count too.
        joints: Names; none means all.
        by: How.
        fade_s: By correction, seconds until it has faded out.
        around: A frame; then only those within `reach_s` of it may change.
        reach_s: Seconds.
    """

    op: Literal["propagate"] = "propagate"
    track: TrackId
    frames: FrameRange = ALL
    joints: tuple[str, ...] = ()
    by: Literal["motion", "correction"] = "motion"
    fade_s: Annotated[float, Field(ge=0, le=60)] = FADE_S
    around: Frame | None = None
    reach_s: Annotated[float, Field(ge=0, le=3600)] = REACH_S

    def reach(self, clip: Clip) -> Ids:
        """Return the track where joints are not the model's, and as far around as corrections fade out or tell."""
        rows = rows_in(clip, self.track)
        times = clip.time_s[clip.roster.frame[rows]]
        if self.by == "motion":
            near = rows[self._near(times, clip.index[clip.roster.frame[rows]], BEYOND_S)]
            return near if len(near) else rows[:1]
        touched = np.flatnonzero(clip.is_touched(rows))
        if not len(touched):
            return rows[:1]
        ends = times[touched[0]] - self.fade_s, times[touched[-1]] + self.fade_s
        first, last = int(np.searchsorted(times, ends[0])), int(np.searchsorted(times, ends[1], side="right"))
        return rows[max(first - 1, 0) : last + 1]

    def _near(self, times: Doubles, numbers: Ids, beyond_s: float) -> Bools:
        """Return `[R]` which frames of the track are within reach, or so far beyond; all where it is around none."""
        if self.around is None:
            return np.ones(len(times), bool)
        here = times[numbers == self.around]
        return np.asarray(np.abs(times - (here if len(here) else np.inf)) <= self.reach_s + beyond_s + _TINY_S)

    def _apply(self, truth: Truth) -> Truth:
        rows = rows_of(truth, self.track)
        if self.by == "motion":
            rows = rows[self._near(truth.time_s[truth.frame[rows]], truth.index[truth.frame[rows]], BEYOND_S)]
        joints = joint_places(truth, self.joints or truth.keypoints.joints)
        rows_within(truth, truth.roster, self.track, self.frames)  # says what is not there
        within = places(truth, self.frames)
        changing = (truth.frame[rows] >= within.start) & (truth.frame[rows] < within.stop)
        changing &= ~truth.reviewed[truth.frame[rows]]
        changing &= self._near(truth.time_s[truth.frame[rows]], truth.index[truth.frame[rows]], 0.0)
        model = truth.xy if truth.model_xy is None else truth.model_xy
        xy, sources, boxes = truth.xy.copy(), truth.sources.copy(), truth.boxes_xyxy_px.copy()
        keys = truth.present[rows] & (truth.sources[rows] == CORRECTED)
        if not keys[:, joints].any():
            raise JmposeError(f"{self}: no joint of it is corrected", hint="correct joints first; then they propagate")
        times, passable = truth.time_s[truth.frame[rows]], ~truth.reviewed[truth.frame[rows]]
        doubt = _Doubt.of(truth, rows) if self.by == "motion" else None
        for joint in joints:
            corrected = keys[:, joint]
            if corrected.any():
                free = changing & truth.present[rows, joint] & ~corrected
                now = (times, xy[rows, joint], model[rows, joint], corrected, free)
                stops, kinds = corrected | ~passable, sources[rows, joint]
                if doubt is None:
                    found = _around(*now, stops, kinds, self.fade_s)
                else:
                    known = stops & truth.present[rows, joint]
                    found = _by_motion(*now, known, kinds, doubt.wrong[:, joint], doubt.size)
                xy[rows, joint], sources[rows, joint] = found
        spread = sources[rows] != truth.sources[rows]
        boxes[rows] = grown(boxes[rows], xy[rows], spread & truth.present[rows])
        return replace(truth, xy=xy, sources=sources, boxes_xyxy_px=boxes)

    def __str__(self) -> str:
        around = "" if self.around is None else f" around frame {self.around}"
        return f"propagate {', '.join(self.joints) or 'all joints'} of {self.track}{text_of(self.frames)}{around}"


def _around(
    times: Doubles, xy: Doubles, model: Doubles, keys: Bools, free: Bools, stops: Bools, kinds: Sources, fade_s: float
) -> tuple[Doubles, Sources]:
    """Return where one joint is along its track of R frames, and from where that comes.

    Args:
        times: `[R]` seconds, rising.
        xy: `[R, 2]` where the joint is.
        model: `[R, 2]` where the model had it; NaN where it had none.
        keys: `[R]` it is corrected.
        free: `[R]` it may be moved.
        stops: `[R]` no correction of other frames goes on beyond here; so it is where there is one.
        kinds: `[R]` from where it comes.
        by: How.
        fade_s: By correction, seconds until it has faded out.
        around: A frame; then only those within `reach_s` of it may change.
        reach_s: Seconds.
    """
    count = len(times)
    everyone = np.arange(count)
    before = np.maximum.accumulate(np.where(stops, everyone, -1))
    after = np.minimum.accumulate(np.where(stops, everyone, count)[::-1])[::-1]
    closed = (before >= 0) & (after < count)
    left, right = (before >= 0) & keys[before], (after < count) & keys[after.clip(max=count - 1)]
    first = np.where(left, before, after).clip(0, count - 1)
    last = np.where(right, after, before).clip(0, count - 1)
    residuals = xy - model
    known = ~np.isnan(model + residuals[first] + residuals[last]).any(1)
    both = left & right
    span = np.where(closed, times[after.clip(max=count - 1)] - times[before], np.inf)
    share = np.where(both, (times - times[first]) / np.maximum(span, _TINY_S), 0.0)[:, None]
    ends = [np.where(known[:, None], residuals[end], xy[end]) for end in (first, last)]
    fading = (1 - np.abs(times - times[first]) / np.minimum(span, fade_s).clip(_TINY_S)).clip(0)
    weight = np.where(both, 1.0, fading)
    spread = np.where(known[:, None], model, 0.0) + weight[:, None] * ((1 - share) * ends[0] + share * ends[1])
    is_moved = free & (both | ((left | right) & known)) & ((weight > 0) | (kinds == PROPAGATED))
    new_kinds = np.where(known, np.where(weight > 0, PROPAGATED, MODEL), INTERPOLATED)
    return np.where(is_moved[:, None], spread, xy), np.where(is_moved, new_kinds, kinds).astype(np.uint8)


@dataclass(frozen=True)
class _Doubt:
    """How sure the model is of the joints of a track of R rows.

    Attributes:
        wrong: `[R, K]` how likely each is wrong.
        size: `[R]` body size, pixels.
    """

    wrong: Doubles
    size: Doubles

    @classmethod
    def of(cls, truth: Truth, rows: Ids) -> Self:
        track = truth.rows(rows)
        sides = (track.boxes_xyxy_px[:, 2:] - track.boxes_xyxy_px[:, :2]).clip(min=0)
        return cls(likely_wrong(track), steadied(track, np.sqrt(sides.prod(1)), truth.time_s))


def _by_motion(
    times: Doubles,
    xy: Doubles,
    model: Doubles,
    keys: Bools,
    free: Bools,
    known: Bools,
    kinds: Sources,
    wrong: Doubles,
    size: Doubles,
) -> tuple[Doubles, Sources]:
    """Return what `_around` does, by motion: `known` is where the joint is right; `wrong` and `size` as `_Doubt`."""
    likely, weights = moved_by_keys(times, model, wrong, size, np.where(known[:, None], xy, np.nan), keys)
    has_model = np.asarray(~np.isnan(model).any(1))
    spread = np.where(has_model[:, None], model + weights[:, None] * (likely - model), likely)
    is_moved = free & ((weights > 0) | ((kinds == PROPAGATED) & has_model))
    new_kinds = np.where(has_model, np.where(weights > 0, PROPAGATED, MODEL), INTERPOLATED)
    return np.where(is_moved[:, None], spread, xy), np.where(is_moved, new_kinds, kinds).astype(np.uint8)


class Interpolate(Operation):
    """A track gets people in the frames where it has none, between those where it has.

    Attributes:
        track: Who.
        frames: Where; the nearest frames with the track may lie outside.
    """

    op: Literal["interpolate"] = "interpolate"
    track: TrackId
    frames: FrameRange = ALL

    def reach(self, clip: Clip) -> Ids:
        """Return the track from before the first gap to after the last one."""
        rows = rows_in(clip, self.track)
        there, (begin, end) = clip.roster.frame[rows], self.frames
        low = 0 if begin is None else int(np.searchsorted(clip.index, begin))
        high = len(clip.index) if end is None else int(np.searchsorted(clip.index, end))
        ends = np.flatnonzero((np.diff(there) > 1) & (there[1:] > low) & (there[:-1] + 1 < high))
        return rows[ends[0] : ends[-1] + 2] if len(ends) else rows[:1]

    def _apply(self, truth: Truth) -> Truth:
        rows = rows_of(truth, self.track)
        within = places(truth, self.frames)
        there = truth.frame[rows]
        wanted = np.setdiff1d(np.arange(max(within.start, there[0]), min(within.stop, there[-1] + 1)), there)
        if not len(wanted):
            raise JmposeError(f"{self}: there is no gap", hint="name frames between two in which the track is")
        right = np.searchsorted(there, wanted)
        first, last = rows[right - 1], rows[right]
        begin, end = truth.time_s[truth.frame[first]], truth.time_s[truth.frame[last]]
        share = (truth.time_s[wanted] - begin) / np.maximum(end - begin, 1e-9)

        def between(column: NDArray[Any]) -> Doubles:
            weight = share.reshape(-1, *([1] * (column.ndim - 1)))
            return np.asarray((1 - weight) * column[first] + weight * column[last])

        seen = np.minimum(truth.visibility[first], truth.visibility[last])  # 0 where one end has not got the joint
        count, joints, xy = len(wanted), range(len(truth.keypoints)), between(truth.xy)
        tracks, boxes = np.full(count, self.track), between(truth.boxes_xyxy_px)
        added = new_people(truth, wanted, tracks, boxes, joints, xy, seen) | {
            "identity": truth.identity[first],
            "box_scores": between(truth.box_scores),
            "observed": np.zeros(count, bool),
            "person_scores": np.minimum(truth.person_scores[first], truth.person_scores[last]),
            "occluded": truth.occluded[first] & truth.occluded[last],
            "scores": np.minimum(truth.scores[first], truth.scores[last]),
            "sources": np.full(seen.shape, INTERPOLATED, np.uint8),
        }
        if truth.covariances is not None:
            added["covariances"] = np.maximum(truth.covariances[first], truth.covariances[last])
        if truth.probabilities is not None:
            added["probabilities"] = np.minimum(truth.probabilities[first], truth.probabilities[last])
        return with_people(truth, added)

    def __str__(self) -> str:
        return f"interpolate {self.track}{text_of(self.frames)}"


class InterpolateJoints(Operation):
    """Joints of a track are on the line between where they are before and after some frames; corrected ones stay.

    Attributes:
        track: Who.
        frames: Where.
        joints: Names.
    """

    op: Literal["interpolate_joints"] = "interpolate_joints"
    track: TrackId
    frames: FrameRange = ALL
    joints: Annotated[tuple[str, ...], Field(min_length=1)]

    def reach(self, clip: Clip) -> Ids:
        """Return the people of these frames, and those before and after."""
        rows, inside = rows_in(clip, self.track), rows_in(clip, self.track, self.frames)
        first, last = np.searchsorted(rows, inside[[0, -1]]) if len(inside) else (0, 0)
        return rows[max(first - 1, 0) : last + 2]

    def _apply(self, truth: Truth) -> Truth:
        rows, inside = rows_of(truth, self.track), rows_of(truth, self.track, self.frames)
        ends = [*rows[rows < inside[0]][-1:].tolist(), *rows[rows > inside[-1]][:1].tolist()]
        joints = joint_places(truth, self.joints)
        if len(ends) < 2 or not truth.present[np.ix_(ends, joints)].all():
            hint = "name frames between two in which the joints are there"
            raise JmposeError(f"{self}: they are not there on both sides", hint=hint)
        return _on_lines(truth, [(inside, joint, ends[0], ends[1]) for joint in joints])

    def __str__(self) -> str:
        return f"interpolate {', '.join(self.joints)} of {self.track}{text_of(self.frames)}"


def _on_lines(truth: Truth, lines: Sequence[tuple[Ids, int, int, int]]) -> Truth:
    """Return a truth in which joints that nobody corrected are on lines; boxes grow to hold them.

    Args:
        truth: The people.
        lines: Rows whose joint moves, the joint, and the rows between which the line is.
    """
    times = truth.time_s[truth.frame]
    xy, visibility, sources = truth.xy.copy(), truth.visibility.copy(), truth.sources.copy()
    boxes = truth.boxes_xyxy_px.copy()
    for rows, joint, first, last in lines:
        free = rows[truth.sources[rows, joint] != CORRECTED]
        share = (np.abs(times[free] - times[first]) / max(abs(times[last] - times[first]), _TINY_S))[:, None]
        xy[free, joint] = (1 - share) * truth.xy[first, joint] + share * truth.xy[last, joint]
        visibility[free, joint] = min(truth.visibility[first, joint], truth.visibility[last, joint])
        sources[free, joint] = INTERPOLATED
        boxes[free] = grown(boxes[free], xy[free, joint][:, None], visibility[free, joint][:, None] > 0)
    return replace(truth, xy=xy, visibility=visibility, sources=sources, boxes_xyxy_px=boxes)


class Accept(Operation):
    """Propagated and interpolated joints are right: from now on they count as corrected ones.

    Attributes:
        track: Who; None means everybody.
        frames: Where.
    """

    op: Literal["accept"] = "accept"
    track: TrackId | None = None
    frames: FrameRange = ALL

    def reach(self, clip: Clip) -> Ids:
        """Return those of whom joints are not the model's."""
        return _touched(clip, self.track, self.frames)

    def _apply(self, truth: Truth) -> Truth:
        spread = _spread(self, truth, self.track, self.frames)
        given: dict[str, Any] = {"sources": CORRECTED, "scores": 1.0, "probabilities": 1.0, "covariances": 0.0}
        columns: dict[str, Any] = {name: column.copy() for name, column in truth.row_columns().items() if name in given}
        for name, column in columns.items():
            column[spread] = given[name]
        return replace(truth, **columns)

    def __str__(self) -> str:
        return f"accept what was propagated{_whose(self.track)}{text_of(self.frames)}"


class TakeBack(Operation):
    """What was propagated is as the model had it again, and people who were interpolated are not there.

    Attributes:
        track: Who; None means everybody.
        frames: Where.
    """

    op: Literal["take_back"] = "take_back"
    track: TrackId | None = None
    frames: FrameRange = ALL

    def reach(self, clip: Clip) -> Ids:
        """Return those of whom joints are not the model's."""
        return _touched(clip, self.track, self.frames)

    def _apply(self, truth: Truth) -> Truth:
        spread = _spread(self, truth, self.track, self.frames)
        model = truth.xy if truth.model_xy is None else truth.model_xy
        moved = spread & ~np.isnan(model).any(2)
        kept = ~spread.any(1) | moved.any(1) | ((truth.sources != INTERPOLATED) & truth.present).any(1)
        xy = np.where(moved[..., None], model, truth.xy)
        return replace(truth, xy=xy, sources=np.where(moved, MODEL, truth.sources).astype(np.uint8)).rows(kept)

    def __str__(self) -> str:
        return f"take back what was propagated{_whose(self.track)}{text_of(self.frames)}"


def _spread(operation: Operation, truth: Truth, track: int | None, frames: FrameRange) -> Bools:
    """Return `[N, K]` which joints were propagated or interpolated, at least one."""
    within = places(truth, frames)
    rows = (truth.frame >= within.start) & (truth.frame < within.stop)
    if track is not None:
        rows_within(truth, truth.roster, track, frames)  # says what is not there
        rows &= truth.track_ids == track
    spread = rows[:, None] & truth.present & (truth.sources > CORRECTED)
    if not spread.any():
        raise JmposeError(f"{operation}: nothing was", hint="what --propagate and --interpolate have given can be")
    return np.asarray(spread)


def _touched(clip: Clip, track: int | None, frames: FrameRange) -> Ids:
    rows = rows_in(clip, np.unique(clip.roster.track_ids).tolist() if track is None else track, frames)
    return rows[clip.is_touched(rows)]


def _whose(track: int | None) -> str:
    return "" if track is None else f" of {track}"
