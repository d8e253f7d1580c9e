"""Where the networks run: asked for and there, or an error."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from jmpose_cli.errors import JmposeError

_SINCE_AMPERE = ("tf32", "bf16")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Device:
    """A device that exists.

    Attributes:
        name: torch's name, such as `cuda:0`.
        kind: What it is, without its number, such as `cuda (NVIDIA H100)`.
    """

    name: str
    kind: str

    @property
    def description(self) -> str:
        """For people, such as `cuda:0 (NVIDIA H100)`."""
        return self.kind.replace("cuda", self.name, 1)


def choose_device(asked: str, *, precision: str) -> Device:
    """Check a device by torch's name, or take the best one for `auto`.

    Args:
        asked: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `fp32`, `tf32` (CUDA only), `bf16` or `fp16` (not on a CPU: ten times as long as fp32).

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
        raise JmposeError("--precision fp16: on a CPU it is far slower than fp32", hint="use fp32 or bf16")
    if precision == "tf32" and kind != "cuda":
        raise JmposeError(f"--precision tf32: only CUDA devices have it, not {name}", hint="use fp32 or bf16")
    if precision in _SINCE_AMPERE and kind == "cuda" and torch.cuda.get_device_capability(name) < (8, 0):
        older = f"{torch.cuda.get_device_name(name)} is older than the first GPUs that have it (Ampere)"
        raise JmposeError(f"--precision {precision}: {older}", hint="use fp32 or fp16")
    return Device(name, f"cuda ({torch.cuda.get_device_name(name)})" if kind == "cuda" else name)


def set_float32_arithmetic(*, tf32: bool) -> None:
    """Choose for the whole process how CUDA multiplies float32: exactly, or with mantissas of 10 bits (TensorFloat-32).

    Torch's own choice is mixed: exact matrix products, and convolutions in TF32.
    """
    import torch

    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


class CallThreads:
    """Runs calls of a network side by side on the CPU, each on one thread.

    Threads inside a call split sums in other places, and the result differs in its last digits with their number.
    Calls side by side give every call the same result on any number of cores, and small networks finish sooner.
    Torch's own threads are set to one for the whole process.

    Args:
        threads: Calls at a time.
    """

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(1)
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="call") if threads > 1 else None

    def map(self, call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Give the results in the order of the items."""
        if self._pool is None:
            return [call(item) for item in items]
        return list(self._pool.map(call, items))


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
