"""From what a user writes to a model."""

import difflib
import re
from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo.catalogue import KIND_NAMES, Entry, Kind
from jmpose_cli.zoo.store import find_entry, known_models, unlisted

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".json", ".onnx", ".xml")


def is_hub_id(name: str) -> bool:
    """Tell whether `owner/name` can be meant for the Hub: no file's name, and `owner` is no folder here."""
    return bool(_HUB_ID.fullmatch(name)) and not name.endswith(_FILE_SUFFIXES) and not Path(name).parent.is_dir()


def named_entry(name: str, kind: Kind | None) -> Entry:
    """Find a model by name or Hub id.

    Args:
        name: A shipped or listed name, or any id on the Hub.
        kind: What it must be; None takes all, and an id that is not listed for a pose model.

    Raises:
        JmposeError: No model has this name (the nearest are named), or it is of another kind.
    """
    entry = find_entry(name)
    if entry is None and is_hub_id(name) and kind != "reid":
        return unlisted(name, kind or "pose")
    if entry is None:
        raise JmposeError(f"{name}: no model has this name", hint=nearest(name, kind))
    if kind not in (None, entry.kind):
        raise JmposeError(f"{name} is a {KIND_NAMES[entry.kind]}", hint=f"see `jmpose models list --kind {kind}`")
    return entry


def nearest(name: str, kind: Kind | None = None) -> str:
    """Name the models whose names are most like one that does not exist."""
    names = [entry.name for entry in known_models().values() if kind in (None, entry.kind)]
    begun = [known for known in names if known.startswith(name.lower())]
    near = begun[:4] or difflib.get_close_matches(name.lower(), names, n=3)
    listing = "`jmpose models list` names all"
    return f"did you mean {' or '.join(near)}? {listing}" if near else f"{listing}; an id of the Hub is owner/name"
