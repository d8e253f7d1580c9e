"""How long a model takes from the start of a process to its first window, each step in a process of its own.

`python benchmarks/speed/start.py nano hrnet-w48 vitpose-b [--rounds 3] [--threads 1]`

Names of configurations get random weights, saved first; paths are loaded as they are. Wall seconds from the start of
the process, median of the rounds; behind them the processor seconds, which other work on the machine disturbs less.
The last column is the process's largest memory in GB, the pages of the weights file that it has read included.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jmpose.presets import CONFIGS

STEPS = ("imports", "loaded", "first window", "second window")


def measure(path: Path, *, started: float, threads: int) -> None:
    """Run in the process that is measured: print wall and processor seconds at the end of each step, and memory."""
    laps = []

    def lap() -> None:
        laps.append((time.time() - started, time.process_time()))

    import torch

    from jmpose import load_model

    torch.set_num_threads(threads)
    lap()
    model = load_model(path)
    lap()
    window = model.config.preprocess
    inputs = torch.zeros(1, window.frames, 3, window.input_height, window.input_width)
    with torch.inference_mode():
        for _ in range(2):
            model(inputs)
            lap()
    print(json.dumps({"laps": laps, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))


def save_random(name: str, folder: Path) -> Path:
    from jmpose import build_model, save_model

    return save_model(build_model(CONFIGS[name]), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help=f"paths, or of {', '.join(CONFIGS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.started is not None:
        measure(Path(args.models[0]), started=args.started, threads=args.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'':14}" + "".join(f"{step:>16}" for step in STEPS) + f"{'peak GB':>10}")
        for name in args.models:
            path = save_random(name, Path(folder)) if name in CONFIGS else Path(name)
            rounds = []
            for _ in range(args.rounds):
                command = [sys.executable, __file__, str(path), "--threads", str(args.threads), "--started"]
                out = subprocess.run([*command, str(time.time())], check=True, stdout=subprocess.PIPE, text=True)
                rounds.append(json.loads(out.stdout))
            cells = []
            for step in range(len(STEPS)):
                wall, cpu = (statistics.median(r["laps"][step][kind] for r in rounds) for kind in (0, 1))
                cells.append(f"{wall:7.1f} ({cpu:.1f})".rjust(16))
            print(f"{path.stem:14}" + "".join(cells) + f"{max(r['peak_gb'] for r in rounds):10.1f}", flush=True)


if __name__ == "__main__":
    main()
