"""Overlay out: H.264 video that plays everywhere, at the source's timestamps and with its sound."""

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.structures import Bytes
from jmpose_cli.video.audio_track import AudioTrack
from jmpose_cli.video.av_library import file_url, pyav
from jmpose_cli.video.info import VideoInfo

# Holds the times of all usual frame rates exactly, and any other to 6 microseconds.
TIME_BASE = Fraction(1, 90000)

_PRESET = "veryfast"
_QUALITY_CRF = 23
_MOST_THREADS = 4
_KEY_FRAME_EVERY_S = 2
_SLOWEST_RATE, _FASTEST_RATE = Fraction(1, 100), Fraction(1000)
_LARGEST_SIDE_PX = 16384
_BT709 = 1
_STUDIO_RANGE = 1


class OverlayWriter:
    """Writes frames as an mp4 file: H.264, yuv420p, index at the front.

    The first frame written is at second 0 of the output; each later one keeps its distance in time, also where the
    frame rate varies. Width and height are padded to even numbers by repeating the last column and row. The file
    appears under its name only when complete; until then it is `<name>.partial`, which an exception removes.

    Args:
        path: The mp4 file; None writes nothing.
        info: The video that the frames come from: size, frame rate, pixel shape.
        audio_from: The video file whose sound is added, cut to the frames written; None, or a file without any, adds
            none.

    Attributes:
        notes: Sentences for the user, complete after closing.

    Raises:
        JmposeError: If the file cannot be created; when writing or closing, if the disk is full or fails.
    """

    def __init__(self, path: Path | None, *, info: VideoInfo, audio_from: Path | None = None) -> None:
        self.notes: list[str] = []
        self._path = path
        self._shape = (info.height, info.width, 3)
        self._begin_s: float | None = None
        self._last_s = -math.inf
        self._last_pts = -1
        # Rates beyond are claims of broken headers. The rate steers the encoder, and how long the last frame is shown.
        self._rate = min(max(Fraction(info.fps).limit_denominator(1001), _SLOWEST_RATE), _FASTEST_RATE)
        self._audio: AudioTrack | None = None
        self._output: Any = None
        if path is not None:
            self._partial = path.with_name(path.name + ".partial")
            with self._failures_explained():
                self._open(info, audio_from)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, frame_rgb: Bytes, time_s: float) -> None:
        """Append a frame.

        Args:
            frame_rgb: `[H, W, 3]` uint8 RGB of the source's size; not kept.
            time_s: Its timestamp in seconds on the source's clock, later than the one before.

        Raises:
            ValueError: If the size or the time is wrong.
            JmposeError: If the file cannot be written.
        """
        if frame_rgb.shape != self._shape or frame_rgb.dtype != np.uint8:
            raise ValueError(f"frame is {frame_rgb.dtype}{list(frame_rgb.shape)}, expected uint8{list(self._shape)}")
        if time_s <= self._last_s:
            raise ValueError(f"a frame at {time_s} s cannot follow one at {self._last_s} s")
        if self._begin_s is None:
            self._begin_s = time_s
            if self._audio is not None:
                self._audio.start(time_s)
        self._last_s = time_s
        self._last_pts = max(self._last_pts + 1, round((time_s - self._begin_s) / TIME_BASE))
        if self._output is not None:
            with self._failures_explained():
                self._encode(frame_rgb)

    def close(self) -> None:
        """Complete the file and give it its name; leaving a `with` block does it."""
        if self._output is None or self._path is None:
            return
        with self._failures_explained():
            self._output.mux(self._video.encode(None))
            if self._audio is not None:
                self._audio.advance(float(self._last_pts * TIME_BASE + 1 / self._rate))
                self._audio.close()
                self.notes.extend(self._audio.remarks)
            self._output.close()
            self._output = None
            _flush_to_disk(self._partial)
            self._partial.replace(self._path)

    def _open(self, info: VideoInfo, audio_from: Path | None) -> None:
        if max(info.width, info.height) > _LARGEST_SIDE_PX:
            raise JmposeError(
                f"{self._path}: frames of {info.width}x{info.height} pixels are too large for H.264",
                hint=f"up to {_LARGEST_SIDE_PX} pixels a side can be written; leave the overlay out",
            )
        av = pyav()
        self._output = av.open(file_url(self._partial), "w", format="mp4", container_options={"movflags": "+faststart"})
        # No B-frames: where the frame rate varies, an mp4 with them claims to end before its last picture is shown.
        quality = {"preset": _PRESET, "crf": str(_QUALITY_CRF), "bf": "0"}
        self._video = self._output.add_stream("libx264", rate=self._rate, options=quality)
        self._video.width, self._video.height = info.width + info.width % 2, info.height + info.height % 2
        self._video.pix_fmt = "yuv420p"
        encoder = self._video.codec_context
        encoder.time_base = TIME_BASE
        encoder.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
        encoder.gop_size = max(1, round(_KEY_FRAME_EVERY_S * self._rate))
        encoder.sample_aspect_ratio = Fraction(*info.pixel_aspect)
        encoder.colorspace = encoder.color_primaries = encoder.color_trc = _BT709
        encoder.color_range = _STUDIO_RANGE
        self._converter = av.video.reformatter.VideoReformatter()
        self._padded = np.empty((self._video.height, self._video.width, 3), np.uint8)
        if audio_from is not None and info.has_audio:
            self._audio = AudioTrack(audio_from, self._output)
        self._output.start_encoding()

    def _encode(self, frame_rgb: Bytes) -> None:
        """Hand one frame to the encoder, and write what it and the sound have ready."""
        height, width, _ = frame_rgb.shape
        self._padded[:height, :width] = frame_rgb
        self._padded[height:] = self._padded[height - 1]
        self._padded[:, width:] = self._padded[:, width - 1 : width]
        rgb = pyav().VideoFrame.from_numpy_buffer(self._padded, "rgb24")
        frame = self._converter.reformat(rgb, format="yuv420p", dst_colorspace="itu709")
        frame.pts, frame.time_base = self._last_pts, TIME_BASE
        self._output.mux(self._video.encode(frame))
        if self._audio is not None:
            self._audio.advance(float(self._last_pts * TIME_BASE))

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        """Remove the partial file when the body fails, and raise failures to write as JmposeError."""
        try:
            yield
        except (OSError, pyav().error.FFmpegError) as error:
            self._discard()
            if error.errno == errno.ENOSPC:
                raise JmposeError(f"{self._path}: the disk is full", hint="free space, or write elsewhere") from error
            raise JmposeError(
                f"{self._path} cannot be written: {error.strerror}", hint="check that its folder exists and is writable"
            ) from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Remove the partial file."""
        if self._path is None:
            return
        if self._audio is not None:
            self._audio.close()
        if self._output is not None:
            with suppress(OSError, pyav().error.FFmpegError):
                self._output.close()
            self._output = None
        self._partial.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
