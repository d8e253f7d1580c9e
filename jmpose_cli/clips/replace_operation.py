"""Corrections that come as rows: what another program has made of the poses of some frames."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from jmpose_cli.clips.operation import (
    Box,
    Clip,
    Frame,
    Number,
    Operation,
    Pixel,
    Share,
    TrackId,
    Visibility,
    changed_frames,
    place,
)
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.coco import SOURCES
from jmpose_cli.formats.truth import Truth
from jmpose_cli.values import Ids

Source = Annotated[int, Field(ge=0, lt=len(SOURCES))]
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Person(BaseModel):
    """One row of a `Truth` with K joints; lists that the clip does not have are None."""

    model_config = _STRICT

    track: TrackId
    identity: TrackId
    box: Box
    box_score: Number | None = None
    observed: bool
    score: Number
    occluded: bool
    xy: tuple[Pixel, ...]
    visibility: tuple[Visibility, ...]
    scores: tuple[Number, ...]
    sources: tuple[Source, ...]
    raw_xy: tuple[Pixel, ...] | None = None
    covariances: tuple[Number, ...] | None = None
    probabilities: tuple[Share, ...] | None = None


class FramePeople(BaseModel):
    """All that is said of one frame."""

    model_config = _STRICT

    frame: Frame
    reviewed: bool
    people: tuple[Person, ...]


class Replace(Operation):
    """The people of some frames are these and no others.

    Attributes:
        frames: Each frame at most once.
        origin: Where they come from, for people.
    """

    op: Literal["replace"] = "replace"
    frames: tuple[FramePeople, ...]
    origin: str = ""

    @classmethod
    def between(cls, old: Truth, new: Truth, *, origin: str) -> Self:
        """Make the operation that turns one truth of a clip into another."""
        found = changed_frames(old, new)
        return cls(
            origin=origin,
            frames=tuple(
                FramePeople(
                    frame=int(new.index[where]),
                    reviewed=bool(new.reviewed[where]),
                    people=tuple(_person(new, row) for row in range(*new.of_frame(where).indices(len(new)))),
                )
                for where in found
            ),
        )

    def reach(self, clip: Clip) -> Ids:
        """Return the rows of the frames."""
        within = np.isin(clip.index, [one.frame for one in self.frames])
        return np.flatnonzero(within[clip.roster.frame])

    def _apply(self, truth: Truth) -> Truth:
        at = [place(truth, one.frame) for one in self.frames]
        if len(set(at)) < len(at):
            raise JmposeError(f"{self}: a frame is there twice", hint="name each frame once")
        reviewed = truth.reviewed.copy()
        reviewed[at] = [one.reviewed for one in self.frames]
        kept = truth.rows(~np.isin(truth.frame, at))
        people = [person for one in self.frames for person in one.people]
        frame = np.repeat(at, [len(one.people) for one in self.frames]).astype(np.int64)
        added = self._columns(truth, people, frame)
        columns: dict[str, Any] = kept.row_columns()
        columns = {name: np.concatenate([column, added[name]]) for name, column in columns.items()}
        return replace(truth, reviewed=reviewed, **columns)

    def _columns(self, truth: Truth, people: Sequence[Person], frame: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        count, joints = len(people), len(truth.keypoints)

        def lists(name: str, size: int, kind: Any = np.float64) -> NDArray[Any]:
            values = [getattr(person, name) or (0.0,) * size for person in people]
            for person, one in zip(people, values, strict=True):
                if len(one) != size:
                    problem = f"{name} of track {person.track} has {len(one)} values"
                    raise JmposeError(f"{self}: {problem}", hint=f"the clip has {joints} joints: {size} values")
            return np.array(values, kind).reshape(count, size)

        def numbers(name: str, kind: Any = np.float64) -> NDArray[Any]:
            return np.array([getattr(person, name) for person in people], kind)

        boxes = lists("box", 4)
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise JmposeError(f"{self}: a box ends before it begins", hint="left, top, right, bottom")
        columns = {
            "frame": frame,
            "track_ids": numbers("track", np.int64),
            "identity": numbers("identity", np.int64),
            "boxes_xyxy_px": boxes,
            "box_scores": numbers("box_score"),  # None becomes NaN
            "observed": numbers("observed", bool),
            "person_scores": numbers("score"),
            "occluded": numbers("occluded", bool),
            "xy": lists("xy", 2 * joints).reshape(count, joints, 2),
            "visibility": lists("visibility", joints, np.uint8),
            "scores": lists("scores", joints),
            "sources": lists("sources", joints, np.uint8),
            "raw_xy": lists("raw_xy", 2 * joints).reshape(count, joints, 2),
            "covariances": lists("covariances", 3 * joints).reshape(count, joints, 3),
            "probabilities": lists("probabilities", joints),
        }
        if truth.origin is not None:
            columns["origin"] = np.zeros(count, np.int64)
        if truth.model_xy is not None:
            columns["model_xy"] = _model_of(truth, frame, columns["track_ids"])
        return columns

    def __str__(self) -> str:
        origin = f" by those of {self.origin}" if self.origin else ""
        return f"replace the people of {len(self.frames)} frames{origin}"


def _person(truth: Truth, row: int) -> Person:
    def values(name: str) -> Any:
        column = getattr(truth, name)
        return None if column is None else tuple(column[row].ravel().tolist())

    box_score = float(truth.box_scores[row])
    return Person(
        track=int(truth.track_ids[row]),
        identity=int(truth.identity[row]),
        box=values("boxes_xyxy_px"),
        box_score=None if np.isnan(box_score) else box_score,
        observed=bool(truth.observed[row]),
        score=float(truth.person_scores[row]),
        occluded=bool(truth.occluded[row]),
        **{
            name: values(name)
            for name in ("xy", "visibility", "scores", "sources", "raw_xy", "covariances", "probabilities")
        },
    )


def _model_of(truth: Truth, frame: NDArray[np.int64], tracks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where the model had the joints of the same tracks in the same frames."""
    assert truth.model_xy is not None
    row_of = {key: row for row, key in enumerate(zip(truth.frame.tolist(), truth.track_ids.tolist(), strict=True))}
    found = np.full((len(frame), *truth.model_xy.shape[1:]), np.nan)
    for new, key in enumerate(zip(frame.tolist(), tracks.tolist(), strict=True)):
        if key in row_of:
            found[new] = truth.model_xy[row_of[key]]
    return found
