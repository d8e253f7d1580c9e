"""Where a heatmap pixel lies in the crop, and the target Gaussians: shared by training and decoding.

Coordinates are (x, y) with pixel centres at integers. What lies on each other is part of a model's preprocessing:

- `edges`: crop and heatmap cover the same area (crop -0.5 is heatmap -0.5), x_heatmap = (x_crop + 0.5) / 4 - 0.5.
- `corners`: the centres of the first and of the last pixels meet (crop 0 is heatmap 0, crop W-1 is heatmap w-1),
  x_heatmap = x_crop * (w - 1) / (W - 1), as UDP trains. At the rim the two differ by 1.5 crop pixels.
- `origins`: the centres of the first pixels meet, x_heatmap = x_crop / 4, as HRNet-pose trains. It differs from
  `edges` by 1.5 crop pixels everywhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from jmpose.config import STRIDE, HeatmapAlignment


def crop_to_heatmap(
    xy_crop: Tensor, *, heatmap_size: tuple[int, int] | None = None, alignment: HeatmapAlignment = "edges"
) -> Tensor:
    """Convert crop pixels `[..., 2]` to heatmap pixels `[..., 2]`; arguments as in `heatmap_to_crop`."""
    if alignment == "corners":
        return xy_crop / _corner_step(heatmap_size, like=xy_crop)
    if alignment == "origins":
        return xy_crop / STRIDE
    return (xy_crop + 0.5) / STRIDE - 0.5


def heatmap_to_crop(
    xy_heatmap: Tensor, *, heatmap_size: tuple[int, int] | None = None, alignment: HeatmapAlignment = "edges"
) -> Tensor:
    """Convert heatmap pixels `[..., 2]` to crop pixels `[..., 2]`.

    Args:
        xy_heatmap: Positions.
        heatmap_size: (h, w), each 2 or more; `corners` needs it.
        alignment: `Preprocess.heatmap_alignment` of the model.
    """
    if alignment == "corners":
        return xy_heatmap * _corner_step(heatmap_size, like=xy_heatmap)
    if alignment == "origins":
        return xy_heatmap * STRIDE
    return (xy_heatmap + 0.5) * STRIDE - 0.5


def constant(values: Sequence[float], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make a tensor `[N]` on a device without waiting for what the device has to do before."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def _corner_step(heatmap_size: tuple[int, int] | None, *, like: Tensor) -> Tensor:
    """Crop pixels a heatmap pixel, (x, y) `[2]`, where the centres of the corner pixels meet."""
    if heatmap_size is None:
        raise ValueError("alignment 'corners' needs heatmap_size")
    return constant([(STRIDE * side - 1) / (side - 1) for side in heatmap_size[::-1]], like.device, like.dtype)


def crop_to_image(xy_crop: Tensor, affine: Tensor) -> Tensor:
    """Apply `affine` `[N, 2, 3]` of `crop_affine` to crop pixels `[N, K, 2]`; gives image pixels `[N, K, 2]`."""
    return xy_crop @ affine[:, :, :2].transpose(1, 2) + affine[:, None, :, 2]


def covariances_to_image(
    covariances: Tensor,
    affine: Tensor,
    *,
    heatmap_size: tuple[int, int] | None = None,
    alignment: HeatmapAlignment = "edges",
) -> Tensor:
    """Convert covariances `[N, K, 3]` (xx, xy, yy) from square heatmap pixels to square image pixels.

    Args:
        covariances: In heatmap pixels.
        affine: `[N, 2, 3]` of `crop_affine`.
        heatmap_size: (h, w); `corners` needs it.
        alignment: `Preprocess.heatmap_alignment` of the model.
    """
    step = _corner_step(heatmap_size, like=affine) if alignment == "corners" else STRIDE
    (a, b), (c, d) = ((affine[:, None, row, :2] * step).unbind(-1) for row in (0, 1))
    xx, xy, yy = covariances.unbind(-1)
    return torch.stack(
        [
            a * a * xx + 2 * a * b * xy + b * b * yy,
            a * c * xx + (a * d + b * c) * xy + b * d * yy,
            c * c * xx + 2 * c * d * xy + d * d * yy,
        ],
        -1,
    )


def gaussian_targets(
    xy_crop: Tensor,
    present: Tensor,
    *,
    heatmap_size: tuple[int, int],
    sigma: float,
    alignment: HeatmapAlignment = "edges",
) -> Tensor:
    """Draw one Gaussian of peak 1 for each joint, centred at its sub-pixel position.

    Args:
        xy_crop: `[..., K, 2]` joints in crop pixels.
        present: `[..., K]`, nonzero where the joint exists; elsewhere the map is 0.
        heatmap_size: (h, w).
        sigma: Standard deviation in heatmap pixels.
        alignment: `Preprocess.heatmap_alignment` of the model.

    Returns:
        `[..., K, h, w]`, the dtype of `xy_crop`.
    """
    height, width = heatmap_size
    centre = crop_to_heatmap(xy_crop, heatmap_size=heatmap_size, alignment=alignment)
    columns = torch.arange(width, dtype=xy_crop.dtype, device=xy_crop.device)
    rows = torch.arange(height, dtype=xy_crop.dtype, device=xy_crop.device)
    x = torch.exp(-((columns - centre[..., :1]) ** 2) / (2 * sigma**2))
    y = torch.exp(-((rows - centre[..., 1:]) ** 2) / (2 * sigma**2)) * (present != 0)[..., None]
    return y[..., :, None] * x[..., None, :]
