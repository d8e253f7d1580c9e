"""Which class runs a detector, on which engine."""

from pathlib import Path
from typing import TYPE_CHECKING

from jmpose_cli.choices import Engine
from jmpose_cli.onnx_graphs import GraphsError, description_of
from jmpose_cli.people.detector_description import read_description
from jmpose_cli.zoo.graph_files import is_graph

if TYPE_CHECKING:
    from jmpose_cli.people.detect import PersonDetector
    from jmpose_cli.people.detect_nanodet import NanoDetDetector
    from jmpose_cli.people.detect_transformers import TransformersDetector
    from jmpose_cli.people.detect_yolo import YoloDetector


def load_detector(
    path: Path, *, engine: Engine, device: str, min_score: float, input_size: int | None, threads: int
) -> tuple["PersonDetector", str]:
    """Load a detector: by ONNX Runtime where a graph lies beside it, else by torch; graphs of others as what they are.

    Args:
        path: The weights, a folder of transformers, or a graph of another project, which is run on the CPU.
        engine: What runs the networks. Detectors without a graph are run by torch also with `onnx`.
        device: torch device name.
        min_score: Boxes below it are left out.
        input_size: Longer side of the network's input in pixels; None takes what the weights were made for.
        threads: Frames at a time on a CPU.

    Returns:
        The detector, and what the user should know about the engine: empty when nothing.

    Raises:
        JmposeError: It cannot be loaded.
        GraphsError: Its graph is damaged or of other weights, and `onnx` was asked for.
    """
    note = ""
    if is_graph(path):
        from jmpose_cli.people.detect_graph import GraphDetector

        graph = GraphDetector(path, min_score=min_score, input_size=input_size, threads=threads)
        return graph, graph.about
    if device == "cpu" and engine != "torch" and description_of(path).is_file():
        from jmpose_cli.people.detect_onnx import OnnxDetector

        try:
            return OnnxDetector(path, min_score=min_score, input_size=input_size, threads=threads), note
        except GraphsError as error:
            if engine == "onnx":
                raise
            note = f"{error.message}, so torch runs the detector; {error.hint}"
    detector = _on_torch(path)
    return detector(path, device=device, min_score=min_score, input_size=input_size, threads=threads), note


def _on_torch(path: Path) -> "type[NanoDetDetector | TransformersDetector | YoloDetector]":
    """Choose the class of a detector; each imports other libraries."""
    if path.is_dir():
        from jmpose_cli.people.detect_transformers import TransformersDetector

        return TransformersDetector
    if path.suffix == ".safetensors" and read_description(path).kind == "nanodet-detector":
        from jmpose_cli.people.detect_nanodet import NanoDetDetector

        return NanoDetDetector
    from jmpose_cli.people.detect_yolo import YoloDetector

    return YoloDetector
