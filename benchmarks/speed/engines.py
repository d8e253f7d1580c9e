"""`jmpose infer` by torch and by ONNX Runtime, whole processes in turns.

`python benchmarks/speed/engines.py VIDEO [--rounds 5] [--out runs/bench] [--yolo] [--also OPTIONS]
[-- OPTIONS OF jmpose infer]`

A line an engine: medians of wall seconds, of processor seconds, of their quotient, the cores in use, and of the peak
memory in MB (PSS of all processes). The last lines are medians of the quotients of onnx by each other in a round, which
other work on the machine disturbs least.

With `--also "--model small --precision int8"`, `jmpose infer` runs once more in each round, with these options besides.

With `--yolo`, Ultralytics' YOLO11n-pose runs on the whole video too: `predict` at 640 pixels by torch on two
threads, which writes nothing. Its weights are random: they cost the same, but nobody is found, so suppression of boxes
and drawing come for free.
"""

import argparse
import os
import platform
import shlex
import statistics
import sys
from datetime import date
from pathlib import Path

from infer import measured, run

ENGINES = ("torch", "onnx")
YOLO = "yolo11n-pose"
_PREDICT = f"""
import os, sys
os.environ.update(YOLO_AUTOINSTALL="False", YOLO_VERBOSE="False")
import torch
torch.set_num_threads(2)
from ultralytics import YOLO
for _ in YOLO("{YOLO}.yaml").predict(sys.argv[1], imgsz=640, device="cpu", stream=True, verbose=False):
    pass
"""


def main() -> None:
    """Print a line an engine, and the quotients."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--yolo", action="store_true")
    parser.add_argument("--also", default="", metavar="OPTIONS")
    args = parser.parse_args(sys.argv[1:split])
    options = sys.argv[split + 1 :]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{date.today()}, {machine}, {args.video.name} {' '.join(options)}")
    others = [name for name in (args.also, YOLO if args.yolo else "") if name]
    rounds: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in (*ENGINES, *others)}
    for _ in range(args.rounds):
        for name, figures in rounds.items():
            if name == YOLO:
                found = measured([sys.executable, "-c", _PREDICT, str(args.video)])
            else:
                given = ["--engine", name] if name in ENGINES else shlex.split(name)
                found = run(args.video, args.out, [*given, *options])
            code, wall, busy, peak, last = found
            if code:
                sys.exit(f"{name}: exit {code}: {last}")
            figures.append((wall, busy, busy / wall, peak))
    width = max(14, *(len(name) + 4 for name in rounds))
    print(" " * width + "".join(f"{title:>12}" for title in ("wall s", "processor s", "cores", "MB")))
    for name, figures in rounds.items():
        print(
            f"{name:{width}}" + "".join(f"{statistics.median(column):12.2f}" for column in zip(*figures, strict=True))
        )
    for other in rounds:
        if other != "onnx":
            pairs = zip(rounds["onnx"], rounds[other], strict=True)
            quotients = [[new / old for new, old in zip(*pair, strict=True)] for pair in pairs]
            medians = (statistics.median(column) for column in zip(*quotients, strict=True))
            print(f"{f'by {other}':{width}}" + "".join(f"{quotient:12.2f}" for quotient in medians))


if __name__ == "__main__":
    main()
