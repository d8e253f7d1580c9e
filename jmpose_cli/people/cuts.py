"""Hard cuts between two frames, from thumbnails."""

import cv2
import numpy as np

from jmpose_cli.values import Bytes, CutState, Float

_WIDTH, _HEIGHT = 48, 27
_BINS = 8
_MEMORY = 0.8  # weight of the past in the running mean of ordinary change


class CutDetector:
    """Says where a video jumps to another shot. One object a video.

    A cut changes both what colours there are (Bhattacharyya distance of RGB histograms) and where they are (mean
    difference of thumbnails with equal mean and spread of brightness, so that a flash or a fade is none), and it
    changes them much more than the frames before did (so that a whirling camera is none).

    Args:
        colours: Least histogram distance, 0 to 1. Raising it misses cuts between similar shots.
        places: Least thumbnail difference in standard deviations. Raising it misses cuts too.
        surprise: How many times the change must exceed the ordinary one.

    Attributes:
        state: What it remembers; give it to another detector to continue there. None before the first frame.
    """

    def __init__(self, *, colours: float = 0.3, places: float = 0.6, surprise: float = 2.5) -> None:
        self._colours, self._places, self._surprise = colours, places, surprise
        self.state: CutState | None = None

    def update(self, frame_rgb: Bytes) -> bool:
        """Compare `[H, W, 3]` uint8 with the frame before; True when a cut lies between them."""
        thumbnail, histogram = _summary(frame_rgb)
        before = self.state
        if before is None:
            self.state = CutState(thumbnail, histogram, 0.0)
            return False
        places = float(np.abs(thumbnail - before.thumbnail).mean())
        overlap = float(np.sqrt(histogram * before.histogram).sum())
        colours = float(np.sqrt(max(1.0 - overlap, 0.0)))
        cut = colours >= self._colours and places >= self._places and places >= self._surprise * before.usual
        usual = 0.0 if cut else _MEMORY * before.usual + (1 - _MEMORY) * places
        self.state = CutState(thumbnail, histogram, usual)
        return cut


def _summary(frame_rgb: Bytes) -> tuple[Float, Float]:
    """Return the standardised grey thumbnail `[27, 48]` and the colour histogram `[512]` that sums to 1."""
    # Every nth pixel first: area averaging of a full frame would cost 20 times as much.
    step = max(1, min(frame_rgb.shape[0] // (4 * _HEIGHT), frame_rgb.shape[1] // (4 * _WIDTH)))
    small = cv2.resize(np.ascontiguousarray(frame_rgb[::step, ::step]), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    grey = small.astype(np.float32).mean(2)
    # A floor for the spread, so that noise in a black frame does not count as content.
    grey = (grey - grey.mean()) / max(float(grey.std()), 8.0)
    cells = (small // (256 // _BINS)).astype(np.int64)
    index = (cells[..., 0] * _BINS + cells[..., 1]) * _BINS + cells[..., 2]
    histogram = np.bincount(index.ravel(), minlength=_BINS**3).astype(np.float32)
    return grey, histogram / histogram.sum()
