"""The parent's handle on the child process that decodes one video."""

import os
import signal
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import jmpose_cli
from jmpose_cli.video.messages import ChildMessage, Job

# -P: the user's working folder must not provide modules. A plain command, because multiprocessing's "spawn" would
# import the parent's main module again, and "fork" would copy its threads' locks.
CHILD_COMMAND = (sys.executable, "-P", "-m", "jmpose_cli.video.child")


_SLICE_S = 0.25
_LONGEST_FUNERAL_S = 5.0


class ChildStalledError(Exception):
    """The child has given no sign of life for too long."""


class ChildDiedError(Exception):
    """The child has ended without a last message; the message says how."""


class ChildProcess:
    """A running child; it is killed by `close`, when this object is collected, and when the interpreter ends.

    Args:
        job: What to decode.
        ring_descriptor: The shared memory for the frames.
    """

    def __init__(self, job: Job, *, ring_descriptor: int) -> None:
        self._link, childs_end = Pipe(duplex=True)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        with childs_end:
            self._process = subprocess.Popen(
                [*CHILD_COMMAND, str(childs_end.fileno()), str(ring_descriptor)],
                pass_fds=(childs_end.fileno(), ring_descriptor),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=_environment(),
            )
        self._finalizer = weakref.finalize(self, _stop, self._process, self._link, self._errors)
        self._link.send(job)

    def receive(self, timeout_s: float) -> ChildMessage:
        """Return the next message.

        Raises:
            ChildStalledError: If none comes for `timeout_s` seconds.
            ChildDiedError: If the child has ended.
        """
        try:
            waited_s = 0.0
            while not self._link.poll(_SLICE_S):  # in slices: seconds in which this process was stopped do not count
                waited_s += _SLICE_S
                if waited_s >= timeout_s:
                    raise ChildStalledError
            message: ChildMessage = self._link.recv()
        except (EOFError, ConnectionResetError) as error:
            raise ChildDiedError(self._cause_of_death()) from error
        return message

    def free_slot(self) -> None:
        """Tell the child that the oldest frame in the ring has been copied."""
        try:
            self._link.send_bytes(b"")
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended; `receive` will say so, after the messages that it left

    def close(self) -> None:
        """Kill the child."""
        self._finalizer()

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"it was killed by signal {-code} ({signal.strsignal(-code)})"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"it ended with code {code}" + (f" ({lines[-1]})" if lines else "")


def _environment() -> dict[str, str]:
    """Return this process's environment, with the package importable whatever way the parent found it."""
    package_root = str(Path(jmpose_cli.__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = package_root if not inherited else os.pathsep.join((package_root, inherited))
    # The child does no linear algebra: a pool of threads for it would cost start-up time and memory.
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _stop(process: "subprocess.Popen[bytes]", link: Connection, errors: IO[bytes]) -> None:
    link.close()
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # the kernel keeps one that waits for a dead network disk
        process.wait(_LONGEST_FUNERAL_S)
    errors.close()
