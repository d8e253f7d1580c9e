"""In which arithmetic a training run computes: what was asked for, where the device has it."""

from dataclasses import dataclass
from typing import Literal

from jmpose_cli.device import cpu_has_bf16
from jmpose_cli.errors import JmposeError

Asked = Literal["auto", "fp32", "bf16-mixed"]
Name = Literal["fp32", "bf16-mixed"]
_WITHOUT = {
    "cpu": "this processor has no bf16 arithmetic (AVX512-BF16 or AMX) and would be many times slower",
    "cuda": "this GPU is older than the first ones with bf16 arithmetic (Ampere)",
    "mps": "Apple GPUs are used in fp32",
}


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


def choose_arithmetic(asked: Asked, device: str, *, resume: bool) -> Arithmetic:
    """Choose by the setting and the device.

    Args:
        asked: The setting `precision`; `auto` takes bf16-mixed where it is fast.
        device: Kind of device: `cpu`, `cuda` or `mps`.
        resume: The run was begun, perhaps on another machine: it is to continue here too.

    Raises:
        JmposeError: A new run asks for what the device lacks.
    """
    if asked == "fp32":
        return Arithmetic("fp32")
    if _is_fast_in_bf16(device):
        return Arithmetic("bf16-mixed", may_differ=asked == "auto")
    if asked == "auto" or resume:
        return Arithmetic("fp32", _WITHOUT[device], may_differ=True)
    raise JmposeError(
        f"precision: {asked}: {_WITHOUT[device]}", hint="use --set precision=fp32, or auto, which goes by the device"
    )


def _is_fast_in_bf16(device: str) -> bool:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and cpu_has_bf16()
