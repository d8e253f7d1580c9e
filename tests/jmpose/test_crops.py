"""Crops in NumPy are those of torch."""

import numpy as np
import pytest
import torch

from jmpose.crops import crop_affines, cut_crops
from jmpose.presets import CONFIGS
from jmpose.sampling import sample_crops

NANO = CONFIGS["nano"].preprocess
SIZE = (NANO.input_height, NANO.input_width)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("pixel_width", [1.0, 1.6])
def test_crops_are_those_of_torch_also_beyond_the_frame(mirrored: bool, pixel_width: float) -> None:
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (3, 90, 160, 3), dtype=np.uint8)
    corners = random.uniform(-60, 150, (12, 2))
    sides = random.uniform(0.5, 200, (12, 2))
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
    boxes[-1] = [400, 300, 420, 340]  # nothing of it is in the frame
    affines = crop_affines(boxes, NANO, pixel_width=pixel_width)
    if mirrored:
        affines[:, 0, 2] += affines[:, 0, 0] * (SIZE[1] - 1)
        affines[:, 0, 0] *= -1
    rows = random.integers(0, 3, len(boxes)).tolist()
    found = cut_crops(list(frames), rows, affines, SIZE)
    wanted = sample_crops(torch.from_numpy(frames), torch.tensor(rows), torch.from_numpy(affines), SIZE)
    assert found.shape == (12, 3, *SIZE) and found.max() > 100 and not found[-1].any()
    assert np.abs(found - wanted.numpy()).max() < 1e-3


def test_affines_that_turn_or_are_not_finite_are_refused() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    for wrong in ([[1, 0.1, 0], [0, 1, 0]], [[1, 0, np.nan], [0, 1, 0]]):
        with pytest.raises(ValueError, match="finite, scale and shift only"):
            cut_crops([frame], [0], np.float32([wrong]), SIZE)
