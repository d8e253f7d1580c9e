"""What a device does in the pose stage: person windows a second by batch, how busy it is, and where time goes.

On a GPU, in a checkout (minutes):

`python benchmarks/speed/gpu.py nano small --device cuda --batches 16,64,256 --precisions fp32,tf32,bf16,fp16`

`--engine onnx` or `tensorrt` measures those engines, `--channels-last` the other order in memory. To try the script
without a GPU: `--device cpu --batches 16 --frames 8 --rounds 1`.

Three tables. The pose stage of `jmpose infer` by itself, on windows that are there already: of `--frames` of a video,
as often as it takes to fill the calls four times over, each time as frames that were never seen. A lap before warms up;
the median of `--rounds` laps counts. `busy` is the share of a lap in which the device computes: of a GPU by its own
record of kernels, of a CPU as processor seconds beside those of the clock and all cores. Then the parts of one call of
the network (torch alone): crops cut and normalised, backbone, people's maps put into windows and laid onto the key
frame's crop, temporal part, joints found in heatmaps; of a CPU in processor seconds on one thread. Last, the busy
seconds of all stages of a whole run, which overlap.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from jmpose.graphs import joints_in_image, lay_windows
from jmpose.network import FrameFeatures
from jmpose.sampling import normalise, sample_crops
from jmpose_cli import Annotator
from jmpose_cli.annotate.networks import Networks, load_networks
from jmpose_cli.annotate.stages import estimated
from jmpose_cli.background import StageClock
from jmpose_cli.config import InferConfig
from jmpose_cli.device import choose_device, convolution_order, set_float32_arithmetic, usable_cores
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.maps import PersonMaps
from jmpose_cli.pose.torch_engine import arrange, load_with_temporal
from jmpose_cli.pose.windows import Windows
from precision import EXAMPLE, never_seen, video_windows

LAPS_OF_CALLS = 4
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def waited(device: torch.device) -> float:
    """Return the time by the clock when the device has done what it has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def lap(windows: list[Windows], copies: int, config: InferConfig, networks: Networks) -> tuple[float, float]:
    """Run the pose stage on the windows of a video, some times over; return wall and processor seconds."""
    again = [one for _ in range(copies) for one in never_seen([windows])[0]]
    device = torch.device(config.device)
    started, worked = waited(device), time.process_time()
    for _ in estimated(iter(again), config, networks, StageClock()):
        pass
    return waited(device) - started, time.process_time() - worked


def kernels_s(run: Callable[[], object]) -> float:
    """Return the seconds in which at least one kernel or copy runs on a GPU."""
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        run()
    on_gpu = (e.time_range for e in record.events() if e.device_type == torch.autograd.DeviceType.CUDA)
    busy_us, end = 0.0, 0.0
    for span in sorted(on_gpu, key=lambda span: span.start):
        busy_us += max(0.0, span.end - max(span.start, end))
        end = max(end, span.end)
    return busy_us / 1e6


def measure_stage(config: InferConfig, windows: list[Windows], rounds: int) -> tuple[str, float, float]:
    """Return the engine, person windows a second, and the busy share of the device."""
    networks, _ = load_networks(config, detecting=False)
    people = sum(len(one.key.people) for one in windows)
    copies = -(-LAPS_OF_CALLS * config.pose.batch // people)
    laps = [lap(windows, copies, config, networks) for _ in range(rounds + 1)][1:]
    wall_s = statistics.median(wall for wall, _ in laps)
    if config.device == "cpu":
        busy = statistics.median(worked / wall for wall, worked in laps) / usable_cores()
    else:
        found: list[float] = []
        kernels = kernels_s(lambda: found.append(lap(windows, copies, config, networks)[0]))
        busy = kernels / found[0]
    networks.close()
    return networks.estimator.engine, copies * people / wall_s, busy


class Operations(TorchDispatchMode):
    """Counts what torch is told to do, views included."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@torch.inference_mode()
def measure_parts(config: InferConfig, rounds: int) -> dict[str, tuple[float, int]]:
    """Return milliseconds and operations of the parts of a call, on noise: cost does not depend on it."""
    device, batch, dtype = torch.device(config.device), config.pose.batch, DTYPES.get(config.precision)
    set_float32_arithmetic(tf32=config.precision == "tf32")
    model, _ = load_with_temporal(choose_model(config.pose.model).path, None, replace_temporal=False)
    model.to(device)
    order = torch.channels_last if config.pose.channels_last else convolution_order(device)
    model.backbone.to(memory_format=order)
    window = model.config.preprocess
    size = (window.input_height, window.input_width)
    frames = torch.randint(0, 256, (2, 1080, 1920, 3), dtype=torch.uint8).to(device)
    rows = torch.arange(batch) % 2
    change = torch.tensor([[0.05, 0, 4], [0, 0.05, 4]]) * torch.rand(batch, window.frames, 2, 3)
    to_image = torch.eye(2, 3) * 2 + change  # boxes change a little from frame to frame
    on_device, affines = to_image.to(device), to_image.numpy()
    exists = torch.ones(batch, window.frames, dtype=torch.bool, device=device)

    def crops() -> torch.Tensor:
        return normalise(sample_crops(frames, rows, to_image[:, 0], size), window).contiguous(memory_format=order)

    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        pictures = crops()
        seen = model.encode(pictures)
        maps, initial = [each.contiguous() for each in seen.maps], seen.heatmaps.contiguous()
        people = [
            [PersonMaps(affine, tuple(each[n] for each in maps), initial[n]) for affine in affines[n]]
            for n in range(batch)
        ]

        def windows() -> FrameFeatures:
            return lay_windows(arrange(people, model.places), on_device, model.places, window)

        laid = windows()
        heatmaps = model.fuse(laid, exists).heatmaps
        calls: dict[str, Callable[[], object]] = {
            "crops": crops,
            "backbone": lambda: model.encode(pictures),
            "windows": windows,
            "temporal": lambda: model.fuse(laid, exists),
            "joints": lambda: [x.cpu() for x in joints_in_image(heatmaps, on_device[:, window.key_index], window)],
        }
        spent: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds + 1):
            for name, call in calls.items():
                started = waited(device), time.process_time()
                call()
                ended = waited(device), time.process_time()
                spent[name].append(ended[0] - started[0] if device.type == "cuda" else ended[1] - started[1])
        operations = {}
        for name, call in calls.items():
            with Operations() as counted:
                call()
            operations[name] = counted.count
    return {name: (statistics.median(times[1:]) * 1e3, operations[name]) for name, times in spent.items()}


def measure_run(config: InferConfig, video: Path, frames: int) -> dict[str, float]:
    """Return the busy seconds of the stages of a whole run, and its seconds by the clock."""
    settings = {
        "precision": config.precision,
        "engine": config.engine,
        "pose.batch": config.pose.batch,
        "pose.channels_last": config.pose.channels_last,
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        Annotator(config.pose.model, device=config.device, settings=settings) as annotator,
    ):
        annotator.load()
        done = annotator.write(video, folder, frames=(0, frames))
    return {"wall": done.wall_s, **done.stage_s}


def supported(config: InferConfig) -> bool:
    """Whether the device has the precision."""
    try:
        choose_device(config.device, precision=config.precision)
    except JmposeError as error:
        print(f"left out: {error.message}")
        return False
    return True


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["nano", "small"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--batches", default="16,64,256")
    parser.add_argument("--precisions", default="fp32")
    parser.add_argument("--channels-last", action="store_true", help="also where it is not the default")
    parser.add_argument("--video", type=Path, default=EXAMPLE)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device = choose_device(args.device, precision="fp32")
    torch.set_num_threads(1)
    kinds = [
        config
        for model in args.models
        for precision in args.precisions.split(",")
        for batch in map(int, args.batches.split(","))
        if supported(
            config := InferConfig.model_validate(
                {
                    "device": device.name,
                    "engine": args.engine,
                    "precision": precision,
                    "decode": {"frames": f"0:{args.frames}"},
                    "pose": {"model": model, "batch": batch} | ({"channels_last": True} if args.channels_last else {}),
                }
            )
        )
    ]
    windows = [one for batch in video_windows(args.video, kinds[0]) for one in batch]
    people = sum(len(one.key.people) for one in windows)
    machine = f"{device.description}, {platform.machine()}, {os.cpu_count()} cores"
    print(f"{date.today()}, torch {torch.__version__}, {machine}; {args.video.name}, {people} windows\n")
    print("| model | engine | precision | batch | windows/s | busy |\n|---|---|---|---|---|---|")
    for config in kinds:
        engine, rate, busy = measure_stage(config, windows, args.rounds)
        print(
            f"| {config.pose.model} | {engine} | {config.precision} | {config.pose.batch} | {rate:.1f} | {busy:.2f} |"
        )
    if args.engine == "torch":
        print("\nmilliseconds of a call (operations of torch)\n")
        for number, config in enumerate(kinds):
            parts = measure_parts(config, args.rounds)
            if not number:
                print(f"| model | precision | batch | {' | '.join(parts)} |\n|---|---|---|{'---|' * len(parts)}")
            cells = " | ".join(f"{ms:.2f} ({count})" for ms, count in parts.values())
            print(f"| {config.pose.model} | {config.precision} | {config.pose.batch} | {cells} |")
    print("\nbusy seconds of the stages of a whole run\n")
    for config in kinds:
        stages = ", ".join(f"{name} {s:.2f}" for name, s in measure_run(config, args.video, args.frames).items())
        print(f"- {config.pose.model}, {config.precision}, batch {config.pose.batch}: {stages}")


if __name__ == "__main__":
    main()
