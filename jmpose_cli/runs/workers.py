"""Workers from the outside: started, given videos, watched, replaced when they die."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Protocol

import jmpose_cli
from jmpose_cli.config import InferConfig
from jmpose_cli.machine import explain
from jmpose_cli.runs.messages import Died, FromWorker, Inbox, SetUp, ToWorker

# -P: the user's working folder must not provide modules.
WORKER_COMMAND = (sys.executable, "-P", "-m", "jmpose_cli.runs.worker")
_LAST_LINES = 12
_LAST_WORDS_S = 2.0


class WorkerProcess:
    """A worker in a process of its own on this machine.

    Args:
        number: Under which it reports.
        said: Queue for what it says.
    """

    def __init__(self, number: int, said: "queue.Queue[tuple[int, FromWorker]]") -> None:
        self._number, self._said = number, said
        self._link, childs_end = Pipe(duplex=True)
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        with childs_end:
            self._process = subprocess.Popen(
                [*WORKER_COMMAND, str(childs_end.fileno())],
                pass_fds=(childs_end.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # Ctrl-C on a terminal goes to the parent, which asks politely.
                start_new_session=True,
                env=environment(),
            )
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._errors.start()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: ToWorker) -> None:
        """Give it a message; when it is gone, `Died` is on its way."""
        with suppress(OSError):
            self._link.send(message)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self._link.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_S)
        self.kill()
        self._process.wait()

    def _listen(self) -> None:
        while True:
            try:
                message = self._link.recv()
            except (EOFError, OSError, TypeError):  # TypeError: closed in the middle of it
                break
            self._said.put((self._number, message))
        self._said.put((self._number, Died(self._cause_of_death())))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._last_lines.append(line.decode(errors="replace").rstrip())

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        self._errors.join(_LAST_WORDS_S)
        if code < 0:
            why = f"it was killed by signal {-code} ({signal.strsignal(-code)})"
            return f"{why}, perhaps for want of memory" if -code == signal.SIGKILL else why
        lines = list(self._last_lines)
        telling = next((line for line in reversed(lines) if explain(line)), lines[-1] if lines else "")
        return f"it ended with code {code}" + (f" ({telling})" if telling else "")


def environment() -> dict[str, str]:
    """Return this process's environment, with the package importable whatever way the parent found it."""
    package_root = str(Path(jmpose_cli.__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = package_root if not inherited else os.pathsep.join((package_root, inherited))
    return {**os.environ, "PYTHONPATH": path}


class WorkerThread:
    """A worker in a thread of this process, for debuggers and for programs that cannot start processes.

    Args:
        number: Under which it reports.
        said: Queue for what it says.
    """

    def __init__(self, number: int, said: "queue.Queue[tuple[int, FromWorker]]") -> None:
        from jmpose_cli.runs.worker import serve

        self._inbox: Inbox = queue.Queue()

        def run() -> None:
            try:
                serve(self._inbox, lambda message: said.put((number, message)))
                said.put((number, Died("it has ended")))
            except BaseException as error:
                said.put((number, Died(f"{type(error).__name__}: {error}")))

        self._thread = threading.Thread(target=run, name=f"worker {number}", daemon=True)
        self._thread.start()

    def send(self, message: ToWorker) -> None:
        """Give it a message."""
        self._inbox.put(message)

    def kill(self) -> None:
        """Ask it to end."""
        self._inbox.put(None)  # a thread can only be asked

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self._inbox.put(None)
        self._thread.join()


class Crew(Protocol):
    """All workers of a run.

    Attributes:
        size: Number of workers.
        retries: How often a video whose worker died is given to another one.
        is_here: The workers run on this machine.
    """

    size: int
    retries: int
    is_here: bool

    def start(self, seat: int) -> None:
        """Start the worker of a seat, or a new one after the one before died."""

    def send(self, seat: int, message: ToWorker) -> None:
        """Give a worker a message."""

    def listen(self, timeout_s: float) -> tuple[int, FromWorker] | None:
        """Wait for the next thing that a worker says, and which one."""

    def kill(self, seat: int) -> None:
        """End a worker at once; `Died` follows."""

    def close(self) -> None:
        """End all workers."""


class LocalCrew:
    """Workers on this machine.

    Args:
        config: The settings.
        devices: torch device of each worker.
        in_process: The one worker is a thread of this process.
    """

    retries = 0
    is_here = True

    def __init__(self, config: InferConfig, devices: list[str], *, in_process: bool = False) -> None:
        self.size = len(devices)
        self._configs = [config.model_copy(update={"device": device}) for device in devices]
        self._kind = WorkerThread if in_process else WorkerProcess
        self._workers: dict[int, tuple[int, WorkerProcess | WorkerThread]] = {}  # seat: number, worker
        self._said: queue.Queue[tuple[int, FromWorker]] = queue.Queue()
        self._started = 0

    def start(self, seat: int) -> None:
        """See `Crew`."""
        if seat in self._workers:
            self._workers.pop(seat)[1].close()
        self._started += 1
        worker = self._kind(self._started, self._said)
        self._workers[seat] = (self._started, worker)
        worker.send(SetUp(self._configs[seat], workers_here=self.size))

    def send(self, seat: int, message: ToWorker) -> None:
        """See `Crew`."""
        self._workers[seat][1].send(message)

    def listen(self, timeout_s: float) -> tuple[int, FromWorker] | None:
        """See `Crew`."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                number, message = self._said.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            for seat, (current, _) in self._workers.items():
                if current == number:  # words of a worker that was replaced do not count
                    return seat, message

    def kill(self, seat: int) -> None:
        """See `Crew`."""
        self._workers[seat][1].kill()

    def close(self) -> None:
        """See `Crew`."""
        for _, worker in self._workers.values():
            worker.close()
        self._workers.clear()
