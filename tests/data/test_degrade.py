"""What spoils crops: it changes them, in the way that it says, and the same way for the same seed."""

import numpy as np
import pytest

from jmpose_cli.data.degrade import (
    KINDS,
    Occluder,
    compression,
    dark_noise,
    defocus,
    degrade_window,
    low_resolution,
    motion_blur,
)
from tests.data.raw_windows import noisy

CROP = noisy(1, size_wh=(96, 128))
TEXTURE = np.full((64, 64, 3), (255, 0, 255), np.uint8)


class OneKind(np.random.Generator):
    """A generator that chooses the kind of degradation that it is told."""

    def __init__(self, kind, seed):
        super().__init__(np.random.PCG64(seed))
        self._kind = kind

    def choice(self, *args, **kwargs):
        chosen = super().choice(*args, **kwargs)
        return np.array([KINDS.index(self._kind)]) if kwargs.get("replace") is False else chosen


def degraded(kind, seed=0, *, crops=(CROP,) * 5, joints=((48.0, 64.0),), direction=0.0):
    """Window of five frames with one kind of degradation."""
    times = [float(t - len(crops) // 2) for t in range(len(crops))]
    return degrade_window(
        OneKind(kind, seed),
        crops,
        times=times,
        direction=direction,
        joints_px=np.array(joints).reshape(-1, 2),
        texture=lambda: TEXTURE,
    )


def harm(crop):
    return float(np.abs(crop.astype(float) - CROP).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_spoils_the_key_frame_and_keeps_its_form(kind):
    before = CROP.copy()
    for seed in range(5):
        spoiled = degraded(kind, seed)
        assert len(spoiled) == 5
        for crop in spoiled:
            assert (crop.shape, crop.dtype) == (CROP.shape, np.uint8)
        assert harm(spoiled[2]) > 0.3
        assert all((a == b).all() for a, b in zip(spoiled, degraded(kind, seed), strict=True))
    assert (before == CROP).all()


@pytest.mark.parametrize("kind", ["motion_blur", "defocus"])
def test_blur_is_worst_in_the_key_frame(kind):
    differ = 0
    for seed in range(10):
        harms = [harm(crop) for crop in degraded(kind, seed)]
        assert harms[2] >= max(harms)
        differ += min(harms) < 0.8 * harms[2]
    assert differ >= 8


@pytest.mark.parametrize("kind", ["low_resolution", "compression"])
def test_what_comes_from_the_file_is_alike_in_all_frames(kind):
    spoiled = degraded(kind)
    assert all((crop == spoiled[0]).all() for crop in spoiled)


def test_noise_differs_from_frame_to_frame():
    spoiled = degraded("dark_noise")
    assert (spoiled[0] != spoiled[1]).any()
    assert np.mean(spoiled[0]) == pytest.approx(np.mean(spoiled[1]), rel=0.02)


def point(size=31):
    crop = np.zeros((size, size, 3), np.uint8)
    crop[size // 2, size // 2] = 255
    return crop


@pytest.mark.parametrize(
    ("angle_deg", "direction"), [(0, (1, 0)), (90, (0, 1)), (45, (1, 1)), (-45, (1, -1)), (180, (1, 0))]
)
def test_motion_blur_smears_along_its_angle_only(angle_deg, direction):
    rows, columns = np.nonzero(motion_blur(point(), 11, np.deg2rad(angle_deg))[:, :, 0])
    offsets = np.stack([columns - 15, rows - 15], 1)
    along = offsets @ direction / np.linalg.norm(direction)
    across = offsets @ (-direction[1], direction[0]) / np.linalg.norm(direction)
    assert np.abs(across).max() <= 1
    assert along.min() == pytest.approx(-5, abs=1.1)
    assert along.max() == pytest.approx(5, abs=1.1)


@pytest.mark.parametrize("length_px", [2, 3.2, 5, 9.3, 12])
def test_motion_blur_leaves_things_where_they_are(length_px):
    for angle in np.linspace(0, np.pi, 9):
        smeared = motion_blur(point(), length_px, angle)[:, :, 0].astype(float)
        places = np.arange(31) - 15
        assert smeared.sum() == pytest.approx(255, abs=12)  # rounded to whole grey levels
        assert abs((smeared.sum(0) * places).sum() / smeared.sum()) < 0.05
        assert abs((smeared.sum(1) * places).sum() / smeared.sum()) < 0.05


def test_motion_blur_of_a_line_along_itself_changes_only_its_ends():
    crop = np.zeros((32, 64, 3), np.uint8)
    crop[16] = 200
    assert (motion_blur(crop, 15, 0.0)[16, 8:-8] >= 190).all()
    assert motion_blur(crop, 15, np.pi / 2)[16].max() < 40


def test_short_motion_blurs_nothing():
    assert motion_blur(CROP, 0.9, 0.3) is CROP


def test_window_direction_is_that_of_the_blur():
    # A picture of vertical stripes loses everything to horizontal motion and nothing to vertical motion.
    stripes = np.zeros((128, 96, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = stripes[:, 2::8] = stripes[:, 3::8] = 255
    for seed in range(4):
        across = degraded("motion_blur", seed, crops=(stripes,) * 3, direction=0.0)[1]
        along = degraded("motion_blur", seed, crops=(stripes,) * 3, direction=np.pi / 2)[1]
        change = [np.abs(crop.astype(float) - stripes)[20:-20, 20:-20].mean() for crop in (across, along)]
        assert change[0] > 5 * change[1]


def test_defocus_spreads_evenly_and_keeps_the_brightness():
    spread = defocus(point(), 2.0)[:, :, 0].astype(float)
    assert (spread == spread.T).all()
    assert (spread == spread[::-1, ::-1]).all()
    assert spread[15, 15] == spread.max() < 255
    flat = np.full((20, 20, 3), 77, np.uint8)
    assert (defocus(flat, 3.0) == 77).all()


def test_low_resolution_loses_what_is_smaller_than_its_pixels():
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(200)
    crop = np.ascontiguousarray(np.repeat(checks[:, :, None], 3, 2).astype(np.uint8))
    assert np.abs(low_resolution(crop, 4.0).astype(int) - 100).max() <= 1


def test_dark_noise_has_its_gain_and_grain():
    flat = np.full((100, 100, 3), 200, np.uint8)
    noisy_crop = dark_noise(np.random.default_rng(0), flat, gain=0.5, grain=10).astype(float)
    assert noisy_crop.mean() == pytest.approx(99.5, abs=0.5)
    assert noisy_crop.std() == pytest.approx(10, rel=0.05)


def test_compression_keeps_colours_in_their_channels():
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 200
    assert np.abs(compression(red, 60).astype(int) - red).max() < 8
    assert harm(compression(CROP, 10)) > harm(compression(CROP, 60)) > 0


def purple_centre(crop):
    rows, columns = np.nonzero((crop == (255, 0, 255)).all(2))
    return np.array([columns.mean(), rows.mean()]) if len(rows) else None


def test_an_occluder_hides_a_joint_and_moves_steadily():
    grey = np.full((400, 400, 3), 60, np.uint8)
    moved = 0
    for seed in range(10):
        spoiled = degraded("occluder", seed, crops=(grey,) * 3, joints=((200.0, 200.0),))
        assert (spoiled[1][200, 200] == (255, 0, 255)).all()
        centres = [purple_centre(crop) for crop in spoiled]
        assert np.abs(centres[1] - 200).max() <= 1
        whole = {int((crop == (255, 0, 255)).all(2).sum()) for crop in spoiled}
        if len(whole) == 1:  # not cut off by the border in any frame
            assert np.allclose(centres[0] + centres[2], 2 * centres[1], atol=2)
            moved = max(moved, float(np.linalg.norm(centres[0] - centres[1])))
    assert moved > 40


def test_an_occluder_without_known_joints_lies_anywhere():
    places = [purple_centre(degraded("occluder", seed, joints=())[2]) for seed in range(20)]
    seen = np.array([place for place in places if place is not None])
    assert len(seen) > 10
    assert (seen.std(0) > 12).all()


def test_pasting_is_clipped_to_the_crop():
    shape = Occluder(np.full((10, 6, 3), 9, np.uint8), np.ones((10, 6), np.uint8))
    crop = np.zeros((20, 20, 3), np.uint8)
    middle = shape.paste(crop, np.array([10.0, 10.0]))
    assert middle[5:15, 7:13].min() == 9
    assert (middle > 0).all(2).sum() == 60
    corner = shape.paste(crop, np.array([0.0, 0.0]))
    assert corner[:5, :3].min() == 9
    assert (corner > 0).all(2).sum() == 15
    assert not shape.paste(crop, np.array([-50.0, 300.0])).any()
    assert not crop.any()


def test_the_texture_is_asked_for_only_by_occluders():
    def none():
        raise AssertionError("not wanted")

    arguments = {"times": [0.0], "direction": 0.0, "joints_px": np.zeros((0, 2)), "texture": none}
    for kind in KINDS:
        if kind != "occluder":
            degrade_window(OneKind(kind, 0), [CROP], **arguments)
    with pytest.raises(AssertionError, match="not wanted"):
        degrade_window(OneKind("occluder", 0), [CROP], **arguments)
