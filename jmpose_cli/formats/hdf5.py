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

    def look(name: str, link: Any) -> bool | None:
        nonlocal parts, values
        parts += 1
        if parts > _MOST_PARTS or not isinstance(link, h5py.HardLink):
            return True
        entry = file[name]
        if isinstance(entry, h5py.Dataset):
            values += entry.size or 0
            if entry.external or entry.is_virtual or values > _MOST_VALUES:
                return True
        return None

    if file.visititems_links(look):
        raise JmposeError(
            f"{path}: has links or data outside of the file, or more than {_MOST_VALUES} numbers",
            hint="copy it into one file of its own (h5repack), or split it",
        )
