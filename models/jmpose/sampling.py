"""Person crops: from a box to an affine, and from frames to network inputs on the frames' device.

Coordinates are (x, y) with pixel centres at integers, in crops and in images.
"""

from typing import Any

import torch
from torch import Tensor

from jmpose.config import Preprocess
from jmpose.crops import crop_affines
from jmpose.targets import constant, crop_to_heatmap, heatmap_to_crop

# Crop pixels in one pass: on a CPU the buffers of a pass should stay in cache, elsewhere few passes count more.
_PIXELS_AT_ONCE_CPU = 1 << 16
_PIXELS_AT_ONCE = 1 << 22
_INT32_MAX = torch.iinfo(torch.int32).max


def crop_affine(boxes_xyxy_px: Tensor, preprocess: Preprocess, *, pixel_width: float = 1.0) -> Tensor:
    """Place a crop over each box: same centre, the input's aspect ratio, enlarged by `box_padding`.

    Args:
        boxes_xyxy_px: `[N, 4]` floating corners in image pixels; sides below one pixel count as one.
        preprocess: Gives input size and padding.
        pixel_width: Width of an image pixel in heights of one; crops always have square pixels.

    Returns:
        `[N, 2, 3]`: maps (x, y, 1) in crop pixels to image pixels. Scale and shift only.
    """
    affines = crop_affines(boxes_xyxy_px.detach().cpu().numpy(), preprocess, pixel_width=pixel_width)
    return torch.from_numpy(affines).to(boxes_xyxy_px.device)


def sample_crops(frames: Tensor, frame_index: Tensor, crop_to_image: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut crops out of uint8 frames by bilinear interpolation; what lies outside a frame is black.

    Equals `cv2.warpAffine(..., INTER_LINEAR | WARP_INVERSE_MAP, BORDER_CONSTANT)` before its rounding.
    Only the sampled pixels are converted to float. A crop does not depend on the others in the call.

    Args:
        frames: `[F, H, W, 3]` uint8, contiguous, RGB.
        frame_index: `[N]` int64, the frame of each crop, on any device; from a GPU it is waited for.
        crop_to_image: `[N, 2, 3]` float, crop pixels to image pixels, likewise.
        size: (h, w) of the crops.

    Returns:
        `[N, 3, h, w]` float32, 0..255, on the device of `frames`.

    Raises:
        ValueError: frames of another dtype or shape, a frame index out of range, or an affine that is not finite.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [F, H, W, 3]")
    count = len(frame_index)
    if count and not 0 <= int(frame_index.min()) <= int(frame_index.max()) < len(frames):
        raise ValueError(f"frame_index runs to {int(frame_index.max())}, there are {len(frames)} frames")
    if not bool(crop_to_image.isfinite().all()):
        raise ValueError("crop_to_image has values that are not finite")
    index = frame_index.to(frames.device, non_blocking=True)
    affine = crop_to_image.to(frames.device, torch.float32, non_blocking=True)
    crops = torch.empty(count, 3, *size, device=frames.device)
    at_once = _PIXELS_AT_ONCE if frames.is_cuda else _PIXELS_AT_ONCE_CPU
    step = max(1, at_once // (size[0] * size[1]))
    for start in range(0, count, step):
        part = slice(start, start + step)
        crops[part] = _sample(frames, index[part], affine[part], size)
    return crops


def _sample(frames: Tensor, index: Tensor, affine: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample one chunk; gives `[n, 3, h, w]`."""
    _, height, width, _ = frames.shape
    rows = torch.arange(size[0], device=frames.device, dtype=torch.float32)[:, None]
    columns = torch.arange(size[1], device=frames.device, dtype=torch.float32)
    a = affine[:, :, :, None, None]  # [n, 2, 3, 1, 1]
    x = a[:, 0, 0] * columns + (a[:, 0, 1] * rows + a[:, 0, 2])  # [n, h, w]
    y = a[:, 1, 0] * columns + (a[:, 1, 1] * rows + a[:, 1, 2])
    # Half the memory traffic of int64, wherever the bytes can be counted in it.
    integer = torch.int32 if frames.numel() <= _INT32_MAX else torch.int64
    first = (index * (height * width * 3)).to(integer)[:, None, None]
    flat = frames.reshape(-1)
    crops = torch.zeros(len(index), 3, *size, device=frames.device)
    left_and_right = _neighbours(x, width, step=3, integer=integer)
    for row, row_weight in _neighbours(y, height, step=3 * width, integer=integer):
        for column, column_weight in left_and_right:
            byte = (first + row + column).flatten()
            weight = row_weight * column_weight
            for channel in range(3):
                tap = flat.index_select(0, byte + channel).view_as(x)
                crops[:, channel].addcmul_(tap.float(), weight)
    return crops


def _neighbours(position: Tensor, size: int, *, step: int, integer: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Return the two pixels around a position on one axis, as byte offsets inside the frame and weights, 0 outside."""
    low = position.floor()
    part = position - low
    pairs = []
    for pixel, weight in ((low, 1 - part), (low + 1, part)):
        inside = pixel.clamp(0, size - 1)
        pairs.append((inside.to(integer) * step, weight * (inside == pixel)))
    return pairs


def normalise(crops: Tensor, preprocess: Preprocess) -> Tensor:
    """Apply mean and std to crops `[..., 3, h, w]` in 0..255."""
    mean, std = (constant(each, crops.device, crops.dtype) * 255 for each in (preprocess.mean, preprocess.std))
    return (crops - mean[:, None, None]) / std[:, None, None]


def place_between(key: Tensor, other: Tensor, preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    """Say where the heatmap pixels of one crop lie in the heatmap of another crop.

    Args:
        key: `[N, 2, 3]` affines of the crops that are looked from, as `crop_affine` gives them.
        other: `[N, 2, 3]` affines of those that are looked into.
        preprocess: Gives the sizes and how heatmaps lie on crops.

    Returns:
        Scale and shift `[N, 2]`, (x, y): heatmap pixel p of `key` is heatmap pixel scale * p + shift of `other`.
    """
    settings: dict[str, Any] = {
        "heatmap_size": preprocess.heatmap_size,
        "alignment": preprocess.heatmap_alignment,
    }
    ends = torch.stack([key.new_zeros(2), key.new_ones(2)])  # two points say all of it
    image = heatmap_to_crop(ends, **settings) * _scales(key)[:, None] + key[:, None, :, 2]
    first, second = crop_to_heatmap((image - other[:, None, :, 2]) / _scales(other)[:, None], **settings).unbind(1)
    return second - first, first


def _scales(affine: Tensor) -> Tensor:
    """Image pixels a crop pixel `[N, 2]`, (x, y)."""
    return affine.diagonal(dim1=1, dim2=2)


def interpolations(
    scale: Tensor, shift: Tensor, size: tuple[int, int], *, repeat_border: bool
) -> tuple[Tensor, Tensor]:
    """Return matrices that interpolate the rows and the columns of maps linearly, for `lay_maps`.

    Args:
        scale: `[..., 2]`, (x, y), from `place_between`.
        shift: `[..., 2]` likewise.
        size: (h, w) of the maps.
        repeat_border: What lies outside repeats the nearest pixel; False makes it 0.

    Returns:
        `[..., h, h]` and `[..., w, w]`.
    """
    matrices = []
    for axis, side in ((1, size[0]), (0, size[1])):
        pixel = torch.arange(side, device=scale.device, dtype=scale.dtype)
        wanted = scale[..., axis, None] * pixel + shift[..., axis, None]
        if repeat_border:
            wanted = wanted.clamp(0, side - 1)
        matrices.append((1 - (wanted[..., None] - pixel).abs()).clamp(min=0))
    return matrices[0], matrices[1]


def lay_maps(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Lay maps of some crops onto other crops of the same pictures, by bilinear interpolation.

    One axis after the other, as products with matrices: for small maps that is faster than gathering pixels.

    Args:
        maps: `[N, C, h, w]`.
        rows: `[N, h, h]` of `interpolations`.
        columns: `[N, w, w]` likewise.

    Returns:
        `[N, C, h, w]`.
    """
    n, c, h, w = maps.shape
    moved = (maps.reshape(n, c * h, w) @ columns.to(maps.dtype).transpose(-2, -1)).view(n, c, h, w)
    return rows.to(maps.dtype)[:, None] @ moved
