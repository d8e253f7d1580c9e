"""What the precision and speed switches of the pose network change: coordinates, scores and speed against fp32.

`python benchmarks/speed/precision.py [--model nano] [--video FILE] [--frames 40] [--device auto] [--rounds 5]`

The windows of the video are made once, with the tool's own detector and tracker. Each switch then estimates the same
windows. Differences of joints are in pixels of the network's input, so that the size of a person does not count; joints
whose fp32 score is below 0.2 are left out, as nothing draws or scores them, and counted. With shared crops a window is
cut by its key frame's box, as in the paper, and the backbone sees a person in a frame T times. Seconds of a switch and
of fp32 are measured in turns; the speed is the median of their ratios. A CPU runs one thread, and its seconds are
processor seconds, which other work on the machine disturbs less. On a GPU all switches run, on a CPU those it has.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch

from jmpose.sampling import crop_affine
from jmpose_cli.annotate.networks import load_networks
from jmpose_cli.annotate.stages import batched_windows
from jmpose_cli.background import StageClock
from jmpose_cli.clips.video import open_clip
from jmpose_cli.config import InferConfig
from jmpose_cli.device import choose_device, cpu_has_bf16, set_float32_arithmetic
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.estimator import COUNTED_SCORE, EstimatorSettings, PoseEstimator
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import Windows
from jmpose_cli.values import Float

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "street.mp4"


@dataclass(frozen=True)
class Switch:
    """One way to run the network."""

    precision: str = "fp32"
    channels_last: bool = True
    compiled: bool = False
    shared_crops: bool = False

    def __str__(self) -> str:
        changes = {
            "channels first": not self.channels_last,
            "compiled": self.compiled,
            "shared crops": self.shared_crops,
        }
        return ", ".join([self.precision, *(name for name, is_on in changes.items() if is_on)])


BASE = Switch()
Clock = Callable[[], float]


def switches(device: str) -> Iterator[Switch]:
    """Yield the switches that a device has, without the one that they are compared with."""
    precisions = ["tf32", "bf16", "fp16"] if device.startswith("cuda") else ["bf16"] * cpu_has_bf16()
    yield replace(BASE, channels_last=False)
    yield replace(BASE, shared_crops=True)
    yield from (replace(BASE, precision=precision) for precision in precisions)
    yield from (replace(BASE, precision=precision, compiled=True) for precision in ["fp32", *precisions])


def video_windows(video: Path, config: InferConfig) -> list[list[Windows]]:
    """The windows of a video, some frames at a time, as `jmpose infer` makes them."""
    networks, _ = load_networks(config)
    with open_clip(video, config.decode, children=networks.children) as source:
        made = list(batched_windows(source, config, networks, StageClock()))
    networks.close()
    return made


def never_seen(batches: list[list[Windows]]) -> list[list[Windows]]:
    """The same windows of frames that no estimator has maps of."""
    frames = {frame: replace(frame) for batch in batches for windows in batch for frame in windows.frames}
    return [
        [replace(w, key=frames.get(w.key, w.key), frames=[frames[f] for f in w.frames]) for w in batch]
        for batch in batches
    ]


def estimate(estimator: PoseEstimator, batches: list[list[Windows]], clock: Clock) -> tuple[float, Float, Float]:
    """Return the seconds by `clock`, joints `[N, K, 2]` in image pixels and scores `[N, K]` of all people."""
    batches = never_seen(batches)
    started = clock()
    poses = [pose for batch in batches for pose in estimator.estimate(batch)]
    seconds = clock() - started
    return seconds, np.concatenate([p.xy_image for p in poses]), np.concatenate([p.scores for p in poses])


def input_scale(estimator: PoseEstimator, batches: list[list[Windows]]) -> Float:
    """`[N]` image pixels for one pixel of the network's input."""
    boxes = np.concatenate([w.key.people.boxes_xyxy_px for batch in batches for w in batch])
    return crop_affine(torch.from_numpy(boxes), estimator.preprocess)[:, 0, 0].numpy()


def row(name: str, distance_px: Float, scores: Float, ratio: float) -> str:
    """One line of the table."""
    cells = [distance_px.mean(), np.percentile(distance_px, 99), distance_px.max(), scores.mean(), scores.max()]
    return f"| {name} | {' | '.join(f'{cell:.4f}' for cell in cells)} | {ratio:.2f} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--video", type=Path, default=EXAMPLE)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-compile", action="store_true")
    args = parser.parse_args()
    device = choose_device(args.device, precision="fp32")
    config = InferConfig.model_validate(
        {
            "device": device.name,
            "decode": {"frames": f"0:{args.frames}"},
            "pose": {"model": args.model, "batch": args.batch},
        }
    )
    batches = video_windows(args.video, config)

    def load(switch: Switch) -> PoseEstimator:
        settings = EstimatorSettings(device=device.name, batch=args.batch, **vars(switch))
        return TorchEstimator.load(choose_model(args.model).path, settings)

    base = load(BASE)
    clock = time.process_time if device.name == "cpu" else time.perf_counter
    _, wanted, wanted_scores = estimate(base, batches, clock)
    counted = wanted_scores >= COUNTED_SCORE
    scale = input_scale(base, batches)[:, None]
    size = f"{base.preprocess.input_height}x{base.preprocess.input_width}"
    print(
        f"{date.today()}, torch {torch.__version__}, {device.description}, {platform.machine()}, {os.cpu_count()} cores"
    )
    print(
        f"{base.name}, input {size}, {args.video.name}: {len(wanted)} windows, {counted.sum()} joints compared, ",
        end="",
    )
    print(f"{(~counted).sum()} below {COUNTED_SCORE}\n")
    print("| switch | mean px | 99 % px | max px | mean score | max score | speed |\n|---|---|---|---|---|---|---|")
    for switch in switches(device.name):
        if switch.compiled and args.without_compile:
            continue
        estimator = load(switch)
        estimate(estimator, batches, clock)
        ratios = []
        for _ in range(args.rounds):
            # The arithmetic of float32 is the process's, not the estimator's.
            set_float32_arithmetic(tf32=False)
            seconds_base, _, _ = estimate(base, batches, clock)
            set_float32_arithmetic(tf32=switch.precision == "tf32")
            seconds, xy, scores = estimate(estimator, batches, clock)
            ratios.append(seconds_base / seconds)
        distance = np.linalg.norm(xy - wanted, axis=-1) / scale
        difference = np.abs(scores - wanted_scores)[counted]
        print(row(str(switch), distance[counted], difference, statistics.median(ratios)), flush=True)


if __name__ == "__main__":
    main()
