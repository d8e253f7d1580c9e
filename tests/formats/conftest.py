"""Poses with known content and a disk that fills up."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jmpose.keypoints import COCO17_HEAD, KeypointSet
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.values import FramePoses, TrackedFrame

MakePoses = Callable[..., FramePoses]


@pytest.fixture
def meta() -> VideoMeta:
    return VideoMeta(name="clip", width=640, height=360, fps=25.0, source="clip.mp4")


@pytest.fixture
def make_poses() -> MakePoses:
    """`make_poses(index, ids)`: person i of a frame has a 40 x 100 box at x = 100 i and joint k at (100 i + k, 2 k)."""

    def make(
        index: int,
        ids: list[int] | None = None,
        *,
        keypoints: KeypointSet = COCO17_HEAD,
        scores: float | np.ndarray = 0.5,
        raw: bool = False,
    ) -> FramePoses:
        ids = [1] if ids is None else ids
        n, k = len(ids), len(keypoints)
        left = 100.0 * np.arange(n)
        boxes = np.stack([left, np.full(n, 10.0), left + 40, np.full(n, 110.0)], axis=1)
        people = TrackedFrame(
            index=index,
            time_s=index / 25,
            boxes_xyxy_px=boxes.astype(np.float32),
            scores=np.full(n, 0.9, np.float32),
            track_ids=np.array(ids, np.int64),
            observed=np.ones(n, bool),
        )
        xy = np.stack(np.broadcast_arrays(left[:, None] + np.arange(k), 2.0 * np.arange(k)), axis=2)
        xy = xy.astype(np.float32)
        joint_scores = np.broadcast_to(np.float32(scores), (n, k)).astype(np.float32)
        return FramePoses(people, xy, joint_scores, np.full(n, 0.75, np.float32), xy + 1 if raw else None)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small tmpfs cannot be mounted here (needs root and the right to mount)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
