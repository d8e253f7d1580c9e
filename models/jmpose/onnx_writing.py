"""Modules written as ONNX graphs, for engines that need no torch. Writing needs the package `onnx`.

A graph takes its weights from the safetensors file that they came from, which lies beside it: ONNX allows data outside
of the graph at any place of a file. So a graph is small, and its weights are the very same numbers.
"""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jmpose.errors import WeightsError
from jmpose.files import WholeFile

OPSET = 17
"""Of the graphs: the first with all that the networks need was 16."""
_MOST_BYTES = 2_000_000_000
_KINDS = {"F16": "FLOAT16", "F32": "FLOAT"}


def write_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    *,
    weights: Path | None = None,
    free: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Trace a module and write it as a graph.

    Args:
        module: In eval mode; its network is its attribute `model`.
        inputs: By name, in order of the arguments: their shapes become those of the graph.
        outputs: Names of what it returns.
        path: The `.onnx` file.
        weights: Safetensors file in the folder of `path` in which the network's state lies; None puts all weights
            into the graph.
        free: Names of sides that stay free, by input and axis.

    Raises:
        WeightsError: The package `onnx` is missing, or the weights are too many for one file of this format.
    """
    try:
        import onnx
    except ImportError as error:
        raise WeightsError("the package onnx, which writes graphs, is missing", "pip install 'jmpose[onnx]'") from error
    if weights is None and (size := sum(4 * p.numel() for p in module.parameters())) > _MOST_BYTES:
        raise WeightsError(f"{size / 1e9:.1f} GB of weights are too many for an ONNX graph", "run the model by torch")
    from torch.onnx import TrainingMode

    buffer = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter: shapes become constants, which is what is wanted
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]  # as its documentation says
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=free,
            # The weights are to stay those of the file; engines fold what can be folded when they load it.
            training=TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    if weights is not None:
        _refer_to(weights, graph, onnx)
    with WholeFile(path) as partial:
        partial.write_bytes(graph.SerializeToString())


def _refer_to(weights: Path, model: Any, onnx: Any) -> None:
    """Replace the weights in a graph by the places of a safetensors file in which they lie."""
    places, start = _tensor_places(weights)
    casts = []
    for tensor in model.graph.initializer:
        place = places.get(tensor.name.removeprefix("model."))
        if place is None or place["dtype"] not in _KINDS or place["shape"] != list(tensor.dims):
            continue  # computed by the exporter
        first, last = place["data_offsets"]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", start + first), ("length", last - first)):
            tensor.external_data.add(key=key, value=str(value))
        if place["dtype"] == "F16":
            wanted, tensor.name = tensor.name, f"{tensor.name}.half"
            tensor.data_type = onnx.TensorProto.FLOAT16
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [wanted], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def _tensor_places(weights: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where its data begin."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length
