"""The ways of tracks: where somebody goes before and after something, and whether one way continues another."""

from dataclasses import dataclass

import numpy as np

from jmpose_cli.clips.tracks import Tracks
from jmpose_cli.formats.records import Doubles

LOOK_S = 0.6
"""Seconds before and after a meeting from which the ways of two people are taken."""
LONGEST_MEETING_S = 2.0
"""After a longer meeting, ways from before say nothing; sizes still do."""


@dataclass(frozen=True)
class Side:
    """A track before or after a meeting: medians of its rows there.

    Attributes:
        rows: Places of the rows.
        centre: `[2]`.
        speed: `[2]` a second.
        size: Body size.
        time: Seconds.
    """

    rows: slice
    centre: Doubles
    speed: Doubles
    size: float
    time: float


def side_of(tracks: Tracks, row: int, reach: int) -> Side | None:
    """Look at the rows of a track before (`reach` below 0) or after one of its rows; None where there are too few."""
    track = int(np.searchsorted(tracks.starts, row, side="right")) - 1
    start, end = int(tracks.starts[track]), int(tracks.ends[track]) + 1
    rows = slice(max(row + reach, start), row) if reach < 0 else slice(row + 1, min(row + 1 + reach, end))
    if rows.stop - rows.start < 2:
        return None
    time, centre = tracks.time[rows], tracks.centres[rows]
    offset = time - time.mean()
    speed = (offset[:, None] * (centre - centre.mean(0))).sum(0) / max(float((offset**2).sum()), 1e-9)
    return Side(rows, centre.mean(0), speed, float(np.median(tracks.size[rows])), float(time.mean()))


def misfit_of(before: Side, after: Side) -> float:
    """Return how badly what is after a meeting continues what was before it: squared deviations over ordinary ones."""
    span = after.time - before.time
    size = (before.size + after.size) / 2
    misfit = (np.log(after.size / before.size) / 0.15) ** 2
    if span <= LONGEST_MEETING_S + 2 * LOOK_S:
        way = np.linalg.norm(after.centre - before.centre - (before.speed + after.speed) / 2 * span) / size
        misfit += (way / (0.25 + 0.4 * span)) ** 2
        turn = np.linalg.norm(after.speed - before.speed) / size
        misfit += (turn / (0.5 + 0.5 * span)) ** 2
    return float(min(misfit, 12.0))


def overlap_of(one: Doubles, other: Doubles) -> tuple[Doubles, Doubles]:
    """Return `[n]` intersection over union, and over the smaller box, of boxes `[n, 4]`."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    both = sides.clip(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1) for boxes in (one, other)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9), both / np.maximum(np.minimum(*areas), 1e-9)
