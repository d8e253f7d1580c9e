"""A clip whose camera moves gets the same results however it is cut up, also by a kill."""

import time
from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.people.camera import CameraMotion
from tests.runs.batch_assets import (
    committed_frames,
    entries,
    kill,
    results,
    run_here,
    start,
    street_frames,
    write_video,
)

FRAMES = 30
OPTIONS = ("--no-overlay", "--set", "people.input_size=320", "--set", "run.chunk_frames=2")

pytestmark = pytest.mark.timeout(400)


def panned() -> list[np.ndarray]:
    """The example through a window `[176, 240, 3]` that goes 2.5 pixels to the right with every frame."""
    starts = np.arange(FRAMES) * 5 // 2
    return [np.ascontiguousarray(f[:176, x : x + 240]) for f, x in zip(street_frames()[30:], starts, strict=False)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "pan.mp4", panned())


@pytest.fixture(scope="module")
def undisturbed(video: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    shown = run_here(video, "--out", out, *OPTIONS)
    assert shown.exit_code == 0, shown.stderr
    found = results(out)
    assert b'"track_id":2' in found["pan/keypoints.coco.json"].replace(b" ", b"")
    return found


def test_the_window_is_followed():
    camera, nobody = CameraMotion(), np.zeros((0, 4), np.float32)
    moved = [camera.update(frame, nobody) for frame in panned()][1:]
    assert sum(step is not None and step[0, 2] < -1.5 for step in moved) > 0.8 * FRAMES


def test_killed_in_mid_clip_and_resumed(video, undisturbed, tmp_path):
    process = start(video, "--out", tmp_path, *OPTIONS)
    while process.poll() is None and not committed_frames(tmp_path, ["pan"]).get("pan"):
        time.sleep(0.01)
    kill(process)
    shown = run_here(video, "--out", tmp_path, *OPTIONS)
    assert shown.exit_code == 0, shown.stderr
    (done,) = [entry for entry in entries(tmp_path) if entry["event"] == "done"]
    assert 0 < done["resumed"] < FRAMES
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize(("batch", "chunk"), [(3, 7), (64, 1000)])
def test_batch_and_chunk_change_nothing(video, undisturbed, tmp_path, batch, chunk):
    shown = run_here(video, "--out", tmp_path, *OPTIONS, "--batch", batch, "--set", f"run.chunk_frames={chunk}")
    assert shown.exit_code == 0, shown.stderr
    assert results(tmp_path) == undisturbed
