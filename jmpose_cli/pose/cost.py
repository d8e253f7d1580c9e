"""What a network costs: parameters, multiply-adds, memory. Nothing is computed: only shapes go through it."""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from jmpose.network import JMPose
from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo.store import known_models

_RESERVE_BYTES = 600 << 20  # CUDA itself, and what kernels put aside
_FRAGMENTED = 1.2  # torch's allocator holds more than what is in use


@dataclass(frozen=True)
class Cost:
    """Of one call of a network.

    Attributes:
        parameters: Learnt values.
        macs: Multiply-adds of convolutions, matrix products and attention.
        picture_macs: The same for one picture in the backbone alone.
        weights_bytes: Memory of parameters and statistics.
        peak_bytes: Memory of the inputs and of what is computed, at the moment when it is most.
    """

    parameters: int
    macs: int
    picture_macs: int
    weights_bytes: int
    peak_bytes: int


def cost_of(model: JMPose, *, windows: int = 1, dtype: torch.dtype = torch.float32) -> Cost:
    """Follow one call with `windows` windows through the network, convolutions and products in `dtype`."""
    window = model.config.preprocess
    state: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shape = (windows, window.frames, 3, window.input_height, window.input_width)
    memory, flops, picture_flops = _PeakMemory(), FlopCounterMode(display=False), FlopCounterMode(display=False)
    half = torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32)
    with torch.no_grad(), FakeTensorMode() as fake:
        empty: dict[str, Tensor] = {name: fake.from_tensor(value) for name, value in state.items()}
        with flops, memory, half:
            functional_call(model, empty, (torch.empty(shape), torch.ones(shape[:2], dtype=torch.bool)))
        backbone = {n.removeprefix("backbone."): value for n, value in empty.items() if n.startswith("backbone.")}
        with picture_flops:
            functional_call(model.backbone, backbone, (torch.empty(1, *shape[2:]),))
    parameters = sum(p.numel() for p in model.parameters())
    weights = sum(value.numel() * value.element_size() for value in state.values())
    macs, picture_macs = (counter.get_total_flops() // 2 for counter in (flops, picture_flops))
    return Cost(parameters, macs, picture_macs, weights, memory.peak_bytes)


def require_memory(model: JMPose, device: torch.device, *, windows: int, dtype: torch.dtype, flip_test: bool) -> None:
    """Make sure that a network fits into what is free on a CUDA device; other devices are not looked at.

    Counted are calls on whole windows (`shared_crops`). One look at each person takes less, but keeps maps of people
    in the frames around, which are not counted.

    Args:
        model: The network, still on the CPU.
        device: Where it will go.
        windows: Windows of one call.
        dtype: Of the computation; the weights stay in float32.
        flip_test: The mirrored windows' results are kept beside.

    Raises:
        JmposeError: It does not; how much is needed, and what does fit.
    """
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    cost = cost_of(model, windows=windows, dtype=dtype)
    activations = int(cost.peak_bytes * _FRAGMENTED * (1.1 if flip_test else 1))
    needed = cost.weights_bytes + activations + _RESERVE_BYTES
    if needed <= free:
        return
    most = (free - cost.weights_bytes - _RESERVE_BYTES) * windows // activations
    raise JmposeError(
        f"{model.config.name} needs about {_gb(needed)} of GPU memory with {windows} windows at a time; {device} has "
        f"{_gb(free)} free of {_gb(total)}",
        hint=f"use --batch {most}"
        if most > 0
        else f"{_smaller(cost.parameters / 1e6 * free / needed)}, or --device cpu",
    )


def _smaller(parameters_m: float) -> str:
    """Name the largest pose models with fewer parameters, which memory goes with."""
    sizes = {e.name: e.parameters_m or 0.0 for e in known_models().values() if e.kind == "pose"}
    fitting = sorted((name for name, size in sizes.items() if size <= parameters_m), key=sizes.__getitem__)
    return f"a smaller model fits: {', '.join(reversed(fitting[-3:])) or 'nano'}"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


class _PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that are alive; `peak_bytes` is the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._now = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self._now += size
        self.peak_bytes = max(self.peak_bytes, self._now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._now -= size
