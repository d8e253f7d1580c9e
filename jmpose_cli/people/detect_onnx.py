"""The shipped detector without torch: ONNX Runtime, on a CPU."""

from functools import lru_cache
from pathlib import Path

from jmpose.files import file_sha256
from jmpose_cli.device import CallThreads
from jmpose_cli.onnx_graphs import GraphsError, Session, description_of, read_graphs
from jmpose_cli.people.detect import FrameDetector
from jmpose_cli.people.detector_description import read_description
from jmpose_cli.people.letterbox import in_letterbox, suppressed
from jmpose_cli.values import Bytes, Detections, Float


class OnnxDetector(FrameDetector):
    """Runs the graph that `write_detector_graph` made; see `PersonDetector`.

    Args:
        weights: The weights that the graph was made from; it lies beside them.
        min_score: Boxes below it are left out.
        input_size: Longer side of the network's input in pixels; None takes what the weights were made for.
        threads: Frames at a time.

    Raises:
        GraphsError: There is no graph, or none of these weights.
        JmposeError: What describes the weights is damaged.
    """

    engine = "onnx"

    def __init__(self, weights: Path, *, min_score: float, input_size: int | None = None, threads: int = 1) -> None:
        super().__init__(min_score=min_score, calls=CallThreads(threads))
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        graphs = read_graphs(description_of(weights), made_from={"detector": self.sha256})
        if not graphs.has("detect"):
            raise GraphsError(f"{graphs.folder}: the graphs are of no detector", graphs.folder)
        described = read_description(weights)
        self.start_score = described.start_score
        self.input_size = input_size or described.input_side

        @lru_cache(maxsize=2)  # static sides are faster; a video has one size
        def session(height: int, width: int) -> Session:
            return graphs.session("detect", height=height, width=width)

        self._session = session

    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:
        return in_letterbox(frames_rgb, self.input_size, self._rows, pixel_width=pixel_width)

    def _rows(self, picture: Bytes) -> list[Float]:
        (rows,) = self._session(*picture.shape[1:3]).run({"pictures": picture})
        return [suppressed(rows[rows[:, 4] > self._min_score])]
