"""Ignore regions: which points lie in a polygon."""

from collections.abc import Sequence

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools


def inside_any(points: Doubles, polygons: Sequence[Doubles]) -> Bools:
    """Say which points lie strictly inside at least one polygon.

    As shapely's `contains`, which the official kits use: points on the outline are outside, and a polygon that
    crosses itself has the even-odd rule.

    Args:
        points: `[N, 2]` image pixels.
        polygons: Each `[P, 2]` image pixels, open or closed; with fewer than three corners it contains nothing.

    Returns:
        `[N]` bool.
    """
    found = np.zeros(len(points), bool)
    for polygon in polygons:
        if len(polygon) < 3:
            continue
        near = ~found & ((points > polygon.min(0)) & (points < polygon.max(0))).all(1)
        if near.any():
            found[near] = _strictly_inside(points[near], polygon)
    return found


def _strictly_inside(points: Doubles, polygon: Doubles) -> Bools:
    """Even-odd rule by a ray to the right; `[N]`."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    x, y = points[:, None, 0], points[:, None, 1]
    # Twice the signed area of (start, end, point): its sign tells on which side of the edge the point is.
    side = (end[:, 0] - start[:, 0]) * (y - start[:, 1]) - (end[:, 1] - start[:, 1]) * (x - start[:, 0])
    low, high = np.minimum(start, end), np.maximum(start, end)
    on_edge = (side == 0) & (x >= low[:, 0]) & (x <= high[:, 0]) & (y >= low[:, 1]) & (y <= high[:, 1])
    upwards = (start[:, 1] <= y) & (end[:, 1] > y)
    downwards = (end[:, 1] <= y) & (start[:, 1] > y)
    crossings = (upwards & (side > 0)) | (downwards & (side < 0))
    return np.asarray((crossings.sum(1) % 2 == 1) & ~on_edge.any(1))
