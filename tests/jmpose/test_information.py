"""Each bound against Gaussians whose mutual information is known: right side, monotone in the correlation."""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from jmpose.information import (
    VCLUB,
    HeatmapPredictor,
    InformationOrthogonality,
    PooledSamples,
    cross_entropy,
    kl_divergence,
    spatial_log_softmax,
)

CORRELATIONS = (0.0, 0.4, 0.7, 0.9)
# Positions of a one-row heatmap, in standard deviations of the joint's place.
POSITIONS = torch.linspace(-4, 4, 41)


def fit(parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], *, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()


def fit_convex(predictor: HeatmapPredictor, features: Tensor, target: Tensor) -> None:
    """Find the optimum of a 1x1 head, a convex problem."""
    optimizer = torch.optim.LBFGS(predictor.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = predictor.learning_loss(features, target)
        loss.backward()
        return loss.item()

    optimizer.step(closure)


def correlated(rho: float, *, dimensions: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    x, noise = torch.randn(2, count, dimensions, generator=torch.Generator().manual_seed(seed))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def test_vclub_bounds_from_above_and_grows_with_the_correlation() -> None:
    dimensions, estimates = 3, []
    for rho in CORRELATIONS:
        torch.manual_seed(0)
        club = VCLUB(dimensions, dimensions)
        x, y = correlated(rho, dimensions=dimensions, count=2000, seed=1)
        fit(club.parameters(), lambda: club.learning_loss(x, y), steps=150, rate=1e-2)  # noqa: B023
        fresh = correlated(rho, dimensions=dimensions, count=5000, seed=2)
        estimates.append(club(*fresh).item())
        information = -dimensions / 2 * math.log(1 - rho**2)
        # With the true conditional the bound is d rho^2 / (1 - rho^2), never below the information.
        closed_form = dimensions * rho**2 / (1 - rho**2)
        assert information - 0.05 <= estimates[-1]
        assert estimates[-1] == pytest.approx(closed_form, rel=0.25, abs=0.1)
    assert all(a < b for a, b in pairwise(estimates))


def test_vclub_does_not_care_about_scale_once_pooled() -> None:
    samples = PooledSamples(6)
    features = torch.randn(4, 6, 8, 6, generator=torch.Generator().manual_seed(0))
    pooled = samples(features)
    assert pooled.shape == (4 * 12, 6)
    assert torch.allclose(samples(features * 1000 + 5), pooled, atol=1e-2)
    assert pooled.square().mean(0).tolist() == pytest.approx([1.0] * 6, rel=1e-3)


def place_maps(y: Tensor) -> Tensor:
    """Log distributions `[S, 1, P]` that are all at the position nearest to y `[S]`."""
    nearest = (y[:, None] - POSITIONS).abs().argmin(1)
    return torch.log_softmax(1000 * nn.functional.one_hot(nearest, len(POSITIONS)).float(), -1)[:, None]


def row_features(*columns: Tensor) -> Tensor:
    """Feature maps `[S, C, 1, P]`: p^2, and p times each given sample, enough for any Gaussian's log density."""
    square = (POSITIONS**2).expand(len(columns[0]), -1)
    return torch.stack([square, *(c[:, None] * POSITIONS for c in columns)], 1)[:, :, None]


def entropy_of(target_log: Tensor) -> float:
    share = target_log.exp().mean(0).clamp(min=1e-12)
    return float(-(share * share.log()).sum())


def test_heatmap_predictor_bounds_from_below_and_grows_with_the_correlation() -> None:
    estimates = []
    for rho in CORRELATIONS:
        x, y = correlated(rho, dimensions=1, count=3000, seed=3)
        features, target = row_features(x[:, 0]), place_maps(y[:, 0])
        predictor = HeatmapPredictor(2, 1)
        fit_convex(predictor, features, target)
        estimates.append(entropy_of(target) - cross_entropy(target, predictor(features)).item())
        information = -0.5 * math.log(1 - rho**2)
        assert 0.9 * information - 0.02 <= estimates[-1] <= information + 0.02
    assert all(a < b for a, b in pairwise(estimates))


def test_an_untrained_heatmap_predictor_is_still_a_lower_bound() -> None:
    x, y = correlated(0.7, dimensions=1, count=1000, seed=3)
    target = place_maps(y[:, 0])
    torch.manual_seed(0)
    predicted = HeatmapPredictor(2, 1)(row_features(x[:, 0]))
    assert entropy_of(target) - cross_entropy(target, predicted).item() < -0.5 * math.log(1 - 0.49)


def test_conditional_information_bounds_from_above_and_grows_with_what_motion_adds() -> None:
    estimates = []
    generator = torch.Generator().manual_seed(4)
    for variance in (100.0, 1.0, 0.2):
        y, noise_j, noise_m = torch.randn(3, 3000, generator=generator)
        j, m = y + noise_j, y + math.sqrt(variance) * noise_m
        target = place_maps(y)
        alone, both = row_features(j), row_features(j, m)
        from_joint, from_both = HeatmapPredictor(2, 1), HeatmapPredictor(3, 1)
        fit_convex(from_joint, alone, target)
        fit_convex(from_both, both, target)
        estimates.append(kl_divergence(from_both(both), from_joint(alone)).item())
        information = 0.5 * math.log(2 + 1 / variance) - 0.5 * math.log(2)
        assert estimates[-1] == pytest.approx(information, rel=0.08, abs=0.01)
        with torch.no_grad():
            from_joint.head.weight.mul_(0.7)  # a worse predictor from J alone only raises the bound
        assert kl_divergence(from_both(both), from_joint(alone)).item() > information
    assert all(a < b for a, b in pairwise(estimates))


def test_divergences_by_hand() -> None:
    first = torch.tensor([[[0.5, 0.5]]]).log()
    second = torch.tensor([[[0.25, 0.75]]]).log()
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert kl_divergence(first, second).item() == pytest.approx(expected)
    assert kl_divergence(first, first).item() == 0
    assert cross_entropy(first, second).item() == pytest.approx(expected + math.log(2))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4, 1e8])
def test_gradients_are_finite_at_any_activation(scale: float) -> None:
    torch.manual_seed(0)
    objective = InformationOrthogonality(8, 5)
    joint, motion, heatmaps = (torch.randn(3, c, 16, 12) * scale for c in (8, 8, 5))
    joint.requires_grad_()
    motion.requires_grad_()
    terms = objective(joint, motion, heatmaps)
    (terms.objective + terms.learning).backward()
    for value in (joint, motion, *objective.parameters()):
        assert value.grad is not None and value.grad.isfinite().all()


def test_objective_is_the_papers_sum() -> None:
    torch.manual_seed(0)
    objective = InformationOrthogonality(8, 5)
    terms = objective(*(torch.randn(3, c, 16, 12) for c in (8, 8, 5)))
    assert terms.objective.item() == pytest.approx((terms.shared - terms.needed + terms.conditional).item())
    # Up to the entropy of the heatmaps the needed information is a log likelihood.
    assert terms.needed.item() < 0 <= terms.conditional.item()


def test_minimising_makes_equal_features_unlike() -> None:
    """What J and M share, and the heatmaps do not need, goes."""
    torch.manual_seed(0)
    objective = InformationOrthogonality(4, 2)
    common = torch.randn(16, 4, 8, 6)
    joint, motion = nn.Parameter(common.clone()), nn.Parameter(common.clone())
    heatmaps = torch.zeros(16, 2, 8, 6)
    fit(objective.parameters(), lambda: objective(joint, motion, heatmaps).learning, steps=100, rate=1e-2)
    before = objective(joint, motion, heatmaps).shared.item()
    parameters = [joint, motion, *objective.parameters()]

    def loss() -> Tensor:
        terms = objective(joint, motion, heatmaps)
        return terms.objective + terms.learning

    fit(parameters, loss, steps=100, rate=2e-2)
    assert objective(joint, motion, heatmaps).shared.item() < before / 2
    spread = spatial_log_softmax(motion).exp().max().item()
    assert spread < 0.9  # and the flow has not collapsed to one pixel
