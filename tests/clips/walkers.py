"""Made-up truths: people who walk through a picture, with faults planted by the tests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jmpose.keypoints import COCO17
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.truth import Truth

WIDTH, HEIGHT, TALL = 1280, 720, 240.0
# COCO's joints of somebody who walks to the right, body heights from the middle of the hips, y down.
_FACE = [(0.06, -0.38), (0.05, -0.40), (0.05, -0.40), (0.01, -0.39), (0.01, -0.39)]
_ARMS = [(-0.05, -0.30), (0.05, -0.30), (-0.05, -0.16), (0.05, -0.16), (-0.05, -0.03), (0.05, -0.03)]
_LEGS = [(-0.04, 0.0), (0.04, 0.0), (-0.04, 0.23), (0.04, 0.23), (-0.04, 0.45), (0.04, 0.45)]
_REST = np.array([*_FACE, *_ARMS, *_LEGS])
# How far joints swing to the right with the left leg's stride.
_SWING = np.array([0, 0, 0, 0, 0, 0, 0, -0.03, 0.03, -0.08, 0.08, 0, 0, 0.05, -0.05, 0.11, -0.11])


@dataclass(frozen=True)
class Walker:
    """Somebody who walks evenly: where in the first frame, pixels a second, and in which frames."""

    track: int
    x: float
    y: float = 380.0
    speed: float = 60.0
    frames: tuple[int, int] = (0, 100)
    tall: float = TALL

    def joints(self, time_s: np.ndarray) -> np.ndarray:
        """`[n, 17, 2]` joints."""
        swing = np.sin(2 * np.pi * 0.9 * time_s + self.track)[:, None] * _SWING
        joints = np.tile(_REST, (len(time_s), 1, 1))
        joints[..., 0] += swing
        joints *= self.tall
        joints[..., 0] += (self.x + self.speed * time_s)[:, None]
        joints[..., 1] += self.y
        return joints


def walk(*walkers: Walker, frames: int = 100, fps: float = 25.0, noise_px: float = 0.7, seed: int = 0) -> Truth:
    """Return a clip of walkers; joints score 0.9."""
    generator = np.random.default_rng(seed)
    columns: dict[str, list[np.ndarray]] = {"frame": [], "track": [], "xy": []}
    for walker in walkers:
        place = np.arange(*walker.frames)
        joints = walker.joints(place / fps)
        columns["frame"].append(place)
        columns["track"].append(np.full(len(place), walker.track))
        columns["xy"].append(joints + generator.normal(0, noise_px, joints.shape))
    frame, track, xy = (np.concatenate(columns[name]) for name in columns)
    pad = 0.06 * TALL
    boxes = np.concatenate([xy.min(1) - pad, xy.max(1) + pad], 1)
    count = (len(frame), len(COCO17))
    truth = Truth(
        path=Path("made-up"),
        keypoints=COCO17,
        video=VideoMeta("clip", WIDTH, HEIGHT, fps, "clip.mp4"),
        info={},
        index=np.arange(frames),
        time_s=np.arange(frames) / fps,
        reviewed=np.zeros(frames, bool),
        frame=frame,
        track_ids=track,
        identity=track,
        boxes_xyxy_px=boxes,
        box_scores=np.full(len(frame), 0.9),
        observed=np.ones(len(frame), bool),
        person_scores=np.full(len(frame), 0.8),
        occluded=np.zeros(len(frame), bool),
        xy=xy,
        visibility=np.full(count, 2, np.uint8),
        scores=np.full(count, 0.9),
        sources=np.zeros(count, np.uint8),
    )
    return truth.sorted()


def moved(truth: Truth, track: int, frames: Sequence[int], joints: Sequence[str], by: tuple[float, float]) -> Truth:
    """Move joints of a track in some frames, pixels."""
    xy = truth.xy.copy()
    rows = np.flatnonzero((truth.track_ids == track) & np.isin(truth.index[truth.frame], frames))
    xy[np.ix_(rows, [COCO17.joints.index(joint) for joint in joints])] += by
    return replace(truth, xy=xy)
