"""Opens video files with PyAV and tells what they are."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.av_library import LOCAL_FILES_ONLY, file_url, pyav
from jmpose_cli.video.info import DEFAULT_FPS, VideoInfo
from jmpose_cli.video.orientation import UPRIGHT, Orientation, in_words, orientation_of
from jmpose_cli.video.picture_size import MOST_MEGAPIXELS, check_size, picture_size

# Formats in which FFmpeg finds "video" in any text.
_TEXT_FORMATS = frozenset({"adf", "bin", "idf", "tty", "xbin"})
# FFmpeg gives this to bare streams of pictures (.h264, .mjpeg ...), which have no clock: it invents the timestamps.
_TICK_OF_BARE_STREAMS = Fraction(1, 1_200_000)
_PLAUSIBLE_FPS = (Fraction(1, 100), Fraction(1000))
# Containers whose duration is the time on their clock at which they end.
_DURATION_IS_AN_END = frozenset({"matroska,webm", "nut"})
_MOST_PIXELS = 2**31 - 1  # that FFmpeg can be told
# The widest in use are 32:11, of half the lines and half the columns of a wide television picture.
_WIDEST_PIXEL = 4
_ROUNDING = 0.01  # of a shape, where a coder has scaled to whole pixels and kept the ratio of the whole picture
_FINEST_ASPECT = 1000
_LEAST_BYTES_OF_A_FRAME = 8  # "as the one before" in the thriftiest codecs, with the head of its packet


@dataclass(frozen=True)
class Probe:
    """What a file says about its main video stream.

    Attributes:
        info: The facts for the user.
        time_base: Seconds a tick of the stream's timestamps.
        begin_s: What the stream's clock shows at the first frame, in seconds.
        end_s: When the last picture ends by the stream's own header; None where it says nothing.
        has_clock: Whether the file has timestamps; without, the time of frame n is n / fps.
        asks_for_a_turn: Whether the file says anything about the orientation, be it in a way that is not followed.
        remarks: Sentences for the user about what was found.
    """

    info: VideoInfo
    time_base: Fraction
    begin_s: float
    end_s: float | None
    has_clock: bool
    asks_for_a_turn: bool
    remarks: tuple[str, ...]


def open_container(path: Path, *, max_megapixels: float = MOST_MEGAPIXELS) -> Any:
    """Open a media file for reading; the caller closes it.

    Args:
        path: The file.
        max_megapixels: Larger pictures are not decoded to find out about the streams.

    Raises:
        JmposeError: If the file is missing, unreadable, or no media file.
    """
    av = pyav()
    if not os.path.exists(path):  # unlike Path.exists, False also where a folder on the way may not be searched
        raise JmposeError(f"{path}: no such file", hint="check the path")
    if not path.is_file():
        raise JmposeError(f"{path} is not a regular file", hint="give a video file or a folder of images")
    if not os.access(path, os.R_OK):
        raise JmposeError(f"{path} may not be read", hint="check the file's permissions")
    if path.stat().st_size == 0:
        raise JmposeError(f"{path} is an empty file", hint="check whether it was copied completely")
    try:
        options = {**LOCAL_FILES_ONLY, **_size_limit(max_megapixels)}
        container = av.open(file_url(path), options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise JmposeError(
            f"{path} is not a readable video: {error.strerror}",
            hint="the file is damaged, cut off, or not a video; try to play it, or convert it to mp4",
        ) from error
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise JmposeError(f"{path} is a text file, not a video", hint="give a video file or a folder of images")
    return container


def limit_size(stream: Any, max_megapixels: float) -> None:
    """Have pictures that are larger refused by the decoder, as errors of their packets; before the first is decoded."""
    stream.codec_context.options = _size_limit(max_megapixels)


def _size_limit(max_megapixels: float) -> dict[str, str]:
    # FFmpeg counts the columns that it adds to each row; the frames themselves are checked to the pixel.
    return {"max_pixels": str(min(int(max_megapixels * 1.1e6) + 2**16, _MOST_PIXELS))}


def moving_streams(container: Any) -> list[Any]:
    """Return the video streams that are neither cover pictures nor pictures of chapters."""
    disposition = pyav().stream.Disposition
    pictures = disposition.attached_pic | disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & pictures]


def main_stream(container: Any, path: Path, *, number: int | None = None) -> Any:
    """Return the stream to decode.

    Of several it is the one that is marked as default, else the largest. A mark on the first one says nothing: that is
    where programs put it unasked.

    Args:
        container: The open file.
        path: Its name.
        number: Which of the `moving_streams`, from 1; None chooses.

    Raises:
        JmposeError: If there is none, not as many, or no decoder for it.
    """
    moving = moving_streams(container)
    if not moving:
        if container.streams.audio:
            raise JmposeError(f"{path} holds audio only", hint="give a file with pictures")
        raise JmposeError(f"{path} holds no video stream", hint="the file is cut off or damaged; try to play it")
    if number is not None and number > len(moving):
        raise JmposeError(
            f"{path}: there is no video stream {number}", hint=f"decode.stream: the file has {len(moving)}, from 1"
        )
    stream = _best_of(moving) if number is None else moving[number - 1]
    if stream.codec_context is None:
        raise JmposeError(f"{path}: there is no decoder for its video", hint="convert it to H.264 mp4")
    return stream


def _best_of(moving: list[Any]) -> Any:
    default = pyav().stream.Disposition.default
    is_marked_on_purpose = not moving[0].disposition & default

    def rank(stream: Any) -> tuple[bool, bool, bool, int, bool]:
        if stream.codec_context is None:
            return (False, False, False, 0, False)
        is_marked = bool(stream.disposition & default)
        area = stream.codec_context.width * stream.codec_context.height
        return (True, stream.frames != 1, is_marked and is_marked_on_purpose, area, is_marked)

    return max(moving, key=rank)  # the first one of equals


def _which_of_several(container: Any, stream: Any, *, number: int | None) -> Iterator[str]:
    """Say which stream of several is read, and why."""
    moving = moving_streams(container)
    if len(moving) < 2:
        return
    default = pyav().stream.Disposition.default
    sizes = [f"{other.codec_context.width}x{other.codec_context.height}" for other in moving if other.codec_context]
    if number is not None:
        reason = "as set"
    elif stream.disposition & default and not moving[0].disposition & default:
        reason = "the one marked as default; decode.stream chooses another"
    else:
        reason = "the first of the largest; decode.stream chooses another"
    yield f"video stream {moving.index(stream) + 1} of {len(moving)} ({', '.join(sizes)}) is read, {reason}"


def _orientation(frame: Any) -> tuple[Orientation, str | None]:
    """Return how a decoded picture is turned upright, and a remark where what the file asks for is not done."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    orientation = UPRIGHT if matrix is None else orientation_of(bytes(matrix))
    if orientation is not None:
        return orientation, None
    asked = in_words(bytes(matrix))
    return (
        UPRIGHT,
        f"the file asks for {asked}; only quarter turns and mirrors are applied, so the picture is left as stored",
    )


def _has_turn_tag(stream: Any) -> bool:
    """Whether there is a tag that was followed before display matrices were, and is by old decoders."""
    return any(name.lower() == "rotate" for name in stream.metadata)


def _pixel_aspect(stream: Any) -> tuple[Fraction, str | None]:
    """Return width over height of a stored pixel, and a remark where the file says what cannot be meant."""
    claimed = stream.sample_aspect_ratio
    if not claimed:  # 0 stands for unknown
        return Fraction(1), None
    if not 1 / _WIDEST_PIXEL <= claimed <= _WIDEST_PIXEL:
        shape = f"{claimed.numerator}:{claimed.denominator}"
        return Fraction(1), f"the file gives its pixels a shape of {shape}: taken for a mistake, they count as square"
    if abs(claimed - 1) < _ROUNDING:
        return Fraction(1), None
    return claimed.limit_denominator(_FINEST_ASPECT), None


def _about_pixels(info: VideoInfo) -> str | None:
    """Say what comes of pixels that are not square."""
    if info.pixel_aspect == (1, 1):
        return None
    wide, high = info.pixel_aspect
    size, shown = f"{info.width}x{info.height}", f"{round(info.width * info.pixel_width)}x{info.height}"
    return (
        f"pixels are not square but {wide}:{high}, so {size} is shown as {shown}; "
        f"the networks see people as shown, coordinates are pixels of the {size}"
    )


def probe(
    path: Path,
    *,
    decoder: str,
    fps: float | None = None,
    number: int | None = None,
    max_megapixels: float = MOST_MEGAPIXELS,
) -> Probe:
    """Read a file's header and first frame.

    Args:
        path: The video file.
        decoder: What is going to decode it, for `VideoInfo.decoder`.
        fps: Frames per second for a file without timestamps; None: not known.
        number: Which of its video streams, from 1; None chooses.
        max_megapixels: Larger frames are refused.

    Raises:
        JmposeError: If the file is missing, unreadable, no video, its frames are too large, or not one of them can be
            decoded.
    """
    with open_container(path, max_megapixels=max_megapixels) as container:
        stream = main_stream(container, path, number=number)
        check_size(path, stream.codec_context.width, stream.codec_context.height, most_megapixels=max_megapixels)
        limit_size(stream, max_megapixels)
        frame = _first_frame(container, stream)
        if frame is None:
            check_size(path, *_own_size(path, stream.index), most_megapixels=max_megapixels)
            raise JmposeError(
                f"{path}: not one frame can be decoded", hint="the video is empty or damaged; try to play it"
            )
        check_size(path, frame.width, frame.height, most_megapixels=max_megapixels)
        orientation, remark = _orientation(frame)
        turned = orientation.swaps_sides
        has_clock = _has_clock(stream)
        rate, about_rate = _frame_rate(stream, fps)
        aspect, about_aspect = _pixel_aspect(stream)
        info = VideoInfo(
            path=path,
            width=frame.height if turned else frame.width,
            height=frame.width if turned else frame.height,
            fps=rate,
            frames_claimed=stream.frames or None,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            has_audio=bool(container.streams.audio),
            decoder=decoder,
            stream=stream.index,
            pixel_aspect=(1 / aspect if turned else aspect).as_integer_ratio(),
            duration_s=container.duration / pyav().time_base if container.duration else None,
        )
        return Probe(
            info=info,
            time_base=stream.time_base,
            begin_s=float(frame.pts * stream.time_base) if has_clock and frame.pts is not None else 0.0,
            end_s=_claimed_end_s(container, stream),
            has_clock=has_clock,
            asks_for_a_turn=orientation != UPRIGHT or remark is not None or _has_turn_tag(stream),
            remarks=(
                *_which_of_several(container, stream, number=number),
                *(text for text in (remark, about_aspect, _about_pixels(info), about_rate) if text),
            ),
        )


@dataclass(frozen=True)
class HeaderFrames:
    """How many frames a file has by its header.

    Attributes:
        frames: Number of frames; None where nothing is said.
        fps: Average frame rate; None where the file has no timestamps.
        is_estimate: The header does not count the frames; `frames` is what fits into the duration, but not more than
            into the file. Pauses are in it.
    """

    frames: int | None = None
    fps: float | None = None
    is_estimate: bool = False


def header_frames(path: Path, *, number: int | None = None) -> HeaderFrames:
    """Read from a file's header how many frames its main stream has, or should have, and how many a second.

    Args:
        path: The video file.
        number: Which of its video streams, from 1; None chooses.

    Raises:
        JmposeError: If the file is missing, unreadable or no video.
    """
    with open_container(path) as container:
        stream = main_stream(container, path, number=number)
        if not _has_clock(stream):
            return HeaderFrames(int(stream.frames) or None)
        fps, _ = _frame_rate(stream, None)
        if stream.frames:
            return HeaderFrames(int(stream.frames), fps)
        end_s = _claimed_end_s(container, stream)
        if end_s is None:
            return HeaderFrames(None, fps)
        frames = min(round((end_s - _begin_s(stream)) * fps), path.stat().st_size // _LEAST_BYTES_OF_A_FRAME)
        return HeaderFrames(max(frames, 1), fps, is_estimate=True)


def _has_clock(stream: Any) -> bool:
    return bool(stream.time_base != _TICK_OF_BARE_STREAMS)


def _frame_rate(stream: Any, given: float | None) -> tuple[float, str | None]:
    """Return a stream's frame rate, and what the user should know about where it comes from.

    Args:
        stream: The video stream.
        given: The rate that the user gives for files without timestamps; None: none.
    """
    if _has_clock(stream):
        rate = float(stream.average_rate or stream.guessed_rate or 0) or DEFAULT_FPS
        if given is None:
            return rate, None
        return rate, f"--fps {given:g} is not used: the file has timestamps of its own"
    if given is not None:
        return given, None
    coded = stream.codec_context.framerate  # what the pictures themselves say
    if coded and _PLAUSIBLE_FPS[0] <= coded <= _PLAUSIBLE_FPS[1]:
        source = f"its pictures say {float(coded):g} frames a second"
        return float(coded), f"the file has no timestamps; {source}, --fps gives another rate"
    return DEFAULT_FPS, f"the file has no frame rate; {DEFAULT_FPS:g} is assumed, --fps gives the true one"


def _begin_s(stream: Any) -> float:
    """Return what a stream's clock shows at its first picture by its header."""
    return float((stream.start_time or 0) * stream.time_base)


def _own_size(path: Path, index: int) -> tuple[int, int]:
    """Return width and height that a stream's first picture states itself; 0, 0 when it is no still picture."""
    with open_container(path) as container:
        packets = container.demux(container.streams[index])
        with suppress(pyav().error.FFmpegError):
            return picture_size(bytes(next(packets, b""))) or (0, 0)
    return 0, 0


def _claimed_end_s(container: Any, stream: Any) -> float | None:
    """Return the time at which a stream's pictures end by its header, None where it says nothing."""
    begin_s = _begin_s(stream)
    if stream.duration:
        return begin_s + float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska's way
    if clock:
        hours, minutes, seconds = (float(part) for part in clock.groups())
        return hours * 3600 + minutes * 60 + seconds
    if container.duration and len(container.streams) == 1:
        begins_at_zero = container.format.name in _DURATION_IS_AN_END
        return (0.0 if begins_at_zero else begin_s) + float(container.duration / pyav().time_base)
    return None


def _first_frame(container: Any, stream: Any) -> Any:
    """Return the first frame that decodes, or None."""
    error_type = pyav().error.FFmpegError
    stream.thread_count = 1  # several would wait for as many frames before giving the first
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except error_type:
                continue
            if frames:
                return frames[0]
    except error_type:
        return None
    return None
