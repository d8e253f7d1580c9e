"""Tensors from safetensors files, checked and put into a module."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jmpose.errors import WeightsError
from jmpose.files import WholeFile

Module = TypeVar("Module", bound=nn.Module)


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata of a safetensors file and its tensors.

    Raises:
        WeightsError: The file is damaged or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is damaged or no safetensors file: {error}", "copy or download the file again"
        ) from error


def write_half(module: nn.Module, path: Path, *, kind: str) -> None:
    """Write a module's floating-point tensors as float16 `.safetensors`, whole or not at all.

    Args:
        module: Its tensors.
        path: Of the file.
        kind: Put into the metadata, to be asked for when it is read.

    Raises:
        WeightsError: The file cannot be written.
    """
    state = {name: tensor.detach().half().contiguous() for name, tensor in module.state_dict().items()}
    try:
        with WholeFile(path) as unfinished:
            save_file(state, unfinished, metadata={"format": "pt", "kind": kind})
            unfinished.chmod(0o644)  # safetensors lets nobody else read it
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be written: {error}", "a writable folder with free space") from error


def read_half(path: Path, make: Callable[[], Module], *, kind: str, of: str, example: str) -> Module:
    """Read what `write_half` wrote into a module, float32.

    Args:
        path: Of the file.
        make: Makes the module, in eval mode; it is called on the meta device.
        kind: As in `write_half`.
        of: What the file should hold, for messages.
        example: A file that does, for hints.

    Raises:
        WeightsError: The file is missing, damaged, or of another module.
    """
    metadata, state = read_tensors(path)
    if metadata.get("kind") != kind:
        raise WeightsError(f"{path} holds no {of}", f"{example}, or one trained by its recipe")
    with torch.device("meta"):
        module = make()
    check_fit(state, module.state_dict(), path=path, of=f"a {of}", hint=f"{example}, or its like")
    fill(module, state)
    return module


def check_fit(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, path: Path, of: str, hint: str = ""
) -> None:
    """Compare names, shapes and kinds of numbers of what is stored with what a module needs.

    Args:
        state: The stored tensors.
        expected: The module's `state_dict()`; its values are not looked at.
        path: Where `state` comes from, for the message.
        of: Whose weights they should be, for the message.
        hint: What to do if they do not fit.

    Raises:
        WeightsError: Tensors are missing, unknown, of another shape, or hold whole numbers for fractions; the first
            of them are named.
    """
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    differing = [
        f"{name} {list(state[name].shape)} for {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    other_kinds = [
        f"{name} {state[name].dtype} for {tensor.dtype}"
        for name, tensor in expected.items()
        if name in state and state[name].is_floating_point() != tensor.is_floating_point()
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", differing),
            ("of another type", other_kinds),
        )
        if names
    ]
    if problems:
        raise WeightsError(f"{path} does not hold the weights of {of}: {'; '.join(problems)}", hint)


def fill(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put tensors that fit into a module that was built on the meta device; floating ones become float32."""
    # Copies: tensors of a safetensors file may be windows on it, and it may be written anew.
    own = {n: t.to(torch.float32 if t.is_floating_point() else t.dtype, copy=True) for n, t in state.items()}
    module.load_state_dict(own, assign=True)
