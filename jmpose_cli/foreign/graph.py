"""A graph of another project, opened and checked: what goes in, what comes out, and what runs it.

Calls may run side by side; each works on one thread and on one picture, so that results depend neither on the number of
threads nor on who else is looked at.
"""

import hashlib
import re
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from jmpose.files import file_sha256
from jmpose.regular_file import open_regular
from jmpose_cli.device import usable_cores
from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import require
from jmpose_cli.foreign.onnx_file import EXPORT_AGAIN, read_onnx
from jmpose_cli.text import one_line
from jmpose_cli.zoo.graph_files import settings_of, weights_of_ir

_SILENT = 4  # what ONNX Runtime would write is in the errors
_GREY = 114
_LONGEST_BEGIN = 256
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "f32": np.float32,
    "f16": np.float16,
    "f64": np.float64,
    "u8": np.uint8,
    "i64": np.int64,
    "i32": np.int32,
}
Layout = Literal["NCHW", "NHWC"]


@dataclass(frozen=True)
class Port:
    """An input or output.

    Attributes:
        name: Its name.
        shape: Sides; None where the graph leaves one free.
        dtype: Of its values; None for what is no tensor of numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: type[np.generic] | None

    def __str__(self) -> str:
        sides = "x".join("?" if side is None else str(side) for side in self.shape)
        return f"{one_line(self.name)[:60]} [{sides}]"


@dataclass(frozen=True)
class PictureInput:
    """The input that takes the picture.

    Attributes:
        name: Its name.
        layout: Order of its axes.
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        dtype: Of its values.
    """

    name: str
    layout: Layout
    height: int
    width: int
    dtype: type[np.generic]


class Graph(ABC):
    """A graph that can be run.

    Args:
        path: The file.
        option: Who asked for it, for messages, such as `--model net.onnx`.

    Attributes:
        engine: What runs it, for headers and files.
        inputs: In order.
        outputs: In order.
        metadata: What its exporter noted; strings.
    """

    engine: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    def __init__(self, path: Path, option: str) -> None:
        self.path, self.option = path, option

    @abstractmethod
    def fix(self, sides: Mapping[str, Sequence[int]]) -> None:
        """Say what the free sides of inputs are, before anything is run: shapes by input."""

    @abstractmethod
    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in order.

        Raises:
            JmposeError: It cannot be run.
        """

    def failed(self, error: Exception) -> JmposeError:
        """Say that the graph cannot be run."""
        return JmposeError(
            f"{self.option}: fails when it is run ({_reason(error)})", hint=f"is it whole? If so {EXPORT_AGAIN}"
        )

    def picture_input(self, *, input_hw: tuple[int, int] | None, most: int, others: frozenset[str]) -> PictureInput:
        """Find the input that takes a picture and fix its shape.

        Args:
            input_hw: Height and width that were set; None takes the graph's.
            most: Longest side that is taken, pixels.
            others: Names that inputs beside it may have.

        Raises:
            JmposeError: There is none or there are several, or its sides are free, too large or others than set.
        """
        pictures = [port for port in self.inputs if len(port.shape) == 4]
        strange = [port for port in self.inputs if port not in pictures and port.name not in others]
        if len(pictures) != 1 or strange:
            raise JmposeError(
                f"{self.option}: takes {_listed(self.inputs)}, not one picture",
                hint="networks that take one picture [1x3xHxW] or [1xHxWx3] can be used",
            )
        (port,) = pictures
        batch, *rest = port.shape
        layout: Layout = "NHWC" if rest[2] == 3 and rest[0] != 3 else "NCHW"
        channels, height, width = (rest[2], *rest[:2]) if layout == "NHWC" else rest
        if channels not in (3, None) or port.dtype not in (np.float32, np.float16, np.uint8):
            raise JmposeError(
                f"{self.option}: its input {port} is no picture of three colours", hint="float32, float16 or uint8"
            )
        if batch not in (1, None):
            raise JmposeError(
                f"{self.option}: takes {batch} pictures at a time", hint="export it for 1 at a time, or for any number"
            )
        if height is None or width is None:
            if input_hw is None:
                raise JmposeError(
                    f"{self.option}: leaves height and width of its input {port} free",
                    hint=f"write what it was trained at into {settings_of(self.path).name} beside it, such as "
                    f"`input_hw: [256, 192]`, or fix it: {_fixing(self.path, port)}",
                )
            height, width = height or input_hw[0], width or input_hw[1]
        if input_hw not in (None, (height, width)):
            raise JmposeError(
                f"{self.option}: its input is {height}x{width}, not {input_hw[0]}x{input_hw[1]}" if input_hw else "",
                hint="its sides are fixed in the file: leave the size out, or export it again",
            )
        if not (0 < height <= most and 0 < width <= most):
            raise JmposeError(f"{self.option}: its input is {height}x{width}", hint=f"sides of 1 to {most} are taken")
        shape = (1, height, width, 3) if layout == "NHWC" else (1, 3, height, width)
        self.fix({port.name: shape})
        return PictureInput(port.name, layout, height, width, port.dtype)

    def look(self, picture: PictureInput, other: Mapping[str, np.ndarray] | None = None) -> list[np.ndarray]:
        """Run it on a grey picture: shapes, and whether numbers come out.

        Raises:
            JmposeError: It fails, or gives what is no number.
        """
        shape = (1, picture.height, picture.width, 3)
        pixels = np.full(shape, _GREY / 255 if picture.dtype != np.uint8 else _GREY, picture.dtype)
        given = pixels if picture.layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        found = self.run({picture.name: given, **(other or {})})
        for port, values in zip(self.outputs, found, strict=True):
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
                raise JmposeError(
                    f"{self.option}: gives results that are no numbers ({port} of a grey picture)",
                    hint="download or export it again, in float32",
                )
        return found


class OnnxGraph(Graph):
    """An ONNX file by ONNX Runtime, on the CPU; see `Graph`.

    Raises:
        JmposeError: The file is damaged or hostile, see `read_onnx`, or ONNX Runtime cannot load it.
    """

    engine = "onnx"

    def __init__(self, path: Path, option: str) -> None:
        super().__init__(path, option)
        facts = read_onnx(path, option=option)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        try:
            # By itself it would try again, and print that.
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # its errors have no common class
            reason = _reason(error)
            hint = f"is it whole? If so {EXPORT_AGAIN}"
            if "ValidateOpset" in str(error):
                reason = f"its opset {facts.opset} is newer than ONNX Runtime {onnxruntime.__version__} knows"
                hint = "export it with opset 17, or: pip install --upgrade onnxruntime"
            raise JmposeError(f"{option}: ONNX Runtime cannot load it ({reason})", hint=hint) from error
        self.metadata = facts.metadata
        self.inputs = tuple(map(_onnx_port, self._session.get_inputs()))
        self.outputs = tuple(map(_onnx_port, self._session.get_outputs()))

    def fix(self, sides: Mapping[str, Sequence[int]]) -> None:
        """Do nothing: free sides follow what is given."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in order; see `Graph`."""
        try:
            found: list[np.ndarray] = self._session.run(None, dict(inputs))
        except Exception as error:
            raise self.failed(error) from error
        return found


class OpenVinoGraph(Graph):
    """OpenVINO's `.xml` with its `.bin`, on the CPU in float32; see `Graph`.

    Raises:
        JmposeError: OpenVINO is not installed, a file is missing or damaged.
    """

    engine = "openvino"

    def __init__(self, path: Path, option: str) -> None:
        super().__init__(path, option)
        openvino = _openvino(option)
        beside = weights_of_ir(path)
        if not beside.is_file():
            raise JmposeError(
                f"{option}: its weights {beside.name} are not beside it", hint="copy both files into one folder"
            )
        _check_is_xml(path, option)  # OpenVINO takes files of other formats by any name
        self._core = openvino.Core()
        try:
            self._model: Any = self._core.read_model(path, beside)
        except Exception as error:  # its errors have no common class
            raise JmposeError(
                f"{option}: OpenVINO cannot read it ({_reason(error)})",
                hint="copy both files again; files of a newer OpenVINO: pip install --upgrade openvino",
            ) from error
        self.metadata = {}
        self.inputs = tuple(map(_openvino_port, self._model.inputs))
        self.outputs = tuple(map(_openvino_port, self._model.outputs))
        self._compiled: Any = None
        self._requests = threading.local()

    def fix(self, sides: Mapping[str, Sequence[int]]) -> None:
        """Reshape and compile the graph; see `Graph`."""
        cores = usable_cores()
        threads = {"INFERENCE_NUM_THREADS": cores, "NUM_STREAMS": cores}  # each call on a thread of its own
        try:
            if any(port.shape != tuple(sides.get(port.name, port.shape)) for port in self.inputs):
                self._model.reshape({name: list(shape) for name, shape in sides.items()})
            self._compiled = self._core.compile_model(
                self._model, "CPU", {**threads, "INFERENCE_PRECISION_HINT": "f32"}
            )
        except Exception as error:
            raise self.failed(error) from error

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in order; see `Graph`."""
        try:
            request = getattr(self._requests, "own", None)
            if request is None:
                request = self._requests.own = self._compiled.create_infer_request()
            found = request.infer(dict(inputs))
            return [np.array(found[output]) for output in self._compiled.outputs]
        except Exception as error:
            raise self.failed(error) from error


def open_graph(path: Path, *, option: str) -> Graph:
    """Open a graph.

    Args:
        path: A `.onnx` file, or OpenVINO's `.xml`.
        option: Who asks for it, for messages, such as `--model net.onnx`.

    Raises:
        JmposeError: It cannot be opened; see `OnnxGraph` and `OpenVinoGraph`.
    """
    return OpenVinoGraph(path, option) if path.suffix == ".xml" else OnnxGraph(path, option)


def graph_sha256(path: Path) -> str:
    """SHA-256 of a graph's file; of several, which hold its weights or its settings, that of their digests by name."""
    files = [path, *([weights_of_ir(path)] if path.suffix == ".xml" else read_onnx(path, option=str(path)).beside)]
    settings = settings_of(path)
    files += [settings] if settings.is_file() else []
    if len(files) == 1:
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(set(files), key=lambda file: file.name):
        digest.update(bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()


def _openvino(option: str) -> ModuleType:
    """Import OpenVINO without its telemetry: it would tell Intel of every import, from a process that it forks."""
    telemetry = "openvino_telemetry"
    is_known = telemetry in sys.modules
    modules: dict[str, Any] = sys.modules
    if not is_known:
        modules[telemetry] = None  # as if it were not installed
    try:
        return require("openvino", extra="openvino", by=option)
    finally:
        if not is_known:
            del modules[telemetry]


def _check_is_xml(path: Path, option: str) -> None:
    try:
        with open_regular(path) as file:
            begins = file.read(_LONGEST_BEGIN).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise JmposeError(f"{option}: cannot be read ({error.strerror or error})") from error
    if not begins.startswith((b"<?xml", b"<net")):
        raise JmposeError(f"{option}: is no file of OpenVINO", hint="an .xml that OpenVINO has written, with its .bin")


def _onnx_port(port: Any) -> Port:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in port.shape)
    return Port(port.name, shape, _DTYPES.get(port.type))


def _openvino_port(port: Any) -> Port:
    shape = tuple(side.get_length() if side.is_static else None for side in port.partial_shape)
    return Port(min(port.names, default=port.node.friendly_name), shape, _DTYPES.get(port.element_type.to_string()))


def _listed(ports: Sequence[Port]) -> str:
    named = ", ".join(map(str, ports[:4]))
    return f"{named} and {len(ports) - 4} more" if len(ports) > 4 else named or "nothing"


def _fixing(path: Path, port: Port) -> str:
    if path.suffix == ".xml":
        return f"ovc {path.name} --input '{port.name}[1,3,256,192]'"
    return (
        f"python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name {port.name} --input_shape 1,3,256,192 "
        f"{path.name} fixed.onnx"
    )


def _reason(error: Exception) -> str:
    """Say in a line why a library failed, without its file names and codes."""
    # OpenVINO says first where in its sources it failed.
    lines = [line for line in str(error).splitlines() if not line.startswith(("Exception from ", "Check '"))]
    text = one_line(" ".join(" ".join(lines).split())) or type(error).__name__
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : (\w+) : ", "", text)
    return text[:200]
