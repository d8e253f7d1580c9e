import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import degradation
from degradation import (
    KINDS,
    LEVELS,
    REGIMES,
    SUBFRAMES,
    bursts,
    defocus,
    freeze,
    grey_levels,
    in_between,
    linear_light,
    low_light,
    motion_blur,
    spoil,
)

RNG = np.random.default_rng(1)


def light(frames: np.ndarray) -> float:
    return float(linear_light(frames).mean())


def test_every_way_comes_at_every_strength_and_is_the_same_again(clip) -> None:
    foreign = RNG.integers(0, 256, (40, 40, 3), np.uint8)
    first, second = (dict(spoil(clip, foreign)) for _ in range(2))
    assert len(first) == len(KINDS) * len(LEVELS) * len(REGIMES)
    for condition, shown in first.items():
        assert shown.frames.shape == clip.frames.shape
        np.testing.assert_array_equal(shown.frames, second[condition].frames)
        np.testing.assert_array_equal(shown.present, second[condition].present)
    other = dict(spoil(dataclasses.replace(clip, name="another"), foreign))
    assert any((shown.hit != other[condition].hit).any() for condition, shown in first.items())


def test_bursts_leave_the_frames_between_them_alone(clip) -> None:
    for condition, shown in spoil(clip, clip.frames[0], kinds=["defocus", "low_light", "compression", "motion_blur"]):
        if condition.regime == "bursts":
            changed = (shown.frames != clip.frames).any((1, 2, 3))
            np.testing.assert_array_equal(changed, shown.hit)
            assert shown.hit.sum() == 6
        else:
            assert (shown.frames != clip.frames).any((1, 2, 3)).all()


def test_stronger_spoils_more(clip) -> None:
    off = {
        (condition.kind, condition.level): np.abs(shown.frames.astype(float) - clip.frames).mean()
        for condition, shown in spoil(clip, clip.frames[0])
        if condition.regime == "throughout" and condition.kind != "lost_frames"
    }
    for kind in KINDS[:-1]:
        assert 0 < off[kind, 1] < off[kind, 2] < off[kind, 3]


def test_frames_are_lost(clip) -> None:
    for condition, shown in spoil(clip, clip.frames[0], kinds=["lost_frames"]):
        if condition.regime == "throughout":
            assert 0 < shown.present.sum() < len(clip)
            np.testing.assert_array_equal(shown.frames, clip.frames)
        else:
            assert shown.present.all()
            assert shown.hit.sum() == {1: 4, 2: 8, 3: 12}[condition.level]


def test_an_occluder_covers_the_middle_of_its_burst_and_moves(clip) -> None:
    foreign = np.zeros((40, 40, 3), np.uint8)  # black, which the clip is nowhere over large areas
    (flying, swaying) = (shown for _, shown in spoil(clip, foreign, kinds=["occluder"], levels=[2]))
    black = [(frame == 0).all(2) for frame in flying.frames]
    middles = [n for n in range(1, 15) if flying.hit[n - 1 : n + 2].all()]
    assert middles
    assert all(black[n].sum() > 100 for n in middles)
    assert all((black[n] != black[n - 1]).any() for n in middles)
    assert all((frame == 0).all(2).sum() > 100 for frame in swaying.frames)


def test_long_shutters_and_defocus_keep_the_light(clip) -> None:
    moments = [linear_light(frame) for frame in in_between(clip.frames)]
    assert len(moments) == SUBFRAMES * 15 + 1
    blurred = motion_blur(moments, shutter=5)
    seen = np.mean([moment.mean() for moment in moments[8 * SUBFRAMES - 10 : 8 * SUBFRAMES + 11]])
    assert light(blurred[8]) == pytest.approx(seen, rel=5e-3)
    assert light(defocus(clip.frames[0], 6.0)) == pytest.approx(light(clip.frames[0]), rel=1e-2)


def test_a_shutter_of_no_time_changes_nothing(clip) -> None:
    moments = [linear_light(frame) for frame in in_between(clip.frames)]
    assert np.abs(motion_blur(moments, shutter=0).astype(int) - clip.frames).max() <= 1


def test_pictures_in_between_lie_on_the_way(clip) -> None:
    halfway = in_between(clip.frames[8:10])[SUBFRAMES // 2]
    inside = np.s_[30:60, 50:68]  # the patch covers it in both frames, and moves by 3 pixels
    crossfade = (clip.frames[8][inside].astype(float) + clip.frames[9][inside]) / 2
    moved = (np.roll(clip.frames[8], 1, 1)[inside].astype(float) + np.roll(clip.frames[8], 2, 1)[inside]) / 2
    assert np.abs(halfway[inside] - moved).mean() < 0.5 * np.abs(crossfade - moved).mean()


def test_low_light_is_half_as_bright_and_noisy() -> None:
    grey = np.full((200, 200, 3), 188, np.uint8)  # half of the light
    dark = low_light(np.random.default_rng(0), grey, photons=1e4)
    assert light(dark) == pytest.approx(light(grey) / 2, rel=1e-2)
    few = low_light(np.random.default_rng(0), grey, photons=10)
    # Variance: 5 photons and the readout's 1.5 squared, of 10 at white, at half the brightness.
    assert linear_light(few).std() == pytest.approx(0.5 * np.sqrt(5 + 1.5**2) / 10, rel=0.15)


def test_grey_levels_undo_linear_light() -> None:
    codes = np.arange(2, 256, dtype=np.uint8)
    np.testing.assert_array_equal(grey_levels(linear_light(codes)), codes)


def test_bursts_have_their_length_and_period() -> None:
    hit = bursts(np.random.default_rng(3), 24, 3)
    assert hit.sum() == 9
    np.testing.assert_array_equal(hit[:8], hit[8:16])


def test_a_frozen_picture_is_the_last_one_that_came() -> None:
    frames = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    hit = np.array([True, False, True, True, False, True])
    assert freeze(frames, hit).ravel().tolist() == [1, 1, 1, 1, 4, 4]


def test_compression_does_not_depend_on_what_memory_held_before():
    """glibc fills memory with a pattern before it gives it away; elsewhere this only compresses the same twice."""
    code = (
        "import hashlib, numpy as np\n"
        "from degradation import compress\n"
        "frames = np.random.default_rng(0).integers(0, 255, (6, 34, 60, 3), np.uint8).repeat(16, 1).repeat(16, 2)\n"
        "print(hashlib.sha256(compress(frames, crf=35, fps=25.0)).hexdigest())\n"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            cwd=Path(degradation.__file__).parent,
            env=os.environ | {"MALLOC_PERTURB_": pattern},
        ).stdout
        for pattern in ("1", "85")
    ]
    assert found[0] == found[1] != b""
