"""Train the shipped person detector `person-nano`, a NanoDet.

`python models/recipes/person_nano.py --graphs package/models` begins with the graph that `nanodet_start.py` tells of,
`--init person-nano` with the shipped weights. Either trains for `--minutes`, on the CPU or on `--device cuda`.

The learning rate follows the clock along a cosine. A run that was stopped goes on from its checkpoint when the command
is given again. `person_nano_data.py` makes the data. At the end the moving average of the weights is written as
`person-nano.safetensors`, with its description, its scores calibrated: of boxes with a score of .3 in the training
pictures, three in ten fit somebody well.

Boxes that `person_nano_data.py` calls doubtful, as people below 8 pixels, are neither asked for nor denied.

Which cells tell of a person is decided in each step (Feng et al., "TOOD", 2021, as ultralytics has it); their losses
are those of Li et al., "Generalized Focal Loss" (2020), with NanoDet's weights.
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
from ultralytics.utils.tal import TaskAlignedAssigner

from jmpose.files import WholeFile
from jmpose.nanodet import BINS, STRIDES, Cells, NanoDet, load_nanodet
from jmpose_cli.device import convolution_order
from jmpose_cli.known_weights import choose_detector
from jmpose_cli.people.boxes import overlaps
from jmpose_cli.people.detect_nanodet import PersonFinder, save_nanodet_detector
from jmpose_cli.people.letterbox import in_letterbox, suppressed
from jmpose_cli.training.devices import keep_freed_memory
from jmpose_cli.training.precision import choose_arithmetic, cpu_bf16_gain
from nanodet_start import nanodet_start

START_SCORE = 0.45  # benchmarks/accuracy/identity.py, on sequences with known people
GREY = 114
SMALLEST = 8  # pixels of height; who is smaller is neither asked for nor denied
KEPT = 0.3  # of a box's area that the picture's edge must leave
FROZEN = 1  # blocks of the body after the stem, up to stride 4
WEIGHTS = (1.0, 2.0, 0.25)  # of the losses
SAVE_EVERY_S = 120.0
MOST_PEOPLE = 60
CALIBRATED_ON = 800  # pictures
FITTING = 0.75  # overlap from which on a box is right; by half, trackers get too many boxes of a score of .1
SELDOM = "more_"  # begins the names of pictures that are shown half as often as others: some of their boxes are wrong
MOSAICS = 0.15
"""Share of the items that are four pictures in one, in the first four fifths of the training."""
ASSIGNER = TaskAlignedAssigner(topk=10, num_classes=1, alpha=0.5, beta=6.0, stride=list(STRIDES))


def main() -> None:
    """Train, keeping `checkpoint.pt`, then write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/person-nano/data"))
    parser.add_argument("--without", nargs="*", default=(), help="pictures whose names begin so are left out")
    parser.add_argument("--out", type=Path, default=Path("runs/person-nano/train"))
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--graphs", type=Path, help="folder of the npm package's graphs, for a start from NanoDet")
    parser.add_argument("--init", help="a detector of ours to start from: a shipped name or a .safetensors file")
    parser.add_argument("--side", type=int, default=320, help="of the square pictures, pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--lr", type=float, default=8e-5, help="of body and pyramid; that of the heads is three times it"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that make pictures")
    parser.add_argument("--export-side", type=int, default=416, help="longer side of the input that is recommended")
    args = parser.parse_args()
    if not args.graphs and not args.init:
        parser.error("give --graphs or --init")
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    network = load_nanodet(choose_detector(args.init, on_gpu=False).path) if args.init else nanodet_start(args.graphs)
    pictures = Pictures(args.data, args.side, args.without)
    network = calibrated(train(network, pictures, args), pictures, args.export_side)
    weights = args.out / "person-nano.safetensors"
    save_nanodet_detector(network, weights, imgsz=args.export_side, start_score=START_SCORE)


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
        times = [1 if file.name.startswith(SELDOM) else 2 for file in files]
        self.shown = np.repeat(np.arange(len(files)), times)

    def __len__(self) -> int:
        return len(self.shown)

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
        index = self.shown[index]
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
class Wanted:
    """What the cells should say, `[N, A]` each but for boxes.

    Attributes:
        scores: How well the box that the cell tells fits its person, 0 away from people.
        counted: False where it does not matter.
        boxes: Of the cell's person `[N, A, 4]`, pixels.
    """

    scores: Tensor
    counted: Tensor
    boxes: Tensor


def assign(cells: Cells, boxes: Tensor) -> Wanted:
    """Give the people `[N, P, 5]` of `Pictures` the cells that tell them best; empty boxes are nobody's."""
    boxes = boxes[:, : int((boxes[..., 2] > 0).sum(1).max().clamp(min=1))]
    boxes, doubtful = boxes[..., :4].contiguous(), boxes[..., 4] > 0
    size = boxes[..., 2:] - boxes[..., :2]
    asked = (size[..., 1] >= SMALLEST) & ~doubtful
    _, chosen, scores, _, _ = ASSIGNER(
        cells.scores.detach().sigmoid()[..., None],
        cells.boxes().detach(),
        cells.middles,
        torch.zeros_like(boxes[..., :1]),
        boxes,
        asked[..., None],
    )
    unasked = (size.amin(-1) > 0) & ~asked
    inside = (cells.middles > boxes[:, :, None, :2]).all(-1) & (cells.middles < boxes[:, :, None, 2:]).all(-1)
    ignored = (inside & unasked[..., None]).any(1)
    scores = scores[..., 0]
    return Wanted(scores, ~ignored | (scores > 0), chosen)


def losses(cells: Cells, wanted: Wanted) -> tuple[Tensor, Tensor, Tensor]:
    """Quality focal loss of the scores, that of the boxes, and distribution focal loss of their sides."""
    apart = (wanted.scores - cells.scores.sigmoid()).abs().square() * wanted.counted
    of_scores = (apart * F.binary_cross_entropy_with_logits(cells.scores, wanted.scores, reduction="none")).sum()
    people = wanted.scores > 0
    weights, total = wanted.scores[people], wanted.scores.sum().clamp(min=1)
    of_boxes = generalized_box_iou_loss(cells.boxes()[people], wanted.boxes[people])
    middles, strides = (each.expand(len(people), *each.shape)[people] for each in (cells.middles, cells.strides))
    left_top, right_bottom = wanted.boxes[people].split(2, -1)
    sides = torch.cat([middles - left_top, right_bottom - middles], -1) / strides[:, None]
    sides = sides.clamp(0, BINS - 1.01)
    below = sides.long()
    told = cells.sides[people].log_softmax(-1)
    near = (told.gather(-1, (below + i)[..., None])[..., 0] for i in (0, 1))
    of_sides = -sum(part * share for part, share in zip(near, (below + 1 - sides, sides - below), strict=True)).mean(-1)
    return of_scores / total, (of_boxes * weights).sum() / total, (of_sides * weights).sum() / total


def train(network: NanoDet, pictures: Pictures, args: argparse.Namespace) -> NanoDet:
    """Train for `args.minutes`, less what a checkpoint has; return the moving average."""
    device = torch.device(args.device)
    network.to(device).to(memory_format=convolution_order(device))
    for part in (network.stem, *network.blocks[:FROZEN]):
        part.requires_grad_(False)
    if device.type == "cpu":
        keep_freed_memory()
    one = torch.rand(1, 3, args.side, args.side)
    body = torch.nn.Sequential(network.stem, *network.blocks)
    arithmetic = choose_arithmetic("auto", device.type, resume=True, cpu_gain=lambda: cpu_bf16_gain(body, one))
    is_mixed = arithmetic.name == "bf16-mixed"
    print(f"{arithmetic.name} {arithmetic.reason}", flush=True)
    average = AveragedModel(network, multi_avg_fn=moving_average)
    heads = list(network.heads.parameters())
    others = [p for n, p in network.named_parameters() if p.requires_grad and not n.startswith("heads.")]
    rates = (args.lr, 3 * args.lr)
    optimiser = torch.optim.AdamW([{"params": others}, {"params": heads}], weight_decay=0.01)
    file, passed, step = args.out / "checkpoint.pt", 0.0, 0
    if file.is_file():
        state = torch.load(file, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        passed, step = state["seconds"], state["step"]
    seconds = 60 * args.minutes
    began, saved, said = time.monotonic() - passed, time.monotonic(), [0.0] * len(WEIGHTS)
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
        inputs = images.to(device).float().contiguous(memory_format=convolution_order(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            cells = network(inputs)
        cells = Cells(*(each.float() for each in cells))
        parts = losses(cells, assign(cells, boxes.to(device)))
        optimiser.zero_grad(set_to_none=True)
        sum(weight * part for weight, part in zip(WEIGHTS, parts, strict=True)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        average.update_parameters(network)
        step += 1
        said = [0.98 * old + 0.02 * new.item() for old, new in zip(said, parts, strict=True)]
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


def calibrated(network: NanoDet, pictures: Pictures, side: int) -> NanoDet:
    """Put a scale and a shift of the scores' logits into the heads, so that scores are shares of right boxes.

    Args:
        network: In float32; changed in place.
        pictures: As they are, `CALIBRATED_ON` of them.
        side: Longer side of the network's input, pixels.
    """
    finder = PersonFinder(network.eval())

    def rows(inputs: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [suppressed(each[each[:, 4] > 0.01]) for each in finder(torch.from_numpy(inputs)).numpy()]

    scores, right = [], []
    for index in np.random.default_rng(0).permutation(len(pictures.encoded))[:CALIBRATED_ON].tolist():
        picture = cv2.imdecode(pictures.encoded[index], cv2.IMREAD_COLOR_RGB)
        (found,) = in_letterbox(picture[None], side, rows, pixel_width=1.0)
        doubtful, boxes = np.split(pictures.boxes[index], [1], 1)
        height, width = picture.shape[:2]
        counted, fitting = compare(found.boxes_xyxy_px, boxes * [width, height, width, height], doubtful[:, 0] > 0)
        scores.append(found.scores[counted])
        right.append(fitting[counted])
    scale, shift = fit_logits(np.concatenate(scores), np.concatenate(right))
    print(f"scores: {scale:.2f} times the logit {shift:+.2f}", flush=True)
    with torch.no_grad():
        for head in network.heads:
            head[-1].weight[0] *= scale
            head[-1].bias[0] = scale * head[-1].bias[0] + shift
    return network


def compare(found: np.ndarray, people: np.ndarray, doubtful: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say of boxes `[F, 4]`, best first, which count and which are right, `[F]` each.

    Right is a box that overlaps by `FITTING` a person `[P, 4]` whom no better one has. One that overlaps a doubtful
    person by half does not count.
    """
    overlap = overlaps(found.astype(float), people.astype(float))
    counted = (overlap * doubtful).max(1, initial=0) < 0.5
    free, right = ~doubtful, np.zeros(len(found), bool)
    for row in np.flatnonzero(counted):
        fitting = overlap[row] * free
        if fitting.max(initial=0) >= FITTING:
            right[row] = True
            free[fitting.argmax()] = False
    return counted, right


def fit_logits(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Fit the scale and the shift of logits that make scores `[N]` the share of right ones (Platt, 1999)."""
    logits, wanted = torch.from_numpy(scores).double().logit(), torch.from_numpy(right).double()
    scale, shift = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, 0.0))
    fit = torch.optim.LBFGS([scale, shift], max_iter=100, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        fit.zero_grad()
        value = F.binary_cross_entropy_with_logits(scale * logits + shift, wanted)
        value.backward()
        return value

    fit.step(cost)
    return scale.item(), shift.item()


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
    file: Path, network: NanoDet, average: AveragedModel, optimiser: torch.optim.Optimizer, seconds: float, step: int
) -> None:
    """Write all that a resumed run needs, whole or not at all."""
    state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
    with WholeFile(file) as unfinished:
        torch.save(state | {"seconds": seconds, "step": step}, unfinished)


if __name__ == "__main__":
    main()
