"""How sure a pose is: the calibrated probability that a joint lies near its true place."""

import numpy as np

from jmpose.config import Calibration
from jmpose_cli.values import Float, FramePoses, Times

NEAR = 0.1
"""Within so much of the body size a joint counts as right, as in PCK@0.1."""
_SURE = 0.98  # scores above tell no more, nor do those as near to 0


def certainty_features(poses: FramePoses, *, pixel_width: float = 1.0) -> Times:
    """What the probability of a joint follows from, `[N, K, 2]`: the logit of its score, and log(sigma / body size).

    Args:
        poses: With covariances.
        pixel_width: Width of a pixel in heights of a pixel.
    """
    poses = poses.in_square_pixels(pixel_width)
    if poses.covariances is None:
        raise ValueError("poses without covariances")
    scores = poses.scores.astype(np.float64).clip(1 - _SURE, _SURE)
    xx, xy, yy = np.moveaxis(poses.covariances.astype(np.float64), -1, 0)
    log_sigma = np.log((xx * yy - xy * xy).clip(min=1e-12)) / 4
    return np.stack([np.log(scores / (1 - scores)), log_sigma - np.log(body_sizes(poses))[:, None]], -1)


def body_sizes(poses: FramePoses) -> Times:
    """The roots of the areas of people's boxes `[N]`, pixels; sides below one pixel count as one, as for the crops."""
    boxes = poses.people.boxes_xyxy_px.astype(np.float64)
    return np.asarray(np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(min=1).prod(1)))


def near_probabilities(poses: FramePoses, calibration: Calibration, *, pixel_width: float = 1.0) -> Float:
    """Probability `[N, K]` float32 that each joint lies within 0.1 of the body size; see `Calibration`."""
    features = certainty_features(poses, pixel_width=pixel_width)
    log_odds = (
        calibration.intercept
        + calibration.score_weight * features[..., 0]
        + calibration.sigma_weight * features[..., 1]
    )
    return np.asarray(1 / (1 + np.exp(-log_odds)), np.float32)
