"""The shipped detector without torch: ONNX Runtime, on a CPU."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from jmpose.files import file_sha256
from jmpose.plain_files import read_json
from jmpose_cli.device import CallThreads
from jmpose_cli.onnx_graphs import GraphsError, Session, description_of, read_graphs
from jmpose_cli.people.letterbox import MAX_BOXES, NMS_IOU, from_letterbox, letterbox
from jmpose_cli.people.yolo_description import check_start_score
from jmpose_cli.values import Bytes, Detections, Float


class FrameDetector:
    """A detector that takes a frame a call, and runs calls side by side; see `PersonDetector`.

    Args:
        min_score: Boxes below it are left out.
        threads: Frames at a time.
    """

    def __init__(self, *, min_score: float, threads: int) -> None:
        self._min_score = min_score
        self._calls = CallThreads(threads)

    def close(self) -> None:
        """End the threads of the calls."""
        self._calls.close()

    def detect(self, frames_rgb: Bytes, *, pixel_width: float = 1.0) -> list[Detections]:
        """Find people in frames; see `PersonDetector`."""
        return self._calls.map(lambda frame: self._detect(frame, pixel_width), frames_rgb)

    def _detect(self, frame: Bytes, pixel_width: float) -> Detections:
        raise NotImplementedError(f"{type(self).__name__} must define _detect")


class OnnxDetector(FrameDetector):
    """Runs the graph that `write_detector_graph` made; see `PersonDetector`.

    Args:
        weights: The weights that the graph was made from; it lies beside them.
        min_score: Boxes below it are left out.
        input_size: Longer side of the network's input in pixels; None takes what the weights were made for.
        threads: Frames at a time.

    Raises:
        GraphsError: There is no graph, or none of these weights.
    """

    engine = "onnx"

    def __init__(self, weights: Path, *, min_score: float, input_size: int | None = None, threads: int = 1) -> None:
        super().__init__(min_score=min_score, threads=threads)
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        graphs = read_graphs(description_of(weights), made_from={"detector": self.sha256})
        made_for = graphs.facts.get("input_side")
        if not isinstance(made_for, int):
            raise GraphsError(f"{graphs.folder}: the graph is of no detector", graphs.folder)
        self.start_score = _start_score(weights.with_suffix(".json"))
        self.input_size = input_size or made_for

        @lru_cache(maxsize=2)  # static sides are faster; a video has one size
        def session(height: int, width: int) -> Session:
            return graphs.session("detect", height=height, width=width)

        self._session = session

    def _detect(self, frame: Bytes, pixel_width: float) -> Detections:
        height, width = frame.shape[:2]
        picture, scale, offset = letterbox(frame[None], self.input_size, pixel_width=pixel_width)
        (rows,) = self._session(*picture.shape[1:3]).run({"pictures": picture})
        rows = suppressed(rows[rows[:, 4] > self._min_score])[:MAX_BOXES]
        return from_letterbox(rows, scale, offset, (width, height))


def _start_score(description: Path) -> float:
    """Return the box score that starts a track, as the weights' description says."""
    try:
        described = read_json(description)
        return check_start_score(described.get("start_score") if isinstance(described, dict) else None)
    except (OSError, ValueError) as error:
        raise GraphsError(f"{description}: cannot be read ({error})", description.parent) from error


def suppressed(rows: Float) -> Float:
    """Leave out boxes that overlap a better one, best first: rows (x0, y0, x1, y1, score)."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    low, high = rows[:, :2], rows[:, 2:4]
    area = (high - low).prod(1)
    kept: list[int] = []
    left = np.arange(len(rows))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        both = (np.minimum(high[best], high[left]) - np.maximum(low[best], low[left])).clip(min=0).prod(1)
        left = left[both <= NMS_IOU * (area[best] + area[left] - both)]
    return rows[kept]
