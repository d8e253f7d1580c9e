"""How weights change: parameter groups, the rate at a step, clipping, the moving average."""

import bisect
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from jmpose.backbones import Backbone
from jmpose.network import JMPose
from jmpose_cli.training.config import OptimConfig
from jmpose_cli.training.trainee import Trainee

Tensors = tuple[Tensor, ...] | list[Tensor]
LEAST_RATE = 0.01
"""Share of the rate at which a cosine schedule ends."""


def build_optimizer(trainee: Trainee, settings: OptimConfig) -> torch.optim.AdamW:
    """AdamW over what has gradients; biases and norms are not decayed. Each group carries its own `peak_lr`."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    rates = _backbone_rates(trainee.model.backbone, settings)
    for parameter in trainee.parameters():
        if parameter.requires_grad:
            rate = rates.get(id(parameter), settings.lr)
            groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rate,
                "peak_lr": rate,
                "weight_decay": settings.weight_decay if is_matrix else 0.0,
            }
            for (rate, is_matrix), parameters in groups.items()
        ]
    )


def _backbone_rates(backbone: Backbone, settings: OptimConfig) -> dict[int, float]:
    """Rate of each parameter of the backbone: `layer_decay` less with every part of its body further down."""
    rates = dict.fromkeys(map(id, backbone.parameters()), settings.backbone_lr)
    body = backbone.get_submodule("body")
    parts = [child for child in body.children() if any(True for _ in child.parameters())]
    for depth, part in enumerate(reversed(parts), start=1):
        rates |= dict.fromkeys(map(id, part.parameters()), settings.backbone_lr * settings.layer_decay**depth)
    return rates


def rate_share(step: int, settings: OptimConfig, *, steps_an_epoch: int, total_steps: int) -> float:
    """Share of the highest rate at a step, counted from 0: warm-up, then steps or a cosine."""
    warm = min((step + 1) / settings.warmup_steps, 1.0) if settings.warmup_steps else 1.0
    if settings.schedule == "step":
        passed: int = bisect.bisect_right(settings.milestones, step / steps_an_epoch)
        return warm * 0.1**passed
    done = min(step / total_steps, 1.0)
    return warm * (LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2)


def io_share(step: int, settings: OptimConfig) -> float:
    """Share of the weight of information orthogonality at a step, counted from 0: it grows evenly, then stays 1."""
    return min((step + 1) / settings.io_warmup_steps, 1.0) if settings.io_warmup_steps else 1.0


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set the rate of every group to a share of its highest."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share


def clip_gradients(trainee: Trainee, largest: float) -> Tensor:
    """Clip the model's gradients, and apart from them those of the loss: its estimators' would drown the model's.

    Returns:
        Norm of the model's gradients before.
    """
    helpers = list(trainee.loss.parameters())
    if helpers:
        nn.utils.clip_grad_norm_(helpers, largest)
    return nn.utils.clip_grad_norm_(trainee.trained.parameters(), largest)


def moving_average(model: JMPose, decay: float) -> AveragedModel:
    """Exponential moving average of weights and BatchNorm statistics; young averages forget faster."""

    @torch.no_grad()
    def average(kept: Tensors, new: Tensors, count: Any) -> None:
        # All tensors of one type at once: one by one, a GPU waits for each.
        mixed = new
        if kept[0].is_floating_point():
            mixed = torch._foreach_lerp(new, kept, min(decay, (1 + int(count)) / (10 + int(count))))
        torch._foreach_copy_(kept, mixed)

    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    averaged.requires_grad_(False)
    return averaged.eval()
