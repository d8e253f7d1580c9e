"""The shipped network of appearance written as an ONNX graph, for `ReidNano`: by torch, once."""

from pathlib import Path

import torch
from torch import Tensor, nn

from jmpose.appearance import HEIGHT, MEAN, STD, WIDTH, AppearanceNetwork, load_appearance
from jmpose.files import file_sha256
from jmpose.onnx_writing import OPSET, write_graph
from jmpose_cli.onnx_graphs import description_of, write_description
from jmpose_cli.people.reid_nano import CALL, PART


class AppearanceOfCrops(nn.Module):
    """A network of appearance with what stands before it."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: AppearanceNetwork) -> None:
        super().__init__()
        self.model = network
        self.register_buffer("scale", torch.tensor([255 * spread for spread in STD])[:, None, None])
        self.register_buffer("shift", torch.tensor([m / s for m, s in zip(MEAN, STD, strict=True)])[:, None, None])

    def forward(self, crops: Tensor) -> Tensor:
        """Map crops `[N, 128, 64, 3]` uint8 RGB to unit vectors `[N, 128]`."""
        vectors: Tensor = self.model(crops.permute(0, 3, 1, 2).float() / self.scale - self.shift)
        return vectors


def write_appearance_graph(weights: Path) -> None:
    """Write the graph of a network of appearance beside its weights, and what describes it.

    Raises:
        WeightsError: The weights are of something else, or the package that writes graphs is missing.
    """
    target = weights.with_suffix(".onnx")
    crops = torch.zeros(CALL, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    network = AppearanceOfCrops(load_appearance(weights)).eval()
    write_graph(network, {"crops": crops}, ["vectors"], target, weights=weights)
    facts = {"made_from": {PART: file_sha256(weights)}, "opset": OPSET}
    write_description(description_of(weights), facts, files={"embed": target})
