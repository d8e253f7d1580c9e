import math

import pytest
import torch

from jmpose.config import HeatmapError
from jmpose.losses import JMPoseLoss, distillation_loss, heatmap_loss, side_loss
from jmpose.network import JMPoseOutput
from jmpose.targets import gaussian_targets
from tests.jmpose.tiny_model import tiny_config, tiny_model, tiny_windows


def test_hand_computed() -> None:
    heatmaps = torch.zeros(1, 3, 2, 2)
    targets = torch.zeros(1, 3, 2, 2)
    targets[0, 0, 0, 0] = 1.0  # squared error 1
    targets[0, 1] = 0.5  # squared error 4 * 0.25
    targets[0, 2] = 9.0  # invisible
    loss = heatmap_loss(heatmaps, targets, torch.tensor([[1.0, 3.0, 0.0]]), sigma=1.0)
    assert loss.item() == pytest.approx((1 * 1 + 3 * 1) / 4 / math.pi)


@pytest.mark.parametrize(("size", "sigma"), [((64, 48), 2.0), ((96, 72), 3.0)])
def test_empty_heatmaps_cost_one_at_every_size(size: tuple[int, int], sigma: float) -> None:
    targets = gaussian_targets(torch.full((1, 1, 2), 100.3), torch.ones(1, 1), heatmap_size=size, sigma=sigma)
    loss = heatmap_loss(torch.zeros_like(targets), targets, torch.ones(1, 1), sigma=sigma)
    assert loss.item() == pytest.approx(1, rel=1e-3)


def test_no_visible_joint_costs_nothing_and_has_finite_gradients() -> None:
    heatmaps = torch.rand(1, 2, 4, 4, requires_grad=True)
    loss = heatmap_loss(heatmaps, torch.ones(1, 2, 4, 4), torch.zeros(1, 2), sigma=1.0)
    loss.backward()
    assert loss.item() == 0
    assert heatmaps.grad is not None and heatmaps.grad.abs().max().item() == 0


def test_cross_entropy_through_a_sigmoid_asks_for_what_is_missing() -> None:
    """Its gradient is the error itself; that of the squared error fades where a peak is missing."""
    logits = torch.tensor([[[[-60.0, -9.0, 0.0, 9.0]]]], requires_grad=True)
    targets = torch.tensor([[[[1.0, 1.0, 0.25, 1.0]]]])
    loss = heatmap_loss(logits.sigmoid(), targets, torch.ones(1, 1), sigma=1.0, error="cross-entropy")
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = (logits.detach().sigmoid() - targets) / math.pi
    torch.testing.assert_close(gradient[..., :3], expected[..., :3])
    squared = heatmap_loss(logits.sigmoid(), targets, torch.ones(1, 1), sigma=1.0)
    (faded,) = torch.autograd.grad(squared, logits)
    assert faded[0, 0, 0, 1].abs() < 1e-3 * gradient[0, 0, 0, 1].abs()


@pytest.mark.parametrize("error", ["squared", "cross-entropy"])
def test_both_errors_are_least_at_the_mean_of_targets(error: HeatmapError) -> None:
    targets = torch.tensor([0.0, 0.3, 1.0, 1.0]).view(4, 1, 1, 1)
    tried = torch.linspace(0.01, 0.99, 99)
    losses = [
        heatmap_loss(torch.full((4, 1, 1, 1), float(p)), targets, torch.ones(4, 1), sigma=1.0, error=error).item()
        for p in tried
    ]
    assert tried[losses.index(min(losses))].item() == pytest.approx(0.575, abs=0.01)
    assert heatmap_loss(targets, targets, torch.ones(4, 1), sigma=1.0, error=error).item() == pytest.approx(0, abs=1e-4)


def test_cross_entropy_of_heatmaps_rounded_to_0_and_1_is_finite() -> None:
    heatmaps = torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]], dtype=torch.bfloat16, requires_grad=True)
    targets = torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]])
    loss = heatmap_loss(heatmaps, targets, torch.ones(1, 1), sigma=1.0, error="cross-entropy")
    loss.backward()
    assert loss.isfinite() and loss > 1
    assert heatmaps.grad is not None and heatmaps.grad.isfinite().all()


def test_a_teacher_counts_where_it_says_something() -> None:
    heatmaps = torch.zeros(1, 3, 2, 2, requires_grad=True)
    taught = torch.full((1, 3, 2, 2), torch.nan)
    taught[0, 0] = 0.5  # squared error 4 * 0.25
    taught[0, 1, 0, 0] = 1.0  # squared error 1; of the third joint it knows nothing
    loss = distillation_loss(heatmaps, taught, sigma=1.0)
    loss.backward()
    assert loss.item() == pytest.approx((1 + 1) / 2 / math.pi)
    assert heatmaps.grad is not None
    assert (heatmaps.grad[0] != 0).sum((-2, -1)).tolist() == [4, 1, 0]


def two_ankles(left: float, right: float) -> torch.Tensor:
    """Heatmaps of a nose and of two ankles 9 pixels apart.

    `left` of what is at the left one is in the left one's heatmap, `right` of what is at the right one in the right's.
    """
    places = 4 * torch.tensor([[[10.0, 2.0], [4.0, 12.0], [13.0, 12.0]]])
    nose, at_left, at_right = gaussian_targets(places, torch.ones(1, 3), heatmap_size=(16, 20), sigma=1.5)[0]
    ankles = [left * at_left + (1 - right) * at_right, (1 - left) * at_left + right * at_right]
    return torch.stack([nose, *ankles])[None]


FLIPPED = (0, 2, 1)


def test_sides_cost_most_when_exchanged_and_nothing_when_right() -> None:
    targets, weights = two_ankles(1, 1), torch.ones(1, 3)
    right, unsure, wrong = (side_loss(two_ankles(p, p), targets, weights, FLIPPED).item() for p in (1, 0.5, 0))
    assert right < 0.01
    assert unsure == pytest.approx(math.log(2), rel=1e-3)
    assert wrong > 5
    assert side_loss(torch.zeros(1, 3, 16, 20), targets, weights, FLIPPED).item() == pytest.approx(math.log(2))


def test_sides_ask_nothing_of_the_sum_of_both_peaks() -> None:
    heatmaps = two_ankles(0.4, 0.4).requires_grad_()
    side_loss(heatmaps, two_ankles(1, 1), torch.ones(1, 3), FLIPPED).backward()
    assert heatmaps.grad is not None
    nose, left, right = heatmaps.grad[0]
    assert nose.abs().max() == 0
    assert left[12, 4] < 0 < left[12, 13] and right[12, 13] < 0 < right[12, 4]


@pytest.mark.parametrize("weights", [(1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)])
def test_sides_of_a_pair_of_which_one_is_unknown_cost_nothing(weights: tuple[float, ...]) -> None:
    heatmaps = two_ankles(0, 0).requires_grad_()
    loss = side_loss(heatmaps, two_ankles(1, 1), torch.tensor([weights]), FLIPPED)
    loss.backward()
    assert loss.item() == 0
    assert heatmaps.grad is not None and heatmaps.grad.abs().max() == 0


def test_pairs_on_one_point_have_no_sides() -> None:
    places = 4 * torch.tensor([[[10.0, 2.0], [4.0, 12.0], [4.0, 12.0]]])
    targets = gaussian_targets(places, torch.ones(1, 3), heatmap_size=(16, 20), sigma=1.5)
    assert side_loss(two_ankles(0, 0), targets, torch.ones(1, 3), FLIPPED).item() == 0


def test_total_is_made_of_its_terms() -> None:
    config = tiny_config(io_estimator="bounds", io_weight=0.5)
    model, loss = tiny_model(config), JMPoseLoss(config)
    targets = torch.rand(2, 3, 17, 16, 8)
    weights = torch.ones(2, 3, 17)
    terms = loss(model(tiny_windows()), targets[:, 1], weights[:, 1], initial_targets=targets, initial_weights=weights)
    total = terms.heatmap + terms.initial + 0.5 * terms.information + terms.estimator
    assert terms.total.item() == pytest.approx(total.item())
    assert terms.initial.item() > 0 and terms.estimator.item() > 0 and terms.information.item() != 0
    assert len(loss.information) == config.mutual_blocks


def test_initial_heatmaps_are_left_out_on_demand() -> None:
    config = tiny_config(io_estimator=None)
    terms = JMPoseLoss(config)(tiny_model(config)(tiny_windows()), torch.rand(2, 17, 16, 8), torch.ones(2, 17))
    assert terms.initial.item() == terms.information.item() == terms.estimator.item() == 0
    assert terms.total.item() == terms.heatmap.item()


def test_initial_targets_need_weights() -> None:
    config = tiny_config(io_estimator=None)
    maps = torch.zeros(1, 17, 16, 8)
    output = JMPoseOutput(maps, maps[:, None], (), (), 0)
    with pytest.raises(ValueError, match="initial_targets need initial_weights"):
        JMPoseLoss(config)(output, maps, torch.ones(1, 17), initial_targets=maps[:, None])


def test_information_gradients_reach_both_streams_but_estimator_gradients_do_not() -> None:
    config = tiny_config()
    model, loss = tiny_model(config), JMPoseLoss(config)
    terms = loss(model(tiny_windows()), torch.rand(2, 17, 16, 8), torch.ones(2, 17))
    ours, theirs = list(model.mutual_blocks.parameters()), list(loss.parameters())
    reached = torch.autograd.grad(terms.information, ours, retain_graph=True, allow_unused=True)
    assert all(g is not None for g in reached)
    assert not terms.information.requires_grad or all(
        g is None for g in torch.autograd.grad(terms.information, theirs, retain_graph=True, allow_unused=True)
    )
    untouched = torch.autograd.grad(terms.estimator, ours, retain_graph=True, allow_unused=True)
    assert all(g is None for g in untouched)
    assert all(g is not None for g in torch.autograd.grad(terms.estimator, theirs, allow_unused=True))
