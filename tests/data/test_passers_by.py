"""Somebody from another picture in a window: cut out along the joints, in front or behind, and nothing else changes."""

import numpy as np
import pytest

from jmpose.keypoints import COCO17
from jmpose_cli.data.passers_by import MIN_JOINTS, add_passer_by, silhouette
from jmpose_cli.data.samples import Labels, RawWindow

SIZE = (120, 160)
STANDING = {
    "nose": (60, 20),
    "left_eye": (63, 17),
    "right_eye": (57, 17),
    "left_ear": (66, 19),
    "right_ear": (54, 19),
    "left_shoulder": (74, 40),
    "right_shoulder": (46, 40),
    "left_elbow": (82, 62),
    "right_elbow": (38, 62),
    "left_wrist": (84, 84),
    "right_wrist": (36, 84),
    "left_hip": (68, 84),
    "right_hip": (52, 84),
    "left_knee": (69, 115),
    "right_knee": (51, 115),
    "left_ankle": (70, 146),
    "right_ankle": (50, 146),
}
XY = np.array([STANDING[name] for name in COCO17.joints], float)
ALL = np.ones(17, bool)
GREY, PURPLE = np.full((160, 120, 3), 60, np.uint8), np.full((160, 120, 3), (200, 0, 190), np.uint8)


def labels(frames=3, known=ALL):
    count = np.tile(known.astype(float), (frames, 1))
    return Labels(np.tile(XY, (frames, 1, 1)), count, np.ones_like(count))


def window(picture, known=ALL):
    box = np.array([30, 10, 90, 150], np.float32)
    return RawWindow([picture], np.ones(1, bool), box, labels(1, known), is_still=True, name="somebody")


def passed(seed, *, person=None, other=None, frames=3):
    times = [float(t - frames // 2) for t in range(frames)]
    return add_passer_by(
        np.random.default_rng(seed),
        [GREY] * frames,
        person or labels(frames),
        COCO17,
        times=times,
        key=frames // 2,
        other=other or (lambda: window(PURPLE)),
    )


def purple(crop):
    return (crop == (200, 0, 190)).all(2)


def test_a_silhouette_covers_the_person_and_little_else():
    mask = silhouette(XY, ALL, COCO17, SIZE)
    assert mask.shape == (160, 120) and set(np.unique(mask)) == {0, 1}
    x, y = XY.astype(int).T
    assert mask[y, x].all() and mask[62, 60]  # every joint, and the middle of the trunk
    assert not mask[20, 35] and not mask[112:, 60].any()  # beside the head, and between the legs
    assert 0.15 < mask.mean() < 0.35
    assert silhouette(2 * XY, ALL, COCO17, (240, 320)).mean() == pytest.approx(mask.mean(), rel=0.1)


def test_a_silhouette_of_half_a_person_and_of_nobody():
    upper = np.array([not name.endswith(("hip", "knee", "ankle")) for name in COCO17.joints])
    mask = silhouette(XY, upper, COCO17, SIZE)
    assert mask[40, 60] and not mask[100:].any()
    assert not silhouette(XY, ~ALL, COCO17, SIZE).any()
    far = silhouette(XY + 1e5, ALL, COCO17, SIZE)
    assert not far.any()


def test_somebody_stands_in_front_of_half_of_them_and_behind_the_others():
    covered = silhouette(XY, ALL, COCO17, SIZE) > 0
    hidden = [purple(crops[1])[covered].any() for crops in map(passed, range(60)) if purple(crops[1]).any()]
    assert len(hidden) > 50
    assert 0.25 < np.mean(hidden) < 0.7


def test_nobody_is_behind_somebody_of_whom_frames_say_nothing():
    known = labels()
    known.weight[0] = 0
    covered = silhouette(XY, ALL, COCO17, SIZE) > 0
    over = [purple(passed(seed, person=known)[1])[covered].any() for seed in range(40)]
    assert np.mean(over) > 0.7


def test_who_passes_moves_steadily_and_is_about_as_large():
    steps = []
    for seed in range(40):
        known = labels()
        known.weight[0] = 0  # in front, so that all of the cut-out is seen
        masks = [purple(crop) for crop in passed(seed, person=known)]
        rows, _ = np.nonzero(masks[1])
        if len({int(mask.sum()) for mask in masks}) == 1 and len(rows):  # whole in every frame
            centres = [np.array(np.nonzero(mask)).mean(1) for mask in masks]
            assert np.allclose(centres[0] + centres[2], 2 * centres[1], atol=2)
            assert 0.6 * 126 < np.ptp(rows) < 1.6 * 126
            steps.append(float(np.linalg.norm(centres[1] - centres[0])))
    assert len(steps) > 3 and max(steps) > 5


def test_the_same_seed_gives_the_same_window():
    assert all((a == b).all() for a, b in zip(passed(5), passed(5), strict=True))
    assert (GREY == 60).all()


def test_too_little_known_leaves_windows_as_they_are():
    few = np.arange(17) < MIN_JOINTS - 1
    asked = []

    def nobody():
        asked.append(1)
        return window(PURPLE, few)

    assert all((crop == GREY).all() for crop in passed(0, other=nobody))
    assert len(asked) == 3
    assert all((crop == GREY).all() for crop in passed(0, person=labels(known=few)))
