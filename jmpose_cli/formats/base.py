"""What every pose file writer shares: the video's description, checks, files that appear only when whole."""

import contextlib
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from jmpose.keypoints import KeypointSet
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import BUFFER_BYTES, PartialFile, explain_os_errors
from jmpose_cli.values import FramePoses

# A hundredth of a pixel is far below what any pose model resolves.
COORDINATE_DECIMALS = 2
SCORE_DECIMALS = 6
TIME_DECIMALS = 6


@dataclass(frozen=True)
class VideoMeta:
    """The video that a pose file is about.

    Attributes:
        name: Name of the video inside the files, usually the source's name without its ending.
        width: Frame width in pixels, turned upright.
        height: Frame height in pixels, turned upright.
        fps: Average frame rate.
        source: Name of the source file or folder.
        image_names: File name of each frame, by frame index, when the source is a folder of images;
            empty for a video, whose frames are named by number.
        image_ids: PoseTrack id of each frame, by frame index, when a data set has given them; else empty.
        pixel_aspect: Width over height of a pixel; coordinates count pixels, whatever their shape.
    """

    name: str
    width: int
    height: int
    fps: float
    source: str
    image_names: tuple[str, ...] = ()
    image_ids: tuple[int, ...] = ()
    pixel_aspect: tuple[int, int] = (1, 1)


class DatasetFile:
    """A JSON object with the lists `images` and `annotations` that grow side by side in constant memory.

    Both lists are spooled to nameless files in the target's folder (on the same disk, gone when the process
    is) and joined by `commit`. One record a line, so that line tools can compare two files.

    Args:
        path: The final name.

    Raises:
        JmposeError: The folder cannot be written to, or the disk is full (also from every method).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with explain_os_errors(path):
            self._images, self._annotations = (
                tempfile.TemporaryFile(dir=path.parent, buffering=BUFFER_BYTES)  # noqa: SIM115
                for _ in range(2)
            )

    def add_image(self, record: dict[str, Any]) -> None:
        """Append one record to `images`."""
        with explain_os_errors(self._path):
            self._images.write(orjson.dumps(record) + b"\n")

    def add_annotation(self, record: dict[str, Any]) -> None:
        """Append one record to `annotations`."""
        with explain_os_errors(self._path):
            self._annotations.write(orjson.dumps(record) + b"\n")

    def commit(self, head: dict[str, Any], *, image_extra: dict[str, Any] | None = None) -> None:
        """Write the file: the entries of `head`, then both lists.

        Args:
            head: Top-level entries before the lists; at least one.
            image_extra: Entries appended to every image record, for what is known only at the end.
        """
        tail = b"," + orjson.dumps(image_extra)[1:] if image_extra else b"}"
        try:
            with PartialFile(self._path) as target, explain_os_errors(self._path):
                target.write(orjson.dumps(head)[:-1])
                target.write(b',\n"images":[')
                _copy_lines(self._images, target, tail)
                target.write(b'],\n"annotations":[')
                _copy_lines(self._annotations, target, b"}")
                target.write(b"]}\n")
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop both spools."""
        for spool in (self._images, self._annotations):
            with contextlib.suppress(OSError):
                spool.close()


def _copy_lines(spool: IO[bytes], target: PartialFile, tail: bytes) -> None:
    """Copy the JSON objects of `spool`, one a line, with commas between and `tail` as each one's end."""
    spool.seek(0)
    separator = b"\n"
    for line in spool:
        target.write(separator + line[:-2] + tail)
        separator = b",\n"


class PoseWriter(ABC):
    """Takes the poses of one video frame by frame and leaves one file.

    A context manager: a clean exit finishes the file under its name, an exception removes what was written.
    Memory use does not depend on the length of the video. The same input gives the same bytes.

    Args:
        path: The file to write; its folder must exist.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.

    Attributes:
        notes: Sentences for the user about what the format could not hold; complete after the exit.
    """

    def __init__(self, path: Path, meta: VideoMeta, keypoints: KeypointSet) -> None:
        self.path = path
        self.notes: list[str] = []
        self._meta = meta
        self._keypoints = keypoints
        self._last_index = -1

    def write(self, poses: FramePoses) -> None:
        """Append one frame, also when it has no people.

        Args:
            poses: Frames must come in increasing order of `people.index`.

        Raises:
            JmposeError: A value is NaN or infinite, or the file cannot be written.
            ValueError: The frames are out of order or have another number of joints.
        """
        self._check(poses)
        self._write(poses)

    def _check(self, poses: FramePoses) -> None:
        """Check a frame, as `write` says."""
        index = poses.people.index
        if index <= self._last_index:
            raise ValueError(f"frame {index} written after frame {self._last_index}")
        if poses.xy_image.shape[1] != len(self._keypoints):
            expected = f"{self._keypoints.name} has {len(self._keypoints)}"
            raise ValueError(f"{poses.xy_image.shape[1]} joints given, {expected}")
        _check_finite(poses, self._meta.name)
        self._last_index = index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except BaseException:
            self._discard()
            raise

    @abstractmethod
    def _write(self, poses: FramePoses) -> None:
        """Append one checked frame."""

    @abstractmethod
    def _finish(self) -> None:
        """Complete the file under its name."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove everything written."""


def _check_finite(poses: FramePoses, video: str) -> None:
    # orjson writes NaN as null without a word.
    raw = poses.xy_image if poses.xy_raw_image is None else poses.xy_raw_image
    values = {
        "a box": poses.people.boxes_xyxy_px,
        "a box score": poses.people.scores[~np.isnan(poses.people.scores)],  # NaN: not known
        "a joint": poses.xy_image,
        "an unsmoothed joint": raw,
        "a joint score": poses.scores,
        "a person score": poses.person_scores,
        "the time": np.asarray(poses.people.time_s),
    }
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise JmposeError(
                f"{video}, frame {poses.people.index}: {name} is not a finite number",
                hint="half precision can overflow: try --precision fp32; otherwise the weights are damaged",
            )


def rounded(values: NDArray[Any], decimals: int = COORDINATE_DECIMALS) -> NDArray[np.float64]:
    """Round for the text form, in float64 (so that 0.1 is written `0.1`) and without negative zeros."""
    return np.asarray(np.round(values.astype(np.float64), decimals) + 0.0)


def boxes_xywh(boxes_xyxy_px: NDArray[Any]) -> NDArray[np.float64]:
    """Corners `[N, 4]` to left, top, width, height, rounded for the text form."""
    boxes = boxes_xyxy_px.astype(np.float64)
    return rounded(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1))


def flat_triples(xy: NDArray[Any], visibility: NDArray[np.int64]) -> list[list[float]]:
    """Joints `[N, K, 2]` and visibility `[N, K]` as COCO's lists of x, y, v; v = 0 clears x and y."""
    cleared = np.where((visibility > 0)[..., None], rounded(xy), 0.0)
    return [
        [value for (x, y), v in zip(points, flags, strict=True) for value in (x, y, v)]
        for points, flags in zip(cleared.tolist(), visibility.tolist(), strict=True)
    ]


def person_category(keypoints: KeypointSet, *, extra: int = 0) -> dict[str, Any]:
    """The `person` category of a keypoint set; pairs of the skeleton are 1-based as in COCO.

    Args:
        keypoints: The set.
        extra: Its last joints, as many, stand in `extra_keypoints`; pairs that end in one of them, counted on, in
            `extra_skeleton`.
    """
    base = len(keypoints) - extra
    pairs = [[a + 1, b + 1] for a, b in keypoints.skeleton_index]
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(keypoints.joints[:base]),
        "skeleton": [pair for pair in pairs if max(pair) <= base],
    }
    if extra:
        category["extra_keypoints"] = list(keypoints.joints[base:])
        category["extra_skeleton"] = [pair for pair in pairs if max(pair) > base]
    return category
