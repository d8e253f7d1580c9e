"""Train the per-frame part of `nano` (backbone and initial heatmaps) from random weights.

`python models/recipes/nano_frame.py --data runs/nano/data --out runs/nano/frame --minutes 60`

The budget is time: half of it on 128x96 crops, where a step costs a quarter, then 192x144, then the full
256x192. A stopped run goes on from its last checkpoint (written every two minutes) by the same command.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from augment import Labels, Occluder, colour, degrade, random_affine, warp, warp_labels
from jmpose.config import CONFIGS, STRIDE
from jmpose.losses import heatmap_loss
from jmpose.network import build_model
from jmpose.sampling import normalise
from jmpose.targets import gaussian_targets
from timed_run import TimedRun

NANO = CONFIGS["nano"]
# Share of the budget at which each crop height ends, and its batch size.
PHASES = ((0.5, 128, 64), (0.75, 192, 48), (1.0, 256, 32))


class Crops(Dataset):
    """Augmented crops `[H, W, 3]` uint8 with labels in crop pixels; COCO people come twice an epoch."""

    def __init__(self, folder: Path, *, height: int, epoch: int) -> None:
        self.patches = np.load(folder / "patches.npy", mmap_mode="r")
        stored = np.load(folder / "labels.npz")
        self.labels = [Labels(*row) for row in zip(stored["xy"], stored["weight"], stored["present"], strict=True)]
        usable = np.flatnonzero((stored["weight"] * stored["present"] > 0).sum(1) >= 3)
        self.rows = np.concatenate([usable, usable[stored["source"][usable] == "coco"]])
        self.height, self.epoch = height, epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.epoch, item))
        row = self.rows[item]
        patch, labels = self.patches[row], self.labels[row]
        affine = random_affine(rng, labels, patch.shape[:2], self.height)
        crop, moved = warp(patch, affine, self.height), warp_labels(labels, affine, self.height)
        crop = colour(rng)(crop)
        if rng.random() < 0.3:
            other = self.patches[self.rows[rng.integers(len(self.rows))]]
            centre = rng.uniform(0, [self.height * 3 // 4, self.height])
            crop = Occluder.draw(rng, other, self.height, 0.3).paste(crop, centre)
        if rng.random() < 0.35:
            crop = degrade(rng, crop, 0.7)
        return crop, moved.xy, moved.weight, moved.present


def phase_at(share: float) -> tuple[int, int]:
    """Crop height and batch size when `share` of the budget is spent."""
    return next((height, batch) for end, height, batch in PHASES if share < end or end == 1.0)


def train(run: TimedRun, data: Path) -> None:
    """Spend the rest of the time budget."""
    while run.share < 1:
        height, batch = phase_at(run.share)
        crops = Crops(data, height=height, epoch=run.epoch)
        order = torch.Generator().manual_seed(run.epoch)
        loader = DataLoader(
            crops, batch, shuffle=True, generator=order, num_workers=1, prefetch_factor=4, drop_last=True
        )
        losses, started = [], time.monotonic()
        for images, xy, weight, present in loader:
            began = time.monotonic()
            inputs = normalise(images.permute(0, 3, 1, 2).float(), NANO.preprocess)
            size, sigma = (height // STRIDE, height * 3 // 4 // STRIDE), NANO.preprocess.heatmap_sigma * height / 256
            targets = gaussian_targets(xy, present, heatmap_size=size, sigma=sigma)
            heatmaps = run.net(inputs.contiguous(memory_format=torch.channels_last))[1]
            loss = heatmap_loss(heatmaps, targets, weight, sigma=sigma)
            run.update(loss)
            losses.append(float(loss.detach()))
            run.spend(time.monotonic() - began)
            if run.share >= 1 or phase_at(run.share)[0] != height:
                break
        run.epoch += 1
        rate = len(losses) * batch / (time.monotonic() - started)
        print(
            f"epoch {run.epoch} step {run.step} height {height} loss {np.mean(losses):.4f} "
            f"{rate:.0f} crops/s {run.spent_s / 60:.1f} min",
            flush=True,
        )
    run.save()


def main() -> None:
    """Train, then leave `last.pt` for the temporal stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/nano/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/frame"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net = build_model(NANO).backbone.to(memory_format=torch.channels_last)
    train(TimedRun(net, args.out / "last.pt", minutes=args.minutes, rate=args.rate), args.data)


if __name__ == "__main__":
    main()
