"""Where the networks run: asked for and there, or an error."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jmpose_cli.errors import JmposeError

if TYPE_CHECKING:
    import torch

_SINCE_AMPERE = ("tf32", "bf16")
_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})  # products of bytes, summed without overflow
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_ISAS_WITHOUT_BF16 = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"})
_PRINT_OPTIONS = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
_TORCH_PRINTS = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}  # its own
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
        precision: `fp32`, `tf32` (CUDA only), `bf16` (on a CPU: one that has it), `fp16` (not on a CPU: ten times as
            long as fp32) or `int8` (on a CPU that has it).

    Raises:
        JmposeError: The device is unknown or absent, or lacks the precision.
    """
    name = asked
    if asked == "auto":
        name = _best_device() if may_take_gpu(asked) else "cpu"
    kind, _, number = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (number and not (kind == "cuda" and number.isdigit())):
        raise JmposeError(f"--device {asked}: unknown", hint="allowed: auto, cpu, cuda, cuda:N, mps")
    if kind == "mps":
        import torch

        if not torch.backends.mps.is_available():
            raise JmposeError("--device mps: this machine has no Apple GPU that torch can use", hint="use --device cpu")
    if kind == "cuda":
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            there = f"torch {torch.__version__} sees {count} CUDA device{'s' * (count != 1)} here"
            raise JmposeError(f"--device {asked}: {there}", hint="use --device cpu, or check the driver")
        name = f"cuda:{int(number or 0)}"
    others = "use fp32" if kind == "cpu" and not cpu_has_bf16() else "use fp32 or bf16"
    if kind == "cpu" and precision == "fp16":
        raise JmposeError("--precision fp16: on a CPU it is far slower than fp32", hint=others)
    if kind == "cpu" and precision == "bf16" and not cpu_has_bf16():
        lacking = "this processor has no arithmetic for it (AVX512-BF16 or AMX), so it is many times slower than fp32"
        raise JmposeError(f"--precision bf16: {lacking}", hint="use fp32, which is what runs take without --precision")
    if precision == "int8" and kind != "cpu":
        raise JmposeError(f"--precision int8: only CPUs, not {name}", hint="use --device cpu, or fp32")
    if precision == "int8" and not cpu_has_int8():
        lacking = "this processor has no arithmetic for it (AVX-VNNI or AVX512-VNNI), so sums of products overflow"
        raise JmposeError(f"--precision int8: {lacking}", hint="use fp32, which is what runs take without --precision")
    if precision == "tf32" and kind != "cuda":
        raise JmposeError(f"--precision tf32: only CUDA devices have it, not {name}", hint=others)
    if kind != "cuda":
        return Device(name, name)
    if precision in _SINCE_AMPERE and torch.cuda.get_device_capability(name) < (8, 0):
        older = f"{torch.cuda.get_device_name(name)} is older than the first GPUs that have it (Ampere)"
        raise JmposeError(f"--precision {precision}: {older}", hint="use fp32 or fp16")
    return Device(name, f"cuda ({torch.cuda.get_device_name(name)})")


def _best_device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def may_take_gpu(asked: str) -> bool:
    """Whether a run will take a GPU, by the files that a driver makes: without torch, whose import takes seconds."""
    kind = asked.partition(":")[0]
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/nvmap")  # NVIDIA, Windows' Linux, AMD, Jetson
    return kind in ("cuda", "mps") or (
        kind == "auto" and (sys.platform == "darwin" or any(os.path.exists(path) for path in drivers))
    )


def cpu_has_bf16() -> bool:
    """Whether this machine's processor multiplies in bfloat16; without, each product is emulated, 5 to 25 times slower.

    False also where it is not known, and where oneDNN, which does the work, is told not to use what is there.
    """
    told = {os.environ.get(name, "").upper() for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")}
    return bool(_BF16_FLAGS & _cpu_flags()) and not told & _ISAS_WITHOUT_BF16


def cpu_has_int8() -> bool:
    """Whether this machine's processor adds up products of bytes in one instruction; False where it is not known."""
    return bool(_INT8_FLAGS & _cpu_flags())


@cache
def _cpu_flags() -> frozenset[str]:
    """What the processor can do, by the kernel's names."""
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
        with suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout
            return frozenset({"bf16"} if said.strip() == "1" else ())
        return frozenset()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, flags = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86, ARM
                return frozenset(flags.split())
    return frozenset()


def set_float32_arithmetic(*, tf32: bool) -> None:
    """Choose for the whole process how CUDA multiplies float32: exactly, or with mantissas of 10 bits (TensorFloat-32).

    Torch's own choice is mixed: exact matrix products, and convolutions in TF32.
    """
    import torch

    _note_torch_settings()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def convolution_order(device: "torch.device") -> "torch.memory_format":
    """Return the order of maps and weights of convolutions: channels last on the CPU, channel by channel elsewhere.

    On a CPU channels last is faster; on CUDA it may cost a minute of compilation for each new shape (seen on an H200).
    """
    import torch

    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


_TorchSettings = tuple[str, bool, int]
_as_imported: list[_TorchSettings] = []  # where it was a network here that imported torch


def _torch_settings() -> _TorchSettings:
    import torch

    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.get_num_threads()


def _note_torch_settings() -> None:
    """Remember what torch was set to, before it is set otherwise for the first time."""
    if not _as_imported:
        _as_imported.append(_torch_settings())


@contextmanager
def process_settings_restored() -> Iterator[None]:
    """Restore, at the end, what networks set for the whole process: arithmetic, and threads of torch and OpenCV.

    Torch is not imported for it.
    """
    import cv2

    before = _torch_settings() if "torch" in sys.modules else None
    cv2_threads = cv2.getNumThreads()
    try:
        yield
    finally:
        if settings := before or next(iter(_as_imported), None):
            import torch

            torch.set_float32_matmul_precision(settings[0])
            torch.backends.cudnn.allow_tf32 = settings[1]
            torch.set_num_threads(settings[2])
        cv2.setNumThreads(cv2_threads)


@contextmanager
def printing_kept() -> Iterator[None]:
    """Restore, at the end, how NumPy and torch print arrays and which warnings show: libraries set it when loaded."""
    import numpy as np

    # There is no function that tells them.
    kept = vars(sys.modules["torch"]._tensor_str.PRINT_OPTS) if "torch" in sys.modules else _TORCH_PRINTS
    of_torch = {name: kept[name] for name in _PRINT_OPTIONS}
    try:
        with warnings.catch_warnings(), np.printoptions():
            yield
    finally:
        if "torch" in sys.modules:
            import torch

            torch.set_printoptions(**of_torch)  # type: ignore[no-untyped-call]


class CallThreads:
    """Runs calls of a network side by side on the CPU, each on one thread.

    Threads inside a call split sums in other places, and the result differs in its last digits with their number.
    Calls side by side give every call the same result on any number of cores, and small networks finish sooner.
    Those of torch: see `torch_calls`.

    Args:
        threads: Calls at a time.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="call") if threads > 1 else None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def map(self, call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return the results in the order of the items."""
        if self._pool is None:
            return [call(item) for item in items]
        return list(self._pool.map(call, items))


def torch_calls(threads: int) -> CallThreads:
    """Return the threads for networks of torch, whose own are set to one for the whole process."""
    import torch

    _note_torch_settings()
    torch.set_num_threads(1)
    return CallThreads(threads)


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
