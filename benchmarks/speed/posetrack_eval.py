"""Time and memory of `jmpose eval` on a made-up split of the size of PoseTrack18's validation set.

`python benchmarks/speed/posetrack_eval.py [--scale 1 2 4] [--keep FOLDER]`

Scale 1 is 170 videos with 8,900 labelled frames in all, about 6 people a frame, ignore regions on a third of the
frames; the predictions are the ground truth with noise, missed and invented people and joints, and id switches. Each
scale is one fresh process, `jmpose eval --gt --pred --protocol posetrack18`: start-up, reading, AP, MOTA, HOTA and
`eval.json`. Memory is the process' peak resident set.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import orjson

from jmpose.keypoints import POSETRACK18
from jmpose_cli.formats.base import person_category

VIDEOS, FRAMES = 170, 8900
# A standing person, in heads from the neck; the ears are never annotated.
_BODY = np.array(
    [(0, -0.6), (0, 0), (0, -1.2), (0, 0), (0, 0)]
    + [(s * x, y) for x, y in ((0.9, 0.4), (1.1, 1.9), (1.2, 3.2), (0.6, 3.2), (0.6, 5.2), (0.6, 7.0)) for s in (1, -1)]
)
_EARS = [POSETRACK18.joints.index(joint) for joint in ("left_ear", "right_ear")]


def make_video(rng: np.random.Generator, frames: int, number: int) -> tuple[dict, dict]:
    """One video's ground truth and predictions."""
    people = int(rng.integers(3, 10))
    head = rng.uniform(12, 40, people)
    start = rng.uniform([100, 200], [1800, 500], (people, 2))
    walk = np.cumsum(rng.normal(0, 2, (frames, people, 2)), 0) + start
    sway = rng.normal(0, 0.15, (frames, people, 17, 2))
    xy = walk[:, :, None] + (_BODY + sway) * head[None, :, None, None]
    name, first = f"{number:06d}_mpii_test", 10**10 + number * 10**4
    images = []
    for frame in range(frames):
        image = {
            "id": first + frame,
            "frame_id": first + frame,
            "file_name": f"images/val/{name}/{frame:06d}.jpg",
            "vid_id": f"{number:06d}",
            "nframes": frames,
            "is_labeled": True,
            "ignore_regions_x": [],
            "ignore_regions_y": [],
        }
        if number % 3 == 0:
            corner = rng.uniform(0, 1500, 2)
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            image["ignore_regions_x"] = [(corner[0] + 90 * np.cos(angle)).round().tolist()]
            image["ignore_regions_y"] = [(corner[1] + 70 * np.sin(angle)).round().tolist()]
        images.append(image)
    seen = rng.random((frames, people)) < 0.9
    truth = [
        person(first + f, p, np.round(xy[f, p] * 2) / 2, rng.random(17) < 0.85, float(head[p]), None)
        for f, p in np.argwhere(seen).tolist()
    ]
    found = rng.random((frames, people)) < 0.85
    noise = rng.normal(0, 0.25, xy.shape) * head[None, :, None, None]
    ids = np.cumsum(rng.random((frames, people)) < 0.03, 0) * people + np.arange(people)
    guesses = [
        person(first + f, int(ids[f, p]), xy[f, p] + noise[f, p], rng.random(17) < 0.93, float(head[p]), rng.random(17))
        for f, p in np.argwhere(found).tolist()
    ]
    for f in np.flatnonzero(rng.random(frames) < 0.5).tolist():  # somebody who is not there
        places = rng.uniform(0, 1000, (17, 2))
        guesses.append(person(first + f, 9000, places, np.ones(17, bool), 20.0, rng.random(17) * 0.6))
    listed = [{key: image[key] for key in ("id", "frame_id", "file_name")} for image in images]
    categories = [person_category(POSETRACK18)]
    return (
        {"images": images, "annotations": truth, "categories": categories},
        {"images": listed, "annotations": guesses, "categories": categories},
    )


def person(image: int, track: int, xy: np.ndarray, there: np.ndarray, head: float, scores: np.ndarray | None) -> dict:
    """One annotation."""
    there[_EARS] = False
    triples = np.where(there[:, None], np.concatenate([xy, np.ones((17, 1))], 1), 0.0)
    low, high = xy.min(0), xy.max(0)
    return {
        "image_id": image,
        "id": image * 100 + track,
        "track_id": track,
        "category_id": 1,
        "keypoints": triples.ravel().tolist(),
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "bbox_head": [*(xy[2] - head / 2).tolist(), head, head * 1.2],
        "scores": [] if scores is None else scores.tolist(),
    }


def make_split(folder: Path, scale: int) -> int:
    """Write the split; give its number of frames."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(rng.normal(1, 0.2, VIDEOS * scale), 0.4)
    lengths = np.round(lengths / lengths.sum() * FRAMES * scale).astype(int)
    for part in ("gt", "pred"):
        (folder / part).mkdir(parents=True)
    for number, frames in enumerate(lengths.tolist()):
        for part, data in zip(("gt", "pred"), make_video(rng, frames, number), strict=True):
            (folder / part / f"{number:06d}_mpii_test.json").write_bytes(orjson.dumps(data))
    return int(lengths.sum())


def measure(folder: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of one evaluation in a process of its own."""
    command = [sys.executable, "-m", "jmpose_cli.main", "eval", "--protocol", "posetrack18", "--quiet"]
    command += ["--gt", str(folder / "gt"), "--pred", str(folder / "pred"), "--out", str(folder / "out")]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"jmpose eval failed with exit code {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print one line a scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--keep", type=Path, help="write the splits here and leave them")
    args = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("scale  frames  people  MB on disk  seconds  peak MB  ms a frame")
    for scale in args.scale:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (args.keep or Path(scratch)) / f"split-{scale}"
            frames = make_split(folder, scale)
            size = sum(f.stat().st_size for f in folder.rglob("*.json")) / 1e6
            seconds, peak = measure(folder)
            people = orjson.loads((folder / "out" / "eval.json").read_bytes())["people"]
            costs = f"{seconds:8.2f} {peak:8.0f} {1000 * seconds / frames:11.2f}"
            print(f"{scale:5d} {frames:7d} {people:7d} {size:11.0f} {costs}", flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
