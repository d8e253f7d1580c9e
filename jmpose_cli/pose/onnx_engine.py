"""The engine without torch: ONNX Runtime, in float32 on a CPU; the backbone also in int8. Also CUDA and TensorRT."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from jmpose.config import STRIDE, ModelConfig
from jmpose.crops import cut_crops
from jmpose.errors import ConfigError
from jmpose_cli.device import CallThreads
from jmpose_cli.errors import JmposeError
from jmpose_cli.home import library_folder
from jmpose_cli.onnx_graphs import QUANTISED, Graphs, GraphsError, Session
from jmpose_cli.onnx_providers import ON_CPU, Provider, is_tensorrt, keeping_engines, tensorrt_version
from jmpose_cli.pose.estimator import EstimatorSettings, Located, PoseEstimator
from jmpose_cli.pose.maps import PersonMaps
from jmpose_cli.values import Bools, Bytes, Float


class OnnxEstimator(PoseEstimator):
    """Runs the graphs that `write_pose_graphs` made of a model; see `PoseEstimator`.

    Args:
        graphs: Of the model.
        settings: How it is run.
        sha256: Of the weights file.
        temporal: Weights whose temporal part is in the graphs in the place of the model's own.
        provider: What runs the graphs: on the settings' device.

    Raises:
        GraphsError: The graphs cannot be used.
        JmposeError: The provider does not work here.
    """

    def __init__(
        self,
        graphs: Graphs,
        settings: EstimatorSettings,
        *,
        sha256: str | None,
        temporal: Path | None = None,
        provider: Provider = ON_CPU,
    ) -> None:
        facts = graphs.facts
        try:
            config = ModelConfig.from_dict(facts["config"])
            self._places = [[int(frame) for frame in at] for at in facts["places"]]
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise GraphsError(f"{graphs.folder}: the graphs are of no pose model ({error})", graphs.folder) from error
        calls = CallThreads(settings.threads) if settings.device == "cpu" else None
        super().__init__(config, settings, name=config.name, sha256=sha256, calls=calls)
        if facts.get("people_a_call") != self._people_a_call:
            raise GraphsError(f"{graphs.folder}: the graphs do not take {self._people_a_call} people", graphs.folder)
        self.engine = "tensorrt" if is_tensorrt(provider) else "onnx"
        self.temporal = temporal
        self._graphs, self._provider, self._settings = graphs, provider, settings
        self._encode = self._session(QUANTISED if settings.precision == "int8" else "encode")
        self._fuse = self._session("fuse")

    @cached_property
    def _decode(self) -> Session:
        """Only the flip test and the single-frame baseline find joints outside of the temporal part's graph."""
        return self._session("decode")

    def _session(self, graph: str) -> Session:
        """Load a graph; TensorRT keeps what it builds of it in the cache."""
        provider = self._provider
        if is_tensorrt(provider):
            import onnxruntime
            import torch

            folder = library_folder("tensorrt")
            if folder is None:
                raise JmposeError(
                    "--engine tensorrt: no cache that can be written to", hint="set JMPOSE_CACHE to a folder"
                )
            about = {
                "files": self._graphs.facts["files"].get(graph),
                "made_from": self._graphs.facts["made_from"],
                "gpu": torch.cuda.get_device_name(self._settings.device),
                "onnxruntime": onnxruntime.__version__,
                "tensorrt": tensorrt_version(),
            }
            # Joints in pixels of a picture are beyond float16.
            fp16 = self._settings.precision == "fp16" and graph == "encode"
            provider = keeping_engines(provider, str(folder), about, fp16=fp16)
        return self._graphs.session(graph, provider)

    def _look(self, pictures: Sequence[Bytes], rows: Sequence[int], affine: Float) -> Iterable[PersonMaps]:
        """Run the backbone on crops; see `MapKeeper`."""
        size = (self.preprocess.input_height, self.preprocess.input_width)

        def call(part: Sequence[int]) -> list[Float]:
            crops = cut_crops(pictures, [rows[crop] for crop in part], affine[part], size)
            return self._encode.run({"crops": crops})

        # The last call is filled up: its last crops are of nobody.
        found = zip(affine, product(self._in_calls(call, len(rows)), range(self._people_a_call)), strict=False)
        return [PersonMaps(to_image, tuple(m[at] for m in seen[1:]), seen[0][at]) for to_image, (seen, at) in found]

    def _locate(self, views: Sequence[Sequence[Sequence[PersonMaps]]], exists: Bools, *, kinds: int) -> list[Located]:
        key = self.preprocess.key_index
        to_image = np.stack([[seen.to_image for seen in frames] for frames in views[0]])
        if len(views) == 1:
            *final, fused = self._fuse.run(self._inputs(views[0], exists))
            if kinds == 1:
                return [(final[0], final[1], final[2])]
        initial = self._both_ways([np.stack([frames[key].heatmaps for frames in view]) for view in views])
        if len(views) > 1:
            fused = self._both_ways([self._fuse.run(self._inputs(view, exists), ["fused"])[0] for view in views])
        found = []
        for heatmaps in (fused, initial)[:kinds]:
            xy, scores, covariances = self._decode.run({"heatmaps": heatmaps, "to_image": to_image[:, key]})
            found.append((xy, scores, covariances))
        return found

    def _fetch(self, located: list[Located]) -> list[Located]:
        return located

    def _inputs(self, people: Sequence[Sequence[PersonMaps]], exists: Bools) -> dict[str, np.ndarray]:
        """Put the maps of people in T frames into the inputs of the temporal part's graph."""
        maps = {
            f"map{number}": np.stack([[frames[frame].maps[number] for frame in at] for frames in people])
            for number, at in enumerate(self._places)
        }
        heatmaps = np.stack([[seen.heatmaps for seen in frames] for frames in people])
        to_image = np.stack([[seen.to_image for seen in frames] for frames in people])
        return {"to_image": to_image, "exists": exists, "heatmaps": heatmaps, **maps}

    def _both_ways(self, views: Sequence[Float]) -> Float:
        """Average heatmaps `[N, K, h, w]` with those of the mirrored pictures, if there are any; see `flip_average`."""
        if len(views) == 1:
            return views[0]
        back = views[1][..., ::-1][:, list(self.keypoints.flip_index)]
        if self.preprocess.heatmap_alignment == "origins":
            left = np.concatenate([back[..., :1], back[..., :-1]], -1)
            back = back + (left - back) * np.float32((STRIDE - 1) / STRIDE)
        return np.asarray((views[0] + back) / 2, np.float32)
