"""Train the shipped person detector `person-nano`: CenterNet, from MoveNet MultiPose.

`python models/recipes/person_nano.py --graphs package/models` begins with the graphs that `movenet_start.py` tells of,
`--init person-nano` with the shipped weights. Either trains for `--minutes`, on the CPU or on `--device cuda`.

The learning rate follows the clock along a cosine. A run that was stopped goes on from its checkpoint when the command
is given again. `person_nano_data.py` makes the data. At the end the moving average of the weights is written as
`person-nano.safetensors`, with its description.

Boxes that `person_nano_data.py` calls doubtful, as people below 20 pixels, are neither asked for nor denied.

Targets: a person's middle is a Gaussian, wider for larger boxes, under the focal loss of CenterNet; where it is high,
the boxes are held to the true one by their generalised IoU (as in Liu et al., "Training-Time-Friendly Network", 2020).
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import generalized_box_iou_loss

from jmpose.centernet import STRIDE, CenterMaps, CenterNet, load_centernet
from jmpose.files import WholeFile
from jmpose_cli.device import convolution_order
from jmpose_cli.known_weights import choose_detector
from jmpose_cli.people.detect_centernet import save_centernet_detector
from jmpose_cli.training.devices import keep_depthwise_fp32, keep_freed_memory
from jmpose_cli.training.precision import choose_arithmetic, cpu_bf16_gain
from movenet_start import multipose_start

START_SCORE = 0.3  # benchmarks/accuracy/identity.py, on sequences with known people
GREY = 114
SMALLEST = 20  # pixels of height; who is smaller is neither asked for nor denied
KEPT = 0.3  # of a box's area that the picture's edge must leave
SPREAD = 0.06  # standard deviation of a Gaussian over the side of its box
NEAR = 0.5  # Gaussian from which on a cell must tell the box
FROZEN = 3  # parts of the body, up to stride 4
SAVE_EVERY_S = 120.0
MOST_PEOPLE = 60
MOSAICS = 0.15
"""Share of the items that are four pictures in one, in the first four fifths of the training."""


def main() -> None:
    """Train, keeping `checkpoint.pt`, then write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/person-nano/data"))
    parser.add_argument("--without", nargs="*", default=(), help="pictures whose names begin so are left out")
    parser.add_argument("--out", type=Path, default=Path("runs/person-nano/train"))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--graphs", type=Path, help="folder of the npm package's graphs, for a start from MoveNet")
    parser.add_argument("--init", help="a detector of ours to start from: a shipped name or a .safetensors file")
    parser.add_argument("--side", type=int, default=320, help="of the square pictures, pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--lr", type=float, default=3e-5, help="of body and pyramid; that of the heads is three times it"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that make pictures")
    parser.add_argument("--export-side", type=int, default=384, help="longer side of the input that is recommended")
    args = parser.parse_args()
    if not args.graphs and not args.init:
        parser.error("give --graphs or --init")
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.init:
        network = load_centernet(choose_detector(args.init, on_gpu=False).path)
    else:
        network = multipose_start(args.graphs)
    network = train(network, Pictures(args.data, args.side, args.without), args)
    weights = args.out / "person-nano.safetensors"
    save_centernet_detector(network, weights, imgsz=args.export_side, start_score=START_SCORE)


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures with all their people, in YOLO's layout: `images/train/*` and `labels/train/*.txt`.

    An item is a picture `[3, S, S]` uint8, scaled, shifted, mirrored and in other light, or four of them as a mosaic,
    and boxes `[60, 5]`: xyxy in its pixels, and 1 for who is doubtful, filled up with zeros.

    Args:
        folder: Of the data.
        side: S.
        without: Pictures whose names begin so are left out.
    """

    def __init__(self, folder: Path, side: int, without: Sequence[str] = ()) -> None:
        self.side = side
        self.mosaic = torch.tensor(MOSAICS)
        self.mosaic.share_memory_()  # a share of the items; loading processes see what is set
        files = [
            file for file in sorted((folder / "images/train").iterdir()) if not file.name.startswith(tuple(without))
        ]
        self.encoded = [np.frombuffer(file.read_bytes(), np.uint8) for file in files]
        self.boxes = [read_boxes(folder / "labels/train" / f"{file.stem}.txt") for file in files]

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng()
        side = self.side
        canvas = np.full((side, side, 3), GREY, np.uint8)
        found = []
        if random.random() < self.mosaic.item():
            x, y = (int(side * random.uniform(0.3, 0.7)) for _ in range(2))
            quarters = [(0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)]
            chosen = [index, *random.integers(len(self), size=3)]
        else:
            quarters, chosen = [(0, 0, side, side)], [index]
        for (x0, y0, x1, y1), one in zip(quarters, chosen, strict=True):
            part, boxes = self._placed(one, (y1 - y0, x1 - x0), random)
            canvas[y0:y1, x0:x1] = part
            found.append(boxes + np.array([x0, y0, x0, y0, 0], np.float32))
        boxes = np.concatenate(found)[:MOST_PEOPLE]
        filled = np.zeros((MOST_PEOPLE, 5), np.float32)
        filled[: len(boxes)] = boxes
        return torch.from_numpy(in_other_light(canvas, random)).permute(2, 0, 1), torch.from_numpy(filled)

    def _placed(self, index: int, size: tuple[int, int], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Lay a picture into `size` (h, w); return it and the boxes that are left of its people."""
        picture = cv2.imdecode(self.encoded[index], cv2.IMREAD_COLOR_RGB)
        height, width = picture.shape[:2]
        h, w = size
        scale = min(h / height, w / width) * float(np.exp(random.uniform(np.log(0.9), np.log(1.8))))
        stretch = float(np.exp(random.normal(0, 0.08)))
        sx, sy = scale * stretch, scale / stretch
        mirror = random.random() < 0.5
        left, top = (random.uniform(min(0, free), max(0, free)) for free in (w - width * sx, h - height * sy))
        doubtful, boxes = np.split(self.boxes[index], [1], 1)
        boxes = boxes * np.array([width, height, width, height], np.float32)
        if mirror:
            picture, boxes = picture[:, ::-1], boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
        matrix = np.array([[sx, 0, left], [0, sy, top]])
        if scale < 0.7:  # a warp would skip pixels
            picture = cv2.resize(picture, None, fx=sx, fy=sy, interpolation=cv2.INTER_AREA)
            matrix[:, :2] = np.eye(2)
        part = cv2.warpAffine(picture, matrix, (w, h), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)
        boxes = boxes * [sx, sy, sx, sy] + [left, top, left, top]
        cut = boxes.clip(0, [w, h, w, h])
        left_of = (cut[:, 2:] - cut[:, :2]).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1).clip(1e-6)
        return part, np.concatenate([cut, doubtful], 1)[left_of > KEPT].astype(np.float32)


def read_boxes(file: Path) -> np.ndarray:
    """Return class and boxes xyxy, as fractions of the sides, `[N, 5]` float32."""
    rows = np.array([line.split()[:5] for line in file.read_text().splitlines()], np.float32).reshape(-1, 5)
    kind, centre, size = np.split(rows, [1, 3], 1)
    return np.concatenate([kind, centre - size / 2, centre + size / 2], 1)


def in_other_light(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and colours of `[H, W, 3]`; sometimes blur it, or take its colours away."""
    mixed = picture.astype(np.float32)
    if random.random() < 0.1:
        mixed = np.repeat(mixed.mean(2, keepdims=True), 3, 2)
    gain = random.uniform(0.7, 1.3) * random.uniform(0.95, 1.05, 3)
    mixed = (mixed - mixed.mean()) * gain + mixed.mean() * random.uniform(0.75, 1.25)
    if random.random() < 0.1:
        mixed = cv2.GaussianBlur(mixed, (0, 0), random.uniform(0.5, 1.5))
    if random.random() < 0.1:
        mixed += random.normal(0, random.uniform(2, 12), mixed.shape)
    return mixed.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Targets:
    """What the maps should say.

    Attributes:
        centers: `[N, h, w]`, 1 at the middles, Gaussians around them.
        counted: `[N, h, w]`, 0 where it does not matter.
        boxes: Of the nearest person `[N, 4, h, w]`, pixels.
        weights: Of these boxes `[N, h, w]`, 0 away from the middles.
    """

    centers: Tensor
    counted: Tensor
    boxes: Tensor
    weights: Tensor


def targets(boxes: Tensor, side: int) -> Targets:
    """Draw boxes `[N, P, 5]` of `Pictures` into maps of pictures of `side` pixels; empty boxes are nobody's."""
    boxes, doubtful = boxes[..., :4], boxes[..., 4] > 0
    cells = side // STRIDE
    at = torch.arange(cells, device=boxes.device)
    size = (boxes[..., 2:] - boxes[..., :2]) / STRIDE
    middle = (boxes[..., 2:] + boxes[..., :2]) / 2 / STRIDE
    cell = middle.floor()
    sigma = (size * SPREAD).clamp(min=0.4)
    # [N, P, cells] each: a Gaussian is the product of two.
    along_x, along_y = (torch.exp(-((at - cell[..., i, None]) ** 2) / (2 * sigma[..., i, None] ** 2)) for i in (0, 1))
    asked = (boxes[..., 3] - boxes[..., 1] >= SMALLEST) & ~doubtful
    gaussians = along_y[..., :, None] * along_x[..., None, :] * asked[..., None, None]  # [N, P, h, w]
    inside_x, inside_y = (
        (at + 1 > boxes[..., i, None] / STRIDE) & (at < boxes[..., i + 2, None] / STRIDE) for i in (0, 1)
    )
    unasked = (size.amin(-1) > 0) & ~asked
    ignored = (inside_y[..., :, None] & inside_x[..., None, :] & unasked[..., None, None]).any(1)
    centers, nearest = gaussians.max(1)
    weights = centers * (centers >= NEAR)
    chosen = boxes.gather(1, nearest.flatten(1)[..., None].expand(-1, -1, 4)).transpose(1, 2)
    return Targets(
        centers, 1.0 - (ignored & (centers < 1)).float(), chosen.reshape(len(boxes), 4, cells, cells), weights
    )


def losses(maps: CenterMaps, wanted: Targets) -> tuple[Tensor, Tensor]:
    """Focal loss of the middles (Law and Deng, "CornerNet", 2018), and that of the boxes."""
    logits = maps.centers[:, 0].float()
    score, is_middle = logits.sigmoid(), wanted.centers == 1
    found = -F.logsigmoid(logits) * (1 - score) ** 2 * is_middle
    denied = -F.logsigmoid(-logits) * score**2 * (1 - wanted.centers) ** 4 * ~is_middle * wanted.counted
    people = is_middle.sum().clamp(min=1)
    given = maps._replace(sizes=maps.sizes.float(), offsets=maps.offsets.float()).boxes()
    near = wanted.weights > 0
    apart = generalized_box_iou_loss(given.permute(0, 2, 3, 1)[near], wanted.boxes.permute(0, 2, 3, 1)[near])
    weights = wanted.weights[near]
    return (found.sum() + denied.sum()) / people, (apart * weights).sum() / weights.sum().clamp(min=1e-3)


def train(network: CenterNet, pictures: Pictures, args: argparse.Namespace) -> CenterNet:
    """Train for `args.minutes`, less what a checkpoint has; return the moving average."""
    device = torch.device(args.device)
    network.to(device).to(memory_format=convolution_order(device))
    for part in network.backbone.body[:FROZEN]:
        part.requires_grad_(False)
    if device.type == "cpu":
        keep_freed_memory()
    one = torch.rand(1, 3, args.side, args.side)
    arithmetic = choose_arithmetic("auto", device.type, resume=True, cpu_gain=lambda: cpu_bf16_gain(network, one))
    is_mixed = arithmetic.name == "bf16-mixed"
    print(f"{arithmetic.name} {arithmetic.reason}", flush=True)
    if is_mixed and device.type == "cpu":
        keep_depthwise_fp32(network)
    average = AveragedModel(network, multi_avg_fn=moving_average)
    heads = [p for n, p in network.named_parameters() if "backbone" not in n or "heatmap_head" in n]
    others = {id(p) for p in heads}
    body = [p for p in network.parameters() if p.requires_grad and id(p) not in others]
    rates = (args.lr, 3 * args.lr)
    optimiser = torch.optim.AdamW([{"params": body}, {"params": heads}], weight_decay=0.01)
    file, passed, step = args.out / "checkpoint.pt", 0.0, 0
    if file.is_file():
        state = torch.load(file, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        passed, step = state["seconds"], state["step"]
    seconds = 60 * args.minutes
    began, saved, said = time.monotonic() - passed, time.monotonic(), [0.0, 0.0]
    network.train()
    for images, boxes in forever(pictures, args.batch, args.workers):
        passed = time.monotonic() - began
        if passed >= seconds:
            break
        share = passed / seconds
        pictures.mosaic.fill_(MOSAICS if share < 0.8 else 0.0)
        rate = min(step / 200, 1.0) * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
        for group, highest in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = highest * rate
        inputs = images.to(device).float().div_(127.5).sub_(1).contiguous(memory_format=convolution_order(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            maps = network(inputs)
        of_middles, of_boxes = losses(maps, targets(boxes.to(device), pictures.side))
        optimiser.zero_grad(set_to_none=True)
        (of_middles + 2.0 * of_boxes).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        average.update_parameters(network)
        step += 1
        said = [0.98 * old + 0.02 * new.item() for old, new in zip(said, (of_middles, of_boxes), strict=True)]
        if step % 50 == 0:
            unbiased = 1 - 0.98**step
            print(
                f"{passed / 60:.1f} minutes, step {step}: " + ", ".join(f"{v / unbiased:.3f}" for v in said), flush=True
            )
        if time.monotonic() - saved > SAVE_EVERY_S:
            save(file, network, average, optimiser, passed, step)
            saved = time.monotonic()
    save(file, network, average, optimiser, passed, step)
    return average.module.float().cpu()


@torch.no_grad()
def moving_average(averages: list[Tensor], values: list[Tensor], count: Tensor) -> None:
    """Move averages towards values, at first faster: an average of what has been is no average of the start."""
    torch._foreach_lerp_(averages, values, 1 - min(0.999, (1 + count.item()) / (10 + count.item())))


def forever(pictures: Pictures, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, shuffled anew in each pass."""
    loader = DataLoader(
        pictures, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        yield from loader


def save(
    file: Path, network: CenterNet, average: AveragedModel, optimiser: torch.optim.Optimizer, seconds: float, step: int
) -> None:
    """Write all that a resumed run needs, whole or not at all."""
    state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
    with WholeFile(file) as unfinished:
        torch.save(state | {"seconds": seconds, "step": step}, unfinished)


if __name__ == "__main__":
    main()
