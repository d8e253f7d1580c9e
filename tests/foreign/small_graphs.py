"""Small ONNX graphs in the forms of other projects, made by the package `onnx`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are made by the package onnx, of the extra of that name")
TYPES = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.int64): onnx.TensorProto.INT64}
Side = int | str


def write(
    path: Path,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    outputs: dict[str, list[Side]],
    *,
    size: tuple[Side, Side] = (256, 192),
    batch: Side = "batch",
    others: dict[str, list[Side]] | None = None,
    opset: int = 17,
    metadata: dict[str, str] | None = None,
    kinds: dict[str, int] | None = None,
) -> Path:
    """Write a graph whose input `input` is a picture."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("input", floats, [batch, 3, *size])]
    inputs += [helper.make_tensor_value_info(n, onnx.TensorProto.INT64, s) for n, s in (others or {}).items()]
    kinds = kinds or {}
    graph = helper.make_graph(
        nodes,
        "graph",
        inputs,
        [helper.make_tensor_value_info(n, kinds.get(n, floats), shape) for n, shape in outputs.items()],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    domains = {node.domain for node in nodes if node.domain}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, 1) for d in domains])
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = 8
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return path


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, outputs, **attributes)


def heatmap_graph(path: Path, *, joints: int = 17, size: tuple[Side, Side] = (256, 192), **more: Any) -> Path:
    """Heatmaps of how much redder than green a picture is, blurred; what it is given is ImageNet's normalisation."""
    reach = np.arange(-8, 9)
    bell = np.exp(-(reach[:, None] ** 2 + reach**2) / 32).astype(np.float32)
    kernel = np.zeros((joints, 3, 17, 17), np.float32)
    kernel[:, 0], kernel[:, 1] = bell * 0.229, -bell * 0.224
    weights = {"kernel": kernel, "bias": np.float32([bell.sum() * (0.485 - 0.456)] * joints), "by": np.float32(100)}
    nodes = [
        node("Conv", ["input", "kernel", "bias"], ["sum"], strides=[4, 4], pads=[8, 8, 8, 8]),
        node("Div", ["sum", "by"], ["heatmaps"]),
    ]
    sides = [side // 4 if isinstance(side, int) else f"{side}4" for side in size]
    return write(path, nodes, weights, {"heatmaps": ["batch", joints, *sides]}, size=size, **more)


def simcc_graph(
    path: Path, *, joints: int = 17, size: tuple[int, int] = (256, 192), gain: float = 6.0, **more: Any
) -> Path:
    """A random network in the form of RTMPose: a vector for x and one for y, of two places a pixel."""
    made, (height, width) = np.random.default_rng(7), size
    cells = height // 16 * (width // 16)
    weights = {
        "kernel": made.normal(0, 1 / 28, (joints, 3, 16, 16)).astype(np.float32),
        "flat": np.array([-1, joints, cells]),
        "to_x": made.normal(0, gain / cells**0.5, (cells, 2 * width)).astype(np.float32),
        "to_y": made.normal(0, gain / cells**0.5, (cells, 2 * height)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["input", "kernel"], ["features"], strides=[16, 16]),
        node("Reshape", ["features", "flat"], ["flattened"]),
        node("MatMul", ["flattened", "to_x"], ["simcc_x"]),
        node("MatMul", ["flattened", "to_y"], ["simcc_y"]),
    ]
    outputs: dict[str, list[Side]] = {"simcc_x": ["batch", joints, 2 * width], "simcc_y": ["batch", joints, 2 * height]}
    return write(path, nodes, weights, outputs, size=size, **more)


def constant_graph(path: Path, outputs: dict[str, np.ndarray], *, size: tuple[Side, Side] = (320, 320), **more: Any):
    """A graph that gives the same, whatever it sees."""
    nodes, weights, kinds = [], {"axes": np.array([0, 1, 2, 3]), "none": np.float32(0)}, {}
    nodes += [node("ReduceMax", ["input"], ["most"], keepdims=0), node("Mul", ["most", "none"], ["nothing"])]
    for name, values in outputs.items():
        weights[f"of_{name}"] = values
        given = "nothing"
        if values.dtype == np.int64:
            nodes.append(node("Cast", ["nothing"], [f"whole_{name}"], to=onnx.TensorProto.INT64))
            given = f"whole_{name}"
        nodes.append(node("Add", [f"of_{name}", given], [name]))
        kinds[name] = TYPES[values.dtype]
    shapes = {name: list(values.shape) for name, values in outputs.items()}
    return write(path, nodes, weights, shapes, size=size, kinds=kinds, **more)
