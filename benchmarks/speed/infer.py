"""Speed, memory and findings of `jmpose infer` on a folder of videos.

`python benchmarks/speed/infer.py VIDEOS... [--out runs/bench] [-- OPTIONS OF jmpose infer]`

Each video runs in a process of its own. Memory is the largest sum of proportional set sizes (PSS) over the process and
its children, sampled every 50 ms, so that shared pages count once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil


def run(video: Path, out: Path, options: list[str]) -> tuple[int, float, float, float, str]:
    """Run one video; give the exit code, seconds, those of processors, peak MB and the last line of standard error."""
    command = [sys.executable, "-m", "jmpose_cli.main", "infer", "--out", str(out), "--overwrite", *options]
    return measured([*command, "--", str(video)])


def measured(command: list[str]) -> tuple[int, float, float, float, str]:
    """Run a command; give what `run` gives."""
    started, before = time.monotonic(), os.times()
    process = psutil.Popen(command, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process))
        time.sleep(0.05)
    lines = process.stderr.read().strip().splitlines()
    seconds, after = time.monotonic() - started, os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return process.returncode, seconds, busy, peak / 1e6, lines[-1] if lines else ""


def _memory(process: psutil.Process) -> int:
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def main() -> None:
    """Print one line a video."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args(sys.argv[1:split])
    options = sys.argv[split + 1 :]
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, options: {' '.join(options) or 'none'}")
    columns = " ".join(f"{c:>6}" for c in ("frames", "people", "tracks", "fps", "wall s", "MB"))
    print(f"{'video':24} {columns}  busy seconds a stage")
    for video in args.videos:
        code, seconds, _, peak, last = run(video, args.out, options)
        if code:
            print(f"{video.stem[:24]:24} exit {code} after {seconds:.1f} s: {last}")
            continue
        found = json.loads((args.out / "summary.json").read_text())["videos"][video.stem]
        stages = " ".join(f"{stage} {busy:.1f}" for stage, busy in found["stage_s"].items())
        counts = f"{found['frames']:6} {found['people']:6} {found['tracks']:6}"
        rate = found["frames"] / found["wall_s"]
        print(f"{video.stem[:24]:24} {counts} {rate:6.1f} {seconds:6.1f} {peak:6.0f}  {stages}", flush=True)


if __name__ == "__main__":
    main()
