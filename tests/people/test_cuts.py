import numpy as np
import pytest

from jmpose_cli.people.cuts import CutDetector
from jmpose_cli.video.source import open_video


def scene(seed: int) -> np.ndarray:
    """A picture of coloured blocks, wider than the frame, to pan over."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 255, 3)
    blocks = np.clip(base + rng.normal(0, 50, (9, 32, 3)), 0, 255)
    return np.kron(blocks, np.ones((20, 20, 1))).astype(np.uint8)


def cuts_in(frames) -> list[int]:
    detector = CutDetector()
    return [index for index, frame in enumerate(frames) if detector.update(frame)]


def pan(picture: np.ndarray, count: int, step: int) -> list[np.ndarray]:
    return [picture[:, step * i : step * i + 320] for i in range(count)]


@pytest.mark.parametrize("step", [0, 2, 15])
def test_a_pan_is_no_cut(step):
    assert cuts_in(pan(scene(1), 20, step)) == []


def test_a_flash_and_a_fade_are_no_cuts():
    still = scene(1)[:, :320]
    flash = [still] * 5 + [np.clip(still.astype(int) + 70, 0, 255).astype(np.uint8)] + [still] * 5
    fade = [(still * share).astype(np.uint8) for share in np.linspace(1, 0, 15)]
    assert cuts_in(flash) == [] and cuts_in(fade) == []


def test_noise_in_the_dark_is_no_cut():
    rng = np.random.default_rng(0)
    assert cuts_in([rng.integers(0, 12, (90, 160, 3), dtype=np.uint8) for _ in range(20)]) == []


def test_a_new_scene_is_a_cut():
    frames = pan(scene(1), 10, 3) + pan(scene(2), 10, 3) + pan(scene(3), 10, 3)
    assert cuts_in(frames) == [10, 20]


def test_real_videos_have_no_cuts_and_their_joints_have(shared_data):
    pieces = []
    for name in ("sam2_bedroom", "sports2d_walk_occluded", "cctv_office", "crowd_from_above", "intel_one_by_one"):
        with open_video(shared_data / "videos" / f"{name}.mp4", frames=(0, 40)) as source:
            frames = [frame[:, : frame.shape[0]] for batch in source for frame in batch.frames]
        assert cuts_in(frames) == [], name
        pieces += frames[:20]
    assert cuts_in(pieces) == [20, 40, 60, 80]
