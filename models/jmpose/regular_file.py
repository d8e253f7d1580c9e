"""Files that the user names, opened without waiting for anybody.

To open a named pipe waits for a writer, to read a terminal or `/dev/zero` never ends. Everything that is read because
somebody named it, or because it lies in a folder that somebody named, is opened here.
"""

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Literal

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REFUSED = {
    errno.ELOOP: "a link; it must be a regular file",
    errno.ENXIO: f"{_KINDS[stat.S_IFIFO]}; it must be a regular file",  # nobody reads it
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; never waits.

    Raises:
        OSError: As from `open`; also, with `strerror` a clause for the user, when it is anything but a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check(os.fstat(descriptor).st_mode, path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, *, most_bytes: int | None = None) -> bytes:
    """Read a whole file; never waits.

    Args:
        path: The file.
        most_bytes: Files that are larger are refused; None takes any.

    Raises:
        OSError: As from `open_regular`; also, with `strerror` a clause for the user, when it is too large.
    """
    with open_regular(path) as file:
        data = file.read(-1 if most_bytes is None else most_bytes + 1)
    if most_bytes is not None and len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MB", str(path))
    return data


def open_own(path: Path, mode: Literal["ab", "a+b", "wb"]) -> FileIO:
    """Open a file that this program keeps, for unbuffered writing; it is made where it is not there. Never waits.

    Folders of results may be shared: a link that lies there under the name would let others choose what is written to.

    Raises:
        OSError: As from `open`; also, with `strerror` a clause for the user, when it is a link or no regular file.
    """

    def opener(name: str, flags: int) -> int:
        try:
            descriptor = os.open(name, flags & ~os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY, 0o666)
        except OSError as error:
            reason = _REFUSED.get(error.errno or 0)
            raise error if reason is None else OSError(errno.EINVAL, reason, name) from error
        try:
            _check(os.fstat(descriptor).st_mode, path)
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    return open(path, mode, buffering=0, opener=opener)


def _check(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
        raise OSError(errno.EINVAL, f"{kind}; it must be a regular file", str(path))
