"""Write the ONNX graphs of the shipped models and their records beside the weights: to be run whenever these are new.

    python models/recipes/onnx_files.py --people runs/people            # of all of them
    python models/recipes/onnx_files.py nano person-nano reid-nano      # or of some
    python models/recipes/onnx_files.py small --people runs/people      # this one in int8, too

The graphs take their weights from the safetensors, so they are small; they know its checksum and are not used with
another. What the models give on the example is recorded, as by `jmpose models check --record`; without `--record` that
command compares both torch and the graphs with it. Needs `pip install -e '.[onnx]'`.

The graph in int8 holds its weights. It is calibrated on 200 crops of the people in `--people`, which is what
`models/recipes/nano_data.py --out runs/people` writes; `--people` is not needed for models without such a graph. After
it, compare the accuracy, which it may cost .005 of at most:

    python benchmarks/accuracy/pose_accuracy.py --model small
    python benchmarks/accuracy/pose_accuracy.py --model small --precision int8
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from jmpose.config import Preprocess
from jmpose.weights import load_model
from jmpose_cli.console import Reporter
from jmpose_cli.onnx_graphs import QUANTISED_MODELS, description_of
from jmpose_cli.people.detect_export import write_detector_graph
from jmpose_cli.people.reid_export import write_appearance_graph
from jmpose_cli.pose.onnx_export import write_pose_graphs
from jmpose_cli.upkeep.model_check import check_models
from jmpose_cli.values import Float
from jmpose_cli.zoo.catalogue import Shipped
from jmpose_cli.zoo.store import known_models, location
from nano_data import CROP_HEIGHT

CROPS = 200
SCALES = 0.85, 1.15  # of the pictures of people; boxes are never exact


def people_crops(folder: Path, preprocess: Preprocess) -> Float:
    """Return `[N, 3, H, W]` float32 crops 0..255, the same number of each set that `nano_data.py` wrote to a folder."""
    sets = sorted(path for path in folder.glob("*/patches.npy") if not path.parent.name.endswith("-behind"))
    random = np.random.default_rng(0)
    height, width = preprocess.input_height, preprocess.input_width
    crops = []
    for path in sets:
        patches = np.load(path, mmap_mode="r")
        for row in random.choice(len(patches), min(len(patches), CROPS // len(sets)), replace=False):
            patch = np.ascontiguousarray(patches[row])
            scale = CROP_HEIGHT / height * random.uniform(*SCALES)
            x, y = ((side - 1) / 2 for side in (patch.shape[1], patch.shape[0]))
            to_patch = np.array([[scale, 0, x - scale * (width - 1) / 2], [0, scale, y - scale * (height - 1) / 2]])
            crops.append(
                cv2.warpAffine(patch, to_patch, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            )
    random.shuffle(crops)
    return np.stack(crops[: len(crops) // 4 * 4]).transpose(0, 3, 1, 2).astype(np.float32)


def main() -> None:
    """Write the graphs of the models that are named, or of all."""
    shipped = {name: entry for name, entry in known_models().items() if isinstance(entry.place, Shipped)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*shipped, []], help="shipped models")
    parser.add_argument("--people", type=Path, help="folder of nano_data.py, for int8")
    args = parser.parse_args()
    if args.people is None and set(QUANTISED_MODELS) & set(args.names or shipped):
        sys.exit(f"{' and '.join(QUANTISED_MODELS)}: a graph in int8 needs --people, see above")
    failed = 0
    for name in args.names or shipped:
        weights = location(shipped[name])
        description = description_of(weights)
        if shipped[name].kind == "reid":
            write_appearance_graph(weights)
        elif shipped[name].kind == "pose":
            quantised = name in QUANTISED_MODELS
            crops = people_crops(args.people, load_model(weights).config.preprocess) if quantised else None
            write_pose_graphs(weights, description, crops=crops)
        else:
            write_detector_graph(weights)
        graphs = sorted(description.parent.glob(f"{name}*.onnx"))
        print(f"{description}: " + ", ".join(f"{path.name} {path.stat().st_size:,} bytes" for path in graphs))
        failed |= check_models([name], device="cpu", record=True, reporter=Reporter())
    sys.exit(failed)


if __name__ == "__main__":
    main()
