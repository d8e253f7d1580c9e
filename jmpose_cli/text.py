"""Text for files and messages, whatever bytes file names are made of.

Linux allows file names that are no UTF-8 (old archives, cards of cameras). Python keeps their bytes as lone surrogates,
which no JSON file and no terminal takes.
"""

import json
import os
from typing import Any

import orjson


def printable(text: str) -> str:
    """Give a name as proper Unicode: bytes that are no UTF-8 become U+FFFD."""
    return os.fsencode(text).decode("utf-8", "replace") if not text.isascii() else text


def to_json(document: Any, *, indent: bool = False) -> bytes:
    """Write a document as JSON in UTF-8 without a newline at the end; lone surrogates become question marks.

    Args:
        document: What orjson takes.
        indent: Two spaces a level instead of one line.
    """
    try:
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 if indent else None)
    except orjson.JSONEncodeError:
        return json.dumps(document, ensure_ascii=False, indent=2 if indent else None).encode("utf-8", "replace")
