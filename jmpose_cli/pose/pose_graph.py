"""Pose models of other projects as graphs: which kind one is, what it needs, and heatmaps from what it gives.

Two kinds are known: heatmaps of a quarter of the input (PP-TinyPose, HRNet, ViTPose), and SimCC, a vector for each axis
of each joint (RTMPose, RTMW, DWPose). What the file does not tell is what its family is trained with, or is set in a
YAML file beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jmpose.config import MAX_INPUT_SIDE, STRIDE, HeatmapAlignment, Preprocess
from jmpose.errors import ConfigError
from jmpose.keypoints import KEYPOINT_SETS
from jmpose_cli.errors import JmposeError
from jmpose_cli.foreign.graph import Graph, PictureInput, open_graph
from jmpose_cli.foreign.settings import COLOURS, SCALES, Check, number, one_of, read_settings, several, whole
from jmpose_cli.text import one_line
from jmpose_cli.values import Float
from jmpose_cli.zoo.graph_files import graph_name, settings_of

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_SETS = {16: "mpii16", 17: "coco17", 23: "wholebody23", 26: "halpe26", 133: "wholebody23"}
_ANIMALS = ("ap10k", "apt36k", "animal")
_SIGMA_AT_256 = 2.0  # heatmap pixels: of the targets of all families, as a share of the input
_ALIGNMENTS = get_args(HeatmapAlignment)
_MOST_CHANNELS = 1000
# Logits times beta make the distribution that a SimCC network was trained to give.
_BETA, _BETA_RTMW = 10.0, 1.0

SETTINGS: dict[str, Check] = {
    "input_hw": several(whole(32, MAX_INPUT_SIDE), count=2),
    "colours": one_of("RGB", "BGR"),
    "mean": COLOURS,
    "std": SCALES,
    "keypoint_set": one_of(*KEYPOINT_SETS),
    "channels": several(whole(0, _MOST_CHANNELS)),
    "box_padding": number(1, 3),
    "outputs": several(str),
    "heatmap_alignment": one_of(*_ALIGNMENTS),
    "heatmap_sigma": number(0.25, 32),
    "split_ratio": number(0.5, 16),
    "simcc_beta": number(0.1, 1000),
}


@dataclass(frozen=True)
class PoseGraph:
    """What a pose model needs and how its outputs are read.

    Attributes:
        kind: What comes out.
        picture: The input.
        outputs: Which outputs are read: that of the heatmaps, or those of x and y.
        channels: For each joint its channel.
        preprocess: Crops and heatmaps; its mean and std are those of temporal parts, not the graph's.
        colours: Order of the colours.
        mean: Of each colour in that order, 0..255, subtracted.
        std: Likewise, divided by.
        split_ratio: Of SimCC: places of a vector for each pixel of the input.
        simcc_beta: Of SimCC: what logits are multiplied by before the softmax; None for vectors that are
            probabilities already.
    """

    kind: Literal["heatmaps", "simcc"]
    picture: PictureInput
    outputs: tuple[int, ...]
    channels: tuple[int, ...]
    preprocess: Preprocess
    colours: Literal["RGB", "BGR"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_ratio: float = 0.0
    simcc_beta: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return what can be set, as it is: what `settings_of` may hold."""
        window = self.preprocess
        facts: dict[str, Any] = {
            "input_hw": [window.input_height, window.input_width],
            "colours": self.colours,
            "mean": list(self.mean),
            "std": list(self.std),
            "keypoint_set": window.keypoint_set,
            "box_padding": window.box_padding,
            "heatmap_sigma": window.heatmap_sigma,
        }
        if self.channels != tuple(range(len(self.channels))):
            facts["channels"] = list(self.channels)
        if self.kind == "heatmaps":
            return facts | {"heatmap_alignment": window.heatmap_alignment}
        beta = {} if self.simcc_beta is None else {"simcc_beta": self.simcc_beta}
        return facts | {"split_ratio": self.split_ratio, **beta}

    def inputs(self, crops: Float) -> list[np.ndarray]:
        """Turn crops `[N, 3, H, W]` of RGB 0..255 into what the graph takes, one by one."""
        ordered = crops if self.colours == "RGB" else crops[:, ::-1]
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (self.mean, self.std))
        pictures = (ordered - mean) / std
        if self.picture.dtype == np.uint8:
            pictures = pictures.round().clip(0, 255)
        if self.picture.layout == "NHWC":
            pictures = pictures.transpose(0, 2, 3, 1)
        return [np.ascontiguousarray(picture[None], self.picture.dtype) for picture in pictures]

    def heatmaps(self, outputs: Sequence[np.ndarray]) -> Float:
        """Turn the outputs for one picture into heatmaps `[K, h, w]`."""
        found = [outputs[at][0][list(self.channels)] for at in self.outputs]
        if self.kind == "heatmaps":
            return np.ascontiguousarray(found[0], np.float32)
        columns, rows = (
            self._probabilities(vectors) @ targets for vectors, targets in zip(found, self._targets, strict=True)
        )
        return np.asarray(rows[:, :, None] * columns[:, None, :], np.float32)

    def _probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Turn vectors `[K, bins]` into distributions."""
        values = vectors.astype(np.float64)
        if self.simcc_beta is not None:
            values = np.exp(self.simcc_beta * (values - values.max(1, keepdims=True)))
        return np.asarray(values / np.maximum(values.sum(1, keepdims=True), 1e-12))

    @cached_property
    def _targets(self) -> tuple[np.ndarray, np.ndarray]:
        """For x and y `[bins, side]`: the target of a heatmap with the joint at each place of the vector.

        Its mean over the distribution is the heatmap that is to be expected, which is what networks with heatmaps are
        trained to give, so temporal parts see what they know.
        """
        window = self.preprocess
        sides = (window.input_width, window.input_height)
        found = []
        for side in sides:
            places = np.arange(round(side * self.split_ratio)) / self.split_ratio  # crop pixels
            pixels = STRIDE * (np.arange(side // STRIDE) + 0.5) - 0.5  # of heatmaps whose edges are the crop's
            apart = (places[:, None] - pixels) / (STRIDE * window.heatmap_sigma)
            found.append(np.exp(-(apart**2) / 2))
        return found[0], found[1]


def open_pose_graph(path: Path, *, option: str = "--model") -> tuple[Graph, PoseGraph]:
    """Open a pose model of another project.

    Args:
        path: A `.onnx` file, or OpenVINO's `.xml`.
        option: Who asks for it.

    Raises:
        JmposeError: It cannot be opened, is no such model, or needs what is not known and not set.
    """
    option = f"{option} {path}"
    graph = open_graph(path, option=option)
    given = read_settings(path, SETTINGS)
    picture = graph.picture_input(input_hw=given.get("input_hw"), most=MAX_INPUT_SIDE, others=frozenset())
    found = graph.look(picture)
    named = {port.name: at for at, port in enumerate(graph.outputs)}
    unknown = [name for name in given.get("outputs", ()) if name not in named]
    if unknown:
        raise JmposeError(
            f"{option}: has no output {one_line(unknown[0])[:60]}", hint=f"it has {one_line(', '.join(named))}"
        )
    wanted = [named[name] for name in given.get("outputs", named)]
    kind, outputs, ratio = _kind(graph, picture, found, wanted, given.get("split_ratio"))
    joints = found[outputs[0]].shape[1]
    name = f"{graph_name(path)} {path.stem}".lower()
    keypoint_set, channels = _joints(option, path, name, joints, given)
    ours = picture.dtype == np.uint8  # such a graph takes pixels as they are
    try:
        preprocess = Preprocess(
            input_height=picture.height,
            input_width=picture.width,
            keypoint_set=keypoint_set,
            heatmap_sigma=given.get("heatmap_sigma", _SIGMA_AT_256 * picture.height / 256),
            window_offsets=(-1, 0, 1),
            box_padding=given.get("box_padding", 1.25),
            heatmap_alignment="edges" if kind == "simcc" else given.get("heatmap_alignment", _alignment(name)),
        )
    except ConfigError as error:
        raise JmposeError(f"{option}: {error.message}", hint=error.hint) from error
    beta = given.get("simcc_beta", _BETA_RTMW if "rtmw" in name else _BETA)
    return graph, PoseGraph(
        kind=kind,
        picture=picture,
        outputs=outputs,
        channels=channels,
        preprocess=preprocess,
        colours=given.get("colours", "RGB"),
        mean=given.get("mean", (0.0, 0.0, 0.0) if ours else IMAGENET_MEAN),
        std=given.get("std", (1.0, 1.0, 1.0) if ours else IMAGENET_STD),
        split_ratio=ratio,
        simcc_beta=None if _are_probabilities([found[at] for at in outputs]) else beta,
    )


def describe(graph: Graph, pose: PoseGraph) -> str:
    """Say in a line what a pose model needs, for the header."""
    window = pose.preprocess
    what = f"heatmaps on {window.heatmap_alignment}"
    if pose.kind == "simcc":
        what = f"SimCC, split ratio {pose.split_ratio:g}"
    colours = f"{pose.colours}, mean {_numbers(pose.mean)}, std {_numbers(pose.std)}"
    return (
        f"{what} by {graph.engine}; taken: {len(pose.channels)} joints {window.keypoint_set}, input "
        f"{window.input_height}x{window.input_width} {colours}, box padding {window.box_padding:g}, to be set in "
        f"{settings_of(graph.path).name} beside it"
    )


def _kind(
    graph: Graph, picture: PictureInput, found: Sequence[np.ndarray], wanted: Sequence[int], ratio: float | None
) -> tuple[Literal["heatmaps", "simcc"], tuple[int, ...], float]:
    """Tell what the outputs are; of several heatmaps, those of the stages of a network, the last are taken."""
    numbers = [at for at in wanted if np.issubdtype(found[at].dtype, np.floating) and found[at].shape[:1] == (1,)]
    maps = [at for at in numbers if found[at].ndim == 4]
    size = (picture.height // STRIDE, picture.width // STRIDE)
    fitting = [at for at in maps if found[at].shape[2:] == size and 0 < found[at].shape[1] <= _MOST_CHANNELS]
    if fitting:
        return "heatmaps", (fitting[-1],), 0.0
    vectors = [at for at in numbers if found[at].ndim == 3 and 0 < found[at].shape[1] <= _MOST_CHANNELS]
    pairs = []
    for x in vectors:
        for y in vectors:
            bins = (found[x].shape[2] / picture.width, found[y].shape[2] / picture.height)
            alike = math.isclose(*bins) and bins[0] >= 0.5 and (ratio is None or math.isclose(bins[0], ratio))
            if x != y and found[x].shape[1] == found[y].shape[1] and alike:
                ends = tuple(graph.outputs[at].name[-1:] for at in (x, y))
                pairs.append((ends != ("x", "y"), x, y, bins[0]))
    if pairs:
        _, x, y, bins_a_pixel = min(pairs)
        return "simcc", (x, y), bins_a_pixel
    gives = ", ".join(f"{one_line(p.name)[:40]} {list(found[at].shape)}" for at, p in enumerate(graph.outputs[:4]))
    raise JmposeError(
        f"{graph.option}: is no pose model that can be used: of a picture {picture.height}x{picture.width} it gives "
        f"{gives}",
        hint=f"heatmaps [1, joints, {size[0]}, {size[1]}], or SimCC vectors [1, joints, width times ratio] and [1, "
        "joints, height times ratio], of one person each",
    )


def _joints(option: str, path: Path, name: str, count: int, given: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Say which keypoint set the channels are, and which channel each joint has."""
    where = f"write keypoint_set, and channels where they stand in another order, into {settings_of(path).name}"
    keypoint_set = given.get("keypoint_set")
    if keypoint_set is None:
        if any(animal in name for animal in _ANIMALS):
            raise JmposeError(f"{option}: its name says that it knows animals, not people", hint=where)
        keypoint_set = "posetrack18" if count == 17 and "posetrack18" in name else _SETS.get(count)
    if keypoint_set is None:
        raise JmposeError(
            f"{option}: has {count} joints, which may be those of no known set or of several",
            hint=f"{where}; sets: {', '.join(KEYPOINT_SETS)}",
        )
    joints = len(KEYPOINT_SETS[keypoint_set])
    channels = given.get("channels", tuple(range(joints)))
    if len(channels) != joints or max(channels) >= count or len(set(channels)) < joints:
        raise JmposeError(
            f"{option}: has {count} channels, of which {len(channels)} are taken for the {joints} joints of "
            f"{keypoint_set}",
            hint=f"{where}: {joints} different numbers from 0 to {count - 1}",
        )
    return keypoint_set, channels


def _alignment(name: str) -> str:
    """How a family lays heatmaps on crops: ViTPose and whatever says UDP by their corners, HRNet and others origins."""
    return "corners" if "vitpose" in name or "udp" in name else "origins"


def _are_probabilities(vectors: Sequence[np.ndarray]) -> bool:
    """Whether vectors have been through a softmax already."""
    return all(v.min() >= 0 and np.allclose(v.sum(-1, dtype=np.float64), 1, atol=1e-2) for v in vectors)


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:g}" for value in values)
