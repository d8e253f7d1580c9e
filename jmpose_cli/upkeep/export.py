"""`jmpose export`: pose models for other programs."""

import json
import shutil
from pathlib import Path

from jmpose.config import ModelConfig
from jmpose.errors import WeightsError
from jmpose.onnx_writing import OPSET
from jmpose_cli import __version__
from jmpose_cli.annotate.networks import temporal_file
from jmpose_cli.choices import ExportFormat
from jmpose_cli.config import PoseConfig
from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.known_weights import Access, choose_model
from jmpose_cli.pose.onnx_export import GraphParts, made_from, pose_graphs

METADATA, EXAMPLE = "metadata.json", "example.py"
_SUFFIXES: dict[ExportFormat, str] = {"onnx": ".onnx", "torchscript": ".pt"}


def export_model(
    name: str, folder: Path, *, to: ExportFormat, temporal: str, overwrite: bool, offline: bool, reporter: Reporter
) -> None:
    """Write the graphs of a pose model, what describes them and, for ONNX, a program that runs them.

    Args:
        name: As `--model` takes it.
        folder: Where to; it is made.
        to: Format of the graphs.
        temporal: As `--temporal` takes it.
        overwrite: Replace files.
        offline: Fetch no models.
        reporter: Says what was written.

    Raises:
        JmposeError: There are files already, the model cannot be loaded, or a package is missing.
    """
    if folder.exists() and not folder.is_dir():
        raise JmposeError(f"{folder}: is no folder", hint="name a folder, which is made")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise JmposeError(f"{folder} holds files already", hint="replace them with --overwrite, or name another folder")
    access = Access(offline=offline, notify=reporter.note)
    weights = choose_model(name, option="export", access=access, graphs=False).path
    part = temporal_file(PoseConfig(temporal=temporal))
    graphs = pose_graphs(weights, temporal=part, replace_temporal=temporal != "auto", folded=True)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    try:
        for graph, parts in graphs.parts.items():
            files[graph] = folder / f"{graph}{_SUFFIXES[to]}"
            (parts.write_onnx if to == "onnx" else parts.write_torchscript)(files[graph])
    except WeightsError as error:
        raise JmposeError(f"export: {error.message}", hint=error.hint) from error
    facts = {
        "made_with": f"jmpose {__version__}",
        "made_from": made_from(weights, graphs.temporal),
        "format": f"ONNX, opset {OPSET}" if to == "onnx" else "TorchScript",
        **_about(graphs.config),
        "people_a_call": graphs.people,
        "places": graphs.places,
        "graphs": {graph: _described(parts, files[graph]) for graph, parts in graphs.parts.items()},
    }
    write_whole(folder / METADATA, json.dumps(facts, indent=1).encode() + b"\n")
    if to == "onnx":
        shutil.copy(Path(__file__).with_name("export_example.py"), folder / EXAMPLE)
    written = [*files.values(), folder / METADATA, *([folder / EXAMPLE] if to == "onnx" else [])]
    reporter.header({graphs.config.name: ", ".join(str(path) for path in written)})


def _about(config: ModelConfig) -> dict[str, object]:
    """What a program must know that cuts crops and reads joints."""
    preprocess = config.preprocess
    return {
        "name": config.name,
        "keypoint_set": preprocess.keypoint_set,
        "joints": preprocess.keypoints.joints,
        "input_hw": [preprocess.input_height, preprocess.input_width],
        "input": "RGB, 0..255; the graph normalises it",
        "mean": preprocess.mean,
        "std": preprocess.std,
        "box_padding": preprocess.box_padding,
        "heatmap_hw": preprocess.heatmap_size,
        "heatmap_alignment": preprocess.heatmap_alignment,
        "heatmap_sigma": preprocess.heatmap_sigma,
        "window_offsets": preprocess.window_offsets,
        "reference_fps": preprocess.reference_fps,
        "max_support_gap_s": preprocess.max_support_gap_s,
    }


def _described(parts: GraphParts, path: Path) -> dict[str, object]:
    """The file of a graph, its inputs and outputs in order."""
    inputs = {name: [str(each.dtype).removeprefix("torch."), *each.shape] for name, each in parts.inputs.items()}
    return {"file": path.name, "inputs": inputs, "outputs": list(parts.outputs)}
