"""Networks as ONNX graphs: files that know which weights they were made from, and sessions of ONNX Runtime.

The graphs of `NAME.safetensors` are described by `NAME.onnx.json`, which names each file with its checksum. A session
works on one thread, or on a GPU; calls of it may run side by side.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jmpose.files import file_sha256
from jmpose.plain_files import read_json
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.onnx_providers import ON_CPU, Provider, with_spare

FORM = 1
"""Of the graphs and of what describes them: others are made anew."""
MAKE_SHIPPED = "python models/recipes/onnx_files.py"
QUANTISED = "encode-int8"
"""The graph of a backbone in int8, beside `encode`."""
QUANTISED_MODELS = ("small",)
"""Shipped with it: those that lose nothing to speak of and become 1.4 times as fast or more, see docs/engines.md."""
_ERRORS_ONLY = 3


class GraphsError(JmposeError):
    """Graphs that are missing, damaged, or were made from other weights.

    Args:
        message: What is the matter.
        folder: Where they are.
    """

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message, hint=f"make them again: {MAKE_SHIPPED}; those of a cache: remove {folder}")


@dataclass(frozen=True)
class Graphs:
    """The graphs of a model.

    Attributes:
        folder: Where they are.
        facts: What is known of them, see `write_description`.
    """

    folder: Path
    facts: Mapping[str, Any]

    def has(self, graph: str) -> bool:
        """Whether there is a graph of this name."""
        return graph in self.facts["files"]

    def session(self, graph: str, provider: Provider = ON_CPU, **sides: int) -> "Session":
        """Load a graph.

        Args:
            graph: Its name.
            provider: What runs it.
            sides: What sides of its inputs that it leaves free are.

        Raises:
            GraphsError: The file is missing or damaged, or ONNX Runtime cannot load it.
            JmposeError: The provider does not work here.
        """
        try:
            name, digest = self.facts["files"][graph]
            path = self.folder / Path(name).name
            if file_sha256(path) != digest:
                raise GraphsError(f"{path} is damaged: its checksum is another one than noted", path.parent)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise GraphsError(f"{self.folder}: the graph {graph!r} cannot be read ({error})", self.folder) from error
        return Session(path, sides, provider)


class Session:
    """A graph that can be run, on the caller's thread.

    Args:
        path: Of the graph; what it needs lies in its folder.
        sides: What its free sides are.
        provider: What runs it.

    Raises:
        GraphsError: ONNX Runtime cannot load it.
        JmposeError: The provider does not work here.
    """

    def __init__(self, path: Path, sides: Mapping[str, int], provider: Provider = ON_CPU) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        for name, side in sides.items():
            options.add_free_dimension_override_by_name(name, side)
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=with_spare(provider), enable_fallback=0
            )
        except Exception as error:  # its errors have no common class
            reason = str(error).strip().splitlines()[0][:200]
            if provider != ON_CPU:
                raise _does_not_work(provider, reason) from error
            raise GraphsError(f"{path}: ONNX Runtime cannot load it ({reason})", path.parent) from error
        if provider[0] not in self._session.get_providers():  # with a warning, it takes the CPU
            raise _does_not_work(provider, "it cannot be loaded")

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the outputs, all or those named."""
        found: list[np.ndarray] = self._session.run(outputs, dict(inputs))
        return found


def _does_not_work(provider: Provider, reason: str) -> JmposeError:
    versions = "CUDA, cuDNN and TensorRT must be of the versions that onnxruntime-gpu was built for"
    return JmposeError(f"{provider[0]} does not work here ({reason})", hint=f"{versions}; or use --engine torch")


def description_of(weights: Path) -> Path:
    """Where the graphs that lie beside weights are described."""
    return weights.with_suffix(".onnx.json")


def read_graphs(description: Path, *, made_from: Mapping[str, str | None]) -> Graphs:
    """Read a description and make sure that it is of these weights.

    Args:
        description: The file.
        made_from: Checksums of weights by part.

    Raises:
        GraphsError: There is none, it cannot be read, or the graphs were made from others.
    """
    try:
        facts = read_json(description)
    except (OSError, ValueError) as error:
        raise GraphsError(f"{description} cannot be read ({error})", description.parent) from error
    if not isinstance(facts, dict) or facts.get("form") != FORM or not isinstance(facts.get("files"), dict):
        raise GraphsError(f"{description} is not a description of graphs of form {FORM}", description.parent)
    if facts.get("made_from") != dict(made_from):
        raise GraphsError(f"{description}: the graphs were made from other weights", description.parent)
    return Graphs(description.parent, facts)


def write_description(description: Path, facts: Mapping[str, Any], *, files: Mapping[str, Path]) -> None:
    """Write what is known of graphs, as the last of their files.

    Args:
        description: The file, in the folder of the graphs.
        facts: `made_from` and all that the engine wants to know.
        files: The graphs by name.
    """
    noted = {name: [path.name, file_sha256(path)] for name, path in files.items()}
    text = json.dumps({"form": FORM, **facts, "files": noted}, indent=1)
    write_whole(description, text.encode() + b"\n")
