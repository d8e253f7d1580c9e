"""Paths that a file names: they are looked up below the folder that they belong to, and nowhere else."""

import os
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath


class OutsideError(ValueError):
    """A path in a file leads out of the folder that it belongs to; the text is a clause for the user."""


def path_inside(root: Path, named: str | os.PathLike[str]) -> Path:
    """Resolve a path that a file names, which may not exist.

    Whoever wrote the file need not be who reads it, so that what it names is only looked for below `root`: no absolute
    path, no `..`, no link that leads out of it. That `root` is a link itself does not matter.

    Args:
        root: The folder that it belongs to.
        named: What the file says.

    Raises:
        OutsideError: It leads elsewhere.
    """
    text = os.fspath(named)
    pure, windows = PurePosixPath(text), PureWindowsPath(text)
    if "\0" in text:
        raise OutsideError("has a NUL character")
    if pure.is_absolute() or windows.drive or windows.root:
        raise OutsideError("is an absolute path")
    if ".." in pure.parts or ".." in windows.parts:
        raise OutsideError("leads out of its folder by '..'")
    path = root / pure
    # Folders are resolved once for all files in them.
    place = _real(path.parent)
    end = Path(os.path.realpath(path)) if path.is_symlink() else place / path.name
    if not end.is_relative_to(_real(root)):
        raise OutsideError("leads out of its folder by a link")
    return path


@lru_cache(maxsize=4096)
def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))
