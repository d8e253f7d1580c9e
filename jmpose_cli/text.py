"""Text for files, messages and tables, whatever file names are made of.

Linux allows file names that are no UTF-8 (old archives, cards of cameras). Python keeps their bytes as lone surrogates,
which no JSON file and no terminal takes. It allows control characters too, which terminals obey: ESC begins commands
that colour, erase, rename the window or write to the clipboard.
"""

import json
import os
import re
from typing import Any

import orjson

_BREAKS = {ord("\t"): "\u2409", ord("\n"): "\u240a", 0x2028: "\ufffd", 0x2029: "\ufffd"}
_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in _BREAKS},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    # They reorder or hide what is around them.
    **dict.fromkeys((0x061C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF), "\ufffd"),
}
_HIGH_CONTROLS = re.compile(rb"\x7f|\xc2[\x80-\x9f]")  # in UTF-8
_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def printable(text: str) -> str:
    """Return a name as proper Unicode: bytes that are no UTF-8 become U+FFFD."""
    if text.isascii():
        return text
    try:
        return os.fsencode(text).decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a character of UTF-16, as JSON may hold it
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def visible(text: str) -> str:
    """Make a text safe for a terminal or a log: control characters and those that reorder text become visible.

    Line feeds and tabs stay; see `one_line` for texts that must not have them.
    """
    return text if text.isascii() and text.isprintable() else printable(text).translate(_VISIBLE)


def one_line(text: str) -> str:
    """Make a text safe as `visible` does, on one line: a name with a line feed cannot pass for two messages."""
    return text if text.isascii() and text.isprintable() else printable(text).translate(_VISIBLE | _BREAKS)


def csv_cell(text: str) -> str:
    """Make a text safe as a cell: spreadsheets take what begins like a formula for one, and run it.

    An apostrophe goes before it (OWASP, "CSV Injection"); spreadsheets then show the text, other readers also see the
    apostrophe.
    """
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) else text


def to_json(document: Any, *, indent: bool = False) -> bytes:
    """Write a document as JSON in UTF-8 without a newline at the end; lone surrogates become question marks.

    All control characters are written as JSON's escapes, also those that it allows as they are: people look at logs in
    a terminal.

    Args:
        document: What orjson takes.
        indent: Two spaces a level instead of one line.
    """
    try:
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2 if indent else None)
    except orjson.JSONEncodeError:
        text = json.dumps(document, ensure_ascii=False, indent=2 if indent else None).encode("utf-8", "replace")
    return text if text.isascii() and b"\x7f" not in text else _HIGH_CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())
