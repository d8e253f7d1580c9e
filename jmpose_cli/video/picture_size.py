"""How large a picture is, before anything of it is decoded: thirty thousand pixels a side take gigabytes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmpose_cli.errors import JmposeError

# More than video in 8K, and than the pictures of nearly all cameras; some frames of it at a time take 4 GB.
MOST_MEGAPIXELS = 50.0

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_BIG_TIFF = 43
_TIFF_PURPOSE, _TIFF_WIDTH, _TIFF_HEIGHT = 254, 256, 257
_TIFF_IS_REDUCED = 1
_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}  # by the number of the type
_MOST_TIFF_ENTRIES = 4096
# Markers that start a frame; the numbers between are tables.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment


def check_size(path: Path, width: int, height: int, *, most_megapixels: float) -> None:
    """Refuse frames that are too large.

    Raises:
        JmposeError: There are more than `most_megapixels` million pixels.
    """
    if width * height > most_megapixels * 1e6:
        raise JmposeError(
            f"{path}: {width}x{height} pixels are more than the {most_megapixels:g} million allowed",
            hint=f"make it smaller, or allow it with --set decode.max_megapixels={-(-width * height // 10**6)} "
            "--retry-failed; a million pixels takes about 70 MB of memory",
        )


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels, as stored, from the beginning of a PNG, JPEG, BMP, WebP or TIFF file.

    Returns:
        None when it is none of these, or its header is damaged.
    """
    try:
        if data.startswith(_PNG):
            return _pair(data, ">II", 16)
        if data.startswith(_JPEG):
            return _of_jpeg(data)
        if data.startswith(b"BM"):
            return _of_bmp(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _of_webp(data)
        if data[:4] in TIFF_ORDERS:
            return _of_tiff(data)
    except (struct.error, IndexError, OverflowError):
        return None
    return None


def _pair(data: bytes, layout: str, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, at)
    return int(first), int(second)


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return None
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = _pair(data, ">HH", at + 5)
            return width, height
        if marker in (0x00, 0xFF) or marker in _JPEG_ALONE:  # data, a fill byte, or a marker alone
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _of_bmp(data: bytes) -> tuple[int, int]:
    is_old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = _pair(data, "<HH" if is_old else "<ii", 18)
    return abs(width), abs(height)  # a negative height means that the rows begin at the top


def _of_webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L":
        bits = int(struct.unpack_from("<I", data, 21)[0])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = _pair(data, "<HH", 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


@dataclass(frozen=True)
class TiffPage:
    """A picture of a TIFF file.

    Attributes:
        width: In pixels; 0 where it is not said.
        height: In pixels; 0 where it is not said.
        is_reduced: Whether it is a smaller copy of another one.
    """

    width: int
    height: int
    is_reduced: bool


def tiff_pages(data: Any) -> Iterator[TiffPage]:
    """Yield the pictures of a TIFF file, which are a chain; ends where it is cut off.

    Args:
        data: The file's bytes, or a map of them.

    Raises:
        struct.error: The first is not there.
    """
    order = TIFF_ORDERS[data[:4]]
    is_big = struct.unpack_from(f"{order}H", data, 2)[0] == _BIG_TIFF
    (at,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)
    count_layout, entry_bytes, value_at = (f"{order}Q", 20, 12) if is_big else (f"{order}H", 12, 8)
    seen: set[int] = set()
    while at and at not in seen:
        seen.add(at)
        (entries,) = struct.unpack_from(count_layout, data, at)
        at += struct.calcsize(count_layout)
        found: dict[int, int] = {}
        for entry in range(at, at + min(entries, _MOST_TIFF_ENTRIES) * entry_bytes, entry_bytes):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            if tag in (_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_PURPOSE) and kind in _TIFF_NUMBERS:
                found[tag] = int(struct.unpack_from(order + _TIFF_NUMBERS[kind], data, entry + value_at)[0])
        is_reduced = bool(found.get(_TIFF_PURPOSE, 0) & _TIFF_IS_REDUCED)
        yield TiffPage(found.get(_TIFF_WIDTH, 0), found.get(_TIFF_HEIGHT, 0), is_reduced)
        try:
            (at,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, at + entries * entry_bytes)
        except struct.error:  # cut off after a page that is there
            break


def _of_tiff(data: bytes) -> tuple[int, int] | None:
    """Return the largest width and height that any page has."""
    sizes = [(page.width, page.height) for page in tiff_pages(data)]
    largest = max(sizes, key=lambda one: one[0] * one[1], default=(0, 0))
    return largest if all(largest) else None
