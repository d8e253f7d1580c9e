"""Whom `--max-people` keeps."""

import numpy as np
import pytest

from jmpose_cli.people.limit import PeopleLimit
from jmpose_cli.people.stitch import Identities, Piece
from jmpose_cli.values import FramePoses, TrackedFrame

JOINTS = 2


def frame(index: int, people: dict[int, float]) -> FramePoses:
    """People by track and side of their square box, pixels."""
    sides = np.array(list(people.values()), np.float32)
    boxes = np.zeros((len(people), 4), np.float32)
    boxes[:, 2:] = sides[:, None]
    ids, n = np.array(list(people), np.int64), len(people)
    seen = TrackedFrame(index, index / 25, boxes, np.ones(n, np.float32), ids, np.ones(n, bool))
    return FramePoses(seen, np.zeros((n, JOINTS, 2), np.float32), np.ones((n, JOINTS), np.float32), sides)


def kept(frames: list[FramePoses], most: int, who: dict[tuple[int, int], int] | None = None) -> list[list[int]]:
    limit = PeopleLimit(most)
    for one in frames:
        limit.add(one.people)
    pieces = None if who is None else Identities(tuple(Piece(*piece, one) for piece, one in who.items()))
    return [one.people.track_ids.tolist() for one in limit.keep(frames, pieces)]


def test_the_largest_for_longest_is_kept_and_nobody_beside_them():
    # Track 1 is first and large for a moment, 2 is there for long and leaves, 3 is small and always there.
    frames = [frame(n, {1: 60.0} if n < 4 else {}) for n in range(4)]
    frames += [frame(n, {2: 50.0, 3: 20.0} if n < 30 else {3: 20.0}) for n in range(4, 40)]
    assert kept(frames, 1) == [[1]] * 4 + [[2]] * 26 + [[]] * 10
    assert kept(frames, 2) == [[1]] * 4 + [[2, 3]] * 26 + [[3]] * 10
    assert kept(frames, 3) == [one.people.track_ids.tolist() for one in frames]


def test_tracks_of_one_person_count_together():
    joined = {(1, 0): 1, (2, 0): 1, (5, 0): 5}
    frames = [frame(n, {1 if n < 10 else 2: 30.0, **({5: 35.0} if n < 12 else {})}) for n in range(20)]
    assert kept(frames, 1) == [[5]] * 12 + [[2]] * 8
    assert kept(frames, 1, joined) == [[1]] * 10 + [[2]] * 10


@pytest.mark.parametrize("most", [1, 2])
def test_one_person_is_never_twice_in_a_frame(most):
    frames = [frame(n, {1: 30.0, 2: 31.0}) for n in range(9)]
    exchanged = {(1, 0): 1, (1, 4): 2, (2, 0): 2, (2, 6): 1}
    assert {len(one) for one in kept(frames, most, exchanged)} <= set(range(1, most + 1))


def test_a_few_frames_beside_somebody_larger_cost_only_these():
    frames = [frame(n, ({1: 50.0} if n < 20 else {}) | ({2: 30.0} if n >= 17 else {})) for n in range(40)]
    assert kept(frames, 1) == [[1]] * 20 + [[2]] * 20
    assert kept([frame(0, {}), frame(1, {})], 1) == [[], []]
    assert kept([], 1) == []
