"""What depends on the devices: BatchNorm over the windows of all; depthwise convolutions and memory on a CPU."""

import ctypes
import sys
from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverDevices(torch.autograd.Function):
    """Sum of a tensor over all devices; what each device's loss says of the sum is summed on the way back."""

    @staticmethod
    def forward(_: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose training statistics are those of all devices' batches together.

    torch's own needs CUDA, and timm's conversion is built on it; this one works wherever `torch.distributed` does.

    Args:
        plain: The module that it stands in for; parameters and buffers are taken over. timm's modules that also
            apply an activation keep it.
    """

    def __init__(self, plain: nn.BatchNorm2d) -> None:
        super().__init__(plain.num_features, plain.eps, plain.momentum, plain.affine, plain.track_running_stats)
        self.weight, self.bias = plain.weight, plain.bias
        self.running_mean, self.running_var = plain.running_mean, plain.running_var
        self.num_batches_tracked = plain.num_batches_tracked
        self.drop: nn.Module = getattr(plain, "drop", nn.Identity())
        self.act: nn.Module = getattr(plain, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, h, w]`."""
        if not self.training:
            return self._finish(super().forward(x))
        wide = x.float()
        sums = torch.cat([wide.sum((0, 2, 3)), wide.new_tensor([x.numel() / x.shape[1]])])
        total: Tensor = _SumOverDevices.apply(sums)
        count = total[-1].detach()
        mean = total[:-1] / count
        # In two passes: the difference of the mean square and the squared mean would lose digits.
        centred = wide - mean[:, None, None]
        squares: Tensor = _SumOverDevices.apply(centred.square().sum((0, 2, 3)))
        variance = squares / count
        self._remember(mean.detach(), (squares / (count - 1)).detach())
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return self._finish((centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype))

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)

    def _finish(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(self.drop(x))
        return result


def sync_batch_norms(module: nn.Module) -> None:
    """Replace every trained BatchNorm below `module`; the names in its state stay as they are."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            if child.weight is not None and child.weight.requires_grad:
                setattr(module, name, SyncedBatchNorm2d(child))
        else:
            sync_batch_norms(child)


def keep_freed_memory() -> None:
    """Let glibc keep the memory that is freed, for a training on a CPU; elsewhere, nothing happens.

    Each step asks for the same hundreds of megabytes again. Given back to the kernel in between, they come as new
    pages, zeroed one by one: a sixth of the time of a step.
    """
    if not sys.platform.startswith("linux"):
        return
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # of malloc.h
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 2**26)):
            libc.mallopt(option, value)


def keep_depthwise_fp32(module: nn.Module) -> None:
    """Take trained depthwise convolutions below `module` out of bf16 autocast, whose gradients are slow on a CPU."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d) and child.groups == child.in_channels > 1 and child.weight.requires_grad:
            child.__class__ = _in_fp32(type(child))


def _in_fp32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    def forward(self: nn.Conv2d, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return kind.forward(self, x.float())

    return type(kind.__name__, (kind,), {"forward": forward})


def mean_over_devices(value: Tensor) -> Tensor:
    """Average a scalar over all devices, without gradient; the value itself when there is one device."""
    value = value.detach()
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def gather_objects(mine: Any) -> list[Any]:
    """Collect one Python object of every process, in the order of their ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return [mine]
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return everyone
