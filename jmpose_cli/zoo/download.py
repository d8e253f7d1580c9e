"""One file from the web: resumed where it was interrupted, checked, and there only when it is whole."""

import errno
import fcntl
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from jmpose.files import WholeFile, file_sha256
from jmpose_cli.errors import JmposeError

Progress = Callable[[int, int | None], None]

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
_FRUITLESS_TRIES = 3  # a connection that gives nothing so often in a row has failed


def download(
    url: str, target: Path, *, sha256: str, progress: Progress | None = None, token: str | None = None
) -> None:
    """Fetch a file to `target`, by way of `target.partial`, which resumes an interrupted download.

    Two processes that want the same file do not disturb each other: the second one waits and finds it there.

    Args:
        url: Address.
        target: Where the file goes; its folder is made.
        sha256: Hex digits that the checksum must begin with: all 64, fewer, or none where it is not known.
        progress: Takes the bytes that are there and the bytes of the whole, None while these are unknown.
        token: Of the user's account; given to the server of `url` only.

    Raises:
        JmposeError: No connection, no such file, another checksum, no space; the message names the file.
    """
    whole = WholeFile(target)
    partial = whole.partial
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("a+b") as file:
            with suppress(OSError):  # where files cannot be locked, as on some network disks
                fcntl.flock(file, fcntl.LOCK_EX)
            if target.is_file():
                partial.unlink(missing_ok=True)
                return
            _fetch(_request(url, token), file, progress)
            file.flush()
            check_sha256(partial, sha256, url=url, remove=True)
            whole.commit()
    except urllib.error.HTTPError as error:
        raise _refused(url, target, error) from error
    except _BROKEN as error:
        reason = getattr(error, "reason", None) or error
        raise JmposeError(
            f"{target.name} cannot be downloaded from {url}: {reason}",
            hint=f"the same command resumes where this one stopped; or put the file to {target} by hand",
        ) from error
    except OSError as error:
        raise not_written(target, error) from error


def not_written(target: Path, error: OSError) -> JmposeError:
    """Say why a file cannot be written into the cache."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return JmposeError(
        f"{target} cannot be written: {error.strerror or error}",
        hint="free some space" * full or "set JMPOSE_CACHE to a folder that you may write to",
    )


def check_sha256(path: Path, expected: str, *, url: str, remove: bool = False) -> None:
    """Compare a file's checksum.

    Args:
        path: The file.
        expected: Hex digits that it must begin with.
        url: Where the file is from, for the message.
        remove: Remove a file that is wrong.

    Raises:
        JmposeError: Another checksum.
    """
    found = file_sha256(path)
    if not found.startswith(expected.lower()):
        if remove:
            path.unlink()
        raise JmposeError(
            f"{path.name.removesuffix('.partial')} from {url} has sha256 {found[:16]}..., expected {expected[:16]}...",
            hint="the file was damaged on its way or changed at its source"
            + ("; it was removed, try again" if remove else f"; remove {path} and pull it again"),
        )


def _request(url: str, token: str | None) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": "jmpose"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _fetch(request: urllib.request.Request, file: BinaryIO, progress: Progress | None) -> None:
    """Append what is missing, in as many connections as it takes as long as each brings something."""
    fruitless = 0
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            whole = _connection(request, file, before, progress)
            there = file.tell()
            if whole is None or there == whole:
                return
            if there > whole:
                file.truncate(0)  # it was not the beginning of this file
            failure: Exception = ConnectionError(f"the connection ended after {there} of {whole} bytes")
        except urllib.error.HTTPError as error:
            if error.code < http.client.INTERNAL_SERVER_ERROR:
                raise
            failure = error
        except _BROKEN as error:
            failure = error
        fruitless = 0 if file.tell() > before else fruitless + 1
        if fruitless == _FRUITLESS_TRIES:
            raise failure


def _connection(request: urllib.request.Request, file: BinaryIO, start: int, progress: Progress | None) -> int | None:
    """Append what one connection gives; return the size of the whole file, None when the server does not say it."""
    request.remove_header("Range")
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        return _size_in(error.headers.get("Content-Range"))  # the whole file is there already, or more
    with response:
        length = response.headers.get("Content-Length")
        if response.status == http.client.PARTIAL_CONTENT:
            whole = _size_in(response.headers.get("Content-Range"))
        else:
            file.truncate(0)
            whole = int(length) if length else None
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            if progress:
                progress(file.tell(), whole)
    return whole


def _size_in(content_range: str | None) -> int | None:
    """Read the size in `bytes 10-19/20` or `bytes */20`."""
    size = (content_range or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _refused(url: str, target: Path, error: urllib.error.HTTPError) -> JmposeError:
    advice = {
        http.client.NOT_FOUND: "the file has moved; find it elsewhere",
        http.client.UNAUTHORIZED: "log in (for the Hugging Face Hub: `hf auth login`), or fetch it",
        http.client.FORBIDDEN: "accept its terms on its page and log in (for the Hub: `hf auth login`), or fetch it",
    }.get(error.code, "try again later, or fetch it elsewhere")
    return JmposeError(f"{url} answers {error.code} {error.reason}", hint=f"{advice} and put it to {target}")
