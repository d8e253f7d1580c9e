"""Tracks of one person are joined over absences, and tracks that changed hands are split."""

import numpy as np
import pytest

from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.people.stitch import Identities, Sightings, stitch

SCALE = AppearanceScale(even=0.7, certain=0.1, known=0.7, sure=0.1)
FPS = 10.0


def walk(track: int, frames: range, x: float, step: float, look: np.ndarray | None) -> list[tuple]:
    """Somebody 40 wide and 100 high who walks along."""
    return [(track, f, (x + step * n, 50, x + step * n + 40, 150), look) for n, f in enumerate(frames)]


def seen(rows: list[tuple]) -> Sightings:
    rows = sorted(rows, key=lambda row: row[1])
    known = [row for row in rows if row[3] is not None]
    places = {id(row): n for n, row in enumerate(known)}
    frame = np.array([row[1] for row in rows])
    return Sightings(
        track=np.array([row[0] for row in rows]),
        segment=np.zeros(len(rows), np.int64),
        frame=frame,
        time_s=frame / FPS,
        boxes=np.array([row[2] for row in rows], np.float64),
        look=np.array([places.get(id(row), -1) for row in rows]),
        looks=np.array([row[3] for row in known], np.float16).reshape(len(known), 64),
        size=(1000.0, 500.0),
    )


def looks(seed: int, *, like: np.ndarray | None = None, share: float = 0.0) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=64)
    vector /= np.linalg.norm(vector)
    vector = vector if like is None else share * like + np.sqrt(1 - share**2) * vector
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def who(found: Identities) -> dict[int, int]:
    return {piece.track: piece.identity for piece in found.pieces}


@pytest.mark.parametrize("absent_s", [2, 10, 30])
def test_who_comes_back_is_known_by_looks(absent_s):
    red, blue = looks(1), looks(2)
    back = 20 + round(absent_s * FPS)
    rows = walk(1, range(20), 100, 3, red) + walk(2, range(back + 20), 600, 0.2, blue)
    found = stitch(seen(rows + walk(3, range(back, back + 20), 200, -3, red)), SCALE)
    assert who(found) == {1: 1, 2: 2, 3: 1}
    (join,) = found.joins
    assert (join.first, join.second, join.frame) == (1, 3, back) and join.gap_s == pytest.approx(absent_s, abs=0.2)
    assert stitch(seen(rows + walk(3, range(back, back + 20), 200, -3, looks(3))), SCALE).changes_nothing


def test_look_alikes_are_not_joined():
    red = looks(1)
    twin = looks(2, like=red, share=0.97)
    rows = walk(1, range(20), 100, 3, red) + walk(2, range(120), 600, 0.2, twin)
    assert stitch(seen(rows + walk(3, range(70, 90), 200, -3, red)), SCALE).changes_nothing
    # Two have left who look alike: either may be back.
    rows = walk(1, range(20), 100, 3, red) + walk(2, range(15, 40), 300, 3, red) + walk(3, range(90, 110), 200, 3, red)
    assert not [join for join in stitch(seen(rows), SCALE).joins if join.second == 3]


def test_nobody_is_at_two_places_and_nobody_flies():
    red = looks(1)
    assert stitch(seen(walk(1, range(40), 100, 1, red) + walk(2, range(20, 60), 700, 1, red)), SCALE).changes_nothing
    assert stitch(seen(walk(1, range(20), 0, 0, red) + walk(2, range(25, 40), 900, 0, red)), SCALE).changes_nothing


def test_a_short_gap_is_bridged_by_motion_alone():
    found = stitch(seen(walk(1, range(20), 100, 5, None) + walk(2, range(24, 44), 220, 5, None)), None)
    assert who(found) == {1: 1, 2: 1}
    assert stitch(seen(walk(1, range(20), 100, 5, None) + walk(2, range(50, 70), 220, 5, None)), None).changes_nothing


def test_ids_that_were_exchanged_at_a_meeting_are_put_right():
    red, blue = looks(1), looks(2)
    rows = walk(1, range(20), 100, 8, red) + walk(2, range(20), 404, -8, blue)
    rows += walk(1, range(20, 40), 252, -8, blue) + walk(2, range(20, 40), 252, 8, red)
    found = stitch(seen(rows), SCALE)
    assert sorted(track for track, _ in found.splits) == [1, 2]
    tracks = np.array([1, 2])
    assert found.of(tracks, np.array([5, 5])).tolist() == [1, 2]
    assert found.of(tracks, np.array([39, 39])).tolist() == [2, 1]
    assert Identities.from_json(found.as_json()) == found
