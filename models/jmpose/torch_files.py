"""Files of PyTorch, read so that they run no code and take no more memory than they have bytes."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MAX_PARTS = 200_000


def load_plain(path: Path) -> Any:
    """Return the content of a file that `torch.save` wrote: tensors, plain values, and what `safe_globals` allows.

    Raises:
        ValueError: Its parts are compressed or overlap, or some tensors show the same values again and again; damaged
            pickles raise whatever they do.
    """
    check_archive(path)
    content = load_weights_only(path)
    check_tensors(content)
    return content


def load_weights_only(path: Path) -> Any:
    """Unpickle a file without running code, and without torch's warnings about what is odd in it.

    Raises:
        UnpicklingError: It is damaged, or asks for what `safe_globals` does not allow; others as pickles raise them.
    """
    with warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)


def check_archive(path: Path) -> None:
    """Make sure that an archive is no larger inside than it is; torch compresses nothing. Old files are no archives."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("no PyTorch file: it is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("no PyTorch file: its parts are larger than the whole")


def check_tensors(content: Any) -> None:
    """Make sure that all tensors in mappings and lists are plain; ValueError names the first that is not."""
    waiting, parts = [("", content)], 0
    while waiting:
        name, value = waiting.pop()
        parts += 1
        if parts > _MAX_PARTS:
            raise ValueError("it has too many parts")
        if isinstance(value, Mapping):
            waiting += [(str(key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(name, item) for item in value]
        elif isinstance(value, Tensor) and not is_plain(value):
            raise ValueError(f"{name} is no plain tensor")


def is_plain(tensor: Tensor) -> bool:
    """Tell tensors whose values all lie in the file from views that repeat a few."""
    return (
        tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_quantized
        and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    )
