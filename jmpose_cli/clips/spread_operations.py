"""Corrections that spread in time: what was corrected in some frames of a track, in the frames around them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from jmpose_cli.clips.operation import (
    ALL,
    Clip,
    Frame,
    FrameRange,
    Operation,
    Share,
    TrackId,
    grown,
    joint_places,
    new_people,
    places,
    row_of,
    rows_in,
    rows_of,
    rows_within,
    text_of,
    with_people,
)
from jmpose_cli.clips.tracks import likely_wrong
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import CORRECTED, INTERPOLATED, MODEL, PROPAGATED, Truth
from jmpose_cli.values import Bools, Ids

Sources = NDArray[np.uint8]
FADE_S = 0.5
REACH_S = 0.5
SURE = 0.8
_TINY_S = 1e-9


class Propagate(Operation):
    """Corrected joints of a track correct the frames around theirs.

    Between two frames in which a joint is corrected, the correction, not the position, is interpolated: where the joint
    is then, is where the model had it, moved by as much. Before the first and after the last one, the correction fades
    out. Where the model had no joint, the position is interpolated. Frames that are marked as reviewed stay as they
    are, and corrections of others fade out before them.

    Attributes:
        track: Who.
        frames: Which frames may change; corrections outside count too.
        joints: Names; none means all.
        fade_s: Seconds until a correction has faded out.
    """

    op: Literal["propagate"] = "propagate"
    track: TrackId
    frames: FrameRange = ALL
    joints: tuple[str, ...] = ()
    fade_s: Annotated[float, Field(ge=0, le=60)] = FADE_S

    def reach(self, clip: Clip) -> Ids:
        """Return the track where joints are not the model's, and as far around as corrections fade out."""
        rows = rows_in(clip, self.track)
        touched = np.flatnonzero(clip.is_touched(rows))
        if not len(touched):
            return rows[:1]
        times = clip.time_s[clip.roster.frame[rows]]
        ends = times[touched[0]] - self.fade_s, times[touched[-1]] + self.fade_s
        first, last = int(np.searchsorted(times, ends[0])), int(np.searchsorted(times, ends[1], side="right"))
        return rows[max(first - 1, 0) : last + 1]

    def _apply(self, truth: Truth) -> Truth:
        rows = rows_of(truth, self.track)
        joints = joint_places(truth, self.joints or truth.keypoints.joints)
        rows_within(truth, truth.roster, self.track, self.frames)  # says what is not there
        within = places(truth, self.frames)
        changing = (truth.frame[rows] >= within.start) & (truth.frame[rows] < within.stop)
        changing &= ~truth.reviewed[truth.frame[rows]]
        model = truth.xy if truth.model_xy is None else truth.model_xy
        xy, sources, boxes = truth.xy.copy(), truth.sources.copy(), truth.boxes_xyxy_px.copy()
        keys = truth.present[rows] & (truth.sources[rows] == CORRECTED)
        if not keys[:, joints].any():
            raise JmposeError(f"{self}: no joint of it is corrected", hint="correct joints first; then they propagate")
        times, passable = truth.time_s[truth.frame[rows]], ~truth.reviewed[truth.frame[rows]]
        for joint in joints:
            corrected = keys[:, joint]
            if corrected.any():
                free = changing & truth.present[rows, joint] & ~corrected
                xy[rows, joint], sources[rows, joint] = _around(
                    times,
                    xy[rows, joint],
                    model[rows, joint],
                    corrected,
                    free,
                    corrected | ~passable,
                    sources[rows, joint],
                    self.fade_s,
                )
        spread = sources[rows] != truth.sources[rows]
        boxes[rows] = grown(boxes[rows], xy[rows], spread & truth.present[rows])
        return replace(truth, xy=xy, sources=sources, boxes_xyxy_px=boxes)

    def __str__(self) -> str:
        return f"propagate {', '.join(self.joints) or 'all joints'} of {self.track}{text_of(self.frames)}"


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
        fade_s: Seconds until a correction has faded out.
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


class Bridge(Operation):
    """Joints that somebody has put in a frame lead over to those around it that are sure.

    On each side, up to the nearest frame in which the joint is corrected, all is reviewed, or the model is sure of it:
    in between, where the model is not, the joint is on the line. Nothing changes on a side where no such frame is in
    reach.

    Attributes:
        track: Who.
        frame: Where.
        joints: Names.
        sure: Probability from which on the model is.
        reach_s: Seconds.
    """

    op: Literal["bridge"] = "bridge"
    track: TrackId
    frame: Frame
    joints: Annotated[tuple[str, ...], Field(min_length=1)]
    sure: Share = SURE
    reach_s: Annotated[float, Field(ge=0, le=3600)] = REACH_S

    def reach(self, clip: Clip) -> Ids:
        """Return the person in the frames within reach."""
        rows = rows_in(clip, self.track)
        numbers, times = clip.index[clip.roster.frame[rows]], clip.time_s[clip.roster.frame[rows]]
        here = times[numbers == self.frame]
        return rows[np.abs(times - here) <= self.reach_s + _TINY_S] if len(here) else rows[:1]

    def _apply(self, truth: Truth) -> Truth:
        here, rows = row_of(truth, self.track, self.frame), rows_of(truth, self.track)
        times = truth.time_s[truth.frame]
        rows = rows[np.abs(times[rows] - times[here]) <= self.reach_s + _TINY_S]
        at, part = int(np.searchsorted(rows, here)), truth.rows(rows)
        is_sure = (part.sources == CORRECTED) | truth.reviewed[part.frame][:, None]
        is_sure |= (part.sources == MODEL) & (likely_wrong(part) <= 1 - self.sure)
        lines: list[tuple[Ids, int, int, int]] = []
        for joint in joint_places(truth, self.joints):
            ends = np.flatnonzero(is_sure[:, joint] & part.present[:, joint])
            nearest = (*ends[ends < at][-1:].tolist(), *ends[ends > at][:1].tolist())
            lines += [(rows[min(at, end) + 1 : max(at, end)], joint, here, int(rows[end])) for end in nearest]
        return _on_lines(truth, lines)

    def __str__(self) -> str:
        return f"bridge {', '.join(self.joints)} of {self.track}@{self.frame}"


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
