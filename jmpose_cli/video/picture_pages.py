"""Files that hold several pictures: animated WebP, TIFF with pages, APNG. FFmpeg reads only the last of them."""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jmpose.regular_file import open_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.values import Bytes
from jmpose_cli.video.picture_size import TIFF_ORDERS, check_size, tiff_pages

_PNG = b"\x89PNG\r\n\x1a\n"
_LEAST_PNG_FRAME = 12  # bytes
_SHORTEST_S = 0.01  # of a picture that has no duration


@dataclass(frozen=True)
class Pages:
    """The pictures of a file.

    Attributes:
        kind: What the file is; "other": no picture that is known here.
        places: Where each picture stands: its number among all that the file holds, thumbnails included.
        durations_s: How long each is shown; empty where that is not said.
        largest: Width and height of the largest one; (0, 0) where that is not known without decoding.
    """

    kind: Literal["bmp", "jpeg", "png", "tiff", "webp", "other"]
    places: tuple[int, ...] = (0,)
    durations_s: tuple[float, ...] = ()
    largest: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.places)


def pages_of(path: Path) -> Pages:
    """Find the pictures of a file by its structure, without decoding; one where that says nothing of more.

    Raises:
        OSError: If it cannot be read.
    """
    with open_regular(path) as file:
        if not file.read(1):
            return Pages("other")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return pages_in(data)


def pages_in(data: Any) -> Pages:
    """Find the pictures in the bytes of a file, or in a map of them; see `pages_of`."""
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _of_webp(data)
        if data[:8] == _PNG:
            return Pages("png", tuple(range(_count_png(data))))
        if data[:4] in TIFF_ORDERS:
            return _of_tiff(data)
    except (struct.error, IndexError, OverflowError):
        return Pages("other")
    return Pages("jpeg" if data[:3] == b"\xff\xd8\xff" else "bmp" if data[:2] == b"BM" else "other")


def _of_webp(data: Any) -> Pages:
    """Read the frames of an animation: blocks that begin with place and size, then the duration in milliseconds."""
    durations_s: list[float] = []
    at = 12
    while at + 8 <= len(data):
        if data[at : at + 4] == b"ANMF":
            milliseconds = int.from_bytes(data[at + 20 : at + 23], "little")
            durations_s.append(max(milliseconds / 1000, _SHORTEST_S))
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + length + length % 2
    return Pages("webp", tuple(range(max(len(durations_s), 1))), tuple(durations_s))


def _count_png(data: Any) -> int:
    """Read the number of frames that an animation claims; its block stands before the picture's."""
    at = len(_PNG)
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"acTL":
            (count,) = struct.unpack_from(">I", data, at + 8)
            return min(max(int(count), 1), len(data) // _LEAST_PNG_FRAME)
        at += 12 + length
    return 1


def _of_tiff(data: Any) -> Pages:
    pages = list(tiff_pages(data))
    places = tuple(number for number, page in enumerate(pages) if not page.is_reduced)
    largest = max(((page.width, page.height) for page in pages), key=lambda one: one[0] * one[1], default=(0, 0))
    return Pages("tiff", places or (0,), largest=largest)


class PageReader:
    """Reads the pictures of a WebP animation or a TIFF file in order, one in memory at a time.

    Args:
        path: The file.
        pages: What it holds.
        max_megapixels: Larger pictures are refused.

    Raises:
        JmposeError: If a picture is too large.
    """

    def __init__(self, path: Path, pages: Pages, *, max_megapixels: float) -> None:
        check_size(path, *pages.largest, most_megapixels=max_megapixels)
        self._path, self._pages, self._max_megapixels = path, pages, max_megapixels
        self._animation: Any = None

    def read(self, number: int) -> Bytes:
        """Return picture `number` as `[H, W, 3]` uint8 RGB.

        Raises:
            JmposeError: If it cannot be decoded, or is too large.
        """
        if self._pages.kind == "webp":
            self._seek(number)
            return np.array(self._animation.convert("RGB"))
        import cv2

        done, found = cv2.imreadmulti(str(self._path), self._pages.places[number], 1, flags=cv2.IMREAD_COLOR)
        if not done or not found:
            raise self._unreadable(number)
        image: Bytes = cv2.cvtColor(found[0], cv2.COLOR_BGR2RGB)
        return image

    def _seek(self, number: int) -> None:
        """Decode a picture of an animation; Pillow does not go back to the first one for those that follow."""
        from PIL import Image

        try:
            if self._animation is None:
                self._animation = Image.open(self._path)
                check_size(self._path, *self._animation.size, most_megapixels=self._max_megapixels)
            self._animation.seek(number)
            self._animation.load()
        except (OSError, EOFError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._unreadable(number) from error

    def _unreadable(self, number: int) -> JmposeError:
        return JmposeError(
            f"{self._path}: picture {number + 1} of {len(self._pages)} cannot be decoded", hint="copy the file again"
        )

    def close(self) -> None:
        """Close the file."""
        if self._animation is not None:
            self._animation.close()
            self._animation = None
