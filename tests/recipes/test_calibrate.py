import json
from pathlib import Path

import numpy as np
import pytest

from calibrate import (
    Joints,
    annotated_pictures,
    calibration_error,
    cross_fitted,
    fit,
    probabilities,
    reliability_diagram,
)
from jmpose.config import Calibration


def made_up(count: int = 40_000, *, pictures: int = 100, seed: int = 0) -> tuple[Joints, Calibration]:
    """Joints whose errors are Gaussians four times as wide as said, and right or not as a calibration says."""
    rng = np.random.default_rng(seed)
    truth = Calibration(4.0, -1.0, 0.9, -1.3, people=1)
    spread = rng.normal(size=(count, 2, 2))
    covariance = spread @ spread.transpose(0, 2, 1) + 0.2 * np.eye(2)
    error = np.einsum("nij,nj->ni", np.linalg.cholesky(4 * covariance), rng.normal(size=(count, 2)))
    joints = Joints(
        picture=rng.integers(0, pictures, count),
        joint=rng.integers(0, 17, count),
        hidden=np.zeros(count, bool),
        error=error,
        covariance=covariance[:, [0, 0, 1], [0, 1, 1]],
        features=np.stack([rng.normal(0, 2, count), rng.normal(-2, 0.5, count)], 1),
        people=7,
    )
    return joints, truth


class Known(Joints):
    """Joints of which it is known which are right."""

    @property
    def near(self) -> np.ndarray:
        return np.random.default_rng(1).random(len(self.error)) < probabilities(self, made_up(1)[1])


def test_the_fit_finds_scale_and_weights_again():
    joints, truth = made_up()
    found = fit(Known(**joints.__dict__))
    assert found.covariance_scale == pytest.approx(4, rel=0.03) and found.people == 7
    for name in ("intercept", "score_weight", "sigma_weight"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), abs=0.1)


def test_people_are_judged_by_fits_that_have_not_seen_them():
    joints, _ = made_up(2000)
    (logit, log_sigma), odd = joints.features.T, joints.picture % 2 == 1
    log_odds = logit - log_sigma + np.where(odd, 2, -6)  # what one half learns is wrong of the other
    joints.error[:] = (np.random.default_rng(1).random(2000) > 1 / (1 + np.exp(-log_odds)))[:, None]
    found, _ = cross_fitted(joints, 2)
    assert calibration_error(found, joints.near) > 0.5
    assert calibration_error(probabilities(joints, fit(joints)), joints.near) < 0.1


def test_calibration_error_weighs_the_gaps_of_bins():
    found, near = np.array([0.15, 0.15, 0.15, 0.95]), np.array([True, False, False, True])
    assert calibration_error(found, near) == pytest.approx((abs(0.45 - 1) + 0.05) / 4)


def test_people_with_few_joints_do_not_count(tmp_path: Path):
    few, enough = [[1, 1, 2] * n + [0, 0, 0] * (17 - n) for n in (4, 5)]
    people = [{"image_id": 3, "keypoints": few}, {"image_id": 4, "keypoints": enough}]
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in (3, 4, 5)]
    (tmp_path / "val.json").write_text(json.dumps({"images": images, "annotations": people}))
    assert annotated_pictures(tmp_path / "val.json") == [(tmp_path / "4.jpg", [people[1]])]


def test_the_diagram_is_drawn_also_where_bins_are_empty():
    joints, _ = made_up(60)
    assert min(reliability_diagram("tiny", joints, 2).size) > 600
