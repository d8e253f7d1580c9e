"""Which part of the network brings what: ablation under one budget, several seeds.

`python benchmarks/experiments/ablation_data.py && python benchmarks/experiments/ablation.py`, then `--table`.

First the backbone is trained on for a while at the size of the crops, for it must be good at what all stand on;
`--backbone nano` takes a finished one instead. Then every variant trains the temporal part on the same frozen backbone,
the same windows in the same order, the same number of steps; only the parts named differ. Those of one seed are trained
side by side: each batch is loaded once and goes through the backbone once; the steps are those of `jmpose train`. All
are scored on windows of people that no training data shows: pictures with made-up motion, real video, the same video
with motion blur, a rendered clip; as they are and degraded (occluders, blur, noise).

The parts come twice: with the paper's starts, and starting as identities (`identity_blocks`). What is finished is not
trained again. On a GPU, seeds and starts are best several processes with the same `--out`; without `--backbone`, train
the backbone before (`--seeds` without a number). Training data are those of `models/configs/nano.yaml`, made by
`models/recipes`.

`--model hrnet-w32 --init WEIGHTS` compares what an HRNet alone has: the feature differences of all four stages, as the
paper's authors take them, with those of the last one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import Tensor, nn

from jmpose_cli.data.mixture import Batch, Draw
from jmpose_cli.files import write_whole
from jmpose_cli.training.config import CONFIG_FOLDER, TrainConfig
from jmpose_cli.training.fit import train_step
from jmpose_cli.training.loader import batches
from jmpose_cli.training.prepare import Run, prepare
from jmpose_cli.training.validate import OUTPUTS, Located, correct_share, locate

DATA = Path("runs/ablation/data")
TRAINING = yaml.safe_load((CONFIG_FOLDER / "nano.yaml").read_text())["data"]["train"]
PEOPLE = [source for source in TRAINING if source["path"].startswith("runs/people/")]
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
VALIDATION_BATCH = 64
REPORT_EVERY = 50  # steps
NOTHING = {
    "motion": False,
    "joint_learner": False,
    "mutual_blocks": 0,
    "io_estimator": None,
    "head_context": "none",
    "identity_blocks": False,
}
FLOW = NOTHING | {"motion": True}
STARTS = {"paper": "", "identity": ", identity"}


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        name: In tables.
        change: What differs from the model.
        after: The row that it adds one thing to; None for the first.
        io_grows: Whether the weight of information orthogonality grows in the first half of the training.
    """

    name: str
    change: dict[str, Any]
    after: str | None
    io_grows: bool = False


def parts(start: str) -> tuple[Variant, ...]:
    """Rows that add the parts after the motion flow one by one, with one kind of start."""
    suffix, learner = STARTS[start], FLOW | {"joint_learner": True, "identity_blocks": start == "identity"}
    two = learner | {"mutual_blocks": 2}
    io = two | {"io_estimator": "bounds"}
    names = ("+ CJL", "+ JMML, L={}", "+ IO (L=2)", "+ heatmaps to the head (L=2)")
    cjl, jmml, io_name, heatmaps = (f"{name}{suffix}" for name in names)
    grows = Variant("+ IO that grows (L=2), identity", io, jmml.format(2), io_grows=True)
    light = Variant("+ IO of a tenth (L=2), identity", io | {"io_weight": 0.001}, jmml.format(2), io_grows=True)
    return (
        Variant(cjl, learner, "+ motion flow"),
        *(Variant(jmml.format(blocks), learner | {"mutual_blocks": blocks}, cjl) for blocks in (1, 2, 3)),
        Variant(io_name, io, jmml.format(2)),
        *[grows, light] * (start == "identity"),
        Variant(heatmaps, two | {"head_context": "heatmaps"}, jmml.format(2)),
        Variant(f"+ IO beside heatmaps{suffix}", io | {"head_context": "heatmaps"}, heatmaps),
    )


COMMON = (Variant("single frame", NOTHING, None), Variant("+ motion flow", FLOW, "single frame"))
STAGES = (
    Variant("last stage", {}, None),
    Variant("all 4 stages", {"motion_stages": 4}, "last stage"),
)
ROWS = {
    "nano": {"paper": (*COMMON, *parts("paper")), "identity": parts("identity")},
    "hrnet-w32": {"paper": STAGES, "identity": ()},
}


def main() -> None:
    """Train what is not finished, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--starts", choices=STARTS, nargs="+", default=list(STARTS), help="rows to train")
    parser.add_argument("--rows", nargs="+", help="train only those of these names")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--height", type=int, default=128, help="of the crops; the width is three quarters of it")
    parser.add_argument("--model", choices=ROWS, default="nano")
    parser.add_argument("--init", default="nano", help="weights that the training of the backbone starts from")
    parser.add_argument("--backbone-minutes", type=float, help="to train it for, in place of five epochs")
    parser.add_argument("--backbone", help="weights whose backbone is taken as it is: a shipped name or a file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that load windows")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", help="as of `jmpose train`; fp32 has fewer kernels to launch")
    parser.add_argument("--table", action="store_true", help="print what is finished, train nothing")
    args = parser.parse_args()
    ready = [Path(args.backbone).stem] if args.backbone else []
    folder = args.out / "-".join([args.model] * (args.model != "nano") + [str(args.height), str(args.steps), *ready])
    rows = ROWS[args.model]
    if args.table:
        print_tables((*rows["paper"], *rows["identity"]), folder, args.seeds)
        return
    folder.mkdir(parents=True, exist_ok=True)
    backbone = args.backbone or str(train_backbone(folder / "backbone", args))
    for seed in args.seeds:
        chosen = [row for start in STARTS if start in args.starts for row in rows[start]]
        wanted = [row for row in chosen if not args.rows or row.name in args.rows]
        left = [row for row in wanted if not scores_file(folder, row, seed).is_file()]
        if left:
            train_seed(left, seed, backbone, folder, args)


def shared_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of all runs."""
    size = {"input_height": args.height, "input_width": args.height * 3 // 4}
    return {
        "model": args.model,
        "change": {"preprocess": size},
        "precision": args.precision,
        "threads": args.threads,
        "device": args.device,
    }


def backbone_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the training configuration of the backbone that all variants stand on."""
    return shared_settings(args) | {
        "temporal": False,
        "init": args.init,
        "data": {
            "train": PEOPLE,
            "val": [{"kind": "coco", "path": "../shared/data/coco_persons/val.json"}],
            "workers": args.workers,
        },
        "augment": {"motion": 0},
        "optim": {
            "lr": 6e-4,
            "backbone_lr": 3e-4,
            "batch": 32,
            **({"minutes": args.backbone_minutes} if args.backbone_minutes else {"epochs": 5}),
        },
        "save": {"best_by": "pck"},
    }


def settings(variant: Variant, seed: int, backbone: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the training configuration of one run."""
    shared = shared_settings(args)
    return shared | {
        "change": shared["change"] | variant.change,
        "init": backbone,
        "init_backbone": True,
        "seed": seed,
        "data": {
            "train": TRAINING,
            "val": [
                {"name": name, **({"videos": str(DATA / "clips")} if value["kind"] == "videos" else {}), **value}
                | {"path": str(value["path"])}
                for name, value in SETS.items()
            ],
            "workers": args.workers,
            "cache": "runs/ablation/frames",
        },
        "augment": {"degrade": 0.75},
        "optim": {
            "lr": 1.5e-3,
            "batch": 16,
            "epochs": 100,
            "steps": args.steps,
            "warmup_steps": 100,
            "io_warmup_steps": args.steps // 2 if variant.io_grows else 0,
        },
    }


def train_backbone(out: Path, args: argparse.Namespace) -> Path:
    """Train the backbone, unless that is done; return its weights."""
    weights = out / "last.safetensors"
    if not weights.is_file():
        config = out.with_suffix(".yaml")
        config.write_text(yaml.safe_dump(backbone_settings(args)))
        command = [sys.executable, "-m", "jmpose_cli.main", "train", str(config), "--out", str(out)]
        command += ["--resume"] * (out / "config.yaml").is_file()
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        subprocess.run(command, check=True, env=environment)
    return weights


class SharedBackbone(nn.Module):
    """A frozen backbone in several networks that see the same batches: it runs once a batch.

    Args:
        real: The backbone; it is not a submodule, so that each network counts only what is its own.
    """

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_real", real)
        self._stages: list[Tensor] | None = None
        self._heatmaps: Tensor | None = None

    def next_batch(self) -> None:
        """Forget the last batch."""
        self._stages = self._heatmaps = None

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Features of this batch, as `Backbone.stage_features` gives them."""
        if self._stages is None:
            self._stages = self._real.stage_features(images)
        return self._stages

    def heatmap_head(self, features: Tensor) -> Tensor:
        """Heatmaps of this batch."""
        if self._heatmaps is None:
            self._heatmaps = self._real.heatmap_head(features)
        return self._heatmaps


@dataclass
class Together:
    """Runs with the same data, crops, seed and frozen backbone, a batch at a time.

    Args:
        runs: As `prepare` gives them, at their beginning, an optimiser step a batch.
    """

    runs: Sequence[Run]
    backbone: SharedBackbone = field(init=False)

    def __post_init__(self) -> None:
        self.backbone = SharedBackbone(self.runs[0].model.backbone)
        for run in self.runs:
            run.model.backbone = run.average.module.backbone = self.backbone
            run.trainee.train()

    def train(self, say: str = "") -> None:
        """Train all to the end."""
        first, began = self.runs[0], time.monotonic()
        while not first.is_done:
            device = first.fabric.device
            loaded = batches(
                first.data.train, first.draws(), workers=first.config.data.workers, pin=device.type == "cuda"
            )
            for batch in loaded:
                losses = self.step(batch.to(device))
                step = first.position.step
                if step % REPORT_EVERY == 0 or step == first.total_steps:
                    passed = f"{time.monotonic() - began:.0f} s"
                    print(f"{say}step {step} of {first.total_steps}, {passed}, loss {mean(losses):.4f}", flush=True)
            for run in self.runs:
                run.position.epoch, run.position.batch = run.position.epoch + 1, 0

    def step(self, batch: Batch) -> list[float]:
        """Take a step with each; return the losses of their heatmaps."""
        self.backbone.next_batch()
        return [train_step(run, iter([batch])).losses["heatmap"] for run in self.runs]

    def scores(self) -> list[dict[str, tuple[float, float]]]:
        """PCK of the final and the initial heatmaps by set, of each run."""
        first = self.runs[0]
        found: list[dict[str, tuple[float, float]]] = [{} for _ in self.runs]
        height = first.model.config.preprocess.input_height
        for chosen in first.data.validation:
            numbers = range(len(chosen.windows))
            draws = [
                [Draw(0, i, i, height) for i in numbers[at : at + VALIDATION_BATCH]]
                for at in numbers[::VALIDATION_BATCH]
            ]
            located: list[list[Located]] = [[] for _ in self.runs]
            with first.fabric.autocast():
                for batch in batches(chosen.windows, draws, workers=first.config.data.workers, pin=False):
                    self.backbone.next_batch()
                    moved = batch.to(first.fabric.device)
                    for mine, run in zip(located, self.runs, strict=True):
                        mine.append(locate(run.average.module, moved)[0])
            for scores, mine in zip(found, located, strict=True):
                samples, xy = np.concatenate([m.samples for m in mine]), np.concatenate([m.xy for m in mine], 1)
                final, initial = (correct_share(chosen, samples, xy[o]) for o in range(len(OUTPUTS)))
                scores[chosen.label] = final, initial
        return found


def prepared(rows: Sequence[Variant], seed: int, backbone: str, folder: Path, args: argparse.Namespace) -> list[Run]:
    """Prepare variants with the data and the arithmetic of the first; asked again, "auto" may decide otherwise."""
    runs: list[Run] = []
    for row in rows:
        config = TrainConfig.model_validate(settings(row, seed, backbone, args))
        if runs:
            config = config.model_copy(update={"precision": runs[0].arithmetic.name})
        runs.append(prepare(config, folder, resume=False, data=runs[0].data if runs else None))
    return runs


def train_seed(rows: Sequence[Variant], seed: int, backbone: str, folder: Path, args: argparse.Namespace) -> None:
    """Train some variants side by side and keep their scores."""
    began, runs = time.monotonic(), prepared(rows, seed, backbone, folder, args)
    together, say = Together(runs), f"seed {seed}: "
    about = f"{len(rows)} variants, {runs[0].fabric.device}, {runs[0].arithmetic.name}"
    print(f"{say}{about}, ready after {time.monotonic() - began:.0f} s", flush=True)
    together.train(say)
    for row, run, scores in zip(rows, runs, together.scores(), strict=True):
        content = {"row": row.name, "settings": run.config.model_dump(mode="json"), "scores": scores}
        content |= {"arithmetic": run.arithmetic.name, "device": str(run.fabric.device)}
        write_whole(scores_file(folder, row, seed), json.dumps(content, indent=1).encode())
    print(f"{say}scored, {time.monotonic() - began:.0f} s in all", flush=True)


def scores_file(folder: Path, row: Variant, seed: int) -> Path:
    """Where the scores of a finished run are."""
    return folder / f"{re.sub('[^a-z0-9]+', '-', row.name.lower()).strip('-')}-seed{seed}.json"


def finished(file: Path) -> dict[str, tuple[float, float]] | None:
    """PCK of the final and the initial heatmaps by set, once a run is finished."""
    return {n: (f, i) for n, (f, i) in json.loads(file.read_text())["scores"].items()} if file.is_file() else None


def print_tables(rows: Sequence[Variant], folder: Path, seeds: Sequence[int]) -> None:
    """Print gains over the initial heatmaps and paired differences between rows: of groups of sets, then by set."""
    gains: dict[str, dict[int, dict[str, float]]] = {}
    initial: dict[str, float] = {}
    for variant in rows:
        for seed in seeds:
            scores = finished(scores_file(folder, variant, seed))
            if scores is not None:
                gains.setdefault(variant.name, {})[seed] = {name: f - i for name, (f, i) in scores.items()}
                initial = {name: i for name, (_, i) in scores.items()}
    if not gains:
        print("no run is finished")
        return
    print("PCK@0.1 of the initial heatmaps, per cent: " + ", ".join(f"{n} {v:.1f}" for n, v in initial.items()))
    for group, names in GROUPS.items():
        print(f"\n{group}: gain in PCK@0.1 over the initial heatmaps, points")
        print(f"{'':40}{'mean':>8}{'sd':>8}{'seeds':>7}   against the row it adds to: mean, sd of paired differences")
        for variant in rows:
            if variant.name in gains:
                print_row(variant, {v: {s: of_group(g, names) for s, g in by.items()} for v, by in gains.items()})
    print("\nwhere each part helps: paired differences to the row it adds to, points, mean and sd over the seeds")
    print(f"{'':40}" + "".join(f"{name:>19}" for name in SETS))
    for variant in rows:
        if variant.name in gains and variant.after in gains:
            by_set = [{v: {s: g[name] for s, g in by.items()} for v, by in gains.items()} for name in SETS]
            cells = [show(differences(variant, of)) for of in by_set]
            print(f"{variant.name:40}" + "".join(f"{cell:>19}" for cell in cells))


def print_row(variant: Variant, of: Mapping[str, Mapping[int, float]]) -> None:
    """Print one row; `of` has each variant's gain by seed."""
    values = np.array(list(of[variant.name].values()))
    line = f"{variant.name:40}{values.mean():8.2f}{spread(values):8.2f}{len(values):7}"
    apart = differences(variant, of)
    print(line + f"   {show(apart)} ({variant.after})" * bool(len(apart)))


def differences(variant: Variant, of: Mapping[str, Mapping[int, float]]) -> np.ndarray:
    """Difference to the row that a variant adds to, for each seed that both have."""
    mine, before = of[variant.name], of.get(variant.after or "", {})
    return np.array([mine[seed] - before[seed] for seed in mine if seed in before])


def show(values: np.ndarray) -> str:
    """Mean and spread."""
    return f"{values.mean():+.2f} +- {spread(values):.2f}" if len(values) else "-"


def of_group(gains: Mapping[str, float], names: Sequence[str]) -> float:
    """Mean over the sets of a group."""
    return mean([gains[name] for name in names])


def mean(values: Sequence[float]) -> float:
    """Mean."""
    return float(np.mean(values))


def spread(values: np.ndarray) -> float:
    """Standard deviation over seeds; not known of one."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
