"""The pose files that a run can leave, by the names that users give to `--format`.

A new format is one file with its `PoseWriter` and one entry here: options, checks, file names and all else follow.
Imports nothing heavy: `jmpose --help` lists the formats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jmpose_cli.extras import require

if TYPE_CHECKING:
    from jmpose.keypoints import KeypointSet
    from jmpose_cli.formats.base import PoseWriter, VideoMeta


@dataclass(frozen=True)
class PoseFile:
    """What a writer is told.

    Attributes:
        path: The file; its folder exists.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        info: Tool version, model and the like.
        smoothed: The poses will carry `xy_raw_image`.
        written: Keypoint set of the file; None leaves it to the format.
    """

    path: Path
    meta: "VideoMeta"
    keypoints: "KeypointSet"
    info: dict[str, Any]
    smoothed: bool
    written: "KeypointSet | None"


@dataclass(frozen=True)
class PoseFormat:
    """A format of pose files.

    Attributes:
        name: As in `--format`.
        file_name: Of the file in a video's folder.
        description: A few words for `--help`.
        open: Starts a file.
        package: What must be installed beside jmpose, which has it as an extra of the format's name; else empty.
    """

    name: str
    file_name: str
    description: str
    open: "Callable[[PoseFile], PoseWriter]"
    package: str = ""

    def check(self) -> None:
        """Make sure that files can be written.

        Raises:
            JmposeError: A package is missing or broken.
        """
        if self.package:
            require(self.package, extra=self.name, by=f"--format {self.name}")


FORMATS: dict[str, PoseFormat] = {}


def _format(
    name: str, file_name: str, description: str, *, package: str = ""
) -> "Callable[[Callable[[PoseFile], PoseWriter]], None]":
    """Enter a format by the function that starts a file."""

    def enter(start: "Callable[[PoseFile], PoseWriter]") -> None:
        FORMATS[name] = PoseFormat(name, file_name, description, start, package)

    return enter


@_format("coco", "keypoints.coco.json", "COCO keypoints")
def _coco(file: PoseFile) -> "PoseWriter":
    from jmpose_cli.formats.coco import CocoWriter

    return CocoWriter(file.path, file.meta, file.keypoints, info=file.info, written=file.written)


@_format("posetrack18", "posetrack18.json", "PoseTrack18, always with its own joints")
def _posetrack18(file: PoseFile) -> "PoseWriter":
    from jmpose_cli.formats.posetrack18 import PoseTrack18Writer

    return PoseTrack18Writer(file.path, file.meta, file.keypoints)


@_format("csv", "keypoints.csv", "a table")
def _csv(file: PoseFile) -> "PoseWriter":
    from jmpose_cli.formats.tabular import CsvWriter

    return CsvWriter(file.path, file.meta, file.keypoints, with_raw=file.smoothed, written=file.written)


@_format("parquet", "keypoints.parquet", "the same table for pandas and the like", package="pyarrow")
def _parquet(file: PoseFile) -> "PoseWriter":
    from jmpose_cli.formats.parquet import ParquetWriter

    return ParquetWriter(file.path, file.meta, file.keypoints, with_raw=file.smoothed, written=file.written)


def open_writer(
    name: str,
    folder: Path,
    meta: "VideoMeta",
    keypoints: "KeypointSet",
    *,
    info: dict[str, Any],
    smoothed: bool,
    written: "KeypointSet | None" = None,
    file_name: str = "",
) -> "PoseWriter":
    """Start one pose file in `folder`.

    Args:
        name: Which format.
        folder: An existing folder.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        info: For the COCO file's `info`: tool version, model and the like.
        smoothed: The poses will carry `xy_raw_image`.
        written: Keypoint set of the file; None takes the format's own choice. PoseTrack18 has its own always.
        file_name: In place of the format's.

    Raises:
        JmposeError: The file cannot be created, or a package is missing.
    """
    form = FORMATS[name]
    form.check()
    return form.open(PoseFile(folder / (file_name or form.file_name), meta, keypoints, info, smoothed, written))
