"""The pose files that a run can leave, by the names that users give to `--format`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from jmpose.keypoints import KeypointSet
from jmpose_cli.formats.base import PoseWriter, VideoMeta
from jmpose_cli.formats.coco import CocoWriter
from jmpose_cli.formats.posetrack18 import PoseTrack18Writer
from jmpose_cli.formats.tabular import CsvWriter

FormatName = Literal["coco", "posetrack18", "csv"]
FILE_NAMES: dict[FormatName, str] = {
    "coco": "keypoints.coco.json",
    "posetrack18": "posetrack18.json",
    "csv": "keypoints.csv",
}


def open_writer(
    name: FormatName,
    folder: Path,
    meta: VideoMeta,
    keypoints: KeypointSet,
    *,
    info: dict[str, Any],
    smoothed: bool,
    written: KeypointSet | None = None,
) -> PoseWriter:
    """Start one pose file in `folder`, under its name from `FILE_NAMES`.

    Args:
        name: Which format.
        folder: An existing folder.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        info: For the COCO file's `info`: tool version, model and the like.
        smoothed: The poses will carry `xy_raw_image`.
        written: Keypoint set of the file; None takes the format's own choice. PoseTrack18 has its own always.

    Raises:
        JmposeError: The file cannot be created.
    """
    path = folder / FILE_NAMES[name]
    openers: dict[FormatName, Callable[[], PoseWriter]] = {
        "coco": lambda: CocoWriter(path, meta, keypoints, info=info, written=written),
        "posetrack18": lambda: PoseTrack18Writer(path, meta, keypoints),
        "csv": lambda: CsvWriter(path, meta, keypoints, with_raw=smoothed, written=written),
    }
    return openers[name]()
