"""Windows of tracked people in, joints in image pixels out: crops, network, decoding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import SubprocessError
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from jmpose.build import with_temporal_part
from jmpose.config import Preprocess
from jmpose.decoding import decode_dark, flip_average, heatmap_covariances
from jmpose.errors import ConfigError, WeightsError
from jmpose.folding import fold_batch_norms
from jmpose.keypoints import KeypointSet
from jmpose.network import FrameFeatures, JMPose
from jmpose.sampling import normalise, sample_crops
from jmpose.targets import covariances_to_image, crop_to_image, heatmap_to_crop
from jmpose.weights import load_model, weights_sha256
from jmpose_cli.choices import Precision
from jmpose_cli.device import CallThreads, set_float32_arithmetic
from jmpose_cli.errors import JmposeError
from jmpose_cli.pose.certainty import near_probabilities
from jmpose_cli.pose.cost import require_memory
from jmpose_cli.pose.maps import MapKeeper, PersonMaps, arrange
from jmpose_cli.pose.windows import Windows
from jmpose_cli.values import Float, FramePoses

COUNTED_SCORE = 0.2  # joints below it say nothing about how good a pose is
# People per network call on the CPU, whatever the batch: kernels are chosen by shape, and another kernel rounds
# otherwise, so only calls of one shape give a person the same joints in any company.
_CPU_PEOPLE = 4
Result = TypeVar("Result")
_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class EstimatorSettings:
    """How poses are estimated.

    Attributes:
        device: torch device name.
        precision: `fp32`; `tf32`, products of 10-bit mantissas on a GPU; `bf16` or `fp16` (autocast).
        batch: Person windows per call of the network on a GPU; the CPU takes few at a time.
        flip_test: Average with the mirrored window.
        threads: Calls of the network at a time on the CPU.
        channels_last: Keep the backbone's maps pixel by pixel in memory, which most convolutions like.
        compiled: Compile the network by `torch.compile`, for the one shape that all calls have.
        shared_crops: As in `MapKeeper`.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    batch: int = 16
    flip_test: bool = False
    threads: int = 1
    channels_last: bool = True
    compiled: bool = False
    shared_crops: bool = False


class PoseEstimator:
    """Runs JM-Pose over person windows.

    Between calls it keeps what the backbone saw of people in frames that somebody still holds; a pose is the same
    without.

    Attributes:
        temporal: Weights whose temporal part stands in the place of the model's own; None: none does.
        calibration: Gives the probabilities of joints, and scales their covariances; None: there are no probabilities.

    Sets for the whole process whether float32 is exact on a GPU, see `set_float32_arithmetic`.

    Args:
        model: The network, in eval mode, on its device.
        settings: How it is run.
        name: For headers and files.
        sha256: Of the weights file; None for a network without one.

    Raises:
        JmposeError: The network cannot be compiled here.
    """

    def __init__(self, model: JMPose, settings: EstimatorSettings, *, name: str, sha256: str | None = None) -> None:
        set_float32_arithmetic(tf32=settings.precision == "tf32")
        self.name, self.sha256 = name, sha256
        self.temporal: Path | None = None
        self._device, self._dtype = torch.device(settings.device), _DTYPES[settings.precision]
        self._people_a_call = _CPU_PEOPLE if self._device.type == "cpu" else settings.batch
        self._shared_crops = settings.shared_crops
        self._calls = CallThreads(settings.threads) if self._device.type == "cpu" else None
        self.windows_wanted = max(settings.batch, _CPU_PEOPLE * settings.threads) if self._calls else settings.batch
        self.preprocess: Preprocess = model.config.preprocess
        self.keypoints: KeypointSet = self.preprocess.keypoints
        self.calibration = model.config.calibration
        self._order = torch.channels_last if settings.channels_last else torch.contiguous_format
        model.backbone.to(memory_format=self._order)
        self._keepers = [
            MapKeeper(
                self._encode_crops,
                self.preprocess,
                device=self._device,
                shared_crops=settings.shared_crops,
                mirrored=mirrored,
            )
            for mirrored in ((False, True) if settings.flip_test else (False,))
        ]
        self._encode, self._fuse, self._places = model.encode, model.fuse, model.places
        if settings.compiled:
            self._compile()

    def close(self) -> None:
        """End the threads of the calls."""
        if self._calls:
            self._calls.close()

    @classmethod
    def load(
        cls,
        path: Path,
        settings: EstimatorSettings,
        *,
        temporal: Path | None = None,
        replace_temporal: bool = False,
    ) -> Self:
        """Load weights and put them on the device.

        Args:
            path: The weights.
            settings: How they are run.
            temporal: Weights whose temporal part is put on a model that has learnt none of its own, if it fits.
            replace_temporal: Put it on any model; that it does not fit is an error then.

        Raises:
            JmposeError: The file is damaged, incomplete or no pose model, the temporal part does not fit it, it does
                not fit into the GPU's memory, or it cannot be compiled here.
        """
        try:
            model, used = load_model(path), None
            if temporal is not None and (replace_temporal or not model.is_trained_in_time):
                model, used = _in_time(model, temporal, required=replace_temporal)
        except (ConfigError, WeightsError) as error:
            raise JmposeError(error.message, hint=error.hint) from error
        fold_batch_norms(model)
        require_memory(
            model,
            torch.device(settings.device),
            windows=settings.batch,
            dtype=_DTYPES[settings.precision],
            flip_test=settings.flip_test,
        )
        model.to(settings.device)
        estimator = cls(model, settings, name=model.config.name, sha256=weights_sha256(path))
        estimator.temporal = used
        return estimator

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compile both parts of the network and run them once, as compilers fail only then."""
        self._encode = torch.compile(self._encode, dynamic=False)
        self._fuse = torch.compile(self._fuse, dynamic=False)
        people, size = self._people_a_call, (self.preprocess.input_height, self.preprocess.input_width)
        picture = torch.zeros(1, *size, 3, dtype=torch.uint8, device=self._device)
        rows = torch.zeros(people, dtype=torch.int64, device=self._device)
        affine = torch.eye(2, 3, device=self._device).expand(people, 2, 3)
        exists = torch.ones(people, self.preprocess.frames, dtype=torch.bool, device=self._device)
        try:
            seen = self._encode_crops(picture, rows, affine)
            maps = PersonMaps(affine[0], tuple(each[0] for each in seen.maps), seen.heatmaps[0])
            self._fuse_windows([[maps] * self.preprocess.frames] * people, exists)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, OSError, ImportError, SubprocessError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise JmposeError(
                f"pose.compile: torch.compile does not work here ({reason})",
                hint="the CPU needs a C++ compiler such as g++, a GPU Triton and gcc; or leave --compile out",
            ) from error

    def estimate(self, frames: Sequence[Windows]) -> list[FramePoses]:
        """Estimate the poses of all people of some key frames.

        The result for a person does not depend on who else is in the call.

        Args:
            frames: The windows of each key frame, all of one video.

        Returns:
            One `FramePoses` a key frame, joints and covariances in image pixels, probabilities if they are calibrated.
        """
        return self._estimate(frames, with_initial=False)[0]

    def estimate_both(self, frames: Sequence[Windows]) -> tuple[list[FramePoses], list[FramePoses]]:
        """Like `estimate`, and beside it what the backbone alone sees in the key frames: the single-frame baseline."""
        final, initial = self._estimate(frames, with_initial=True)
        return final, initial

    @torch.inference_mode()
    def _estimate(self, frames: Sequence[Windows], *, with_initial: bool) -> list[list[FramePoses]]:
        """Poses of the final heatmaps and, when asked, of the initial ones."""
        people = [len(w.key.people) for w in frames]
        kinds = 1 + with_initial
        if not sum(people):
            joints = np.zeros((0, len(self.keypoints), 3), np.float32)
            nobody = joints[..., :2], joints[..., 0], joints
            return [[self._frame_poses(w, *nobody) for w in frames] for _ in range(kinds)]
        views = [keeper.look_up(frames) for keeper in self._keepers]
        exists = torch.from_numpy(np.concatenate([w.exists for w in frames])).to(self._device)
        step, last = self._people_a_call, len(exists) - 1

        @torch.inference_mode()  # holds for one thread only
        def call(start: int) -> list[tuple[Float, ...]]:
            # The last call is filled up with its last window, to keep the shape.
            part = [min(row, last) for row in range(start, start + step)]
            found = self._locate([[view[row] for row in part] for view in views], exists[part], kinds=kinds)
            left = len(exists) - start
            return [tuple(each[:left].cpu().numpy() for each in kind) for kind in found]

        located = self._map(call, range(0, len(exists), step))
        splits = np.cumsum(people)[:-1]
        results = []
        for kind in zip(*located, strict=True):
            per_frame = (np.split(np.concatenate(parts), splits) for parts in zip(*kind, strict=True))
            results.append([self._frame_poses(*frame) for frame in zip(frames, *per_frame, strict=True)])
        return results

    def _map(self, call: Callable[[int], Result], starts: range) -> list[Result]:
        """Make the calls, side by side on a CPU."""
        return self._calls.map(call, starts) if self._calls else [call(start) for start in starts]

    def _encode_crops(self, pictures: Tensor, rows: Tensor, affine: Tensor) -> FrameFeatures:
        """Run the backbone on crops, some at a time; see `MapKeeper`."""
        size = (self.preprocess.input_height, self.preprocess.input_width)
        step, last = self._people_a_call, len(rows) - 1

        @torch.inference_mode()  # holds for one thread only
        def call(start: int) -> FrameFeatures:
            part = torch.arange(start, start + step, device=self._device).clamp(max=last)
            crops = normalise(sample_crops(pictures, rows[part], affine[part], size), self.preprocess)
            with self._arithmetic():
                return self._encode(crops.contiguous(memory_format=self._order))

        parts = self._map(call, range(0, len(rows), step))
        maps, heatmaps = zip(*((part.maps, part.heatmaps) for part in parts), strict=True)
        # The small maps of the temporal part are faster in the ordinary order.
        joined = [torch.cat(each)[: len(rows)].contiguous() for each in (heatmaps, *zip(*maps, strict=True))]
        return FrameFeatures(tuple(joined[1:]), joined[0])

    def _fuse_windows(self, people: Sequence[Sequence[PersonMaps]], exists: Tensor) -> tuple[Tensor, Tensor]:
        """Run the temporal part; return the final and the initial heatmaps `[B, K, h, w]`."""
        with self._arithmetic():
            output = self._fuse(arrange(people, self._places, self.preprocess, lay=not self._shared_crops), exists)
        return output.heatmaps, output.initial_key

    def _locate(
        self, views: Sequence[Sequence[Sequence[PersonMaps]]], exists: Tensor, *, kinds: int
    ) -> list[tuple[Tensor, ...]]:
        """Return joints `[B, K, 2]`, scores `[B, K]` and covariances `[B, K, 3]`, in image pixels, of some windows."""
        preprocess = self.preprocess
        seen = [self._fuse_windows(view, exists) for view in views]
        heatmaps: Sequence[Tensor] = seen[0]
        if len(seen) > 1:
            flip_index, alignment = self.keypoints.flip_index, preprocess.heatmap_alignment
            both = zip(*seen, strict=True)
            heatmaps = [flip_average(maps, back, flip_index, alignment=alignment) for maps, back in both]
        affine = torch.stack([frames[preprocess.key_index].to_image for frames in views[0]])
        found: list[tuple[Tensor, ...]] = []
        for maps in heatmaps[:kinds]:
            xy, scores = decode_dark(maps, sigma=preprocess.heatmap_sigma)
            covariances = heatmap_covariances(maps, xy, sigma=preprocess.heatmap_sigma)
            size, alignment = preprocess.heatmap_size, preprocess.heatmap_alignment
            in_crop = heatmap_to_crop(xy, heatmap_size=size, alignment=alignment)
            in_image = covariances_to_image(covariances, affine, heatmap_size=size, alignment=alignment)
            found.append((crop_to_image(in_crop, affine), scores, in_image))
        return found

    def _arithmetic(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def _frame_poses(self, windows: Windows, xy: Float, scores: Float, covariances: Float) -> FramePoses:
        people, calibration = windows.key.people, self.calibration
        person_scores = score_people(scores, people.scores)
        poses = FramePoses(people, xy, scores, person_scores, covariances=covariances)
        if calibration is None:
            return poses
        poses = replace(poses, covariances=covariances * np.float32(calibration.covariance_scale))
        pixel_width = windows.key.pixel_width
        return replace(poses, probabilities=near_probabilities(poses, calibration, pixel_width=pixel_width))


def _in_time(model: JMPose, temporal: Path, *, required: bool) -> tuple[JMPose, Path | None]:
    """Put a temporal part on a model; leave the model alone where it does not fit and need not."""
    donor = load_model(temporal)
    try:
        return with_temporal_part(model, donor), temporal
    except ConfigError:
        if required:
            raise
        return model, None


def score_people(joint_scores: Float, box_scores: Float) -> Float:
    """Score people `[N]` by the mean of their joints `[N, K]` above 0.2, times the score of their boxes `[N]`."""
    counted = joint_scores > COUNTED_SCORE
    mean = (joint_scores * counted).sum(1) / np.maximum(counted.sum(1), 1)
    return np.asarray(mean * box_scores, np.float32)
