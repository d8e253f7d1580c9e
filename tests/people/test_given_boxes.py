"""Boxes that a program gives as arrays."""

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.people.given_boxes import GivenBoxes

BOX = [10, 20, 30, 60]


def test_columns_say_what_is_known():
    found, ids = GivenBoxes([[BOX]]).at(0)
    assert (found.boxes_xyxy_px.tolist(), found.scores.tolist(), ids) == ([BOX], [1.0], None)
    found, ids = GivenBoxes({4: np.array([[*BOX, 0.5]])}).at(4)
    assert (found.scores.tolist(), ids) == ([0.5], None)
    boxes = GivenBoxes({0: [], 2: [[*BOX, 0.5, 9]], 3: None})
    assert [None if ids is None else ids.tolist() for _, ids in map(boxes.at, range(4))] == [[], [], [9], None]
    assert GivenBoxes({3: None}).at(3) == (None, None)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ([BOX[:3]], r"shape \(1, 3\)"),
        (BOX, r"shape \(4,\)"),
        ([["a", 0, 1, 1]], "could not convert"),
        ([[10, 20, 10, 60]], "a box that is none"),
        ([[10, 20, float("nan"), 60]], "a box that is none"),
        ([[*BOX, 1.5]], "a score that is none"),
        ([[*BOX, float("nan")]], "a score that is none"),
        ([[*BOX, 1, -1]], "a track id that is none"),
        ([[*BOX, 1, 0.5]], "a track id that is none"),
        ([[*BOX, 1, 2], [*BOX, 1, 2]], "or one twice"),
        ([BOX, [*BOX, 1]], "inhomogeneous"),
    ],
)
def test_what_is_none_is_named_by_its_frame(frame, said):
    with pytest.raises(JmposeError, match=f"boxes of frame 3: .*{said}") as caught:
        GivenBoxes({3: frame})
    assert caught.value.hint


def test_frames_must_fit_each_other():
    with pytest.raises(JmposeError, match="boxes of frame 1: 6 columns after 4"):
        GivenBoxes([[BOX], [[*BOX, 1, 2]]])
