"""How the camera moved between two looks at a video, from corners of the background that are followed."""

import cv2
import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools, Bytes, CameraState, Float

_LONGER_SIDE = 320  # of the picture in which corners are followed, pixels
_CORNERS, _QUALITY, _APART_PX = 80, 0.01, 8
_WINDOW, _LEVELS, _STEPS = (15, 15), 3, (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.03)
_BACK_PX = 0.5  # who is followed back must come so near to where they began
_OFF_PX = 1.0  # of a corner that moved as the camera did
_FEWEST, _SHARE, _WIDE = 12, 0.6, 0.12  # such corners: least number, share, and spread in picture widths and heights
_STANDS_PX = 0.3  # up to which the background stands still: median way of its corners
_BROADER = 0.1  # of a person's box, which is left out, on every side


class CameraMotion:
    """Says how the picture moved since the last look. One object a video.

    Attributes:
        state: What it remembers; give it to another one to continue there. None before the first look.
    """

    def __init__(self) -> None:
        self.state: CameraState | None = None

    def forget(self) -> None:
        """Begin anew, after a cut."""
        self.state = None

    def update(self, frame_rgb: Bytes, boxes_xyxy_px: Float) -> Float | None:
        """Take the next picture.

        Args:
            frame_rgb: `[H, W, 3]` uint8.
            boxes_xyxy_px: `[N, 4]` people in it, who do not count as background.

        Returns:
            `[2, 3]` float32 similarity from pixels of the last picture to pixels of this one; None where the background
            stands still, or cannot be followed. What is too little to be said is said later, when it has become more.
        """
        grey, scale = _small(frame_rgb)
        before = self.state
        moved = None
        if before is not None and before.grey.shape == grey.shape and len(before.corners) >= _FEWEST:
            there, kept = _followed(before.grey, grey, before.corners)
            if kept.mean() >= _SHARE and _way(before.corners[kept], there[kept]) <= _STANDS_PX:
                return None  # it goes on being compared with that picture, so that a slow pan shows in the end
            moved = _similarity(before, grey, there, kept)
        self.state = CameraState(grey, _corners(grey, boxes_xyxy_px * scale))
        if moved is None:
            return None
        moved[:, 2] = (moved[:, 2] + (moved[:, :2] - np.eye(2)) @ np.full(2, 0.5 * scale - 0.5)) / scale
        return moved.astype(np.float32)


def box_moved(box: Doubles, by: Doubles) -> Doubles:
    """Return boxes `[..., 4]` where a similarity `[2, 3]` brings their centres, scaled as it scales."""
    centre, half = (box[..., :2] + box[..., 2:]) / 2, (box[..., 2:] - box[..., :2]) / 2 * scale_of(by)
    there = centre @ by[:, :2].T + by[:, 2]
    return np.concatenate([there - half, there + half], -1)


def scale_of(by: Doubles) -> float:
    """Return by how much a similarity `[2, 3]` enlarges."""
    return float(np.sqrt(abs(np.linalg.det(by[:, :2]))))


def back_through(moved: Doubles, before: Doubles | None) -> Doubles:
    """Return the similarity `[2, 3]` from this picture to the first one.

    Args:
        moved: From the last picture to this one.
        before: From the last picture to the first one; None: they are the same.
    """
    back = np.asarray(cv2.invertAffineTransform(moved))
    if before is None:
        return back
    return np.concatenate([before[:, :2] @ back[:, :2], before[:, :2] @ back[:, 2:] + before[:, 2:]], 1)


def _small(frame_rgb: Bytes) -> tuple[Bytes, float]:
    """Return a grey picture `[h, w]`, and its pixels for each of the frame."""
    height, width = frame_rgb.shape[:2]
    step = max(1, max(height, width) // (2 * _LONGER_SIDE))  # averaging all of a large frame would cost more
    thin = np.ascontiguousarray(frame_rgb[::step, ::step])
    scale = min(1.0, _LONGER_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.cvtColor(cv2.resize(thin, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY), scale


def _corners(grey: Bytes, boxes: Float) -> Float:
    """Return `[P, 2]` corners of the background."""
    height, width = grey.shape
    free = np.full(grey.shape, 255, np.uint8)
    if len(boxes):
        more = _BROADER * np.tile(boxes[:, 2:] - boxes[:, :2], 2) * [-1, -1, 1, 1]
        limits = [width, height, width, height]
        for x0, y0, x1, y1 in (boxes + more).clip(0, limits).round().astype(int).tolist():
            free[y0:y1, x0:x1] = 0
    found = cv2.goodFeaturesToTrack(grey, _CORNERS, _QUALITY, _APART_PX, mask=free)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2).astype(np.float32)


def _followed(one: Bytes, other: Bytes, corners: Float) -> tuple[Float, Bools]:
    """Return where corners `[P, 2]` of a small picture are in another, and `[P]` whether they were found."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        *(one, other, corners, None),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_STEPS,
    )
    return there, found.ravel() == 1


def _way(before: Float, after: Float) -> float:
    """Return how far corners `[P, 2]` went, the median."""
    return float(np.median(np.linalg.norm(after - before, axis=1)))


def _similarity(before: CameraState, grey: Bytes, there: Float, kept: Bools) -> Doubles | None:
    """Return the similarity `[2, 3]` of small pictures; None where the corners do not agree.

    Args:
        before: The other picture.
        grey: This picture.
        there: `[P, 2]` where its corners are now.
        kept: `[P]` whether they were found.
    """
    back, found = _followed(grey, before.grey, there)
    kept = kept & found & (np.linalg.norm(back - before.corners, axis=1) < _BACK_PX)
    if kept.sum() < _FEWEST:
        return None
    moved, agree = cv2.estimateAffinePartial2D(
        before.corners[kept], there[kept], method=cv2.RANSAC, ransacReprojThreshold=_OFF_PX
    )
    if moved is None or not np.isfinite(moved).all():
        return None
    good: Bools = agree.ravel() == 1
    spread = before.corners[kept][good].std(0) / grey.shape[::-1] if good.any() else np.zeros(2)
    if good.sum() < max(_FEWEST, _SHARE * kept.sum()) or spread.min() < _WIDE:
        return None
    return np.asarray(moved, np.float64)
