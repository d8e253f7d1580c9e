"""JSON files of others: parsed fast, and refused where a parser would choose in silence."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.text_file import read_utf8

_LONGEST_INTEGER = 40  # digits; Python refuses to convert some thousands
_ONE_WAY = "JSON does not say which of them counts; remove one"


@dataclass(frozen=True)
class _Doubled:
    """Stands where a key is there twice."""

    value: Any


def read_json(path: Path) -> Any:
    """Parse a JSON file; see `parse_json`.

    Raises:
        JmposeError: The file is missing or unreadable, or `parse_json` refuses it.
    """
    return parse_json(path, read_utf8(path))


def parse_json(path: Path, data: bytes) -> Any:
    """Parse the content of a JSON file.

    Args:
        path: The file, for messages.
        data: Its content.

    Raises:
        JmposeError: It is empty or not JSON, holds a number that is not finite, or names a key twice in one object;
            such places are named.
    """
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        found = _first_odd(data) if _may_hold_odd_numbers(data, error) else None
        said = f"{found[0]} is {found[1]}" if found else str(error)
        hint = "the file may be cut off; NaN and Infinity are not allowed in JSON"
        raise JmposeError(f"{path} is not valid JSON: {said}", hint=hint) from error
    if _has_doubled_keys(path, data, parsed):
        found = _first_odd(data)
        where = found[0] if found else "a key"
        raise JmposeError(f"{path}: {where} is there twice", hint=_ONE_WAY)
    return parsed


def _may_hold_odd_numbers(data: bytes, error: orjson.JSONDecodeError) -> bool:
    return "infinity" in str(error) or b"NaN" in data or b"Infinity" in data


def _has_doubled_keys(path: Path, data: bytes, parsed: Any) -> bool:
    """Whether the parser dropped a value because its key came again.

    Every pair has one colon, and the others stand inside strings, which parsing keeps; so colons are lost exactly
    where pairs are. This takes a fraction of the time of parsing, where hooks of the json module take many times it.
    """
    if b"\\u003a" in data or b"\\u003A" in data:  # a colon that is written without one
        found = _first_odd(data)
        return found is not None and found[1] == "doubled"
    try:
        kept = orjson.dumps(parsed).count(b":")
    except TypeError as error:  # the recursion limit of orjson
        raise JmposeError(f"{path}: nested too deeply", hint="annotation files have a few levels") from error
    return kept != data.count(b":")


def _first_odd(data: bytes) -> tuple[str, str] | None:
    """Place and nature of the first value that JSON leaves open; slow, so only for files known to have one."""
    try:
        tree = json.loads(data, parse_int=_integer, object_pairs_hook=_with_doubled)
    except (ValueError, RecursionError):
        return None
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        where, value = pending.pop()
        if isinstance(value, _Doubled):
            return where, "doubled"
        if isinstance(value, float) and not math.isfinite(value):
            return where or "the top level", str(value)
        if isinstance(value, dict):
            inner = [(f"{where}.{key}" if where else key, entry) for key, entry in value.items()]
        elif isinstance(value, list):
            inner = [(f"{where}[{place}]", entry) for place, entry in enumerate(value)]
        else:
            continue
        pending += reversed(inner)
    return None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _with_doubled(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = _Doubled(value) if key in found else value
    return found
