"""Looking through folders: bounded, never out of the tree by a link, and what is left out is said."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jmpose_cli.errors import JmposeError

MOST_ENTRIES = 1_000_000
DEEPEST = 64
_MOST_NAMED = 3
_FIRST_WORD_S, _NEXT_WORD_S = 1.0, 10.0


@dataclass(frozen=True, slots=True)
class Folder:
    """What is directly in a folder, hidden entries left out unless asked for.

    Attributes:
        names: Entries that are no folders: files, and links and other things that may be none.
        folders: Folders to look into next; no links.
    """

    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass
class Listing:
    """One search for videos, over all that the user named.

    Links to files are followed. Links to folders are not, as one may lead to a whole disk: what they lead to can be
    named itself.

    Args:
        most_entries: Most files and folders that are looked at, over all.
        notify: Takes sentences for the user: that it takes long, and what is left out.
    """

    most_entries: int = MOST_ENTRIES
    notify: Callable[[str], None] = lambda _: None
    _entries: int = 0
    _links: list[Path] = field(default_factory=list)
    _deep: list[Path] = field(default_factory=list)
    _next_word_s: float = field(default_factory=lambda: time.monotonic() + _FIRST_WORD_S)

    def folder(self, path: Path, root: Path, *, hidden: bool = False) -> Folder:
        """List a folder.

        Args:
            path: The folder.
            root: Where the search began; links that stay below it lead to what is found anyway.
            hidden: Take entries whose names begin with a dot too.

        Raises:
            JmposeError: There is more than may be looked at.
            OSError: The folder cannot be read.
        """
        if len(path.parts) - len(root.parts) > DEEPEST:
            self._deep.append(path)
            return Folder()
        names, folders = [], []
        with os.scandir(path) as entries:
            for entry in entries:
                self.count(path)
                if entry.name.startswith(".") and not hidden:
                    continue
                if not os.path.isdir(entry.path):
                    names.append(entry.name)
                elif not entry.is_symlink():
                    folders.append(entry.name)
                elif not _is_below(entry.path, root):
                    self._links.append(Path(entry.path))
        return Folder(tuple(names), tuple(folders))

    def count(self, path: Path, entries: int = 1) -> None:
        """Count what was looked at.

        Raises:
            JmposeError: It is more than allowed.
        """
        self._entries += entries
        if self._entries > self.most_entries:
            raise JmposeError(
                f"{path}: looking for videos ended here, after {self.most_entries:,} files and folders",
                hint="name the folders that hold the videos, or allow more with --set run.max_listed=...",
            )
        if self._entries % 1000 == 0 and time.monotonic() > self._next_word_s:
            self._next_word_s = time.monotonic() + _NEXT_WORD_S
            self.notify(f"looking for videos: {self._entries:,} files and folders so far, now in {path}")

    def conclude(self) -> None:
        """Say what was left out."""
        if self._links:
            self.notify(f"links to folders elsewhere are not followed: {_some(self._links)}; name them as inputs")
        if self._deep:
            self.notify(
                f"folders more than {DEEPEST} levels down are left out: {_some(self._deep)}; name them as inputs"
            )


def _is_below(path: str, root: Path) -> bool:
    real, top = os.path.realpath(path), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip(os.sep) + os.sep)


def _some(paths: list[Path]) -> str:
    once = list(dict.fromkeys(map(str, paths)))
    more = f" and {len(once) - _MOST_NAMED} more" if len(once) > _MOST_NAMED else ""
    return ", ".join(once[:_MOST_NAMED]) + more


def glob(folder: Path, parts: tuple[str, ...], listing: Listing, matches: Callable[[str, str], bool]) -> Iterator[Path]:
    """Yield what matches the parts of a pattern below a folder; `**` follows no links to folders.

    Args:
        folder: Where to begin.
        parts: The pattern, one part a level.
        listing: Counts what is looked at.
        matches: Whether a name matches a part; a part that is no pattern matches itself.
    """
    yield from _glob(folder, parts, listing, matches, root=folder)


def _glob(
    folder: Path, parts: tuple[str, ...], listing: Listing, matches: Callable[[str, str], bool], root: Path
) -> Iterator[Path]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _glob(folder, rest, listing, matches, root) if rest else [folder]
        try:
            below = listing.folder(folder, root).folders if rest else ()
        except OSError:
            return
        for name in below:
            yield from _glob(folder / name, parts, listing, matches, root)
        return
    try:
        names = _names(folder, part, listing)
    except OSError:
        return
    for name in names:
        if not matches(name, part):
            continue
        if not rest:
            yield folder / name
        elif os.path.isdir(folder / name):
            yield from _glob(folder / name, rest, listing, matches, root)


def _names(folder: Path, part: str, listing: Listing) -> list[str]:
    if not any(sign in part for sign in "*?["):
        return [part] * os.path.lexists(folder / part)
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            listing.count(folder)
            if part.startswith(".") or not entry.name.startswith("."):
                names.append(entry.name)
    return names
