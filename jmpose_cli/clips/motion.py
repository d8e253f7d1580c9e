"""Where a joint was between frames in which somebody has put it: what the model saw, weighed against smooth motion."""

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools

SHARPNESS = 8.0
"""Change of a joint's velocity: its variance in square body sizes a second squared, for each second."""
LEAST_OFF, MOST_OFF = 0.03, 0.73
"""Standard deviation of what the model gave, body sizes, where it is surely right and surely wrong."""
MEMORY_S = 0.2
"""Time after which the error of the model is another one."""
LEAST_WEIGHT = 0.02
"""Frames on which corrections have less influence stay as they are."""
_PINNED = 1e9  # square body sizes: precision of what is known
_LEAST_STEP_S = 1e-4


def moved_by_keys(
    times: Doubles, seen: Doubles, wrong: Doubles, size: Doubles, known: Doubles, keys: Bools
) -> tuple[Doubles, Doubles]:
    """Return where a joint probably was in the R frames of its track, given where it is known to have been.

    The likeliest motion under two assumptions: its velocity changes at random, by so much as people's does, and the
    model's error is correlated in time and the larger the likelier the joint is wrong. Linear in R.

    Args:
        times: `[R]` seconds, rising.
        seen: `[R, 2]` where the model had the joint, image pixels; NaN where it had none.
        wrong: `[R]` how likely the model is wrong.
        size: `[R]` body size, pixels.
        known: `[R, 2]` where the joint surely is, NaN where nobody knows.
        keys: `[R]` the known places from which corrections spread; the others only stop them.

    Returns:
        `[R, 2]` places in image pixels, and `[R]` weights 0..1: how much the keys decide there.
    """
    from scipy.linalg import solveh_banded

    count = len(times)
    pinned, there = ~np.isnan(known).any(1), ~np.isnan(seen).any(1)
    wrong = np.interp(times, times[~pinned], wrong[~pinned]) if not pinned.all() else wrong
    off = size * (LEAST_OFF + (MOST_OFF - LEAST_OFF) * wrong.clip(0, 1))
    # A surprise takes others along by their own doubt only, else a lone jump would.
    off = np.fmax(off, np.linalg.norm(known - seen, axis=1))
    bands, shift = np.zeros((3, count)), np.zeros((count, 3))  # lower diagonals; what stands on the right
    rows = np.flatnonzero(there)
    if len(rows):
        diagonal, beside = _error_precision(times[rows], off[rows])
        # Pairs of frames the one after the other: an error goes on over frames without the joint, but not in the bands.
        beside = np.where(np.diff(rows) == 1, beside, 0.0)
        bands[0, rows] += diagonal
        bands[1, rows[:-1]] += beside
        shift[rows, :2] = diagonal[:, None] * seen[rows]
        shift[rows[1:], :2] += beside[:, None] * seen[rows[:-1]]
        shift[rows[:-1], :2] += beside[:, None] * seen[rows[1:]]
    _add_motion(bands, times, size)
    pins = _PINNED / size[pinned] ** 2
    bands[0, pinned] += pins
    shift[pinned, :2] += pins[:, None] * known[pinned]
    shift[keys, 2] = _PINNED / size[keys] ** 2
    bands[0] += 1e-12 * bands[0].max()  # a track without the joint in most frames says nothing of its ends
    solved = solveh_banded(bands[: min(3, count)], shift, lower=True)
    weights = solved[:, 2].clip(0, 1)
    weights[weights < LEAST_WEIGHT] = 0.0
    return solved[:, :2], weights


def _error_precision(times: Doubles, off: Doubles) -> tuple[Doubles, Doubles]:
    """Return diagonal `[r]` and the one beside it `[r - 1]` of the inverse covariance of the model's errors."""
    kept = np.exp(-np.diff(times).clip(min=_LEAST_STEP_S) / MEMORY_S)
    fresh = 1 - kept**2
    diagonal = np.ones(len(times))
    diagonal[1:] += kept**2 / fresh
    diagonal[:-1] += kept**2 / fresh
    return diagonal / off**2, -kept / fresh / (off[1:] * off[:-1])


def _add_motion(bands: Doubles, times: Doubles, size: Doubles) -> None:
    """Add the precision of changes of velocity to the lower diagonals `[3, R]`."""
    count = len(times)
    if count < 3:
        return
    steps = np.diff(times).clip(min=_LEAST_STEP_S)
    first, last = 1 / steps[:-1], 1 / steps[1:]
    middle = -(first + last)
    precision = 2 / (SHARPNESS * (steps[:-1] + steps[1:]) * size[1:-1] ** 2)
    for place, one in enumerate((first, middle, last)):
        for apart, other in enumerate((first, middle, last)[place:]):
            bands[apart, place : place + count - 2] += precision * one * other
