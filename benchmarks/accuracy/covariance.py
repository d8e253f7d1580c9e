"""Which covariance of a heatmap fits the real errors: its second moment, or the curvature at its peak?

`python benchmarks/accuracy/covariance.py --model nano small [--data ../shared/data]`

The people, joints and parts are those of `models/recipes/calibrate.py`. Each candidate gets one factor, fitted to the
other parts. Compared are the negative log-likelihood of the errors, in body sizes, under Gaussians with these
covariances, and the share of true places in the ellipses that should hold 50 and 90 %.

- `curvature`: inverse negative Hessian of the logarithm of the smoothed map at its peak, as DARK uses it. Of a perfect
  map it is twice sigma squared: the target's and the smoothing's.
- `second moment`: about the place found, within so many sigma of it along each axis. Of a perfect map it is sigma
  squared. The one within 10 sigma, less sigma squared, is `heatmap_covariances`.
- `body size`: the same for all joints of a person.

Where something is taken off, every direction keeps a standard deviation of half a sigma.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jmpose.decoding import decode_dark
from jmpose.keypoints import COCO17
from jmpose.network import JMPose
from jmpose.sampling import crop_affine, normalise, sample_crops
from jmpose.targets import covariances_to_image, crop_to_image, heatmap_to_crop
from jmpose.weights import load_model
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.windows import Spacing

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "models/recipes"))
from calibrate import annotated_pictures, squared_distances, windows_of  # noqa: E402

PARTS = 5
LEAST = 0.5
EVERYWHERE = 1000


def curvatures(maps: Tensor, *, sigma: float) -> Tensor:
    """Inverse negative Hessian `[..., 3]` (xx, xy, yy) of the log of maps `[..., h, w]` behind DARK's smoothing."""
    radius = math.ceil(3 * sigma)
    bell = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * sigma**2))
    h, w = maps.shape[-2:]
    flat = maps.clamp(min=0).reshape(-1, 1, h, w)
    for shape, padding in (((1, 1, -1, 1), (radius, 0)), ((1, 1, 1, -1), (0, radius))):
        flat = torch.nn.functional.conv2d(flat, (bell / bell.sum()).view(shape), padding=padding)
    logs = flat[:, 0].clamp(min=1e-10).log()
    inner = logs[:, 1:-1, 1:-1].flatten(1).argmax(1)
    y, x, rows = inner // (w - 2) + 1, inner % (w - 2) + 1, torch.arange(len(logs))

    def value(dx: int, dy: int) -> Tensor:
        return logs[rows, y + dy, x + dx]

    xx, yy = (2 * value(0, 0) - value(dx, dy) - value(-dx, -dy) for dx, dy in ((1, 0), (0, 1)))
    xy = (value(1, -1) + value(-1, 1) - value(1, 1) - value(-1, -1)) / 4
    determinant = xx * yy - xy * xy
    peaked = (xx > 0) & (determinant > 1e-9)
    inverse = torch.stack([yy, -xy, xx], -1) / determinant[:, None]
    flattest = torch.tensor([100.0, 0, 100.0]) * sigma**2
    return torch.where(peaked[:, None], inverse, flattest).view(*maps.shape[:-2], 3)


def moments(maps: Tensor, xy: Tensor, *, reach: float) -> Tensor:
    """Second moments `[..., 3]` of maps `[..., h, w]` about (x, y) `[..., 2]`, as far as `reach` pixels from there."""
    h, w = maps.shape[-2:]
    x, y = torch.arange(w) - xy[..., :1], torch.arange(h) - xy[..., 1:]
    near = (y.abs() <= reach)[..., :, None] & (x.abs() <= reach)[..., None, :]
    density = maps.clamp(min=1e-10) * near
    x, y = x[..., None, :], y[..., :, None]
    parts = [(density * each).sum((-2, -1)) for each in (x * x, x * y, y * y)]
    return torch.stack(parts, -1) / density.sum((-2, -1))[..., None]


def less(covariances: Tensor, variance: float, *, sigma: float) -> Tensor:
    """Take a variance off all directions, as far as each keeps half a sigma."""
    xx, xy, yy = covariances.unbind(-1)
    least = (xx + yy) / 2 - torch.hypot((xx - yy) / 2, xy)
    off = (least - (LEAST * sigma) ** 2).clamp(max=variance)
    return torch.stack([xx - off, xy, yy - off], -1)


def candidates(maps: Tensor, xy: Tensor, *, sigma: float) -> Iterator[tuple[str, Tensor]]:
    """Yield names and covariances `[N, K, 3]` in square heatmap pixels."""
    square, curved = sigma**2, curvatures(maps, sigma=sigma)
    yield "curvature", curved
    yield "curvature, less sigma squared", less(curved, square, sigma=sigma)
    yield "curvature, less twice sigma squared", less(curved, 2 * square, sigma=sigma)
    for reach, name in (
        (3, "within 3 sigma"),
        (6, "within 6 sigma"),
        (10, "within 10 sigma"),
        (EVERYWHERE, "everywhere"),
    ):
        found = moments(maps, xy, reach=reach * sigma)
        yield f"second moment {name}", found
        yield f"second moment {name}, less sigma squared", less(found, square, sigma=sigma)


@dataclass
class Answers:
    """What a model says of annotated joints.

    Attributes:
        picture: `[n]` number of the picture.
        error: `[n, 2]` place found minus place annotated, body sizes.
        covariances: By candidate, `[n, 3]` in square body sizes.
    """

    picture: np.ndarray
    error: np.ndarray
    covariances: dict[str, np.ndarray]


@torch.inference_mode()
def observe(model: JMPose, pictures: Sequence[tuple[Path, list[dict]]]) -> Answers:
    """Let a model answer for all annotated joints; what it sees of a still are its initial heatmaps."""
    window = model.config.preprocess
    rows, sigma = [window.keypoints.joints.index(joint) for joint in COCO17.joints], window.heatmap_sigma
    spacing, numbers, errors, covariances = Spacing(window.window_offsets, 1.0), [], [], defaultdict(list)
    for number, (file, people) in enumerate(pictures):
        key = windows_of(file, people, spacing).key
        affine = crop_affine(torch.from_numpy(key.people.boxes_xyxy_px), window)
        pixels, frame = torch.from_numpy(key.pixels)[None], torch.zeros(len(people), dtype=torch.int64)
        crops = sample_crops(pixels, frame, affine, (window.input_height, window.input_width))
        maps = model.encode(normalise(crops, window)).heatmaps[:, rows]
        xy, _ = decode_dark(maps, sigma=sigma)
        in_crop = heatmap_to_crop(xy, heatmap_size=window.heatmap_size, alignment=window.heatmap_alignment)
        truth = torch.tensor([person["keypoints"] for person in people]).float().view(len(people), 17, 3)
        size = torch.tensor([person["bbox"][2] * person["bbox"][3] for person in people]).sqrt()[:, None, None]
        there = truth[..., 2] > 0
        numbers += [number] * int(there.sum())
        errors.append(((crop_to_image(in_crop, affine) - truth[..., :2]) / size)[there])
        for name, found in candidates(maps, xy, sigma=sigma):
            in_image = covariances_to_image(
                found, affine, heatmap_size=window.heatmap_size, alignment=window.heatmap_alignment
            )
            covariances[name].append((in_image / size**2)[there])
        covariances["body size"].append(torch.tensor([1.0, 0, 1.0]).expand(int(there.sum()), 3))
    every = {name: torch.cat(parts).double().numpy() for name, parts in covariances.items()}
    return Answers(np.array(numbers), torch.cat(errors).double().numpy(), every)


def figures(answers: Answers, candidate: str) -> tuple[float, float, float, float]:
    """Negative log-likelihood, shares in the ellipses of 50 and 90 %, and the mean factor, each part by the others."""
    covariance, part = answers.covariances[candidate], answers.picture % PARTS
    squared, scales = squared_distances(answers.error, covariance), np.zeros(len(part))
    for held_out in range(PARTS):
        scales[part == held_out] = squared[part != held_out].mean() / 2
    xx, xy, yy = covariance.T
    likelihood = np.log(2 * np.pi * scales) + np.log(xx * yy - xy * xy) / 2 + squared / scales / 2
    half, most = (float((squared / scales < -2 * np.log(1 - share)).mean()) for share in (0.5, 0.9))
    return float(likelihood.mean()), half, most, float(scales.mean())


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["nano", "small"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pictures = annotated_pictures(args.data / "coco_persons" / "val.json")
    for name in args.model:
        answers = observe(load_model(choose_model(name).path), pictures)
        print(f"\n| {name} | NLL | in 50 % | in 90 % | factor |\n| --- | --- | --- | --- | --- |")
        for candidate in answers.covariances:
            likelihood, half, most, factor = figures(answers, candidate)
            print(f"| {candidate} | {likelihood:.2f} | {100 * half:.0f} | {100 * most:.0f} | {factor:.2g} |")


if __name__ == "__main__":
    main()
