"""How the benchmark of `jmpose check` counts."""

from dataclasses import replace

import numpy as np
import pytest

import check
from jmpose_cli.clips.check import suspects
from tests.clips.walkers import Walker, walk


@pytest.fixture
def truth():
    """Two people who keep apart."""
    return walk(Walker(2, 300.0), Walker(5, 900.0, y=430.0))


@pytest.fixture
def ground(truth, tmp_path):
    """What is so, as a MOT file: the same boxes."""
    left, top, right, bottom = truth.boxes_xyxy_px.T
    rows = zip(truth.frame + 1, truth.track_ids, left, top, right - left, bottom - top, strict=True)
    path = tmp_path / "gt.txt"
    path.write_text("".join(f"{f},{i},{x:.2f},{y:.2f},{w:.2f},{h:.2f},1,-1,-1,-1\n" for f, i, x, y, w, h in rows))
    return path


def test_exchanged_ids_and_missed_people_are_counted_where_they_are(truth, ground):
    right = check.mistakes_of(truth, ground)
    assert not right.switches and right.missed.sum() == 0
    late = truth.frame >= 50
    ids = np.where(late, np.where(truth.track_ids == 2, 5, 2), truth.track_ids)
    wrong = replace(truth, track_ids=ids).rows(~((truth.frame == 20) & (truth.track_ids == 2)))
    found = check.mistakes_of(wrong, ground)
    assert [(s.frame, s.before, s.after) for s in found.switches] == [(50, 2, 5), (50, 5, 2)]
    assert np.flatnonzero(found.missed).tolist() == [20]
    counts = found.counts()
    assert counts["all"].tolist() == (counts["missed"] + counts["ids"]).tolist() and counts["ids"][50] == 2
    leaps = [one for one in suspects(wrong) if one.kind == "shared"]
    assert check.named(found.switches, leaps) == 2 and check.true_share(found.switches, leaps) == 100


def test_shares_are_those_of_the_first_tenth():
    errors = np.zeros(50)
    errors[[3, 7, 40]] = 1, 2, 5
    assert check.share_in_first([40, 3], errors) == 75  # the five first are 40, 3, 0, 1, 2
    assert check.share_in_first([], errors) == 12.5
