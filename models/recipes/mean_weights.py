"""Write the mean of the weights of two models, of which one went on from the other.

`python models/recipes/mean_weights.py before.safetensors after.safetensors --out nano.safetensors`

What was learnt last is kept for the most part, and with it what the longer training before knew of other pictures
(Wortsman et al., "Robust fine-tuning of zero-shot models", 2022). The mean has no calibration, and is
stored in float16 as all shipped weights are. Its crops are as large as those of the second.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from jmpose.build import build_model
from jmpose.weights import load_model, save_model


def main() -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    before, after = load_model(args.before), load_model(args.after)
    window = after.config.preprocess
    size = {"input_height": window.input_height, "input_width": window.input_width}
    configs = [
        replace(model.config, calibration=None, preprocess=replace(model.config.preprocess, **size))
        for model in (before, after)
    ]
    if configs[0] != configs[1]:
        parser.error("the two are not of one architecture")
    one, other = before.state_dict(), after.state_dict()
    mean = build_model(configs[1])
    mean.load_state_dict(
        {
            name: one[name].lerp(value, args.share) if value.is_floating_point() else value
            for name, value in other.items()
        }
    )
    print(save_model(mean, args.out, half=True))


if __name__ == "__main__":
    main()
