"""Poses that the model of a clip is asked for one at a time, in a box that somebody has drawn."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from jmpose.keypoints import KeypointSet
from jmpose_cli.api import Annotator
from jmpose_cli.clips.operation import Box, Frame, TrackId, check_box, place
from jmpose_cli.clips.operations import Estimated, first_fault
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import SCORE_DECIMALS
from jmpose_cli.formats.truth import Truth
from jmpose_cli.text import to_json
from jmpose_cli.values import FramePoses

_ID = 1
NEAR = 64
"""Frames before and after within which a track tells where a person is."""


class EstimateRequest(BaseModel):
    """Whose pose is wanted.

    Attributes:
        frame: Where.
        track: Who; None means somebody new.
        box: Where to look.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    frame: Frame
    track: TrackId | None = None
    box: Box


def request_in(given: Mapping[str, Any]) -> EstimateRequest:
    """Read a request from a JSON object that the page has sent.

    Raises:
        JmposeError: It is none.
    """
    try:
        wanted = {name: value for name, value in given.items() if name != "revision"}
        return EstimateRequest.model_validate_json(to_json(wanted))
    except ValidationError as error:
        raise JmposeError(f"not a box of a frame: {first_fault(error)}") from error


def operation_for(
    truth: Truth, wanted: EstimateRequest, estimator: "Estimator", video: Path, config: InferConfig
) -> Estimated:
    """Return the operation that gives a person of a clip the pose that the model finds.

    Raises:
        JmposeError: There is no such frame, the box is empty, or as from `Estimator.pose`.
    """
    operation = Estimated(frame=wanted.frame, track=wanted.track, box=wanted.box, score=0.0, joints=_NOTHING)
    check_box(operation, wanted.box)
    here = place(truth, wanted.frame)
    mine = np.flatnonzero((truth.track_ids == wanted.track) & (np.abs(truth.frame - here) <= NEAR))
    numbers, corners = truth.index[truth.frame[mine]].tolist(), truth.boxes_xyxy_px[mine].tolist()
    boxes = {number: box for number, box in zip(numbers, corners, strict=True) if box[0] < box[2] and box[1] < box[3]}
    keypoints, poses = estimator.pose(video, config, truth.video.fps, wanted.frame, boxes | {wanted.frame: wanted.box})
    columns: dict[str, Any] = {
        "joints": np.concatenate([poses.xy_image[0], poses.scores[0][:, None]], 1),
        "covariances": poses.covariances if poses.covariances is None else poses.covariances[0],
        "probabilities": poses.probabilities if poses.probabilities is None else poses.probabilities[0],
    }
    known = [(at, name) for at, name in enumerate(keypoints.joints) if name in truth.keypoints.joints]
    if not known:
        raise JmposeError("the model knows none of the joints of the clip", hint="see pose.model in its run.json")
    return operation.model_copy(
        update={
            "score": float(poses.person_scores[0].clip(0, 1).round(SCORE_DECIMALS)),
            "model": config.pose.model,
            **{
                name: {joint: _values(rows[at]) for at, joint in known}
                for name, rows in columns.items()
                if rows is not None
            },
        }
    )


def _values(row: Any) -> Any:
    return tuple(row.astype(float).round(3).tolist()) if row.ndim else float(row.round(SCORE_DECIMALS))


_NOTHING = {"": (0.0, 0.0, 0.0)}  # until the model has said


class Estimator:
    """Estimates single poses as `jmpose infer` would; may be used by many threads, and does one after the other.

    The networks are loaded when they are first needed, in a thread of its own, and kept until a clip wants others.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "estimator")
        self._loaded: tuple[InferConfig, Annotator] | None = None

    def pose(
        self, video: Path, config: InferConfig, fps: float, frame: int, boxes: Mapping[int, Box]
    ) -> tuple[KeypointSet, FramePoses]:
        """Estimate the pose of one person.

        Args:
            video: The video.
            config: How its clip was made.
            fps: Frames of the video in a second, about.
            frame: Number of the frame.
            boxes: Where the person is, by frame: in this one, and in those around it as far as that is known; the
                nearest one holds for the others.

        Returns:
            The joints that the model knows, and one person's pose in image pixels.

        Raises:
            JmposeError: The model cannot be loaded, or the video cannot be decoded.
        """
        return self._worker.submit(self._pose, video, config, fps, frame, boxes).result()

    def close(self) -> None:
        """Let go of the networks, when the pose that is being estimated is there."""
        if self._loaded is not None:
            self._worker.submit(self._unload)
        self._worker.shutdown(cancel_futures=False)

    def _pose(
        self, video: Path, config: InferConfig, fps: float, frame: int, boxes: Mapping[int, Box]
    ) -> tuple[KeypointSet, FramePoses]:
        from jmpose_cli.annotate.stages import spacing_for

        annotator = self._annotator(config)
        reach = spacing_for(annotator.load(), fps).reach
        around = range(max(frame - reach, 0), frame + reach + 1)
        rows = {index: [[*boxes[_nearest(boxes, index)], 1.0, _ID]] for index in around}
        with closing(annotator.frames(video, boxes=rows, frames=(around.start, around.stop))) as found:
            for poses in found:
                if poses.index == frame and len(poses):
                    return annotator.keypoints, poses
        raise JmposeError(f"{video}: frame {frame} cannot be decoded", hint="see whether the video plays there")

    def _annotator(self, config: InferConfig) -> Annotator:
        """Return the networks of a clip's model, those at hand if they are."""
        wanted = InferConfig(pose=config.pose.model_copy(update={"smooth": False}), decode=config.decode)
        if self._loaded is None or self._loaded[0] != wanted:
            self._unload()
            settings = {
                **{f"pose.{name}": value for name, value in wanted.pose},
                **{f"decode.{name}": value for name, value in wanted.decode if name not in ("frames", "time")},
            }
            annotator = Annotator(wanted.pose.model, detector=None, settings=settings)
            self._loaded = wanted, annotator
        return self._loaded[1]

    def _unload(self) -> None:
        if self._loaded is not None:
            self._loaded[1].close()
            self._loaded = None


def _nearest(boxes: Mapping[int, Box], index: int) -> int:
    return min(boxes, key=lambda known: abs(known - index))
