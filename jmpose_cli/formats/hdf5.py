"""HDF5 files of others: opened by h5py after a look at what they are made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jmpose.regular_file import open_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import HANDOVER, require

_MOST_VALUES = 200_000_000
_MOST_PARTS = 10_000
_MOST_PACKED = 1100  # bytes that deflate can make of one
_FREE_BYTES = 1 << 20  # of data sets that nothing was written into


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file; errors of h5py inside the block are errors of the file.

    Refused are links out of the file, data that lie in other files, and more numbers than fit into memory: a few bytes
    can stand for any number of them.

    Yields:
        An `h5py.File`.

    Raises:
        JmposeError: h5py is not installed; the file is missing, none, or one of the above.
    """
    h5py = require("h5py", extra=HANDOVER, by=f"reading {path}")
    try:
        open_regular(path).close()
    except OSError as error:
        raise JmposeError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error
    try:
        with h5py.File(path, "r") as file:
            _check(path, h5py, file)
            yield file
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError) as error:
        raise JmposeError(f"{path} cannot be read: {str(error)[:200]}", hint="it may be cut off or damaged") from error


def _check(path: Path, h5py: Any, file: Any) -> None:
    parts, values = 0, 0
    waiting = [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            parts += 1
            is_inside = isinstance(group.get(name, getlink=True), h5py.HardLink)
            entry = group[name] if is_inside else None
            if isinstance(entry, h5py.Group):
                waiting.append(entry)
            elif isinstance(entry, h5py.Dataset):
                is_inside = not entry.external and not entry.is_virtual
                values += entry.size or 0
                if (entry.size or 0) * entry.dtype.itemsize > _MOST_PACKED * entry.id.get_storage_size() + _FREE_BYTES:
                    raise JmposeError(
                        f"{path}: {name[:80]!r} holds {entry.size} values in {entry.id.get_storage_size()} bytes",
                        hint="it may be cut off or damaged",
                    )
            if not is_inside or values > _MOST_VALUES or parts > _MOST_PARTS:
                raise JmposeError(
                    f"{path}: has links or data outside of the file, or more than {_MOST_VALUES} numbers",
                    hint="copy it into one file of its own (h5repack), or split it",
                )
