"""Train the per-frame part of `nano` (backbone and initial heatmaps) from random weights.

`python models/recipes/nano_frame.py --data runs/nano/data --out runs/nano/frame --minutes 60`

The budget is time: half of it on 128x96 crops, where a step costs a quarter, then 192x144, then the full
256x192. A stopped run goes on from its last checkpoint (written every two minutes) by the same command.
"""

import argparse
import copy
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from augment import Labels, Occluder, colour, degrade, random_affine, warp, warp_labels
from jmpose.backbones import PyramidBackbone
from jmpose.keypoints import COCO17_HEAD
from torch.utils.data import DataLoader, Dataset

BODY, CHANNELS = "mobilenetv4_conv_small", 48
# Share of the budget at which each crop height ends, and its batch size.
PHASES = ((0.5, 128, 64), (0.75, 192, 48), (1.0, 256, 32))
STRIDE = 4
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 255


class Crops(Dataset):
    """Augmented crops `[H, W, 3]` uint8 with labels in crop pixels; COCO people come twice an epoch."""

    def __init__(self, folder: Path, *, height: int, epoch: int) -> None:
        self.patches = np.load(folder / "patches.npy", mmap_mode="r")
        stored = np.load(folder / "labels.npz")
        self.labels = [
            Labels(*row) for row in zip(stored["xy"], stored["weight"], stored["present"], strict=True)
        ]
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


def gaussian_targets(xy_crop: torch.Tensor, present: torch.Tensor, height: int) -> torch.Tensor:
    """Gaussians `[N, K, h, w]` of 2/64 of the heatmap's height, centred at sub-pixel positions."""
    h, w = height // STRIDE, height * 3 // 4 // STRIDE
    centre = (xy_crop + 0.5) / STRIDE - 0.5
    spread = 2 * (2 * h / 64) ** 2
    x = torch.exp(-((torch.arange(w) - centre[..., :1]) ** 2) / spread)
    y = torch.exp(-((torch.arange(h) - centre[..., 1:]) ** 2) / spread)
    return y[..., :, None] * x[..., None, :] * present[..., None, None]


def phase_at(share: float) -> tuple[int, int]:
    """Crop height and batch size when `share` of the budget is spent."""
    return next((height, batch) for end, height, batch in PHASES if share < end or end == 1.0)


class Run:
    """Everything that a checkpoint holds: network, its moving average, optimiser, time spent."""

    def __init__(self, out: Path, *, minutes: float, rate: float) -> None:
        self.path, self.budget_s, self.rate = out / "last.pt", minutes * 60, rate
        torch.manual_seed(0)
        self.net = PyramidBackbone(BODY, channels=CHANNELS, joints=len(COCO17_HEAD))
        self.net.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).requires_grad_(False).eval()
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate)
        self.step, self.epoch, self.spent_s = 0, 0, 0.0
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            for name in ("net", "average", "optimizer"):
                getattr(self, name).load_state_dict(state[name])
            self.step, self.epoch, self.spent_s = state["step"], state["epoch"], state["spent_s"]

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {n: getattr(self, n).state_dict() for n in ("net", "average", "optimizer")}
        partial = self.path.with_suffix(".partial")
        torch.save(state | {"step": self.step, "epoch": self.epoch, "spent_s": self.spent_s}, partial)
        os.replace(partial, self.path)

    def update(self, loss: torch.Tensor) -> None:
        """Take one optimiser step, cosine rate over the time budget, and move the average."""
        share = min(self.spent_s / self.budget_s, 1.0)
        rate = (
            self.rate * min((self.step + 1) / 300, 1.0) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True)
            for kept, new in pairs:
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)


def train(run: Run, data: Path) -> None:
    """Spend the rest of the time budget."""
    saved = time.monotonic()
    while run.spent_s < run.budget_s:
        height, batch = phase_at(run.spent_s / run.budget_s)
        crops = Crops(data, height=height, epoch=run.epoch)
        order = torch.Generator().manual_seed(run.epoch)
        loader = DataLoader(
            crops, batch, shuffle=True, generator=order, num_workers=1, prefetch_factor=4, drop_last=True
        )
        losses, started = [], time.monotonic()
        for images, xy, weight, present in loader:
            began = time.monotonic()
            inputs = ((images.permute(0, 3, 1, 2) - MEAN) / STD).contiguous(memory_format=torch.channels_last)
            targets = gaussian_targets(xy, present, height)
            heatmaps = run.net(inputs)[1]
            error = (heatmaps - targets).square().sum((2, 3)) * weight
            run.update(error.sum() / weight.sum() / (height / 256) ** 2)
            losses.append(float(error.detach().sum() / weight.sum()) / (height / 256) ** 2)
            run.spent_s += time.monotonic() - began
            if time.monotonic() - saved > 120:
                run.save()
                saved = time.monotonic()
            if run.spent_s >= run.budget_s or phase_at(run.spent_s / run.budget_s)[0] != height:
                break
        run.epoch += 1
        rate = len(losses) * batch / (time.monotonic() - started)
        print(
            f"epoch {run.epoch} step {run.step} height {height} loss {np.mean(losses):.3f} "
            f"{rate:.0f} crops/s {run.spent_s / 60:.1f} min",
            flush=True,
        )
    run.save()


def main() -> None:
    """Train, then leave `last.pt` for the temporal stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("runs/nano/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/frame"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    train(Run(args.out, minutes=args.minutes, rate=args.rate), args.data)


if __name__ == "__main__":
    main()
