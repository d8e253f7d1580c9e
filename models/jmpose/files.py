"""Files that are there whole or not at all, and their checksums."""

import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from jmpose.regular_file import open_regular


class WholeFile:
    """A file that is written as `NAME.partial` beside its place and gets its own name only when it is complete.

    A context manager that gives the path to write to: a clean exit brings the content to the disk and replaces what
    stood under the name, an exception removes what was written and leaves what stood there.

    Args:
        path: The final name; its folder must exist.
        shared: Several processes may write the file at once; each then writes a partial file of its own.

    Raises:
        OSError: The file cannot be begun (on entering) or completed (from `commit` and the clean exit).
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}{f'.{uuid.uuid4().hex}' * shared}.partial")

    def __enter__(self) -> Path:
        self.begin()
        return self.partial

    def begin(self) -> None:
        """Make way for the partial file: what stands under its name may be a link that leads elsewhere, or a pipe.

        Raises:
            OSError: It cannot be removed.
        """
        self.partial.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def commit(self) -> None:
        """Bring the content to the disk and give the file its name."""
        try:
            with self.partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(self.partial, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; does nothing after `commit`."""
        with suppress(OSError):
            self.partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
