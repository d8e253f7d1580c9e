"""Pictures as detectors take them, and boxes back in the frame."""

from collections.abc import Callable, Iterable
from typing import Literal

import cv2
import numpy as np

from jmpose_cli.values import Bytes, Detections, Float

NMS_IOU = 0.5  # two boxes that overlap more are one person; higher keeps more people who hug, and more doubles
MAX_BOXES = 300
"""Of a frame."""
_GREY = 114  # what YOLO networks and our NanoDet are trained to see around a letterboxed picture
_GRID = 32  # coarsest stride of the networks
Fit = Literal["centre", "corner", "stretch"]
"""Where a scaled frame lies in an input of one size: in its middle, at its first pixel, or all over it."""


def letterbox(
    frames_rgb: Bytes, size: int, *, pixel_width: float = 1.0
) -> tuple[Bytes, tuple[float, float], tuple[int, int]]:
    """Scale frames so that their pixels are square and their longer side is `size`; pad with grey to whole cells of 32.

    Returns:
        `[N, h, w, 3]` uint8, the scales (x, y), and the (left, top) padding in pixels.
    """
    height, width = frames_rgb.shape[1:3]
    scale = size / max(height, width * pixel_width)
    h, w = max(round(height * scale), 1), max(round(width * pixel_width * scale), 1)
    padded_h, padded_w = (-(-side // _GRID) * _GRID for side in (h, w))
    top, left = (padded_h - h) // 2, (padded_w - w) // 2
    pictures = np.full((len(frames_rgb), padded_h, padded_w, 3), _GREY, np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    for picture, frame in zip(pictures, frames_rgb, strict=True):
        picture[top : top + h, left : left + w] = cv2.resize(frame, (w, h), interpolation=method)
    return pictures, (scale * pixel_width, scale), (left, top)


def fitted(
    frame_rgb: Bytes, size: tuple[int, int], fit: Fit, *, pixel_width: float = 1.0
) -> tuple[Bytes, tuple[float, float], tuple[int, int]]:
    """Bring a frame into an input of one size; what is left of that is grey.

    Args:
        frame_rgb: `[H, W, 3]` uint8.
        size: (h, w) of the input.
        fit: How; pixels become square but for `stretch`.
        pixel_width: As in `letterbox`.

    Returns:
        `[h, w, 3]` uint8, the scales (x, y), and the (left, top) padding in pixels.
    """
    (height, width), (wanted_h, wanted_w) = frame_rgb.shape[:2], size
    if fit == "stretch":
        scale_x, scale_y = wanted_w / width, wanted_h / height
    else:
        scale_y = min(wanted_h / height, wanted_w / (width * pixel_width))
        scale_x = scale_y * pixel_width
    h, w = (
        min(max(round(side), 1), most) for side, most in ((height * scale_y, wanted_h), (width * scale_x, wanted_w))
    )
    top, left = ((wanted_h - h) // 2, (wanted_w - w) // 2) if fit == "centre" else (0, 0)
    picture = np.full((*size, 3), _GREY, np.uint8)
    method = cv2.INTER_AREA if scale_x < 1 and scale_y < 1 else cv2.INTER_LINEAR
    picture[top : top + h, left : left + w] = cv2.resize(frame_rgb, (w, h), interpolation=method)
    return picture, (scale_x, scale_y), (left, top)


def from_letterbox(
    rows: np.ndarray, scale: tuple[float, float], offset: tuple[float, float], size: tuple[int, int]
) -> Detections:
    """Bring rows (x0, y0, x1, y1, score, class) of a letterboxed picture back to the frame, best first."""
    boxes = (rows[:, :4] - np.array([*offset, *offset], np.float32)) / np.array([*scale, *scale], np.float32)
    boxes = boxes.clip(0, np.array([*size, *size], np.float32))
    whole = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1
    order = np.argsort(-rows[whole, 4], kind="stable")
    return Detections(boxes[whole][order].astype(np.float32), rows[whole, 4][order].astype(np.float32))


def in_letterbox(
    frames_rgb: Bytes, size: int, find: Callable[[Bytes], Iterable[Float]], *, pixel_width: float
) -> list[Detections]:
    """Find people in letterboxed frames `[N, H, W, 3]`, and bring their boxes back.

    Args:
        frames_rgb: The frames.
        size: Longer side of the letterboxed pictures.
        find: Maps those pictures `[N, h, w, 3]` uint8 to rows (x0, y0, x1, y1, score) of each.
        pixel_width: As in `letterbox`.
    """
    height, width = frames_rgb.shape[1:3]
    pictures, scale, offset = letterbox(frames_rgb, size, pixel_width=pixel_width)
    return [from_letterbox(rows, scale, offset, (width, height)) for rows in find(pictures)]


def suppressed(rows: Float) -> Float:
    """Leave out boxes that overlap a better one: rows (x0, y0, x1, y1, score), best first, `MAX_BOXES` at most."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    low, high = rows[:, :2], rows[:, 2:4]
    area = (high - low).prod(1)
    kept: list[int] = []
    left = np.arange(len(rows))
    while len(left) and len(kept) < MAX_BOXES:
        best, left = left[0], left[1:]
        kept.append(best)
        both = (np.minimum(high[best], high[left]) - np.maximum(low[best], low[left])).clip(min=0).prod(1)
        left = left[both <= NMS_IOU * (area[best] + area[left] - both)]
    return rows[kept]
