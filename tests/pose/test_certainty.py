from dataclasses import replace

import numpy as np
import pytest

from jmpose.config import Calibration
from jmpose_cli.pose.certainty import certainty_features, near_probabilities
from jmpose_cli.values import FramePoses, TrackedFrame

CALIBRATION = Calibration(covariance_scale=1.0, intercept=-1.0, score_weight=0.8, sigma_weight=-1.2, people=1)


def poses(*, size: tuple[float, float] = (40.0, 90.0), sigma: float = 6.0, score: float = 0.7) -> FramePoses:
    """One person with three joints, at scores 0, `score` and 1."""
    box = np.array([[10, 20, 10 + size[0], 20 + size[1]]], np.float32)
    people = TrackedFrame(0, 0.0, box, np.ones(1), np.ones(1, np.int64), np.ones(1, bool))
    covariances = np.broadcast_to(np.array([sigma**2 / 2, 0, 2 * sigma**2], np.float32), (1, 3, 3))
    scores = np.array([[0, score, 1]], np.float32)
    return FramePoses(people, np.ones((1, 3, 2)), scores, np.ones(1), covariances=covariances)


def test_probability_follows_from_score_and_sigma_over_body_size():
    found = near_probabilities(poses(), CALIBRATION)
    log_odds = -1 + 0.8 * np.log(0.7 / 0.3) - 1.2 * np.log(6 / 60)
    assert found.dtype == np.float32 and found[0, 1] == pytest.approx(1 / (1 + np.exp(-log_odds)))
    assert 0 < found[0, 0] < found[0, 1] < found[0, 2] < 1
    assert near_probabilities(poses(sigma=12), CALIBRATION)[0, 1] < found[0, 1]
    assert near_probabilities(poses(sigma=12, size=(80, 180)), CALIBRATION) == pytest.approx(found)


def test_pixels_that_are_not_square_change_nothing():
    square, wide = poses(), poses(size=(20, 90))
    narrow = replace(wide, covariances=wide.covariances * np.array([0.25, 0.5, 1], np.float32))
    assert certainty_features(narrow, pixel_width=2.0) == pytest.approx(certainty_features(square))


def test_a_box_without_area_has_a_probability():
    assert np.isfinite(near_probabilities(poses(size=(0, 0)), CALIBRATION)).all()


def test_without_covariances_there_is_none():
    with pytest.raises(ValueError, match="without covariances"):
        certainty_features(replace(poses(), covariances=None))
