"""What the user named: videos, folders of videos, folders of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.image_folder import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv"}
    | {".flv", ".3gp", ".ogv", ".y4m", ".mxf", ".h264", ".hevc"}
)


@dataclass(frozen=True)
class Clip:
    """One input video (a file or a folder of images) and the name of its output folder."""

    path: Path
    name: str


def find_clips(inputs: Sequence[Path]) -> list[Clip]:
    """List the videos that `inputs` name, in the order given, folders sorted by name.

    A folder that holds images is one video; another folder stands for the videos directly in it.

    Raises:
        JmposeError: A path that does not exist, a folder without videos or images, or two inputs that
            would write to one output folder.
    """
    paths: list[Path] = []
    for given in inputs:
        paths.extend(_videos_in(given) if given.is_dir() else [_existing(given)])
    clips: dict[str, Clip] = {}
    for path in dict.fromkeys(paths):
        name = path.resolve().name if path.is_dir() else path.stem
        if name in clips:
            name = path.name  # a.mp4 beside a.mov
        if name in clips:
            raise JmposeError(
                f"{clips[name].path} and {path} would both write to the folder {name!r}",
                hint="give them in separate runs with different --out",
            )
        clips[name] = Clip(path, name)
    return list(clips.values())


def _existing(path: Path) -> Path:
    if not path.exists():
        raise JmposeError(f"{path}: no such file or folder", hint="check the path; quote names with spaces")
    return path


def _videos_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise JmposeError(f"{folder}: cannot be read ({error.strerror})") from error
    videos = [e for e in entries if e.suffix.lower() in VIDEO_SUFFIXES and e.is_file()]
    if videos:
        return videos
    if any(e.suffix.lower() in IMAGE_SUFFIXES for e in entries):
        return [folder]
    raise JmposeError(
        f"{folder}: a folder without videos or images",
        hint=f"videos end in {' '.join(sorted(VIDEO_SUFFIXES)[:8])} ...; folders inside it are not searched",
    )
