"""What all detectors of people do, and how they run frames."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np

from jmpose_cli.device import CallThreads, torch_calls
from jmpose_cli.values import Bytes, Detections

_GPU_BATCH = 8


class PersonDetector(Protocol):
    """Finds people in single frames; keeps nothing between calls.

    Attributes:
        engine: What runs the network, for headers and files.
        name: The model's, likewise.
        sha256: Of the weights file.
        start_score: Box score from which on a box of this detector may start a track.
    """

    engine: str
    name: str
    sha256: str
    start_score: float

    def detect(self, frames_rgb: Bytes, *, pixel_width: float = 1.0) -> list[Detections]:
        """Find people in frames.

        Args:
            frames_rgb: `[N, H, W, 3]` uint8.
            pixel_width: Width of a pixel in heights of a pixel; the network sees people as they are shown.

        Returns:
            Boxes of each frame in its own pixels, highest score first.
        """

    def close(self) -> None:
        """End the detector's threads."""


class FrameDetector(ABC):
    """A detector whose boxes of a frame depend on nothing but the frame; see `PersonDetector`.

    On a CPU each frame is a call of its own, and calls run side by side; elsewhere all calls have one size.

    Args:
        min_score: Boxes below it are left out.
        calls: Runs them on a CPU; None elsewhere.
    """

    def __init__(self, *, min_score: float, calls: CallThreads | None) -> None:
        self._min_score, self._calls = min_score, calls

    def close(self) -> None:
        """End the threads of the calls."""
        if self._calls:
            self._calls.close()

    def detect(self, frames_rgb: Bytes, *, pixel_width: float = 1.0) -> list[Detections]:
        """Find people in frames; see `PersonDetector`."""
        if self._calls:
            return self._calls.map(lambda frame: self._detect(frame[None], pixel_width)[0], frames_rgb)
        return _in_equal_batches(frames_rgb, lambda frames: self._detect(frames, pixel_width))

    @abstractmethod
    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:
        """Find people by one call of the network."""


class TorchDetector(FrameDetector):
    """A detector on torch.

    Args:
        device: torch device name.
        min_score: As in `FrameDetector`.
        threads: Frames at a time on a CPU.
    """

    engine = "torch"

    def __init__(self, *, device: str, min_score: float, threads: int) -> None:
        import torch

        self._device = torch.device(device)
        super().__init__(min_score=min_score, calls=torch_calls(threads) if self._device.type == "cpu" else None)


def _in_equal_batches(frames_rgb: Bytes, detect: Callable[[Bytes], list[Detections]]) -> list[Detections]:
    """Call `detect` on a GPU's batches of frames `[N, H, W, 3]`, all of one size.

    The last one is filled up with its last frame: kernels are chosen by shape, and another one rounds otherwise.
    """
    found: list[Detections] = []
    for start in range(0, len(frames_rgb), _GPU_BATCH):
        part = frames_rgb[start : start + _GPU_BATCH]
        filled = part[np.arange(_GPU_BATCH).clip(max=len(part) - 1)]
        found.extend(detect(filled)[: len(part)])
    return found
