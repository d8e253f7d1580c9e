"""Heatmaps to joints: DARK decoding, scores and the flip test.

Letters: B windows, T frames, K joints, (h, w) heatmap. Coordinates are (x, y) with heatmap pixel centres at
integers; `jmpose.targets` has the way from there to the crop and the image.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from jmpose.config import STRIDE, HeatmapAlignment
from jmpose.network import JMPose
from jmpose.targets import constant

# Below this a blurred value counts as nothing: keeps the logarithm finite on empty and negative maps.
_FLOOR = 1e-10
_REACH = 10  # sigma from the joint to where its heatmap still counts for its covariance
_LEAST = 0.5  # sigma: the least standard deviation that a heatmap can tell


@lru_cache(maxsize=32)
def _blur_matrix(size: int, sigma: float, device: torch.device) -> Tensor:
    """Gaussian blur along one axis as a matrix `[size, size]`, zero outside."""
    position = torch.arange(size, dtype=torch.float64)
    matrix = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    matrix[matrix < _FLOOR] = 0  # subnormal numbers are multiplied a hundred times more slowly
    return (matrix / (sigma * math.sqrt(2 * math.pi))).to(device, torch.float32)


def _highest_pixel(maps: Tensor) -> Tensor:
    """(x, y) `[..., 2]` of the highest pixel of maps `[..., h, w]`; ties go to the first in reading order."""
    index = maps.flatten(-2).argmax(-1)
    width = maps.shape[-1]
    return torch.stack([index % width, index // width], -1)


def _neighbourhood(maps: Tensor, centre: Tensor) -> Tensor:
    """The 3x3 values around (x, y) `[..., 2]`: `[..., h, w]` to `[..., 3, 3]`."""
    width = maps.shape[-1]
    step = torch.arange(-1, 2, device=maps.device)
    around = (step[:, None] * width + step).flatten()  # [9]
    index = (centre[..., 1] * width + centre[..., 0])[..., None] + around
    return maps.flatten(-2).gather(-1, index).view(*index.shape[:-1], 3, 3)


def _parabola_peak(patch: Tensor) -> tuple[Tensor, Tensor]:
    """Second-order Taylor expansion in the middle of `[..., 3, 3]`: peak (x, y) `[..., 2]`, and `[...]` if any."""
    dx = (patch[..., 1, 2] - patch[..., 1, 0]) / 2
    dy = (patch[..., 2, 1] - patch[..., 0, 1]) / 2
    dxx = patch[..., 1, 2] - 2 * patch[..., 1, 1] + patch[..., 1, 0]
    dyy = patch[..., 2, 1] - 2 * patch[..., 1, 1] + patch[..., 0, 1]
    dxy = (patch[..., 2, 2] - patch[..., 2, 0] - patch[..., 0, 2] + patch[..., 0, 0]) / 4
    determinant = dxx * dyy - dxy * dxy
    peaked = (dxx < 0) & (determinant > 1e-9)
    safe = torch.where(peaked, determinant, 1.0)
    return torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1) / safe[..., None], peaked


def decode_dark(heatmaps: Tensor, *, sigma: float) -> tuple[Tensor, Tensor]:
    """Locate joints between pixels by DARK (Zhang et al., CVPR 2020).

    The map is smoothed with the Gaussian of its targets; the joint is where the second-order Taylor expansion of
    the map's logarithm around its highest pixel peaks, which is exact for a Gaussian. Within two sigma of a border,
    where smoothing would push the peak inwards, the map is taken as it is. No joint is moved by more than a pixel.

    Args:
        heatmaps: `[..., K, h, w]`, both sides 3 pixels or more.
        sigma: Standard deviation of the training targets, heatmap pixels.

    Returns:
        (x, y) `[..., K, 2]` float32 in heatmap pixels, and scores `[..., K]` float32: the map's highest value
        clipped to 0..1. A map without positive values gives its first pixel and score 0.
    """
    maps = heatmaps.detach().float().clamp(min=0)  # below 0 there is nothing to tell places apart
    h, w = maps.shape[-2:]
    smooth = _blur_matrix(h, sigma, maps.device) @ maps @ _blur_matrix(w, sigma, maps.device)
    last = constant([w - 1, h - 1], maps.device, torch.int64)
    raw_pixel, smooth_pixel = _highest_pixel(maps), _highest_pixel(smooth)
    near_border = (torch.minimum(raw_pixel, last - raw_pixel) < 2 * sigma).any(-1)  # [..., K]
    pixel = torch.where(near_border[..., None], raw_pixel, smooth_pixel)
    # Differences need both neighbours; one pixel further in, the parabola is still the same.
    centre = torch.minimum(pixel.clamp(min=1), last - 1)
    patch = torch.where(near_border[..., None, None], _neighbourhood(maps, centre), _neighbourhood(smooth, centre))
    peak, peaked = _parabola_peak(patch.clamp(min=_FLOOR).log())
    offset = torch.where(peaked[..., None], centre - pixel + peak, 0.0).clamp(-1, 1)
    return pixel + offset, maps.flatten(-2).amax(-1).clamp(max=1)


def heatmap_covariances(heatmaps: Tensor, xy: Tensor, *, sigma: float) -> Tensor:
    """Covariance of where a joint may be around the place found: the heatmap's second moment less its target's.

    The heatmap counts as a density, within 10 sigma of the joint along each axis. A perfect one is the training target,
    so sigma squared is taken off, as far as every direction keeps a standard deviation of half a sigma.

    Args:
        heatmaps: `[..., K, h, w]`.
        xy: (x, y) `[..., K, 2]` of `decode_dark`, heatmap pixels.
        sigma: Standard deviation of the training targets, heatmap pixels.

    Returns:
        `[..., K, 3]` float32: xx, xy, yy in square heatmap pixels, positive definite. A map without positive values
        counts as the same everywhere.
    """
    maps = heatmaps.detach().float().clamp(min=_FLOOR)
    h, w = maps.shape[-2:]
    rows, columns = _powers(h, xy[..., 1], sigma), _powers(w, xy[..., 0], sigma)
    moments = rows @ maps @ columns.transpose(-2, -1)  # [..., K, 3, 3]: y^j x^i
    xx, xy_, yy = (moments[..., j, i] / moments[..., 0, 0] for j, i in ((0, 2), (1, 1), (2, 0)))
    least = (xx + yy) / 2 - (((xx - yy) / 2) ** 2 + xy_**2).sqrt()  # the smaller eigenvalue
    off = (least - (_LEAST * sigma) ** 2).clamp(max=sigma**2)
    return torch.stack([xx - off, xy_, yy - off], -1)


def _powers(size: int, at: Tensor, sigma: float) -> Tensor:
    """1, d and d squared `[..., 3, size]` of the distances d of pixels from `at` `[...]`; 0 beyond the reach."""
    distance = torch.arange(size, device=at.device) - at.float()[..., None]
    near = (distance.abs() <= _REACH * sigma).float()
    return torch.stack([near, near * distance, near * distance**2], -2)


def flip_average(
    heatmaps: Tensor, mirrored: Tensor, flip_index: Sequence[int], *, alignment: HeatmapAlignment = "edges"
) -> Tensor:
    """Average heatmaps with those of the mirrored picture.

    Mirroring a crop mirrors its heatmap exactly where their edges or corners meet. Where only their origins meet, crop
    pixel x becomes W-1-x and not W-x, and the mirrored map is brought back by 3/4 pixel, linearly.

    Args:
        heatmaps: `[..., K, h, w]`.
        mirrored: `[..., K, h, w]` of the picture mirrored left to right.
        flip_index: For each joint, the joint that it is in the mirror (`KeypointSet.flip_index`).
        alignment: `Preprocess.heatmap_alignment` of the model.
    """
    back = mirrored.flip(-1).index_select(-3, constant(flip_index, mirrored.device, torch.int64))
    if alignment == "origins":
        left = torch.cat([back[..., :1], back[..., :-1]], -1)
        back = torch.lerp(back, left, (STRIDE - 1) / STRIDE)
    return (heatmaps + back) / 2


def predict_with_initial(
    model: JMPose, windows: Tensor, exists: Tensor | None = None, *, flip_test: bool = False
) -> tuple[Tensor, Tensor]:
    """Run a model on windows, with `flip_test` also on their mirror images.

    Args:
        model: In eval mode.
        windows: `[B, T, 3, H, W]` normalised crops.
        exists: `[B, T]` bool or None, see `JMPose.forward`.
        flip_test: Average both; twice the work.

    Returns:
        Of the key frames `[B, K, h, w]` each: the final heatmaps, and the initial ones, what the backbone alone saw:
        the single-frame baseline.
    """
    with torch.inference_mode():
        straight = model(windows, exists)
        maps: tuple[Tensor, Tensor] = (straight.heatmaps, straight.initial_key)
        if not flip_test:
            return maps
        mirrored = model(windows.flip(-1), exists)
        preprocess = model.config.preprocess
        flip_index, alignment = preprocess.keypoints.flip_index, preprocess.heatmap_alignment
        final = flip_average(maps[0], mirrored.heatmaps, flip_index, alignment=alignment)
        return final, flip_average(maps[1], mirrored.initial_key, flip_index, alignment=alignment)
