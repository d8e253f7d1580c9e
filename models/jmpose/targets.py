"""Where a heatmap pixel lies in the crop, and the target Gaussians: shared by training and decoding.

Coordinates are (x, y) with pixel centres at integers. Crop and heatmap cover the same area, so the outer
edges meet (crop -0.5 is heatmap -0.5): x_heatmap = (x_crop + 0.5) / 4 - 0.5.
"""

import torch
from torch import Tensor

from jmpose.config import STRIDE


def crop_to_heatmap(xy_crop: Tensor) -> Tensor:
    """Convert crop pixels `[..., 2]` to heatmap pixels `[..., 2]`."""
    return (xy_crop + 0.5) / STRIDE - 0.5


def heatmap_to_crop(xy_heatmap: Tensor) -> Tensor:
    """Convert heatmap pixels `[..., 2]` to crop pixels `[..., 2]`."""
    return (xy_heatmap + 0.5) * STRIDE - 0.5


def crop_to_image(xy_crop: Tensor, affine: Tensor) -> Tensor:
    """Apply `affine` `[N, 2, 3]` of `crop_affine` to crop pixels `[N, K, 2]`; gives image pixels `[N, K, 2]`."""
    return xy_crop @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]


def gaussian_targets(xy_crop: Tensor, present: Tensor, *, heatmap_size: tuple[int, int], sigma: float) -> Tensor:
    """Draw one Gaussian of peak 1 for each joint, centred at its sub-pixel position.

    Args:
        xy_crop: `[..., K, 2]` joints in crop pixels.
        present: `[..., K]`, nonzero where the joint exists; elsewhere the map is 0.
        heatmap_size: (h, w).
        sigma: Standard deviation in heatmap pixels.

    Returns:
        `[..., K, h, w]`, the dtype of `xy_crop`.
    """
    height, width = heatmap_size
    centre = crop_to_heatmap(xy_crop)
    columns = torch.arange(width, dtype=xy_crop.dtype, device=xy_crop.device)
    rows = torch.arange(height, dtype=xy_crop.dtype, device=xy_crop.device)
    x = torch.exp(-((columns - centre[..., :1]) ** 2) / (2 * sigma**2))
    y = torch.exp(-((rows - centre[..., 1:]) ** 2) / (2 * sigma**2)) * (present != 0)[..., None]
    return y[..., :, None] * x[..., None, :]
