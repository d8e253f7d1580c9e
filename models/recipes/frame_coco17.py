"""Take the joints of COCO out of a model with more joints: what the movable temporal part is trained on.

`python models/recipes/frame_coco17.py --model runs/nano/frame/best.safetensors --out runs/temporal/frame.safetensors`

The backbone stays as it is, its heatmap layer loses the rows of the other joints; the temporal part is new.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from jmpose.keypoints import COCO17
from jmpose.network import build_model
from jmpose.weights import load_model, save_model


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/nano/frame/best.safetensors"))
    parser.add_argument("--out", type=Path, default=Path("runs/temporal/frame.safetensors"))
    args = parser.parse_args()
    whole = load_model(args.model)
    rows = [whole.config.preprocess.keypoints.joints.index(joint) for joint in COCO17.joints]
    preprocess = replace(whole.config.preprocess, keypoint_set="coco17")
    model = build_model(replace(whole.config, name="temporal", motion_source="pixels", preprocess=preprocess))
    state = whole.backbone.state_dict()
    for name in ("heatmap_head.weight", "heatmap_head.bias"):
        state[name] = state[name][rows]
    model.backbone.load_state_dict(state)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, args.out)
    print(f"{args.out}: {len(rows)} joints")


if __name__ == "__main__":
    main()
