"""The frames of a clip as images for the browser: exactly those that were annotated, by their number."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import cv2

from jmpose_cli.errors import JmposeError
from jmpose_cli.values import Bytes
from jmpose_cli.video.source import FrameSource

AHEAD = 48
"""Frames that are read beyond the last one asked for."""
FAR = 4000
"""As many, and then those before, are read while half of the room is empty: then one can go anywhere at once."""
BACK = 250
"""Frames before those that are there are read in stretches of so many."""
REACH = 32
"""A frame that lies at most so far ahead is read up to; a farther one is opened."""
JPEG_QUALITY = 85
MOST_BYTES = 512 << 20


class FrameCache:
    """Images of frames, kept while there is room, and read ahead by a thread of its own; may be used by many threads.

    Args:
        open_from: Opens the video at a frame number; called by the reading thread only.
        last: Number of the last frame that is wanted.
        most_bytes: How much is kept.
    """

    def __init__(self, open_from: Callable[[int], FrameSource], last: int, *, most_bytes: int = MOST_BYTES) -> None:
        self._open_from, self._last, self._most_bytes = open_from, last, most_bytes
        self._images: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._failures: dict[int, JmposeError] = {}
        self._waiting: list[int] = []  # the latest last
        self._soon: tuple[int, ...] = ()
        self._near = self._position = -1  # the last one asked for; the one after the last that was read
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def want_soon(self, numbers: Sequence[int]) -> None:
        """Say which frames may be asked for next, the likeliest first, in place of those that were said before.

        They are read as soon as those right after the last one asked for are there.
        """
        with self._changed:
            self._soon = tuple(index for index in numbers if 0 <= index <= self._last)
            self._changed.notify_all()

    def image(self, index: int) -> bytes:
        """Return a frame as JPEG.

        Raises:
            JmposeError: The video cannot be opened, has no such frame, or it cannot be decoded.
        """
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
                self._thread.start()
            self._near = index
            self._changed.notify_all()
            if index in self._images:
                self._images.move_to_end(index)
                return self._images[index]
            self._failures.pop(index, None)
            self._waiting.append(index)
            try:
                self._changed.wait_for(lambda: self._is_closed or index in self._images or index in self._failures)
            finally:
                self._waiting.remove(index)
            if index in self._images:
                return self._images[index]
            raise self._failures.get(index) or JmposeError(f"frame {index}: the clip was closed")

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (start := self._next_start()) is not None:
            try:
                with self._open_from(start) as source:
                    end = self._take(source, start)
                if end == start:
                    raise JmposeError(f"the video has no frame {start}", hint="name the right video with --video")
            except JmposeError as error:
                self._fail(start, error)
            except Exception as error:  # whoever waits must not wait for ever
                self._fail(start, JmposeError(f"frame {start} cannot be shown: {type(error).__name__}: {error}"))

    def _next_start(self) -> int | None:
        """Wait until a frame is missing, and return its number; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._wanted() is not None)
            return None if self._is_closed else self._wanted()

    def _wanted(self) -> int | None:
        """Return what to read: what somebody waits for, what comes right after, what is wanted soon, then the rest."""
        missing = self._missing()
        if missing is not None:
            return missing
        if self._near in self._images and self._holds(AHEAD + len(self._soon) + 1):
            ahead = range(self._near + 1, min(self._near + AHEAD, self._last) + 1)
            for index in chain(ahead, self._soon):
                if not self._is_known(index):
                    return index
        return self._position if self._is_worth_reading(self._position) else self._behind()

    def _behind(self) -> int | None:
        """Return where to read what is missing before the last one asked for, from the nearest back."""
        if not self._has_room() or self._near not in self._images:
            return None
        end = next((i for i in range(self._near, max(self._near - FAR, -1), -1) if not self._is_known(i)), None)
        if end is None:
            return None
        return next((i + 1 for i in range(end, max(end - BACK, -1), -1) if self._is_known(i)), max(end - BACK + 1, 0))

    def _is_known(self, index: int) -> bool:
        return index in self._images or index in self._failures

    def _has_room(self) -> bool:
        return self._bytes < self._most_bytes // 2

    def _holds(self, count: int) -> bool:
        """Whether there is room for so many frames as those that are there, others taken out."""
        return self._bytes * count <= self._most_bytes * len(self._images)

    def _is_worth_reading(self, position: int) -> bool:
        """Whether a frame that nobody waits for may be asked for soon."""
        if position > self._last or self._is_known(position):
            return False
        if self._has_room() and abs(position - self._near) <= FAR:
            return position >= 0
        return position >= 0 and -REACH <= position - self._near <= AHEAD

    def _missing(self) -> int | None:
        lacking = [index for index in self._waiting if index not in self._images and index not in self._failures]
        if not lacking:
            return None
        latest = lacking[-1]
        return min(index for index in lacking if latest - REACH <= index <= latest)

    def _take(self, source: FrameSource, start: int) -> int:
        """Keep the frames of an open video while those that are asked for lie ahead; return the number after them."""
        position = start
        for index, frame in _frames(source):
            self._keep(index, _encoded(frame))
            position = self._position = index + 1
            if not self._goes_on(position):
                break
        return position

    def _goes_on(self, position: int) -> bool:
        """Wait until the next frame is worth reading; False when another place is, or nothing more."""
        with self._changed:
            while not self._is_closed:
                wanted = self._wanted()
                if wanted is not None:
                    return position <= wanted <= position + REACH
                if position > self._last or self._is_known(position):
                    return False
                self._changed.wait()
        return False

    def _keep(self, index: int, image: bytes) -> None:
        with self._changed:
            self._bytes += len(image) - len(self._images.pop(index, b""))
            self._images[index] = image
            held = {index, *self._waiting}  # who waits for a frame may wake only after more are read
            while self._bytes > self._most_bytes and (oldest := self._oldest(held)) is not None:
                self._bytes -= len(self._images.pop(oldest))
            self._changed.notify_all()

    def _oldest(self, held: set[int]) -> int | None:
        return next((index for index in self._images if index not in held), None)

    def _fail(self, start: int, error: JmposeError) -> None:
        """Answer those who wait for a frame that was to come now."""
        with self._changed:
            self._position = -1
            for index in {start, *self._waiting}:
                if start <= index <= start + REACH and index not in self._images:
                    self._failures[index] = error
            self._changed.notify_all()


def _frames(source: FrameSource) -> Iterator[tuple[int, Bytes]]:
    for batch in source:
        yield from zip(batch.index.tolist(), batch.frames, strict=True)


def _encoded(frame_rgb: Bytes) -> bytes:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise JmposeError("a frame cannot be made a JPEG", hint="see whether OpenCV works: jmpose doctor")
    return data.tobytes()
