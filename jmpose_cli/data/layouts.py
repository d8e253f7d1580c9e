"""Where annotations and pictures of a data set lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.safe_paths import OutsideError, path_inside

_ANNOTATIONS = ("annotations/{}", "posetrack_data/annotations/{}", "posetrack_data/{}", "{}")
_SHOWN = 10  # missing files that a message names


@dataclass(frozen=True)
class AnnotatedVideo:
    """One video of a data set, or the pictures of one COCO file.

    Attributes:
        name: As its annotation file.
        truth: The annotations.
        images: Its pictures, in the order of the annotations.
    """

    name: str
    truth: PoseRecords
    images: tuple[Path, ...]


def find_videos(root: Path, split: str) -> list[AnnotatedVideo]:
    """Find the videos of a split of a data set in one of PoseTrack's layouts (17, 18 or 21).

    Raises:
        JmposeError: No such folder, no annotations, or pictures that are not where the annotations say.
    """
    folders = [root / pattern.format(split) for pattern in _ANNOTATIONS]
    folder = next((f for f in folders if f.is_dir() and any(f.glob("*.json"))), None)
    if folder is None:
        raise JmposeError(
            f"{root}: no annotations of a split {split!r}",
            hint="looked for .json files in " + ", ".join(pattern.format(split) for pattern in _ANNOTATIONS),
        )
    videos = []
    for path in sorted(folder.glob("*.json")):
        truth = read_poses(path)
        videos.append(AnnotatedVideo(path.stem, truth, find_images(truth, [root, root / "posetrack_data", folder])))
    return videos


def find_stills(path: Path, *, scored: bool = False) -> AnnotatedVideo:
    """Read a COCO keypoint data set and find its pictures: beside the file, in `images/`, or a folder named alike.

    Args:
        path: The file.
        scored: Take the joints that COCO's evaluation looks at, without those beside them.

    Raises:
        JmposeError: The file is missing or another format, or pictures are missing.
    """
    if not path.is_file():
        raise JmposeError(f"{path}: no such file", hint="name a COCO keypoint file, such as val.json")
    truth = read_poses(path, kind="coco")
    if scored:
        truth = truth.without_extra_joints()
    roots = [path.parent, path.parent / "images", path.parent.parent, path.parent / path.stem]
    return AnnotatedVideo(path.stem, truth, find_images(truth, roots))


def find_images(records: PoseRecords, roots: Sequence[Path]) -> tuple[Path, ...]:
    """Resolve the `file_name` of every image against the first root that has any of them.

    Raises:
        JmposeError: Pictures are missing, up to ten are named; or a name leads out of the roots.
    """
    names = [image.file_name for image in records.images]
    root = next((root for root in roots for name in names if _inside(root, name, records).is_file()), None)
    if root is None and names:
        others = f", nor {_listed(names[1:])}" if len(names) > 1 else ""
        looked = ", ".join(str(root) for root in roots)
        raise JmposeError(
            f"{records.path}: none of {len(names)} pictures found: {names[0]} is not there{others}",
            hint=f"pictures are looked for below {looked}",
        )
    paths = tuple(_inside(root or Path(), name, records) for name in names)
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise JmposeError(
            f"{records.path}: {len(missing)} of {len(paths)} pictures are not there: {_listed(missing)}",
            hint="the data set is incomplete: copy it again, or remove their annotations",
        )
    return paths


def _inside(root: Path, name: str, records: PoseRecords) -> Path:
    try:
        return path_inside(root, name)
    except OutsideError as error:
        raise JmposeError(
            f"{records.path}: file_name {name[:200]!r} {error}",
            hint=f"pictures must lie below {root} and be named from there",
        ) from error


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
