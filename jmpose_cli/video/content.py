"""What a video holds, so that another one in its place is noticed: cheap facts first, a checksum where they differ."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from jmpose.files import file_sha256
from jmpose.regular_file import open_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.video.image_folder import IMAGE_SUFFIXES

INPUT_FACTS = "input_facts"
"""Under this name `run.json` says what the video was like."""
_BLOCK_BYTES = 1 << 20


def input_hash(path: Path) -> str:
    """Give the sha256 of a local input's content; of a folder's images in order, with their names."""
    if not path.is_dir():
        return file_sha256(path)
    digest = hashlib.sha256()
    for name, _ in image_facts(path):
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        with open_regular(path / name) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def local_stamp(path: Path) -> dict[str, Any]:
    """Return a cheap fingerprint of a local input, ready for JSON.

    Raises:
        OSError: The input is gone.
    """
    if not os.path.isdir(path):
        facts = os.stat(path)
        return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
    digest = hashlib.sha256()
    images = image_facts(path)
    for name, facts in images:
        digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return {
        "images": len(images),
        "size": sum(facts.st_size for _, facts in images),
        "mtime_ns": max((facts.st_mtime_ns for _, facts in images), default=0),
        "names": digest.hexdigest(),
    }


def image_facts(folder: Path) -> list[tuple[str, os.stat_result]]:
    """List the images of a folder in order of their names, with what the file system knows of them."""
    with os.scandir(folder) as entries:
        images = [
            (entry.name, entry.stat())
            for entry in entries
            if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and entry.is_file()
        ]
    return sorted(images)


def facts_of(path: Path) -> dict[str, Any]:
    """Describe a video for `run.json`: its `local_stamp`, and the `sha256` of its content.

    Raises:
        JmposeError: It cannot be read.
    """
    try:
        return local_stamp(path) | {"sha256": input_hash(path)}
    except OSError as error:
        raise _unreadable(path, error) from error


def check_unchanged(path: Path, record: Any, *, hint: str) -> None:
    """Refuse a video that does not hold what it did when its poses were made.

    Args:
        path: Where it lies now; a file, or a folder of images.
        record: What stands in `run.json`; of older versions it says nothing of the content, and all passes.
        hint: What can be done.

    Raises:
        JmposeError: It holds something else, or cannot be read.
    """
    noted = record.get(INPUT_FACTS) if isinstance(record, dict) else None
    if not isinstance(noted, dict) or not isinstance(noted.get("sha256"), str):
        return
    try:
        stamp = local_stamp(path)
        if all(noted.get(name) == value for name, value in stamp.items()):
            return
        is_same = noted.get("size", stamp["size"]) == stamp["size"] and _hash_at(path, str(stamp)) == noted["sha256"]
    except OSError as error:
        raise _unreadable(path, error) from error
    if not is_same:
        raise JmposeError(f"{path}: is not the video that the poses are of: its content has changed", hint=hint)


@lru_cache(maxsize=256)
def _hash_at(path: Path, stamp: str) -> str:
    """Return what `input_hash` gives while the video is as a stamp says: it is read once."""
    return input_hash(path)


def _unreadable(path: Path, error: OSError) -> JmposeError:
    return JmposeError(f"{path}: cannot be read ({error.strerror or error})", hint="check the file's rights")
