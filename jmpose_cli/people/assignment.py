"""Who gets what, for as much as can be had together: exact, and without SciPy's optimizers, which take a third of a
second to import.
"""

from collections.abc import Iterator

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools, Ids


def best_pairs(value: Doubles) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows and columns, each used once at most, whose values have the largest sum.

    Args:
        value: `[R, C]`; pairs of 0 or less are not made.
    """
    possible = value > 0
    for rows, columns in _apart(possible):
        if len(rows) == 1 or len(columns) == 1:
            best = int(value[np.ix_(rows, columns)].argmax())
            yield int(rows[best // len(columns)]), int(columns[best % len(columns)])
            continue
        turned = len(rows) > len(columns)
        part = np.maximum(value[np.ix_(rows, columns)], 0.0)
        for one, other in enumerate(_assigned(-(part.T if turned else part)).tolist()):
            row, column = (other, one) if turned else (one, other)
            if part[row, column] > 0:
                yield int(rows[row]), int(columns[column])


def _apart(possible: Bools) -> Iterator[tuple[Ids, Ids]]:
    """Yield rows and columns `[r]` and `[c]` that have nothing to do with the others."""
    left = np.asarray(possible.any(1))
    while left.any():
        rows: Bools = np.zeros(len(possible), bool)
        rows[int(left.argmax())] = True
        while True:
            columns = possible[rows].any(0)
            wider: Bools = np.asarray(possible[:, columns].any(1))
            if (wider == rows).all():
                break
            rows = wider
        left &= ~rows
        yield np.flatnonzero(rows), np.flatnonzero(columns)


def _assigned(cost: Doubles) -> Ids:
    """Return `[R]` the column of each row at the least cost `[R, C]`, R <= C (Jonker and Volgenant, 1987)."""
    count, width = cost.shape
    of_row, of_column = np.full(count, -1), np.full(width, -1)
    row_price, column_price = np.zeros(count), np.zeros(width)
    for first in range(count):
        shortest, before = np.full(width, np.inf), np.full(width, -1)
        rows, done = [], np.zeros(width, bool)
        row, reached = first, 0.0
        while True:  # the cheapest way from the row to a column that is free
            rows.append(row)
            way = reached + cost[row] - row_price[row] - column_price
            nearer = ~done & (way < shortest)
            shortest[nearer], before[nearer] = way[nearer], row
            column = int(np.where(done, np.inf, shortest).argmin())
            reached = float(shortest[column])
            if of_column[column] < 0:
                break
            done[column] = True
            row = int(of_column[column])
        row_price[first] += reached
        others = np.array(rows[1:], np.int64)
        row_price[others] += reached - shortest[of_row[others]]
        column_price[done] -= reached - shortest[done]
        while True:
            row = int(before[column])
            of_column[column] = row
            of_row[row], column = column, int(of_row[row])
            if row == first:
                break
    return of_row
