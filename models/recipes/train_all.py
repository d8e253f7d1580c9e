"""Train all shipped networks at once on one GPU, for so many minutes.

`python models/recipes/train_all.py --data data --minutes 9 --workers 16`

For a machine that is lent by the minute: data are unpacked there by `travel.py`. Networks of this size leave most of a
GPU idle, and all wait for their crops: side by side they share both. Everything goes on from the shipped weights.
Half of the time has the backbones of `nano` and `small`, and beside them scenes are rendered; the other half has their
temporal parts. The detector and `reid-nano` are trained throughout. Weights and logs are in `runs/all`; what a run
that was cut off has finished lies there too.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nano_data import SETS, folders_of

OUT = Path("runs/all")
RECIPES = Path(__file__).parent
MODELS = ("small", "nano")
STARTING = 0.4  # minutes that a process takes to load its libraries and its data, and to write and score its weights
FOLDERS = tuple(folder for source in SETS for folder in folders_of(source))
WEIGHT = {"coco": 2, "coco-crowded": 6, "coco-behind": 4, "lsp": 0.7, "lsp-behind": 2, "boxes": 0.5, "more": 0.5}
WEIGHT |= {"boxes-crowded": 1.5, "more-crowded": 1.5, "more-behind": 2}


def main() -> None:
    """Run the two halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--minutes", type=float, default=9, help="for all of it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="processes that load data")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to see that all of it works")
    parser.add_argument("--scenes", type=int, default=24, help="rendered for the temporal parts")
    parser.add_argument("--batch", type=int, default=256, help="crops a step; a quarter as many windows")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    half = args.minutes / 2 - STARTING
    throughout = [start("person-nano", detector(args)), start("reid-nano", looks(args))]
    scenes = start("scenes", recipe("nano_render", "--scenes", args.scenes, "--workers", max(args.workers // 5, 1)))
    wait([start(f"{model}-frame", frame(model, args, half)) for model in MODELS])
    wait([start(f"{model}-start", temporal_start(model)) for model in MODELS])
    wait([scenes])
    left = max(args.minutes - (time.monotonic() - began) / 60 - STARTING, 0.1)
    wait([start(f"{model}-temporal", temporal(model, args, left)) for model in MODELS])
    wait(throughout)
    minutes, weights = (time.monotonic() - began) / 60, sorted(map(str, OUT.rglob("*.safetensors")))
    print(f"{minutes:.1f} minutes; {', '.join(weights)}")


def recipe(name: str, *options: object) -> list[str]:
    """Return the command of a recipe."""
    return [sys.executable, str(RECIPES / f"{name}.py"), *map(str, options)]


def detector(args: argparse.Namespace) -> list[str]:
    """Return the command of the detector's training."""
    minutes = round(args.minutes - 2 * STARTING, 3)
    options = ["--out", OUT / "person-nano", "--init", "person-nano", "--minutes", minutes, "--device", args.device]
    return recipe("person_nano", *options, "--side", 416, "--batch", 64, "--workers", max(args.workers // 3, 1))


def looks(args: argparse.Namespace) -> list[str]:
    """Return the command of the training of `reid-nano`; three workers spoil about 20 batches of 256 a second."""
    steps = round(10 * 60 * (args.minutes - 2 * STARTING))
    options = ["--data", args.data, "--out", OUT / "reid-nano", "--init", "--device", args.device]
    return recipe(
        "reid_nano", *options, "--batch", args.batch, "--steps", steps, "--workers", max(args.workers // 5, 1)
    )


def frame(model: str, args: argparse.Namespace, minutes: float) -> list[str]:
    """Return the command of the training of a backbone."""
    changes = {
        "init": model,
        "optim.warmup_steps": 300,
        "optim.ema": 0.999,
        "optim.batch": args.batch,
        "data.workers": max(args.workers // 3, 1),
        "save.validate_every": 8,
    }
    if not any(Path("runs/people").glob("*/taught.npy")):  # `travel.py` leaves them behind
        changes["optim.distil"] = 0
    return training(f"{model}-frame", args, minutes, changes, people())


def temporal(model: str, args: argparse.Namespace, minutes: float) -> list[str]:
    """Return the command of the training of a temporal part."""
    more = [
        {"kind": "crops", "path": "runs/nano/rendered", "weight": 4},
        {"kind": "videos", "path": "runs/ablation/data/train", "videos": "runs/ablation/data/clips", "weight": 4},
    ]
    changes = {
        "init": str(OUT / f"{model}-start.safetensors"),
        "init_backbone": False,
        "optim.warmup_steps": 100,
        "optim.batch": max(args.batch // 4, 1),
        "data.workers": max(args.workers // 3, 1),
        "save.validate_every": 2,
    }
    return training(model, args, minutes, changes, [*people(), *more])


def people() -> list[dict[str, object]]:
    """List the sets of people that are there."""
    folders = [name for name in FOLDERS if Path("runs/people", name, "labels.npz").is_file()]
    return [{"kind": "crops", "path": f"runs/people/{name}", "weight": WEIGHT.get(name, 1)} for name in folders]


def training(
    name: str, args: argparse.Namespace, minutes: float, changes: dict[str, object], sources: Sequence[object]
) -> list[str]:
    """Return the command of a training by the clock."""
    scored = {"kind": "coco", "path": str(args.data / "coco_persons/val.json")}
    temporal = not name.endswith("-frame")
    scored_sets = [scored | {"name": "clean", "moving": temporal}]
    if temporal:
        scored_sets.append(scored | {"name": "degraded", "degrade": True})
    changes = changes | {"optim.minutes": round(minutes, 3), "device": args.device, "data.train": sources}
    changes |= {"data.val": scored_sets, "threads": None, "save.every_minutes": 30}
    sets = [option for key, value in changes.items() for option in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "-m", "jmpose_cli.main", "train", name]
    return [*command, "--out", str(OUT / (name if not temporal else f"{name}-temporal")), *sets]


def temporal_start(model: str) -> list[str]:
    """Return the command that puts the shipped temporal part on the backbone just trained."""
    trained = OUT / f"{model}-frame/last.safetensors"
    return recipe(
        "temporal_start", "--frame", trained, "--temporal", model, "--out", OUT / f"{model}-start.safetensors"
    )


def start(name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process whose output goes into `<name>.log`."""
    print(f"{name}: {' '.join(command)}", flush=True)
    with (OUT / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended; one that failed is named, and the others go on."""
    for process in processes:
        if process.wait():
            print(f"failed ({process.returncode}): {' '.join(process.args)}", flush=True)


if __name__ == "__main__":
    main()
