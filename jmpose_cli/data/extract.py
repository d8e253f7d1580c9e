"""Annotated videos of our own: the frames that windows need, taken out of the videos once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import orjson

from jmpose.files import WholeFile
from jmpose.keypoints import KeypointSet
from jmpose_cli.data.sources import FrameWindows
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.read import poses_in
from jmpose_cli.formats.records import Doubles, JsonTable, PoseRecords
from jmpose_cli.formats.truth import CORRECTED, INTERPOLATED, PROPAGATED, joint_sources
from jmpose_cli.safe_paths import OutsideError, path_inside
from jmpose_cli.video.content import check_unchanged
from jmpose_cli.video.source import open_video

Value = TypeVar("Value")
ANNOTATIONS = "keypoints.coco.json"
_JPEG_QUALITY = 95
_BETWEEN = 0.7  # weight of joints that were carried over from corrected frames
_MOST_OF_ASPECT = 4000


def annotated_videos(
    folder: Path,
    videos: Path,
    cache: Path,
    *,
    keypoints: KeypointSet,
    reach: int,
    reference_fps: float,
    unreviewed: float = 1.0,
) -> list[FrameWindows]:
    """Read a folder that `jmpose infer` wrote and somebody corrected.

    Args:
        folder: Holds `<name>/keypoints.coco.json` for each video, at any depth; or the folder of one video.
        videos: Holds the videos, by the names that the annotations give, in the same folders or all in one.
        cache: The needed frames are kept here as JPEG; a second call finds them.
        keypoints: The model's joints.
        reach: Largest offset of a support frame, in frames at `reference_fps`.
        reference_fps: Frame rate that offsets are meant for; videos of other rates are read in other steps.
        unreviewed: Weight in the loss of joints that nobody has corrected in frames that nobody has reviewed, 0 to 1.

    Raises:
        JmposeError: No annotations, annotations that name no video, or one that is missing or has changed.
    """
    alone = folder / ANNOTATIONS
    files = [alone] if alone.is_file() else sorted(folder.rglob(ANNOTATIONS))
    if not files:
        raise JmposeError(f"{folder}: no <video>/{ANNOTATIONS}", hint="name a folder that `jmpose infer` wrote")
    names = [file.parent.relative_to(folder) if file != alone else Path(file.resolve().parent.name) for file in files]
    return [
        _windows(file, name, videos, cache, keypoints, reach, reference_fps, unreviewed)
        for file, name in zip(files, names, strict=True)
    ]


def _windows(
    file: Path,
    name: Path,
    videos: Path,
    cache: Path,
    keypoints: KeypointSet,
    reach: int,
    reference_fps: float,
    unreviewed: float,
) -> FrameWindows:
    data = read_json(file)
    records = poses_in(file, data, kind="coco")
    trust, notes = _trust(records, data, name.as_posix(), unreviewed)
    frame_of = _frame_numbers(records)
    source, fps = _about_video(file, "source", str), _about_video(file, "fps", float)
    step = 1 if fps is None else max(1, round(fps / reference_fps))
    if source is None:
        raise JmposeError(f"{file}: without info.video.source", hint="the file must name the video it is about")
    try:
        video = path_inside(videos, name.parent / source)
        if not video.exists():
            video = path_inside(videos, source)
    except OutsideError as error:
        raise JmposeError(
            f"{file}: info.video.source {source[:200]!r} {error}", hint=f"the video must lie below {videos}"
        ) from error
    if not video.exists():
        raise JmposeError(f"{file}: {video} is not there", hint="name the folder of the videos with `videos:`")
    annotated = {frame_of[row] for row in set(records.image_row.tolist())}
    steps = [step * offset for offset in range(-reach, reach + 1)]
    wanted = {frame + apart for frame in annotated for apart in steps if frame + apart >= 0}
    pixel_width = _pixel_width(file)
    pictures = extract_frames(video, sorted(wanted), cache, pixel_width=pixel_width, run=file.with_name("run.json"))
    absent = sorted(annotated - pictures.keys())
    if absent:
        raise JmposeError(
            f"{file}: people in frame {absent[0]}, which {video} does not have ({len(absent)} such frames)",
            hint="the annotations are those of another video, or the video is cut off",
        )
    return FrameWindows(
        name.as_posix(),
        records.in_square_pixels(pixel_width),
        pictures=pictures,
        frame_of=frame_of,
        keypoints=keypoints,
        frame_step=step,
        trust=trust,
        notes=notes,
    )


def _trust(records: PoseRecords, data: Any, name: str, unreviewed: float) -> tuple[Doubles | None, list[str]]:
    """Weigh joints `[N, K]` by who vouches for them, and say what there is; None where nobody has said anything."""
    table = JsonTable(records.path, "annotations", data["annotations"])
    sources = joint_sources(table, len(records.joints))
    reviewed = JsonTable(records.path, "images", data["images"]).flags("reviewed", default=False)
    vouched = reviewed[records.image_row][:, None] | (sources == CORRECTED)
    if not vouched.any() and not reviewed.any():
        return None, [f"{name}: nothing is marked as reviewed or corrected: all joints count as they are"]
    between = (sources == PROPAGATED) | (sources == INTERPOLATED)
    trust = np.where(vouched, 1.0, np.where(between, max(_BETWEEN, unreviewed), unreviewed))
    people = int((vouched & ~reviewed[records.image_row][:, None]).any(1).sum())
    said = f"{name}: {int(reviewed.sum())} of {len(reviewed)} frames reviewed, people corrected in others: {people}"
    return trust, [f"{said}; joints of the model there weigh {unreviewed:g}"]


def _pixel_width(file: Path) -> float:
    """Width of the video's pixels in heights of a pixel, as `jmpose infer` writes it where they are not square."""
    aspect = _about_video(file, "pixel_aspect", list) or [1, 1]
    if len(aspect) != 2 or any(type(part) is not int or not 1 <= part <= _MOST_OF_ASPECT for part in aspect):
        raise JmposeError(
            f"{file}: info.video.pixel_aspect is {str(aspect)[:60]}",
            hint="it must be two whole numbers, width and height: [4, 3]",
        )
    return float(aspect[0] / aspect[1])


def _about_video(file: Path, field: str, kind: type[Value]) -> Value | None:
    """A field of `info.video` in an annotation file; None when it is not there or something else."""
    value = orjson.loads(file.read_bytes())
    for key in ("info", "video", field):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, kind) else None


def _frame_numbers(records: PoseRecords) -> list[int]:
    numbers = [image.frame_index for image in records.images]
    if None in numbers:
        raise JmposeError(f"{records.path}: images without `frame_index`", hint="jmpose infer writes it")
    return [number for number in numbers if number is not None]


def extract_frames(
    video: Path, frames: Sequence[int], cache: Path, *, pixel_width: float = 1.0, run: Path | None = None
) -> dict[int, Path]:
    """Write some frames of a video as JPEG, in square pixels; frames beyond its end are left out.

    The folder is named after the video's path, size and time of change, so that another video never finds it.

    Args:
        video: The file.
        frames: Their numbers.
        cache: Holds the folder.
        pixel_width: Width of the video's pixels in heights of a pixel.
        run: `run.json`, which may say what the video was like; looked at when frames are missing.

    Raises:
        JmposeError: The video is not what it was, it cannot be decoded, or the cache cannot be written.
    """
    state = video.stat()
    key = f"{video.resolve()} {state.st_size} {state.st_mtime_ns}" + (f" {pixel_width}" if pixel_width != 1 else "")
    folder = cache / f"{video.stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    paths = {frame: folder / f"{frame:06d}.jpg" for frame in frames}
    missing = {frame for frame, path in paths.items() if not path.exists()}
    done = folder / "end"  # holds the number of frames, once the end was seen
    if done.exists():
        missing = {frame for frame in missing if frame < int(done.read_text())}
    if missing:
        if run is not None and run.is_file():
            hint = f"put it back; where it is right, note so: jmpose render {run.parent} --video {video}"
            check_unchanged(video, read_json(run), hint=hint)
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        _write_frames(video, missing, paths, done, pixel_width)
    return {frame: path for frame, path in paths.items() if path.exists()}


def _write_frames(video: Path, missing: set[int], paths: dict[int, Path], done: Path, pixel_width: float) -> None:
    last, seen = max(missing), 0
    with open_video(video) as source:
        for batch in source:
            for frame, pixels in zip(batch.index.tolist(), batch.frames, strict=True):
                seen = frame + 1
                if frame in missing:
                    if pixel_width != 1:
                        size = (max(1, round(pixels.shape[1] * pixel_width)), pixels.shape[0])
                        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
                    _write(paths[frame], _jpeg(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)))
            if seen > last:
                return
    _write(done, str(seen).encode())


def _jpeg(image_bgr: Any) -> bytes:
    _, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears only when whole; several processes may write the same one."""
    with explain_os_errors(path), WholeFile(path, shared=True) as partial:
        partial.write_bytes(data)
