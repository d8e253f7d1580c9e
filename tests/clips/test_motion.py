"""Joints between frames in which somebody has put them, by motion."""

from dataclasses import replace

import numpy as np
import pytest

from jmpose_cli.clips.motion import moved_by_keys
from jmpose_cli.clips.operations import Propagate, Review, SetJoints
from jmpose_cli.formats.truth import INTERPOLATED, MODEL, PROPAGATED
from tests.clips.walkers import Walker, walk

SIZE = 100.0
TIMES = np.arange(80) / 25
SWING = np.stack([300 + 40 * TIMES, 200 + 50 * np.sin(2 * np.pi * TIMES)], 1)  # a foot of somebody who walks
LOST = (TIMES >= 1) & (TIMES < 2)


@pytest.fixture
def seen():
    """What a model gives that loses the foot for a second, and knows it."""
    errors = np.random.default_rng(0).normal(0, 0.25 * SIZE, (len(TIMES), 2))
    return SWING + np.where(LOST[:, None], errors, 0.02 * errors), np.where(LOST, 0.8, 0.05)


def spread(seen, wrong, keys, stops=()):
    known = np.full(seen.shape, np.nan)
    known[[*keys, *stops]] = SWING[[*keys, *stops]]
    is_key = np.isin(np.arange(len(seen)), keys)
    likely, weights = moved_by_keys(TIMES[: len(seen)], seen, wrong, np.full(len(seen), SIZE), known, is_key)
    return seen + weights[:, None] * (likely - seen), weights


def off(xy):
    return np.linalg.norm(xy - SWING[: len(xy)], axis=1) / SIZE


def test_few_keys_mend_a_stretch_that_the_model_has_lost(seen):
    seen, wrong = seen
    before = (off(seen)[LOST] > 0.1).sum()
    after, weights = spread(seen, wrong, [28, 34, 40, 46])
    assert before > 20 and (off(after)[LOST] > 0.1).sum() <= 2
    assert off(after)[[28, 34, 40, 46]].max() < 1e-6
    assert (weights[TIMES < 0.6] == 0).all() and (weights[TIMES > 2.4] == 0).all()


def test_a_lone_jump_hardly_takes_others_along():
    seen, wrong = SWING.copy(), np.full(len(TIMES), 0.05)
    seen[40] += 60
    after, _ = spread(seen, wrong, [40])
    assert np.delete(off(after), 40).max() < 0.08


def test_what_was_reviewed_stops_corrections(seen):
    seen, wrong = seen
    _, weights = spread(seen, wrong, [30], stops=[33])
    assert weights[31] > 0 and (weights[33:] == 0).all()


def test_tracks_of_a_few_frames_and_without_the_model():
    for count in (1, 2, 3):
        known, weights = spread(SWING[:count] + 30, np.full(count, 0.5), [0])
        assert off(known)[0] < 1e-6 and weights[0] == pytest.approx(1)
    nowhere = np.full((30, 2), np.nan)
    known = np.full((30, 2), np.nan)
    keys = np.isin(np.arange(30), [3, 9, 15, 21, 27])
    known[keys] = SWING[:30][keys]
    likely, _ = moved_by_keys(TIMES[:30], nowhere, np.ones(30), np.full(30, SIZE), known, keys)
    assert off(likely)[3:28].max() < 0.06


def test_the_operation_spreads_by_motion_only_where_it_may():
    truth = walk(Walker(2, 300.0))
    truth = replace(truth, model_xy=truth.xy)
    joint, row = truth.keypoints.joints.index("left_wrist"), 50
    x, y = truth.xy[row, joint].tolist()
    put = SetJoints(track=2, frame=int(truth.index[row]), joints={"left_wrist": (x + 40, y, 2)}).apply(truth)
    put = Review(frames=(int(truth.index[row + 2]), None)).apply(put)
    near = Propagate(track=2, by="motion", around=int(truth.index[row]), reach_s=0.045).apply(put)
    changed = np.flatnonzero(near.sources[:, joint] == PROPAGATED)
    assert changed.tolist() == [row - 1, row + 1]
    assert (near.xy[:, joint] != put.xy[:, joint]).any(1).nonzero()[0].tolist() == [row - 1, row + 1]
    assert Propagate(track=2, by="motion", around=int(truth.index[row])).apply(near).sources[row + 2, joint] == MODEL
    unseen = replace(put, model_xy=np.where(np.arange(len(put))[:, None, None] == row - 1, np.nan, put.model_xy))
    assert Propagate(track=2, by="motion").apply(unseen).sources[row - 1, joint] == INTERPOLATED
