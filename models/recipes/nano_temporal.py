"""Train the temporal part of `nano` on its finished per-frame part, and write the weights.

`python models/recipes/nano_temporal.py --frame runs/nano/frame/last.pt --out runs/nano/temporal --minutes 30`

Windows come from two sources: patches of real people, moved by a smooth affine motion, and windows of rendered
scenes (`nano_render.py`), where limbs move too. Three in four are degraded, the key frame most: blur
along the motion, defocus, moving occluders, low resolution, noise in the dark. The backbone stays fixed. At the end
`nano.safetensors` and `nano.json` are written, and PCK on windows made from `coco_persons/val` is printed, clean and
degraded, for the initial heatmaps (one frame) and the final ones (the window).
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from augment import ColourChange, Labels, Occluder, colour, motion_blur, random_affine, warp, warp_labels
from jmpose.config import CONFIGS
from jmpose.decoding import decode_dark
from jmpose.losses import JMPoseLoss, heatmap_loss
from jmpose.network import JMPose, build_model
from jmpose.sampling import normalise
from jmpose.targets import gaussian_targets, heatmap_to_crop
from jmpose.weights import save_model
from nano_data import PATCH_HEIGHT, PATCH_WIDTH, coco_people, patch_to_image
from timed_run import TimedRun

NANO = CONFIGS["nano"]
HEIGHT, WIDTH = NANO.preprocess.input_height, NANO.preprocess.input_width
TIMES = (-1, 0, 1)  # of the window's frames, in units of its spacing
KEY = NANO.preprocess.key_index
RENDERED_SHARE = 0.4
Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Motion:
    """Smooth motion of a whole picture: pixels, radians and log scale per step, and the change of the shift."""

    shift: np.ndarray
    bend: np.ndarray
    turn: float
    zoom: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Motion":
        """Draw a motion, half of them slow."""
        size = HEIGHT * rng.choice([0.008, 0.035])
        return cls(rng.normal(0, size, 2), rng.normal(0, size / 4, 2), rng.normal(0, 0.04), rng.normal(0, 0.02))

    def affine(self, time_step: float) -> np.ndarray:
        """Affine `[3, 3]` in crop pixels that moves the key frame's content to its place at `time_step`."""
        angle, scale = self.turn * time_step, np.exp(self.zoom * time_step)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        centre = np.array([WIDTH - 1, HEIGHT - 1]) / 2
        shift = self.shift * time_step + self.bend * time_step**2
        return np.block([[linear, (centre + shift - linear @ centre)[:, None]], [np.zeros((1, 2)), np.ones((1, 1))]])


def degrade_window(
    rng: np.random.Generator, crops: list[np.ndarray], motion: Motion, joints: np.ndarray, other: np.ndarray
) -> list[np.ndarray]:
    """Degrade the crops of a window in one or two ways, the key frame fully and its neighbours by chance less."""
    share = [1.0 if t == 0 else float(rng.random()) for t in TIMES]
    for kind in rng.choice(5, size=1 + int(rng.random() < 0.3), replace=False):
        strength = rng.uniform(0.25, 1.0)
        if kind == 0:
            angle = np.arctan2(motion.shift[1], motion.shift[0])
            crops = [motion_blur(c, HEIGHT * 0.14 * strength * s, angle) for c, s in zip(crops, share, strict=True)]
        elif kind == 1:
            crops = [
                cv2.GaussianBlur(c, (0, 0), HEIGHT * (0.002 + 0.03 * strength * s))
                for c, s in zip(crops, share, strict=True)
            ]
        elif kind == 2:
            shape = Occluder.draw(rng, other, HEIGHT, 0.25 + 0.3 * strength)
            at = joints[rng.integers(len(joints))] if len(joints) else rng.uniform(0, [WIDTH, HEIGHT])
            speed = rng.normal(0, HEIGHT * 0.2, 2)
            crops = [shape.paste(c, at + speed * t) for c, t in zip(crops, TIMES, strict=True)]
        elif kind == 3:
            factor = 1 / (1.5 + 5 * strength)
            crops = [
                cv2.resize(cv2.resize(c, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), (WIDTH, HEIGHT))
                for c in crops
            ]
        else:
            dark, grain = 1 - 0.7 * strength, 4 + 26 * strength
            crops = [np.clip(c * dark + rng.normal(0, grain, c.shape), 0, 255).astype(np.uint8) for c in crops]
    return crops


class WindowSet(Dataset):
    """Training windows `[T, H, W, 3]` uint8, which frames exist `[T]`, and the key frame's labels."""

    def __init__(self, patches: Path, rendered: Path, *, epoch: int) -> None:
        self.patches = np.load(patches / "patches.npy", mmap_mode="r")
        stored = np.load(patches / "labels.npz")
        self.labels = [Labels(*row) for row in zip(stored["xy"], stored["weight"], stored["present"], strict=True)]
        self.rows = np.flatnonzero((stored["weight"] * stored["present"] > 0).sum(1) >= 5)
        scenes = [np.load(path) for path in sorted(rendered.glob("scene-???.npz"))]
        self.rendered = [
            window for s in scenes for window in zip(s["pictures"], s["joints"], s["visible"], strict=True)
        ]
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> Sample:
        rng = np.random.default_rng((1, self.epoch, item))
        other = self.patches[self.rows[rng.integers(len(self.rows))]]
        if self.rendered and rng.random() < RENDERED_SHARE:
            pictures, joints, visible = self.rendered[rng.integers(len(self.rendered))]
            labels = Labels(joints, 0.3 + 0.7 * visible, np.ones(len(joints), np.float32))
            motion = Motion(rng.normal(0, 1, 2), np.zeros(2), 0.0, 0.0)
        else:
            patch, labels = self.patches[self.rows[item]], self.labels[self.rows[item]]
            pictures, motion = [patch] * len(TIMES), Motion.draw(rng)
        return make_window(rng, pictures, labels, motion, other, degraded=rng.random() < 0.75)


def make_window(
    rng: np.random.Generator,
    pictures: list[np.ndarray],
    labels: Labels,
    motion: Motion,
    other: np.ndarray,
    *,
    degraded: bool,
    augmented: bool = True,
) -> Sample:
    """Build one window: `pictures` of T times, moved by `motion`, recoloured, degraded."""
    if augmented:
        affine = random_affine(rng, labels, pictures[0].shape[:2], HEIGHT)
    else:
        edge = (np.array([PATCH_WIDTH, PATCH_HEIGHT]) - np.array([WIDTH, HEIGHT])) / 2
        affine = np.array([[1, 0, -edge[0]], [0, 1, -edge[1]]])
    change: ColourChange | None = colour(rng) if augmented else None
    crops = [
        warp(picture, (motion.affine(t) @ np.vstack([affine, [0, 0, 1]]))[:2], HEIGHT)
        for picture, t in zip(pictures, TIMES, strict=True)
    ]
    if change:
        crops = [change(crop) for crop in crops]
    moved = warp_labels(labels, affine, HEIGHT)
    if degraded:
        crops = degrade_window(rng, crops, motion, moved.xy[(moved.weight > 0) & (moved.present > 0)], other)
    exists = np.ones(len(TIMES), bool)
    if augmented and rng.random() < 0.15:  # starts and ends of tracks
        side = 0 if rng.random() < 0.5 else len(TIMES) - 1
        crops[side], exists[side] = crops[KEY], False
    return np.stack(crops), exists, moved.xy, moved.weight.astype(np.float32), moved.present.astype(np.float32)


def train(run: TimedRun, loss_of: JMPoseLoss, patches: Path, rendered: Path, batch: int) -> None:
    """Spend the rest of the time budget."""
    while run.share < 1:
        windows = WindowSet(patches, rendered, epoch=run.epoch)
        order = torch.Generator().manual_seed(run.epoch)
        loader = DataLoader(windows, batch, shuffle=True, generator=order, num_workers=1, drop_last=True)
        sums, started, count = np.zeros(3), time.monotonic(), 0
        for crops, exists, xy, weight, present in loader:
            began = time.monotonic()
            output = run.net(normalised(crops), exists)
            targets = gaussian_targets(
                xy, present, heatmap_size=NANO.preprocess.heatmap_size, sigma=NANO.preprocess.heatmap_sigma
            )
            terms = loss_of(output, targets, weight)
            run.update(terms.total)
            before = heatmap_loss(output.initial_key, targets, weight, sigma=loss_of.sigma)
            sums += [float(value.detach()) for value in (before, terms.heatmap, terms.information)]
            count += 1
            run.spend(time.monotonic() - began)
            if run.share >= 1:
                break
        run.epoch += 1
        before_mean, after_mean, information = sums / count
        rate = count * batch / (time.monotonic() - started)
        print(
            f"epoch {run.epoch} step {run.step} loss initial {before_mean:.4f} final {after_mean:.4f} "
            f"information {information:.3f} {rate:.0f} windows/s {run.spent_s / 60:.1f} min",
            flush=True,
        )
    run.save()


def normalised(crops: torch.Tensor) -> torch.Tensor:
    """Turn crops `[B, T, H, W, 3]` uint8 into the network's input `[B, T, 3, H, W]`."""
    flat = crops.flatten(0, 1).permute(0, 3, 1, 2).float()
    inputs = normalise(flat, NANO.preprocess).contiguous(memory_format=torch.channels_last)
    return inputs.unflatten(0, crops.shape[:2])


def validation_windows(data: Path, *, degraded: bool) -> list[tuple[Sample, float]]:
    """Make one window of each annotated person of `coco_persons/val`, with the box's size in crop pixels."""
    people = [p for p in coco_people(data, "val") if len(p.joints) >= 5]
    made, previous = [], np.zeros((PATCH_HEIGHT, PATCH_WIDTH, 3), np.uint8)
    for number, person in enumerate(people):
        rng = np.random.default_rng((2, number))
        image = cv2.cvtColor(cv2.imread(str(person.image)), cv2.COLOR_BGR2RGB)
        affine, flags = patch_to_image(person.box_xywh), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        patch = cv2.warpAffine(image, affine, (PATCH_WIDTH, PATCH_HEIGHT), flags=flags)
        joints = np.zeros((len(NANO.preprocess.keypoints), 2))
        labelled = np.zeros(len(joints))
        for name, xy in person.joints.items():
            joint = NANO.preprocess.keypoints.joints.index(name)
            joints[joint], labelled[joint] = (np.array(xy) - affine[:, 2]) / affine[0, 0], 1
        labels = Labels(joints, labelled, labelled)
        motion = Motion.draw(rng)
        sample = make_window(rng, [patch] * len(TIMES), labels, motion, previous, degraded=degraded, augmented=False)
        size = float(np.sqrt(person.box_xywh[2] * person.box_xywh[3])) / affine[0, 0]
        made.append((sample, size))
        previous = patch
    return made


@torch.inference_mode()
def correct_share(model: JMPose, windows: list[tuple[Sample, float]]) -> tuple[float, float]:
    """PCK@0.1 of the root of the box area, for initial and for final heatmaps."""
    right, total = np.zeros(2), 0.0
    for (crops, exists, xy, weight, _), size in windows:
        output = model(normalised(torch.from_numpy(crops)[None]), torch.from_numpy(exists)[None])
        for which, heatmaps in enumerate((output.initial_key, output.heatmaps)):
            located, _ = decode_dark(heatmaps, sigma=NANO.preprocess.heatmap_sigma)
            found = heatmap_to_crop(located)[0].numpy()
            right[which] += (np.linalg.norm(found - xy, axis=1) < 0.1 * size)[weight > 0].sum()
        total += float((weight > 0).sum())
    before, after = right / total
    return float(before), float(after)


def main() -> None:
    """Train, validate, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--patches", type=Path, default=Path("runs/nano/data"))
    parser.add_argument("--rendered", type=Path, default=Path("runs/nano/rendered"))
    parser.add_argument("--frame", type=Path, default=Path("runs/nano/frame/last.pt"))
    parser.add_argument("--out", type=Path, default=Path("runs/nano/temporal"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.out.mkdir(parents=True, exist_ok=True)
    model = build_model(NANO)
    model.backbone.load_state_dict(torch.load(args.frame, weights_only=True)["average"])
    model.freeze_backbone()
    model.train()
    model.backbone.to(memory_format=torch.channels_last)
    loss_of = JMPoseLoss(NANO)
    run = TimedRun(model, args.out / "last.pt", minutes=args.minutes, rate=args.rate, helpers=loss_of)
    train(run, loss_of, args.patches, args.rendered, args.batch)
    run.average.eval()
    save_model(run.average, args.out / "nano.safetensors", half=True)
    for name, degraded in (("clean", False), ("degraded", True)):
        before, after = correct_share(run.average, validation_windows(args.data, degraded=degraded))
        print(f"validation, {name} windows: PCK@0.1 initial {before:.3f} final {after:.3f}", flush=True)


if __name__ == "__main__":
    main()
