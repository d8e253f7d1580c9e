"""Standard output and error that may be closed, full or broken without taking the work with them."""

import errno
import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO


class _Tolerant(io.FileIO):
    """A descriptor that takes everything: what cannot be written is dropped, and the first failure is told once."""

    def __init__(self, descriptor: int, tell: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._tell = tell
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write what can be written; see the class."""
        size = memoryview(data).nbytes
        if self.failure is not None:
            return size
        try:
            while (written := super().write(data)) is None:  # a pipe that does not wait
                select.select([], [self], [])
        except OSError as error:
            self.failure = error
            self._tell(error)
            return size
        return written


class StandardStreams:
    """Puts streams that never fail in the place of `sys.stdout` and `sys.stderr`.

    A reader that goes away (`| head`) does not end a run, nor does a full disk after `>`. Descriptors that were closed
    (`>&-`) are opened on nothing: else the next file that is opened, such as a journal, would get their number, and
    whatever a library prints.
    """

    def __init__(self) -> None:
        for descriptor in range(3):
            try:
                os.fstat(descriptor)
            except OSError:
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
        self._error = _Tolerant(2, lambda _: None)
        self._output = _Tolerant(1, self._say)
        sys.stderr = _text(self._error, sys.stderr)
        sys.stdout = _text(self._output, sys.stdout)

    @property
    def exit_code(self) -> int:
        """1 when output was lost that somebody wanted to have."""
        with suppress(ValueError):  # closed by a library
            sys.stdout.flush()
        return 0 if self._output.failure is None or self._output.failure.errno == errno.EPIPE else 1

    def _say(self, error: OSError) -> None:
        if error.errno != errno.EPIPE:
            sys.stderr.write(
                f"error: standard output cannot be written ({error.strerror}): what is missing there is lost; "
                "files of results are not affected\n"
            )
            sys.stderr.flush()


def _text(raw: _Tolerant, before: TextIO | None) -> io.TextIOWrapper:
    """Return the text stream over a descriptor that works as the one before did; None was closed from the start."""
    with suppress(ValueError, AttributeError):
        before.flush()  # type: ignore[union-attr]
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",  # an error in a name must not become an error of its own
        line_buffering=raw.isatty() or raw.fileno() == 2,
        write_through=getattr(before, "write_through", False),
    )
