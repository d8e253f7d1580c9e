"""Which weights a name stands for: a path, what ships in the package, or the best on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.errors import JmposeError

SHIPPED = Path(__file__).parent / "weights"
YOLO_FAMILIES = ("yolo26", "yolo12", "yolo11", "yolov8")
YOLO_SCALES_CPU = "nsmlx"  # smallest first: a large detector would take seconds a frame
YOLO_SCALES_GPU = "mlxsn"


@dataclass(frozen=True)
class Choice:
    """A weights file and why it was taken.

    Attributes:
        path: The weights file, or a detector's folder.
        reason: Sentence for the header; empty when the user named the file.
    """

    path: Path
    reason: str = ""


def cache_folder() -> Path:
    """Where downloaded weights are kept: `JMPOSE_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("JMPOSE_CACHE", Path.home() / ".cache" / "jmpose"))


def choose_model(name: str, *, option: str = "--model") -> Choice:
    """Resolve `--model`, or another option that names one: `auto`, a shipped name or a `.safetensors` file.

    Raises:
        JmposeError: The name is neither shipped nor a file.
    """
    if name == "auto":
        return Choice(SHIPPED / "nano.safetensors", "shipped; --model PATH takes a larger one")
    return _named(option, name, kind="pose model", suffixes=(".safetensors",))


def choose_detector(name: str, *, on_gpu: bool) -> Choice:
    """Resolve `--detector`: `auto`, a shipped name, a `.safetensors` or an ultralytics `.pt` file, or a folder.

    A folder holds an RT-DETR, RT-DETRv2 or D-FINE as transformers saves it. `auto` takes the best YOLO that this
    machine already has; it never downloads.

    Raises:
        JmposeError: The name is neither shipped nor a file nor a folder.
    """
    if name != "auto":
        return _named("--detector", name, kind="person detector", suffixes=(".safetensors", ".pt"), folders=True)
    folders = [cache_folder(), Path.cwd(), Path.cwd() / "weights"]
    for family in YOLO_FAMILIES:
        for scale in YOLO_SCALES_GPU if on_gpu else YOLO_SCALES_CPU:
            for folder in folders:
                found = folder / f"{family}{scale}.pt"
                if found.is_file():
                    return Choice(found, f"found in {folder}")
    return Choice(
        SHIPPED / "person-nano.safetensors",
        f"shipped; for better boxes put yolo26n.pt into {folders[0]} or name one with --detector",
    )


def _named(option: str, name: str, *, kind: str, suffixes: tuple[str, ...], folders: bool = False) -> Choice:
    shipped = SHIPPED / f"{name}.safetensors"
    if shipped.is_file() and shipped.with_suffix(".json").is_file() and _is_kind(shipped, kind):
        return Choice(shipped)
    path = Path(name)
    if (path.is_file() and path.suffix in suffixes) or (folders and path.is_dir()):
        return Choice(path)
    names = ", ".join(p.stem for p in sorted(SHIPPED.glob("*.safetensors")) if _is_kind(p, kind))
    what = "is not a weights file" if path.is_file() else "is neither a shipped name nor a file"
    hint = f"shipped: {names}, auto; files end in {' or '.join(suffixes)}"
    if folders:
        hint += "; folders have config.json and model.safetensors of RT-DETR or D-FINE"
    raise JmposeError(f"{option} {name}: {what}", hint=hint)


def _is_kind(weights: Path, kind: str) -> bool:
    """Tell shipped detectors, whose names begin with `person`, from pose models."""
    return weights.stem.startswith("person") == (kind == "person detector")
