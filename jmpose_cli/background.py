"""Stages that overlap: each runs in a thread of its own and hands on through a bounded queue."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

Item = TypeVar("Item")
_POLL_S = 0.1


@contextmanager
def in_background(items: Iterator[Item], *, ahead: int, name: str) -> Iterator[Iterator[Item]]:
    """Run a generator in a thread, at most `ahead` items before its consumer.

    An exception of the generator is raised in the consumer, after the items that came before it. At the
    end of the `with` block the thread has stopped and the generator is closed, consumed or not.

    Args:
        items: The generator; from here on only the thread touches it.
        ahead: Items that may wait in the queue.
        name: Of the thread, for debuggers and profilers.
    """
    ready: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(ahead)
    stop = threading.Event()

    def put(kind: str, value: Item | BaseException | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put((kind, value), timeout=_POLL_S)
                return

    def work() -> None:
        try:
            for item in items:
                put("item", item)
                if stop.is_set():
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)
        finally:
            close = getattr(items, "close", None)
            if close:
                close()

    def consume() -> Iterator[Item]:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()


class StageClock:
    """Adds up the seconds that each stage was busy; a stage is timed by one thread only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the `with` block for `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def waiting_for(self, stage: str, items: Iterator[Item]) -> Iterator[Item]:
        """Pass items on, counting for `stage` the time in which they are waited for."""
        while True:
            with self(stage):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
