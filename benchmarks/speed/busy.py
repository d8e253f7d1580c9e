"""How many cores `jmpose infer` could keep busy, told on a machine that other work keeps busy too (Linux).

`python benchmarks/speed/busy.py VIDEO [--cores 2] [--out runs/bench] [-- OPTIONS OF jmpose infer]`

A hundred times a second, all threads of the run and of its children are counted that compute or wait for a core, and
the processor time since then is put to their number. On free cores the time of N threads passes min(N, cores) times as
fast, which gives the cores in use: of the whole run, and between its start and its end, where it loads and checks.
"""

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil

START_S, END_S = 1.6, 0.5
"""Processor seconds that count as start and end."""
_EVERY_S = 0.01


def ready(process: psutil.Process) -> Iterator[tuple[tuple[int, int], bool, float]]:
    """Yield of each thread its ids, whether it computes or could, and its processor seconds."""
    try:
        members = [process.pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return
    for pid in members:
        for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
            try:
                state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                nanoseconds = int((thread / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                continue  # it has ended
            yield (pid, int(thread.name)), state == "R", nanoseconds / 1e9


def cores_in_use(spent: dict[int, float], cores: int) -> float:
    """Return the cores in use, by processor seconds for each number of threads that were ready."""
    return sum(spent.values()) / sum(seconds / min(max(threads, 1), cores) for threads, seconds in spent.items())


def main() -> None:
    """Print processor seconds by the number of ready threads, and the cores that come of them."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args(sys.argv[1:split])
    command = [sys.executable, "-m", "jmpose_cli.main", "infer", "--out", str(args.out), "--overwrite", "--quiet"]
    process = psutil.Popen([*command, *sys.argv[split + 1 :], "--", str(args.video)], stdout=subprocess.DEVNULL)
    before: dict[tuple[int, int], float] = {}
    laps: list[tuple[int, float]] = []
    while process.poll() is None:
        count, seconds = 0, 0.0
        for thread, is_ready, total in ready(process):
            count += is_ready
            seconds += total - before.get(thread, 0.0)
            before[thread] = total
        laps.append((count, seconds))
        time.sleep(_EVERY_S)
    if process.returncode:
        sys.exit(f"exit {process.returncode}")
    whole: dict[int, float] = defaultdict(float)
    between: dict[int, float] = defaultdict(float)
    at, end = 0.0, sum(seconds for _, seconds in laps) - END_S
    for count, seconds in laps:
        at += seconds
        whole[count] += seconds
        if START_S < at < end:
            between[count] += seconds
    for name, spent in (("whole run", whole), ("between start and end", between)):
        if spent:
            shares = ", ".join(f"{count}: {spent[count]:.2f} s" for count in sorted(spent))
            print(f"{name}: {cores_in_use(spent, args.cores):.2f} of {args.cores} cores; by threads ready: {shares}")


if __name__ == "__main__":
    main()
