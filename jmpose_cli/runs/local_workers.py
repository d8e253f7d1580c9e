"""Workers on this machine: each in a process of its own, or one in a thread."""

import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from multiprocessing import Pipe

from jmpose_cli.child_environment import child_environment
from jmpose_cli.config import InferConfig
from jmpose_cli.machine import explain
from jmpose_cli.runs.messages import Died, Inbox, SetUp, ToWorker
from jmpose_cli.runs.worker_pool import Report, Worker, WorkerPool

# -P: the user's working folder must not provide modules.
WORKER_COMMAND = (sys.executable, "-P", "-m", "jmpose_cli.runs.worker")
_LAST_LINES = 12
_LAST_WORDS_S = 2.0


class WorkerProcess:
    """A worker in a process of its own on this machine.

    Args:
        report: Takes what it says; called from another thread.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
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
                env=child_environment(),
            )
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._errors.start()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: ToWorker) -> None:
        """Send it a message; when it is gone, `Died` follows."""
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
            self._report(message)
        self._report(Died(self._cause_of_death()))

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


class WorkerThread:
    """A worker in a thread of this process, for debuggers and for programs that cannot start processes.

    Args:
        report: Takes what it says; called from that thread.
    """

    def __init__(self, report: Report) -> None:
        from jmpose_cli.runs.worker import serve

        self._inbox: Inbox = queue.Queue()

        def run() -> None:
            try:
                serve(self._inbox, report)
                report(Died("it has ended"))
            except BaseException as error:
                report(Died(f"{type(error).__name__}: {error}"))

        self._thread = threading.Thread(target=run, name="worker", daemon=True)
        self._thread.start()

    def send(self, message: ToWorker) -> None:
        """Send it a message."""
        self._inbox.put(message)

    def kill(self) -> None:
        """Ask it to end."""
        self._inbox.put(None)  # a thread can only be asked

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self._inbox.put(None)
        self._thread.join()


class LocalWorkers(WorkerPool):
    """Workers on this machine.

    Args:
        config: The settings.
        devices: torch device of each worker.
        in_process: The one worker is a thread of this process.
    """

    def __init__(self, config: InferConfig, devices: list[str], *, in_process: bool = False) -> None:
        super().__init__(len(devices))
        self._configs = [config.model_copy(update={"device": device}) for device in devices]
        self._kind = WorkerThread if in_process else WorkerProcess

    def _launch(self, number: int, report: Report) -> Worker:
        worker = self._kind(report)
        worker.send(SetUp(self._configs[number], workers_here=self.size))
        return worker
