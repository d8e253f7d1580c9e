"""Text files of others: bytes in, with the encodings that are none of ours named for what they are."""

import codecs
from pathlib import Path

from jmpose.regular_file import read_regular
from jmpose_cli.errors import JmposeError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_utf8(path: Path) -> bytes:
    """Read a text file; a byte-order mark of UTF-8 is dropped.

    Raises:
        JmposeError: The file is missing, unreadable, no regular file, or in UTF-16 or 32.
    """
    try:
        data = read_regular(path)
    except IsADirectoryError:
        raise JmposeError(f"{path} is a folder", hint="a file is wanted here") from None
    except OSError as error:
        raise JmposeError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error
    return utf8_of(path, data)


def utf8_of(path: Path, data: bytes) -> bytes:
    """Return the content of a text file without a byte-order mark of UTF-8.

    Raises:
        JmposeError: It is in UTF-16 or 32.
    """
    other = _other_encoding(data)
    if other:
        raise JmposeError(
            f"{path} is {other} text", hint=f"save it as UTF-8, for example with iconv -f {other} -t UTF-8"
        )
    return data.removeprefix(codecs.BOM_UTF8)


def _other_encoding(data: bytes) -> str | None:
    for mark, name in _OTHER_MARKS.items():
        if data.startswith(mark):
            return name
    # JSON, MOT text and mostly paths begin with ASCII, which has zero bytes in wider encodings only.
    zeros = [place for place, byte in enumerate(data[:4]) if byte == 0]
    names = {(1, 3): "UTF-16LE", (0, 2): "UTF-16BE", (1, 2, 3): "UTF-32LE", (0, 1, 2): "UTF-32BE"}
    return names.get(tuple(zeros))
