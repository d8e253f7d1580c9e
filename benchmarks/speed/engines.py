"""`jmpose infer` by torch and by ONNX Runtime, whole processes in turns.

`python benchmarks/speed/engines.py VIDEO [--rounds 5] [--out runs/bench] [--yolo] [-- OPTIONS OF jmpose infer]`

A line an engine: medians of wall seconds, of processor seconds, of their quotient, the cores in use, and of the peak
memory in MB (PSS of all processes). The last lines are medians of the quotients of onnx by each other in a round, which
other work on the machine disturbs least.

With `--yolo`, Ultralytics' YOLO11n-pose runs on the whole video as the third: `predict` at 640 pixels by torch on two
threads, which writes nothing. Its weights are random: they cost the same, but nobody is found, so suppression of boxes
and drawing come for free.
"""

import argparse
import os
import platform
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
    args = parser.parse_args(sys.argv[1:split])
    options = sys.argv[split + 1 :]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{date.today()}, {machine}, {args.video.name} {' '.join(options)}")
    rounds: dict[str, list[tuple[float, float, float, float]]] = {
        engine: [] for engine in (*ENGINES, *([YOLO] if args.yolo else []))
    }
    for _ in range(args.rounds):
        for engine, figures in rounds.items():
            code, wall, busy, peak, last = (
                measured([sys.executable, "-c", _PREDICT, str(args.video)])
                if engine == YOLO
                else run(args.video, args.out, ["--engine", engine, *options])
            )
            if code:
                sys.exit(f"{engine}: exit {code}: {last}")
            figures.append((wall, busy, busy / wall, peak))
    print(f"{'':14}" + "".join(f"{title:>12}" for title in ("wall s", "processor s", "cores", "MB")))
    for engine, figures in rounds.items():
        print(f"{engine:14}" + "".join(f"{statistics.median(column):12.2f}" for column in zip(*figures, strict=True)))
    for other in rounds:
        if other != "onnx":
            pairs = zip(rounds["onnx"], rounds[other], strict=True)
            quotients = [[new / old for new, old in zip(*pair, strict=True)] for pair in pairs]
            medians = (statistics.median(column) for column in zip(*quotients, strict=True))
            print(f"{f'by {other}':14}" + "".join(f"{quotient:12.2f}" for quotient in medians))


if __name__ == "__main__":
    main()
