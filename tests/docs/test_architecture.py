"""The map of the rooms is complete and true."""

import re
import tomllib

from tests.conftest import ROOT
from tests.docs.pages import read

PAGE = read("docs/architecture.md")
ROOMS = {path.parent.name for path in (ROOT / "jmpose_cli").glob("*/__init__.py")} | {"jmpose"}
MODULES = {path.stem for path in (ROOT / "jmpose_cli").glob("*.py")} - {"__init__"}


def table(number: int) -> list[str]:
    """Return the names in the first column of a table."""
    rows = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)[number].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def lines(room: str) -> int:
    """Count the lines of a room."""
    folder = ROOT / "models/jmpose" if room == "jmpose" else ROOT / "jmpose_cli" / room
    return sum(len(path.read_text().splitlines()) for path in folder.rglob("*.py"))


def test_every_room_and_module_is_named():
    assert len(table(0)) == len(ROOMS) and set(table(0)) == ROOMS
    assert set(table(1)) >= MODULES


def test_rooms_stand_above_those_that_they_import_from():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    height = {name.strip().split(".")[-1]: place for place, layer in enumerate(layers) for name in layer.split("|")}
    assert set(height) >= ROOMS
    heights = [height[room] for room in table(0)]
    assert heights == sorted(heights)


def test_places_that_are_named_exist():
    for name in re.findall(r"`(\w+(?:/\w+)+(?:\.py)?)`", PAGE):
        found = [ROOT / name, ROOT / "jmpose_cli" / name, ROOT / "jmpose_cli" / f"{name}.py"]
        assert any(path.exists() for path in found), name


def test_no_room_is_most_of_the_house():
    sizes = {room: lines(room) for room in ROOMS}
    whole = sum(sizes.values()) + sum(
        len((ROOT / f"jmpose_cli/{name}.py").read_text().splitlines()) for name in MODULES
    )
    too_large = {room: size for room, size in sizes.items() if size > 0.15 * whole}
    assert not too_large, "split it, or say in docs/architecture.md why it is one room"
