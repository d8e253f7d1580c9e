"""What a pose file says of the one video that it is about."""

import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.records import ImageRecord, PoseRecords, frame_numbers
from jmpose_cli.video.info import DEFAULT_FPS


def in_order(records: PoseRecords) -> list[tuple[int, int, ImageRecord]]:
    """Give frame number, place and record of each image, by frame number.

    Raises:
        JmposeError: They are not those of one video.
    """
    for what, values in (
        ("videos", {image.vid_id for image in records.images}),
        ("sizes", {(image.width, image.height) for image in records.images}),
    ):
        if len(values) > 1:
            raise JmposeError(
                f"{records.path}: holds pictures of {len(values)} {what}",
                hint="a clip is one video; `jmpose convert` takes all",
            )
    numbers = frame_numbers(records.images).tolist()
    return sorted(zip(numbers, range(len(numbers)), records.images, strict=True), key=lambda entry: entry[0])


def frames_per_second(rows: Sequence[tuple[int, int, ImageRecord]]) -> float:
    """Frames a second by the times of the first and the last frame."""
    if len(rows) > 1:
        (first, _, begin), (last, _, end) = rows[0], rows[-1]
        if begin.time_s is not None and end.time_s is not None and end.time_s > begin.time_s:
            return (last - first) / (end.time_s - begin.time_s)
    return DEFAULT_FPS


def described(path: Path, data: Any, rows: Sequence[tuple[int, int, ImageRecord]]) -> tuple[dict[str, Any], VideoMeta]:
    """Give what a file says of its tool and of its video."""
    given = data.get("info") if isinstance(data, dict) else None
    info = dict(given) if isinstance(given, dict) else {}
    video = info.pop("video", None)
    facts: dict[str, Any] = video if isinstance(video, dict) else {}
    first = rows[0][2] if rows else None
    file_name = PurePath(first.file_name) if first else PurePath()
    name = str(facts.get("name") or file_name.parent.name or path.stem)
    width, height = (first.width, first.height) if first else (None, None)
    names = {index: image.file_name for index, _, image in rows}
    is_video = all(
        PurePath(file).name in (f"frame_{index:06d}.jpg", f"{index:06d}.jpg", "") for index, file in names.items()
    )
    return info, VideoMeta(
        name=name,
        width=width or positive_int(facts.get("width")),
        height=height or positive_int(facts.get("height")),
        fps=_positive(facts.get("fps")) or frames_per_second(rows),
        source=str(facts.get("source", name)),
        image_names=() if is_video else tuple(names.get(i, "") for i in range(max(names, default=-1) + 1)),
        pixel_aspect=_aspect(facts.get("pixel_aspect")),
    )


def positive_int(value: object) -> int:
    """Return a whole number above 0 as it is, and 0 for anything else."""
    return value if type(value) is int and value > 0 else 0


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None


def _aspect(value: object) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(positive_int(part) for part in value):
        return value[0], value[1]
    return 1, 1
