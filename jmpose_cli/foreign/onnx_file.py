"""What an ONNX file says of itself, read before ONNX Runtime sees it: nothing outside of its folder is opened for it.

The file is a protocol buffer. Only its frame is walked through: operators, and how long tensors are and where they lie.
"""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jmpose.regular_file import open_regular
from jmpose_cli.errors import JmposeError
from jmpose_cli.safe_paths import OutsideError, path_inside
from jmpose_cli.text import one_line

EXPORT_AGAIN = "export it again; opset 17 is read everywhere"
# Domains whose operators ONNX Runtime brings along.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types
_EXTERNAL = 1
_DEEPEST = 16  # graphs in nodes of graphs
_MOST_VALUES = 1 << 31
_MOST_FIELDS = 4_000_000  # of all messages together; those of large networks are a hundredth
# Bits of a value by ONNX' number of its type; strings are not counted.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
_BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4}
_STRING = 8
_RAW_DATA, _TYPED_DATA = 9, frozenset({4, 5, 6, 7, 10, 11})  # fields of a tensor


@dataclass
class OnnxFacts:
    """What a file says of itself.

    Attributes:
        opset: Of the standard operators; 0 when it names none.
        metadata: What its exporter noted.
        beside: Files in its folder that hold weights.
    """

    opset: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    beside: set[Path] = field(default_factory=set)


class _NotOnnxError(ValueError):
    """The bytes are no protocol buffer of ONNX, or end too early."""


def read_onnx(path: Path, *, option: str) -> OnnxFacts:
    """Walk through an ONNX file.

    Args:
        path: The file.
        option: Who asks, for messages, such as `--model net.onnx`.

    Raises:
        JmposeError: It is cut or no ONNX file, declares tensors that it does not hold, wants data from outside of its
            folder, or operators that ONNX Runtime does not have.
    """
    try:
        with open_regular(path) as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        walk = _Walk(path, option)
        walk.model(data)
        return walk.facts
    except OSError as error:
        raise JmposeError(f"{option}: cannot be read ({error.strerror or error})") from error
    except (ValueError, OverflowError) as error:  # an empty file cannot be mapped
        reason = "" if not isinstance(error, _NotOnnxError) else f" ({error})"
        raise JmposeError(
            f"{option}: is no whole ONNX file{reason}", hint="copy or download the file again; it may be cut short"
        ) from None


class _Walk:
    """One walk through a file."""

    def __init__(self, path: Path, option: str) -> None:
        self.facts = OnnxFacts()
        self._path, self._option = path, option
        self._nodes: list[tuple[str, str]] = []
        self._left = iter(range(_MOST_FIELDS))

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        return _fields(data, self._left)

    def model(self, data: memoryview) -> None:
        graphs = []
        own: set[str] = set()
        for number, value in self._fields(data):
            if number == 7:
                graphs.append(_bytes(value))
            elif number == 8:
                of_set = dict(self._fields(_bytes(value)))
                if _text(of_set.get(1, b"")) in ("", "ai.onnx"):
                    self.facts.opset = _number(of_set.get(2, 0))
            elif number == 14:
                entry = dict(self._fields(_bytes(value)))
                self.facts.metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
            elif number == 25:  # a function that the file defines of known operators
                own.add(self._function(_bytes(value)))
        if len(graphs) != 1:
            raise _NotOnnxError("it holds no graph")
        self._graph(graphs[0], 0)
        allowed = _DOMAINS | own
        strange = next(((domain, name) for domain, name in self._nodes if domain not in allowed), None)
        if strange:
            raise JmposeError(
                f"{self._option}: needs the operator {one_line(strange[1])} of {one_line(strange[0])}, which ONNX "
                "Runtime does not have",
                hint="export it without operators of other projects, such as a suppression for TensorRT",
            )

    def _function(self, data: memoryview) -> str:
        domain = ""
        for number, value in self._fields(data):
            if number == 10:
                domain = _text(value)
            elif number == 7:
                self._node(_bytes(value), 1)
        return domain

    def _graph(self, data: memoryview, depth: int) -> None:
        if depth > _DEEPEST:
            raise _NotOnnxError("its graphs are nested too deeply")
        for number, value in self._fields(data):
            if number == 1:
                self._node(_bytes(value), depth)
            elif number == 5:
                self._tensor(_bytes(value))
            elif number == 15:  # sparse: values and places
                for inner, tensor in self._fields(_bytes(value)):
                    if inner in (1, 2):
                        self._tensor(_bytes(tensor))

    def _node(self, data: memoryview, depth: int) -> None:
        name, domain = "", ""
        for number, value in self._fields(data):
            if number == 4:
                name = _text(value)
            elif number == 7:
                domain = _text(value)
            elif number == 5:
                for inner, held in self._fields(_bytes(value)):
                    if inner in (5, 10):
                        self._tensor(_bytes(held))
                    elif inner in (6, 11):
                        self._graph(_bytes(held), depth + 1)
        self._nodes.append((domain, name))

    def _tensor(self, data: memoryview) -> None:
        """Check where a tensor lies and that it is as long as it says."""
        name, kind, external = "", 0, False
        sides: list[int] = []
        held = 0
        raw: int | None = None
        place: dict[str, str] = {}
        for number, value in self._fields(data):
            if number == 1:
                sides += [value] if isinstance(value, int) else _varints(value)
            elif number == 2:
                kind = _number(value)
            elif number == 8:
                name = _text(value)
            elif number == _RAW_DATA:
                raw = len(_bytes(value))
            elif number in _TYPED_DATA:
                held += 8 if isinstance(value, int) else len(value)
            elif number == 13:
                entry = dict(self._fields(_bytes(value)))
                place[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
            elif number == 14:
                external = _number(value) == _EXTERNAL
        count = math.prod(sides)
        shown = one_line(name)[:60] or "without a name"
        if any(side >= 1 << 63 for side in sides) or count > _MOST_VALUES:
            raise JmposeError(
                f"{self._option}: its tensor {shown} declares {count:,} values, at most {_MOST_VALUES:,} are taken",
                hint="no network of people has such a tensor: download the file again",
            )
        if kind == _STRING:
            return
        needed = -(-count * _BITS.get(kind, 8) // 8)
        if external or place:
            self._beside(shown, place, needed)
        elif (raw is not None and raw != needed) or (raw is None and held < count / 2):
            raise _NotOnnxError(f"its tensor {shown} declares {count:,} values and holds others")

    def _beside(self, name: str, place: dict[str, str], needed: int) -> None:
        """Check that a tensor's data lie in a file of this folder, whole."""
        location = place.get("location", "")
        shown = one_line(location)[:100]
        try:
            file = path_inside(self._path.parent, location)
        except OutsideError as error:
            raise JmposeError(
                f"{self._option}: wants weights from {shown!r}, which {error}: refused",
                hint="weights may lie in the file's own folder only; this file may have been made to read others",
            ) from None
        if not location or not file.is_file():
            raise JmposeError(
                f"{self._option}: wants weights from {shown!r}, which is not beside it",
                hint="copy the files that belong to it into its folder",
            )
        start, length = (_whole(place.get(key, default)) for key, default in (("offset", "0"), ("length", str(needed))))
        if length != needed or start + length > file.stat().st_size:
            raise JmposeError(
                f"{self._option}: its tensor {name} lies beyond the end of {shown}, or is of another length",
                hint="copy both files again, from the same place",
            )
        self.facts.beside.add(file)


def _fields(data: memoryview, left: Iterator[int]) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of the fields of a message, a whole number or bytes, while something is left to count."""
    at, end = 0, len(data)
    while at < end:
        if next(left, None) is None:
            raise _NotOnnxError("it has more parts than any network")
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_EIGHT, _FOUR):
            length = 8 if wire == _EIGHT else 4
        else:
            raise _NotOnnxError("its bytes are of another format")
        if at + length > end:
            raise _NotOnnxError("it ends too early")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _NotOnnxError("it ends too early")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(data: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _NotOnnxError("its bytes are of another format")
    return value


def _text(value: int | memoryview | bytes) -> str:
    if isinstance(value, int):
        raise _NotOnnxError("its bytes are of another format")
    return bytes(value).decode(errors="replace")


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _NotOnnxError("its bytes are of another format")
    return value


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _NotOnnxError(f"{text[:20]!r} is no place in a file")
    return int(text)
