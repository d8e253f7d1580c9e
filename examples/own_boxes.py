"""Poses for boxes of your own: here, of whatever moves. `python examples/own_boxes.py VIDEO OUT`.

The boxes have no track ids, so the people are tracked, and what comes of it is written as COCO and as a table.
"""

import sys

import cv2
import numpy as np

from jmpose_cli import Annotator, ClipPoses, VideoMeta, open_video, write_clip

LEAST_PIXELS = 400


def moving_boxes(video: str) -> tuple[list[np.ndarray], VideoMeta]:
    """Return `[N, 4]` boxes of what moves in each frame, corners in pixels, and what is known of the video."""
    background, boxes = cv2.createBackgroundSubtractorMOG2(history=50), []
    with open_video(video) as source:
        for batch in source:
            for frame in batch.frames:
                mask = cv2.dilate(background.apply(frame), np.ones((9, 9), np.uint8))
                _, _, found, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
                x, y, width, height, pixels = found[1:].T  # the first one is the background
                boxes.append(np.stack([x, y, x + width, y + height], 1)[pixels >= LEAST_PIXELS])
        info = source.info
    return boxes, VideoMeta(info.path.stem, info.width, info.height, info.fps, info.path.name)


def main() -> None:
    """Find boxes, estimate poses, write files."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    video, out = sys.argv[1:]
    boxes, meta = moving_boxes(video)
    with Annotator("nano", detector=None) as annotator:
        clip = ClipPoses(list(annotator.frames(video, boxes=boxes)), annotator.keypoints, meta)
    for note in write_clip(out, clip, formats=["coco", "csv"]):
        print(f"note: {note}")
    print(f"{sum(map(len, clip.frames))} poses in {len(clip.frames)} frames: {out}")


if __name__ == "__main__":
    main()
