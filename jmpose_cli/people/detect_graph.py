"""Detectors of other projects, run as they are: ONNX Runtime or OpenVINO, on a CPU."""

from pathlib import Path

from jmpose_cli.device import CallThreads
from jmpose_cli.foreign.graph import graph_sha256
from jmpose_cli.people.box_graph import describe, open_box_graph, target_sizes
from jmpose_cli.people.detect import FrameDetector
from jmpose_cli.people.letterbox import MAX_BOXES, fitted, from_letterbox, suppressed
from jmpose_cli.values import Bytes, Detections
from jmpose_cli.zoo.graph_files import graph_name


class GraphDetector(FrameDetector):
    """Runs a graph that finds people; see `PersonDetector`.

    Args:
        path: A `.onnx` file, or OpenVINO's `.xml`.
        min_score: Boxes below it are left out.
        input_size: Side of a square input in pixels, of graphs that leave it free.
        threads: Frames at a time.

    Attributes:
        about: What the graph needs, in a line.

    Raises:
        JmposeError: As `open_box_graph`.
    """

    def __init__(self, path: Path, *, min_score: float, input_size: int | None = None, threads: int = 1) -> None:
        super().__init__(min_score=min_score, calls=CallThreads(threads))
        self._graph, self._boxes = open_box_graph(path, input_size=input_size)
        self.engine = self._graph.engine
        self.name, self.sha256 = graph_name(path), graph_sha256(path)
        self.start_score = self._boxes.start_score
        self.about = describe(self._graph, self._boxes)

    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:
        (frame,) = frames_rgb
        height, width = frame.shape[:2]
        boxes = self._boxes
        size = (boxes.picture.height, boxes.picture.width)
        picture, scale, offset = fitted(frame, size, boxes.fit, pixel_width=pixel_width)
        given = {boxes.picture.name: boxes.input(picture), **target_sizes(self._graph, width, height)}
        rows = boxes.rows(self._graph.run(given))
        rows = rows[rows[:, 4] > self._min_score]
        rows = suppressed(rows) if boxes.overlaps else rows[(-rows[:, 4]).argsort(kind="stable")]
        if boxes.form == "sized":
            scale, offset = (1.0, 1.0), (0, 0)
        return [from_letterbox(rows[:MAX_BOXES], scale, offset, (width, height))]
