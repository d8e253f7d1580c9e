"""Corrections of people in frames: where joints are, who was missed, and what has been looked at."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jmpose_cli.clips.check_joints import exchange_around
from jmpose_cli.clips.operation import (
    ALL,
    Box,
    Clip,
    Frame,
    FrameRange,
    Operation,
    Point,
    TrackId,
    Visibility,
    check_box,
    free_id,
    joint_places,
    new_people,
    place,
    places,
    row_of,
    rows_in,
    rows_of,
    rows_within,
    text_of,
    with_joints,
    with_people,
)
from jmpose_cli.clips.tracks import tracks_of
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import CORRECTED, JOINT_COLUMNS, PROPAGATED, Truth
from jmpose_cli.values import Ids

EXCHANGE_S = 0.4
_TINY_S = 1e-9


class SwapSides(Operation):
    """Left and right of a person were taken for each other.

    Around a frame, the exchange goes on before and after it for as long as the motion clearly says so, at most
    `EXCHANGE_S` each way, and ends before joints that are corrected and frames that are reviewed or lack the person.
    Joints of the other frames are propagated then, until they are accepted; `take_back` leaves them exchanged.

    Attributes:
        track: Who.
        frames: Where.
        joints: Names of those that are exchanged, one of a pair is enough; none means all.
        around: A frame; then only that one and those around it in which the exchange goes on.
    """

    op: Literal["swap_sides"] = "swap_sides"
    track: TrackId
    frames: FrameRange = ALL
    joints: tuple[str, ...] = ()
    around: Frame | None = None

    def reach(self, clip: Clip) -> Ids:
        """Return whom it changes, and around a frame as far as an exchange may go on."""
        rows = rows_in(clip, self.track, self.frames)
        return rows if self.around is None else self._near(rows, clip.roster.frame[rows], clip.index, clip.time_s)

    def _near(self, rows: Ids, frame: Ids, index: Ids, time_s: Doubles) -> Ids:
        """Return those of some rows, of people in `frame` (places), that are near enough to `around`."""
        here = time_s[index == self.around]
        away = np.abs(time_s[frame] - (here if len(here) else np.inf))
        return rows[away <= EXCHANGE_S + _TINY_S]

    def _apply(self, truth: Truth) -> Truth:
        flip, everyone = np.array(truth.keypoints.flip_index), np.arange(len(truth.keypoints))
        named = np.isin(everyone, joint_places(truth, self.joints)) if self.joints else np.ones(len(flip), bool)
        flip = np.where(named | named[flip], flip, everyone)
        sided = flip != everyone
        rows = rows_of(truth, self.track, self.frames)
        kinds = np.full(len(rows), CORRECTED)
        if self.around is not None:
            (here,) = rows_within(truth, truth, self.track, (self.around, self.around + 1))
            rows = self._near(rows, truth.frame[rows], truth.index, truth.time_s)
            if here not in rows:
                raise JmposeError(
                    f"{self}: the frame is not one of them", hint="leave the frames out, or the one around"
                )
            pairs = np.stack([everyone, flip], 1)[everyone < flip]
            rows = rows[exchange_around(tracks_of(truth.rows(rows)), int(np.searchsorted(rows, here)), pairs)]
            kinds = np.where(rows == here, CORRECTED, PROPAGATED)
        columns: dict[str, Any] = {}
        for name in JOINT_COLUMNS & truth.row_columns().keys():
            columns[name] = getattr(truth, name).copy()
            columns[name][rows] = columns[name][rows][:, flip]
        there = truth.present[rows] | truth.present[rows][:, flip]
        columns["sources"][rows] = np.where(there & sided, kinds[:, None], columns["sources"][rows])
        return replace(truth, **columns)

    def __str__(self) -> str:
        joints = f" ({', '.join(self.joints)})" if self.joints else ""
        around = "" if self.around is None else f" around frame {self.around}"
        return f"swap sides of {self.track}{text_of(self.frames)}{around}{joints}"


class SetJoints(Operation):
    """Joints of a person are where somebody has put them.

    Attributes:
        track: Who.
        frame: Where.
        joints: By name x, y and visibility; the others stay.
    """

    op: Literal["set_joints"] = "set_joints"
    track: TrackId
    frame: Frame
    joints: dict[str, Point]

    def reach(self, clip: Clip) -> Ids:
        """Return whom it changes."""
        return rows_in(clip, self.track, (self.frame, self.frame + 1))

    def _apply(self, truth: Truth) -> Truth:
        joints, xy, visibility = _points(truth, self.joints)
        return with_joints(truth, np.array([row_of(truth, self.track, self.frame)]), joints, xy, visibility)

    def __str__(self) -> str:
        return f"set {len(self.joints)} joints of {self.track}@{self.frame}"


class SetVisibility(Operation):
    """Joints are hidden, visible, or not there; where they are stays.

    Attributes:
        track: Who.
        frames: Where.
        joints: Names; none means all.
        visibility: 0 not there, 1 hidden, 2 visible.
    """

    op: Literal["set_visibility"] = "set_visibility"
    track: TrackId
    frames: FrameRange = ALL
    joints: tuple[str, ...] = ()
    visibility: Visibility

    def reach(self, clip: Clip) -> Ids:
        """Return whom it changes."""
        return rows_in(clip, self.track, self.frames)

    def _apply(self, truth: Truth) -> Truth:
        rows = rows_of(truth, self.track, self.frames)
        at = np.ix_(rows, np.array(joint_places(truth, self.joints or truth.keypoints.joints)))
        there = truth.present[at]
        if not there.any():
            hint = "give them a place (set_joints) to make them visible"
            raise JmposeError(f"{self}: none of the joints is there", hint=hint)
        visibility, sources = truth.visibility.copy(), truth.sources.copy()
        visibility[at] = np.where(there, self.visibility, 0)
        sources[at] = np.where(there, CORRECTED, sources[at])
        return replace(truth, visibility=visibility, sources=sources)

    def __str__(self) -> str:
        joints = ", ".join(self.joints) or "all joints"
        return f"{('remove', 'mark as hidden', 'mark as visible')[self.visibility]} {joints} of {self.track}" + text_of(
            self.frames
        )


class AddPerson(Operation):
    """Somebody was missed in a frame.

    Attributes:
        frame: Where.
        track: Who; None takes the next free id.
        box: Corners left, top, right, bottom in image pixels; None takes the box of the joints.
        joints: By name x, y and visibility; the others are not there.
    """

    op: Literal["add_person"] = "add_person"
    frame: Frame
    track: TrackId | None = None
    box: Box | None = None
    joints: dict[str, Point] = {}  # noqa: RUF012  # frozen

    def reach(self, clip: Clip) -> Ids:
        """Return who may be there already."""
        return rows_in(clip, self.track, (self.frame, self.frame + 1))

    def _apply(self, truth: Truth) -> Truth:
        where = place(truth, self.frame)
        if self.box is not None:
            check_box(self, self.box)
        joints, xy, visibility = _points(truth, self.joints)
        if self.box is None and (visibility > 0).sum() < 2:
            raise JmposeError(f"{self}: without a box and with fewer than two joints", hint="give a box")
        box = np.array([self.box or (np.inf, np.inf, -np.inf, -np.inf)], np.float64)
        track = np.array([free_id(truth) if self.track is None else self.track])
        return with_people(truth, new_people(truth, np.array([where]), track, box, joints, xy, visibility))

    def __str__(self) -> str:
        return f"add {'a person' if self.track is None else self.track}@{self.frame}"


class CopyPose(Operation):
    """A person's pose is that of another frame; who is not in the frame is added.

    Attributes:
        track: Who.
        frame: Where.
        source: The frame with the pose; None takes the last one before that has this person.
    """

    op: Literal["copy_pose"] = "copy_pose"
    track: TrackId
    frame: Frame
    source: Frame | None = None

    def reach(self, clip: Clip) -> Ids:
        """Return who is there already, who is copied, and where the track begins."""
        mine = rows_in(clip, self.track)
        number = clip.index[clip.roster.frame[mine]]
        copied = mine[number < self.frame][-1:] if self.source is None else mine[number == self.source]
        return np.unique(np.concatenate([mine[:1], copied, mine[number == self.frame]]))

    def _apply(self, truth: Truth) -> Truth:
        where = place(truth, self.frame)
        if self.source is not None:
            row = row_of(truth, self.track, self.source)
        else:
            mine = rows_of(truth, self.track)
            before = mine[truth.frame[mine] < where]
            if not len(before):
                first = int(truth.index[truth.frame[mine[0]]])
                raise JmposeError(f"{self}: track {self.track} is in no frame before", hint=f"it begins at {first}")
            row = int(before[-1])
        joints = range(len(truth.keypoints))
        xy, visibility, box = truth.xy[[row]], truth.visibility[[row]], truth.boxes_xyxy_px[[row]]
        here = truth.of_frame(where)
        target = here.start + np.flatnonzero(truth.track_ids[here] == self.track)
        if len(target):
            return with_joints(truth, target, joints, xy, visibility)
        track = np.array([self.track])
        return with_people(truth, new_people(truth, np.array([where]), track, box, joints, xy, visibility))

    def __str__(self) -> str:
        return f"copy the pose of {self.track} to frame {self.frame}"


class Review(Operation):
    """Frames have been looked at, all of them; or must be again.

    Attributes:
        frames: Which.
        reviewed: They have.
    """

    op: Literal["review"] = "review"
    frames: FrameRange = ALL
    reviewed: bool = True

    def reach(self, clip: Clip) -> Ids:
        """Return nobody."""
        return np.zeros(0, np.int64)

    def _apply(self, truth: Truth) -> Truth:
        reviewed = truth.reviewed.copy()
        reviewed[places(truth, self.frames)] = self.reviewed
        return replace(truth, reviewed=reviewed)

    def __str__(self) -> str:
        frames = text_of(self.frames).lstrip("@")
        return f"mark {f'frames {frames}' if frames else 'all frames'} as {'' if self.reviewed else 'not '}reviewed"


def _points(truth: Truth, points: dict[str, Point]) -> tuple[list[int], Doubles, NDArray[np.uint8]]:
    """Return places `[J]`, coordinates `[1, J, 2]` and visibility `[1, J]` of joints."""
    values = np.array(list(points.values()) or np.zeros((0, 3)), np.float64)
    return joint_places(truth, points), values[None, :, :2], values[None, :, 2].astype(np.uint8)
