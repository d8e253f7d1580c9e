"""Where models lie on this machine, and how they get there: the package's own, and one cache folder.

The cache is `home.cache_folder`. Files from the web lie in it under their own names, repositories of
the Hub in `hub/owner/name/`. Whoever has no network puts the same files there by hand.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jmpose.files import file_sha256
from jmpose_cli.errors import JmposeError
from jmpose_cli.home import cache_folder as cache_folder
from jmpose_cli.home import is_kept
from jmpose_cli.zoo import hub
from jmpose_cli.zoo.catalogue import CATALOGUE, ByHand, Entry, HubRepo, Kind, Shipped, WebFile
from jmpose_cli.zoo.download import Progress, check_sha256, download

SHIPPED = Path(__file__).parents[1] / "weights"
State = Literal["shipped", "cached", "available", "by hand"]
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Access:
    """How models may be fetched.

    Attributes:
        offline: Fetch nothing.
        notify: Takes a sentence before something is fetched.
        progress: As for `download`.
    """

    offline: bool = False
    notify: Notify = lambda text: None
    progress: Progress | None = None


def known_models() -> dict[str, Entry]:
    """All models by name: what ships first, then the catalogue."""
    return {**_shipped_models(), **CATALOGUE}


def find_entry(name: str) -> Entry | None:
    """Find a model by its name (`.pt` may follow a YOLO's) or by its id on the Hub; None when it is not listed."""
    models = known_models()
    entry = models.get(name) or models.get(name.removesuffix(".pt"))
    return entry or next((e for e in models.values() if isinstance(e.place, HubRepo) and e.place.repo == name), None)


def unlisted(repo: str, kind: Kind) -> Entry:
    """Describe a repository of the Hub about which nothing is known."""
    return Entry(repo, kind, HubRepo(repo), (0, 0), "", 0, "", "", "", source=f"https://huggingface.co/{repo}")


def location(entry: Entry) -> Path:
    """Where a model's weights lie, or would: a file, or a folder for one of the Hub."""
    if isinstance(entry.place, Shipped):
        return SHIPPED / f"{entry.name}.safetensors"
    if isinstance(entry.place, HubRepo):
        return cache_folder().joinpath("hub", *entry.place.repo.split("/"))
    if entry.kind == "pose":  # another project's file is converted once
        return cache_folder() / f"{entry.name}.safetensors"
    return cache_folder() / entry.place.name


def original_file(entry: Entry) -> Path | None:
    """Where the file of another project lies, from which a pose model is converted; None for other models."""
    if entry.kind == "pose" and isinstance(entry.place, WebFile | ByHand):
        return cache_folder() / entry.place.name
    return None


def state(entry: Entry) -> State:
    """Say whether a model is at hand."""
    if isinstance(entry.place, Shipped):
        return "shipped"
    if _is_there(entry):
        return "cached"
    original = original_file(entry)
    return "by hand" if isinstance(entry.place, ByHand) and not (original and original.is_file()) else "available"


def bring(entry: Entry, access: Access) -> Path:
    """Make a model ready for use: fetched, verified, converted; nothing happens when it is.

    Returns:
        `location(entry)`.

    Raises:
        JmposeError: It is not at hand and cannot be fetched, or what was fetched is not what it should be.
    """
    if not _is_there(entry):
        original = original_file(entry)
        if isinstance(entry.place, HubRepo):
            _may_fetch(entry, access)
            _fetch_repo(entry, entry.place, access)
        elif original is None:
            _fetch_file(entry, location(entry), access)
        else:
            _fetch_file(entry, original, access)
            _convert(entry, original, access)
    return location(entry)


def verify(entry: Entry) -> list[tuple[Path, str, str]]:
    """Compute the checksums of a model that is at hand and compare them with those that are known.

    Returns:
        Path, sha256 and what it was compared with, for each file of weights that was fetched.

    Raises:
        JmposeError: A checksum differs.
    """
    place, original = entry.place, original_file(entry)
    if isinstance(place, HubRepo):
        files = sorted(location(entry).glob("*.safetensors"))
        expected = {file: _expected_of(place, file) for file in files}
    elif isinstance(place, WebFile):
        file = original or location(entry)
        what = "the catalogue's" if len(place.sha256) == 64 else f"the first {len(place.sha256)} digits in its name"
        expected = {file: (place.sha256, what)} if file.is_file() else {}
    else:
        expected = {}
    for file, (digits, _) in expected.items():
        check_sha256(file, digits, url=entry.source)
    return [(file, file_sha256(file), what) for file, (_, what) in expected.items()]


def by_hand(entry: Entry) -> str:
    """Say where a model is to be had and where to put it, for those who have no network here."""
    place, target = entry.place, original_file(entry) or location(entry)
    if isinstance(place, HubRepo):
        return hub.by_hand(place, target)
    if isinstance(place, WebFile):
        return f"fetch {place.url} and put it to {target}"
    if isinstance(place, ByHand):
        return f"fetch {place.name} from {place.page} and put it to {target}"
    return "install jmpose again"


def read_record(name: str) -> dict[str, Any]:
    """Read what was recorded of a shipped model when its weights were made; empty when nothing was."""
    try:
        record = json.loads((SHIPPED / f"{name}.record.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def card_section(entry: Entry, title: str) -> str:
    """Return a section of a shipped model's card; empty when there is none."""
    try:
        card = location(entry).with_suffix(".md").read_text()
    except OSError:
        return ""
    return card.partition(f"\n## {title}\n")[2].partition("\n## ")[0].strip()


def _is_there(entry: Entry) -> bool:
    path = location(entry)
    return hub.is_complete(path) if isinstance(entry.place, HubRepo) else path.is_file()


def _may_fetch(entry: Entry, access: Access) -> None:
    if access.offline or hub.is_offline():
        why = "--offline" if access.offline else "HF_HUB_OFFLINE is set"
        raise JmposeError(f"{entry.name} is not on this machine and nothing is fetched ({why})", hint=by_hand(entry))
    if not is_kept():
        access.notify(f"no home folder can be written to: models go to {cache_folder()}; set JMPOSE_CACHE to keep them")


def _fetch_repo(entry: Entry, place: HubRepo, access: Access) -> None:
    size = f", about {4 * entry.parameters_m:.0f} MB" if entry.parameters_m else ""
    access.notify(f"fetching {place.repo} from the Hugging Face Hub{size}")
    hub.fetch(place, location(entry), kind=entry.kind, progress=access.progress)


def _expected_of(place: HubRepo, file: Path) -> tuple[str, str]:
    """Return the checksum that a file of a repository must have, and who says so."""
    if place.sha256 and file.name == hub.WEIGHTS:
        return place.sha256, "the catalogue's"
    recorded = hub.recorded_sha256(file)
    return (recorded, "the Hub's") if recorded else ("", "nothing: none is known")


def _fetch_file(entry: Entry, target: Path, access: Access) -> None:
    if target.is_file():
        return
    if not isinstance(entry.place, WebFile):
        raise JmposeError(f"{entry.name} has to be fetched by hand", hint=by_hand(entry))
    _may_fetch(entry, access)
    access.notify(f"fetching {entry.place.url}")
    download(entry.place.url, target, sha256=entry.place.sha256, progress=access.progress)


def _convert(entry: Entry, original: Path, access: Access) -> None:
    from jmpose_cli.zoo.convert import convert

    access.notify(f"converting {original.name}")
    convert(original, location(entry), keypoint_set=entry.keypoint_set, input_hw=entry.input_hw)


def _shipped_models() -> dict[str, Entry]:
    """Describe the shipped models from the files beside their weights."""
    entries = (_shipped(path) for path in sorted(SHIPPED.glob("*.safetensors")) if path.with_suffix(".json").is_file())
    return {entry.name: entry for entry in entries}


def _shipped(weights: Path) -> Entry:
    described, record = json.loads(weights.with_suffix(".json").read_text()), read_record(weights.stem)
    licence, pose = "AGPL-3.0-or-later", described.get("preprocess")
    reid = described.get("kind") == "reid"
    size = pose or (described if reid else {"input_height": described["imgsz"], "input_width": described["imgsz"]})
    return Entry(
        name=weights.stem,
        kind="pose" if pose else "reid" if reid else "detector",
        place=Shipped(),
        input_hw=(size["input_height"], size["input_width"]),
        keypoint_set=pose["keypoint_set"] if pose else "",
        window_frames=len(pose["window_offsets"]) if pose else 0,
        code_licence=licence,
        weights_licence=licence,
        data="see the model card",
        source=str(weights.with_suffix(".md")),
        parameters_m=record.get("parameters", 0) / 1e6 or None,
        gmacs=record.get("picture_macs", 0) / 1e9 or None,
    )
