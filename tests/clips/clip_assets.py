"""A clip that nobody had to film: a few people who walk, as `jmpose infer` would leave it."""

from pathlib import Path

import numpy as np

from jmpose.keypoints import COCO17_HEAD, KeypointSet
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.truth import TRUTH_FILE
from jmpose_cli.values import FramePoses, TrackedFrame

FIRST, FRAMES = 2, 12
TRACKS = {1: range(2, 14), 3: range(2, 8), 7: range(9, 14), 8: range(4, 12)}
"""By id, the frames in which somebody is."""
META = VideoMeta(name="clip", width=640, height=360, fps=25.0, source="clip.mp4")


def make_clip(folder: Path, *, keypoints: KeypointSet = COCO17_HEAD, plain: bool = False, seed: int = 0) -> Path:
    """Write the truth of a clip of 12 frames, from frame 2 on, with tracks 1, 3, 7 and 8.

    Args:
        folder: Made where it is missing.
        keypoints: Joints.
        plain: Without raw joints, covariances and probabilities.
        seed: Of all numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    with CocoWriter(folder / TRUTH_FILE, META, keypoints, info={"model": "nano"}) as writer:
        for index in range(FIRST, FIRST + FRAMES):
            ids = [track for track, frames in TRACKS.items() if index in frames]
            shape = (len(ids), len(keypoints))
            corners = generator.uniform(0, 100, (len(ids), 2)) + 30 * np.array(ids)[:, None] + index
            xy = corners[:, None] + generator.uniform(0, 60, (*shape, 2))
            people = TrackedFrame(
                index=index,
                time_s=index / 25,
                boxes_xyxy_px=np.concatenate([corners, corners + np.array([40, 90])], 1).astype(np.float32),
                scores=generator.random(len(ids)).astype(np.float32),
                track_ids=np.array(ids, np.int64),
                observed=generator.random(len(ids)) > 0.3,
            )
            extra = {} if plain else {"covariances": _floats(generator, *shape, 3)}
            extra |= {} if plain else {"probabilities": _floats(generator, *shape)}
            raw = None if plain else (xy + 1).astype(np.float32)
            scores = generator.uniform(0.1, 1, shape).astype(np.float32)
            writer.write(FramePoses(people, xy.astype(np.float32), scores, scores.mean(1), raw, **extra))
    return folder


def _floats(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return generator.random(shape).astype(np.float32)
