"""Pictures of single people, as networks of appearance take them."""

import cv2
import numpy as np

from jmpose_cli.values import Bytes, Float


def person_crops(frame_rgb: Bytes, boxes_xyxy_px: Float, *, height: int, width: int) -> Bytes:
    """Cut people out of a frame and scale each to one size, whatever its shape.

    Args:
        frame_rgb: `[H, W, 3]` uint8.
        boxes_xyxy_px: `[N, 4]` corners in its pixels; what lies outside the frame is left out.
        height: Of the crops, pixels.
        width: Of the crops, pixels.

    Returns:
        `[N, height, width, 3]` uint8; black where a box lies outside the frame.
    """
    crops = np.zeros((len(boxes_xyxy_px), height, width, 3), np.uint8)
    limits = np.tile(frame_rgb.shape[1::-1], 2)
    corners = np.concatenate([np.floor(boxes_xyxy_px[:, :2]), np.ceil(boxes_xyxy_px[:, 2:])], 1).clip(0, limits)
    for crop, (x0, y0, x1, y1) in zip(crops, corners.astype(np.int64).tolist(), strict=True):
        if x1 > x0 and y1 > y0:
            shrinks = (y1 - y0) * (x1 - x0) > height * width
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            cv2.resize(frame_rgb[y0:y1, x0:x1], (width, height), dst=crop, interpolation=method)
    return crops
