"""Frames from any source, pushed one by one: checked, numbered, and put through the stages."""

import numpy as np

from jmpose_cli.annotate.networks import Networks
from jmpose_cli.annotate.stages import LiveStages
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.given_boxes import FrameBoxes, GivenBoxes
from jmpose_cli.values import Bytes, FrameBatch, FramePoses
from jmpose_cli.video.info import DEFAULT_FPS


class FrameStream:
    """Frames that a program pushes, one by one.

    Args:
        config: The settings.
        networks: The networks.
        boxes: Takes the boxes that come with the frames; None where none do.

    Raises:
        JmposeError: The settings ask for what a stream cannot give.
    """

    def __init__(self, config: InferConfig, networks: Networks, boxes: GivenBoxes | None) -> None:
        if config.pose.smooth:
            raise JmposeError("pose.smooth with push(): smoothing takes the whole video", hint="leave it out")
        self._stages = LiveStages(config, networks, fps=config.decode.fps or DEFAULT_FPS)
        self._boxes = boxes
        self._shape: tuple[int, ...] = ()
        self._count, self._last_s = 0, -np.inf

    def push(self, frame_rgb: Bytes, time_s: float, boxes: FrameBoxes) -> list[FramePoses]:
        """Take the next frame; return the poses settled now.

        Raises:
            ValueError: It is no RGB frame of the stream's size, its time does not rise, or it comes with boxes where
                the others do not.
            JmposeError: A box is none.
        """
        frame = np.array(frame_rgb, order="C")  # a copy: many sources use their memory again
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f"a frame must be [H, W, 3] uint8, not {list(frame.shape)} {frame.dtype}")
        if self._shape not in ((), frame.shape):
            raise ValueError(f"a frame of {list(frame.shape)} after frames of {list(self._shape)}")
        if not self._last_s < time_s < np.inf:
            raise ValueError(f"the time {time_s} s after {self._last_s} s: times must be finite and rise")
        if self._boxes is None and boxes is not None:
            raise ValueError("boxes after frames without boxes")
        if self._boxes is not None:
            self._boxes.put(self._count, boxes)
        batch = FrameBatch(frame[None], np.array([self._count]), np.array([time_s], np.float64))
        self._shape, self._last_s, self._count = frame.shape, time_s, self._count + 1
        return [posed.poses for posed in self._stages.push(batch)]

    def finish(self) -> tuple[list[FramePoses], list[str]]:
        """Return the last frames, and what the user should know."""
        return [posed.poses for posed in self._stages.finish()], self._stages.notes()
