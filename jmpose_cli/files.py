"""Writing files so that they are whole or not there, with errors that say what to do."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from jmpose.files import WholeFile
from jmpose_cli.errors import JmposeError, OutputError, is_of_the_disk

BUFFER_BYTES = 1 << 20
_HINTS = {
    errno.ENOSPC: "free some disk space, or choose a folder on another disk with --out",
    errno.EDQUOT: "your quota on this disk is used up; choose a folder on another disk with --out",
    errno.EACCES: "choose a folder that you may write to with --out",
    errno.EPERM: "choose a folder that you may write to with --out",
    errno.EROFS: "this disk is read-only; choose another folder with --out",
    errno.EFBIG: "larger files are not allowed here (ulimit -f, or the disk's own limit): raise it, or choose another "
    "disk with --out",
    errno.EMFILE: "raise the number of files that a process may open (ulimit -n), or give fewer --workers",
    errno.EIO: "the disk or its connection fails; check it, or choose a folder on another disk with --out",
}


@contextlib.contextmanager
def explain_os_errors(path: Path, *, ends_run: bool = False) -> Iterator[None]:
    """Turn an OSError inside the block into a JmposeError that names `path`.

    It is an OutputError when all else fails too: by its number, or because of what the file is for.

    Args:
        path: What is written.
        ends_run: A run cannot do without this file, whatever is the matter with it.
    """
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "check that the folder exists and can be written to")
        kind = OutputError if ends_run or is_of_the_disk(error) else JmposeError
        raise kind(f"cannot write {path}: {error.strerror or error}", hint=hint) from error


def check_is_there(file: IO[bytes], path: Path) -> None:
    """Check that an open file still is what stands under its name: what is written to a removed one is lost.

    Raises:
        OSError: It was removed, or another one was put in its place.
    """
    if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
        raise FileNotFoundError(errno.ENOENT, "another file was put in its place")


class PartialFile:
    """A binary file that appears under its name only when it is complete; until then it is `<name>.partial`.

    A context manager: a clean exit commits, an exception discards.

    Args:
        path: The final name. What stands there is replaced by `commit`.

    Raises:
        JmposeError: The file cannot be created or written (also from `write` and `commit`).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = WholeFile(path)
        with explain_os_errors(path):
            self._file = open(self._whole.partial, "wb", buffering=BUFFER_BYTES)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with explain_os_errors(self.path):
            self._file.write(data)

    def commit(self) -> None:
        """Bring everything to the disk and give the file its name; a failure discards."""
        try:
            with explain_os_errors(self.path):
                self._file.close()
                self._whole.commit()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; does nothing after `commit`."""
        # Closing flushes, which fails again on a full disk; the file goes away in any case.
        with contextlib.suppress(OSError):
            self._file.close()
        self._whole.discard()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that replaces what stands there when it is complete; a failure leaves that as it was.

    Raises:
        JmposeError: The file cannot be written.
    """
    with PartialFile(path) as file:
        file.write(content)
