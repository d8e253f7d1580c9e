"""Put the trained temporal part of a model on the trained backbone of another: where its temporal training starts.

`python models/recipes/temporal_start.py --frame runs/small/frame/best.safetensors --temporal nano`
"""

import argparse
from pathlib import Path

from jmpose.weights import load_model, save_model
from jmpose_cli.known_weights import choose_model


def main() -> None:
    """Write the start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frame", type=Path, default=Path("runs/small/frame/best.safetensors"))
    parser.add_argument("--temporal", default="nano", help="a model whose temporal part has the same shape")
    parser.add_argument("--out", type=Path, default=Path("runs/small/temporal-start.safetensors"))
    args = parser.parse_args()
    model, donor = load_model(args.frame), load_model(choose_model(args.temporal).path)
    part = {name: value for name, value in donor.state_dict().items() if not name.startswith("backbone.")}
    missing, unknown = model.load_state_dict(part, strict=False)
    if unknown or any(not name.startswith("backbone.") for name in missing):
        parser.error(f"the temporal part of {args.temporal} is not that of {args.frame}")
    print(save_model(model, args.out))


if __name__ == "__main__":
    main()
