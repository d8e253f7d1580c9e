"""Stopping in good order when a signal asks for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopRequest:
    """Whether SIGINT or SIGTERM came.

    Args:
        patience: How many signals are only noted; a further one acts as if nobody listened.

    Attributes:
        times: Number of signals that came.
        number: The last one's number; 0 when none came.
    """

    def __init__(self, *, patience: int = 1) -> None:
        self.times = self.number = 0
        self._patience = patience

    @property
    def asked(self) -> bool:
        """Whether to stop."""
        return self.times > 0

    @property
    def is_urgent(self) -> bool:
        """Whether to stop at once, with what is not yet committed lost."""
        return self.times > 1

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal has ended."""
        return 128 + self.number

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to signals inside the block; threads other than the main one hear none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}

        def note(number: int, _: FrameType | None) -> None:
            self.times, self.number = self.times + 1, number
            if self.times >= self._patience:
                for listened, handler in before.items():
                    signal.signal(listened, handler)

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for listened, handler in before.items():
                signal.signal(listened, handler)
