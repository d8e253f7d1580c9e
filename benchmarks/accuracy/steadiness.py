"""Jitter, swaps of left and right, limbs on one point, one skeleton on two people, and how small a person is found.

`python benchmarks/accuracy/steadiness.py [--model nano ...] [--parts clips people recall] [--out FILE]`

Each part of each model is a section of the page; what is not asked for stays as it is.

`clips`: on clips of people in videos that no training sees (see `real_video.py`), all of about 30 frames a second:

- **Jitter**: the mean acceleration of a joint, |x(t-1) - 2 x(t) + x(t+1)| in thousandths of the box size (the root of
  the box area), over frames where the joint has a label in all three. Only clips of people who hardly move: the median
  joint of the teacher, behind a 2 Hz filter, covers less than half a box size a second. A perfect answer has some too,
  as people move; the teacher's is given. Labels that jump are left out (`real_video.py`), which flatters the teacher.
- **Swaps**: arms (shoulders, elbows, wrists) or legs (hips, knees, ankles) of a frame count as swapped when exchanging
  left and right at least halves the mean distance to the reference. They are counted when two pairs of joints or more
  have labels and the reference's left and right are a tenth of the box size apart. The reference is the label ("wrong
  side"), or the same output one frame before ("change of side", to which the teacher can be held too). Sharp frames,
  and the spoilt ones of motion blur in bursts at the middle strength (`degradation.py`).

`people`: limbs on one point, exchanged sides by view, and one skeleton on two people, one frame against five, as
`mix_ups.py` tells. `--pictures FOLDER` draws the worst of each scene.

`recall`: share of people that a detector finds (IoU 0.5, one box a person) by box height, at the score that starts a
track and at the score that continues one.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.ops import box_iou

from degradation import spoil
from detector_accuracy import read_coco, read_truth
from jmpose.files import file_sha256
from jmpose.keypoints import COCO17
from jmpose_cli.config import PeopleConfig
from jmpose_cli.known_weights import choose_detector, choose_model
from jmpose_cli.metrics.bootstrap import LEVEL, REPLICATES
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.smooth import smooth_track
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.values import Bools, Bytes
from mix_ups import STILLS, Findings, Share, estimate, mix_up_tables, scene_of, sheet
from real_video import (
    DETECTOR,
    TEST,
    Clip,
    Teacher,
    ask_about_clip,
    at_most,
    command,
    commit,
    estimate_clip,
    load_clips,
    table,
)

PARTS = ("clips", "people", "recall")
OUTPUTS = ("teacher", "single", "temporal", "smooth single", "smooth temporal")
LENGTH, CLIPS, RENDERED_CLIPS = 48, 5, 1
VIDEOS = TEST[:3]  # the others have 5 and 3 frames a second
STILL = 0.5  # box sizes a second
STILL_HZ = 2.0
APART = 0.1  # of the box size, between left and right of a reference
HALVED = 0.5
LIMBS = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
HEIGHTS_PX = (0, 24, 48, 96, 192, 10_000)


def count_swaps(xy: np.ndarray, reference: np.ndarray, known: Bools, size_px: np.ndarray) -> Share:
    """Count arms and legs whose left and right are exchanged; the rule stands at the top of the file.

    Args:
        xy: `[n, 17, 2]` COCO joints.
        reference: `[n, 17, 2]` where they should be.
        known: `[n, 17]` bool, joints to judge by.
        size_px: `[n]` box sizes.
    """
    total = Share(0, 0)
    for limb in LIMBS:
        left, right = ([COCO17.joints.index(f"{side}_{joint}") for joint in limb] for side in ("left", "right"))
        pairs = known[:, left] & known[:, right]

        def apart(one: np.ndarray, other: np.ndarray, pairs: Bools = pairs) -> np.ndarray:
            return np.where(pairs, np.linalg.norm(one - other, axis=2), 0).sum(1) / np.maximum(pairs.sum(1), 1)

        kept = apart(xy[:, left], reference[:, left]) + apart(xy[:, right], reference[:, right])
        crossed = apart(xy[:, left], reference[:, right]) + apart(xy[:, right], reference[:, left])
        clear = apart(reference[:, left], reference[:, right]) >= APART * size_px
        counted = (pairs.sum(1) >= 2) & clear
        total += Share.of(crossed <= HALVED * kept, counted)
    return total


def acceleration(xy: np.ndarray, known: Bools, size_px: np.ndarray) -> np.ndarray:
    """Accelerations `[m]` in thousandths of the box size a frame squared, of joints known in three frames running."""
    three = known[:-2] & known[1:-1] & known[2:]
    change = np.linalg.norm(xy[:-2] - 2 * xy[1:-1] + xy[2:], axis=2) / size_px[1:-1, None]
    return 1000 * change[three]


def speed(clip: Clip) -> float:
    """Box sizes a second that the median labelled joint covers, by the teacher, behind a 2 Hz filter."""
    times = np.arange(len(clip)) / clip.fps
    path = smooth_track(times, clip.xy, np.ones(clip.known.shape, np.float32), cutoff_hz=STILL_HZ)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=2) / clip.size_px[1:, None] * clip.fps
    labelled = clip.known.mean(0) >= 0.5
    return float(np.median(steps[:, labelled].mean(0))) if labelled.any() else float("inf")


@dataclass(frozen=True)
class ClipFigures:
    """What one clip gave.

    Attributes:
        video: Its video.
        track: Video and track id.
        speed: Box sizes a second.
        jitter: Accelerations `[m]` by output.
        swaps: By (`sharp` or `blurred`, `wrong side` or `change of side`, output).
    """

    video: str
    track: str
    speed: float
    jitter: dict[str, np.ndarray]
    swaps: dict[tuple[str, str, str], Share]


def measure(clip: Clip, estimator: PoseEstimator, teacher: Teacher) -> ClipFigures:
    """Run model and teacher on a clip, sharp and blurred."""
    everywhere = np.ones(len(clip), bool)
    shown = {"sharp": (clip.frames, everywhere)}
    for condition, spoilt in spoil(clip, clip.frames[0], kinds=["motion_blur"], levels=[2]):
        if condition.regime == "bursts":
            shown["blurred"] = (spoilt.frames, spoilt.hit)
    known = clip.known & clip.scored[:, None]
    jitter, swaps = {}, {}
    for state, (frames, judged) in shown.items():
        found = estimate_clip(estimator, clip, frames, present=everywhere)
        found["teacher"] = ask_about_clip(teacher, clip, frames, everywhere)
        for output in OUTPUTS:
            here = known & judged[:, None]
            swaps[state, "wrong side", output] = count_swaps(found[output], clip.xy, here, clip.size_px)
            before, now = found[output][:-1], found[output][1:]
            both = here[1:] & known[:-1]
            swaps[state, "change of side", output] = count_swaps(now, before, both, clip.size_px[1:])
            if state == "sharp":
                jitter[output] = acceleration(found[output], known, clip.size_px)
    return ClipFigures(clip.video, f"{clip.video} {clip.track}", speed(clip), jitter, swaps)


def reduction(clips: Sequence[ClipFigures], output: str, over: str) -> tuple[float, float, float]:
    """Change of the mean acceleration from one output to another, per cent, with a 95 % bootstrap over tracks."""
    tracks = np.unique([clip.track for clip in clips], return_inverse=True)[1]
    sums = np.array([[clip.jitter[output].sum(), clip.jitter[over].sum()] for clip in clips])
    number = int(tracks.max()) + 1
    draws = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=REPLICATES)
    new, old = (draws[:, tracks] @ sums).T
    low, high = np.quantile(100 * (new / old - 1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(100 * (sums[:, 0].sum() / sums[:, 1].sum() - 1)), float(low), float(high)


def jitter_table(clips: Sequence[ClipFigures]) -> list[str]:
    """Accelerations of still people by output and video."""
    groups = {"all": list(clips)} | {
        v: [c for c in clips if c.video == v] for v in dict.fromkeys(c.video for c in clips)
    }
    rows = []
    for name, some in groups.items():
        values = {output: np.concatenate([clip.jitter[output] for clip in some]) for output in OUTPUTS}
        counts = [len(some), len(values["single"])]
        rows.append([name, "mean", *counts, *(float(v.mean()) for v in values.values())])
        rows.append([name, "median", *counts, *(float(np.median(v)) for v in values.values())])
    return table(["", "", "clips", "joints", *OUTPUTS], rows)


def swap_table(clips: Sequence[ClipFigures]) -> list[str]:
    """Shares of swapped limbs, per cent."""
    rows = []
    for state in ("sharp", "blurred"):
        for against in ("wrong side", "change of side"):
            sums = [sum((c.swaps[state, against, output] for c in clips), Share(0, 0)) for output in OUTPUTS]
            shares = [str(share) for share in sums]
            if against == "wrong side" and state == "sharp":
                shares[0] = "-"  # the labels are its own
            rows.append([state, against, *shares])
    return table(["", "", *OUTPUTS], rows)


def detection_sets(data: Path) -> Iterator[tuple[str, list[Bytes], list[np.ndarray]]]:
    """Yield name, pictures and boxes `[N, 4]` (corners) of the two validation sets."""
    pictures, truth = read_truth(data / "person_boxes", "val")
    yield "person_boxes", pictures, _boxes(truth)
    pictures, truth = read_coco(data / "coco_persons/val.json")
    yield "coco_persons", pictures, _boxes(truth)


def _boxes(truth: dict) -> list[np.ndarray]:
    """Boxes of every image, corners."""
    of: dict[int, list[list[float]]] = {image["id"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        of[annotation["image_id"]].append([x, y, x + w, y + h])
    return [np.array(boxes, np.float32).reshape(-1, 4) for boxes in of.values()]


def is_found(truth: np.ndarray, boxes: np.ndarray) -> Bools:
    """Say `[N]` which of the boxes `[N, 4]` have a found box `[M, 4]` (best first) of their own, IoU 0.5."""
    overlap = box_iou(torch.from_numpy(boxes), torch.from_numpy(truth)).numpy()
    found = np.zeros(len(truth), bool)
    for row in overlap:
        free = np.where(found, 0, row)
        if len(free) and free.max() >= 0.5:
            found[free.argmax()] = True
    return found


def recall_table(data: Path, names: Sequence[str]) -> list[str]:
    """Recall by box height, per cent."""
    people = PeopleConfig()
    bands = list(pairwise(HEIGHTS_PX))
    header = [f"{low}-{high} px" if high < HEIGHTS_PX[-1] else f"over {low} px" for low, high in bands]
    rows = []
    for kind, pictures, truths in detection_sets(data):
        heights = np.concatenate([boxes[:, 3] - boxes[:, 1] for boxes in truths])
        band = np.digitize(heights, HEIGHTS_PX[1:-1])
        rows.append([kind, "people", "", *(int((band == b).sum()) for b in range(len(bands))), len(band)])
        for name in names:
            path, least = choose_detector(name, on_gpu=False).path, people.keep_box_score
            detector, _ = load_detector(path, engine="torch", device="cpu", min_score=least, input_size=None, threads=1)
            detections = [detector.detect(picture[None])[0] for picture in pictures]
            for score in (detector.start_score, people.keep_box_score):
                pairs = zip(truths, detections, strict=True)
                found = np.concatenate([is_found(t, d.boxes_xyxy_px[d.scores >= score]) for t, d in pairs])
                shares = [
                    f"{100 * found[band == b].mean():.1f}" if (band == b).any() else "-" for b in range(len(bands))
                ]
                rows.append([kind, detector.name, f"{score:g}", *shares, float(100 * found.mean())])
    return table(["", "", "score", *header, "all"], rows)


def write_section(page: Path, title: str, lines: Sequence[str]) -> None:
    """Put a section of a page in the place of the one with the same title, else at its end."""
    old = page.read_text() if page.is_file() else "# Steadiness\n\nHow it is measured is told in `steadiness.py`.\n"
    head, *sections = old.rstrip().split("\n## ")
    of = {section.split("\n")[0]: section for section in sections}
    of[title] = "\n".join([title, "", *lines]).rstrip() + "\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n## ".join(part.strip() for part in [head, *of.values()]) + "\n")
    print(of[title], flush=True)


def clip_part(model: Path, teacher: Teacher, args: argparse.Namespace) -> list[str]:
    """Jitter and swaps of one model."""
    estimator = TorchEstimator.load(model, EstimatorSettings(device=args.device, threads=args.threads))
    clips = load_clips(args.data, cache=args.cache, length=LENGTH, most=CLIPS, rendered=RENDERED_CLIPS, videos=VIDEOS)
    clips = at_most(clips, args.clips)
    measured = []
    for number, clip in enumerate(clips, 1):
        measured.append(measure(clip, estimator, teacher))
        print(f"{number} of {len(clips)}: {clip.name}, {measured[-1].speed:.2f} box sizes/s", flush=True)
    still = [figures for figures in measured if figures.speed < STILL]
    moved = {pair: reduction(still, *pair) for pair in (("temporal", "single"), ("smooth temporal", "smooth single"))}
    changes = [
        f"{new} against {old} {value:+.0f} % [{low:+.0f}, {high:+.0f}]"
        for (new, old), (value, low, high) in moved.items()
    ]
    return [
        f"Test videos: {', '.join(VIDEOS)}, and rendered scenes; {len(clips)} clips of {LENGTH} frames.",
        "",
        f"### Jitter of {len(still)} clips of people who hardly move",
        "",
        f"Acceleration, thousandths of the box size a frame squared. **Mean: {'; '.join(changes)}** (95 % bootstrap "
        "over tracks).",
        "",
        *jitter_table(still),
        "### Left and right swapped",
        "",
        "Per cent of the arms and legs counted.",
        "",
        *swap_table(measured),
    ]


def people_part(model: Path, teacher: Teacher, args: argparse.Namespace) -> list[str]:
    """Mix-ups of one model, one frame beside five."""
    estimator = TorchEstimator.load(model, EstimatorSettings(device=args.device, threads=args.threads))
    found, sizes = {}, []
    for name in (STILLS, *args.videos):
        scene = scene_of(name, args.data, teacher, cache=args.cache)
        sizes.append(f"{name} {sum(map(len, scene.people))} people in {len(scene.people)} frames")
        print(sizes[-1], flush=True)
        outputs = dict(zip(("1 frame", "5 frames"), estimate(estimator, scene, args.data), strict=True))
        found[name] = {k: Findings(scene, poses) for k, poses in ({"teacher": scene.teacher} | outputs).items()}
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            picture = sheet(scene, args.data, outputs["5 frames"], found[name]["5 frames"].wrong)
            Image.fromarray(picture).save(args.pictures / f"{model.stem} {name.replace('/', ' ')}.png")
    return [f"Per cent of the pairs counted. {'; '.join(sizes)}.", "", *mix_up_tables(found)]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["nano", "small"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--detector", nargs="+", default=["person-nano", f"../shared/data/{DETECTOR}"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/accuracy/steadiness.md"))
    parser.add_argument("--cache", type=Path, default=Path("runs/robustness"))
    parser.add_argument("--videos", nargs="+", choices=TEST, default=TEST, help="scenes of `people`, beside the stills")
    parser.add_argument("--pictures", type=Path, help="folder for the worst poses of each scene")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, default=CLIPS, help="of a video, at most %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    models = {name: choose_model(name).path for name in args.model}
    teacher = Teacher(args.data)
    parts: list[tuple[str, Sequence[str], Callable[[], list[str]]]] = []
    if "clips" in args.parts:
        for name, path in models.items():
            parts.append((f"Jitter and swaps of {name}", [name], partial(clip_part, path, teacher, args)))
    if "people" in args.parts:
        for name, path in models.items():
            parts.append((f"Mix-ups of {name}", [name], partial(people_part, path, teacher, args)))
    if "recall" in args.parts:
        measure_recall = partial(recall_table, args.data, args.detector)
        parts.append(("Recall of the detector by box height, per cent", [], measure_recall))
    device = f"{os.cpu_count()}-core CPU" if args.device == "cpu" else torch.cuda.get_device_name(args.device)
    for title, names, work in parts:
        started = time.process_time()
        lines = work()
        weights = "".join(f"; {name} {file_sha256(models[name])[:12]}" for name in names)
        seconds = round(time.process_time() - started)
        made = f"`{command()}`, {device}, {date.today()}, commit {commit()}, {seconds} s of processor time{weights}."
        write_section(args.out, title, [made, "", *lines])


if __name__ == "__main__":
    main()
