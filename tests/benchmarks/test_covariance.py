import numpy as np
import pytest
import torch

from covariance import Answers, candidates, curvatures, figures, moments
from jmpose.decoding import decode_dark, heatmap_covariances


def bell(variances: tuple[float, float], *, at: tuple[float, float] = (20.3, 30.6)) -> torch.Tensor:
    """One map `[1, 1, 64, 48]` with a Gaussian of these variances along x and y."""
    x, y = torch.arange(48.0) - at[0], torch.arange(64.0)[:, None] - at[1]
    return torch.exp(-(x**2) / (2 * variances[0]) - y**2 / (2 * variances[1]))[None, None]


def test_candidates_of_a_gaussian_are_its_covariance():
    maps, xy = bell((9, 4)), torch.tensor([[[20.3, 30.6]]])
    assert curvatures(maps, sigma=1.5)[0, 0].tolist() == pytest.approx([9 + 2.25, 0, 4 + 2.25], rel=0.02, abs=1e-4)
    assert moments(maps, xy, reach=1000)[0, 0].tolist() == pytest.approx([9, 0, 4], abs=0.02)
    assert moments(maps, xy, reach=2)[0, 0, 0].item() < 3


def test_one_candidate_is_what_ships():
    maps = bell((9, 4)) + 0.6 * bell((3, 3), at=(26, 33))
    xy, _ = decode_dark(maps, sigma=1.5)
    ours = dict(candidates(maps, xy, sigma=1.5))["second moment within 10 sigma, less sigma squared"]
    torch.testing.assert_close(ours, heatmap_covariances(maps, xy, sigma=1.5))


def test_gaussian_errors_fill_the_ellipses_of_the_right_covariance():
    rng = np.random.default_rng(0)
    wide, count = rng.uniform(0.2, 3, 5000), 5000
    error = np.sqrt(wide)[:, None] * rng.normal(size=(count, 2)) * [1, 2]
    right = np.stack([wide, 0 * wide, 4 * wide], 1) / 3
    answers = Answers(rng.integers(0, 50, count), error, {"right": right, "wrong": np.ones((count, 3)) * [1, 0, 1]})
    likelihood, half, most, factor = figures(answers, "right")
    assert (half, most, factor) == pytest.approx((0.5, 0.9, 3), abs=0.05)
    assert likelihood < figures(answers, "wrong")[0]
