"""Ranges over frame numbers and times."""

import math

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.info import Selection

# name: frames, time_s, frames taken of a video with frame n at 10 + n / 10 seconds, n = 0..9
RANGES = {
    "all": (None, None, range(10)),
    "open ends": ((None, None), (None, None), range(10)),
    "frames": ((2, 5), None, range(2, 5)),
    "frames from": ((7, None), None, range(7, 10)),
    "frames to": ((None, 3), None, range(3)),
    "end beyond": ((8, 99), None, range(8, 10)),
    "time": (None, (10.25, 10.5), range(3, 5)),
    "time ends at a frame, which is left out": (None, (10.2, 10.4), range(2, 4)),
    "time from": (None, (10.85, None), range(9, 10)),
    "both must hold": ((3, 8), (10.5, 11.0), range(5, 8)),
    "before the first": (None, (0, 9.9), range(0)),
}


@pytest.mark.parametrize("name", RANGES)
def test_half_open_ranges(name):
    frames, time_s, expected = RANGES[name]
    selection = Selection.checked(frames, time_s)
    times = [round(10 + number / 10, 1) for number in range(10)]
    taken = []
    for number, at_s in enumerate(times):
        if selection.is_past(number, at_s):
            assert not any(
                selection.takes(n, times[n]) and not selection.is_past(n, times[n]) for n in range(number, 10)
            )
            break
        if selection.takes(number, at_s):
            taken.append(number)
    assert taken == list(expected)


@pytest.mark.parametrize(
    ("frames", "time_s", "message"),
    [
        ((5, 5), None, "--frames 5:5 is an empty range"),
        ((5, 2), None, "--frames 5:2 is an empty range"),
        ((None, 0), None, "--frames :0 is an empty range"),
        ((-3, None), None, "--frames -3: has a negative end"),
        ((0, -1), None, "--frames 0:-1 has a negative end"),
        (None, (2.5, 2.5), r"--time 2\.5:2\.5 is an empty range"),
        (None, (-0.1, None), r"--time -0\.1: has a negative end"),
        (None, (math.nan, None), "--time nan: is not a range of finite numbers"),
        (None, (0, math.inf), "--time 0:inf is not a range of finite numbers"),
    ],
)
def test_impossible_ranges_are_errors(frames, time_s, message):
    with pytest.raises(JmposeError, match=f"^{message}$") as caught:
        Selection.checked(frames, time_s)
    assert "A:B" in caught.value.hint


def test_description_uses_the_options_of_the_command():
    assert str(Selection.checked((3, None), (None, 2.5))) == "--frames 3: --time :2.5"
    assert str(Selection.checked(None, None)) == "all frames"
    assert Selection.checked(None, None).is_all


def test_times_on_a_late_clock_are_as_exact_as_from_zero():
    for start_s in (36000.0, 1.7e9):
        late = Selection.checked(None, (0.48, 0.6)).on_clock(start_s)
        times = [start_s + number / 25 for number in range(20)]
        taken = [n for n, at_s in enumerate(times) if late.takes(n, at_s) and not late.is_past(n, at_s)]
        assert taken == [12, 13, 14]
