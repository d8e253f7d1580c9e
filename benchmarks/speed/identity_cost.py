"""What looks, camera motion and joins cost: processor time of whole runs with them and without, in turn.

`python benchmarks/speed/identity_cost.py [VIDEO] [--pairs 5]`

Both runs are the command as it is, in one process and with one thread for the networks; user and system time of all
its processes are added up. Without: `--reid none --no-stitch`, and the camera taken to stand.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WITHOUT = "from jmpose_cli.people.camera import CameraMotion; CameraMotion.update = lambda *_: None; "
RUN = "from jmpose_cli.main import app; app()"


def spent_s(video: Path, *, without: bool) -> float:
    """Run once; return the seconds of processor time."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--out", out, "--workers", "0", "--set", "run.threads=1"]
        options += ["--reid", "none", "--no-stitch"] if without else []
        code = (WITHOUT if without else "") + RUN
        process = subprocess.Popen(
            [sys.executable, "-c", code, "infer", str(video), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0, f"jmpose infer ended with {os.waitstatus_to_exitcode(status)}"
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the times of each pair, and the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, default=Path("examples/street.mp4"))
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    pairs = []
    for _ in range(args.pairs):
        pairs.append([spent_s(args.video, without=without) for without in (False, True)])
        print("with {:.1f} s, without {:.1f} s".format(*pairs[-1]), flush=True)
    with_s, without_s = np.median(pairs, 0)
    ratios = np.divide(*np.transpose(pairs))
    print(f"medians {with_s:.1f} and {without_s:.1f} s: {with_s / without_s:.3f}")
    print(f"pairs {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
