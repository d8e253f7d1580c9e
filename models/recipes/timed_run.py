"""A training run with a budget in minutes: what a checkpoint holds, one optimiser step, a moving average."""

import copy
import math
import os
from pathlib import Path

import torch
from torch import Tensor, nn

SAVE_EVERY_S = 120


class TimedRun:
    """Network, moving average, optimiser and time spent; goes on from `path` when it exists.

    Args:
        net: What is trained; parameters without gradient stay out.
        path: The checkpoint.
        minutes: The budget; the cosine schedule of the rate runs over it.
        rate: Highest learning rate of AdamW.
        helpers: Modules optimised along that are of no use afterwards, such as a loss with parameters.
    """

    def __init__(
        self, net: nn.Module, path: Path, *, minutes: float, rate: float, helpers: nn.Module | None = None
    ) -> None:
        self.net, self.path, self.budget_s, self.rate = net, path, minutes * 60, rate
        self.average = copy.deepcopy(net).requires_grad_(False).eval()
        # Clipped apart: the helpers' gradients would drown the network's.
        self._clipped = [[p for p in m.parameters() if p.requires_grad] for m in (net, helpers or nn.Module())]
        trained = [p for group in self._clipped for p in group]
        decayed = [p for p in trained if p.ndim > 1]
        plain = [p for p in trained if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate)
        self.step, self.epoch, self.spent_s, self._saved_s = 0, 0, 0.0, 0.0
        self._stateful = {"net": net, "average": self.average, "optimizer": self.optimizer}
        if helpers is not None:
            self._stateful["helpers"] = helpers
        if path.exists():
            state = torch.load(path, weights_only=True)
            for name, holder in self._stateful.items():
                holder.load_state_dict(state[name])
            self.step, self.epoch, self.spent_s = state["step"], state["epoch"], state["spent_s"]
            self._saved_s = self.spent_s

    @property
    def share(self) -> float:
        """The part of the budget that is spent, 0 to 1."""
        return min(self.spent_s / self.budget_s, 1.0)

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {name: holder.state_dict() for name, holder in self._stateful.items()}
        partial = self.path.with_suffix(".partial")
        torch.save(state | {"step": self.step, "epoch": self.epoch, "spent_s": self.spent_s}, partial)
        os.replace(partial, self.path)
        self._saved_s = self.spent_s

    def spend(self, seconds: float) -> None:
        """Count time, and write the checkpoint when the last one is old."""
        self.spent_s += seconds
        if self.spent_s - self._saved_s > SAVE_EVERY_S:
            self.save()

    def update(self, loss: Tensor) -> None:
        """Take one optimiser step at the rate of this moment and move the average."""
        rate = self.rate * min((self.step + 1) / 300, 1.0)
        rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * self.share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        for parameters in self._clipped:
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        self.optimizer.step()
        self.step += 1
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True)
            for kept, new in pairs:
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)
