"""Corrections of tracks: who is who, and who is not there."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from jmpose_cli.clips.operation import (
    ALL,
    Clip,
    Frame,
    FrameRange,
    Operation,
    TrackId,
    free_id,
    moved,
    places,
    rows_in,
    rows_of,
    text_of,
)
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import Truth
from jmpose_cli.values import Ids


class Merge(Operation):
    """Several tracks are one person: all get the id of the first.

    Attributes:
        tracks: At least two ids; the first stays.
    """

    clash_hint: ClassVar[str] = "in these frames delete one of them first (--delete TRACK@FRAMES), or split a track"

    needs_joints: ClassVar[bool] = False

    op: Literal["merge"] = "merge"
    tracks: Annotated[tuple[TrackId, ...], Field(min_length=2)]

    def reach(self, clip: Clip) -> Ids:
        """Return all of the tracks."""
        return rows_in(clip, self.tracks)

    def _apply(self, truth: Truth) -> Truth:
        kept, *others = self.tracks
        if len(set(self.tracks)) < len(self.tracks):
            raise JmposeError(f"{self}: a track is there twice", hint="name each track once; the first id stays")
        rows_of(truth, kept)
        return moved(truth, np.concatenate([rows_of(truth, other) for other in others]), kept)

    def __str__(self) -> str:
        return f"merge {','.join(map(str, self.tracks))}"


class Split(Operation):
    """From a frame on, a track is somebody else: than before, or than the other tracks that it was joined with.

    Attributes:
        track: Its id, which the part before the frame keeps.
        frame: The first frame of the other person.
        new: The other's id, which no track may have; None takes the next free one.
    """

    needs_joints: ClassVar[bool] = False

    op: Literal["split"] = "split"
    track: TrackId
    frame: Frame
    new: TrackId | None = None

    def reach(self, clip: Clip) -> Ids:
        """Return all of the track."""
        return rows_in(clip, self.track)

    def _apply(self, truth: Truth) -> Truth:
        later = rows_of(truth, self.track, (self.frame, None))
        if len(later) == len(rows_of(truth, self.track)) and not _is_joined(truth, later[0]):
            first = int(truth.index[truth.frame[later[0]]])
            hint = f"split it after frame {first}, where it begins, or give it another id with --rename"
            raise JmposeError(f"{self}: all of track {self.track} is from frame {self.frame} on", hint=hint)
        new = free_id(truth) if self.new is None else self.new
        _check_is_new(truth, new, self)
        return moved(truth, later, new, identity=new)

    def __str__(self) -> str:
        return f"split {self.track}@{self.frame}" + ("" if self.new is None else f"={self.new}")


class Swap(Operation):
    """Two tracks exchange their ids; where only one of them is there, it gets the other's.

    Attributes:
        tracks: The two ids.
        frames: Where.
    """

    needs_joints: ClassVar[bool] = False

    op: Literal["swap"] = "swap"
    tracks: tuple[TrackId, TrackId]
    frames: FrameRange = ALL

    def reach(self, clip: Clip) -> Ids:
        """Return all of both tracks."""
        return rows_in(clip, self.tracks)

    def _apply(self, truth: Truth) -> Truth:
        one, other = self.tracks
        if one == other:
            raise JmposeError(f"{self}: the same track twice", hint="name two different ones")
        within = places(truth, self.frames)
        here = (truth.frame >= within.start) & (truth.frame < within.stop)
        ones, others = (np.flatnonzero((truth.track_ids == track) & here) for track in self.tracks)
        if not len(ones) and not len(others):
            known = [track for track in self.tracks if (truth.roster.track_ids == track).any()]
            rows_of(truth, (known or self.tracks)[0], self.frames)  # says what is not there
        first, second = moved(truth, ones, other), moved(truth, others, one)
        ids, who = first.track_ids.copy(), first.identity.copy()
        ids[others], who[others] = second.track_ids[others], second.identity[others]
        return replace(truth, track_ids=ids, identity=who)

    def __str__(self) -> str:
        return f"swap {self.tracks[0]},{self.tracks[1]}{text_of(self.frames)}"


class Rename(Operation):
    """A track gets an id that no other has.

    Attributes:
        track: Its id.
        new: The new one.
    """

    needs_joints: ClassVar[bool] = False

    op: Literal["rename"] = "rename"
    track: TrackId
    new: TrackId

    def reach(self, clip: Clip) -> Ids:
        """Return all of the track."""
        return rows_in(clip, self.track)

    def _apply(self, truth: Truth) -> Truth:
        rows = rows_of(truth, self.track)
        _check_is_new(truth, self.new, self)
        return moved(truth, rows, self.new)

    def __str__(self) -> str:
        return f"rename {self.track}={self.new}"


class Delete(Operation):
    """A track is nobody, in all frames or in some.

    Attributes:
        track: Its id.
        frames: Where.
    """

    needs_joints: ClassVar[bool] = False

    op: Literal["delete"] = "delete"
    track: TrackId
    frames: FrameRange = ALL

    def reach(self, clip: Clip) -> Ids:
        """Return whom it deletes."""
        return rows_in(clip, self.track, self.frames)

    def _apply(self, truth: Truth) -> Truth:
        kept = np.ones(len(truth), bool)
        kept[rows_of(truth, self.track, self.frames)] = False
        return truth.rows(kept)

    def __str__(self) -> str:
        return f"delete {self.track}{text_of(self.frames)}"


def _is_joined(truth: Truth, row: int) -> bool:
    """Whether another track was taken to be the same person as a row."""
    everybody = truth.roster
    same = everybody.identity == truth.identity[row]
    return bool((same & (everybody.track_ids != truth.track_ids[row])).any())


def _check_is_new(truth: Truth, new: int, operation: Operation) -> None:
    if (truth.roster.track_ids == new).any():
        hint = "choose a free id, or join two tracks with --merge, or exchange their ids with --swap"
        raise JmposeError(f"{operation}: there is a track {new} already", hint=hint)
