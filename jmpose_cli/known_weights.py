"""Which weights a name stands for: what ships, a file or folder, a listed model, one of the Hub, or the best here."""

from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo.catalogue import KIND_NAMES, Kind, Shipped
from jmpose_cli.zoo.graph_files import GRAPH_SUFFIXES, is_graph, of_rtmlib
from jmpose_cli.zoo.names import is_hub_id, nearest
from jmpose_cli.zoo.store import SHIPPED as SHIPPED
from jmpose_cli.zoo.store import Access as Access
from jmpose_cli.zoo.store import bring, find_entry, known_models, unlisted
from jmpose_cli.zoo.store import cache_folder as cache_folder

YOLO_FAMILIES = ("yolo26", "yolo12", "yolo11", "yolov8")
YOLO_SCALES_CPU = "nsmlx"  # smallest first: a large detector would take seconds a frame
YOLO_SCALES_GPU = "mlxsn"
TEMPORAL_PART = SHIPPED / "parts" / "temporal-coco17.safetensors"
"""For pretrained backbones, which know single frames only; see its model card."""
REID_NANO = SHIPPED / "reid-nano.safetensors"
_REID_SUFFIXES = (".safetensors", ".pth", ".pt")
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "pose": (".safetensors", *GRAPH_SUFFIXES),
    "detector": (".safetensors", ".pt", *GRAPH_SUFFIXES),
}
_FOLDERS: dict[Kind, str] = {"pose": "of ViTPose", "detector": "of RT-DETR or D-FINE"}


@dataclass(frozen=True)
class Choice:
    """A weights file and why it was taken.

    Attributes:
        path: The weights file, a folder that holds it and its configuration, or a graph of another project.
        reason: Sentence for the header; empty when the user named the file.
    """

    path: Path
    reason: str = ""


def choose_model(name: str, *, option: str = "--model", access: Access | None = None, graphs: bool = True) -> Choice:
    """Resolve `--model`, or another option that names a pose model.

    In this order: `auto`, a shipped or listed name, a file (`.safetensors`, or a graph: `.onnx`, `.xml`) or a folder, a
    graph that rtmlib has fetched, an id of the Hub. A folder here that happens to have the name of a model is not taken
    for it: `./name` asks for it. A listed model that is not at hand is fetched: its name asks for it. `auto` never
    fetches.

    Args:
        name: What the user wrote.
        option: Which option that was, for messages.
        access: How models may be fetched.
        graphs: Whether graphs of other projects will do; they can only be run.

    Raises:
        JmposeError: The name stands for nothing, or for what cannot be fetched.
    """
    if name == "auto":
        return Choice(
            SHIPPED / "nano.safetensors",
            "shipped; for better joints: --model small, on newer CPUs with --precision int8, or `jmpose models list`",
        )
    choice = _named(option, name, "pose", access or Access())
    if is_graph(choice.path) and not graphs:
        raise JmposeError(
            f"{option} {name}: is a graph, which can be run but neither trained nor written anew",
            hint="give weights: " + _allowed("pose"),
        )
    return choice


def choose_detector(name: str, *, on_gpu: bool, access: Access | None = None) -> Choice:
    """Resolve `--detector` as `choose_model` does; files may also be ultralytics' `.pt`, and graphs with boxes.

    A folder holds an RT-DETR, RT-DETRv2 or D-FINE as transformers saves it. `auto` takes the best YOLO in the cache.

    Raises:
        JmposeError: The name stands for nothing, or for what cannot be fetched.
    """
    if name != "auto":
        return _named("--detector", name, "detector", access or Access())
    folder = cache_folder()  # and no other: what lies in the working directory was not asked for
    for family in YOLO_FAMILIES:
        for scale in YOLO_SCALES_GPU if on_gpu else YOLO_SCALES_CPU:
            found = folder / f"{family}{scale}.pt"
            if found.is_file():
                return Choice(found, f"found in {folder}")
    return Choice(SHIPPED / "person-nano.safetensors", "shipped; for better boxes: --detector yolo26s or dfine-s")


def choose_reid(name: str) -> Path | None:
    """Resolve `--reid`: the shipped `reid-nano`, a file of it or of torchreid's OSNet; None for `none`.

    Raises:
        JmposeError: It is neither.
    """
    if name == "none":
        return None
    path = REID_NANO if name == REID_NANO.stem else Path(name)
    if path.is_file() and path.suffix in _REID_SUFFIXES:
        return path
    matter = "is no weights file" if path.exists() else "no such file"
    raise JmposeError(f"--reid {name}: {matter}", hint="reid-nano, none, or a .pth of torchreid's OSNet")


def _named(option: str, name: str, kind: Kind, access: Access) -> Choice:
    entry, path = find_entry(name), Path(name)
    if entry and entry.kind == kind and entry.name == name:
        return Choice(bring(entry, access))
    if path.is_dir() or (path.is_file() and path.suffix in _SUFFIXES[kind]):
        return Choice(path)
    if path.is_file():
        raise JmposeError(f"{option} {name}: is not a weights file", hint=_allowed(kind, path))
    if entry is None and (graph := of_rtmlib(option, name)):
        return Choice(graph, f"fetched by rtmlib, {graph}")
    if entry is None and is_hub_id(name):
        entry = unlisted(name, kind)
    if entry is None:
        near = nearest(name, kind)
        hint = near if near.startswith("did you mean") and not path.suffix else f"{near}; {_allowed(kind)}"
        raise JmposeError(f"{option} {name}: is neither a known name nor a file", hint=hint)
    if entry.kind != kind:
        raise JmposeError(
            f"{option} {name}: {name} is a {KIND_NAMES[entry.kind]}, not a {KIND_NAMES[kind]}", hint=_allowed(kind)
        )
    return Choice(bring(entry, access))


def _allowed(kind: Kind, given: Path | None = None) -> str:
    if kind == "pose" and given is not None and given.suffix in (".pth", ".pt"):
        return f"convert it first: jmpose models convert {given} FOLDER"
    shipped = ", ".join(e.name for e in known_models().values() if e.kind == kind and isinstance(e.place, Shipped))
    files = " or ".join(_SUFFIXES[kind])
    folders = f"folders have config.json and model.safetensors {_FOLDERS[kind]}"
    return f"shipped: {shipped}, auto; files end in {files}; {folders}"
