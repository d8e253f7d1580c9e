"""Weights of NanoDet from a graph, of which `person` is one of 80 classes."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from jmpose.nanodet import BINS, NanoDet
from nanodet_start import CLASSES, nanodet_start


def write_graph(folder, network: NanoDet, *, leave_out: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Write a TF.js graph of numbered convolutions with random kernels in half precision; give kernels and biases."""
    rng = np.random.default_rng(0)
    nodes, entries, blob, made = [], [], b"", []
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for number, layer in enumerate(layers[leave_out:]):
        outputs, inputs, height, width = layer.weight.shape
        outputs = CLASSES + 4 * BINS if outputs == 1 + 4 * BINS else outputs
        kernel = rng.normal(0, 1, (height, width, inputs, outputs)).astype(np.float16)
        bias = rng.normal(0, 1, (1, 1, 1, outputs)).astype(np.float16)
        made.append((kernel.astype(np.float32), bias.astype(np.float32).ravel()))
        for kind, array in (("kernel", kernel), ("bias", bias)):
            stored = {"dtype": "float32", "quantization": {"dtype": "float16"}}
            entries.append({"name": f"{kind}{number}", "shape": list(array.shape)} | stored)
            blob += array.tobytes()
        name = f"PartitionedCall/convolution_{number}" if number else "PartitionedCall/convolution"
        nodes.append({"name": name, "op": "Conv2D", "input": ["x", f"kernel{number}"]})
        nodes.append({"name": f"PartitionedCall/Add_{number}", "op": "Add", "input": [name, f"bias{number}"]})
    (folder / "nanodet.bin").write_bytes(blob)
    manifest = [{"paths": ["nanodet.bin"], "weights": entries}]
    document = {"modelTopology": {"node": nodes}, "weightsManifest": manifest}
    (folder / "nanodet.json").write_text(json.dumps(document))
    return made


def test_every_convolution_takes_its_kernel_and_of_the_classes_the_person(tmp_path):
    made = write_graph(tmp_path, NanoDet())
    network = nanodet_start(tmp_path)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer, (kernel, bias) in zip(layers, made, strict=True):
        rows = [0, *range(CLASSES, CLASSES + 4 * BINS)] if len(bias) == CLASSES + 4 * BINS else slice(None)
        wanted = kernel[:, :, ::-1] if layer is layers[0] else kernel  # BGR
        assert torch.equal(layer.weight, torch.from_numpy(wanted.transpose(3, 2, 0, 1).copy())[rows])
        assert torch.equal(layer.bias, torch.from_numpy(bias)[rows])


def test_the_graph_of_another_network_is_refused(tmp_path):
    write_graph(tmp_path, NanoDet(), leave_out=1)
    with pytest.raises(ValueError, match=r"nanodet: a kernel is \[32, 32, 3, 3\], expected \[32, 3, 3, 3\]"):
        nanodet_start(tmp_path)
