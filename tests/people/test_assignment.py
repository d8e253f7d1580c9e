import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from jmpose_cli.people.assignment import best_pairs


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_pairs_have_the_largest_sum(share):
    rng = np.random.default_rng(int(10 * share))
    for _ in range(150):
        shape = rng.integers(1, 12, 2)
        value = np.where(rng.random(shape) < share, np.round(rng.normal(0.5, 0.4, shape), 2), 0.0)
        pairs = list(best_pairs(value))
        rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
        assert len(set(rows)) == len(set(columns)) == len(pairs)
        assert (value[rows, columns] > 0).all()
        possible = np.maximum(value, 0)
        best = possible[linear_sum_assignment(possible, maximize=True)].sum()
        assert value[rows, columns].sum() == pytest.approx(best)


def test_nothing_to_give():
    assert list(best_pairs(np.zeros((0, 3)))) == list(best_pairs(np.full((2, 2), -1.0))) == []


def test_tracking_needs_no_optimizers():
    code = "import sys, jmpose_cli.people.track; sys.exit('scipy.optimize' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
