"""Make a model of COCO's joints and ImageNet's normalisation of `nano`: what the movable temporal part is trained on.

`python models/recipes/frame_coco17.py --model nano --out runs/temporal/frame.safetensors`

The heatmap layer loses the rows of the other joints, and the first layer takes pictures normalised as ViTPose and
most others have them; else the backbone stays as it is. The temporal part is new.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from jmpose.backbones import Backbone
from jmpose.build import build_model
from jmpose.config import Preprocess
from jmpose.keypoints import COCO17
from jmpose.weights import load_model, save_model
from jmpose_cli.known_weights import choose_model


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="a shipped name or a .safetensors file")
    parser.add_argument("--out", type=Path, default=Path("runs/temporal/frame.safetensors"))
    args = parser.parse_args()
    whole = load_model(choose_model(args.model).path)
    given = whole.config.preprocess
    rows = [given.keypoints.joints.index(joint) for joint in COCO17.joints]
    preprocess = replace(given, keypoint_set="coco17", mean=Preprocess.mean, std=Preprocess.std)
    model = build_model(replace(whole.config, name="temporal", motion_source="pixels", preprocess=preprocess))
    state = whole.backbone.state_dict()
    for name in [name for name in state if name.startswith("heatmap_head.")][-2:]:  # of the last layer
        state[name] = state[name][rows]
    model.backbone.load_state_dict(state)
    renormalise(model.backbone, given, preprocess)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, args.out)
    print(f"{args.out}: {len(rows)} joints")


@torch.no_grad()
def renormalise(backbone: Backbone, old: Preprocess, new: Preprocess) -> None:
    """Change the first layer so that pictures normalised the `new` way give what those of the `old` way gave.

    Exact but for the rim, where the padding of 0 is the new mean.
    """
    body = backbone.get_submodule("body")
    convolution = next(layer for layer in body.modules() if isinstance(layer, nn.Conv2d))
    mean, std, old_mean, old_std = (torch.tensor(v) for v in (new.mean, new.std, old.mean, old.std))
    shift = (convolution.weight * ((mean - old_mean) / old_std)[:, None, None]).sum((1, 2, 3))
    if convolution.bias is None:
        body.bn1.running_mean -= shift
    else:
        convolution.bias += shift
    convolution.weight *= (std / old_std)[:, None, None]


if __name__ == "__main__":
    main()
