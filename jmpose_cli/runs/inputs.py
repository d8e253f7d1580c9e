"""What the user named: videos, folders, patterns, lists and URLs, and where the results of each go."""

import difflib
import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from jmpose.regular_file import read_regular
from jmpose_cli.clips.layout import STATE_FOLDER
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.text_file import utf8_of
from jmpose_cli.runs.folder_names import comparable, safe_name, told_apart, utf8
from jmpose_cli.runs.listing import MOST_ENTRIES, Listing, glob
from jmpose_cli.runs.storage import Storage
from jmpose_cli.video.content import local_stamp
from jmpose_cli.video.image_folder import IMAGE_SUFFIXES, natural_key

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv"}
    | {".flv", ".3gp", ".ogv", ".y4m", ".mxf", ".h264", ".hevc"}
)
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})

_WILDCARDS = frozenset("*?[")
_BLOCK_BYTES = 1 << 20
_ENDINGS = f"videos end in {' '.join(sorted(VIDEO_SUFFIXES)[:8])} ..."
_LOCAL = re.compile(r"^(file|local)://(?!.*::)", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_MOST_COMPARED = 5000  # names beside one that is missing
_LONGEST_LIST_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Clip:
    """One input video.

    Attributes:
        path: A video file, or a folder of images that is one video; for a URL the path inside it.
        name: Folder of its results inside OUT, with `/`; unique in a run.
        url: fsspec URL to fetch it from; empty for a local path.
        problem: Why it cannot be processed; empty when nothing is known against it.
    """

    path: Path
    name: str
    url: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _UnnamedClip:
    """A video before it has a name.

    Attributes:
        base: The folder that the name is relative to.
        is_folder: The name has no ending that could be left out.
    """

    path: Path
    base: Path
    is_folder: bool = False
    url: str = ""
    problem: str = ""


@dataclass(frozen=True)
class _Search:
    """What one search for videos needs: where the results go, and by what it looks."""

    out: Path
    listing: Listing
    storage: Storage


def find_clips(
    inputs: Sequence[str | Path],
    *,
    out: Path,
    storage: Storage | None = None,
    notify: Callable[[str], None] = lambda _: None,
    most_entries: int = MOST_ENTRIES,
) -> list[Clip]:
    """List the videos that `inputs` name, in the order given; each once.

    - A folder is searched through. A folder of images that holds no video is one video. Hidden entries, `out` and
      folders with results of a run are left out. Links to folders that lie elsewhere are not followed.
    - A pattern (`*`, `?`, `[...]`, `**`) stands for what it matches, a list (.txt, .lst, .list) for its lines.
    - `scheme://` addresses are read through fsspec; `file://x` and `local://x` are the path x.

    Names mirror the tree: relative to the folder, to the part of a pattern before its first wildcard, or to the common
    folder of a list. Videos whose names would be equal but for their endings keep these; equal names from different
    inputs are told apart by the folders above; what is left (`clip.MP4` beside `Clip.mp4`) by `~2`. A name that cannot
    be that of a folder of results is changed; see `folder_names`.

    Args:
        inputs: What the user named.
        out: Folder of the results.
        storage: Reads addresses; None takes one for this search alone.
        notify: Takes sentences for the user: that it takes long, and what is left out.
        most_entries: Most files and folders that are looked at.

    Raises:
        JmposeError: A path that does not exist, an input that holds no video, or more to look at than
            allowed.
    """
    found: list[_UnnamedClip] = []
    with storage or Storage() as reading:
        search = _Search(out, Listing(most_entries=most_entries, notify=notify), reading)
        for given in inputs:
            found.extend(_expand(str(given), search))
    search.listing.conclude()
    return _named(_without_repeats(found))


def _expand(
    given: str, search: _Search, *, base: Path | None = None, folder: Path | None = None
) -> Iterator[_UnnamedClip]:
    """Find what one input stands for.

    Args:
        given: As the user wrote it.
        search: The search.
        base: Folder that names are relative to; None takes the input's own.
        folder: Folder that relative paths start from; None takes the current one.
    """
    given = _LOCAL.sub("", given)
    if "://" in given:
        yield from _in_url(given, base, search)
        return
    if "\0" in given:
        raise JmposeError(f"{given!r}: no path holds a NUL", hint="check the list; it must be plain text")
    path = Path(given) if folder is None else folder / given
    if os.path.isdir(path):
        yield from _in_folder(path, base, search)
    elif os.path.lexists(path):
        is_list = path.suffix.lower() in LIST_SUFFIXES
        yield from _in_list(path, search) if is_list and base is None else [_UnnamedClip(path, base or path.parent)]
    elif _WILDCARDS & set(given):
        yield from _matching(str(path), base, search)
    else:
        raise _missing(path)


def _missing(path: Path) -> JmposeError:
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _MOST_COMPARED)]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    hint = f"there is {' and '.join(near)}" if near else "check the path; quote names with spaces"
    return JmposeError(f"{path}: no such file or folder", hint=hint)


def _in_folder(folder: Path, base: Path | None, search: _Search) -> Iterator[_UnnamedClip]:
    """Search a folder; raise when it holds nothing."""
    found = list(_searched(folder, base or folder, search, set(), root=folder))
    if not found:
        raise JmposeError(
            f"{folder}: a folder without videos or images",
            hint=f"{_ENDINGS}; folders of results are left out",
        )
    if len(found) == 1 and found[0].path == folder:
        found = [replace(found[0], base=base or folder.absolute().parent)]
    yield from found


def _searched(folder: Path, base: Path, search: _Search, seen: set[Path], root: Path) -> Iterator[_UnnamedClip]:
    """Yield the videos in a folder and below it, in natural order; `root` is where the search began."""
    real = Path(os.path.realpath(folder))
    if real in seen or real == Path(os.path.realpath(search.out)) or os.path.isdir(folder / STATE_FOLDER):
        return
    seen.add(real)
    try:
        there = search.listing.folder(folder, root)
    except OSError as error:
        yield _UnnamedClip(folder, base, True, problem=f"{folder}: the folder cannot be read ({error.strerror})")
        return
    videos = [name for name in there.names if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES]
    if not videos and any(os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES for name in there.names):
        yield _UnnamedClip(folder, base, True)
    for name in _in_natural_order(videos):
        yield _UnnamedClip(folder / name, base)
    for name in _in_natural_order(there.folders):
        yield from _searched(folder / name, base, search, seen, root)


def _in_natural_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (natural_key(name), name))


def _matching(pattern: str, base: Path | None, search: _Search) -> Iterator[_UnnamedClip]:
    """Find what a pattern matches: videos, folders of images, and what is in other folders."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if _WILDCARDS & set(part))
    top = Path(*parts[:fixed])
    matches = sorted(
        set(glob(top, parts[fixed:], search.listing, _matches)), key=lambda path: (natural_key(str(path)), path)
    )
    found: list[_UnnamedClip] = []
    seen: set[Path] = set()
    for path in matches:
        if os.path.isdir(path):
            found.extend(_searched(path, base or top, search, seen, root=path))
        elif path.suffix.lower() in VIDEO_SUFFIXES and not _is_result(path):
            found.append(_UnnamedClip(path, base or top))
    if not found:
        raise JmposeError(f"{pattern}: matches no video", hint="quote the pattern; ** stands for any depth of folders")
    yield from found


def _matches(name: str, part: str) -> bool:
    return name == part or fnmatch.fnmatchcase(name, part)


def _is_result(path: Path) -> bool:
    """Whether a file lies in a folder of results."""
    return any((parent / STATE_FOLDER).is_dir() for parent in path.parents)


def _in_list(path: Path, search: _Search) -> Iterator[_UnnamedClip]:
    """Read a list of inputs; a missing one is a problem of its own."""
    try:
        lines = utf8_of(path, read_regular(path, most_bytes=_LONGEST_LIST_BYTES)).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise JmposeError(f"{path}: not a readable list ({why})", hint="one path a line, in UTF-8") from error
    found: list[_UnnamedClip] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            text = text[1:-1]
        if not text or text.startswith("#"):
            continue
        entry = path.parent / text.replace("\0", "\ufffd")
        if Path(text).suffix.lower() in LIST_SUFFIXES and "://" not in text:
            raise JmposeError(f"{path}: line {number} names a list", hint="a list cannot hold another one")
        try:
            found.extend(_expand(text, search, base=path.parent, folder=path.parent))
        except JmposeError as error:
            found.append(_UnnamedClip(entry, path.parent, problem=f"{path}, line {number}: {error.message}"))
    if not found:
        raise JmposeError(f"{path}: a list without entries", hint="one path a line")
    base = Path(os.path.commonpath([os.path.abspath(one.path.parent) for one in found if not one.url] or ["."]))
    yield from (one if one.url else replace(one, path=Path(os.path.abspath(one.path)), base=base) for one in found)


def _in_url(url: str, base: Path | None, search: _Search) -> Iterator[_UnnamedClip]:
    """Find the videos at an address."""
    if _is_web(url):
        # Servers have no folders, and what follows ? belongs to the address.
        url = _web_address(url)
        named = [part for part in urlsplit(url).path.split("/") if part.strip(". ")]
        place = Path("/", *(named or [urlsplit(url).hostname or "address"]))
        yield _UnnamedClip(place, base or place.parent, is_folder=not named, url=url)
        return
    there = search.storage.find(url, most_entries=search.listing.most_entries)
    if not there.paths and there.top is None:
        raise JmposeError(f"{url}: nothing is there", hint="check the address")
    if there.top is None:
        yield _UnnamedClip(Path(there.paths[0]), base or Path(there.paths[0]).parent, url=url)
        return
    both = zip(there.paths, there.urls, strict=True)
    videos = [one for one in both if PurePosixPath(one[0]).suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise JmposeError(f"{url}: no video is there", hint=_ENDINGS)
    for path, address in sorted(videos, key=lambda one: natural_key(one[0])):
        yield _UnnamedClip(Path(path), Path(there.top), url=address)


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://")) and "::" not in url


def _web_address(url: str) -> str:
    """Write an address of the web so that it is the same for the same page."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise JmposeError(f"{url}: not an address ({error})", hint="check the address") from error
    host = parts.netloc.rpartition("@")
    port = _PORTS[parts.scheme.lower()]
    netloc = host[0] + host[1] + host[2].lower().removesuffix(f":{port}")
    return parts._replace(scheme=parts.scheme.lower(), netloc=netloc, path=parts.path or "/", fragment="").geturl()


def _without_repeats(found: Iterable[_UnnamedClip]) -> list[_UnnamedClip]:
    once: dict[str, _UnnamedClip] = {}
    for one in found:
        once.setdefault(one.url or os.path.realpath(one.path), one)
    return list(once.values())


def _named(found: list[_UnnamedClip]) -> list[Clip]:
    """Name videos by their place in the tree; see `folder_names` for what is safe."""
    full = [_relative(one.path, one.base) for one in found]
    short = [name if one.is_folder else _without_suffix(name) for one, name in zip(found, full, strict=True)]
    for group in _equal(short):
        folders = {str(found[i].path.parent) for i in group}
        if len(folders) < len(group):  # a.mp4 beside a.mov
            for i in group:
                short[i] = full[i]
    for group in _equal(short):
        paths = [os.path.abspath(found[i].path) for i in group]
        if len({os.path.dirname(path) for path in paths}) == len(group):
            common = Path(os.path.commonpath(paths))
            for i, path in zip(group, paths, strict=True):
                longer = _relative(Path(path), common)
                keeps = found[i].is_folder or short[i].endswith(found[i].path.suffix)
                short[i] = longer if keeps else _without_suffix(longer)
    names = told_apart([safe_name(name) for name in short])  # clip.mp4 beside CLIP.MP4
    return [Clip(one.path, name, one.url, one.problem) for one, name in zip(found, names, strict=True)]


def _relative(path: Path, base: Path) -> str:
    name = Path(os.path.relpath(os.path.abspath(path), os.path.abspath(base))).as_posix()
    return name if name != "." and not name.startswith("../") else Path(os.path.abspath(path)).name


def _without_suffix(name: str) -> str:
    return name[: -len(suffix)] if (suffix := PurePosixPath(name).suffix) else name


def _equal(names: list[str]) -> list[list[int]]:
    """Group the places of names that are equal on some file systems."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[comparable(safe_name(name))].append(place)
    return [group for group in places.values() if len(group) > 1]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a video comes from, as it is told from another one of the same name.

    Attributes:
        source: Its absolute path or its address, for people too.
        real: The same with all links followed.
    """

    source: str
    real: str


def clip_source(clip: Clip) -> Source:
    """Return where a video comes from."""
    if clip.url:
        return Source(clip.url, clip.url)
    return Source(_as_text(os.path.abspath(clip.path)), _as_text(os.path.realpath(clip.path)))


def _as_text(path: str) -> str:
    """Write a path so that JSON keeps it; bytes that are no UTF-8 are shown by their numbers."""
    return utf8(path).decode("utf-8", "backslashreplace")


def input_stamp(clip: Clip, storage: Storage | None = None) -> dict[str, Any]:
    """Return a cheap fingerprint of an input, ready for JSON.

    Args:
        clip: The input.
        storage: Reads addresses; None takes one for this input alone.

    Raises:
        JmposeError: A URL cannot be reached.
        StoppedError: The user asked to stop while waiting for it.
        OSError: The input is gone.
    """
    if clip.url:
        if storage is not None:
            return storage.facts(clip.url)
        with Storage() as reading:
            return reading.facts(clip.url)
    return local_stamp(clip.path)
