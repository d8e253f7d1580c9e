"""The convolutions of a TF.js graph model: only weights are read from it, and only from the nodes that are named."""

import base64
import json
import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np


class Graph:
    """The convolutions of a TF.js graph model.

    Args:
        path: The `.json` file; its binary lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        document = json.loads(path.read_text())
        self._nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
        self._values = dict(_weights(document, path.parent))

    def convolution(self, ending: str) -> tuple[np.ndarray, np.ndarray | None, str]:
        """Return kernel, bias and activation of the one fused convolution whose node's name ends so.

        Returns:
            Kernel `[height, width, in, out]`, or `[height, width, channels, 1]` of a depthwise one; bias `[out]`; the
            name of the activation, empty for none.
        """
        (name,) = (name for name in self._nodes if name.endswith(ending))
        node = self._nodes[name]
        fused = [_text(op) for op in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])]
        bias = self._values[node["input"][2]] if "BiasAdd" in fused else None
        activation = next((op for op in fused if op != "BiasAdd"), "")
        return self._values[node["input"][1]], bias, activation

    def numbered_convolutions(self, scope: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield kernels `[height, width, in, out]` and biases `[out]` of the nodes `convolution`, `convolution_1`, ...

        Each has its bias in a node of its own, which adds it.

        Args:
            scope: What the names of the nodes begin with.
        """
        adds = {name: node["input"] for name, node in self._nodes.items() if node["op"] in {"Add", "AddV2"}}
        for number in count():
            name = f"{scope}/convolution_{number}" if number else f"{scope}/convolution"
            if name not in self._nodes:
                return
            (bias,) = (other for inputs in adds.values() if name in inputs for other in inputs if other != name)
            yield self._values[self._nodes[name]["input"][1]], self._values[bias].reshape(-1)


def _weights(document: dict[str, Any], folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and values of all constants, float32."""
    for group in document["weightsManifest"]:
        blob = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        start = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", entry)
            kind, size = np.dtype(stored["dtype"]), math.prod(entry["shape"])
            values = np.frombuffer(blob, kind, size, start).reshape(entry["shape"]).astype(np.float32)
            start += size * kind.itemsize
            if "scale" in stored:
                values = values * stored["scale"] + stored["min"]
            yield entry["name"], values


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
