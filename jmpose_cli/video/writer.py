"""Overlay out: H.264 video that plays everywhere, at the source's timestamps and with its sound.

The video is encoded in segments of a fixed number of frames, each by an encoder of its own, whose packets wait in a
record file. So a run that was killed goes on behind the last whole segment, and its file is the same to the byte.
"""

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.record_file import RecordFile
from jmpose_cli.structures import Bytes
from jmpose_cli.video.audio_track import AudioTrack
from jmpose_cli.video.av_library import file_url, pyav
from jmpose_cli.video.info import VideoInfo

# Holds the times of all usual frame rates exactly, and any other to 6 microseconds.
TIME_BASE = Fraction(1, 90000)

_PRESET = "veryfast"
_QUALITY_CRF = 23
_THREADS = 2  # fixed, because the number changes what x264 writes
_SEGMENT_S = 2
_SLOWEST_RATE, _FASTEST_RATE = Fraction(1, 100), Fraction(1000)
_LARGEST_SIDE_PX = 16384
_BT709 = 1
_STUDIO_RANGE = 1


@dataclass(frozen=True)
class _Reached:
    """How far the frames have come: their number, the first and the last timestamp, the last one in the output."""

    frames: int = 0
    begin_s: float = 0.0
    last_s: float = -math.inf
    last_pts: int = -1


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
        packets: File for what is encoded, until all is; what it holds of an earlier run is used, and it is left
            behind. None takes a temporary one.

    Attributes:
        notes: Sentences for the user, complete after closing.

    Raises:
        JmposeError: If the file cannot be created; when writing or closing, if the disk is full or fails.
    """

    def __init__(
        self, path: Path | None, *, info: VideoInfo, audio_from: Path | None = None, packets: Path | None = None
    ) -> None:
        self.notes: list[str] = []
        self._path = path
        self._info = info
        self._shape = (info.height, info.width, 3)
        # Rates beyond are claims of broken headers. The rate steers the encoder, and how long the last frame is shown.
        self._rate = min(max(Fraction(info.fps).limit_denominator(1001), _SLOWEST_RATE), _FASTEST_RATE)
        self._segment_frames = max(1, round(_SEGMENT_S * self._rate))
        self._audio_from = audio_from if info.has_audio else None
        self._at = _Reached()
        self._encoder: Any = None
        self._encoded: list[Any] = []
        self._records: RecordFile | None = None
        self._is_kept = packets is not None
        if path is not None:
            self._partial = path.with_name(f"{path.name}.partial")
            with self._failures_explained():
                self._open(packets or path.with_name(f"{path.name}.packets.partial"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    @property
    def frames(self) -> int:
        """Number of frames that are in the file or on their way; after opening, those that an earlier run left."""
        return self._at.frames

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
        at = self._at
        if time_s <= at.last_s:
            raise ValueError(f"a frame at {time_s} s cannot follow one at {at.last_s} s")
        begin_s = at.begin_s if at.frames else time_s
        pts = max(at.last_pts + 1, round((time_s - begin_s) / TIME_BASE))
        self._at = _Reached(at.frames + 1, begin_s, time_s, pts)
        if self._records is not None:
            with self._failures_explained():
                self._encode(frame_rgb)
                if self._at.frames % self._segment_frames == 0:
                    self._end_segment()

    def close(self) -> None:
        """Complete the file and give it its name; leaving a `with` block does it."""
        if self._records is None or self._path is None:
            return
        with self._failures_explained():
            self._end_segment()
            self._multiplex()
            _flush_to_disk(self._partial)
            self._partial.replace(self._path)
            self._close_records()

    def _open(self, packets: Path) -> None:
        if max(self._info.width, self._info.height) > _LARGEST_SIDE_PX:
            raise JmposeError(
                f"{self._path}: frames of {self._info.width}x{self._info.height} pixels are too large for H.264",
                hint=f"up to {_LARGEST_SIDE_PX} pixels a side can be written; leave the overlay out",
            )
        self._converter = pyav().video.reformatter.VideoReformatter()
        height, width, _ = self._shape
        self._padded = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
        self._records = RecordFile(packets)
        if not self._is_kept:
            self._records.clear()
        for values, _ in self._records:
            self._at = _Reached(**values)

    def _set_up(self, encoder: Any) -> None:
        """Give an encoder, or the stream that stands for all of them, its settings."""
        encoder.height, encoder.width = self._padded.shape[:2]
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = TIME_BASE
        encoder.thread_count = _THREADS
        encoder.gop_size = self._segment_frames
        encoder.sample_aspect_ratio = Fraction(*self._info.pixel_aspect)
        encoder.colorspace = encoder.color_primaries = encoder.color_trc = _BT709
        encoder.color_range = _STUDIO_RANGE

    def _encode(self, frame_rgb: Bytes) -> None:
        """Hand one frame to the encoder of its segment."""
        av = pyav()
        if self._encoder is None:
            self._encoder = av.CodecContext.create("libx264", "w")
            self._encoder.framerate = self._rate
            self._encoder.options = _quality()
            self._encoder.flags |= av.codec.context.Flags.global_header  # as mp4 wants it
            self._set_up(self._encoder)
        height, width, _ = frame_rgb.shape
        self._padded[:height, :width] = frame_rgb
        self._padded[height:] = self._padded[height - 1]
        self._padded[:, width:] = self._padded[:, width - 1 : width]
        rgb = av.VideoFrame.from_numpy_buffer(self._padded, "rgb24")
        frame = self._converter.reformat(rgb, format="yuv420p", dst_colorspace="itu709")
        frame.pts, frame.time_base = self._at.last_pts, TIME_BASE
        self._encoded.extend(self._encoder.encode(frame))

    def _end_segment(self) -> None:
        """Keep the packets of the segment, when it holds any frame."""
        if self._encoder is None or self._records is None:
            return
        packets = [*self._encoded, *self._encoder.encode(None)]
        self._encoder, self._encoded = None, []
        arrays = {
            "size": np.array([packet.size for packet in packets], np.int64),
            "pts": np.array([packet.pts for packet in packets], np.int64),
            "is_key": np.array([packet.is_keyframe for packet in packets], np.bool_),
            "data": np.frombuffer(b"".join(bytes(packet) for packet in packets), np.uint8),
        }
        self._records.append(vars(self._at), arrays)

    def _multiplex(self) -> None:
        """Write the mp4 file from all packets, and the sound between them."""
        av = pyav()
        options = {"movflags": "+faststart"}
        with av.open(file_url(self._partial), "w", format="mp4", container_options=options) as output:
            stream = output.add_stream("libx264", rate=self._rate, options=_quality())
            self._set_up(stream.codec_context)
            audio = AudioTrack(self._audio_from, output) if self._audio_from is not None else None
            try:
                output.start_encoding()
                if audio is not None and self._at.frames:
                    audio.start(self._at.begin_s)
                for packet, pts in self._packets(stream):
                    output.mux(packet)
                    if audio is not None:
                        audio.advance(float(pts * TIME_BASE))
                if audio is not None and self._at.frames:
                    audio.advance(float(self._at.last_pts * TIME_BASE + 1 / self._rate))
            finally:
                if audio is not None:
                    audio.close()
                    self.notes.extend(audio.remarks)

    def _packets(self, stream: Any) -> Iterator[tuple[Any, int]]:
        """Yield all packets in order, each shown until the next one is, with their timestamps."""
        av = pyav()
        waiting: tuple[bytes, int, bool] | None = None

        def packet(data: bytes, pts: int, is_key: bool, end: int) -> tuple[Any, int]:
            made = av.Packet(data)
            made.stream, made.time_base, made.is_keyframe = stream, TIME_BASE, is_key
            # No B-frames: the order of decoding is that of showing.
            made.pts = made.dts = pts
            made.duration = end - pts
            return made, pts

        for _, arrays in self._records or ():
            data, at = arrays["data"].tobytes(), 0
            columns = (arrays[name].tolist() for name in ("size", "pts", "is_key"))
            for size, pts, is_key in zip(*columns, strict=True):
                if waiting is not None:
                    yield packet(*waiting, end=pts)
                waiting = (data[at : at + size], pts, is_key)
                at += size
        if waiting is not None:
            yield packet(*waiting, end=waiting[1] + round(1 / self._rate / TIME_BASE))

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        """Remove the partial file when the body fails, and raise failures to write as JmposeError."""
        try:
            yield
        except (OSError, pyav().error.FFmpegError) as error:
            self._discard()
            if error.errno == errno.ENOSPC:
                raise OutputError(f"{self._path}: the disk is full", hint="free space, or write elsewhere") from error
            raise OutputError(
                f"{self._path} cannot be written: {error.strerror}", hint="check that its folder exists and is writable"
            ) from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Remove the partial file, and the packets unless they were to be kept."""
        self._encoder, self._encoded = None, []
        if self._path is not None:
            self._partial.unlink(missing_ok=True)
        self._close_records()

    def _close_records(self) -> None:
        if self._records is None:
            return
        self._records.close()
        if not self._is_kept:
            self._records.path.unlink(missing_ok=True)
        self._records = None


def encoded_frames(packets: Path) -> int:
    """Number of frames whose packets a file holds, as an `OverlayWriter` will find them; 0 without a file."""
    if not packets.exists():
        return 0
    with RecordFile(packets) as records:
        return max((int(values["frames"]) for values, _ in records), default=0)


def _quality() -> dict[str, str]:
    # No B-frames: where the frame rate varies, an mp4 with them claims to end before its last picture is shown.
    return {"preset": _PRESET, "crf": str(_QUALITY_CRF), "bf": "0"}


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
