"""Measure how sure a model's joints are, and put that into its weights.

`python models/recipes/calibrate.py --model nano --data ../shared/data`

Fits the model's `Calibration` to the people of `coco_persons/val`, whom training never saw, on annotated boxes; to be
run whenever weights are new. Counted are annotated joints, hidden ones too, of people with five such joints or more,
as for PCK@0.1: a probability is that of a joint which is in the picture. Joints that nobody annotated have no true
place, and do not count.

What is printed and drawn is cross-fitted: pictures are dealt into parts, and each part is judged by the fit to the
others, so nobody by a fit that has seen him. The expected calibration error is that of ten bins of equal width.
The calibration that is stored is fitted to everyone. The graphs of shipped weights are of no use then, until
`onnx_files.py` has made them anew.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from jmpose.config import Calibration
from jmpose.keypoints import COCO17
from jmpose.weights import save_calibration
from jmpose_cli.formats.keypoint_mapping import map_poses
from jmpose_cli.known_weights import SHIPPED, choose_model
from jmpose_cli.pose.certainty import NEAR, body_sizes, certainty_features
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import TrackedFrame

ROOT = Path(__file__).parents[2]
BINS = 10
MIN_JOINTS = 5
RIDGE = 1e-3  # keeps the fit finite where a feature separates right joints from wrong ones


@dataclass(frozen=True, eq=False)
class Joints:
    """Annotated joints and what the model says of them, all float64 unless said otherwise.

    Attributes:
        picture: `[n]` int64, number of the picture.
        joint: `[n]` int64, place in COCO's 17.
        hidden: `[n]` bool, annotated though it is not seen.
        error: `[n, 2]` place found minus place annotated, body sizes.
        covariance: `[n, 3]` xx, xy, yy, square body sizes.
        features: `[n, 2]` of `certainty_features`.
        people: How many people they are of.
    """

    picture: np.ndarray
    joint: np.ndarray
    hidden: np.ndarray
    error: np.ndarray
    covariance: np.ndarray
    features: np.ndarray
    people: int

    @property
    def near(self) -> np.ndarray:
        """`[n]` bool, whether a joint is right."""
        return np.asarray(np.hypot(*self.error.T) < NEAR)

    def only(self, kept: np.ndarray) -> "Joints":
        """Leave out the joints where `kept` `[n]` is False."""
        rows = {name: getattr(self, name)[kept] for name in self.__dict__ if name != "people"}
        return replace(self, **rows)


def annotated_pictures(file: Path) -> list[tuple[Path, list[dict]]]:
    """List the pictures of a COCO file, each with its people who have joints enough."""
    coco = json.loads(file.read_text())
    people: dict[int, list[dict]] = {}
    for annotation in coco["annotations"]:
        if sum(v > 0 for v in annotation["keypoints"][2::3]) >= MIN_JOINTS:
            people.setdefault(annotation["image_id"], []).append(annotation)
    return [(file.parent / i["file_name"], people[i["id"]]) for i in coco["images"] if i["id"] in people]


def windows_of(picture: Path, people: Sequence[dict], spacing: Spacing) -> Windows:
    """Give the people of a picture on their annotated boxes; no other frame exists."""
    xywh = np.array([person["bbox"] for person in people], np.float32)
    xyxy, ones = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1), np.ones(len(xywh), np.float32)
    tracked = TrackedFrame(0, 0.0, xyxy, ones, np.arange(1, len(xywh) + 1), ones > 0)
    maker = WindowMaker(spacing)
    image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    (windows,) = [*maker.push(SeenFrame(image, tracked)), *maker.finish()]
    return windows


def observe(estimator: PoseEstimator, pictures: Sequence[tuple[Path, list[dict]]]) -> Joints:
    """Let a model answer, with its own covariances, for all annotated joints."""
    estimator.calibration = None
    spacing = Spacing(estimator.preprocess.window_offsets, 1.0)
    parts: list[tuple[np.ndarray, ...]] = []
    for number, (file, people) in enumerate(pictures):
        (poses,) = estimator.estimate([windows_of(file, people, spacing)])
        given = map_poses(poses, estimator.keypoints, COCO17)
        truth = np.array([person["keypoints"] for person in people], float).reshape(len(people), 17, 3)
        size, there = body_sizes(given)[:, None, None], truth[..., 2] > 0
        of_picture = (
            np.full(there.sum(), number),
            np.nonzero(there)[1],
            truth[there][:, 2] == 1,
            ((given.xy_image - truth[..., :2]) / size)[there],
            (given.covariances / size**2)[there],
            certainty_features(given)[there],
        )
        parts.append(of_picture)
    rows = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Joints(*rows, people=sum(len(people) for _, people in pictures))


def squared_distances(error: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Squares of the Mahalanobis distances `[n]` of errors `[n, 2]` under covariances `[n, 3]` (xx, xy, yy)."""
    (x, y), (xx, xy, yy) = error.T, covariance.T
    return np.asarray((yy * x * x - 2 * xy * x * y + xx * y * y) / (xx * yy - xy * xy))


def fit(joints: Joints) -> Calibration:
    """Fit by maximum likelihood: the scale of Gaussian errors, and a logistic regression, by Newton's method."""
    scale = round(float(squared_distances(joints.error, joints.covariance).mean() / 2), 4)
    inputs, weights = _inputs(joints, scale), np.zeros(3)
    ridge = RIDGE * np.diag([0.0, 1.0, 1.0])
    for _ in range(50):
        found = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (found - joints.near) / len(inputs) + ridge @ weights
        hessian = (inputs.T * (found * (1 - found))) @ inputs / len(inputs) + ridge
        weights = weights - np.linalg.solve(hessian, gradient)
    intercept, score, sigma = (round(float(value), 4) for value in weights)
    return Calibration(scale, intercept, score, sigma, people=joints.people)


def probabilities(joints: Joints, calibration: Calibration) -> np.ndarray:
    """Probability `[n]` that each joint is right."""
    weights = [calibration.intercept, calibration.score_weight, calibration.sigma_weight]
    return np.asarray(1 / (1 + np.exp(-_inputs(joints, calibration.covariance_scale) @ weights)))


def _inputs(joints: Joints, scale: float) -> np.ndarray:
    """1 and the features `[n, 3]` of covariances that are scaled."""
    logit, log_sigma = joints.features.T
    return np.stack([np.ones_like(logit), logit, log_sigma + np.log(scale) / 2], 1)


def cross_fitted(joints: Joints, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Judge each part of the pictures by the fit to the others.

    Returns:
        `[n]` probabilities, and the scale `[n]` of each joint's covariance.
    """
    found, scales = np.zeros(len(joints.error)), np.zeros(len(joints.error))
    for part in range(parts):
        held_out = joints.picture % parts == part
        calibration = fit(joints.only(~held_out))
        found[held_out] = probabilities(joints.only(held_out), calibration)
        scales[held_out] = calibration.covariance_scale
    return found, scales


def calibration_error(found: np.ndarray, near: np.ndarray) -> float:
    """Expected calibration error: mean gap between probability and share of right ones, over ten bins by their size."""
    bins = np.minimum((found * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, found - near, minlength=BINS)
    return float(np.abs(gaps).sum() / len(found))


def report(joints: Joints, parts: int) -> Iterator[str]:
    """Say how well the fit judges people it has not seen."""
    found, scales = cross_fitted(joints, parts)
    near, squared = joints.near, squared_distances(joints.error, joints.covariance) / scales
    log_loss = -np.where(near, np.log(found), np.log1p(-found)).mean()
    yield (
        f"{parts} parts: expected calibration error {calibration_error(found, near):.3f}, log loss {log_loss:.3f}, "
        f"Brier score {((found - near) ** 2).mean():.3f}; "
        f"ellipses of 50 % hold {(squared < 2 * np.log(2)).mean():.1%}, of 90 % {(squared < 2 * np.log(10)).mean():.1%}"
    )


def by_kind(joints: Joints, parts: int) -> Iterator[str]:
    """Compare probability and share of right ones by kind of joint, and for hidden ones."""
    found, _ = cross_fitted(joints, parts)
    names = np.array([joint.split("_")[-1] for joint in COCO17.joints])[joints.joint]
    kinds = {f"{name}s": names == name for name in dict.fromkeys(names.tolist())}
    for kind, those in {**kinds, "hidden": joints.hidden, "seen": ~joints.hidden}.items():
        probability, right = found[those].mean(), joints.near[those].mean()
        yield f"{kind:>10}: {those.sum():5} joints, probability {probability:.2f}, right {right:.2f}"


def reliability_diagram(name: str, joints: Joints, parts: int) -> Image.Image:
    """Draw the share of right joints over their probability, with 95 % bootstrap intervals over pictures."""
    found, _ = cross_fitted(joints, parts)
    near, bins = joints.near, np.minimum((found * BINS).astype(int), BINS - 1)
    pictures = joints.picture.max() + 1
    size, left, top, unit = 2, 52, 46, 300  # drawn at twice the size, in smaller pixels
    image = Image.new("RGB", ((left + unit + 18) * size, (top + unit + 46) * size), "white")
    draw, fonts = ImageDraw.Draw(image), [ImageFont.load_default(points * size) for points in (13, 11)]

    def at(x: float, y: float) -> tuple[float, float]:
        return (left + unit * x) * size, (top + unit * (1 - y)) * size

    for tick in np.linspace(0, 1, 6).tolist():
        draw.line([at(tick, 0), at(tick, 1)], "#e4e4e4", size)
        draw.line([at(0, tick), at(1, tick)], "#e4e4e4", size)
        draw.text(at(tick, -0.02), f"{tick:.1f}", "#444444", fonts[1], anchor="mt")
        draw.text(at(-0.02, tick), f"{tick:.1f}", "#444444", fonts[1], anchor="rm")
    counts = np.bincount(bins, minlength=BINS)
    for k, height in enumerate((0.25 * counts / counts.max()).tolist()):
        draw.rectangle([at(k / BINS + 0.012, height), at((k + 1) / BINS - 0.012, 0)], "#cfdcea")
    draw.line([at(0, 0), at(1, 1)], "#888888", size)
    rng = np.random.default_rng(0)
    for k in range(BINS):
        of = [np.bincount(joints.picture[bins == k], w, minlength=pictures) for w in (near[bins == k], None)]
        if not counts[k]:
            continue
        drawn = rng.integers(0, pictures, (2000, pictures))
        right, all_ = (each[drawn].sum(1) for each in of)
        low, high = np.quantile(right[all_ > 0] / all_[all_ > 0], [0.025, 0.975]).tolist()
        x, y = float(found[bins == k].mean()), float(near[bins == k].mean())
        draw.line([at(x, low), at(x, high)], "#1f4e8c", 2 * size)
        (px, py), r = at(x, y), 4 * size
        draw.ellipse([px - r, py - r, px + r, py + r], "#1f4e8c")
    middle = (left + unit / 2) * size
    error = calibration_error(found, near)
    draw.text((middle, 8 * size), f"{name}: expected calibration error {error:.3f}", "black", fonts[0], anchor="mt")
    counted = f"{len(found):,} joints of {joints.people} people, {parts} parts; bars: how many joints"
    draw.text((middle, 27 * size), counted, "#444444", fonts[1], anchor="mt")
    draw.text((middle, (top + unit + 26) * size), "probability", "black", fonts[1], anchor="mt")
    sideways = Image.new("RGB", (unit * size, 16 * size), "white")
    text = f"share of joints within {NEAR} of the body size"
    ImageDraw.Draw(sideways).text((unit * size / 2, 8 * size), text, "black", fonts[1], anchor="mm")
    image.paste(sideways.rotate(90, expand=True), (4 * size, top * size))
    return image.quantize(32)


def main() -> None:
    """Measure, print, draw and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="a name, or a .safetensors file of ours")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", type=int, default=5, help="parts of the pictures for the cross-fit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flip-test", action="store_true")
    parser.add_argument("--picture", type=Path, help="the diagram; by default docs/calibration_MODEL.png")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = choose_model(args.model).path
    estimator = TorchEstimator.load(path, EstimatorSettings(flip_test=args.flip_test, threads=args.threads))
    stored = estimator.calibration
    joints = observe(estimator, annotated_pictures(args.data / "coco_persons" / "val.json"))
    estimator.close()
    calibration = fit(joints)
    print(f"{estimator.name}, {len(joints.error)} joints of {joints.people} people, {joints.near.mean():.1%} right")
    for parts in sorted({2, args.parts}):
        print(*report(joints, parts), sep="\n")
    print(*by_kind(joints, args.parts), sep="\n")
    if stored:
        error = calibration_error(probabilities(joints, stored), joints.near)
        print(f"as stored: expected calibration error {error:.3f}, of people whom that fit may have seen")
    print(calibration)
    if args.dry_run:
        return
    picture = args.picture or ROOT / "docs" / f"calibration_{estimator.name}.png"
    reliability_diagram(estimator.name, joints, args.parts).save(picture, optimize=True)
    save_calibration(path, calibration)
    print(f"written: {path}, {path.with_suffix('.json').name}, {picture}")
    if path.parent == SHIPPED:
        print(f"now: python models/recipes/onnx_files.py {estimator.name}")


if __name__ == "__main__":
    main()
