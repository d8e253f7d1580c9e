"""`jmpose models`: what is known about models, and bringing them here."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from jmpose.config import ModelConfig
from jmpose.errors import ConfigError
from jmpose.files import file_sha256
from jmpose.plain_files import read_json
from jmpose_cli.console import Reporter, download_bar, make_console
from jmpose_cli.errors import JmposeError
from jmpose_cli.text import to_json
from jmpose_cli.upkeep.graphs import graph_named, show_graph
from jmpose_cli.zoo.catalogue import Entry, HubRepo, Kind, Shipped, WebFile
from jmpose_cli.zoo.graph_files import facts_by_name, is_graph, rtmlib_folder, rtmlib_graphs
from jmpose_cli.zoo.names import named_entry, nearest
from jmpose_cli.zoo.store import (
    Access,
    bring,
    by_hand,
    cache_folder,
    card_section,
    find_entry,
    known_models,
    location,
    original_file,
    read_record,
    state,
    verify,
)

_UNTRAINED = (
    "none of its own until `jmpose train --init` has trained one; with COCO joints and 256x192 it gets the shipped "
    "part, else results are those of single frames"
)


def list_models(*, kind: Kind | None, as_json: bool) -> None:
    """Print the known models as a table, or as JSON."""
    entries = [e for e in known_models().values() if kind in (None, e.kind)]
    known = [(path, facts_by_name(path)) for path in rtmlib_graphs()]
    fetched = [(path, *about) for path, about in known if about and kind in (None, about[0])]
    if as_json:
        others = [{"name": p.stem, "kind": k, "state": "cached", "from": {"rtmlib": str(p)}} for p, k, _ in fetched]
        print(to_json([*map(facts, entries), *others], indent=True).decode())
        return
    table = Table(box=None, header_style="bold")
    for column in ("name", "kind", "", "input", "joints"):
        table.add_column(column, no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("GMACs", justify="right", no_wrap=True)
    table.add_column("licence of weights")
    for entry in entries:
        size = "x".join(map(str, entry.input_hw))
        numbers = (_number(entry.parameters_m, " M"), _number(entry.gmacs))
        licence = entry.weights_licence.removesuffix(" (model card)")
        table.add_row(entry.name, entry.kind, state(entry), size, entry.keypoint_set, *numbers, licence)
    for path, of_kind, size in fetched:
        table.add_row(path.stem, of_kind, "rtmlib", size)
    make_console().print(table)
    make_console().print(f"\ncached ones are in {cache_folder()}")
    if fetched:
        make_console().print(f"those fetched by rtmlib in {rtmlib_folder()}; `jmpose models show NAME` says more")


def show_model(name: str, *, as_json: bool) -> None:
    """Print all that is known about one model.

    Args:
        name: Its name, or a graph of another project.
        as_json: JSON instead of a table.

    Raises:
        JmposeError: No model has this name, or the graph cannot be used.
    """
    entry = find_entry(name)
    if entry is None and (graph := graph_named(name)):
        show_graph(graph, as_json=as_json)
        return
    if entry is None:
        raise JmposeError(f"{name}: no model has this name", hint=nearest(name))
    found = facts(entry) | {"files": _files(entry)}
    if as_json:
        print(to_json(found, indent=True).decode())
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in found.items():
        if value not in ("", None, []):
            table.add_row(key.replace("_", " "), _text(value))
    if state(entry) in ("available", "by hand"):
        table.add_row("to get it", _how_to_get(entry))
    make_console().print(table)


def pull_models(names: list[str], *, kind: Kind | None, offline: bool, reporter: Reporter) -> int:
    """Fetch, verify and convert models.

    Args:
        names: Names or ids on the Hub.
        kind: What an id that is not listed stands for; None takes it for a pose model.
        offline: Fetch nothing: an error for what is not at hand.
        reporter: Says what was done.

    Returns:
        0 when all are at hand, 1 when some are not.
    """
    failed = 0
    for name in names:
        try:
            entry = named_entry(name, kind)
            if isinstance(entry.place, Shipped):
                reporter.header({entry.name: f"{location(entry)} (shipped)"})
                continue
            with download_bar(shown=not reporter.quiet) as progress:
                bring(entry, Access(offline=offline, notify=reporter.note, progress=progress))
            checked = verify(entry)
        except JmposeError as error:
            failed += 1
            reporter.failure(name, error)
            continue
        sums = "; ".join(f"sha256 {digest[:16]}... compared with {what}" for _, digest, what in checked)
        reporter.header({entry.name: f"{location(entry)}" + f" ({sums})" * bool(sums)})
    return 1 if failed else 0


def facts(entry: Entry) -> dict[str, Any]:
    """Return what is known about a model, ready for JSON."""
    place = entry.place
    found: dict[str, Any] = {
        "name": entry.name,
        "kind": entry.kind,
        "state": state(entry),
        "parameters_millions": entry.parameters_m and round(entry.parameters_m, 3),
        "gmacs_per_picture": entry.gmacs and round(entry.gmacs, 3),
        "input_height": entry.input_hw[0],
        "input_width": entry.input_hw[1],
    }
    if entry.kind == "pose":
        found["keypoint_set"] = entry.keypoint_set
        found["window_frames"] = entry.window_frames
        found["temporal_part"] = "trained" if entry.is_trained_in_time else _UNTRAINED
        found["calibration"] = _calibration(entry)
    found |= {
        "code_licence": entry.code_licence,
        "weights_licence": entry.weights_licence,
        "training_data": entry.data,
        "published": entry.published or None,
        "source": entry.source,
        "from": None if isinstance(place, Shipped) else {k: v for k, v in asdict(place).items() if v},
    }
    if isinstance(place, HubRepo | WebFile):
        found["pinned"] = _pins(place)
    if isinstance(place, Shipped):
        found["recorded"] = {key: value for key, value in read_record(entry.name).items() if key != "outputs"} or None
        found["training_data"] = card_section(entry, "Data")
        found["measured"] = card_section(entry, "Figures")
        found["weights_licence"] = card_section(entry, "Licence")
    return found


def _pins(place: HubRepo | WebFile) -> str:
    if isinstance(place, WebFile):
        whole = len(place.sha256) == 64
        return "sha256" if whole else "the first 8 digits of the sha256, from the file's name"
    pins = [name for name, value in (("revision", place.revision), ("sha256", place.sha256)) if value]
    return " and ".join(pins) or "nothing: the newest revision is taken, checked against the Hub's own sha256"


def _files(entry: Entry) -> list[dict[str, Any]]:
    """List the files that lie here."""
    where = location(entry)
    paths = sorted(p for p in where.iterdir() if p.is_file()) if where.is_dir() else [where, where.with_suffix(".json")]
    original = original_file(entry)
    paths += [original] if original else []
    files = [path for path in paths if path.is_file()]
    return [{"path": str(path), "bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in files]


def _calibration(entry: Entry) -> dict[str, Any] | str | None:
    """Say what the probabilities of joints follow from; None of a model that is not here."""
    if state(entry) in ("available", "by hand"):
        return None
    try:
        calibration = ModelConfig.from_dict(read_json(location(entry).with_suffix(".json"))).calibration
    except (ConfigError, OSError, ValueError):  # damaged, or a ViTPose of transformers
        calibration = None
    return asdict(calibration) if calibration else "not calibrated: joints get no probabilities"


def _how_to_get(entry: Entry) -> str:
    if state(entry) == "by hand":
        return f"{by_hand(entry)}; then jmpose models pull {entry.name}"
    return f"jmpose models pull {entry.name}; without a network {by_hand(entry)}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {inner}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(f"{file['path']} ({file['bytes']:,} bytes)\nsha256 {file['sha256']}" for file in value)
    return str(value)


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.3g}{unit}"


def convert_file(
    source: Path, target: Path, *, keypoint_set: str | None, input_hw: tuple[int, int] | None, overwrite: bool
) -> None:
    """Convert another project's weights and print what became of each of them.

    Args:
        source: A `.pth` or `.pt` file.
        target: A `.safetensors` file, or a folder, which is made.
        keypoint_set: Joints of the file's channels; None takes what the file or its name says.
        input_hw: Height and width of its input; None takes what is usual for its kind.
        overwrite: Replace files.

    Raises:
        JmposeError: The file is not readable, of no known project, or `target` exists.
    """
    from jmpose_cli.zoo.convert import convert

    if is_graph(source):
        raise JmposeError(
            f"convert {source}: is a graph, which is run as it is",
            hint=f"jmpose infer --model {source}, or --detector; what it needs: jmpose models show {source}",
        )
    into = target if target.suffix == ".safetensors" else target / f"{source.stem}.safetensors"
    there = next((p for p in (into, into.with_suffix(".json")) if p.exists()), None)
    if there and not overwrite:
        raise JmposeError(f"{there} exists", hint="replace it with --overwrite, or choose another target")
    report = convert(source, into, keypoint_set=keypoint_set, input_hw=input_hw)
    make_console().print(str(report))
    make_console().print(f"written: {into} and {into.with_suffix('.json').name}")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read `384x288`, height first.

    Raises:
        JmposeError: It is written otherwise.
    """
    if text is None:
        return None
    height, x, width = text.partition("x")
    if not (x and height.isdigit() and width.isdigit()):
        raise JmposeError(f"--input {text}: not a size", hint="write height and width as 384x288")
    return int(height), int(width)
