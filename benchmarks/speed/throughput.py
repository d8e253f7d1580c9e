"""Person windows per second of whole models, and of their backbones on single frames.

`python benchmarks/speed/throughput.py nano hrnet-w48 vitpose-b vitpose-h [--device auto] [--batch 32] [--seconds 5]`

Names of configurations get random weights, which cost the same; other names and paths of weights are loaded.
`single/s` counts calls of the backbone alone on one crop a person, what a single-frame model does; `tool/s` what
`jmpose infer` does for a person and frame: one pass of the backbone, its neighbours' maps laid onto its crop, and the
temporal part; `temporal adds` compares the two. `paper/s` counts calls of the whole network on T crops of one region,
the way of the paper (`pose.shared_crops`). Inputs lie on the device and are read over and over: decoding of video,
cutting crops and decoding of heatmaps are not in it. The three are called in turns; each cell is the median of the
calls in `--seconds`, after a warm-up; compilation is not counted. A CPU runs one thread, and its seconds are processor
seconds, which other work on the machine disturbs less: the figures are those of one core.
"""

import argparse
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import date

import torch

from jmpose import CONFIGS, build_model, load_model
from jmpose.folding import fold_batch_norms
from jmpose.graphs import lay_windows
from jmpose.network import JMPose
from jmpose_cli.device import choose_device, set_float32_arithmetic
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import choose_model
from jmpose_cli.pose.maps import PersonMaps
from jmpose_cli.pose.torch_engine import arrange

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def per_second(calls: Sequence[Callable[[], object]], *, items: int, on_gpu: bool, seconds: float) -> list[float]:
    """Items per second of each call, in turns: the medians of as many rounds as fit into `seconds`; at least three."""
    clock = time.perf_counter if on_gpu else time.process_time
    spent: list[list[float]] = [[] for _ in calls]
    warm_up = 2
    while sum(map(sum, spent)) < seconds * len(calls) or len(spent[0]) < warm_up + 3:
        for call, times in zip(calls, spent, strict=True):
            if on_gpu:
                torch.cuda.synchronize()
            started = clock()
            call()
            if on_gpu:
                torch.cuda.synchronize()
            times.append(clock() - started)
    return [items / statistics.median(times[warm_up:]) for times in spent]


def measure(model: JMPose, *, device: str, precision: str, compiled: bool, batch: int, seconds: float) -> list[float]:
    """People per second by the backbone alone, as the tool does it, and as the paper does."""
    set_float32_arithmetic(tf32=precision == "tf32")
    window, dtype = model.config.preprocess, DTYPES[precision]
    size = (window.input_height, window.input_width)
    kind = torch.device(device).type
    backbone, encode, fuse, whole = model.backbone, model.encode, model.fuse, model
    if compiled:
        backbone, encode, fuse, whole = (torch.compile(f, dynamic=False) for f in (backbone, encode, fuse, whole))
    crops = torch.randn(batch * window.frames, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
    windows, pictures = crops.view(batch, window.frames, 3, *size), crops[:batch]
    arithmetic = nullcontext() if dtype == torch.float32 else torch.autocast(kind, dtype)
    exists = torch.ones(batch, window.frames, dtype=torch.bool, device=device)
    with torch.inference_mode(), arithmetic:
        seen = model.encode(pictures)
        maps, heatmaps = [each.contiguous() for each in seen.maps], seen.heatmaps.contiguous()
        # Boxes change a little from frame to frame.
        change = torch.tensor([[0.05, 0, 4], [0, 0.05, 4]], device=device)
        affines = torch.eye(2, 3, device=device) + change * torch.rand(batch, window.frames, 2, 3, device=device)
        people = [
            [PersonMaps(affine, tuple(each[n] for each in maps), heatmaps[n]) for affine in affines[n].cpu().numpy()]
            for n in range(batch)
        ]

        def as_the_tool() -> None:
            encode(pictures)
            fuse(lay_windows(arrange(people, model.places), affines, model.places, window), exists)

        calls = (lambda: backbone(pictures), as_the_tool, lambda: whole(windows))
        return per_second(calls, items=batch, on_gpu=kind == "cuda", seconds=seconds)


def load(name: str, device: str, *, folded: bool) -> JMPose:
    """A configuration with random weights, or trained weights by name or path."""
    model = build_model(CONFIGS[name]) if name in CONFIGS else load_model(choose_model(name).path)
    model.eval()
    if folded:
        fold_batch_norms(model)
    model.backbone.to(memory_format=torch.channels_last)
    return model.to(device)


def supported(device: str, precision: str) -> bool:
    """Whether the tool runs this precision there."""
    try:
        choose_device(device, precision=precision)
    except JmposeError:
        return False
    return True


def main() -> None:
    """Print one line a model, precision and way to run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=32, help="windows in a call")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each cell")
    parser.add_argument("--precisions", default="fp32,tf32,bf16,fp16")
    parser.add_argument("--without-compile", action="store_true")
    parser.add_argument("--with-norms", action="store_true", help="each model with its BatchNorm not folded, too")
    args = parser.parse_args()
    device = choose_device(args.device, precision="fp32")
    torch.set_num_threads(1)
    machine = device.description if device.name != "cpu" else "cpu, one thread"
    print(
        f"{date.today()}, torch {torch.__version__}, {machine}, {platform.machine()}, {os.cpu_count()} cores, ", end=""
    )
    print(f"batch {args.batch}\n")
    print(
        "| model | input | frames | precision | compiled | single/s | tool/s | temporal adds | paper/s | tool : paper |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, folded in itertools.product(args.models, (True, False) if args.with_norms else (True,)):
        model = load(name, device.name, folded=folded)
        window = model.config.preprocess
        head = (
            f"| {name}{'' if folded else ', norms kept'} | {window.input_height}x{window.input_width} | {window.frames}"
        )
        for precision in args.precisions.split(","):
            if not supported(device.name, precision):
                continue
            for compiled in (False,) if args.without_compile else (False, True):
                line = f"{head} | {precision} | {'yes' if compiled else 'no'}"
                settings = {"precision": precision, "compiled": compiled, "batch": args.batch, "seconds": args.seconds}
                try:
                    single, tool, paper = measure(model, device=device.name, **settings)
                except torch.OutOfMemoryError:
                    print(f"{line} | out of memory | | | | |", flush=True)
                    continue
                added = f"{100 * (single / tool - 1):.0f} %"
                print(f"{line} | {single:.1f} | {tool:.1f} | {added} | {paper:.1f} | {tool / paper:.2f} |", flush=True)
        del model
        if device.name.startswith("cuda"):
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
