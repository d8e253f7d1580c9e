"""Person crops without torch: from a box to an affine, and from frames to crops, in NumPy.

Coordinates are (x, y) with pixel centres at integers, in crops and in images.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmpose.config import Preprocess

Float = NDArray[np.float32]


def crop_affines(
    boxes_xyxy_px: NDArray[np.floating[Any]], preprocess: Preprocess, *, pixel_width: float = 1.0
) -> NDArray[Any]:
    """Place a crop over each box: same centre, the input's aspect ratio, enlarged by `box_padding`.

    Args:
        boxes_xyxy_px: `[N, 4]` floating corners in image pixels; sides below one pixel count as one.
        preprocess: Gives input size and padding.
        pixel_width: Width of an image pixel in heights of one; crops always have square pixels.

    Returns:
        `[N, 2, 3]` of the boxes' dtype: maps (x, y, 1) in crop pixels to image pixels. Scale and shift only.
    """
    height, width = preprocess.input_height, preprocess.input_width
    kind = boxes_xyxy_px.dtype
    square = np.array([pixel_width, 1.0], kind)
    low, high = boxes_xyxy_px[:, :2] * square, boxes_xyxy_px[:, 2:] * square
    side = (high - low).clip(min=1.0) * kind.type(preprocess.box_padding)
    # Image pixels for a crop pixel, such that the whole enlarged box fits.
    scale = np.maximum(side[:, 0] / kind.type(width), side[:, 1] / kind.type(height))
    crop_centre = np.array([(width - 1) / 2, (height - 1) / 2], kind)
    affine = np.zeros((len(boxes_xyxy_px), 2, 3), kind)
    affine[:, 0, 0] = scale
    affine[:, 1, 1] = scale
    affine[:, :, 2] = (low + high) / kind.type(2) - scale[:, None] * crop_centre
    affine[:, 0] /= kind.type(pixel_width)
    return affine


def cut_crops(
    frames: Sequence[NDArray[np.uint8]], rows: Sequence[int], crop_to_image: Float, size: tuple[int, int]
) -> Float:
    """Cut crops out of frames as `sample_crops` does, by bilinear interpolation; what lies outside a frame is black.

    Args:
        frames: Each `[H, W, 3]` uint8 RGB.
        rows: The frame of each crop.
        crop_to_image: `[N, 2, 3]` of `crop_affines`, scale and shift only.
        size: (h, w) of the crops.

    Returns:
        `[N, 3, h, w]` float32, 0..255.

    Raises:
        ValueError: An affine that is not finite, or turns or shears.
    """
    if not np.isfinite(crop_to_image).all() or crop_to_image[:, [0, 1], [1, 0]].any():
        raise ValueError("crop_to_image must be finite, scale and shift only")
    crops = np.zeros((len(rows), 3, *size), np.float32)
    for crop, row, affine in zip(crops, rows, crop_to_image.astype(np.float32), strict=True):
        frame = frames[row]
        top, bottom = _taps(affine[1, 1], affine[1, 2], size[0], frame.shape[0])
        left, right = _taps(affine[0, 0], affine[0, 2], size[1], frame.shape[1])
        first = min(left[0].min(), right[0].min())
        last = max(left[0].max(), right[0].max())
        # Colours side by side: NumPy is slow where its innermost axis is short.
        strip = frame.reshape(len(frame), -1)[:, 3 * first : 3 * (last + 1)]
        lines = strip[top[0]] * top[1][:, None] + strip[bottom[0]] * bottom[1][:, None]  # [h, 3 * columns]
        picture = sum(
            lines.take((3 * (at - first)[:, None] + np.arange(3)).ravel(), 1) * weight.repeat(3)
            for at, weight in (left, right)
        )
        crop[:] = picture.reshape(*size, 3).transpose(2, 0, 1)
    return crops


def _taps(scale: np.float32, shift: np.float32, count: int, side: int) -> list[tuple[NDArray[np.int64], Float]]:
    """The two pixels around each position on one axis, and their weights, 0 outside."""
    position = scale * np.arange(count, dtype=np.float32) + shift
    low = np.floor(position)
    part = position - low
    pairs = []
    for pixel, weight in ((low, 1 - part), (low + 1, part)):
        inside = pixel.clip(0, side - 1)
        pairs.append((inside.astype(np.int64), weight * (inside == pixel)))
    return pairs
