"""Detectors of other projects as graphs: which kind one is, what it needs, and boxes of people from what it gives.

What the file does not tell is what its family is trained with, or is set in a YAML file beside it.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.foreign.graph import Graph, PictureInput, Port, open_graph
from jmpose_cli.foreign.settings import COLOURS, SCALES, Check, number, one_of, read_settings, several, whole
from jmpose_cli.people.detector_description import MAX_INPUT_SIDE, START_SCORE
from jmpose_cli.people.letterbox import Fit
from jmpose_cli.text import one_line
from jmpose_cli.values import Float
from jmpose_cli.zoo.graph_files import graph_name, settings_of

Form = Literal["grid", "objects", "columns", "rows", "kept", "sized", "queries", "pairs"]
Family = Literal["yolox", "rtmdet", "yolo", "rtdetr", "rfdetr"]
TARGET_SIZES = "orig_target_sizes"  # of RT-DETR as its authors export it: (width, height) of the frame
_STRIDES = (8, 16, 32)
_MOST_KEPT = 1000  # boxes that networks give which choose them on their own
_NORMALISED = 2.0  # boxes in shares of the picture stay below
_MOST_NAMES = 1 << 20


@dataclass(frozen=True)
class FamilyInput:
    """What the networks of a family are trained with.

    Attributes:
        title: For people.
        colours: Their order.
        mean: Of each colour in that order, 0..255.
        std: Likewise.
        fit: See `Fit`.
        start_score: Box score that starts a track.
    """

    title: str
    colours: Literal["RGB", "BGR"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit
    start_score: float = START_SCORE


_NONE, _ONE, _WHOLE = (0.0,) * 3, (1.0,) * 3, (255.0,) * 3
FAMILIES: dict[Family, FamilyInput] = {
    "yolox": FamilyInput("YOLOX", "BGR", _NONE, _ONE, "corner"),
    "rtmdet": FamilyInput("RTMDet", "BGR", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "corner"),
    "yolo": FamilyInput("YOLO", "RGB", _NONE, _WHOLE, "centre", 0.5),
    "rtdetr": FamilyInput("RT-DETR", "RGB", _NONE, _WHOLE, "stretch"),
    "rfdetr": FamilyInput("RF-DETR", "RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "stretch"),
}
# Names of files: the first that is in one says the family.
_NAMES: tuple[tuple[str, Family], ...] = (
    ("yolox", "yolox"),
    ("rtmdet", "rtmdet"),
    ("rf-detr", "rfdetr"),
    ("rfdetr", "rfdetr"),
    *((name, "rtdetr") for name in ("rtdetr", "rt-detr", "rt_detr", "dfine", "d-fine", "d_fine", "deim")),
    ("yolo", "yolo"),
)
_OF_FORM: dict[Form, Family] = {"grid": "yolox", "columns": "yolo", "rows": "yolo", "sized": "rtdetr"}

SETTINGS: dict[str, Check] = {
    "family": one_of(*FAMILIES),
    "input_hw": several(whole(32, MAX_INPUT_SIDE), count=2),
    "colours": one_of("RGB", "BGR"),
    "mean": COLOURS,
    "std": SCALES,
    "fit": one_of(*get_args(Fit)),
    "person_class": whole(0, 20_000),
    "start_score": number(0.01, 0.99),
}


@dataclass(frozen=True)
class BoxGraph:
    """What a detector needs and how its outputs are read.

    Attributes:
        form: What comes out. `grid`: YOLOX, offsets in cells `[A, 5 + classes]`. `objects`: boxes (cx, cy, w, h), how
            sure that something is there, classes. `columns`: YOLO, `[4 + classes, A]`. `rows`: (x0, y0, x1, y1, score,
            class). `kept`: rows (x0, y0, x1, y1, score), and their classes. `sized`: classes, boxes and scores in the
            frame. `queries`: boxes in shares of the picture and classes, in one. `pairs`: boxes, and classes, apart.
        picture: The input.
        places: Which outputs are read, in the order that the form says.
        family: What it is trained like.
        colours: See `FamilyInput`, as also for the following.
        mean: As there.
        std: As there.
        fit: As there.
        start_score: As there.
        person_class: Number of the class of people.
        classes: How many there are, where the file says so; columns behind them are no classes.
        logits: Whether classes are to be put through a sigmoid.
        shares: Whether boxes are (cx, cy, w, h) in shares of the picture.
    """

    form: Form
    picture: PictureInput
    places: tuple[int, ...]
    family: Family
    colours: Literal["RGB", "BGR"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit
    start_score: float
    person_class: int
    classes: int | None = None
    logits: bool = False
    shares: bool = False

    @property
    def overlaps(self) -> bool:
        """Whether the boxes of one person are several until they are suppressed."""
        return self.form in ("grid", "objects", "columns") or (self.form == "pairs" and not self.shares)

    def facts(self) -> dict[str, Any]:
        """Return what can be set, as it is: what `settings_of` may hold."""
        return {
            "family": self.family,
            "input_hw": [self.picture.height, self.picture.width],
            "colours": self.colours,
            "mean": list(self.mean),
            "std": list(self.std),
            "fit": self.fit,
            "person_class": self.person_class,
            "start_score": self.start_score,
        }

    def input(self, picture_rgb: np.ndarray) -> np.ndarray:
        """Turn a picture `[h, w, 3]` uint8 into what the graph takes."""
        ordered = picture_rgb if self.colours == "RGB" else picture_rgb[..., ::-1]
        values = (ordered - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.picture.dtype == np.uint8:
            values = values.round().clip(0, 255)
        if self.picture.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None], self.picture.dtype)

    def rows(self, outputs: Sequence[np.ndarray]) -> Float:
        """Turn the outputs for one picture into rows (x0, y0, x1, y1, score) of people `[N, 5]`, pixels of the input.

        With the form `sized` they are pixels of the frame.
        """
        found = [np.asarray(outputs[at][0], np.float32) for at in self.places]
        person = self.person_class
        if self.form in ("rows", "kept", "sized"):
            if self.form == "rows":
                boxes, scores, labels = found[0][:, :4], found[0][:, 4], found[0][:, 5]
            elif self.form == "kept":
                boxes, scores = found[0][:, :4], found[0][:, 4]
                labels = found[1] if len(found) > 1 else np.full(len(scores), person, np.float32)
            else:
                labels, boxes, scores = found
            kept = np.rint(labels) == person
            return np.concatenate([boxes[kept], scores[kept, None]], 1)
        if self.form == "pairs":
            boxes, scores = found[0], found[1][:, person]
        else:
            rows = found[0].T if self.form == "columns" else found[0]
            boxes, scores = rows[:, :4], rows[:, 4 + person]
            if self.form in ("grid", "objects"):
                scores = rows[:, 4] * rows[:, 5 + person]
        if self.logits:
            scores = 1 / (1 + np.exp(-scores.clip(-80, 80)))
        if self.form == "grid":
            boxes = self._from_grid(boxes)
        if self.shares:
            boxes = boxes * np.array([self.picture.width, self.picture.height] * 2, np.float32)
        if self.form != "pairs" or self.shares:
            centre, half = boxes[:, :2], boxes[:, 2:] / 2
            boxes = np.concatenate([centre - half, centre + half], 1)
        return np.asarray(np.concatenate([boxes, scores[:, None]], 1), np.float32)

    def _from_grid(self, boxes: np.ndarray) -> np.ndarray:
        """Turn offsets in cells, and logarithms of sides in strides, into (cx, cy, w, h) in pixels."""
        cells, strides = [], []
        for stride in _STRIDES:
            rows, columns = np.mgrid[: self.picture.height // stride, : self.picture.width // stride]
            cells.append(np.stack([columns, rows], -1).reshape(-1, 2))
            strides += [stride] * len(cells[-1])
        stride_of = np.array(strides, np.float32)[:, None]
        centre = (boxes[:, :2] + np.concatenate(cells).astype(np.float32)) * stride_of
        return np.concatenate([centre, np.exp(boxes[:, 2:].clip(max=20)) * stride_of], 1)


def open_box_graph(path: Path, *, input_size: int | None = None, option: str = "--detector") -> tuple[Graph, BoxGraph]:
    """Open a detector of another project.

    Args:
        path: A `.onnx` file, or OpenVINO's `.xml`.
        option: Who asks for it.
        input_size: Side of a square input in pixels, of graphs that leave it free; None takes what is set or fixed.

    Raises:
        JmposeError: It cannot be opened, is no such detector, or needs what is not known and not set.
    """
    option = f"{option} {path}"
    graph = open_graph(path, option=option)
    given = read_settings(path, SETTINGS)
    input_hw = (input_size, input_size) if input_size else given.get("input_hw", _noted_size(graph.metadata))
    picture = graph.picture_input(input_hw=input_hw, most=MAX_INPUT_SIDE, others=frozenset({TARGET_SIZES}))
    other = target_sizes(graph, picture.width, picture.height)
    found = graph.look(picture, other)
    form, places = _form(graph, picture, found)
    names = _class_names(graph.metadata)
    family = given.get("family") or _family(f"{graph_name(path)} {path.stem}".lower(), form, option, path)
    usual = FAMILIES[family]
    flags: dict[str, bool] = {}
    if form == "pairs":
        boxes, scores = (found[at] for at in places)
        flags = {"shares": bool(boxes.max(initial=0) <= _NORMALISED), "logits": bool(_is_outside(scores))}
    elif form == "queries":
        flags = {"shares": True, "logits": bool(_is_outside(found[places[0]][..., 4:]))}
    box_graph = BoxGraph(
        form=form,
        picture=picture,
        places=places,
        family=family,
        colours=given.get("colours", usual.colours),
        mean=given.get("mean", usual.mean),
        std=given.get("std", usual.std),
        fit=given.get("fit", usual.fit),
        start_score=given.get("start_score", usual.start_score),
        person_class=given.get("person_class", _person(option, names, family)),
        classes=len(names) or None,
        **flags,
    )
    _check_class(option, box_graph, found)
    return graph, box_graph


def target_sizes(graph: Graph, width: int, height: int) -> dict[str, np.ndarray]:
    """Return the input beside the picture, of graphs that have one."""
    port = next((port for port in graph.inputs if port.name == TARGET_SIZES), None)
    return {} if port is None else {TARGET_SIZES: np.array([[width, height]], port.dtype or np.int64)}


def describe(graph: Graph, boxes: BoxGraph) -> str:
    """Say in a line what a detector needs, for the header."""
    numbers = ("/".join(f"{value:g}" for value in values) for values in (boxes.mean, boxes.std))
    colours = "{}, mean {}, std {}".format(boxes.colours, *numbers)
    return (
        f"{FAMILIES[boxes.family].title} by {graph.engine}; taken: input {boxes.picture.height}x{boxes.picture.width} "
        f"{colours}, fit {boxes.fit}, people are class {boxes.person_class}, to be set in "
        f"{settings_of(graph.path).name} beside it"
    )


def _form(graph: Graph, picture: PictureInput, found: Sequence[np.ndarray]) -> tuple[Form, tuple[int, ...]]:
    """Tell what the outputs are, by their shapes and, where these leave it open, by what a grey picture gives."""
    named = {port.name.lower(): at for at, port in enumerate(graph.outputs)}
    if TARGET_SIZES in {port.name for port in graph.inputs} and {"labels", "boxes", "scores"} <= named.keys():
        return "sized", (named["labels"], named["boxes"], named["scores"])
    tables = [at for at, v in enumerate(found) if v.ndim == 3 and len(v) == 1 and np.issubdtype(v.dtype, np.floating)]
    lists = [at for at, v in enumerate(found) if v.ndim == 2 and len(v) == 1]
    kept = [at for at in tables if found[at].shape[2] == 5 and graph.outputs[at].name.lower() == "dets"]
    if kept or (len(tables) == 1 and found[tables[0]].shape[2] == 5 and lists):
        return "kept", ((kept or tables)[0], *lists[:1])
    if len(tables) == 2:
        boxes = [at for at in tables if found[at].shape[2] == 4]
        scores = [at for at in tables if at not in boxes[:1]]
        if boxes and found[boxes[0]].shape[1] == found[scores[0]].shape[1]:
            return "pairs", (boxes[0], scores[0])
    if tables:
        at = tables[0]
        _, rows, columns = found[at].shape
        cells = sum((picture.height // stride) * (picture.width // stride) for stride in _STRIDES)
        largest = float(found[at][..., :2].max(initial=0))
        if columns > 5 and rows in (cells, 3 * cells):
            return ("grid" if rows == cells and largest < picture.width / 2 else "objects"), (at,)
        if columns == 6 and rows <= _MOST_KEPT:
            return "rows", (at,)
        if rows >= 5 and columns > rows:
            return "columns", (at,)
        if columns >= 5 and rows <= _MOST_KEPT and float(found[at][..., :4].max(initial=0)) <= _NORMALISED:
            return "queries", (at,)
    gives = ", ".join(_shown(port, values) for port, values in zip(graph.outputs[:4], found, strict=False))
    raise JmposeError(
        f"{graph.option}: is no detector that can be used: of a picture {picture.height}x{picture.width} it "
        f"gives {gives}",
        hint="YOLOX, RTMDet, YOLO, RT-DETR, D-FINE and RF-DETR are read; see docs/models.md",
    )


def _shown(port: Port, values: np.ndarray) -> str:
    return f"{one_line(port.name)[:40]} {list(values.shape)}"


def _family(name: str, form: Form, option: str, path: Path) -> Family:
    """Tell the family by the file's name or its folder's, else by its form."""
    by_name = next((family for part, family in _NAMES if part in name), None)
    if family := by_name or _OF_FORM.get(form):
        return family
    if form == "queries":
        return "rtdetr"
    raise JmposeError(
        f"{option}: neither its outputs nor its name say how its pictures are to be prepared",
        hint=f"write `family: NAME` into {settings_of(path).name} beside it: {', '.join(FAMILIES)}",
    )


def _noted_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Return height and width that ultralytics notes, None without."""
    noted = _literal(metadata.get("imgsz", ""))
    is_size = isinstance(noted, list) and len(noted) == 2 and all(type(side) is int for side in noted)
    return (noted[0], noted[1]) if is_size else None


def _class_names(metadata: Mapping[str, str]) -> dict[int, str]:
    """Return the classes that ultralytics notes; empty without."""
    noted = _literal(metadata.get("names", ""))
    if not isinstance(noted, dict):
        return {}
    return {number: str(name).strip().lower() for number, name in noted.items() if type(number) is int}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text) if 0 < len(text) <= _MOST_NAMES else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _person(option: str, names: Mapping[int, str], family: Family) -> int:
    if not names:
        return 1 if family == "rfdetr" else 0  # COCO's ids, or places in the list of its classes
    people = [number for number, name in names.items() if name == "person"]
    if not people:
        some = one_line(", ".join(list(names.values())[:5]))[:100]
        raise JmposeError(
            f"{option}: a detector without the class 'person' (it has {some})", hint="use one trained on people"
        )
    return people[0]


def _check_class(option: str, boxes: BoxGraph, found: Sequence[np.ndarray]) -> None:
    """Make sure that there is such a class, where the outputs have a column for each."""
    shape = found[boxes.places[-1]].shape
    before = {"grid": 5, "objects": 5, "columns": 4, "queries": 4, "pairs": 0}.get(boxes.form)
    if before is None:
        return
    most = boxes.classes or (shape[1] if boxes.form == "columns" else shape[2]) - before
    if boxes.person_class >= most:
        raise JmposeError(
            f"{option}: person_class is {boxes.person_class}, it has {most} classes", hint=f"0 to {most - 1}"
        )


def _is_outside(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) < 0 or values.max(initial=0) > 1)
