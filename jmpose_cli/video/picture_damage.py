"""Damage inside pictures that decoders pass over in silence.

What can be told: a JPEG whose coded data ends too early or too late, holds impossible codes, or zeros where no coder
writes them, as nearly every hole of 512 bytes and more leaves it (five of six in progressive files); a PNG block that
does not fit its checksum. What cannot: single changed bytes in a JPEG, which mostly are another picture that is as
valid; WebP, BMP and TIFF, which hold no checksums.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from jmpose_cli.video.av_library import pyav
from jmpose_cli.video.picture_size import picture_size

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_JPEG_SCAN, _JPEG_TABLES, _JPEG_END = 0xDA, 0xC4, b"\xff\xd9"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {_JPEG_TABLES, 0xC8, 0xCC}
_JPEG_SEQUENTIAL = frozenset({0xC0, 0xC1})
_HOLE = bytes(64)
_STRICT, _LENIENT = "explode+bitstream+buffer+careful", "ignore_err"
_AN_EIGHTH = "3"  # the picture itself is not wanted
# Of the coded data. No intact file can do without so much of its end: FFmpeg lets the last block of pixels pass when
# it is cut, and that one may take ten times as much as the average.
_LEAST_TAIL_BYTES, _TAIL_BLOCKS, _BLOCK_PIXELS = 128, 16, 256
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in coded data 0 follows 255, or it is a mere mark for restarts
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"IDAT", b"tRNS"})  # a spoilt comment spoils no picture


def is_damaged(data: bytes) -> bool:
    """Whether the bytes of a picture file show damage, though it can be decoded."""
    if data.startswith(_JPEG):
        scan = _scan_of(data)
        suspect = not _decodes(data, _STRICT) or (
            scan is not None and (_is_zeroed(data, scan) or _ends_late(data, scan))
        )
        # What FFmpeg cannot decode even when it lets errors pass is beyond it, not damaged.
        return suspect and _decodes(data, _LENIENT)
    if data.startswith(_PNG):
        return _has_wrong_checksum(data)
    return False


def _decodes(data: bytes, strictness: str) -> bool:
    """Whether FFmpeg decodes a JPEG; OpenCV's decoder mends what it finds, and prints to standard error."""
    av = pyav()
    context = av.CodecContext.create("mjpeg", "r")
    context.options = {"err_detect": strictness, "lowres": _AN_EIGHTH}
    context.thread_count = 1
    try:
        return bool([*context.decode(av.Packet(data)), *context.decode(None)])
    except av.error.FFmpegError:
        return False


@dataclass(frozen=True)
class _Scan:
    """Where the coded data of a JPEG lies, from its first scan on.

    Attributes:
        begin: First byte.
        end: First byte of the end marker.
        zeros_are_plain: Whether a run of zero bits may code a plain area; else it codes detail without end.
    """

    begin: int
    end: int
    zeros_are_plain: bool


def _scan_of(data: bytes) -> _Scan | None:
    """Read the headers up to the first scan; None where they are not in order."""
    at, colours, is_progressive, all_plain = 2, 1, False, True
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _JPEG_SCAN:
            end = data.find(_JPEG_END, at)
            is_in_parts = is_progressive or data[at + 4] < colours
            return _Scan(at, end, is_in_parts or all_plain) if end > at else None
        if marker == _JPEG_TABLES:
            all_plain &= _code_plain_areas_by_zeros(data[at + 4 : at + 2 + length])
        elif marker in _JPEG_FRAMES:
            colours, is_progressive = data[at + 9], marker not in _JPEG_SEQUENTIAL
        at += 1 if marker == 0xFF else 2 + length
    return None


def _code_plain_areas_by_zeros(tables: bytes) -> bool:
    """Whether in each of the tables for detail the code of zeros means that there is none."""
    at = 0
    while at + 18 <= len(tables):
        is_for_detail, first_code = tables[at] >> 4 == 1, tables[at + 17]
        if is_for_detail and first_code != 0:
            return False
        at += 17 + sum(tables[at + 1 : at + 17])
    return True


def _is_zeroed(data: bytes, scan: _Scan) -> bool:
    """Whether zeros stand where no coder writes them."""
    return not scan.zeros_are_plain and data.find(_HOLE, scan.begin, scan.end) >= 0


def _ends_late(data: bytes, scan: _Scan) -> bool:
    """Whether the picture is complete before its coded data ends: it still decodes when the end is missing."""
    size = picture_size(data)
    if not size:
        return False
    block_bytes = (scan.end - scan.begin) * _BLOCK_PIXELS // (size[0] * size[1] or 1)
    tail = scan.end - max(_LEAST_TAIL_BYTES, _TAIL_BLOCKS * block_bytes)
    if tail < (scan.begin + scan.end) // 2:  # of a small picture it is too large a part
        return False
    if _JPEG_MARKER.search(data, tail, scan.end):  # a small last scan, which the picture can do without
        return False
    return _decodes(data[:tail] + data[scan.end :], _STRICT)


def _has_wrong_checksum(data: bytes) -> bool:
    at = len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if kind in _PNG_PICTURE and zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return True
        at = end + 4
    return False
