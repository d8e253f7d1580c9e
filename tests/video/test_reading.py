"""Rising times from timestamps."""

from fractions import Fraction

import pytest

from jmpose_cli.video.reading import Clock

TICK = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("pts", "expected_s", "repaired"),
    [
        ([0, 40, 80], [0, 0.04, 0.08], 0),
        ([8333, 8366], [8.333, 8.366], 0),
        ([0, 40, 40, 120], [0, 0.04, 0.14, 0.24], 2),  # at 10 a second the third moves on by 0.1 and passes the fourth
        ([0, 500, 100, 900], [0, 0.5, 0.6, 0.9], 1),
        ([None, None, None], [0, 0.1, 0.2], 3),
        ([500, None, 900], [0.5, 0.6, 0.9], 1),
        ([-20, 0], [-0.02, 0], 0),
    ],
)
def test_times_rise(pts, expected_s, repaired):
    clock = Clock(TICK, fps=10)
    assert [clock.stamp(ticks) for ticks in pts] == pytest.approx(expected_s)
    assert clock.repaired == repaired


def test_exact_where_float_ticks_are_not():
    # An hour in at 90 kHz: float32, which decord uses for times, is off by 0.1 ms there.
    assert Clock(Fraction(1, 90000), fps=30).stamp(3600 * 90000 + 1) == 3600 + 1 / 90000


def test_continues_behind_another_decoder():
    clock = Clock(TICK, fps=10, last_s=2.0)
    assert clock.stamp(1900) == pytest.approx(2.1)


def test_gaps_are_longer_than_a_second_and_five_frames():
    clock = Clock(TICK, fps=10)
    for pts in (0, 900, 1900, 3000, 3100, 9000):
        clock.stamp(pts)
    assert clock.gaps == [(1.9, 3.0), (3.1, 9.0)]
    slow = Clock(TICK, fps=0.5)  # a frame every 2 s
    for pts in (0, 2000, 12000, 22001):
        slow.stamp(pts)
    assert slow.gaps == [(12.0, 22.001)]
