"""What the people of a frame look like, as far as their boxes tell it."""

import numpy as np

from jmpose_cli.people.appearance import Embedder
from jmpose_cli.people.association import FIRST_ROUND_SCORE
from jmpose_cli.people.crops import person_crops
from jmpose_cli.values import Bytes, Detections, Halves

LEAST_HEIGHT_PX = 80
"""Of a box: in fewer pixels, networks that were made for crops of 128 and 256 take one person for another."""


def looks_of(frame_rgb: Bytes, found: Detections, embedder: Embedder) -> Halves:
    """Return `[N, D]` unit vectors of the people of a frame; zeros where the box is too weak or too low to say."""
    height_px = found.boxes_xyxy_px[:, 3] - found.boxes_xyxy_px[:, 1]
    rows = np.flatnonzero((found.scores >= FIRST_ROUND_SCORE) & (height_px >= LEAST_HEIGHT_PX))
    height, width = embedder.crop_size
    some = embedder.embed(person_crops(frame_rgb, found.boxes_xyxy_px[rows], height=height, width=width))
    looks = np.zeros((len(found), some.shape[1]), np.float16)
    looks[rows] = some
    return looks
