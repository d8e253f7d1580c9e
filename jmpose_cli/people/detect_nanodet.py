"""Person boxes from the NanoDet of `jmpose.nanodet`, which `person-nano` is, by torch."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from jmpose.errors import WeightsError
from jmpose.files import file_sha256
from jmpose.nanodet import NanoDet, load_nanodet, save_nanodet, scored_boxes
from jmpose_cli.device import convolution_order
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.people.detect import TorchDetector
from jmpose_cli.people.detector_description import Kind, read_description
from jmpose_cli.people.letterbox import in_letterbox, suppressed
from jmpose_cli.values import Bytes, Detections, Float

KIND: Kind = "nanodet-detector"


class NanoDetDetector(TorchDetector):
    """A detector saved by `save_nanodet_detector` (`.safetensors` and `.json`).

    Args:
        weights: The `.safetensors` file.
        device: torch device name.
        min_score: Boxes below it are left out.
        input_size: Longer side of the network's input in pixels; None takes what the weights were made for.
            Larger finds smaller people, more slowly.
        threads: Frames at a time on the CPU.

    Raises:
        JmposeError: A file is missing or damaged, or of another detector.
    """

    def __init__(
        self, weights: Path, *, device: str, min_score: float, input_size: int | None = None, threads: int = 1
    ) -> None:
        finder, made_for, self.start_score = load_finder(weights)
        super().__init__(device=device, min_score=min_score, threads=threads)
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        self.input_size = input_size or made_for
        self._finder = finder.to(self._device).to(memory_format=convolution_order(self._device))

    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:
        return in_letterbox(frames_rgb, self.input_size, self._rows, pixel_width=pixel_width)

    def _rows(self, pictures: Bytes) -> list[Float]:
        with torch.inference_mode():
            found = self._finder(torch.from_numpy(pictures).to(self._device)).cpu().numpy()
        return [suppressed(rows[rows[:, 4] > self._min_score]) for rows in found]


class PersonFinder(nn.Module):
    """A NanoDet with what stands before and after it."""

    def __init__(self, model: NanoDet) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures `[N, h, w, 3]` uint8 to rows `[N, A, 5]`: (x0, y0, x1, y1, score) of every cell."""
        inputs = pictures.permute(0, 3, 1, 2).float()
        return scored_boxes(self.model(inputs.contiguous(memory_format=convolution_order(pictures.device))))


def load_finder(weights: Path) -> tuple[PersonFinder, int, float]:
    """Load what `save_nanodet_detector` wrote: the network, the longer side of its input, and its start score.

    Raises:
        JmposeError: A file is missing or damaged, or of another detector.
    """
    described = read_description(weights, KIND)
    try:
        finder = PersonFinder(load_nanodet(weights)).eval()
    except WeightsError as error:
        raise JmposeError(error.message, hint=error.hint) from error
    return finder, described.input_side, described.start_score


def save_nanodet_detector(network: NanoDet, weights: Path, *, imgsz: int, start_score: float) -> None:
    """Write a detector as `weights` (float16 safetensors) and a `.json` beside it.

    Args:
        network: In float32.
        weights: Path that ends in `.safetensors`.
        imgsz: Longer side of the input that it is made for, pixels.
        start_score: Box score that starts a track, as `benchmarks/accuracy/identity.py` finds it.

    Raises:
        WeightsError: The weights cannot be written.
    """
    save_nanodet(network, weights)
    facts = {"names": {"0": "person"}, "imgsz": imgsz, "start_score": start_score, "licence": "AGPL-3.0-or-later"}
    write_whole(weights.with_suffix(".json"), json.dumps({"kind": KIND, **facts}, indent=2).encode() + b"\n")
