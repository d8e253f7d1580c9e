"""Makes the benchmarks importable, as running one of them does."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
for group in ("accuracy", "experiments", "speed"):
    sys.path.insert(0, str(BENCHMARKS / group))

from real_video import Clip  # noqa: E402


@pytest.fixture
def clip() -> Clip:
    """A textured person-sized patch that moves right by 3 pixels a frame, in 16 frames."""
    rng = np.random.default_rng(0)
    picture = np.full((96, 120, 3), 90, np.uint8)
    patch = rng.integers(0, 256, (12, 6, 3), np.uint8).repeat(5, 0).repeat(5, 1)  # 60 x 30 pixels
    frames = np.stack([picture] * 16)
    left = 20 + 3 * np.arange(16)
    for frame, x in zip(frames, left.tolist(), strict=True):
        frame[18:78, x : x + 30] = patch
    boxes = np.stack([left, 0 * left + 18, left + 30, 0 * left + 78], 1).astype(np.float32)
    joints = boxes[:, None, :2] + np.linspace(2, 28, 17)[None, :, None].astype(np.float32)
    return Clip(
        name="made up",
        video="made up",
        track=1,
        fps=30.0,
        frames=frames,
        boxes_xyxy_px=boxes,
        xy=joints,
        known=np.ones((16, 17), bool),
        scored=np.ones(16, bool),
    )
