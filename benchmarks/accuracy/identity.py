"""Who keeps the right id: trackers on the same cached boxes of sequences whose people are known.

`python benchmarks/accuracy/identity.py [--data FOLDER|VIDEO] [--reid FILE] [--parts]`

Boxes and looks are found once and kept in `--cache`; a tracker then takes seconds. HOTA and IDF1 are means over the
sequences, switches and late starts are added up. The ceiling are the same boxes with right ids. "Before" is BoT-SORT as
jmpose had it, taken from the history of this repository. `--parts` takes the parts of our tracker away, one at a time.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from jmpose_cli.annotate.networks import open_embedder
from jmpose_cli.config import PeopleConfig
from jmpose_cli.formats.read import read_poses
from jmpose_cli.known_weights import choose_detector, choose_reid
from jmpose_cli.metrics.boxes import BoxSequence, BoxTracking, evaluate_sequences, overlaps_of
from jmpose_cli.people import association, motion, track
from jmpose_cli.people.appearance import Embedder
from jmpose_cli.people.camera import CameraMotion
from jmpose_cli.people.detect import PersonDetector
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.people.looks import looks_of
from jmpose_cli.people.stitch import Sightings, stitch
from jmpose_cli.people.track import PeopleTracker
from jmpose_cli.values import Detections, TrackedFrame

BEFORE = "17207bf4dc"  # the last commit with BoT-SORT as its tracker
SLOW = {"PETS09-S2L1": 7.0}  # the others say how fast they were recorded
Frames = list[tuple[np.ndarray, np.ndarray]]
"""Of each frame, boxes `[N, 4]` and ids `[N]`."""


@dataclass
class Sequence:
    """One sequence with what was found in it.

    Attributes:
        folder: Where it is; or a video, with its annotations in the PoseTrack18 format beside it.
        fps: Frames a second.
        size: Width and height of the frames.
        people: Of each frame, the boxes `[N, 4]` found and their scores.
        looks: Of each frame, `[N, D]` vectors; zeros where the box is weak.
        start_score: Box score that starts a track.
        scale: How to read the looks.
        camera: Of each frame, how the camera moved since the one before; None: it is not followed.
    """

    folder: Path
    fps: float
    size: tuple[int, int]
    people: list[Detections]
    looks: list[np.ndarray]
    start_score: float
    scale: Any
    camera: list[np.ndarray | None] | None = None


def frames_of(folder: Path) -> Iterator[np.ndarray]:
    """Yield `[H, W, 3]` RGB."""
    if (folder / "img1").is_dir():
        for file in sorted((folder / "img1").glob("*.jpg")):
            yield cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        return
    video = cv2.VideoCapture(str(folder if folder.is_file() else next(folder.glob("*.mp4"))))
    while True:
        there, frame = video.read()
        if not there:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def fps_of(folder: Path) -> float:
    """Return the rate at which a sequence was recorded."""
    if folder.name in SLOW:
        return SLOW[folder.name]
    if folder.is_file():
        return float(cv2.VideoCapture(str(folder)).get(cv2.CAP_PROP_FPS))
    lines = (folder / "seqinfo.ini").read_text().splitlines()
    return float(next(line.partition("=")[2] for line in lines if line.startswith("frameRate")))


def observe(folder: Path, detector: PersonDetector, embedder: Embedder | None, cache: Path) -> Sequence:
    """Find the people of a sequence and what they look like, or read what was found before."""
    keep = PeopleConfig().keep_box_score
    found_at = cache / f"{folder.name}-{detector.name}-{detector.sha256[:8]}.npz"
    if not found_at.is_file():
        found = [detector.detect(frame[None])[0] for frame in frames_of(folder)]
        counts = [len(one) for one in found]
        boxes, scores = (np.concatenate([getattr(one, name) for one in found]) for name in ("boxes_xyxy_px", "scores"))
        np.savez(found_at, counts=counts, boxes=boxes, scores=scores)
    stored = np.load(found_at)
    ends = np.cumsum(stored["counts"])[:-1]
    assert stored["scores"].min(initial=1.0) >= keep - 1e-6
    people = [Detections(*one) for one in zip(*(np.split(stored[n], ends) for n in ("boxes", "scores")), strict=True)]
    looks = [np.zeros((len(one), 1), np.float32) for one in people]
    if embedder is not None:
        looks_at = found_at.with_suffix(f".{embedder.sha256[:8]}.npy")
        if not looks_at.is_file():
            each = [looks_of(frame, some, embedder) for frame, some in zip(frames_of(folder), people, strict=True)]
            np.save(looks_at, np.concatenate(each))
        looks = np.split(np.load(looks_at).astype(np.float32), ends)
    scale = None if embedder is None else embedder.scale
    camera = CameraMotion()
    frames = zip(frames_of(folder), people, strict=True)
    moved = [camera.update(frame, some.boxes_xyxy_px) for frame, some in frames]
    height, width = next(frames_of(folder)).shape[:2]
    return Sequence(folder, fps_of(folder), (width, height), people, looks, detector.start_score, scale, moved)


def tracked(sequence: Sequence, *, appearance: bool = True, **options: Any) -> tuple[list[TrackedFrame], Sightings]:
    """Run our tracker; return what it found, and what tells at the end who is who."""
    people = PeopleConfig()
    given = {
        "new_track_score": sequence.start_score,
        "lost_after_s": people.lost_after_s,
        "max_gap_s": people.max_gap_s,
        "heights_per_s": people.heights_per_s,
        "appearance": sequence.scale if appearance else None,
        "width_px": sequence.size[0],
    }
    tracker, out = PeopleTracker(fps=sequence.fps, **given | options), []
    for index, (found, looks) in enumerate(zip(sequence.people, sequence.looks, strict=True)):
        moved = None if sequence.camera is None else sequence.camera[index]
        known = looks if given["appearance"] else None
        out += tracker.push(index, index / sequence.fps, found, looks=known, camera=moved)
    out += tracker.finish()
    return out, tracker.sightings(sequence.size)


def ours(sequence: Sequence, *, appearance: bool = True, stitched: bool = True, **options: Any) -> Frames:
    """Run our tracker; the ids are those of people after stitching, or of raw tracks."""
    out, seen = tracked(sequence, appearance=appearance, **options)
    found = stitch(seen, sequence.scale if appearance else None)
    if not stitched:
        return [(frame.boxes_xyxy_px, frame.track_ids) for frame in out]
    return [(f.boxes_xyxy_px, found.of(f.track_ids, np.full(len(f), f.index))) for f in out]


@cache
def _tracker_before() -> ModuleType:
    """Load the tracker that jmpose had."""
    shown = ["git", "show", f"{BEFORE}:jmpose_cli/people/track.py"]
    code = subprocess.run(shown, cwd=Path(__file__).parent, check=True, capture_output=True, text=True).stdout
    module = ModuleType("track_before")
    sys.modules[module.__name__] = module  # where its data classes look for their types
    exec(compile(code, "track_before.py", "exec"), vars(module))
    return module


def before(sequence: Sequence) -> Frames:
    """Run BoT-SORT without camera motion and appearance, as jmpose had it, with its start score of 0.25."""
    tracker, out = _tracker_before().PeopleTracker(fps=sequence.fps), []
    for index, found in enumerate(sequence.people):
        out += tracker.push(index, index / sequence.fps, found)
    return [(frame.boxes_xyxy_px, frame.track_ids) for frame in [*out, *tracker.finish()]]


def of_library(sequence: Sequence, *, kind: str) -> Frames:
    """Run a tracker of `trackers` with its defaults; BoT-SORT sees the frames, for camera motion."""
    import supervision as sv
    import trackers

    tracker = getattr(trackers, kind)(frame_rate=sequence.fps)
    moving = kind == "BoTSORTTracker"
    out: Frames = []
    for frame, found in zip(frames_of(sequence.folder), sequence.people, strict=True):
        given = sv.Detections(xyxy=found.boxes_xyxy_px, confidence=found.scores, class_id=np.zeros(len(found), int))
        extra = {"frame": frame[..., ::-1]} if moving else {}
        tracked = tracker.update(given, **extra)
        ids = np.zeros(0, int) if tracked.tracker_id is None else tracked.tracker_id
        out.append((tracked.xyxy[ids >= 0], ids[ids >= 0]))
    return out


class _Boxes:
    """Detections as ultralytics' trackers take them."""

    def __init__(self, found: Detections) -> None:
        self.xyxy, self.conf = found.boxes_xyxy_px, found.scores
        self.xywh = np.concatenate([(self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2, self.xyxy[:, 2:] - self.xyxy[:, :2]], 1)
        self.cls = np.zeros(len(found), np.float32)

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, rows: np.ndarray) -> "_Boxes":
        return _Boxes(Detections(self.xyxy[rows], self.conf[rows]))


def _assigned(cost: np.ndarray, *, extend_cost: bool, cost_limit: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Do what `lap.lapjv` does: an assignment in which a pair may cost `cost_limit` at most."""
    rows, columns = cost.shape
    whole = np.full((rows + columns,) * 2, cost_limit / 2)
    whole[rows:, columns:] = 0
    whole[:rows, :columns] = cost
    of_row = linear_sum_assignment(whole)[1]
    of_column = np.argsort(of_row)
    return 0.0, np.where(of_row < columns, of_row, -1)[:rows], np.where(of_column < rows, of_column, -1)[:columns]


def of_ultralytics(sequence: Sequence, *, kind: str) -> Frames:
    """Run a tracker of ultralytics with its defaults; where `lap` is missing, which it would install, scipy serves."""
    sys.modules.setdefault("lap", SimpleNamespace(__version__="0.5.12", lapjv=_assigned))  # type: ignore[arg-type]
    from ultralytics.trackers.bot_sort import BOTSORT
    from ultralytics.trackers.byte_tracker import BYTETracker
    from ultralytics.utils import ROOT, YAML

    args = SimpleNamespace(**YAML.load(ROOT / "cfg" / "trackers" / f"{kind}.yaml"), device="cpu")
    tracker = {"botsort": BOTSORT, "bytetrack": BYTETracker}[kind](args)
    out: Frames = []
    for frame, found in zip(frames_of(sequence.folder), sequence.people, strict=True):
        rows = np.asarray(tracker.update(_Boxes(found), np.ascontiguousarray(frame[..., ::-1]))).reshape(-1, 8)
        out.append((rows[:, :4], rows[:, 4].astype(int)))
    return out


TRACKERS: dict[str, Callable[[Sequence], Frames]] = {
    "before": before,
    "ours": ours,
    "ours, raw tracks": lambda s: ours(s, stitched=False),
    "ours, camera not followed": lambda s: ours(replace(s, camera=None)),
    "ours, no looks": lambda s: ours(s, appearance=False),
    "trackers BoT-SORT": lambda s: of_library(s, kind="BoTSORTTracker"),
    "trackers ByteTrack": lambda s: of_library(s, kind="ByteTrackTracker"),
    "ultralytics botsort": lambda s: of_ultralytics(s, kind="botsort"),
    "ultralytics bytetrack": lambda s: of_ultralytics(s, kind="bytetrack"),
}


def _without(name: str, value: Any, *, of: ModuleType = association) -> Callable[[Sequence], Frames]:
    def run(sequence: Sequence) -> Frames:
        with patch.object(of, name, value):
            return ours(sequence)

    return run


PARTS: dict[str, Callable[[Sequence], Frames]] = {
    "all": ours,
    "no stitching": lambda s: ours(s, stitched=False),
    "no appearance": lambda s: ours(s, appearance=False),
    "hidden crops teach too": _without("_CLEAN_HIDDEN", 2.0),
    "second boxes start tracks": _without("_DOUBLE_OVERLAP", 2.0),
    "no weak boxes": _without("_LEAST_WEAK", 2.0),
    "weak boxes overlap by 0.5": _without("_LEAST_WEAK", 0.5),
    "reach does not grow": lambda s: ours(s, heights_per_s=0.0),
    "speed may change by 0.5": _without("_SPEED_CHANGE", 0.5, of=motion),
    "remembered for 1 s": lambda s: ours(s, lost_after_s=1.0),
    "gaps of 0.25 s filled": lambda s: ours(s, max_gap_s=0.25),
    "gaps filled in seconds only": _without("_FILLED_STEPS", 0, of=track),
    "who walks out of the picture is remembered there": _without("_EDGE", -1.0),
    "camera not followed": lambda s: ours(replace(s, camera=None)),
    "start score 0.25": lambda s: ours(s, new_track_score=0.25),
}


def truth_of(folder: Path) -> Any:
    """Read the annotated people of a sequence."""
    if folder.is_file():
        return read_poses(folder.with_suffix(".posetrack18.json"))
    return read_poses(next(iter([*folder.glob("gt/gt.txt"), *folder.glob("gt.txt")])))


def score(sequence: Sequence, frames: Frames, truth: Any = None) -> BoxTracking:
    """Compare tracks with the ground truth, that of the sequence's folder or another."""
    truth = truth or truth_of(sequence.folder)
    numbers = np.unique(truth.image_row)
    _, person = np.unique(truth.track_ids, return_inverse=True)
    rows = [np.flatnonzero(truth.image_row == number) for number in numbers]
    _, track = np.unique(np.concatenate([ids for _, ids in frames]), return_inverse=True)
    tracks = np.split(track, np.cumsum([len(ids) for _, ids in frames])[:-1])
    overlaps = [
        overlaps_of(truth.boxes_xyxy_px[r], frames[n][0].astype(float)) for r, n in zip(rows, numbers, strict=True)
    ]
    times = numbers / sequence.fps
    return evaluate_sequences([BoxSequence(times, [person[r] for r in rows], [tracks[n] for n in numbers], overlaps)])


def row(name: str, found: list[BoxTracking]) -> str:
    """Put the figures of some sequences into a line of a table."""
    events = [one.events for one in found]
    kinds = [sum(getattr(e, k) for e in events) for k in ("crossing", "short_gap", "long_gap", "returning")]
    means = [np.mean([getattr(b, k) for b in found]) for k in ("hota", "idf1", "ceiling_hota", "ceiling_idf1")]
    late = f"{sum(e.late for e in events)} of {sum(e.found for e in events)}"
    cells = [*(f"{mean:.1f}" for mean in means[:2]), str(sum(kinds)), *map(str, kinds), late]
    return " | ".join(["", name, *cells, f"{means[2]:.1f} / {means[3]:.1f}", ""]).strip()


def gained(before: list[BoxTracking], ours: list[BoxTracking]) -> str:
    """Say how much of what right ids would bring to the boxes of before is reached, and what else the goals ask."""
    shares = []
    for name in ("hota", "idf1"):
        was, can, now = (
            np.mean([getattr(b, n) for b in boxes])
            for boxes, n in ((before, name), (before, f"ceiling_{name}"), (ours, name))
        )
        shares.append(f"{name.upper()} {100 * (now - was) / (can - was):.0f} %")
    old, new = (sum(b.events.switches for b in boxes) for boxes in (before, ours))
    late, found = (sum(getattr(b.events, name) for b in ours) for name in ("late", "found"))
    closed = " and ".join(shares)
    return f"closed of the gap: {closed}; switches {old} before, {new} now; late {100 * late / found:.0f} % of people"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tracking"), help="Of sequences; or a video.")
    parser.add_argument("--detector", action="append", help="A name or a file; twice for two.")
    parser.add_argument("--reid", default="none", help="reid-nano, or a .pth of OSNet.")
    parser.add_argument("--cache", type=Path, default=Path("out/identity"))
    parser.add_argument("--tracker", action="append", choices=TRACKERS)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--each", action="store_true", help="A line for each sequence as well.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.cache.mkdir(parents=True, exist_ok=True)
    looks = choose_reid(args.reid)
    embedder = open_embedder(looks, device="cpu") if looks else None
    chosen = PARTS if args.parts else {name: TRACKERS[name] for name in args.tracker or TRACKERS}
    for name in args.detector or ["person-nano"]:
        path, least = choose_detector(name, on_gpu=False).path, PeopleConfig().keep_box_score
        detector, _ = load_detector(path, engine="torch", device="cpu", min_score=least, input_size=None, threads=1)
        folders = sorted(f for f in args.data.iterdir() if f.is_dir()) if args.data.is_dir() else [args.data]
        sequences = [observe(folder, detector, embedder, args.cache) for folder in folders]
        print(f"\nboxes of {detector.name}, {len(sequences)} sequences\n")
        print("| tracker | HOTA | IDF1 | switches | crossing | short gap | long gap | returning | late | ceiling |")
        print("|---" * 10 + "|")
        found: dict[str, list[BoxTracking]] = {}
        for title, run in chosen.items():
            with contextlib.redirect_stdout(None):
                found[title] = [score(one, run(one)) for one in sequences]
            print(row(title, found[title]), flush=True)
            for one, figures in zip(sequences, found[title], strict=True) if args.each else ():
                print(row(one.folder.name, [figures]))
        if {"before", "ours"} <= found.keys():
            print("\n" + gained(found["before"], found["ours"]))


if __name__ == "__main__":
    main()
