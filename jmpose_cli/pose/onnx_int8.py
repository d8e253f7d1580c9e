"""The backbone of a pose model as an ONNX graph in int8: quantised by ONNX Runtime, calibrated on crops."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jmpose.files import WholeFile
from jmpose_cli.pose.estimator import CPU_PEOPLE
from jmpose_cli.values import Float

_EXACT = "heatmap_head"
"""Stays in float32: the last layers, whose rounding would be seen in every joint, cost little."""


def write_quantised_encoder(write_exact: Callable[[Path], None], crops: Float, path: Path) -> None:
    """Write the graph of `CropEncoder` with weights and maps in int8, each map by the range that it has on crops.

    Weights have a scale for each output channel; maps are unsigned and have one each.

    Args:
        write_exact: Writes the graph in float32, with its weights and without BatchNorm, to a file.
        crops: `[N, 3, H, W]` float32 RGB, 0..255, N a multiple of four: people as the model will see them.
        path: The `.onnx` file; it holds its weights.
    """
    with tempfile.TemporaryDirectory() as folder, _silence():
        exact, prepared, quantised = (Path(folder) / f"{name}.onnx" for name in ("exact", "prepared", "quantised"))
        write_exact(exact)
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        quant_pre_process(str(exact), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(quantised),
            _Calls(crops),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
            nodes_to_exclude=[node.name for node in onnx.load(str(prepared)).graph.node if _EXACT in node.name],
        )
        with WholeFile(path) as partial:
            partial.write_bytes(quantised.read_bytes())


class _Calls:
    """Gives crops call by call, as ONNX Runtime's calibration asks for them."""

    def __init__(self, crops: Float) -> None:
        self._calls = ({"crops": crops[at : at + CPU_PEOPLE]} for at in range(0, len(crops), CPU_PEOPLE))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next inputs; None at the end."""
        return next(self._calls, None)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what ONNX Runtime says on the way, by `logging`, from the terminal."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
