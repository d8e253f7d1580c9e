"""A video and networks that are made up: fast, and whatever a stage gets wrong shows in the joints."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jmpose.config import Preprocess
from jmpose.keypoints import COCO17, KeypointSet
from jmpose_cli.annotate.networks import Networks
from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.pose.windows import Windows
from jmpose_cli.values import Detections, FrameBatch, FramePoses
from jmpose_cli.video.info import VideoInfo

FPS, CUT_AT = 25.0, 14


def made_up_frame(number: int) -> np.ndarray:
    """Make frame `number`, `[48, 64, 3]` uint8: noise in grey, from `CUT_AT` on in another place and colour."""
    random = np.random.default_rng(number)
    frame = random.integers(100, 110, (48, 64, 3), dtype=np.uint8)
    if number >= CUT_AT:
        frame[:, 32:, 0] = 250
    frame[0, 0, 0] = number
    return frame


class MadeUpVideo:
    """Frames of `made_up_frame`, from one on, a few at a time."""

    def __init__(self, frames: int, *, deliver_from: int = 0, batch: int = 3) -> None:
        self.info = VideoInfo(Path("made_up.mp4"), 64, 48, FPS, frames, 0, False, "made up")
        self.notes: list[str] = []
        self._numbers, self._batch = range(deliver_from, frames), batch

    def __iter__(self) -> Iterator[FrameBatch]:
        for start in range(0, len(self._numbers), self._batch):
            numbers = np.array(self._numbers[start : start + self._batch])
            yield FrameBatch(np.stack([made_up_frame(n) for n in numbers.tolist()]), numbers, numbers / FPS)


class MadeUpDetector:
    """Finds two people who walk, by the number in a frame's corner; the second one only in some frames."""

    start_score = 0.25

    def detect(self, frames: np.ndarray, *, pixel_width: float = 1.0) -> list[Detections]:
        found = []
        for number in frames[:, 0, 0, 0].tolist():
            boxes = np.float32([[number, 5, number + 15, 40], [60 - number, 8, 75 - number, 45]])
            found.append(Detections(*(rows[: 1 + (number % 4 > 0)] for rows in (boxes, np.float32([0.9, 0.7])))))
        return found


class MadeUpEmbedder:
    """Tells people by the mean colours of their crops."""

    name, sha256, crop_size, scale = "made-up", "0", (8, 4), AppearanceScale(even=0.9, certain=0.1, known=0.9, sure=0.1)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        colours = crops.mean((1, 2), dtype=np.float32) + np.float32([1, 2, 3])
        return colours / np.linalg.norm(colours, axis=1, keepdims=True)


@dataclass
class MadeUpEstimator:
    """Its joints say which frames the windows held and how; `asked` collects the key frames."""

    preprocess: Preprocess
    asked: list[int]
    keypoints: KeypointSet = COCO17
    windows_wanted: int = 5
    looks_ahead: bool = True

    def look(self, frames: list[Windows]) -> list[int]:
        return [windows.key.people.index for windows in frames]

    def estimate(self, frames: list[Windows], views: list[int] | None = None) -> list[FramePoses]:
        assert views in (None, self.look(frames)), "of other windows"
        return [self._poses(windows) for windows in frames]

    def _poses(self, windows: Windows) -> FramePoses:
        people = windows.key.people
        self.asked.append(people.index)
        numbers = np.array([seen.pixels[0, 0, 0] for seen in windows.frames], np.float32)
        code = numbers[windows.frame_of] + 0.5 * windows.exists  # [N, T]
        xy = np.zeros((len(people), len(COCO17), 2), np.float32)
        xy[:, : code.shape[1], 0] = code
        xy[:, :4, 1] = people.boxes_xyxy_px
        return FramePoses(people, xy, np.full(xy.shape[:2], 0.5, np.float32), people.scores)


def made_up_networks(**parts: Any) -> Networks:
    estimator: Any = MadeUpEstimator(Preprocess(64, 48, "coco17", 1.0, (-2, -1, 0, 1, 2), reference_fps=FPS), [])
    usual = {"detector": MadeUpDetector(), "boxes": None, "estimator": estimator, "info": {}}
    return Networks(**{**usual, "embedder": MadeUpEmbedder(), **parts})


class KnownBoxes:
    """Two people with one pose: the same box twice, with ids."""

    def at(self, index: int) -> tuple[Detections, np.ndarray]:
        return Detections(np.float32([[5, 5, 20, 40]] * 2), np.ones(2, np.float32)), np.array([7, 9])
