"""Time `jmpose render` of a made-up clip against decoding and encoding it alone.

`python benchmarks/speed/render.py [--frames 1000] [--people 5]`

The clip is 1280x720, made in a temporary folder; people walk over it at random. Both ways run in turn, each in a
process of its own. Printed: seconds of both, medians of the pairs' ratios, and whether torch was imported.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import av
import numpy as np

from jmpose.keypoints import COCO17_HEAD
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.values import FramePoses, TrackedFrame

WIDTH, HEIGHT, FPS = 1280, 720, 25
ALONE = """
import sys, time
from pathlib import Path
from jmpose_cli.background import in_background
from jmpose_cli.clips.video import open_clip
from jmpose_cli.config import DecodeConfig
from jmpose_cli.video.writer import OverlayWriter
begun = time.perf_counter()
video, out = map(Path, sys.argv[1:])
with open_clip(video, DecodeConfig()) as source, OverlayWriter(out, info=source.info) as writer:
    frames = ((f, t) for batch in source for f, t in zip(batch.frames, batch.time_s.tolist()))
    with in_background(frames, ahead=6, name="decode") as decoded:
        for frame, time_s in decoded:
            writer.write(frame, time_s)
print(time.perf_counter() - begun)
"""
RENDER = """
import sys, time
from pathlib import Path
from jmpose_cli.clips.render import render
from jmpose_cli.clips.run_record import read_run
begun = time.perf_counter()
folder = Path(sys.argv[1])
render(folder, read_run(folder).config.output)
print(time.perf_counter() - begun, "torch" in sys.modules)
"""


def make_clip(folder: Path, *, frames: int, people: int) -> Path:
    """Write a video, a truth and a `run.json`; return the clip's folder."""
    generator = np.random.default_rng(0)
    video, clip = folder / "made.mp4", folder / "made"
    clip.mkdir()
    picture = np.kron(generator.integers(0, 255, (HEIGHT // 40, WIDTH // 40, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 2 * index, 1))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    at = generator.uniform((100, 100), (WIDTH - 100, HEIGHT - 200), (people, 2))
    shape = generator.uniform((-40, -100), (40, 100), (people, len(COCO17_HEAD), 2))
    with CocoWriter(
        clip / "keypoints.coco.json", VideoMeta("made", WIDTH, HEIGHT, FPS, video.name), COCO17_HEAD, info={}
    ) as w:
        for index in range(frames):
            at = np.clip(at + generator.normal(0, 3, at.shape), 60, (WIDTH - 60, HEIGHT - 120))
            corners = np.hstack([at - np.array([50, 110]), at + np.array([50, 110])]).astype(np.float32)
            ones, ids = np.ones(people, np.float32), np.arange(1, people + 1)
            tracked = TrackedFrame(index, index / FPS, corners, ones, ids, ones > 0)
            joints = (at[:, None] + shape).astype(np.float32)
            w.write(FramePoses(tracked, joints, np.full(joints.shape[:2], 0.8, np.float32), ones))
    (clip / "run.json").write_text(json.dumps({"input": str(video), "config": {}, "frames": frames}))
    return clip


def main() -> None:
    """Make the clip, time both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        clip = make_clip(Path(name), frames=asked.frames, people=asked.people)
        ratios = []
        for _ in range(asked.rounds):
            words = [sys.executable, "-c", ALONE, str(clip.parent / "made.mp4"), str(clip.parent / "alone.mp4")]
            alone = float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            words = [sys.executable, "-c", RENDER, str(clip)]
            seconds, torch = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
            ratios.append(float(seconds) / alone)
            print(
                f"alone {alone:.1f} s, render {float(seconds):.1f} s, ratio {ratios[-1]:.2f}, torch imported: {torch}"
            )
        print(f"median ratio {median(ratios):.2f}")


if __name__ == "__main__":
    main()
