"""Windows of tracked people in, joints in image pixels out, whatever engine runs the network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jmpose.config import ModelConfig, Preprocess
from jmpose.keypoints import KeypointSet
from jmpose_cli.choices import Precision
from jmpose_cli.device import CallThreads
from jmpose_cli.pose.certainty import near_probabilities
from jmpose_cli.pose.maps import MapKeeper, PersonMaps
from jmpose_cli.pose.windows import Windows
from jmpose_cli.values import Bools, Bytes, Float, FramePoses

COUNTED_SCORE = 0.2  # joints below it say nothing about how good a pose is
CPU_PEOPLE = 4
"""People per network call on the CPU, whatever the batch: kernels are chosen by shape, and another kernel rounds
otherwise, so only calls of one shape give a person the same joints in any company."""
_GPU_CALLS = 4
"""Calls for which windows are gathered on a GPU: the last of them is filled up, which is work for nothing."""
Result = TypeVar("Result")
Located = tuple[Float, Float, Float]
"""Joints `[N, K, 2]`, scores `[N, K]` and covariances `[N, K, 3]`, in image pixels."""
Views = list[list[list[PersonMaps]]]
"""Of each person of some windows what was seen in the T frames: straight and, for the flip test, mirrored."""


@dataclass(frozen=True)
class EstimatorSettings:
    """How poses are estimated.

    Attributes:
        device: torch device name.
        precision: `fp32`; `tf32`, products of 10-bit mantissas on a GPU; `bf16` or `fp16` (autocast); `int8`,
            the backbone's graph that is quantised.
        batch: Person windows per call of the network on a GPU; the CPU takes few at a time.
        flip_test: Average with the mirrored window.
        threads: Calls of the network at a time on the CPU.
        channels_last: Keep the backbone's maps pixel by pixel in memory; None: as `convolution_order` says.
        compiled: Compile the network by `torch.compile`, for the one shape that all calls have.
        shared_crops: As in `MapKeeper`.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    batch: int = 16
    flip_test: bool = False
    threads: int = 1
    channels_last: bool | None = None
    compiled: bool = False
    shared_crops: bool = False


class PoseEstimator(ABC):
    """Runs JM-Pose over person windows; an engine is a class that encodes crops and locates joints.

    Between calls it keeps what the backbone saw of people in frames that somebody still holds; a pose is the same
    without.

    Attributes:
        engine: What runs the network, for headers and files.
        name: The model's, likewise.
        sha256: Of the weights file; None for a network without one.
        temporal: Weights whose temporal part stands in the place of the model's own; None: none does.
        calibration: Gives the probabilities of joints, and scales their covariances; None: there are no probabilities.
        windows_wanted: Person windows that it would like to have at a time.
        looks_ahead: Whether `look` on the next windows beside `estimate` on these keeps the machine busier.

    Args:
        config: Of the model.
        settings: How it is run.
        name: For headers and files.
        sha256: As above.
        calls: Threads of the calls on a CPU; None: each call takes the settings' batch, on a GPU.
    """

    engine: str

    def __init__(
        self,
        config: ModelConfig,
        settings: EstimatorSettings,
        *,
        name: str,
        sha256: str | None,
        calls: CallThreads | None,
    ) -> None:
        self.name, self.sha256 = name, sha256
        self.temporal: Path | None = None
        self.preprocess: Preprocess = config.preprocess
        self.keypoints: KeypointSet = self.preprocess.keypoints
        self.calibration = config.calibration
        self._calls = calls
        self._people_a_call = CPU_PEOPLE if calls else settings.batch
        self.windows_wanted = (
            max(settings.batch, CPU_PEOPLE * settings.threads) if calls else _GPU_CALLS * settings.batch
        )
        # A GPU computes while the next pictures are made ready for it.
        self.looks_ahead = calls.threads > 1 if calls else settings.device.startswith("cuda")
        self._keepers = [
            MapKeeper(self._look, self.preprocess, shared_crops=settings.shared_crops, mirrored=mirrored)
            for mirrored in ((False, True) if settings.flip_test else (False,))
        ]

    def close(self) -> None:
        """End the threads of the calls."""
        if self._calls:
            self._calls.close()

    def look(self, frames: Sequence[Windows]) -> Views:
        """Run the backbone on all people of some key frames' windows; one thread calls this, in the frames' order.

        Args:
            frames: The windows of each key frame, all of one video.
        """
        return [keeper.look_up(frames) for keeper in self._keepers]

    def estimate(self, frames: Sequence[Windows], views: Views | None = None) -> list[FramePoses]:
        """Estimate the poses of all people of some key frames.

        The result for a person does not depend on who else is in the call.

        Args:
            frames: The windows of each key frame, all of one video.
            views: What `look` gives for them; None: it is called here.

        Returns:
            One `FramePoses` a key frame, joints and covariances in image pixels, probabilities if they are calibrated.
        """
        return self._estimate(frames, self.look(frames) if views is None else views, with_initial=False)[0]

    def estimate_both(self, frames: Sequence[Windows]) -> tuple[list[FramePoses], list[FramePoses]]:
        """Like `estimate`, and beside it what the backbone alone sees in the key frames: the single-frame baseline."""
        final, initial = self._estimate(frames, self.look(frames), with_initial=True)
        return final, initial

    @abstractmethod
    def _look(self, pictures: Sequence[Bytes], rows: Sequence[int], affine: Float) -> Iterable[PersonMaps]:
        """Run the backbone on crops; see `MapKeeper`."""

    @abstractmethod
    def _locate(self, views: Sequence[Sequence[Sequence[PersonMaps]]], exists: Bools, *, kinds: int) -> Any:
        """Fuse some windows, as many as a call takes, and find their joints; return what `_fetch` takes.

        Args:
            views: The maps of each person in T frames, straight and, for the flip test, mirrored.
            exists: `[N, T]`, see `JMPose.forward`.
            kinds: 1 for joints of the final heatmaps, 2 for those of the initial ones beside them.
        """

    @abstractmethod
    def _fetch(self, located: Any) -> list[Located]:
        """Return the joints of each kind that `_locate` found; here, and not before, a GPU is waited for."""

    def _estimate(self, frames: Sequence[Windows], views: Views, *, with_initial: bool) -> list[list[FramePoses]]:
        """Poses of the final heatmaps and, when asked, of the initial ones."""
        people = [len(w.key.people) for w in frames]
        kinds = 1 + with_initial
        if not sum(people):
            joints = np.zeros((0, len(self.keypoints), 3), np.float32)
            nobody = joints[..., :2], joints[..., 0], joints
            return [[self._frame_poses(w, *nobody) for w in frames] for _ in range(kinds)]
        exists = np.concatenate([w.exists for w in frames])

        def call(part: Sequence[int]) -> Any:
            return self._locate([[view[row] for row in part] for view in views], exists[part], kinds=kinds)

        located = [self._fetch(each) for each in self._in_calls(call, len(exists))]
        splits = np.cumsum(people)[:-1]
        results = []
        for kind in zip(*located, strict=True):
            joined = (np.concatenate(parts)[: len(exists)] for parts in zip(*kind, strict=True))
            per_frame = (np.split(each, splits) for each in joined)
            results.append([self._frame_poses(*frame) for frame in zip(frames, *per_frame, strict=True)])
        return results

    def _in_calls(self, call: Callable[[Sequence[int]], Result], count: int) -> list[Result]:
        """Call for some rows at a time, side by side on a CPU; the last call is filled up with its last row.

        All calls have one shape.
        """
        step = self._people_a_call
        parts = [[min(row, count - 1) for row in range(start, start + step)] for start in range(0, count, step)]
        return self._calls.map(call, parts) if self._calls else [call(part) for part in parts]

    def _frame_poses(self, windows: Windows, xy: Float, scores: Float, covariances: Float) -> FramePoses:
        people, calibration = windows.key.people, self.calibration
        person_scores = score_people(scores, people.scores)
        poses = FramePoses(people, xy, scores, person_scores, covariances=covariances)
        if calibration is None:
            return poses
        poses = replace(poses, covariances=covariances * np.float32(calibration.covariance_scale))
        pixel_width = windows.key.pixel_width
        return replace(poses, probabilities=near_probabilities(poses, calibration, pixel_width=pixel_width))


def score_people(joint_scores: Float, box_scores: Float) -> Float:
    """Score people `[N]` by the mean of their joints `[N, K]` above 0.2, times the score of their boxes `[N]`."""
    counted = joint_scores > COUNTED_SCORE
    mean = (joint_scores * counted).sum(1) / np.maximum(counted.sum(1), 1)
    return np.asarray(mean * box_scores, np.float32)
