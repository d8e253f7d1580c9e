"""TensorBoard: losses, scores, and pictures of windows with their heatmaps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from torch import Tensor

from jmpose_cli.data.mixture import Batch
from jmpose_cli.training.report import StepReport
from jmpose_cli.training.validate import Score
from jmpose_cli.values import Bytes, Float

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
_EVERY_STEPS = 10
_PICTURES = 4  # windows shown of each validation set


class Board:
    """Writes event files; does nothing without a folder.

    Args:
        folder: The run folder; None on all devices but the first.
        step: Step of the run; what a killed run wrote beyond it is hidden.
    """

    def __init__(self, folder: Path | None, *, step: int) -> None:
        self._writer: SummaryWriter | None = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter as Writer

            self._writer = Writer(str(folder / FOLDER), purge_step=step)

    def step(self, step: int, report: StepReport) -> None:
        """Note the losses, rate and speed of a step, one step in ten."""
        if self._writer is None or step % _EVERY_STEPS:
            return
        figures = {f"loss/{name}": value for name, value in report.losses.items()}
        figures |= {
            "rate": report.rate,
            "gradient norm": report.gradient,
            "speed/windows a second": report.windows / report.seconds,
            "speed/share of time waiting for data": report.waited_s / report.seconds,
        }
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def scores(self, step: int, scores: Sequence[Score]) -> None:
        """Note a validation."""
        if self._writer is None:
            return
        for score in scores:
            for output, value in (("temporal", score.final), ("initial", score.initial)):
                if value is not None:
                    name = f"{score.metric}, {score.label}/{output}"
                    self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, label: str, batch: Batch, final: Tensor, initial: Tensor) -> None:
        """Note some windows with their initial and final heatmaps."""
        if self._writer is None:
            return
        for row in range(min(_PICTURES, len(batch))):
            picture = window_picture(
                batch.crops[row].cpu().numpy(),
                batch.exists[row].cpu().numpy(),
                [maps[row].float().cpu().numpy() for maps in (initial, final)],
                key=batch.crops.shape[1] // 2,
            )
            self._writer.add_image(f"{label}/{row}", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def window_picture(crops: Bytes, exists: np.ndarray, heatmaps: Sequence[Float], *, key: int) -> Bytes:
    """Put a window's frames side by side, then its key frame under each set of heatmaps.

    Args:
        crops: `[T, H, W, 3]` uint8 RGB.
        exists: `[T]` frames that do not exist are shown dark.
        heatmaps: Sets of `[K, h, w]`, shown as the highest value of all joints.
        key: Place of the key frame.

    Returns:
        `[H, (T + sets) * W, 3]` uint8 RGB.
    """
    height, width = crops.shape[1:3]
    shown = [crop if there else crop // 4 for crop, there in zip(crops, exists, strict=True)]
    for maps in heatmaps:
        level = np.clip(maps.max(0) * 255, 0, 255).astype(np.uint8)
        heat = cv2.applyColorMap(cv2.resize(level, (width, height)), cv2.COLORMAP_INFERNO)[:, :, ::-1]
        shown.append(np.asarray(cv2.addWeighted(crops[key] // 2, 1.0, np.ascontiguousarray(heat), 0.8, 0), np.uint8))
    return np.concatenate(shown, 1)
