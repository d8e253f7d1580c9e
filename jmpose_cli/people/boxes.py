"""Boxes of people against each other: overlap, and who stands before whom."""

import numpy as np

from jmpose_cli.formats.records import Doubles


def overlaps(one: Doubles, other: Doubles) -> Doubles:
    """Return the `[N, M]` intersection over union of boxes `[N, 4]` and `[M, 4]`, x0, y0, x1, y1."""
    shared = _shared(one, other)
    return np.asarray(shared / np.maximum(_areas(one)[:, None] + _areas(other)[None] - shared, 1e-9))


def hidden_shares(boxes: Doubles) -> tuple[Doubles, Doubles]:
    """Return for boxes `[N, 4]` of one frame which share of each the boxes before it cover, and any of the others.

    Who stands nearer has the lower feet, where people stand on one floor and the camera is not below it: that box, or
    one of the others, which covers the largest share.

    Returns:
        `[N]` and `[N]`, 0 to 1.
    """
    if len(boxes) < 2:
        return np.zeros(len(boxes)), np.zeros(len(boxes))
    share = _shared(boxes, boxes) / np.maximum(_areas(boxes), 1e-9)[:, None]
    np.fill_diagonal(share, 0.0)
    before = boxes[None, :, 3] > boxes[:, None, 3]
    return np.asarray(np.where(before, share, 0.0).max(1)), np.asarray(share.max(1))


def within_shares(boxes: Doubles, row: int, others: list[int]) -> Doubles:
    """Return `[n]` which share of the smaller box lies in the larger, for one of boxes `[N, 4]` and some others."""
    shared = _shared(boxes[[row]], boxes[others])[0]
    return np.asarray(shared / np.maximum(np.minimum(_areas(boxes[[row]]), _areas(boxes[others])), 1e-9))


def _shared(one: Doubles, other: Doubles) -> Doubles:
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    return np.asarray((high - low).clip(min=0).prod(2))


def _areas(boxes: Doubles) -> Doubles:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1))
