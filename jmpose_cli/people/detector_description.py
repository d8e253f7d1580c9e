"""What stands beside a detector of ours, `NAME.json`, read as what a stranger may have written.

What breaks a rule is a ValueError that says where.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from jmpose.plain_files import read_json
from jmpose_cli.errors import JmposeError
from jmpose_cli.machine import explain

Kind = Literal["nanodet-detector", "yolo-detector"]
MAX_INPUT_SIDE = 4096
START_SCORE = 0.25
"""Box score from which on a box may start a track, of detectors for which nothing better was measured."""
MAX_CLASSES = 20_000


@dataclass(frozen=True)
class Description:
    """What a detector is.

    Attributes:
        kind: Of its network.
        names: Of its classes, by number; one of them is `person`.
        input_side: Longer side of its input, pixels.
        start_score: Box score from which on a box may start a track.
        network: What a YOLO is built from, as the file has it: `yolo_description` checks it.
    """

    kind: Kind
    names: dict[int, str]
    input_side: int
    start_score: float
    network: Any = None


def read_description(weights: Path, kind: Kind | None = None) -> Description:
    """Read what stands beside weights.

    Args:
        weights: The `.safetensors` file.
        kind: What it has to be; None for any.

    Raises:
        JmposeError: The description is missing or damaged, of another kind, or of a detector of no people.
    """
    beside = weights.with_suffix(".json")
    try:
        given = read_json(beside)
        allowed: tuple[Kind, ...] = (kind,) if kind else get_args(Kind)
        stated = given.get("kind") if isinstance(given, dict) else None
        found = next((each for each in allowed if each == stated), None)
        if found is None:
            raise ValueError(f"{beside.name}: kind is {shown(stated)}, expected {' or '.join(map(repr, allowed))}")
        names = check_names(given.get("names"))
        side = check_input_side(given.get("imgsz"))
        description = Description(found, names, side, check_start_score(given.get("start_score")), given.get("yaml"))
    except (OSError, ValueError) as error:
        raise unreadable(weights, error) from error
    person_class(weights, names)
    return description


def unreadable(weights: Path, error: Exception) -> JmposeError:
    """Say why a detector cannot be read: because of the machine, or of its files."""
    if explained := explain(error):
        return explained
    reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return JmposeError(
        f"{weights}: no readable detector ({reason})", hint="copy or download the file again, or use person-nano"
    )


def person_class(weights: Path, names: Mapping[int, str]) -> int:
    """Return the number of the class `person`.

    Raises:
        JmposeError: There is none.
    """
    for index, name in names.items():
        if name == "person":
            return index
    some = ", ".join(list(names.values())[:5])[:100]
    raise JmposeError(
        f"{weights}: a detector without the class 'person' (it has {some})", hint="use one trained on people"
    )


def check_names(given: object) -> dict[int, str]:
    """Return the classes by number; ValueError where they are not readable."""
    pairs = enumerate(given) if isinstance(given, list | tuple) else given.items() if isinstance(given, Mapping) else ()
    names: dict[int, str] = {}
    for index, name in pairs:
        if not isinstance(name, str) or not str(index).isdecimal() or len(names) >= MAX_CLASSES:
            raise ValueError(f"class {shown(index)} is {shown(name)}, not a numbered name")
        names[int(str(index)[:9])] = name
    if not names:
        raise ValueError(f"names is {shown(given)}, not the names of classes")
    return names


def check_input_side(given: object) -> int:
    """Return the longer side of the input in pixels; of two sides, the longer one."""
    sides = given if isinstance(given, list | tuple) and given else [given]
    return max(whole(side, 32, MAX_INPUT_SIDE, "imgsz") for side in sides)


def check_start_score(given: object) -> float:
    """Return the box score that starts a track; descriptions that do not say it take the usual one."""
    return START_SCORE if given is None else number(given, 0.01, 0.99, "start_score")


def whole(value: object, least: int, most: int, where: str) -> int:
    """Return a whole number within bounds."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{where}: {shown(value)} is not a whole number from {least} to {most}")
    return value


def number(value: object, least: float, most: float, where: str) -> float:
    """Return a number within bounds."""
    if type(value) not in (int, float) or not least <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{where}: {shown(value)} is not a number from {least} to {most}")
    return value  # type: ignore[return-value]


def shown(value: object) -> str:
    """Show a value from a file, which may be of any size."""
    if isinstance(value, str):
        return repr(value[:60])
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 64):
        return repr(value)
    return f"a {type(value).__name__}"
