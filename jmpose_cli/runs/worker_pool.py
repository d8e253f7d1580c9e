"""The workers of a run as the coordinator sees them: started, spoken to, replaced when they die, wherever they run."""

import queue
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import ClassVar, Protocol

from jmpose_cli.runs.messages import FromWorker, ToWorker

Report = Callable[[FromWorker], None]


class Worker(Protocol):
    """One running worker; its messages, `Died` at last, go to the `Report` that it was made with."""

    def send(self, message: ToWorker) -> None:
        """Send it a message; when it is gone, `Died` follows."""

    def kill(self) -> None:
        """End it at once; `Died` follows."""

    def close(self) -> None:
        """End it, and wait until it is gone."""


class WorkerPool(ABC):
    """All workers of a run, known by their numbers from 0.

    Args:
        size: Number of workers.

    Attributes:
        size: Number of workers.
        retries: How often a video whose worker died is given to another one.
        is_local: The workers run on this machine.
    """

    retries: ClassVar[int] = 0
    is_local: ClassVar[bool] = True

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers: dict[int, Worker] = {}
        self._starts: Counter[int] = Counter()
        self._heard: queue.Queue[tuple[int, int, FromWorker]] = queue.Queue()  # number, which start of it, message

    @abstractmethod
    def _launch(self, number: int, report: Report) -> Worker:
        """Start a worker and give it its `SetUp`."""

    def start(self, number: int) -> None:
        """Start a worker, or a new one in place of one that died."""
        if number in self._workers:
            self._workers.pop(number).close()
        self._starts[number] += 1
        start = self._starts[number]
        self._workers[number] = self._launch(number, lambda message: self._heard.put((number, start, message)))

    def send(self, number: int, message: ToWorker) -> None:
        """Send a worker a message."""
        self._workers[number].send(message)

    def listen(self, timeout_s: float) -> tuple[int, FromWorker] | None:
        """Wait for the next message of any worker; return whose it is and the message, None when there is none."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                number, start, message = self._heard.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            if number in self._workers and start == self._starts[number]:  # not from one that was replaced
                return number, message

    def kill(self, number: int) -> None:
        """End a worker at once; `Died` follows."""
        self._workers[number].kill()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
