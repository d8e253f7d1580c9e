"""Training losses: heatmap error, sides, and information orthogonality.

Letters: B windows, T frames, K joints, (h, w) heatmap.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmpose.config import HeatmapError, ModelConfig
from jmpose.information import InformationOrthogonality
from jmpose.network import JMPoseOutput

_LEAST, _MOST = 1e-30, 1 - 1e-4  # heatmaps under a logarithm; in bfloat16 those near 1 are 1
_NO_MASS = 0.01  # added to a heatmap's mass, so that what is nowhere says nothing of sides


def heatmap_loss(
    heatmaps: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    sigma: float,
    error: HeatmapError = "squared",
    mean_over_devices: Callable[[Tensor], Tensor] = torch.Tensor.detach,
) -> Tensor:
    """Error to the targets over visible joints, in units of one target Gaussian's energy.

    The squared error is the mean one times the constant h*w / (pi sigma^2), so that its size does not depend on
    the heatmap's: empty heatmaps have loss 1. The cross-entropy is each pixel's, less the target's own entropy: 0 where
    they are equal. Both are least where heatmaps are the mean of the targets. Through a sigmoid p, the gradient of the
    squared error has a factor p (1 - p), which all but vanishes where a peak is missing; that of the cross-entropy
    has none.

    Args:
        heatmaps: `[..., K, h, w]`.
        targets: `[..., K, h, w]`.
        weights: `[..., K]` visibility weights; a joint with weight 0 is left out.
        sigma: Standard deviation of the target Gaussians, heatmap pixels.
        error: What is summed over pixels; the cross-entropy is for heatmaps and targets from 0 to 1.
        mean_over_devices: When several devices hold a part of the batch each: averages a scalar over them. The mean
            of their losses is then the loss of the whole batch, however the weights are spread.

    Returns:
        Scalar, 0 where no joint has weight.
    """
    found = heatmaps.float()
    pixels = _excess_cross_entropy(found, targets) if error == "cross-entropy" else (found - targets).square()
    joints = pixels.sum((-2, -1)) / (math.pi * sigma**2)
    return (joints * weights).sum() / mean_over_devices(weights.sum()).clamp(min=1e-6)


def _excess_cross_entropy(found: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every pixel as the chance of a coin, less what it is where both are equal.

    torch's own is refused under autocast, and its gradient ends where heatmaps are below 1e-12.
    """
    found = found.clamp(_LEAST, _MOST)
    needed = targets * found.log() + (1 - targets) * torch.log1p(-found)
    return torch.xlogy(targets, targets) + torch.xlogy(1 - targets, 1 - targets) - needed


def distillation_loss(
    heatmaps: Tensor,
    taught: Tensor,
    *,
    sigma: float,
    error: HeatmapError = "squared",
    mean_over_devices: Callable[[Tensor], Tensor] = torch.Tensor.detach,
) -> Tensor:
    """Error to a teacher's heatmaps, in the units of `heatmap_loss`.

    It is the mean over the joints of which the teacher says anything: also what it is unsure of is learnt from.

    Args:
        heatmaps: `[B, K, h, w]`.
        taught: `[B, K, h, w]`, NaN where the teacher says nothing.
        sigma: Standard deviation of the target Gaussians, heatmap pixels.
        error: As in `heatmap_loss`.
        mean_over_devices: As in `heatmap_loss`.

    Returns:
        Scalar, 0 where the teacher says nothing at all.
    """
    known = ~taught.isnan()
    targets = torch.where(known, taught, heatmaps.detach().float())
    joints = known.flatten(-2).any(-1).to(targets.dtype)
    return heatmap_loss(heatmaps, targets, joints, sigma=sigma, error=error, mean_over_devices=mean_over_devices)


def side_loss(
    heatmaps: Tensor,
    targets: Tensor,
    weights: Tensor,
    flip_index: Sequence[int],
    *,
    mean_over_devices: Callable[[Tensor], Tensor] = torch.Tensor.detach,
) -> Tensor:
    """Cross-entropy of which of two joints, a left and a right one, is where.

    Heatmap l has the mass l_l around the place of the left joint and l_r around that of the right one, heatmap r
    likewise r_l and r_r; the chance that they are not exchanged is l_l r_r / (l_l r_r + l_r r_l). A heatmap error sees
    both peaks of a limb whose side is in doubt, and asks each to be higher or lower; this asks only which is the
    higher one. Pairs count when both joints have weight, and the less the more their places overlap.

    Args:
        heatmaps: `[..., K, h, w]`; what is below 0 counts as 0.
        targets: `[..., K, h, w]` Gaussians.
        weights: `[..., K]` visibility weights.
        flip_index: `[K]`, the joint of the other side, or the joint itself.
        mean_over_devices: As in `heatmap_loss`.

    Returns:
        Scalar: log 2 where heatmaps say nothing of sides, 0 where no pair counts.
    """
    left = [joint for joint, other in enumerate(flip_index) if joint < other]
    right = [flip_index[joint] for joint in left]
    places = targets / targets.sum((-2, -1), keepdim=True).clamp(min=_LEAST)
    at_left, at_right = places[..., left, :, :], places[..., right, :, :]

    def evidence(joints: list[int], place: Tensor) -> Tensor:
        return ((heatmaps[..., joints, :, :].float().clamp(min=0) * place).sum((-2, -1)) + _NO_MASS).log()

    kept = evidence(left, at_left) + evidence(right, at_right)
    exchanged = evidence(left, at_right) + evidence(right, at_left)
    overlap = (at_left * at_right).sum((-2, -1)) / at_left.square().sum((-2, -1)).clamp(min=_LEAST)
    counted = (1 - overlap).clamp(min=0) * torch.minimum(weights[..., left], weights[..., right])
    return (F.softplus(exchanged - kept) * counted).sum() / mean_over_devices(counted.sum()).clamp(min=1e-6)


@dataclass(frozen=True)
class LossTerms:
    """The loss and what it is made of, all scalars.

    Attributes:
        total: What to minimise: heatmap + initial + beta * information + estimator.
        heatmap: Heatmap loss of the key frame's final heatmaps.
        initial: Heatmap loss of the initial heatmaps; 0 where they are not trained.
        information: Sum of the information-orthogonality losses of all blocks.
        estimator: Sum of the estimators' own losses; its gradients reach nothing but the estimators.
    """

    total: Tensor
    heatmap: Tensor
    initial: Tensor
    information: Tensor
    estimator: Tensor


class JMPoseLoss(nn.Module):
    """The training loss of a model; holds the parameters of the information estimators.

    Optimise `loss.parameters()` beside the model's, and clip the two gradients apart: the estimators' would drown
    the model's. They are of no use after training.

    Args:
        config: Of the model.
        mean_over_devices: As in `heatmap_loss`. The information terms are estimated on each device by itself.

    Attributes:
        io_share: Scalar tensor, share of beta in use, 1 unless it is filled with another: so that beta can grow.
    """

    io_share: Tensor

    def __init__(
        self, config: ModelConfig, *, mean_over_devices: Callable[[Tensor], Tensor] = torch.Tensor.detach
    ) -> None:
        super().__init__()
        self._preprocess, self._mean_over_devices = config.preprocess, mean_over_devices
        self.io_weight = config.io_weight
        self.register_buffer("io_share", torch.ones(()), persistent=False)
        blocks, joints = config.mutual_blocks if config.io_estimator else 0, len(config.preprocess.keypoints)
        self.information = nn.ModuleList(InformationOrthogonality(config.channels, joints) for _ in range(blocks))

    def forward(
        self,
        output: JMPoseOutput,
        targets: Tensor,
        weights: Tensor,
        *,
        initial_targets: Tensor | None = None,
        initial_weights: Tensor | None = None,
    ) -> LossTerms:
        """Compute the loss of one batch.

        Args:
            output: Of the model.
            targets: `[B, K, h, w]` for the key frame.
            weights: `[B, K]`.
            initial_targets: `[B, T, K, h, w]` when the backbone is trained too; None leaves the term out.
            initial_weights: `[B, T, K]`, required with `initial_targets`.
        """
        sigma = self._preprocess.sigma_at(targets.shape[-2])
        mean = self._mean_over_devices
        heatmap = heatmap_loss(output.heatmaps, targets, weights, sigma=sigma, mean_over_devices=mean)
        zero = heatmap.new_zeros(())
        initial, information, estimator = zero, zero, zero
        if initial_targets is not None:
            if initial_weights is None:
                raise ValueError("initial_targets need initial_weights")
            initial = heatmap_loss(
                output.initial, initial_targets, initial_weights, sigma=sigma, mean_over_devices=mean
            )
        if self.information:
            parts = [
                term(joint, motion, output.initial_key)
                for term, joint, motion in zip(self.information, output.joint, output.motion, strict=True)
            ]
            information = torch.stack([p.objective for p in parts]).sum()
            estimator = torch.stack([p.learning for p in parts]).sum()
        total = heatmap + initial + self.io_weight * self.io_share * information + estimator
        return LossTerms(total, heatmap, initial, information, estimator)
