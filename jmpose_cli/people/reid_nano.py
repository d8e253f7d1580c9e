"""The shipped network of appearance, `reid-nano`, by ONNX Runtime on the processor."""

from pathlib import Path

import numpy as np

from jmpose.files import file_sha256
from jmpose_cli.onnx_graphs import description_of, read_graphs
from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.values import Bytes, Float

CALL = 4
"""Crops per call, filled up: a crop's vector then does not depend on how many there are beside it."""
DIMENSIONS = 128
PART = "reid"


class ReidNano:
    """Runs the graph that `write_appearance_graph` made; see `Embedder`.

    Args:
        weights: The weights that the graph was made from; it lies beside them.

    Raises:
        GraphsError: There is no graph, or none of these weights.
    """

    crop_size = (128, 64)
    scale = AppearanceScale(even=0.6, certain=0.35, known=0.74, sure=0.06)
    """The first two were measured on the tracking sequences, the others by `benchmarks/accuracy/absences.py --grid`."""

    def __init__(self, weights: Path) -> None:
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        graphs = read_graphs(description_of(weights), made_from={PART: self.sha256})
        self._session = graphs.session("embed")

    def embed(self, crops: Bytes) -> Float:
        """Return `[N, 128]` float32 unit vectors of `[N, 128, 64, 3]` uint8 RGB crops."""
        vectors = np.empty((len(crops), DIMENSIONS), np.float32)
        for start in range(0, len(crops), CALL):
            part = np.zeros((CALL, *self.crop_size, 3), np.uint8)
            given = crops[start : start + CALL]
            part[: len(given)] = given
            vectors[start : start + CALL] = self._session.run({"crops": part})[0][: len(given)]
        return vectors
