"""The shipped detector written as an ONNX graph, for `OnnxDetector`: by torch and ultralytics, once."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jmpose.files import file_sha256
from jmpose.onnx_writing import OPSET, write_graph
from jmpose_cli.errors import JmposeError
from jmpose_cli.onnx_graphs import description_of, write_description
from jmpose_cli.people.detect import load_shipped


class _PersonFinder(nn.Module):
    """A YOLO network that knows nothing but people, with what stands before it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures `[1, h, w, 3]` uint8 to rows `[A, 5]`: (x0, y0, x1, y1, score) of every anchor."""
        rows = self.model(pictures.permute(0, 3, 1, 2).float() / 255)[0].transpose(0, 1)
        centre, half = rows[:, :2], rows[:, 2:4] / 2
        return torch.cat([centre - half, centre + half, rows[:, 4:]], 1)


def write_detector_graph(weights: Path) -> None:
    """Write the graph of a detector that `save_detector` wrote beside its weights, and what describes it.

    Raises:
        JmposeError: The files are no such detector.
        WeightsError: The package that writes graphs is missing.
    """
    model, side = load_shipped(weights)
    if list(model.names.values()) != ["person"] or model.end2end:
        raise JmposeError(f"{weights}: only detectors of nothing but people, with a suppression, can be written")
    model.eval()
    model.model[-1].export = model.model[-1].dynamic = True
    target = weights.with_suffix(".onnx")
    pictures = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    free = {"pictures": {1: "height", 2: "width"}}
    write_graph(_PersonFinder(model).eval(), {"pictures": pictures}, ["rows"], target, weights=weights, free=free)
    facts = {"made_from": {"detector": file_sha256(weights)}, "opset": OPSET, "input_side": side}
    write_description(description_of(weights), facts, files={"detect": target})
