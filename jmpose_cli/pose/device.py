"""Where the networks run: asked for and there, or an error."""

import os
from dataclasses import dataclass

from jmpose_cli.errors import JmposeError


@dataclass(frozen=True)
class Device:
    """A device that exists.

    Attributes:
        name: torch's name, such as `cuda:0`.
        description: For people, such as `cuda:0 (NVIDIA H100)`.
    """

    name: str
    description: str


def choose_device(asked: str, *, precision: str) -> Device:
    """Check a device by torch's name, or take the best one for `auto`.

    Args:
        asked: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `fp32`, `bf16` or `fp16`; the CPU has no fp16.

    Raises:
        JmposeError: The device is unknown or absent, or lacks the precision.
    """
    import torch

    name = asked
    if asked == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (number and not (kind == "cuda" and number.isdigit())):
        raise JmposeError(f"--device {asked}: unknown", hint="allowed: auto, cpu, cuda, cuda:N, mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise JmposeError("--device mps: this machine has no Apple GPU that torch can use", hint="use --device cpu")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            there = f"torch {torch.__version__} sees {count} CUDA device{'s' * (count != 1)} here"
            raise JmposeError(f"--device {asked}: {there}", hint="use --device cpu, or check the driver")
        name = f"cuda:{int(number or 0)}"
    if kind == "cpu" and precision == "fp16":
        raise JmposeError("--precision fp16: the CPU has no half precision", hint="use fp32 or bf16")
    return Device(name, f"{name} ({torch.cuda.get_device_name(name)})" if kind == "cuda" else name)


def share_cores(stages: int) -> None:
    """Divide torch's CPU threads among stages that run at the same time.

    Two networks that each take all cores wait for one another at every layer: 2 threads each on 2 busy
    cores were several times slower than 1 each.
    """
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores // stages)))
