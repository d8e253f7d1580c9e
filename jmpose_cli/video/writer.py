"""Overlay out: H.264 video that plays everywhere, at the source's timestamps and with its sound.

The video is encoded in segments of a fixed number of frames, each by an encoder of its own, whose packets wait in a
record file. So a run that was killed resumes after the last whole segment, and its file is the same to the byte.
"""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jmpose.files import WholeFile
from jmpose_cli.errors import JmposeError, OutputError, is_of_the_disk
from jmpose_cli.files import Arrays, RecordFile
from jmpose_cli.values import Bytes
from jmpose_cli.video.audio_track import AudioTrack
from jmpose_cli.video.av_library import file_url, pyav
from jmpose_cli.video.info import VideoInfo

# Holds the times of all usual frame rates exactly, and any other to 6 microseconds.
TIME_BASE = Fraction(1, 90000)
# In place of it where a picture is shown for longer than mp4 can say in its ticks, which is 6.6 hours.
_COARSE_TIME_BASE = Fraction(1, 1000)
_MOST_TICKS = 2**31 - 1000  # of one picture, in either; some fewer than the format has, for rounding
_LONGEST_SHOWN = int(_MOST_TICKS * _COARSE_TIME_BASE / TIME_BASE)  # 24.8 days, in ticks of TIME_BASE

_PRESET = "veryfast"
_QUALITY_CRF = 23
_THREADS = 2  # fixed, because the number changes what x264 writes
_SEGMENT_S = 2
_SLOWEST_RATE, _FASTEST_RATE = Fraction(1, 100), Fraction(1000)
_LARGEST_SIDE_PX = 16384
_MOST_PIXELS = 139264 * 16 * 16  # macroblocks of the largest level of H.264
_BT709 = 1
_STUDIO_RANGE = 1


@dataclass(frozen=True)
class _Reached:
    """How far the frames have come.

    Attributes:
        frames: Their number.
        begin_s: The first timestamp, in seconds on the source's clock.
        last_s: The last timestamp.
        last_pts: The last one in the output, in ticks of TIME_BASE.
        longest: For how many ticks a picture is shown at most, of those before the last one.
        cut: By how many ticks pauses were shortened, all together.
    """

    frames: int = 0
    begin_s: float = 0.0
    last_s: float = -math.inf
    last_pts: int = -1
    longest: int = 0
    cut: int = 0


class OverlayWriter:
    """Writes frames as an mp4 file: H.264, yuv420p, index at the front.

    The first frame written is at second 0 of the output; each later one keeps its distance in time, also where the
    frame rate varies; only what is beyond mp4, a picture shown for over 24 days, is shortened. Width and height are
    padded to even numbers by repeating the last column and row; frames beyond H.264 are made smaller. The file appears
    under its name only when complete; until then it is `<name>.partial`, which an exception removes.

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
        JmposeError: If the file cannot be created or written; an OutputError, if the disk is full or fails.
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
            self._whole = WholeFile(path)
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
        pts = max(at.last_pts + 1, round((time_s - begin_s) / TIME_BASE) - at.cut)
        shown = pts - at.last_pts if at.frames else 0
        excess = max(shown - _LONGEST_SHOWN, 0)
        longest = max(at.longest, shown - excess)
        self._at = _Reached(at.frames + 1, begin_s, time_s, pts - excess, longest, at.cut + excess)
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
            self._complete()
            self._whole.commit()
            self._close_records()

    def _open(self, packets: Path) -> None:
        self._converter = pyav().video.reformatter.VideoReformatter()
        height, width, _ = self._shape
        self._padded = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
        self._size = _size_written(self._padded.shape[1], self._padded.shape[0])
        if self._size != self._padded.shape[1::-1]:
            self.notes.append(
                f"the overlay is made smaller, {self._size[0]}x{self._size[1]} pixels: "
                f"frames of {width}x{height} are too large for H.264"
            )
        self._records = RecordFile(packets, is_known=_is_known)
        if not self._is_kept:
            self._records.clear()
        for values, _ in self._records:
            self._at = _Reached(**values)

    def _set_up(self, encoder: Any, time_base: Fraction = TIME_BASE) -> None:
        """Apply the settings to an encoder, or to the stream that stands for all of them."""
        encoder.width, encoder.height = self._size
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = time_base
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
        width, height = self._size
        frame = self._converter.reformat(rgb, width=width, height=height, format="yuv420p", dst_colorspace="itu709")
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

    def _complete(self) -> None:
        """Write the mp4 file; without the sound, when that is what cannot be written."""
        if self._at.cut:
            days = float(self._at.cut * TIME_BASE) / 86400
            self.notes.append(
                f"the overlay is {days:.1f} days shorter than the video, whose pauses are too long for mp4"
            )
        try:
            self._multiplex(self._audio_from)
        except pyav().error.FFmpegError as error:
            if self._audio_from is None or is_of_the_disk(error):
                raise
            self.notes.append(f"the sound is left out of the overlay: it cannot be written ({error.strerror})")
            self._multiplex(None)

    def _multiplex(self, audio_from: Path | None) -> None:
        """Write the mp4 file from all packets, and the sound between them."""
        av = pyav()
        time_base = TIME_BASE if self._at.longest <= _MOST_TICKS else _COARSE_TIME_BASE
        options = {"movflags": "+faststart", "video_track_timescale": str(time_base.denominator)}
        self._whole.begin()
        with av.open(file_url(self._whole.partial), "w", format="mp4", container_options=options) as output:
            stream = output.add_stream("libx264", rate=self._rate, options=_quality())
            self._set_up(stream.codec_context, time_base)
            audio = AudioTrack(audio_from, self._info.stream, output) if audio_from is not None else None
            try:
                output.start_encoding()
                if audio is not None and self._at.frames:
                    audio.start(self._at.begin_s)
                for packet in self._packets(stream, time_base):
                    output.mux(packet)
                    if audio is not None:
                        audio.advance(float(packet.pts * time_base))
                if audio is not None and self._at.frames:
                    audio.advance(float(self._at.last_pts * TIME_BASE + 1 / self._rate))
            finally:
                if audio is not None:
                    audio.close()
                    self.notes.extend(audio.remarks)

    def _packets(self, stream: Any, time_base: Fraction) -> Iterator[Any]:
        """Yield all packets in order, each shown until the next one is, in ticks of `time_base`."""
        av = pyav()
        waiting: tuple[bytes, int, bool] | None = None

        def packet(data: bytes, pts: int, is_key: bool, end: int) -> Any:
            made = av.Packet(data)
            made.stream, made.time_base, made.is_keyframe = stream, time_base, is_key
            # No B-frames: the order of decoding is that of showing.
            made.pts = made.dts = pts
            made.duration = end - pts
            return made

        for _, arrays in self._records or ():
            data, at = arrays["data"].tobytes(), 0
            columns = (arrays[name].tolist() for name in ("size", "pts", "is_key"))
            for size, exact, is_key in zip(*columns, strict=True):
                pts = round(exact * TIME_BASE / time_base)
                if waiting is not None:
                    pts = max(pts, waiting[1] + 1)
                    yield packet(*waiting, end=pts)
                waiting = (data[at : at + size], pts, is_key)
                at += size
        if waiting is not None:
            yield packet(*waiting, end=waiting[1] + max(round(1 / self._rate / time_base), 1))

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        """Remove the partial file when the body fails, and raise failures to write as JmposeError.

        Only what the disk does is an OutputError; all else, such as what the encoder thinks of this video, is not.
        """
        try:
            yield
        except (OSError, pyav().error.FFmpegError) as error:
            self._discard()
            if error.errno == errno.ENOSPC:
                raise OutputError(f"{self._path}: the disk is full", hint="free space, or write elsewhere") from error
            if is_of_the_disk(error):
                raise OutputError(
                    f"{self._path} cannot be written: {error.strerror}", hint="check the disk, or write elsewhere"
                ) from error
            raise JmposeError(
                f"{self._path} cannot be written: {error.strerror}",
                hint="check its folder; --no-overlay makes the other results",
            ) from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Remove the partial file, and the packets unless they were to be kept."""
        self._encoder, self._encoded = None, []
        if self._path is not None:
            self._whole.discard()
        self._close_records()

    def _close_records(self) -> None:
        if self._records is None:
            return
        self._records.close()
        if not self._is_kept:
            self._records.path.unlink(missing_ok=True)
        self._records = None


def _is_known(values: dict[str, Any], arrays: Arrays) -> bool:
    """Tell whether a record is one of those that an `OverlayWriter` writes."""
    try:
        reached = _Reached(**values)
        rows = len(arrays["size"])
        return (
            all(type(value) is type(usual) for value, usual in zip(astuple(reached), astuple(_Reached()), strict=True))
            and reached.frames >= 0
            and math.isfinite(reached.begin_s + reached.last_s)
            and all(arrays[name].shape == (rows,) for name in ("size", "pts", "is_key"))
            and bool((arrays["size"] >= 0).all())
            and int(arrays["size"].sum()) == arrays["data"].nbytes
        )
    except (TypeError, KeyError):
        return False


def encoded_frames(packets: Path) -> int:
    """Number of frames whose packets a file holds, as an `OverlayWriter` will find them; 0 without a file."""
    if not packets.exists():
        return 0
    with RecordFile(packets, is_known=_is_known) as records:
        return max((int(values["frames"]) for values, _ in records), default=0)


def _size_written(width: int, height: int) -> tuple[int, int]:
    """Return width and height in pixels, both even, of the video that frames of an even size become."""
    scale = min(1.0, _LARGEST_SIDE_PX / max(width, height), math.sqrt(_MOST_PIXELS / (width * height)))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _quality() -> dict[str, str]:
    # No B-frames: where the frame rate varies, an mp4 with them claims to end before its last picture is shown.
    # No macroblock tree: x264's reads memory that nobody has written, and the same frames sometimes give other files.
    return {"preset": _PRESET, "crf": str(_QUALITY_CRF), "bf": "0", "mbtree": "0"}
