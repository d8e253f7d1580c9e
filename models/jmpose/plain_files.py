"""JSON that others wrote, read with limits: whatever is in it, the worst outcome is one kind of error."""

import json
from pathlib import Path
from typing import Any

from jmpose.regular_file import open_regular

MAX_BYTES = 16 << 20
"""Of a description of a model; those of real ones are below 100 kB."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is none, has too large numbers, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: The file cannot be read.
        ValueError: As `parse_json`, or it is larger than `MAX_BYTES`.
    """
    with open_regular(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB")
    return parse_json(data)
