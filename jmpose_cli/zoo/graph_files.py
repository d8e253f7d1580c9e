"""Graphs of other projects as files: how they are named, what lies beside them, and those that rtmlib has fetched."""

import os
import re
from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo.catalogue import Kind

GRAPH_SUFFIXES = (".onnx", ".xml")


def is_graph(path: Path) -> bool:
    """Whether a file is run as a graph: an ONNX file, or one of OpenVINO."""
    return path.suffix in GRAPH_SUFFIXES and not path.is_dir()


def weights_of_ir(path: Path) -> Path:
    """Where the weights of OpenVINO's `.xml` lie."""
    return path.with_suffix(".bin")


def settings_of(path: Path) -> Path:
    """Where settings of a graph lie, if there are any: `NAME.yaml` beside it, else `model.yaml`."""
    own, common = path.with_suffix(".yaml"), path.with_name("model.yaml")
    return common if common.is_file() and not own.is_file() else own


def graph_name(path: Path) -> str:
    """Name a graph for headers and files: exporters call many of them the same, and their folders by name."""
    plain = path.stem in ("end2end", "model", "model_fp16", "inference", "best", "last")
    return path.resolve().parent.name if plain else path.stem


def rtmlib_folder() -> Path:
    """Where rtmlib keeps what it has fetched; it need not exist."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "rtmlib"
    return Path(os.environ.get("TORCH_HOME") or cache).expanduser() / "hub" / "checkpoints"


def rtmlib_graphs() -> list[Path]:
    """List the graphs that rtmlib has fetched, by name."""
    try:
        return sorted(path for path in rtmlib_folder().glob("*.onnx") if path.is_file())
    except OSError:
        return []


def facts_by_name(path: Path) -> tuple[Kind, str] | None:
    """Tell kind and input size, such as `256x192`, by the name that rtmlib gives a graph; None for what is not run."""
    name = path.stem.lower()
    size = re.search(r"\d{2,4}x\d{2,4}", name)
    kinds: dict[str, Kind] = {"yolox": "detector", "rtmdet": "detector", "rfdetr": "detector"}
    kinds |= {"rtmpose": "pose", "rtmw": "pose", "vitpose": "pose", "dwpose": "pose", "dw-ll": "pose"}
    kind = next((kind for part, kind in kinds.items() if part in name), None)
    return None if kind is None else (kind, size.group() if size else "")


def of_rtmlib(option: str, name: str) -> Path | None:
    """Find a graph among those that rtmlib has fetched, by its name or the beginning of it; None when there is none.

    Args:
        option: Which option names it, for messages.
        name: Such as `rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504`, or `rtmpose-m`.

    Raises:
        JmposeError: Several begin so.
    """
    name = name.removesuffix(".onnx").removesuffix(".zip")
    if not name or "/" in name:
        return None
    graphs = rtmlib_graphs()
    begun = [path for path in graphs if path.stem == name] or [
        path for path in graphs if path.stem.startswith((f"{name}_", f"{name}-"))
    ]
    if len(begun) > 1:
        names = ", ".join(path.stem for path in begun[:4])
        raise JmposeError(f"{option} {name}: rtmlib has fetched {len(begun)} models that begin so", hint=names)
    return begun[0] if begun else None
