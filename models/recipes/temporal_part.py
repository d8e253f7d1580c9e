"""Take the trained temporal part out of a model: what `jmpose infer` puts on pretrained backbones.

`python models/recipes/temporal_part.py --model runs/temporal/train/best.safetensors`
"""

import argparse
from pathlib import Path

from jmpose.build import temporal_part
from jmpose.weights import load_model, save_model
from jmpose_cli.known_weights import TEMPORAL_PART


def main() -> None:
    """Write the part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/temporal/train/best.safetensors"))
    parser.add_argument("--out", type=Path, default=TEMPORAL_PART)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = temporal_part(load_model(args.model))
    print(f"{save_model(part, args.out, half=True)}: {sum(p.numel() for p in part.parameters())} parameters")


if __name__ == "__main__":
    main()
