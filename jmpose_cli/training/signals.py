"""Stopping at the end of a step when a signal asks for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopRequest:
    """Whether SIGINT or SIGTERM came.

    Attributes:
        asked: True from the first signal on; a second one acts as if nobody listened.
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to signals inside the block."""
        before: dict[int, Any] = {}

        def note(number: int, _: FrameType | None) -> None:
            self.asked = True
            signal.signal(number, before[number])

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for listened, handler in before.items():
                signal.signal(listened, handler)
