"""The shipped detector written as an ONNX graph, for `OnnxDetector`: by torch, once."""

from pathlib import Path

import torch
from torch import Tensor

from jmpose.files import file_sha256
from jmpose.onnx_writing import OPSET, write_graph
from jmpose_cli.onnx_graphs import description_of, write_description
from jmpose_cli.people.detect_nanodet import PersonFinder, load_finder


class _OnePicture(PersonFinder):
    def forward(self, pictures: Tensor) -> Tensor:
        """Map a picture `[1, h, w, 3]` uint8 to rows `[A, 5]`."""
        return super().forward(pictures)[0]


def write_detector_graph(weights: Path) -> None:
    """Write the graph of a NanoDet beside its weights, and what describes it.

    Raises:
        JmposeError: The files are of another detector.
        WeightsError: The package that writes graphs is missing.
    """
    finder, side, _ = load_finder(weights)
    target = weights.with_suffix(".onnx")
    pictures = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    free = {"pictures": {1: "height", 2: "width"}}
    write_graph(_OnePicture(finder.model).eval(), {"pictures": pictures}, ["rows"], target, weights=weights, free=free)
    facts = {"made_from": {"detector": file_sha256(weights)}, "opset": OPSET}
    write_description(description_of(weights), facts, files={"detect": target})
