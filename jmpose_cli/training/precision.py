"""In which arithmetic a training run computes: what was asked for, where the device has it."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jmpose_cli.device import cpu_has_bf16
from jmpose_cli.errors import JmposeError

if TYPE_CHECKING:
    from torch import Tensor, nn

Asked = Literal["auto", "fp32", "bf16-mixed"]
Name = Literal["fp32", "bf16-mixed"]
_WITHOUT = {
    "cpu": "this processor has no bf16 arithmetic (AVX512-BF16 or AMX) and would be many times slower",
    "cuda": "this GPU is older than the first ones with bf16 arithmetic (Ampere)",
    "mps": "Apple GPUs are used in fp32",
}
_LEAST_GAIN = 1.1  # what bf16 must bring to be worth its rounding


@dataclass(frozen=True)
class Arithmetic:
    """What a run computes in.

    Attributes:
        name: `fp32`, or `bf16-mixed`: bfloat16 where it is safe.
        reason: Why it is not what one would expect; empty where it is.
        may_differ: Whether a checkpoint that was made in another arithmetic may be resumed.
    """

    name: Name
    reason: str = ""
    may_differ: bool = False


def choose_arithmetic(asked: Asked, device: str, *, resume: bool, cpu_gain: Callable[[], float]) -> Arithmetic:
    """Choose by the setting and the device.

    Args:
        asked: The setting `precision`; `auto` takes bf16-mixed where it is fast, on a CPU by measuring.
        device: Kind of device: `cpu`, `cuda` or `mps`.
        resume: The run was begun, perhaps on another machine: it is to continue here too.
        cpu_gain: Measures how many times as fast as in fp32 the CPU trains in bf16; asked where that decides.

    Raises:
        JmposeError: A new run asks for what the device lacks.
    """
    if asked == "fp32":
        return Arithmetic("fp32")
    if _has_bf16(device):
        gain = cpu_gain() if asked == "auto" and device == "cpu" else _LEAST_GAIN
        if gain < _LEAST_GAIN:
            reason = f"this processor trains {gain:.2f} times as fast in bf16 as in fp32"
            return Arithmetic("fp32", reason, may_differ=True)
        return Arithmetic("bf16-mixed", may_differ=asked == "auto")
    if asked == "auto" or resume:
        return Arithmetic("fp32", _WITHOUT[device], may_differ=True)
    raise JmposeError(
        f"precision: {asked}: {_WITHOUT[device]}", hint="use --set precision=fp32, or auto, which goes by the device"
    )


def _has_bf16(device: str) -> bool:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and cpu_has_bf16()


def cpu_bf16_gain(network: "nn.Module", inputs: "Tensor") -> float:
    """Measure how many times as fast as in fp32 this processor trains a network in bf16.

    Instructions alone do not tell: with AVX512-BF16, some processors are faster and some slower, for conversions come
    on top.

    Args:
        network: Gives tensors, one or several; itself it is left as it is.
        inputs: What it is given.
    """
    import torch

    from jmpose_cli.device import convolution_order
    from jmpose_cli.training.devices import keep_depthwise_fp32

    order = convolution_order(inputs.device)
    inputs = inputs.contiguous(memory_format=order)
    plain, mixed = (copy.deepcopy(network).train().to(memory_format=order) for _ in range(2))
    keep_depthwise_fp32(mixed)
    fastest = {"fp32": math.inf, "bf16": math.inf}
    for _ in range(3):  # in turns, so that what else is going on meets both
        for name, tried in (("fp32", plain), ("bf16", mixed)):
            began = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                given = tried(inputs)
            outputs = [given] if isinstance(given, torch.Tensor) else given
            torch.autograd.backward([output.float().square().mean() for output in outputs])
            fastest[name] = min(fastest[name], time.process_time() - began)
    return fastest["fp32"] / fastest["bf16"]
