"""Whether ids outlast a camera that moves: a window that pans and trembles over sequences filmed by one that stands.

`python benchmarks/accuracy/moving_camera.py [--detector NAME|FILE] [--reid reid-nano]`

Boxes and looks are those that `identity.py` found in whole frames and keeps in `--cache`; how the window moves is found
in its own pictures. Boxes and annotations count whose centre lies in the window. Each sequence three times: at rest,
a hand's tremor, and a pan to and fro at so many widths a second.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from identity import TRACKERS, Sequence, frames_of, observe, ours, row, score, truth_of
from jmpose_cli.annotate.networks import open_embedder
from jmpose_cli.config import PeopleConfig
from jmpose_cli.known_weights import choose_detector, choose_reid
from jmpose_cli.people.camera import CameraMotion
from jmpose_cli.people.detectors import load_detector
from jmpose_cli.values import Detections

SHARE = 0.6  # of the frame's sides that the window has
MOVES = {"at rest": (0.0, 0.0), "tremor": (0.0, 0.006), "pan": (0.25, 0.002), "fast pan": (0.6, 0.004)}
"""Widths of the window a second, and amplitude of the tremor in widths."""


@dataclass(frozen=True)
class Seen:
    """Annotated people, as `read_mot` gives them."""

    image_row: np.ndarray
    track_ids: np.ndarray
    boxes_xyxy_px: np.ndarray


def windows(sequence: Sequence, speed: float, tremor: float) -> np.ndarray:
    """Return `[F, 2]` the corner of the window in each frame, whole pixels."""
    width, height = sequence.size
    time_s = np.arange(len(sequence.people)) / sequence.fps
    room = np.array([width, height]) * (1 - SHARE)
    way = speed * SHARE * width * time_s + room[0] / 2
    across = np.abs((way + room[0]) % (2 * room[0]) - room[0])  # to and fro
    rates = np.array([[2.1, 5.3, 9.7], [2.9, 6.1, 8.3]])
    waves = np.sin(2 * np.pi * rates[:, None] * 0.25 * time_s[:, None] + np.array([0.4, 1.7])[:, None, None]).sum(2)
    shake = tremor * SHARE * width * waves.T
    corner = np.stack([across, np.full(len(time_s), room[1] / 2)], 1) + shake
    return corner.clip(0, room).round().astype(int)


def through(sequence: Sequence, corner: np.ndarray) -> tuple[Sequence, Seen, float]:
    """A sequence seen through a window: what is found and annotated in it, and milliseconds a frame for the camera."""
    width, height = (int(SHARE * side) for side in sequence.size)

    def inside(boxes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = boxes - np.tile(at, 2)
        centre = (moved[:, :2] + moved[:, 2:]) / 2
        return moved.clip(0, [width, height] * 2), ((centre > 0) & (centre < [width, height])).all(1)

    people, looks, camera = [], [], []
    follower, spent_s = CameraMotion(), 0.0
    for frame, found, vectors, at in zip(
        frames_of(sequence.folder), sequence.people, sequence.looks, corner, strict=True
    ):
        boxes, kept = inside(found.boxes_xyxy_px, at)
        some = Detections(boxes[kept].astype(np.float32), found.scores[kept])
        picture = frame[at[1] : at[1] + height, at[0] : at[0] + width]
        began = time.thread_time()
        camera.append(follower.update(picture, some.boxes_xyxy_px))
        spent_s += time.thread_time() - began
        people.append(some)
        looks.append(vectors[kept])
    truth = truth_of(sequence.folder)
    boxes, kept = np.zeros_like(truth.boxes_xyxy_px), np.zeros(len(truth.track_ids), bool)
    for number in np.unique(truth.image_row):
        rows = np.flatnonzero(truth.image_row == number)
        boxes[rows], kept[rows] = inside(truth.boxes_xyxy_px[rows], corner[number])
    seen = Seen(truth.image_row[kept], truth.track_ids[kept], boxes[kept])
    through_it = replace(sequence, people=people, looks=looks, camera=camera, size=(width, height))
    return through_it, seen, 1e3 * spent_s / len(people)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tracking"))
    parser.add_argument("--detector", default="person-nano", help="A name or a file.")
    parser.add_argument("--reid", default="reid-nano", help="reid-nano, none, or a .pth of OSNet.")
    parser.add_argument("--cache", type=Path, default=Path("out/identity"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    path, least = choose_detector(args.detector, on_gpu=False).path, PeopleConfig().keep_box_score
    detector, _ = load_detector(path, engine="torch", device="cpu", min_score=least, input_size=None, threads=1)
    looks = choose_reid(args.reid)
    embedder = open_embedder(looks, device="cpu") if looks else None
    folders = sorted(folder for folder in args.data.iterdir() if folder.is_dir())
    sequences = [observe(folder, detector, embedder, args.cache) for folder in folders]
    compared: dict[str, Any] = {"camera not followed": TRACKERS["ours, camera not followed"], "camera followed": ours}
    print("| window | HOTA | IDF1 | switches | crossing | short gap | long gap | returning | late | ceiling |")
    print("|---" * 10 + "|")
    for title, (speed, tremor) in MOVES.items():
        seen = [through(one, windows(one, speed, tremor)) for one in sequences]
        for how, run in compared.items():
            print(row(f"{title}, {how}", [score(one, run(one), truth) for one, truth, _ in seen]))
        moved = [np.mean([step is not None for step in one.camera or ()]) for one, _, _ in seen]
        spent = np.mean([ms for *_, ms in seen])
        print(
            f"  moved in {', '.join(f'{100 * share:.0f} %' for share in moved)} of the frames; {spent:.1f} ms a frame"
        )


if __name__ == "__main__":
    main()
