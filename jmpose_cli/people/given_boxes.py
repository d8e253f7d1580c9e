"""Boxes of people from a program: arrays, frame by frame."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.numbers import LARGEST_BOX_PX, fits
from jmpose_cli.values import Detections, Ids

FrameBoxes: TypeAlias = ArrayLike | None
"""The people of a frame, `[N, 4]` corners x0, y0, x1, y1 in image pixels; `[N, 5]` with a score from 0 to 1, else 1;
`[N, 6]` with a track id of 0 or more as well. None: nobody has looked at the frame."""
_COLUMNS = (4, 5, 6)
_HINT = "a frame is None or an array with one row a person: x0, y0, x1, y1[, score[, track id]]"


class GivenBoxes:
    """The boxes of one video by frame number; those of a frame are handed out once.

    Args:
        frames: Boxes by frame number; frames that are not among them have none.

    Raises:
        JmposeError: A box is none, or the frames do not fit each other.
    """

    def __init__(self, frames: Mapping[int, FrameBoxes] | Sequence[FrameBoxes] = ()) -> None:
        self._frames: dict[int, NDArray[Any] | None] = {}
        self._columns = 0  # not known
        for index, boxes in frames.items() if isinstance(frames, Mapping) else enumerate(frames):
            self.put(index, boxes)

    def put(self, index: int, boxes: FrameBoxes) -> None:
        """Set the boxes of a frame.

        Raises:
            JmposeError: As for the constructor.
        """
        self._frames[index] = None if boxes is None else self._checked(index, boxes)

    def at(self, index: int) -> tuple[Detections | None, Ids | None]:
        """Give the boxes of frame `index` and their ids, when they have any."""
        rows = self._frames.pop(index, np.zeros((0, 4)))
        if rows is None:
            return None, None
        scores = rows[:, 4] if rows.shape[1] > 4 else np.ones(len(rows))
        found = Detections(rows[:, :4].astype(np.float32), scores.astype(np.float32))
        if self._columns < 6:
            return found, None
        return found, rows[:, 5].astype(np.int64) if len(rows) else np.zeros(0, np.int64)

    def _checked(self, index: int, boxes: ArrayLike) -> NDArray[Any]:
        where = f"boxes of frame {index}"
        try:
            rows = np.array(boxes, np.float64)
        except (TypeError, ValueError) as error:
            raise JmposeError(f"{where}: {str(error)[:200]}", hint=_HINT) from error
        if not rows.size:
            return np.zeros((0, 4))
        if rows.ndim != 2 or rows.shape[1] not in _COLUMNS:
            raise JmposeError(f"{where}: an array of shape {rows.shape}", hint=_HINT)
        if self._columns not in (0, rows.shape[1]):
            raise JmposeError(f"{where}: {rows.shape[1]} columns after {self._columns} in others", hint=_HINT)
        self._columns = rows.shape[1]
        corners = rows[:, :4].astype(np.float32)
        if not (fits(rows[:, :4], LARGEST_BOX_PX).all() and (corners[:, 2:] > corners[:, :2]).all()):
            raise JmposeError(f"{where}: holds a box that is none", hint="x0 < x1 and y0 < y1, finite, in pixels")
        if rows.shape[1] > 4 and not ((rows[:, 4] >= 0) & (rows[:, 4] <= 1)).all():
            raise JmposeError(f"{where}: holds a score that is none", hint="scores are numbers from 0 to 1")
        ids = rows[:, 5:]
        if not ((ids >= 0) & (ids == np.floor(ids)) & (ids < 2**53)).all() or len(np.unique(ids)) < ids.size:
            raise JmposeError(f"{where}: holds a track id that is none, or one twice", hint="ids are whole numbers")
        return rows
