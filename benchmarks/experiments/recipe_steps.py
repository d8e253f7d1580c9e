"""What each step of the recipe of `nano`'s backbone brings: all of them, then one left out at a time.

`python benchmarks/experiments/recipe_steps.py [--steps 500]`

Every row trains single frames for the same number of steps on crops of the same height, then is scored on
`coco_persons/val` at the model's own size. Short runs: they show what helps first, not what helps in the end. A stopped
one goes on by the same command. It needs the folders `runs/nano/data` and `runs/nano/rendered` and the start of `nano`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ablation import run
from jmpose_cli.training.config import CONFIG_FOLDER

CROPS = Path("runs/nano/data")
RENDERED = {"kind": "crops", "path": "runs/nano/rendered"}
WITHOUT = {
    "nothing": {},
    "the ImageNet start": {"init": None, "frozen": []},
    "labels of the teacher": {"least_weight": 1.0},
    "sports pictures (LSP)": {"source": "lsp"},
    "boxed people": {"source": "boxes"},
    "rendered people": {"rendered": False},
    "spoilt crops": {"degrade": 0.0},
}


def main() -> None:
    """Train what is not finished, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/recipe_steps"))
    parser.add_argument("--steps", type=int, default=500, help="of 48 crops")
    parser.add_argument("--height", type=int, default=128, help="of the crops")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (name, change) in enumerate(WITHOUT.items()):
        out = args.out / str(number)
        run(out, settings(change, out.with_name(f"{number}-crops"), args), args)
        last = json.loads((out / "validation.jsonl").read_text().splitlines()[-1])
        rows.append((name, *(score["final"] for score in last["scores"])))
    print("| without | OKS AP | PCK@0.1 |\n|---|---|---|")
    for name, ap, pck in rows:
        print(f"| {name} | {ap:.1f} | {pck:.1f} |")


def settings(change: dict[str, Any], crops: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the training configuration of a row: `nano-frame` with the change, cut short."""
    given = yaml.safe_load((CONFIG_FOLDER / "nano-frame.yaml").read_text())
    given |= {"init": change.get("init", given["init"]), "threads": args.threads}
    given["init_backbone"] = given["init"] is not None
    given["augment"]["degrade"] = change.get("degrade", given["augment"]["degrade"])
    sources = [{"kind": "crops", "path": str(part(change, crops))}, RENDERED]
    given["data"]["train"] = sources[: 1 + change.get("rendered", True)]
    given["optim"] |= {"sizes": [[1.0, args.height]], "epochs": 100, "steps": args.steps}
    given["optim"]["frozen"] = change.get("frozen", given["optim"]["frozen"])
    given["save"]["validate_every"] = 1000
    return dict(given)


def part(change: dict[str, Any], out: Path) -> Path:
    """Make a folder of crops that knows less; people without known joints are left out by `jmpose train`."""
    if not {"source", "least_weight"} & set(change):
        return CROPS
    out.mkdir(parents=True, exist_ok=True)
    labels = dict(np.load(CROPS / "labels.npz"))
    labels["weight"][labels["source"] == change.get("source")] = 0
    labels["weight"][labels["weight"] < change.get("least_weight", 0)] = 0
    labels["present"][labels["weight"] == 0] = 0
    np.savez(out / "labels.npz", **labels)
    if not (out / "patches.npy").exists():
        (out / "patches.npy").symlink_to((CROPS / "patches.npy").resolve())
    return out


if __name__ == "__main__":
    main()
