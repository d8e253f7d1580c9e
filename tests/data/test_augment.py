"""Windows after augmentation: labels stay on their pixels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from jmpose.keypoints import COCO17
from jmpose.sampling import crop_affine
from jmpose.targets import crop_to_heatmap, gaussian_targets
from jmpose_cli.data.augment import PLAIN, Augmentation, Motion, make_window, random_affine
from jmpose_cli.data.samples import Taught
from tests.data.raw_windows import (
    BOX,
    PREPROCESS,
    SIDES,
    dotted,
    dotted_window,
    found_dot,
    noisy,
    raw_window,
    spread_joints,
    still_window,
)

OFFSETS = (-2, 0, 2)
LOWER = np.array([joint.endswith(("hip", "knee", "ankle")) for joint in COCO17.joints])
GEOMETRY = Augmentation(60, 0.3, 0.1, 0.5, 0.0, 8, 0.0, 0.0, 0.0, 0.0)


def make(raw, settings, seed=0, **options):
    rng = np.random.default_rng(seed)
    return make_window(rng, raw, PREPROCESS, offsets=OFFSETS, settings=settings, **options)


def to_crop(window, xy):
    """Image pixels to crop pixels."""
    affine = np.linalg.inv(np.vstack([window.to_image, [0, 0, 1]]).astype(float))
    return xy @ affine[:2, :2].T + affine[:2, 2]


WINDOW = dotted_window()


def drawn_affine(settings, seed):
    rng = np.random.default_rng(seed)
    return random_affine(rng, WINDOW, PREPROCESS, (96, 128), key=1, settings=settings)


def test_a_plain_window_is_the_crop_of_inference():
    raw = raw_window([noisy(seed) for seed in range(3)], [spread_joints()] * 3)
    window = make(raw, PLAIN)
    to_image = crop_affine(torch.from_numpy(BOX)[None], PREPROCESS)[0].numpy()
    # The box is 80 x 120, with padding 100 x 150; the crop is 96 x 128, so the height decides: 150 / 128.
    assert to_image[0, 0] == pytest.approx(150 / 128)
    assert np.allclose(window.to_image, to_image, atol=1e-4)
    for crop, picture in zip(window.crops, raw.pictures, strict=True):
        expected = cv2.warpAffine(picture, to_image, (96, 128), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        difference = np.abs(crop.astype(int) - expected)
        assert difference.max() <= 2
        assert (difference == 0).mean() > 0.98
    # By hand: the box's centre is at the crop's centre, everything else in proportion.
    expected = (spread_joints() - [150, 120]) * 128 / 150 + [47.5, 63.5]
    assert np.allclose(window.xy, expected[None], atol=1e-3)
    assert window.exists.all()
    assert (window.weight == 1).all()
    assert (window.present == 1).all()


def test_a_plain_window_draws_nothing():
    rng = np.random.default_rng(3)
    make_window(rng, dotted_window(), PREPROCESS, offsets=OFFSETS, settings=PLAIN)
    assert rng.random() == np.random.default_rng(3).random()


def test_another_height_keeps_the_aspect_ratio_and_the_content():
    window, small = make(dotted_window(), PLAIN), make(dotted_window(), PLAIN, height=64)
    assert small.crops.shape == (3, 64, 48, 3)
    # Pixel centres at integers: half a pixel is in the way when sizes change.
    assert np.allclose((small.xy + 0.5) * 2, window.xy + 0.5, atol=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_joints_follow_the_pixels(seed):
    raw = dotted_window(moving=(3, -2))
    window = make(raw, GEOMETRY, seed)
    mirrored = np.linalg.det(window.to_image[:, :2]) < 0
    checked = 0
    for crop, xy, present in zip(window.crops, window.xy, window.present, strict=True):
        inside = ((xy > 6) & (xy < np.array([96, 128]) - 7)).all(1)
        for joint in np.flatnonzero(present * inside > 0):
            # A mirrored left wrist is somebody's right wrist: its dot is still that of the other side.
            side = SIDES[COCO17.flip_index[joint]] if mirrored else SIDES[joint]
            assert np.linalg.norm(found_dot(crop, side, xy[joint]) - xy[joint]) < 0.6
            checked += 1
    assert checked > 20


def test_half_of_the_windows_are_mirrored_with_names_swapped():
    always = replace(PLAIN, flip=1.0)
    plain, flipped = make(dotted_window(), PLAIN), make(dotted_window(), always)
    assert np.allclose(flipped.crops[:, :, ::-1].astype(int), plain.crops, atol=2)
    mirrored = plain.xy * [-1, 1] + [95, 0]
    left, right = COCO17.joints.index("left_wrist"), COCO17.joints.index("right_wrist")
    assert np.allclose(flipped.xy[:, left], mirrored[:, right], atol=1e-3)
    assert np.allclose(flipped.xy[:, 0], mirrored[:, 0], atol=1e-3)
    dets = [np.linalg.det(drawn_affine(replace(PLAIN, flip=0.5), seed)[:2, :2]) for seed in range(200)]
    assert 70 < sum(det < 0 for det in dets) < 130


def test_flips_swap_weights_and_presence_too():
    raw = dotted_window()
    wrist = COCO17.joints.index("left_wrist")
    raw.labels.weight[:, wrist] = 0.25
    raw.labels.present[:, wrist] = 0
    window = make(raw, replace(PLAIN, flip=1.0))
    other = COCO17.joints.index("right_wrist")
    assert (window.weight[:, other] == 0.25).all()
    assert (window.present[:, other] == 0).all()
    assert window.weight.sum() == pytest.approx(3 * 16.25)


def test_one_affine_for_all_frames_of_a_real_window():
    raw = dotted_window(moving=(5, 3))
    for seed in range(10):
        window = make(raw, GEOMETRY, seed)
        mirrored = np.linalg.det(window.to_image[:, :2]) < 0
        order = list(COCO17.flip_index) if mirrored else list(range(17))
        for frame in range(3):
            assert np.allclose(window.xy[frame], to_crop(window, raw.labels.xy[frame])[order], atol=1e-2)


def test_to_image_inverts_the_affine():
    for seed in range(10):
        raw = dotted_window()
        affine = random_affine(np.random.default_rng(seed), raw, PREPROCESS, (96, 128), key=1, settings=GEOMETRY)
        window = make(raw, GEOMETRY, seed)
        assert np.allclose(affine[:2] @ np.vstack([window.to_image, [0, 0, 1]]), np.eye(3)[:2], atol=1e-3)


def test_rotation_scale_and_shift_stay_within_their_limits():
    limits = Augmentation(30, 0.2, 0.1, 0.0, 0.0, 8, 0.0, 0.0, 0.0, 0.0)
    affines = [drawn_affine(limits, seed) for seed in range(300)]
    angles = np.rad2deg([np.arctan2(a[1, 0], a[0, 0]) for a in affines])
    scales = np.array([np.hypot(a[0, 0], a[1, 0]) for a in affines]) / (128 / 150)
    centres = np.array([a[:2, :2] @ [150, 120] + a[:2, 2] for a in affines]) - [47.5, 63.5]
    assert np.abs(angles).max() <= 30.001
    assert np.abs(angles).max() > 25
    assert 0.3 < np.mean(angles == 0) < 0.5  # four of ten windows are not turned
    assert 0.799 < scales.min() < 0.83
    assert 1.17 < scales.max() < 1.201
    assert 11 < np.abs(centres).max() <= 12.8


def test_made_up_motion_moves_support_frames_with_their_labels():
    settings = replace(PLAIN, motion=0.05)
    plain = make(still_window(), PLAIN)
    moved = 0.0
    for seed in range(8):
        window = make(still_window(), settings, seed)
        assert np.allclose(window.xy[1], plain.xy[1], atol=1e-3)
        assert (window.crops[1] == plain.crops[1]).all()
        assert np.allclose(window.to_image, plain.to_image)
        for frame in (0, 2):
            moved = max(moved, float(np.abs(window.xy[frame] - plain.xy[frame]).max()))
            xy = window.xy[frame]
            inside = ((xy > 6) & (xy < np.array([96, 128]) - 7)).all(1)
            for joint in np.flatnonzero(inside):
                assert np.linalg.norm(found_dot(window.crops[frame], SIDES[joint], xy[joint]) - xy[joint]) < 0.6
        # Before and after lie on opposite sides of the key frame, up to the bend.
        before, after = (window.xy[frame].mean(0) - plain.xy[1].mean(0) for frame in (0, 2))
        assert np.linalg.norm(before + after) < 1.2 * np.linalg.norm(before - after)
    assert moved > 4


def test_motion_by_hand():
    motion = Motion(shift=np.array([3.0, 1.0]), bend=np.array([0.0, 0.5]), turn=0.0, zoom=0.0)
    assert np.allclose(motion.affine(0, (96, 128)), np.eye(3))
    assert np.allclose(motion.affine(-2, (96, 128)), [[1, 0, -6], [0, 1, 0], [0, 0, 1]])  # -2 + 4 / 2
    # A quarter turn and twice the size about the crop's centre (47.5, 63.5).
    turned = Motion(shift=np.zeros(2), bend=np.zeros(2), turn=np.pi / 2, zoom=np.log(2)).affine(1, (96, 128))
    assert np.allclose(turned @ [47.5, 63.5, 1], [47.5, 63.5, 1])
    assert np.allclose(turned @ [48.5, 63.5, 1], [47.5, 65.5, 1])


def test_made_up_motion_is_in_crop_pixels(monkeypatch):
    steady = Motion(shift=np.array([3.0, 1.0]), bend=np.zeros(2), turn=0.0, zoom=0.0)
    monkeypatch.setattr(Motion, "draw", lambda rng, size_px: steady)
    window = make(still_window(), replace(PLAIN, motion=0.05))  # the crop has 0.85 of the picture's scale
    assert np.allclose(window.xy[2] - window.xy[1], [3, 1], atol=1e-3)
    assert np.allclose(window.xy[0] - window.xy[1], [-3, -1], atol=1e-3)


def test_real_windows_get_no_made_up_motion():
    a, b = make(dotted_window(), replace(PLAIN, motion=0.1)), make(dotted_window(), PLAIN)
    assert (a.crops == b.crops).all()


def test_half_body_takes_the_upper_or_the_lower_joints():
    settings = replace(PLAIN, half_body=1.0, half_body_joints=8)
    centres = [to_image_centre(make(dotted_window(), settings, seed)) for seed in range(60)]
    # Upper joints span y 70 to 102 and x 120 to 180, lower ones y 136 to 154 and x 120 to 180.
    places = {tuple(np.round(centre, 2).tolist()) for centre in centres}
    assert places == {(150.0, 86.0), (150.0, 145.0)}
    lower = sum(centre[1] > 120 for centre in centres)
    assert 10 < lower < 35  # 35 %
    # The larger extent is 60; a quarter of it on each side: 90 wide, with padding 112.5, in 96 pixels.
    window = make(dotted_window(), settings)
    assert window.to_image[0, 0] == pytest.approx(112.5 / 96, rel=1e-5)


def to_image_centre(window):
    return window.to_image[:, :2] @ [47.5, 63.5] + window.to_image[:, 2]


def test_half_body_needs_enough_joints():
    settings = replace(PLAIN, half_body=1.0, half_body_joints=8)
    raw = dotted_window()
    raw.labels.weight[1, 7:] = 0  # seven known joints in the key frame
    for seed in range(10):
        assert np.allclose(to_image_centre(make(raw, settings, seed)), [150, 120], atol=1e-3)
    raw.labels.weight[1, 7] = 1  # eight, none of them of the lower body
    centres = {round(float(to_image_centre(make(raw, settings, seed))[1])) for seed in range(20)}
    assert centres == {120, 78}  # lower bodies without joints stay whole; the upper eight span y 70 to 86


def test_joints_outside_the_crop_are_not_there_and_count_less():
    raw = dotted_window()
    nose, ankle = 0, COCO17.joints.index("left_ankle")
    # 150 px of the image's height are in the crop, from 45 to 195.
    raw.labels.xy[1, nose], raw.labels.xy[1, ankle] = (150, 40), (150, 194)
    window = make(raw, PLAIN)
    assert (window.present[1, nose], window.weight[1, nose]) == (0, pytest.approx(0.3))
    assert (window.present[1, ankle], window.weight[1, ankle]) == (1, 1)
    assert (window.present[[0, 2]] == 1).all()


def test_unknown_joints_stay_unknown_wherever_they_are():
    raw = dotted_window()
    raw.labels.xy[1, 0], raw.labels.weight[1, 0], raw.labels.present[1, 0] = (-500, -500), 0, 0
    window = make(raw, PLAIN)
    assert (window.weight[1, 0], window.present[1, 0]) == (0, 0)


def test_missing_frames_repeat_the_key_frame():
    raw = raw_window([noisy(seed) for seed in range(3)], [spread_joints(shift=(t, t)) for t in range(3)])
    raw.labels.weight[0] = 0.5
    sides = set()
    for seed in range(10):
        window = make(raw, replace(PLAIN, missing=1.0), seed)
        (lost,) = np.flatnonzero(~window.exists)
        sides.add(int(lost))
        assert (window.crops[lost] == window.crops[1]).all()
        for values in (window.xy, window.weight, window.present):
            assert (values[lost] == values[1]).all()
        kept = 2 - lost
        assert (window.crops[kept] != window.crops[1]).any()
        assert (window.xy[kept] != window.xy[1]).any()
    assert sides == {0, 2}
    assert raw.exists.all()
    assert (raw.labels.weight[0] == 0.5).all()


def test_the_same_seed_gives_the_same_window_and_another_seed_does_not():
    for raw in (still_window(), dotted_window(moving=(2, 1))):
        a, b, c = (make(raw, Augmentation(), seed) for seed in (5, 5, 6))
        for name in ("crops", "exists", "xy", "weight", "present", "to_image"):
            assert (getattr(a, name) == getattr(b, name)).all()
        assert (a.crops != c.crops).any()


def test_input_pictures_and_labels_are_left_alone():
    raw = still_window()
    before = raw.pictures[0].copy(), raw.labels.xy.copy(), raw.labels.weight.copy(), raw.exists.copy()
    for seed in range(20):
        make(raw, Augmentation(degrade=1.0, missing=1.0), seed)
    assert (raw.pictures[0] == before[0]).all()
    assert (raw.labels.xy == before[1]).all()
    assert (raw.labels.weight == before[2]).all()
    assert (raw.exists == before[3]).all()


def test_colour_changes_all_frames_alike_and_keeps_the_geometry():
    raw = raw_window([noisy()] * 3, [spread_joints()] * 3)
    greys = 0
    for seed in range(60):
        window = make(raw, replace(PLAIN, colour=1.0), seed)
        assert (window.crops == window.crops[:1]).all()
        assert np.allclose(window.xy, make(raw, PLAIN).xy)
        greys += bool((window.crops[..., 0] == window.crops[..., 1]).all())
    assert 1 <= greys <= 12  # 8 %


def test_occluders_come_from_the_given_texture():
    raw = raw_window([dotted(spread_joints())] * 3, [spread_joints()] * 3)
    purple = raw_window([np.full((64, 64, 3), (200, 0, 190), np.uint8)], [spread_joints()])
    windows = [make(raw, replace(PLAIN, degrade=1.0), seed, other=lambda: purple) for seed in range(40)]
    assert any(((w.crops == (200, 0, 190)).all(-1)).sum() > 50 for w in windows)


def test_passers_by_come_from_other_windows_and_leave_the_labels_as_they_are():
    raw = raw_window([dotted(spread_joints())] * 3, [spread_joints()] * 3)
    purple = raw_window([np.full((240, 320, 3), (200, 0, 190), np.uint8)], [spread_joints()])
    plain = make(raw, PLAIN)
    for seed in range(5):
        window = make(raw, replace(PLAIN, passers_by=1.0), seed, other=lambda: purple)
        assert (window.crops == (200, 0, 190)).all(-1).any()
        for name in ("xy", "weight", "present", "to_image", "exists", "swap"):
            assert (getattr(plain, name) == getattr(window, name)).all()


def test_grain_is_mild_and_every_frame_has_its_own():
    picture = cv2.GaussianBlur(noisy(), (0, 0), 5)
    raw = raw_window([picture] * 3, [spread_joints()] * 3)
    clean = make(raw, PLAIN).crops.astype(float)
    for seed in range(20):
        crops = make(raw, replace(PLAIN, grain=1.0), seed).crops
        assert (crops[0] != crops[1]).any() and (crops[1] != crops[2]).any()
        assert all(0.5 < np.abs(crop - plain).mean() < 10 for crop, plain in zip(crops, clean, strict=True))
    # Neighbours know what a frame has lost: their mean is nearer to the truth than each of them.
    one, mean = (np.abs(c - clean[1]).mean() for c in (crops[1], crops.astype(float).mean(0)))
    assert mean < 0.8 * one


def test_sides_are_mixed_in_less_than_half_of_the_frames():
    raw = raw_window([noisy()] * 3, [spread_joints()] * 3)
    swaps = np.stack([make(raw, replace(PLAIN, swap=1.0), seed).swap for seed in range(200)])
    mixed = swaps.max(2) > 0
    assert (mixed.sum(1) == 1).all()
    assert 70 < mixed[:, 1].sum() < 130  # the key frame
    assert swaps[swaps > 0].min() >= 0.4 and swaps.max() <= 1
    arms, legs = (swaps > 0).any(1).T
    assert 30 < (arms & legs).sum() < 110 and (arms | legs).all()
    assert (make(raw, replace(PLAIN, swap=1.0), 0).crops == make(raw, PLAIN).crops).all()
    assert not make(raw, PLAIN).swap.any()


class TestTaught:
    """A teacher that knows every joint, in heatmaps of 3 picture pixels a cell over the middle of the picture."""

    TO_IMAGE = np.array([[3.0, 0, 91], [0, 3.0, 46]])  # 40 x 50 cells: x 91 to 208, y 46 to 193

    @classmethod
    def raw(cls):
        xy = spread_joints()
        at = torch.from_numpy((xy - cls.TO_IMAGE[:, 2]) / 3)
        maps = gaussian_targets(
            4 * at, torch.ones(17, dtype=torch.float64), heatmap_size=(50, 40), sigma=1.6, alignment="origins"
        )
        maps[0] = torch.nan  # it does not know noses
        taught = Taught(maps.numpy().astype(np.float32), cls.TO_IMAGE)
        return replace(raw_window([dotted(xy)] * 3, [xy] * 3), taught=taught)

    def test_its_peaks_lie_on_the_labels_however_the_crop_is_cut(self):
        seen = 0
        for seed in range(40):
            window = make(self.raw(), replace(GEOMETRY, scale=0.2), seed, taught=True)
            assert window.taught.shape == (17, 32, 24) and np.isnan(window.taught[0]).all()
            for k in range(1, 17):
                if window.present[1, k] and np.nanmax(window.taught[k], initial=0) > 0.6:
                    y, x = np.unravel_index(np.nanargmax(window.taught[k]), (32, 24))
                    expected = crop_to_heatmap(torch.from_numpy(window.xy[1, k])).numpy()
                    assert np.abs(expected - [x, y]).max() <= 0.75
                    seen += 1
        assert seen > 500

    def test_where_it_did_not_look_nothing_is_known(self):
        raw = self.raw()
        part = Taught(raw.taught.heatmaps[:, 6:-6, 9:], self.TO_IMAGE + np.array([[0, 0, 27], [0, 0, 18]]))
        window = make(replace(raw, taught=part), PLAIN, taught=True)
        columns = window.to_image[0, 0] * (4 * np.arange(24) + 1.5) + window.to_image[0, 2]
        rows = window.to_image[1, 1] * (4 * np.arange(32) + 1.5) + window.to_image[1, 2]
        expected = ((rows > 64) & (rows < 175))[:, None] & (columns > 118)
        assert (~np.isnan(window.taught[1]) == expected).all() and expected.any() and not expected.all()

    def test_nothing_is_learnt_from_peaks_of_another_size(self):
        raw = self.raw()
        far = Taught(raw.taught.heatmaps, self.TO_IMAGE * [[0.5, 1, 1], [1, 0.5, 1]])
        assert np.isnan(make(replace(raw, taught=far), PLAIN, taught=True).taught).all()

    def test_nobody_asked(self):
        assert make(self.raw(), PLAIN).taught.shape == (0, 32, 24)
        assert np.isnan(make(dotted_window(), PLAIN, taught=True).taught).all()
