"""The frames of a video that people stand in, as images, with a COCO file about them: for tools that want images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.files import write_whole
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.handover.dataset_write import coco
from jmpose_cli.handover.handover import Handover
from jmpose_cli.video.source import open_video

IMAGES, ANNOTATIONS = "images", "annotations.json"
_JPEG_QUALITY = 95


def write_frames(given: Handover) -> None:
    """Write `images/frame_000012.jpg` and so on, and `annotations.json`, whose `file_name` is that of an image.

    Raises:
        JmposeError: No video was named, it cannot be decoded or is another one, or a file cannot be written.
    """
    if given.footage is None:
        raise JmposeError(f"{given.records.path}: of an unknown video", hint="name it with --video")
    kept = sorted(set(given.records.image_row.tolist()))
    number_of = {place: frame for frame, place, _ in given.ordered}
    wanted = {number_of[place] for place in kept}
    folder = given.path / IMAGES
    given.begin_folder(folder, r"frame_\d+\.jpg")
    written = _write_images(given, folder, wanted)
    absent = sorted(wanted - written)
    if absent:
        raise JmposeError(
            f"{given.records.path}: people in frame {absent[0]}, which {given.footage} does not have "
            f"({len(absent)} such frames)",
            hint="it is another video, or cut off",
        )
    names = {place: f"frame_{number_of[place]:06d}.jpg" for place in kept}
    part = _with_images(given.records, names, number_of)
    write_whole(given.path / ANNOTATIONS, coco(part, given.notes))


def _with_images(records: PoseRecords, names: dict[int, str], number_of: dict[int, int]) -> PoseRecords:
    """Keep the images that have names, under these."""
    place_of = np.zeros(len(records.images), np.int64)
    place_of[list(names)] = np.arange(len(names))
    return replace(
        records,
        images=tuple(
            replace(records.images[place], file_name=name, frame_index=number_of[place])
            for place, name in names.items()
        ),
        image_row=place_of[records.image_row],
        integer_coordinates=records.integer_coordinates[list(names)],
    )


def _write_images(given: Handover, folder: Path, wanted: set[int]) -> set[int]:
    """Write frames of the video; return the numbers of those that it has."""
    written: set[int] = set()
    last = max(wanted, default=-1)
    size = (given.video.width, given.video.height)
    assert given.footage is not None
    with open_video(given.footage, frames=(0, last + 1)) as source:
        for batch in source:
            for frame, pixels in zip(batch.index.tolist(), batch.frames, strict=True):
                if frame not in wanted:
                    continue
                found = (pixels.shape[1], pixels.shape[0])
                if all(size) and found != size:
                    raise JmposeError(
                        f"{given.footage} has frames of {found[0]}x{found[1]}",
                        hint=f"{given.records.path} is about frames of {size[0]}x{size[1]}: name its own video",
                    )
                write_whole(folder / f"frame_{frame:06d}.jpg", _jpeg(pixels))
                written.add(frame)
    return written


def _jpeg(pixels_rgb: Any) -> bytes:
    image = cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])
