import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmpose_cli.metrics.polygons import inside_any

SQUARE = np.array([[0.0, 0.0], [10, 0], [10, 10], [0, 10]])
# Concave: a notch from the right down to x = 2.
NOTCHED = np.array([[0.0, 0.0], [10, 0], [10, 4], [2, 5], [10, 6], [10, 10], [0, 10]])
BOW_TIE = np.array([[0.0, 0.0], [10, 10], [10, 0], [0, 10]])
# A pentagram, whose middle is wound twice: outside by the even-odd rule.
STAR = np.array([[np.sin(k * 4 * np.pi / 5), np.cos(k * 4 * np.pi / 5)] for k in range(5)])


@pytest.mark.parametrize(
    ("polygon", "point", "expected"),
    [
        (SQUARE, (5, 5), True),
        (SQUARE, (0, 5), False),  # on an edge
        (SQUARE, (10, 10), False),  # on a corner
        (SQUARE, (5, 10), False),
        (SQUARE, (-1, 5), False),
        (SQUARE, (9.999, 9.999), True),
        (NOTCHED, (5, 5), False),
        (NOTCHED, (1, 5), True),
        (NOTCHED, (2, 5), False),  # the notch's tip
        (NOTCHED, (5, 2), True),
        (BOW_TIE, (5, 2), False),
        (BOW_TIE, (2, 5), True),
        (BOW_TIE, (8, 5), True),
        (BOW_TIE, (5, 5), False),  # where it crosses itself
        (STAR, (0, 0), False),
        (STAR, (0, 0.8), True),
    ],
)
def test_points(polygon, point, expected):
    assert inside_any(np.array([point], float), [polygon]).tolist() == [expected]


def test_closed_polygons_are_the_same_as_open_ones():
    points = np.random.default_rng(0).uniform(-2, 12, (200, 2))
    closed = np.vstack([NOTCHED, NOTCHED[:1]])
    assert (inside_any(points, [closed]) == inside_any(points, [NOTCHED])).all()


def test_any_of_several_counts_and_degenerate_ones_hold_nothing():
    points = np.array([[5.0, 5.0], [25.0, 5.0], [50.0, 50.0]])
    polygons = [
        np.zeros((0, 2)),
        np.array([[50.0, 50.0]]),
        np.array([[0.0, 0.0], [100, 100]]),
        SQUARE,
        SQUARE + np.array([20, 0]),
    ]
    assert inside_any(points, polygons).tolist() == [True, True, False]


@given(st.floats(0.1, 50), st.floats(-30, 30), st.integers(0, 3))
def test_scaling_moving_and_starting_elsewhere_change_nothing(scale, shift, start):
    points = np.random.default_rng(1).uniform(-1, 11, (50, 2))
    moved = np.roll(SQUARE, start, axis=0) * scale + shift
    assert (inside_any(points * scale + shift, [moved]) == inside_any(points, [SQUARE])).all()
