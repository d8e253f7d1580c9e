"""`jmpose infer` by torch and by ONNX Runtime, whole processes in turns.

`python benchmarks/speed/engines.py VIDEO [--rounds 5] [--out runs/bench] [-- OPTIONS OF jmpose infer]`

A line an engine: medians of wall seconds, of processor seconds, of their quotient, the cores in use, and of the peak
memory in MB (PSS of all processes). The last line are the medians of the quotients of each pair, which other work on
the machine disturbs least.
"""

import argparse
import os
import platform
import statistics
import sys
from datetime import date
from pathlib import Path

from infer import run

ENGINES = ("torch", "onnx")


def main() -> None:
    """Print a line an engine, and one with the quotients."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args(sys.argv[1:split])
    options = sys.argv[split + 1 :]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{date.today()}, {machine}, {args.video.name} {' '.join(options)}")
    rounds: dict[str, list[tuple[float, float, float, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(args.rounds):
        for engine, figures in rounds.items():
            code, wall, busy, peak, last = run(args.video, args.out, ["--engine", engine, *options])
            if code:
                sys.exit(f"--engine {engine}: exit {code}: {last}")
            figures.append((wall, busy, busy / wall, peak))
    print(f"{'':8}" + "".join(f"{title:>12}" for title in ("wall s", "processor s", "cores", "MB")))
    for engine, figures in rounds.items():
        print(f"{engine:8}" + "".join(f"{statistics.median(column):12.2f}" for column in zip(*figures, strict=True)))
    pairs = zip(*rounds.values(), strict=True)
    quotients = [[new / old for old, new in zip(*pair, strict=True)] for pair in pairs]
    print(f"{'quotient':8}" + "".join(f"{statistics.median(column):12.2f}" for column in zip(*quotients, strict=True)))


if __name__ == "__main__":
    main()
