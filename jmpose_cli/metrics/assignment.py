"""One-to-one matching inside many small tables at once."""

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools


def lone_pairs(possible: Bools) -> Bools:
    """Pairs that are each other's only choice, which every largest matching contains.

    Args:
        possible: `[G, P, K]` allowed pairs of K independent tables.

    Returns:
        `[G, P, K]` bool.
    """
    return np.asarray(possible & (possible.sum(0, keepdims=True) == 1) & (possible.sum(1, keepdims=True) == 1))


def match_nearest(distance: Doubles) -> Bools:
    """Match as many pairs as possible, and among those ways at the least total distance.

    Args:
        distance: `[G, P, K]` of K independent tables; infinite where a pair is forbidden.

    Returns:
        `[G, P, K]` True for matched pairs.
    """
    possible = np.isfinite(distance)
    matched = lone_pairs(possible)
    open_tables = np.flatnonzero((possible & ~matched).any((0, 1)))
    if open_tables.size:
        from scipy.optimize import linear_sum_assignment
    for table in open_tables.tolist():
        allowed = possible[:, :, table]
        cost = distance[:, :, table]
        # Dearer than any number of allowed pairs, so that a forbidden one is taken only when nothing is left.
        forbidden = 2.0 * max(cost.shape) * float(cost[allowed].max()) + 1.0
        rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
        matched[:, :, table] = False
        matched[rows, columns, table] = allowed[rows, columns]
    return matched
