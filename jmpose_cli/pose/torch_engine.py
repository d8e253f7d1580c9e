"""The engine that runs everything, on every device: torch."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import Self

import numpy as np
import torch
from torch import Tensor

from jmpose.build import with_temporal_part
from jmpose.decoding import flip_average
from jmpose.errors import ConfigError, WeightsError
from jmpose.folding import fold_batch_norms
from jmpose.graphs import joints_in_image, lay_windows
from jmpose.network import FrameFeatures, JMPose
from jmpose.sampling import normalise, sample_crops
from jmpose.weights import load_model, weights_sha256
from jmpose_cli.device import convolution_order, set_float32_arithmetic, torch_calls
from jmpose_cli.errors import JmposeError
from jmpose_cli.foreign.graph import graph_sha256
from jmpose_cli.pose.cost import require_memory
from jmpose_cli.pose.estimator import EstimatorSettings, Located, PoseEstimator
from jmpose_cli.pose.graph_backbone import GraphBackbone, load_pose_graph
from jmpose_cli.pose.maps import PersonMaps
from jmpose_cli.values import Bools, Bytes, Float
from jmpose_cli.zoo.graph_files import is_graph

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEstimator(PoseEstimator):
    """Runs a network of torch; see `PoseEstimator`.

    Sets for the whole process whether float32 is exact on a GPU, see `set_float32_arithmetic`.

    Attributes:
        about: What a graph of another project needs, in a line; empty for other models.

    Args:
        model: The network, in eval mode, on its device.
        settings: How it is run.
        name: For headers and files.
        sha256: Of the weights file; None for a network without one.

    Raises:
        JmposeError: The network cannot be compiled here.
    """

    engine = "torch"
    about = ""

    def __init__(self, model: JMPose, settings: EstimatorSettings, *, name: str, sha256: str | None = None) -> None:
        set_float32_arithmetic(tf32=settings.precision == "tf32")
        self._device, self._dtype = torch.device(settings.device), _DTYPES[settings.precision]
        calls = torch_calls(settings.threads) if self._device.type == "cpu" else None
        super().__init__(model.config, settings, name=name, sha256=sha256, calls=calls)
        self._shared_crops = settings.shared_crops
        self._order = convolution_order(self._device)
        if settings.channels_last is not None:
            self._order = torch.channels_last if settings.channels_last else torch.contiguous_format
        model.backbone.to(memory_format=self._order)
        self._encode, self._fuse, self._places = model.encode, model.fuse, model.places
        if settings.compiled:
            self._compile()

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
            path: The weights, or a graph of another project.
            settings: How they are run.
            temporal: Weights whose temporal part is put on a model that has learnt none of its own, if it fits.
            replace_temporal: Put it on any model; that it does not fit is an error then.

        Raises:
            JmposeError: The file is damaged, incomplete or no pose model, the temporal part does not fit it, it does
                not fit into the GPU's memory, or it cannot be compiled here.
        """
        model, used = load_with_temporal(path, temporal, replace_temporal=replace_temporal)
        fold_batch_norms(model)
        if is_graph(path):  # runs on the CPU; temporal parts are small
            sha256 = graph_sha256(path)
        else:
            sha256 = weights_sha256(path)
            require_memory(
                model,
                torch.device(settings.device),
                windows=settings.batch,
                dtype=_DTYPES[settings.precision],
                flip_test=settings.flip_test,
            )
        model.to(settings.device)
        estimator = cls(model, settings, name=model.config.name, sha256=sha256)
        estimator.temporal = used
        if isinstance(model.backbone, GraphBackbone):
            estimator.engine, estimator.about = model.backbone.engine, model.backbone.description
        return estimator

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compile both parts of the network and run them once, as compilers fail only then."""
        self._encode = torch.compile(self._encode, dynamic=False)
        self._fuse = torch.compile(self._fuse, dynamic=False)
        people, size = self._people_a_call, (self.preprocess.input_height, self.preprocess.input_width)
        affine = np.tile(np.eye(2, 3, dtype=np.float32), (people, 1, 1))
        exists = np.ones((people, self.preprocess.frames), bool)
        try:
            seen = next(iter(self._look([np.zeros((*size, 3), np.uint8)], [0] * people, affine)))
            self._fuse_windows([[seen] * self.preprocess.frames] * people, exists)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, OSError, ImportError, SubprocessError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise JmposeError(
                f"pose.compile: torch.compile does not work here ({reason})",
                hint="the CPU needs a C++ compiler such as g++, a GPU Triton and gcc; or leave --compile out",
            ) from error

    @torch.inference_mode()
    def _look(self, pictures: Sequence[Bytes], rows: Sequence[int], affine: Float) -> Iterable[PersonMaps]:
        """Run the backbone on crops; see `MapKeeper`."""
        size = (self.preprocess.input_height, self.preprocess.input_width)
        frames = self._put(np.stack(pictures))
        frame_of, to_image = torch.tensor(rows), torch.from_numpy(affine)

        @torch.inference_mode()  # holds for one thread only
        def call(part: Sequence[int]) -> FrameFeatures:
            crops = normalise(sample_crops(frames, frame_of[part], to_image[part], size), self.preprocess)
            with self._arithmetic():
                return self._encode(crops.contiguous(memory_format=self._order))

        parts = self._in_calls(call, len(rows))
        maps, heatmaps = zip(*((part.maps, part.heatmaps) for part in parts), strict=True)
        # The small maps of the temporal part are faster in the ordinary order.
        joined = [torch.cat(each)[: len(rows)].contiguous() for each in (heatmaps, *zip(*maps, strict=True))]
        return [PersonMaps(*each) for each in zip(affine, zip(*joined[1:], strict=True), joined[0], strict=True)]

    def _fuse_windows(self, people: Sequence[Sequence[PersonMaps]], exists: Bools) -> tuple[Tensor, Tensor]:
        """Run the temporal part; return the final and the initial heatmaps `[B, K, h, w]`."""
        with self._arithmetic():
            windows = arrange(people, self._places)
            if not self._shared_crops:
                to_image = np.stack([[person.to_image for person in frames] for frames in people])
                windows = lay_windows(windows, self._put(to_image), self._places, self.preprocess)
            output = self._fuse(windows, self._put(exists))
        return output.heatmaps, output.initial_key

    @torch.inference_mode()
    def _locate(self, views: Sequence[Sequence[Sequence[PersonMaps]]], exists: Bools, *, kinds: int) -> Tensor:
        """Find joints, scores and covariances: `[kinds, N, K, 2 + 1 + 3]`, still on the device."""
        preprocess = self.preprocess
        seen = [self._fuse_windows(view, exists) for view in views]
        heatmaps: Sequence[Tensor] = seen[0]
        if len(seen) > 1:
            flip_index, alignment = self.keypoints.flip_index, preprocess.heatmap_alignment
            both = zip(*seen, strict=True)
            heatmaps = [flip_average(maps, back, flip_index, alignment=alignment) for maps, back in both]
        affine = np.stack([frames[preprocess.key_index].to_image for frames in views[0]])
        to_image = self._put(affine)
        found = []
        for maps in heatmaps[:kinds]:
            xy, scores, covariances = joints_in_image(maps, to_image, preprocess)
            found.append(torch.cat([xy, scores[..., None], covariances], -1))
        return torch.stack(found)

    def _fetch(self, located: Tensor) -> list[Located]:
        return [(each[..., :2], each[..., 2], each[..., 3:]) for each in located.cpu().numpy()]

    def _put(self, array: np.ndarray) -> Tensor:
        """Bring an array to the device, without waiting for what the device has to do before."""
        return torch.from_numpy(array).to(self._device, non_blocking=True)

    def _arithmetic(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)


def arrange(people: Sequence[Sequence[PersonMaps]], places: Sequence[Sequence[int]]) -> FrameFeatures:
    """Put the maps of N people in T frames into windows: maps `[N, places, *, h, w]` and heatmaps `[N, T, K, h, w]`.

    Args:
        people: Of each person in each frame of the window.
        places: `JMPose.places`.
    """

    def stacked(maps: Iterable[Tensor]) -> Tensor:
        flat = torch.stack(list(maps))
        return flat.view(len(people), -1, *flat.shape[1:])

    heatmaps = stacked(person.heatmaps for frames in people for person in frames)
    maps = (
        stacked(frames[place].maps[number] for frames in people for place in at) for number, at in enumerate(places)
    )
    return FrameFeatures(tuple(maps), heatmaps)


def load_with_temporal(path: Path, temporal: Path | None, *, replace_temporal: bool) -> tuple[JMPose, Path | None]:
    """Load a model and say which temporal part was put on it; see `TorchEstimator.load`.

    Raises:
        JmposeError: As there.
    """
    try:
        model = load_pose_graph(path) if is_graph(path) else load_model(path)
        if temporal is None or (model.is_trained_in_time and not replace_temporal):
            return model, None
        donor = load_model(temporal)
        try:
            return with_temporal_part(model, donor), temporal
        except ConfigError:
            if replace_temporal:
                raise
            return model, None
    except (ConfigError, WeightsError) as error:
        raise JmposeError(error.message, hint=error.hint) from error
