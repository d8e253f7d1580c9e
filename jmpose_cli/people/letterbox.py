"""Pictures as YOLO networks take them, and boxes back in the frame."""

import cv2
import numpy as np

from jmpose_cli.values import Bytes, Detections

NMS_IOU = 0.5  # two boxes that overlap more are one person; higher keeps more people who hug, and more doubles
MAX_BOXES = 300
"""Of a frame."""
_GREY = 114  # what YOLO networks are trained to see around a letterboxed picture
_GRID = 32  # coarsest stride of the networks


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


def from_letterbox(
    rows: np.ndarray, scale: tuple[float, float], offset: tuple[float, float], size: tuple[int, int]
) -> Detections:
    """Bring rows (x0, y0, x1, y1, score, class) of a letterboxed picture back to the frame, best first."""
    boxes = (rows[:, :4] - np.array([*offset, *offset], np.float32)) / np.array([*scale, *scale], np.float32)
    boxes = boxes.clip(0, np.array([*size, *size], np.float32))
    whole = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1
    order = np.argsort(-rows[whole, 4], kind="stable")
    return Detections(boxes[whole][order].astype(np.float32), rows[whole, 4][order].astype(np.float32))
