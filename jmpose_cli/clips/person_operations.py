"""Corrections of whole people in frames: their boxes, who is hidden, and poses that a model was asked for again."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from jmpose_cli.clips.operation import (
    ALL,
    Box,
    Clip,
    Frame,
    FrameRange,
    Number,
    Operation,
    Pixel,
    Share,
    TrackId,
    check_box,
    free_id,
    joint_places,
    new_people,
    place,
    row_of,
    rows_in,
    rows_of,
    text_of,
    with_people,
)
from jmpose_cli.formats.coco import VISIBLE_SCORE
from jmpose_cli.formats.truth import CORRECTED, MODEL, Truth
from jmpose_cli.values import Ids


class SetOccluded(Operation):
    """A person as a whole is hidden, or not; where the joints are stays.

    Attributes:
        track: Who.
        frames: Where.
        occluded: The person is.
    """

    needs_joints: ClassVar[bool] = False

    op: Literal["set_occluded"] = "set_occluded"
    track: TrackId
    frames: FrameRange = ALL
    occluded: bool = True

    def reach(self, clip: Clip) -> Ids:
        """Return whom it changes."""
        return rows_in(clip, self.track, self.frames)

    def _apply(self, truth: Truth) -> Truth:
        occluded = truth.occluded.copy()
        occluded[rows_of(truth, self.track, self.frames)] = self.occluded
        return replace(truth, occluded=occluded)

    def __str__(self) -> str:
        return f"mark {self.track}{text_of(self.frames)} as {'' if self.occluded else 'not '}occluded"


class SetBox(Operation):
    """The box of a person is where somebody has drawn it.

    Attributes:
        track: Who.
        frame: Where.
        box: The box.
    """

    needs_joints: ClassVar[bool] = False

    op: Literal["set_box"] = "set_box"
    track: TrackId
    frame: Frame
    box: Box

    def reach(self, clip: Clip) -> Ids:
        """Return whom it changes."""
        return rows_in(clip, self.track, (self.frame, self.frame + 1))

    def _apply(self, truth: Truth) -> Truth:
        check_box(self, self.box)
        row = row_of(truth, self.track, self.frame)
        boxes, scores, observed = truth.boxes_xyxy_px.copy(), truth.box_scores.copy(), truth.observed.copy()
        boxes[row], scores[row], observed[row] = self.box, 1.0, True
        return replace(truth, boxes_xyxy_px=boxes, box_scores=scores, observed=observed)

    def __str__(self) -> str:
        return f"set the box of {self.track}@{self.frame}"


class Estimated(Operation):
    """A model was asked for the pose in a box; joints that somebody has corrected stay.

    Attributes:
        frame: Where.
        track: Who; who is not in the frame is added. None takes the next free id.
        box: Where the model looked.
        score: Of the person.
        joints: By name x, y and score; the others stay.
        covariances: By name xx, xy and yy in square pixels.
        probabilities: By name, that the joint is right.
        model: Its name, for people.
    """

    op: Literal["estimated"] = "estimated"
    frame: Frame
    track: TrackId | None = None
    box: Box
    score: Share
    joints: Annotated[dict[str, tuple[Pixel, Pixel, Share]], Field(min_length=1)]
    covariances: dict[str, tuple[Number, Number, Number]] = {}  # noqa: RUF012  # frozen
    probabilities: dict[str, Share] = {}  # noqa: RUF012  # frozen
    model: Annotated[str, Field(max_length=200)] = ""

    def reach(self, clip: Clip) -> Ids:
        """Return whom it changes."""
        return rows_in(clip, self.track, (self.frame, self.frame + 1))

    def _apply(self, truth: Truth) -> Truth:
        check_box(self, self.box)
        joints = joint_places(truth, self.joints)
        here = truth.of_frame(place(truth, self.frame))
        if self.track is None or self.track not in truth.track_ids[here]:
            truth = self._with_nobody(truth)
            row = truth.of_frame(place(truth, self.frame)).stop - 1
        else:
            row = row_of(truth, self.track, self.frame)
        free = [at for at, joint in enumerate(joints) if truth.sources[row, joint] != CORRECTED]
        places = np.array(joints, np.int64)[free]
        names = list(self.joints)
        found = np.array([self.joints[names[at]] for at in free], np.float64).reshape(-1, 3)
        columns: dict[str, Any] = {name: column.copy() for name, column in truth.row_columns().items()}
        given: dict[str, Any] = {
            **{"xy": found[:, :2], "raw_xy": found[:, :2], "model_xy": found[:, :2], "scores": found[:, 2]},
            **{"visibility": np.where(found[:, 2] >= VISIBLE_SCORE, 2, 1), "sources": MODEL},
            "covariances": np.array([self.covariances.get(names[at], (0.0,) * 3) for at in free]).reshape(-1, 3),
            "probabilities": [self.probabilities.get(names[at], found[n, 2]) for n, at in enumerate(free)],
        }
        for name in given.keys() & columns.keys():
            columns[name][row, places] = given[name]
        for name, value in {
            "boxes_xyxy_px": self.box,
            "box_scores": 1.0,
            "observed": True,
            "person_scores": self.score,
        }.items():
            columns[name][row] = value
        return replace(truth, **columns)

    def _with_nobody(self, truth: Truth) -> Truth:
        """Return a truth in which the person stands in the frame, without joints, at its end."""
        track = np.array([free_id(truth) if self.track is None else self.track])
        where, nothing = np.array([place(truth, self.frame)]), np.zeros((1, 0))
        added = new_people(truth, where, track, np.array([self.box]), [], np.zeros((1, 0, 2)), nothing)
        return with_people(truth, added | {"sources": np.zeros((1, len(truth.keypoints)), np.uint8)})

    def __str__(self) -> str:
        return f"estimate the pose of {'a person' if self.track is None else self.track}@{self.frame}"
