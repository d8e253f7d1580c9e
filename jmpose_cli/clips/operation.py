"""What all corrections of a clip share: what an operation is, and how it finds frames, people and joints."""

import difflib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import COORDINATE_DECIMALS, SCORE_DECIMALS, boxes_xywh, rounded
from jmpose_cli.formats.coco import COVARIANCE_DECIMALS
from jmpose_cli.formats.numbers import LARGEST, LARGEST_BOX_PX, LARGEST_FRAME, LARGEST_PX
from jmpose_cli.formats.records import Doubles, xywh_to_xyxy
from jmpose_cli.formats.truth import CORRECTED, MOST_FAULTS, ROW_COLUMNS, Roster, Truth
from jmpose_cli.values import Bools, Ids

LARGEST_ID = 2**31 - 1
ROUNDING_PX = 0.011
"""How far a joint may be off between two programs that both write two decimals."""
_MOST_LISTED = 20

TrackId = Annotated[int, Field(ge=0, le=LARGEST_ID)]
Frame = Annotated[int, Field(ge=0, le=LARGEST_FRAME)]
Pixel = Annotated[float, Field(ge=-LARGEST_PX, le=LARGEST_PX)]
BoxPixel = Annotated[float, Field(ge=-LARGEST_BOX_PX, le=LARGEST_BOX_PX)]
Box = tuple[BoxPixel, BoxPixel, BoxPixel, BoxPixel]
"""Corners left, top, right, bottom in image pixels."""
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Visibility = Literal[0, 1, 2]
FrameRange = tuple[Frame | None, Frame | None]
"""Frames A to B-1; None where a side is open."""
Point = tuple[Pixel, Pixel, Visibility]
"""x, y in image pixels, and 0 not there, 1 hidden, 2 visible."""
ALL: FrameRange = (None, None)


class Operation(BaseModel):
    """One correction of a clip; its fields are its JSON, with the name of its kind as `op`.

    Values are checked strictly when one is made, whoever wrote them; what a truth lacks is found by `apply`.

    An operation gives the same of a part of a clip as of the whole, as long as all people are in it whom `reach` names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    clash_hint: ClassVar[str] = "people of one frame need different ids"
    needs_joints: ClassVar[bool] = True
    """It reads or changes joints; parts for other operations have none."""

    def apply(self, truth: Truth) -> Truth:
        """Return the corrected truth.

        Raises:
            JmposeError: A frame, a track or a joint is not there, or two people of a frame would have one id.
        """
        changed = self._apply(truth)
        clashes = _clashes(changed)
        if clashes:
            raise JmposeError(f"{self}: {clashes}", hint=self.clash_hint)
        return settled(changed)

    @abstractmethod
    def reach(self, clip: "Clip") -> Ids:
        """Return the rows, rising, that it reads or changes, beyond what `Truth.roster` tells; never raises."""

    @abstractmethod
    def _apply(self, truth: Truth) -> Truth:
        """Return the corrected truth, not yet checked, rounded and sorted."""

    @abstractmethod
    def __str__(self) -> str:
        """Say what it does in a few words."""


class Clip(Protocol):
    """What `Operation.reach` sees of a clip; see `Truth`."""

    index: Ids
    time_s: Doubles

    @property
    def roster(self) -> Roster:
        """Everybody."""

    def is_touched(self, rows: Ids) -> Bools:
        """Return `[R]` whether joints of some rows are not the model's."""


def _clashes(truth: Truth) -> str:
    """Say in which frames people have one id; "" where nowhere."""
    size = max(len(truth.index), 1)
    keys, counts = np.unique(truth.track_ids * size + truth.frame, return_counts=True)
    tracks, frames = np.divmod(keys[counts > 1], size)
    return "; ".join(
        f"two people of track {track} in frames {listed(truth.index[frames[tracks == track]].tolist())}"
        for track in np.unique(tracks)[:MOST_FAULTS].tolist()
    )


def settled(truth: Truth) -> Truth:
    """Return what reading the written truth would give: in the order of frames, rounded, clear where joints are not."""
    truth = truth.sorted()
    if not len(truth):  # a file without people does not say which columns they would have
        return replace(truth, raw_xy=None, covariances=None, probabilities=None)
    there = truth.present

    def number(column: Doubles | None, decimals: int) -> Any:
        return None if column is None else rounded(column.astype(np.float32), decimals)

    def point(column: Doubles | None) -> Any:
        return None if column is None else np.where(there[..., None], number(column, COORDINATE_DECIMALS), 0.0)

    return replace(
        truth,
        boxes_xyxy_px=xywh_to_xyxy(boxes_xywh(truth.boxes_xyxy_px.astype(np.float32))),
        box_scores=number(truth.box_scores, SCORE_DECIMALS),
        person_scores=number(truth.person_scores, SCORE_DECIMALS),
        xy=point(truth.xy),
        raw_xy=point(truth.raw_xy),
        scores=np.where(there, number(truth.scores, SCORE_DECIMALS), 0.0),
        covariances=number(truth.covariances, COVARIANCE_DECIMALS),
        probabilities=number(truth.probabilities, SCORE_DECIMALS),
    )


def text_of(frames: FrameRange) -> str:
    """Write frames as the command line does; "" for all of them."""
    begin, end = frames
    if begin is None and end is None:
        return ""
    if begin is not None and end == begin + 1:
        return f"@{begin}"
    return f"@{'' if begin is None else begin}:{'' if end is None else end}"


def places(truth: Truth, frames: FrameRange) -> slice:
    """Return which places of `truth.index` a range means.

    Raises:
        JmposeError: A frame is not there, or the range is empty.
    """
    begin, end = frames
    if not len(truth.index):
        raise JmposeError(f"{truth.path}: has no frames")
    first, last = int(truth.index[0]), int(truth.index[-1])
    given = text_of(frames).lstrip("@")
    there = f"the clip has frames {first} to {last}"
    if begin is not None and end is not None and begin >= end:
        raise JmposeError(f"frames {given} are none at all", hint=f"A:B means frames A to B-1; {there}")
    if (begin is not None and not first <= begin <= last) or (end is not None and not first < end <= last + 1):
        what = f"there is no frame {given}" if given.isdigit() else f"frames {given} are not all there"
        raise JmposeError(what, hint=there)
    low = 0 if begin is None else int(np.searchsorted(truth.index, begin))
    high = len(truth.index) if end is None else int(np.searchsorted(truth.index, end))
    if low >= high:
        raise JmposeError(f"there is no frame {given}", hint=f"{there}, but not all of them")
    return slice(low, high)


def place(truth: Truth, frame: int) -> int:
    """Return the place of one frame.

    Raises:
        JmposeError: It is not there.
    """
    return int(places(truth, (frame, frame + 1)).start)


def rows_of(truth: Truth, track: int, frames: FrameRange = ALL) -> Ids:
    """Return the rows of a track in some frames, at least one.

    Raises:
        JmposeError: There are none; the track or a frame may not exist.
    """
    return rows_within(truth, truth, track, frames)


def rows_within(truth: Truth, of: Truth | Roster, track: int, frames: FrameRange) -> Ids:
    """Return the rows of a track among some people of a clip, at least one; see `rows_of`."""
    within = places(truth, frames)
    mine = np.flatnonzero(of.track_ids == track)
    rows: Ids = mine[(of.frame[mine] >= within.start) & (of.frame[mine] < within.stop)]
    if len(rows):
        return rows
    everybody = truth.roster
    there = everybody.frame[everybody.track_ids == track]
    if not len(there):
        raise JmposeError(f"there is no track {track}", hint=_tracks_there(everybody, track))
    first, last = truth.index[there[[0, -1]]].tolist()
    given = text_of(frames).lstrip("@")
    raise JmposeError(f"track {track} is not in frames {given}", hint=f"it is in frames {first} to {last}")


def rows_in(clip: Clip, tracks: int | Sequence[int] | None, frames: FrameRange = ALL) -> Ids:
    """Return the rows, rising, of one track or several in some frames of a clip; none where there are none."""
    people = clip.roster
    wanted = np.zeros(len(people.track_ids), bool)
    for track in {tracks} if isinstance(tracks, int | None) else {*tracks}:
        wanted |= people.track_ids == track
    mine = np.flatnonzero(wanted)
    begin, end = frames
    if frames == ALL:
        return mine
    number = clip.index[people.frame[mine]]
    return mine[(number >= (0 if begin is None else begin)) & (number < (LARGEST_FRAME + 1 if end is None else end))]


def row_of(truth: Truth, track: int, frame: int) -> int:
    """Return the row of a person in a frame.

    Raises:
        JmposeError: There is no such person.
    """
    return int(rows_of(truth, track, (frame, frame + 1))[0])


def _tracks_there(people: Roster, wanted: int) -> str:
    ids = np.unique(people.track_ids)
    if not len(ids):
        return "the clip has no people"
    if len(ids) <= _MOST_LISTED:
        return f"the clip has {', '.join(map(str, ids.tolist()))}"
    nearest = np.sort(ids[np.argsort(np.abs(ids - wanted), kind="stable")[:3]])
    return f"nearest of {len(ids)} tracks: {', '.join(map(str, nearest.tolist()))}"


def joint_places(truth: Truth, names: Iterable[str]) -> list[int]:
    """Return the places of joints.

    Raises:
        JmposeError: A name is not known.
    """
    joints = truth.keypoints.joints
    found = []
    for name in names:
        if name not in joints:
            near = difflib.get_close_matches(name, joints, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the clip has {', '.join(joints)}"
            raise JmposeError(f"there is no joint {name!r:.80}", hint=hint)
        found.append(joints.index(name))
    return found


def check_box(operation: Operation, box: Box) -> None:
    """Make sure that a box holds something.

    Raises:
        JmposeError: It does not.
    """
    if not (box[0] < box[2] and box[1] < box[3]):
        hint = "left, top, right, bottom; right and bottom are larger"
        raise JmposeError(f"{operation}: the box is empty", hint=hint)


def free_id(truth: Truth) -> int:
    """Return an id above all others."""
    return int(truth.roster.track_ids.max(initial=0)) + 1


def moved(truth: Truth, rows: Ids, track: int, *, identity: int | None = None) -> Truth:
    """Return a truth in which people are of another track.

    Args:
        truth: The people.
        rows: Which of them.
        track: Their new id.
        identity: Who they are; None takes who the track is that they come to, and of a new one its number, unless they
            had been given to somebody else.
    """
    ids, who = truth.track_ids.copy(), truth.identity.copy()
    others = np.setdiff1d(np.flatnonzero(ids == track), rows)
    if identity is not None:
        who[rows] = identity
    elif len(others):
        who[rows] = who[others[0]]
    else:
        who[rows] = np.where(who[rows] == ids[rows], track, who[rows])
    ids[rows] = track
    return replace(truth, track_ids=ids, identity=who)


def with_joints(
    truth: Truth,
    rows: Ids,
    joints: Sequence[int],
    xy: Doubles,
    visibility: NDArray[Any],
    *,
    said: Bools | None = None,
) -> Truth:
    """Return a truth in which a person has said where joints are; boxes grow to hold them.

    Args:
        truth: The people.
        rows: `[R]` whose joints.
        joints: `[J]` places of the joints.
        xy: `[R, J, 2]` image pixels.
        visibility: `[R, J]` 0 not there, 1 hidden, 2 visible.
        said: `[R, J]` of which of them it was said; None means all.
    """
    at = np.ix_(rows, np.asarray(joints, np.int64))
    said = np.ones(visibility.shape, bool) if said is None else said
    there = np.asarray(visibility > 0)
    columns: dict[str, Any] = {name: column.copy() for name, column in truth.row_columns().items()}

    def put(name: str, values: Any, where: Bools) -> None:
        if name in columns:
            column = columns[name]
            column[at] = np.where(where.reshape(*where.shape, *([1] * (column.ndim - 2))), values, column[at])

    put("raw_xy", xy, said & ~truth.present[at])
    put("xy", np.where(there[..., None], xy, 0.0), said)
    for name, values in {
        **{"visibility": visibility, "scores": there, "sources": CORRECTED},
        **{"covariances": 0.0, "probabilities": there},
    }.items():
        put(name, values, said)
    columns["boxes_xyxy_px"][rows] = grown(columns["boxes_xyxy_px"][rows], xy, there & said)
    return replace(truth, **columns)


def grown(boxes: Doubles, xy: Doubles, there: NDArray[np.bool_]) -> Doubles:
    """Return boxes `[R, 4]` that also hold those of the joints `[R, J, 2]` that are there."""
    low = np.where(there[..., None], xy, np.inf).min(1, initial=np.inf)
    high = np.where(there[..., None], xy, -np.inf).max(1, initial=-np.inf)
    return np.concatenate([np.minimum(boxes[:, :2], low), np.maximum(boxes[:, 2:], high)], 1)


def with_people(truth: Truth, added: dict[str, NDArray[Any]]) -> Truth:
    """Return a truth with more people, at the end of their frames.

    Args:
        truth: The people.
        added: Columns of R rows by name, as from `new_people`; those that are left out are zero.
    """
    count = len(added["frame"])
    columns: dict[str, Any] = truth.row_columns()
    for name, column in columns.items():
        more = added.get(name, np.zeros((count, *column.shape[1:])))
        columns[name] = np.concatenate([column, more.astype(column.dtype)])
    return replace(truth, **columns).sorted()


def new_people(
    truth: Truth,
    frame: Ids,
    tracks: Ids,
    boxes: Doubles,
    joints: Sequence[int],
    xy: Doubles,
    visibility: NDArray[Any],
) -> dict[str, NDArray[Any]]:
    """Return the columns of people whom somebody has added.

    Args:
        truth: Where they will stand.
        frame: `[R]` places of their frames.
        tracks: `[R]` their ids.
        boxes: `[R, 4]` corners, which grow to hold the joints.
        joints: `[J]` places of the joints that are given; the others are not there.
        xy: `[R, J, 2]` image pixels.
        visibility: `[R, J]` 0 not there, 1 hidden, 2 visible.
    """
    count, size = len(frame), len(truth.keypoints)
    points, seen = np.zeros((count, size, 2)), np.zeros((count, size), np.uint8)
    points[:, joints], seen[:, joints] = xy, visibility
    everybody = truth.roster
    known = {track: everybody.identity[everybody.track_ids == track][:1].tolist() for track in set(tracks.tolist())}
    return {
        "frame": frame,
        "track_ids": tracks,
        "identity": np.array([(known[track] or [track])[0] for track in tracks.tolist()], np.int64),
        "boxes_xyxy_px": grown(boxes, points, seen > 0),
        "box_scores": np.ones(count),
        "observed": np.ones(count, bool),
        "person_scores": np.ones(count),
        "xy": points,
        "raw_xy": points,
        "visibility": seen,
        "scores": np.asarray(seen > 0, np.float64),
        "probabilities": np.asarray(seen > 0, np.float64),
        "sources": np.full((count, size), CORRECTED, np.uint8),
        "model_xy": np.full((count, size, 2), np.nan),
    }


def changed_frames(old: Truth, new: Truth) -> dict[int, int]:
    """Tell in which frames two truths of a clip differ.

    Returns:
        By place of the frame, how many people differ; 0 where only the mark of review does.
    """
    before, after = _fingerprints(old, new), _fingerprints(new, old)
    found = {}
    for where, marks in enumerate(zip(old.reviewed.tolist(), new.reviewed.tolist(), strict=True)):
        was, now = before[where], after[where]
        if was != now:
            found[where] = max(len(set(was) - set(now)), len(set(now) - set(was)), 1)
        elif marks[0] != marks[1]:
            found[where] = 0
    return found


def _fingerprints(truth: Truth, other: Truth) -> list[list[bytes]]:
    """Return for each frame all that is said of each of its people."""
    count, parts = len(truth), []
    for name in ROW_COLUMNS:
        column, model = getattr(truth, name), getattr(other, name)
        if name in ("frame", "model_xy") or (column is None and model is None):
            continue
        if column is None:
            column = np.zeros((count, *model.shape[1:]), model.dtype)
        parts.append(np.ascontiguousarray(column).view(np.uint8).reshape(count, -1) if count else column[:0])
    found: list[list[bytes]] = [[] for _ in truth.index]
    if count:
        for where, row in zip(truth.frame.tolist(), np.concatenate(parts, 1), strict=True):
            found[where].append(row.tobytes())
    return found


def listed(frames: Sequence[int]) -> str:
    """Name some frames, at most `MOST_FAULTS`."""
    more = f" and {len(frames) - MOST_FAULTS} more" if len(frames) > MOST_FAULTS else ""
    return f"{', '.join(map(str, frames[:MOST_FAULTS]))}{more}"
