"""Pose models written as ONNX graphs, for `OnnxEstimator`: by torch, once a model."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from jmpose.config import ModelConfig
from jmpose.files import WholeFile
from jmpose.folding import fold_batch_norms
from jmpose.graphs import CropEncoder, HeatmapDecoder, WindowFuser
from jmpose.onnx_writing import OPSET, write_graph
from jmpose.weights import weights_sha256
from jmpose_cli.onnx_graphs import QUANTISED, description_of, write_description
from jmpose_cli.pose.estimator import CPU_PEOPLE
from jmpose_cli.pose.onnx_int8 import write_quantised_encoder
from jmpose_cli.pose.torch_engine import load_with_temporal
from jmpose_cli.values import Float

LOCATED = ("joints", "scores", "covariances")


def made_from(weights: Path, temporal: Path | None) -> dict[str, str | None]:
    """Checksums of what graphs are made from."""
    return {"model": weights_sha256(weights), "temporal": weights_sha256(temporal) if temporal else None}


@dataclass(frozen=True)
class GraphParts:
    """A graph that can be written.

    Attributes:
        module: What it computes.
        inputs: By name, in order, of the shapes that the graph has.
        outputs: Names, in order.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]

    def write_onnx(self, path: Path, *, weights: Path | None = None) -> None:
        """Write it as ONNX; see `write_graph`."""
        write_graph(self.module, self.inputs, self.outputs, path, weights=weights)

    def write_torchscript(self, path: Path) -> None:
        """Write it as TorchScript."""
        with torch.inference_mode(), warnings.catch_warnings(), WholeFile(path) as partial:
            warnings.simplefilter("ignore")  # shapes become constants, which is what is wanted
            traced = torch.jit.trace(self.module, tuple(self.inputs.values()), check_trace=False)  # type: ignore[no-untyped-call]
            traced.save(partial)


@dataclass(frozen=True)
class PoseGraphs:
    """The graphs of a pose model.

    Attributes:
        parts: By name: `encode`, `fuse` and `decode`, see docs/engines.md.
        config: Of the model.
        places: `JMPose.places`.
        temporal: Weights whose temporal part stands in the place of the model's own; None: none does.
        people: In a call.
    """

    parts: Mapping[str, GraphParts]
    config: ModelConfig
    places: tuple[tuple[int, ...], ...]
    temporal: Path | None
    people: int


def pose_graphs(
    weights: Path, *, temporal: Path | None, replace_temporal: bool, folded: bool, people: int = CPU_PEOPLE
) -> PoseGraphs:
    """Load a pose model as graphs.

    Args:
        weights: As `TorchEstimator.load` takes them.
        temporal: As there.
        replace_temporal: As there.
        folded: Fold BatchNorm into convolutions; without, the weights stay those of the file.
        people: In a call.

    Raises:
        JmposeError: The model cannot be loaded.
    """
    model, used = load_with_temporal(weights, temporal, replace_temporal=replace_temporal)
    if folded:
        fold_batch_norms(model)
    preprocess = model.config.preprocess
    maps = [f"map{number}" for number in range(len(model.places))]
    crops = torch.zeros(people, 3, preprocess.input_height, preprocess.input_width)
    encoder = CropEncoder(model)
    with torch.inference_mode():
        heatmaps, *seen = encoder(crops)
    windows = {
        "to_image": torch.eye(2, 3).expand(people, preprocess.frames, 2, 3),
        "exists": torch.ones(people, preprocess.frames, dtype=torch.bool),
        "heatmaps": torch.stack([heatmaps] * preprocess.frames, 1),
        **{name: torch.stack([each] * len(at), 1) for name, each, at in zip(maps, seen, model.places, strict=True)},
    }
    keys = {"heatmaps": heatmaps, "to_image": windows["to_image"][:, 0]}
    parts = {
        "encode": GraphParts(encoder.eval(), {"crops": crops}, ("heatmaps", *maps)),
        "fuse": GraphParts(WindowFuser(model).eval(), windows, (*LOCATED, "fused")),
        "decode": GraphParts(HeatmapDecoder(preprocess).eval(), keys, LOCATED),
    }
    return PoseGraphs(parts, model.config, model.places, used, people)


def write_pose_graphs(
    weights: Path,
    description: Path,
    *,
    temporal: Path | None = None,
    replace_temporal: bool = False,
    crops: Float | None = None,
    people: int = CPU_PEOPLE,
) -> None:
    """Write the graphs of a model, and what describes them.

    Graphs beside their weights take them from there; others hold them.

    Args:
        weights: As `TorchEstimator.load` takes them.
        description: The file that will describe the graphs, `NAME.onnx.json`.
        temporal: As there.
        replace_temporal: As there.
        crops: Write the backbone in int8 too, calibrated on these; see `write_quantised_encoder`.
        people: In a call.

    Raises:
        JmposeError: The model cannot be loaded, is too large for a graph, or the package that writes them is missing.
    """
    is_beside = description == description_of(weights)
    graphs = pose_graphs(
        weights, temporal=temporal, replace_temporal=replace_temporal, folded=not is_beside, people=people
    )
    stem = description.name.removesuffix(".onnx.json")
    description.parent.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, parts in graphs.parts.items():
        files[name] = description.with_name(f"{stem}.{name}.onnx")
        parts.write_onnx(files[name], weights=weights if is_beside else None)
    if crops is not None:
        files[QUANTISED] = description.with_name(f"{stem}.{QUANTISED}.onnx")
        exact = pose_graphs(weights, temporal=temporal, replace_temporal=replace_temporal, folded=True)
        write_quantised_encoder(exact.parts["encode"].write_onnx, crops, files[QUANTISED])
    facts = {
        "made_from": made_from(weights, graphs.temporal),
        "opset": OPSET,
        "people_a_call": graphs.people,
        "places": graphs.places,
        "config": graphs.config.to_dict(),
    }
    write_description(description, facts, files=files)
