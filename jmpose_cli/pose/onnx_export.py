"""Pose models written as ONNX graphs, for `OnnxEstimator`: by torch, once a model."""

from pathlib import Path

import torch

from jmpose.folding import fold_batch_norms
from jmpose.graphs import CropEncoder, HeatmapDecoder, WindowFuser
from jmpose.onnx_writing import OPSET, write_graph
from jmpose.weights import weights_sha256
from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import check_installed
from jmpose_cli.onnx_graphs import description_of, write_description
from jmpose_cli.pose.estimator import CPU_PEOPLE
from jmpose_cli.pose.torch_engine import load_with_temporal

LOCATED = ("joints", "scores", "covariances")
_MOST_BYTES = 2_000_000_000  # in one file of this format


def made_from(weights: Path, temporal: Path | None) -> dict[str, str | None]:
    """Checksums of what graphs are made from."""
    return {"model": weights_sha256(weights), "temporal": weights_sha256(temporal) if temporal else None}


def write_pose_graphs(
    weights: Path, description: Path, *, temporal: Path | None = None, replace_temporal: bool = False
) -> None:
    """Write the graphs of a model, and what describes them.

    Graphs beside their weights take them from there; others hold them.

    Args:
        weights: As `TorchEstimator.load` takes them.
        description: The file that will describe the graphs, `NAME.onnx.json`.
        temporal: As there.
        replace_temporal: As there.

    Raises:
        JmposeError: The model cannot be loaded, is too large for a graph, or the package that writes them is missing.
    """
    check_installed("onnx", extra="onnx", by="--engine onnx")
    model, used = load_with_temporal(weights, temporal, replace_temporal=replace_temporal)
    beside = weights if used is None and description == description_of(weights) else None
    if beside is None:
        fold_batch_norms(model)
        if (size := sum(4 * p.numel() for p in model.parameters())) > _MOST_BYTES:
            raise JmposeError(
                f"{weights}: {size / 1e9:.1f} GB of weights are too many for an ONNX graph", hint="use --engine torch"
            )
    preprocess = model.config.preprocess
    maps = [f"map{number}" for number in range(len(model.places))]
    crops = torch.zeros(CPU_PEOPLE, 3, preprocess.input_height, preprocess.input_width)
    encoder, fuser, decoder = CropEncoder(model), WindowFuser(model), HeatmapDecoder(preprocess)
    with torch.inference_mode():
        heatmaps, *seen = encoder(crops)
    windows = {
        "to_image": torch.eye(2, 3).expand(CPU_PEOPLE, preprocess.frames, 2, 3),
        "exists": torch.ones(CPU_PEOPLE, preprocess.frames, dtype=torch.bool),
        "heatmaps": torch.stack([heatmaps] * preprocess.frames, 1),
        **{name: torch.stack([each] * len(at), 1) for name, each, at in zip(maps, seen, model.places, strict=True)},
    }
    wanted = {
        "encode": (encoder, {"crops": crops}, ("heatmaps", *maps)),
        "fuse": (fuser, windows, (*LOCATED, "fused")),
        "decode": (decoder, {"heatmaps": heatmaps, "to_image": windows["to_image"][:, 0]}, LOCATED),
    }
    stem = description.name.removesuffix(".onnx.json")
    description.parent.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, (module, inputs, outputs) in wanted.items():
        files[name] = description.with_name(f"{stem}.{name}.onnx")
        write_graph(module.eval(), inputs, outputs, files[name], weights=beside)
    facts = {
        "made_from": made_from(weights, used),
        "opset": OPSET,
        "people_a_call": CPU_PEOPLE,
        "places": model.places,
        "config": model.config.to_dict(),
    }
    write_description(description, facts, files=files)
