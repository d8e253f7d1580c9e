"""The parent's handle on the child process that decodes one video."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO

from jmpose_cli.child_environment import child_environment
from jmpose_cli.video.messages import ENOUGH, ChildMessage, Failed, Finished, Job
from jmpose_cli.video.ring import create_memory

# -P: the user's working folder must not provide modules. A plain command, because multiprocessing's "spawn" would
# import the parent's main module again, and "fork" would copy its threads' locks.
CHILD_COMMAND = (sys.executable, "-P", "-m", "jmpose_cli.video.child")


_MOST_IDLE = 2
_MOST_JOBS = 64  # native decoders leak a little now and then
_SLICE_S = 0.25
_LONGEST_END_S = 5.0


class ChildStalledError(Exception):
    """The child has given no sign of life for too long."""


class ChildDiedError(Exception):
    """The child has ended without a last message; the message says how."""


class ChildProcess:
    """A running child; it is killed by `close`, when this object is collected, and when the interpreter ends.

    Attributes:
        memory: Descriptor of the shared memory for the frames.
        jobs: Number of jobs given to it.
    """

    def __init__(self) -> None:
        self.jobs = 0
        self.memory = create_memory()
        self._link, childs_end = Pipe(duplex=True)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._errors_before = 0
        with childs_end:
            self._process = subprocess.Popen(
                [*CHILD_COMMAND, str(childs_end.fileno()), str(self.memory)],
                pass_fds=(childs_end.fileno(), self.memory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                # It does no linear algebra: a pool of threads for it would cost start-up time and memory.
                env={**child_environment(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        self._finalizer = weakref.finalize(self, _stop, self._process, self._link, self._errors, self.memory)

    def begin(self, job: Job) -> None:
        """Start a job in it; the one before must have ended.

        Raises:
            ChildDiedError: If the child has ended.
        """
        self.jobs += 1
        self._errors_before = os.fstat(self._errors.fileno()).st_size
        try:
            self._link.send(job)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChildDiedError(self._cause_of_death()) from error

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

    def end_job(self, timeout_s: float) -> bool:
        """Have the child end its job before the last frame; return whether it did, and is ready for the next."""
        try:
            self._link.send_bytes(ENOUGH)
            while self._link.poll(timeout_s):
                if isinstance(self._link.recv(), Finished | Failed):
                    return True
        except (BrokenPipeError, ConnectionResetError, EOFError):
            pass
        return False

    def close(self) -> None:
        """Kill the child."""
        self._finalizer()

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"it was killed by signal {-code} ({signal.strsignal(-code)})"
        self._errors.seek(self._errors_before)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"it ended with code {code}" + (f" ({lines[-1]})" if lines else "")


class ChildPool:
    """Children that have ended a job in good order and wait for the next: to start one takes a third of a second.

    May be used by several threads.
    """

    def __init__(self) -> None:
        self._idle: list[ChildProcess] = []
        self._lock = threading.Lock()

    def take(self, job: Job) -> ChildProcess:
        """Start the job in an idle child, or to a new one."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                break
            try:
                child.begin(job)
            except ChildDiedError:
                child.close()
            else:
                return child
        return started(job)

    def put(self, child: ChildProcess) -> None:
        """Take back a child that has ended its job in good order."""
        with self._lock:
            if child.jobs < _MOST_JOBS and len(self._idle) < _MOST_IDLE:
                self._idle.append(child)
                return
        child.close()

    def close(self) -> None:
        """Kill all idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()


def started(job: Job) -> ChildProcess:
    """Start a child with a job."""
    child = ChildProcess()
    with suppress(ChildDiedError):  # `receive` will say how
        child.begin(job)
    return child


def _stop(process: "subprocess.Popen[bytes]", link: Connection, errors: IO[bytes], memory: int) -> None:
    link.close()
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # the kernel keeps one that waits for a dead network disk
        process.wait(_LONGEST_END_S)
    errors.close()
    os.close(memory)
