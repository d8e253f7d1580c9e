"""What a folder of videos costs beyond its frames: workers against one worker, start-up a video, memory of the parent.

`python benchmarks/speed/batch.py workers [--videos 8] [--frames 60] [--rounds 3]`
`python benchmarks/speed/batch.py startup [--videos 100]`
`python benchmarks/speed/batch.py parent [--videos 10000]`

`workers` runs the same copies of the example with one worker (2 threads) and with two, in turns, on this machine, and
prints the ratio of each pair. `startup` runs videos of one frame. `parent` plans and journals real files with workers
that do nothing, and prints the parent's memory as it goes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import av
import psutil

from jmpose_cli.annotate.task import ClipSummary
from jmpose_cli.config import InferConfig
from jmpose_cli.runs.coordinator import Coordinator, ResumeOptions
from jmpose_cli.runs.inputs import find_clips
from jmpose_cli.runs.messages import Done, Opened, Process, Ready, SetUp, ToWorker
from jmpose_cli.runs.report import RunReport
from jmpose_cli.runs.worker_pool import Report, WorkerPool
from jmpose_cli.signals import StopRequest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "street.mp4"


def infer(*arguments: object) -> float:
    """Run `jmpose infer`; return the seconds."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "jmpose_cli.main", "infer", *map(str, arguments), "--quiet"], check=True)
    return time.monotonic() - started


def workers(folder: Path, args: argparse.Namespace) -> None:
    for number in range(args.videos):
        shutil.copy(EXAMPLE, folder / f"{number}.mp4")
    ratios = []
    for turn in range(args.rounds):
        seconds = {}
        for count in (1, 2) if turn % 2 == 0 else (2, 1):
            out = folder / f"out-{turn}-{count}"
            options = ["--frames", f"0:{args.frames}", "--workers", count]
            seconds[count] = infer(*(folder / f"{n}.mp4" for n in range(args.videos)), "--out", out, *options)
            shutil.rmtree(out)
        ratios.append(seconds[1] / seconds[2])
        print(f"1 worker {seconds[1]:.1f} s, 2 workers {seconds[2]:.1f} s: {ratios[-1]:.2f} times as fast", flush=True)
    print(f"median of {args.rounds}: {statistics.median(ratios):.2f}; {args.videos} videos of {args.frames} frames")


def startup(folder: Path, args: argparse.Namespace) -> None:
    with av.open(str(folder / "0.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(160, 120, "yuv420p")))
        container.mux(stream.encode(None))
    for number in range(1, args.videos):
        shutil.copy(folder / "0.mp4", folder / f"{number}.mp4")
    out = folder / "out"
    infer(folder, "--out", out, "--set", "people.input_size=160")
    videos = json.loads((out / "summary.json").read_text())["videos"].values()
    walls = sorted(video["wall_s"] - sum(video["stage_s"].values()) for video in videos)
    times = sorted(path.stat().st_mtime for path in out.rglob("run.json"))
    steps = sorted(after - before for before, after in pairwise(times))
    print(f"{len(walls)} videos of one frame; from one's end to the next one's: median {steps[len(steps) // 2]:.3f} s")
    print(f"of which in no stage: median {walls[len(walls) // 2]:.3f} s, the first {walls[-1]:.3f} s")


class IdleWorker:
    """Says at once that all is done, and does nothing."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def send(self, message: ToWorker) -> None:
        """See `Worker`."""
        if isinstance(message, SetUp):
            self._report(Ready({"device": "none"}, {"model": {"name": "none", "sha256": "0"}}))
        elif isinstance(message, Process):
            self._report(Opened(100, 0))
            stages = {"decode": 0.1, "pose": 0.9}
            self._report(Done(ClipSummary(100, 0, 300, 7, 1.0, stages, (), "0" * 64, {})))

    def kill(self) -> None:
        """See `Worker`."""

    def close(self) -> None:
        """See `Worker`."""


class IdleWorkers(WorkerPool):
    """Workers that do nothing, at once."""

    def _launch(self, number: int, report: Report) -> IdleWorker:
        worker = IdleWorker(report)
        worker.send(SetUp(InferConfig(), 1))
        return worker


class MemoryReport(RunReport):
    """Prints the process's memory instead of progress."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.count = 0

    def done(self, worker: int, name: str, summary: ClipSummary) -> None:
        """Count a video."""
        super().done(worker, name, summary)
        if self.count % 1000 == 0:
            print(f"{self.count:6} done: {psutil.Process().memory_info().rss / 1e6:.1f} MB", flush=True)
        self.count += 1


def parent(folder: Path, args: argparse.Namespace) -> None:
    (folder / "in").mkdir()
    shutil.copy(EXAMPLE, folder / "in" / "0.mp4")
    for number in range(1, args.videos):
        path = folder / "in" / str(number % 100) / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        os.link(folder / "in" / "0.mp4", path)
        os.utime(path)
    print(f"before: {psutil.Process().memory_info().rss / 1e6:.1f} MB")
    started = time.monotonic()
    clips = find_clips([folder / "in"], out=folder / "out")
    print(f"{len(clips)} videos found in {time.monotonic() - started:.1f} s")
    report = MemoryReport()
    coordinator = Coordinator(
        clips,
        asked={clip.name for clip in clips},
        out=folder / "out",
        config=InferConfig(),
        resume=ResumeOptions(),
        workers=IdleWorkers(4),
        report=report,
        stop=StopRequest(),
    )
    started = time.monotonic()
    assert coordinator.run() == 0
    print(
        f"{report.count} videos planned and journalled in {time.monotonic() - started:.1f} s, "
        f"{psutil.Process().memory_info().rss / 1e6:.1f} MB at the end"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("workers", "startup", "parent"))
    parser.add_argument("--videos", type=int)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.videos = args.videos or {"workers": 8, "startup": 100, "parent": 10_000}[args.what]
    with tempfile.TemporaryDirectory() as folder:
        {"workers": workers, "startup": startup, "parent": parent}[args.what](Path(folder), args)


if __name__ == "__main__":
    main()
