"""Which part of the network brings what: ablation under one budget, several seeds.

`python benchmarks/experiments/ablation_data.py && python benchmarks/experiments/ablation.py`

First the backbone is trained on for a while at the size of the crops, for it must be good at what all stand on. Then
every variant trains the temporal part on the same frozen backbone, the same windows in the same order, the same number
of steps; only the parts named differ. All are scored on windows of people that no training data shows: pictures with
made-up motion, real video, the same video with motion blur, a rendered clip; as they are and degraded (occluders, blur,
noise). A stopped run is resumed by the same command; `--table` prints what is finished. Needs the crops of
`models/recipes`.

`--model hrnet-w32 --init WEIGHTS` compares what an HRNet alone has: the feature differences of all four stages, as the
paper's authors take them, with those of the last one.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

DATA = Path("runs/ablation/data")
PEOPLE = [{"kind": "crops", "path": f"runs/people/{name}"} for name in ("coco", "lsp", "boxes")]
SETS = {
    "coco moving": {"kind": "coco", "path": "../shared/data/coco_persons/val.json", "moving": True},
    "coco degraded": {"kind": "coco", "path": "../shared/data/coco_persons/val.json", "degrade": True},
    "bedroom": {"kind": "videos", "path": DATA / "val/sam2_bedroom-sharp"},
    "bedroom blurred": {"kind": "videos", "path": DATA / "val/sam2_bedroom-blurred"},
    "bedroom degraded": {"kind": "videos", "path": DATA / "val/sam2_bedroom-sharp", "degrade": True},
    "walk blurred": {"kind": "videos", "path": DATA / "val/sports2d_walk_occluded-blurred"},
    "walk degraded": {"kind": "videos", "path": DATA / "val/sports2d_walk_occluded-sharp", "degrade": True},
    "rendered degraded": {"kind": "videos", "path": DATA / "val/rendered-2000", "degrade": True},
}
CLEAN = ("coco moving", "bedroom")
GROUPS = {"clean": CLEAN, "spoilt": tuple(name for name in SETS if name not in CLEAN)}
NOTHING = {"motion": False, "joint_learner": False, "mutual_blocks": 0, "io_estimator": None, "head_context": "none"}
FLOW = NOTHING | {"motion": True}
LEARNER = FLOW | {"joint_learner": True}


@dataclass(frozen=True)
class Variant:
    """One row: its name, what differs from the model, and the row that it adds one thing to."""

    name: str
    change: dict[str, Any]
    after: str | None


VARIANTS = (
    Variant("single frame", NOTHING, None),
    Variant("+ motion flow", FLOW, "single frame"),
    Variant("+ CJL", LEARNER, "+ motion flow"),
    Variant("+ JMML, L=1", LEARNER | {"mutual_blocks": 1}, "+ CJL"),
    Variant("+ JMML, L=2", LEARNER | {"mutual_blocks": 2}, "+ CJL"),
    Variant("+ JMML, L=3", LEARNER | {"mutual_blocks": 3}, "+ CJL"),
    Variant("+ IO (L=2)", LEARNER | {"mutual_blocks": 2, "io_estimator": "bounds"}, "+ JMML, L=2"),
    Variant(
        "+ heatmaps to the head",
        LEARNER | {"mutual_blocks": 2, "io_estimator": "bounds", "head_context": "heatmaps"},
        "+ IO (L=2)",
    ),
)
STAGES = (
    Variant("last stage", {}, None),
    Variant("all 4 stages", {"motion_stages": 4}, "last stage"),
)
ROWS = {"nano": VARIANTS, "hrnet-w32": STAGES}


def main() -> None:
    """Train what is not finished, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--height", type=int, default=128, help="of the crops; the width is three quarters of it")
    parser.add_argument("--model", choices=ROWS, default="nano")
    parser.add_argument("--init", default="nano", help="weights that the backbone starts from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="print what is finished, train nothing")
    args = parser.parse_args()
    folder = args.out / "-".join([args.model] * (args.model != "nano") + [str(args.height), str(args.steps)])
    folder.mkdir(parents=True, exist_ok=True)
    if not args.table:
        run(folder / "backbone", backbone_settings(args), args)
        for seed in args.seeds:
            for row, variant in enumerate(ROWS[args.model]):
                run(folder / f"{row}-seed{seed}", settings(variant, seed, folder, args), args)
    print_tables(ROWS[args.model], folder, args.seeds)


def shared_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of all runs."""
    size = {"input_height": args.height, "input_width": args.height * 3 // 4}
    return {"model": args.model, "change": {"preprocess": size}, "threads": args.threads, "device": args.device}


def backbone_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the training configuration of the backbone that all variants stand on."""
    return shared_settings(args) | {
        "temporal": False,
        "init": args.init,
        "data": {
            "train": PEOPLE,
            "val": [{"kind": "coco", "path": "../shared/data/coco_persons/val.json"}],
            "workers": 1,
        },
        "augment": {"motion": 0},
        "optim": {"lr": 1.5e-3, "backbone_lr": 1.5e-3, "batch": 32, "epochs": 5},
        "save": {"best_by": "pck"},
    }


def settings(variant: Variant, seed: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the training configuration of one run."""
    shared = shared_settings(args)
    return shared | {
        "change": shared["change"] | variant.change,
        "init": str(folder / "backbone/last.safetensors"),
        "init_backbone": True,
        "seed": seed,
        "data": {
            "train": [
                *PEOPLE,
                {"kind": "crops", "path": "runs/nano/rendered"},
                {"kind": "videos", "path": str(DATA / "train"), "videos": str(DATA / "clips")},
            ],
            "val": [
                {"name": name, **({"videos": str(DATA / "clips")} if value["kind"] == "videos" else {}), **value}
                | {"path": str(value["path"])}
                for name, value in SETS.items()
            ],
            "workers": 1,
            "cache": "runs/ablation/frames",
        },
        "augment": {"degrade": 0.75},
        "optim": {"lr": 1.5e-3, "batch": 16, "epochs": 100, "steps": args.steps, "warmup_steps": 100},
        "save": {"validate_every": 1000},
    }


def run(out: Path, given: dict[str, Any], args: argparse.Namespace) -> None:
    """Train, unless it is finished."""
    if (out / "last.safetensors").is_file():
        return
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(given))
    command = [sys.executable, "-m", "jmpose_cli.main", "train", str(config), "--out", str(out)]
    command += ["--resume"] * (out / "config.yaml").is_file()
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    subprocess.run(command, check=True, env=environment)


def finished(out: Path) -> dict[str, tuple[float, float]] | None:
    """PCK of the final and the initial heatmaps by set, once a run is finished."""
    if not (out / "last.safetensors").is_file():
        return None
    last = json.loads((out / "validation.jsonl").read_text().splitlines()[-1])
    return {s["label"]: (s["final"], s["initial"]) for s in last["scores"] if s["metric"] == "PCK@0.1"}


def print_tables(rows: tuple[Variant, ...], folder: Path, seeds: list[int]) -> None:
    """Print means over the sets of a group: gain over the initial heatmaps, and paired differences between rows."""
    gains: dict[str, dict[int, dict[str, float]]] = {}
    initial: dict[str, float] = {}
    for row, variant in enumerate(rows):
        for seed in seeds:
            scores = finished(folder / f"{row}-seed{seed}")
            if scores is not None:
                gains.setdefault(variant.name, {})[seed] = {name: f - i for name, (f, i) in scores.items()}
                initial = {name: i for name, (_, i) in scores.items()}
    if not gains:
        print("no run is finished")
        return
    print("PCK@0.1 of the initial heatmaps, per cent: " + ", ".join(f"{n} {v:.1f}" for n, v in initial.items()))
    for group, names in (*GROUPS.items(), *((name, (name,)) for name in SETS)):
        print(f"\n{group}: gain in PCK@0.1 over the initial heatmaps, points")
        print(f"{'':24}{'mean':>8}{'sd':>8}{'seeds':>7}   against the row it adds to: mean, sd of paired differences")
        for variant in rows:
            if variant.name in gains:
                print_row(variant, {v: {s: mean(g, names) for s, g in by.items()} for v, by in gains.items()})


def print_row(variant: Variant, of: dict[str, dict[int, float]]) -> None:
    """Print one row; `of` has each variant's gain by seed."""
    mine = of[variant.name]
    values = np.array(list(mine.values()))
    line = f"{variant.name:24}{values.mean():8.2f}{spread(values):8.2f}{len(values):7}"
    if variant.after in of:
        before = of[variant.after]
        apart = np.array([mine[seed] - before[seed] for seed in mine if seed in before])
        if len(apart):
            line += f"   {apart.mean():+.2f} +- {spread(apart):.2f} ({variant.after})"
    print(line)


def mean(gains: dict[str, float], names: tuple[str, ...]) -> float:
    """Mean over the sets of a group."""
    return float(np.mean([gains[name] for name in names]))


def spread(values: np.ndarray) -> float:
    """Standard deviation over seeds; not known of one."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
