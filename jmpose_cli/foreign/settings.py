"""Settings of a graph, written by hand into a YAML file beside it: what it needs and its file does not tell."""

import difflib
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jmpose.regular_file import read_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.yaml_text import parse_yaml
from jmpose_cli.zoo.graph_files import settings_of

_MOST_BYTES = 1 << 20
Check = Callable[[Any], Any]
"""Returns a value as it is used; ValueError with what is allowed for one that is not."""


def read_settings(graph: Path, known: Mapping[str, Check]) -> dict[str, Any]:
    """Read the settings beside a graph; empty when there are none.

    Args:
        graph: The graph's file.
        known: What may be set.

    Raises:
        JmposeError: The file cannot be read, or holds what is not known or not possible.
    """
    file = settings_of(graph)
    try:
        given = parse_yaml(read_regular(file, most_bytes=_MOST_BYTES).decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise JmposeError(f"{file}: not readable as YAML ({error})", hint="correct it, or remove it") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise JmposeError(f"{file}: is {reprlib.repr(given)}", hint="lines such as `input_hw: [256, 192]`")
    settings = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
            raise JmposeError(
                f"{file}: unknown setting {str(name)[:60]}; the nearest is {near}", hint=f"known: {', '.join(known)}"
            )
        try:
            settings[name] = known[name](value)
        except ValueError as error:
            raise JmposeError(f"{file}: {name} is {reprlib.repr(value)}", hint=str(error)) from error
    return settings


def one_of(*allowed: str) -> Check:
    """Take one of some words."""

    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return str(value)

    return check


def number(low: float, high: float) -> Check:
    """Take a finite number within limits."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"a number of {low:g} to {high:g}")
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """Take a whole number within limits."""

    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"a whole number of {low} to {high}")
        return value

    return check


def several(each: Check, *, count: int | None = None) -> Check:
    """Take a list of values, of `count` or any number."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != (len(value) if count is None else count):
            raise ValueError("a list" if count is None else f"a list of {count}")
        return tuple(map(each, value))

    return check


COLOURS: Check = several(number(-1e4, 1e4), count=3)
SCALES: Check = several(number(1e-4, 1e4), count=3)
