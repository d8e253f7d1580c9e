"""Read pose files of any known format into the neutral form; the format is recognised by the content."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jmpose.keypoints import COCO17, LSP14, MPII16
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.dataset import read_dataset, read_results
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.mot import read_mot
from jmpose_cli.formats.posetrack17 import read_posetrack17
from jmpose_cli.formats.records import FormatKind, PoseRecords, Record, kind_of

_POSETRACK_ONLY = {"head_bottom", "head_top"}
_WITH_HEAD_TOP = [set(s.joints) for s in (LSP14, MPII16)]
_KNOWN = (
    "PoseTrack17, 18 and 21 JSON, COCO keypoint data sets and results lists, MOT text (.txt), CVAT for video and for "
    "images (.xml), DeepLabCut (.csv, .h5), SLEAP (.slp)"
)
OTHER_SUFFIXES: Mapping[str, FormatKind] = MappingProxyType(
    {".txt": "mot", ".xml": "cvat", ".csv": "dlc", ".h5": "dlc", ".slp": "sleap"}
)
"""Endings of files that are no JSON."""
READABLE = (".json", *OTHER_SUFFIXES)


def read_poses(path: Path, *, kind: FormatKind | None = None) -> PoseRecords:
    """Read a pose file.

    Args:
        path: JSON, or what `OTHER_SUFFIXES` says by the ending of its name.
        kind: The format that is wanted; None takes any.

    Raises:
        JmposeError: The file is missing, broken, of no known or of another format, a package that reads it is not
            installed, or a field is missing, of the wrong kind or length, not finite or doubled; the message names the
            record and the field.
    """
    return poses_in(path, read_json(path) if is_json(path) else None, kind=kind)


def is_json(path: Path) -> bool:
    """Whether a pose file is JSON, by its name."""
    return path.suffix.lower() not in OTHER_SUFFIXES


def poses_in(path: Path, data: Any, *, kind: FormatKind | None = None) -> PoseRecords:
    """Read the poses of a file; `data` is its parsed JSON, if it `is_json`.

    Raises:
        JmposeError: As `read_poses`.
    """
    found = recognise(path, data) if is_json(path) else OTHER_SUFFIXES[path.suffix.lower()]
    if kind is not None and found != kind:
        raise JmposeError(f"{path} is a {found} file", hint=f"a {kind} file is wanted; `jmpose convert` makes one")
    if not is_json(path):
        return _read_other(path, found)
    if found == "posetrack17":
        return read_posetrack17(path, data["annolist"])
    if found == "coco-results":
        return read_results(path, data)
    return read_dataset(path, data, found)


def _read_other(path: Path, kind: FormatKind) -> PoseRecords:
    if kind == "mot":
        return read_mot(path)
    if kind == "cvat":
        from jmpose_cli.formats.cvat import read_cvat

        return read_cvat(path)
    if kind == "dlc":
        from jmpose_cli.formats.deeplabcut import read_csv, read_h5

        return read_h5(path) if path.suffix.lower() == ".h5" else read_csv(path)
    from jmpose_cli.formats.sleap import read_sleap

    return read_sleap(path)


def recognise(path: Path, data: Any) -> FormatKind:
    """Tell the format of parsed JSON.

    Raises:
        JmposeError: None is known to look like this, or it looks like two.
    """
    if isinstance(data, list):
        return "coco-results"
    if not isinstance(data, dict):
        raise JmposeError(f"{path}: the top level is {kind_of(data)}", hint=f"known: {_KNOWN}")
    if "annolist" in data:
        if "images" in data or "annotations" in data:
            hint = "a PoseTrack17 file has the one, PoseTrack18 and COCO files the others"
            raise JmposeError(f"{path} has `annolist` beside `images` or `annotations`", hint=hint)
        return "posetrack17"
    if "images" not in data:
        keys = ", ".join(list(data)[:5]) or "nothing"
        raise JmposeError(f"{path}: an object with {keys}", hint=f"known: {_KNOWN}")
    if _looks_like_21(data):
        return "posetrack21"
    names = [category.get("keypoints") for category in _objects(data.get("categories"))]
    joints = {joint for listed in names if isinstance(listed, list) for joint in listed if isinstance(joint, str)}
    if joints >= set(COCO17.joints):  # PoseTrack has no eyes
        return "coco"
    if joints in _WITH_HEAD_TOP:
        return "coco"
    first = next(iter(_objects(data["images"])), {})
    is_video = "vid_id" in first
    if joints & _POSETRACK_ONLY:
        # A truth of ours has the joints of its model, which may be PoseTrack's.
        return "coco" if "reviewed" in first and not is_video else "posetrack18"
    # With PoseTrack's fields and joints that are nobody's, the joints are misspelt.
    return "posetrack18" if is_video else "coco"


def _objects(value: Any) -> list[Record]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _looks_like_21(data: Record) -> bool:
    """PoseTrack21 marks images with people and names people across videos; its submissions have no categories."""
    images, people = (_objects(data.get(section))[:1] for section in ("images", "annotations"))
    if any("has_labeled_person" in image for image in images) or any("person_id" in person for person in people):
        return True
    is_tracked = any("track_id" in person for person in people) or any("frame_id" in image for image in images)
    return "categories" not in data and is_tracked
