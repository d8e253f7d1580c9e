"""The formats that `jmpose convert` writes, by the names that users give to `--to`.

A new format is one file with the function that writes it and one entry here: options, endings and what is said to be
lost follow. Imports nothing heavy: `jmpose --help` lists the formats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jmpose_cli.extras import HANDOVER, require

if TYPE_CHECKING:
    from jmpose_cli.handover.handover import Handover


@dataclass(frozen=True)
class Target:
    """A format to write.

    Attributes:
        name: As in `--to`.
        suffix: Ending of a file; empty for formats that are a folder of files.
        description: A few words for tables.
        holds: What it has a place for, by the names of `convert_joints.THINGS`.
        write: Writes it.
        packages: What must be installed beside jmpose.
        extra: What installs them.
        tracked: Everybody needs a track id.
    """

    name: str
    suffix: str
    description: str
    holds: frozenset[str]
    write: "Callable[[Handover], None]"
    packages: tuple[str, ...] = ()
    extra: str = HANDOVER
    tracked: bool = False

    def check(self) -> None:
        """Make sure that it can be written.

        Raises:
            JmposeError: A package is missing or broken.
        """
        for package in self.packages:
            require(package, extra=self.extra, by=f"--to {self.name}")


TARGETS: dict[str, Target] = {}
_JOINTS = frozenset({"joints", "track ids"})
_SCORED = _JOINTS | {"scores of joints"}
_FRAMES = frozenset({"frames without people"})
_VISIBLE = frozenset({"visibility of joints"})
_POSETRACK17 = _SCORED | _FRAMES | _VISIBLE | {"ignore regions", "head boxes", "marks of frames without annotation"}
_POSETRACK17 |= {"scores of people"}
_POSETRACK18 = _POSETRACK17 | {"boxes of whole people", "sizes of pictures", "times"}
_COCO = _POSETRACK18 - {"ignore regions"} | {"areas", "marks of crowds", "what `info` says"}
_TABLE = _SCORED | {"scores of people", "boxes of whole people", "times"}


def _target(
    name: str,
    suffix: str,
    description: str,
    holds: frozenset[str],
    *,
    packages: tuple[str, ...] = (),
    extra: str = HANDOVER,
    tracked: bool = False,
) -> "Callable[[Callable[[Handover], None]], None]":
    """Enter a format by the function that writes it."""

    def enter(write: "Callable[[Handover], None]") -> None:
        TARGETS[name] = Target(name, suffix, description, holds, write, packages, extra, tracked)

    return enter


@_target("posetrack17", ".json", "PoseTrack17", _POSETRACK17, tracked=True)
def _posetrack17(given: "Handover") -> None:
    from jmpose_cli.handover.dataset_write import posetrack17

    given.write(posetrack17(given.records, given.notes))


@_target("posetrack18", ".json", "PoseTrack18", _POSETRACK18, tracked=True)
def _posetrack18(given: "Handover") -> None:
    from jmpose_cli.handover.dataset_write import posetrack18

    given.write(posetrack18(given.records, given.notes))


@_target("posetrack21", ".json", "PoseTrack21", _POSETRACK18 | {"ids of persons across videos"}, tracked=True)
def _posetrack21(given: "Handover") -> None:
    from jmpose_cli.handover.dataset_write import posetrack21

    given.write(posetrack21(given.records, given.notes))


@_target("coco", ".json", "COCO data set", _COCO)
def _coco(given: "Handover") -> None:
    from jmpose_cli.handover.dataset_write import coco

    given.write(coco(given.records, given.notes))


@_target("coco-results", ".json", "COCO results", frozenset({"joints", "scores of joints", "scores of people"}))
def _coco_results(given: "Handover") -> None:
    from jmpose_cli.handover.dataset_write import coco_results

    given.write(coco_results(given.records, given.notes))


@_target("csv", ".csv", "table", _TABLE)
def _csv(given: "Handover") -> None:
    from jmpose_cli.formats.tabular import records_csv

    given.write(records_csv(given.records).encode())


@_target("parquet", ".parquet", "the same table in types", _TABLE, packages=("pyarrow",), extra="parquet")
def _parquet(given: "Handover") -> None:
    from jmpose_cli.formats.parquet import records_parquet

    given.write(records_parquet(given.records))


@_target("mot", ".txt", "MOT text", frozenset({"track ids", "boxes of whole people", "scores of people"}), tracked=True)
def _mot(given: "Handover") -> None:
    from jmpose_cli.handover.dataset_write import mot

    given.write(mot(given.records, given.notes))


@_target(
    "cvat",
    ".xml",
    "CVAT for video 1.1, a skeleton track for each person",
    _JOINTS | _VISIBLE | _FRAMES | {"sizes of pictures"},
    tracked=True,
)
def _cvat(given: "Handover") -> None:
    from jmpose_cli.handover.cvat import write_cvat

    write_cvat(given)


@_target("cvat-labels", ".json", "the labels that a CVAT task for it needs", frozenset(), tracked=True)
def _cvat_labels(given: "Handover") -> None:
    from jmpose_cli.handover.cvat import write_cvat_labels

    write_cvat_labels(given)


@_target("openpose", "", "OpenPose, a JSON file for each frame, BODY_25", _SCORED | _FRAMES, tracked=True)
def _openpose(given: "Handover") -> None:
    from jmpose_cli.handover.openpose import write_openpose

    write_openpose(given)


@_target(
    "alphapose",
    ".json",
    "AlphaPose results, Halpe's 26 joints",
    _SCORED | {"scores of people", "boxes of whole people"},
    tracked=True,
)
def _alphapose(given: "Handover") -> None:
    from jmpose_cli.handover.alphapose import write_alphapose

    write_alphapose(given)


@_target("trc", "", "OpenSim markers, a file for each person, pixels", _JOINTS | _FRAMES, tracked=True)
def _trc(given: "Handover") -> None:
    from jmpose_cli.handover.trc import write_trc

    write_trc(given)


@_target("c3d", ".c3d", "C3D markers, pixels", _JOINTS | _FRAMES, packages=("ezc3d",), tracked=True)
def _c3d(given: "Handover") -> None:
    from jmpose_cli.handover.c3d import write_c3d

    write_c3d(given)


@_target("dlc", ".csv", "DeepLabCut, CSV of several animals", _SCORED | _FRAMES, tracked=True)
def _dlc(given: "Handover") -> None:
    from jmpose_cli.handover.deeplabcut import write_csv

    write_csv(given)


@_target(
    "dlc-h5", ".h5", "DeepLabCut, the same in HDF5", _SCORED | _FRAMES, packages=("pandas", "tables"), tracked=True
)
def _dlc_h5(given: "Handover") -> None:
    from jmpose_cli.handover.deeplabcut import write_h5

    write_h5(given)


@_target(
    "sleap",
    ".slp",
    "SLEAP",
    _SCORED | _FRAMES | {"scores of people", "sizes of pictures", "what `info` says"},
    packages=("sleap_io",),
    tracked=True,
)
def _sleap(given: "Handover") -> None:
    from jmpose_cli.handover.sleap import write_sleap

    write_sleap(given)


@_target(
    "nwb",
    ".nwb",
    "NWB with ndx-pose",
    _SCORED | _FRAMES | {"times", "sizes of pictures"},
    packages=("pynwb", "ndx_pose"),
    tracked=True,
)
def _nwb(given: "Handover") -> None:
    from jmpose_cli.handover.nwb import write_nwb

    write_nwb(given)


@_target("frames", "", "frames with people as images, with a COCO file", _COCO - _FRAMES, tracked=True)
def _frames(given: "Handover") -> None:
    from jmpose_cli.handover.frames import write_frames

    write_frames(given)
