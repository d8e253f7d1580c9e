"""Videos and images with known content, made when a test needs them.

Each frame shows its number as a 4x4 grid of cells: the corners are red, green, blue and white (top left, top right,
bottom left, bottom right), the other twelve cells are the bits of the number, white for 1 and black for 0, in reading
order from the lowest. So a frame tells its number, its orientation and its colour order, also after lossy compression.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CORNERS = {(0, 0): (255, 0, 0), (0, 3): (0, 255, 0), (3, 0): (0, 0, 255), (3, 3): (255, 255, 255)}
CODE_CELLS = [(row, column) for row in range(4) for column in range(4) if (row, column) not in CORNERS]
MOST_FRAMES = 2 ** len(CODE_CELLS)

BEEP_HZ = 1000
BEEP_S = 0.1
AUDIO_RATE = 48000


def draw_number(number: int, *, width: int, height: int) -> np.ndarray:
    """Return the picture `[H, W, 3]` uint8 RGB of a frame number."""
    picture = np.zeros((height, width, 3), np.uint8)
    rows = np.linspace(0, height, 5).round().astype(int)
    columns = np.linspace(0, width, 5).round().astype(int)
    cells = dict(CORNERS)
    for bit, cell in enumerate(CODE_CELLS):
        cells[cell] = (255, 255, 255) if number >> bit & 1 else (0, 0, 0)
    for (row, column), colour in cells.items():
        picture[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = colour
    return picture


def read_number(picture: np.ndarray) -> int:
    """Return the number that a frame shows; AssertionError where it is turned, mirrored, or in another colour order."""
    height, width, _ = picture.shape
    centre = {
        (row, column): picture[int((row + 0.5) * height / 4), int((column + 0.5) * width / 4)].astype(int)
        for row in range(4)
        for column in range(4)
    }
    for cell, colour in CORNERS.items():
        assert np.abs(centre[cell] - colour).max() < 90, f"corner {cell} is {centre[cell]}, not {colour}"
    return sum(int(centre[cell].mean() > 127) << bit for bit, cell in enumerate(CODE_CELLS))


def read_numbers(frames: np.ndarray) -> list[int]:
    """Return the numbers that frames `[T, H, W, 3]` show."""
    return [read_number(frame) for frame in frames]


def make_video(
    path: Path,
    *,
    frames: int = 10,
    fps: float = 25.0,
    timestamps: Sequence[float] | None = None,
    size: tuple[int, int] = (96, 64),
    rotation: int = 0,
    mirrored: bool = False,
    display_matrix: Sequence[int] = (),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    key_frame_every: int = 12,
    key_frames: Sequence[int] = (),
    codec_options: dict[str, str] | None = None,
    audio: str | None = None,
    time_base: Fraction = Fraction(1, 90000),
    pixel_aspect: Fraction = Fraction(1),
    fast_start: bool = True,
    truncate_at: float | None = None,
) -> list[float]:
    """Write a video whose frames show their numbers.

    Args:
        path: The file; its suffix chooses the container.
        frames: Number of frames; with `timestamps` their number counts.
        fps: Frames per second.
        timestamps: Time of each frame in seconds; None spaces them by `fps` from 0.
        size: Width and height as shown, that is with the rotation applied.
        rotation: Degrees clockwise that a player has to turn the stored pictures.
        mirrored: Whether a player has to mirror them after that, left to right.
        display_matrix: What the file says of this instead, nine integers as FFmpeg has them.
        codec: FFmpeg's name of the encoder.
        pix_fmt: Pixel format stored.
        key_frame_every: Distance of key frames in frames.
        key_frames: Numbers of further key frames; libx264 only.
        codec_options: Further options of the encoder.
        audio: Encoder of a sound track that beeps for 0.1 s at each full second of the video's clock; None adds none.
        time_base: Tick of the timestamps, where the container leaves the choice.
        pixel_aspect: Width over height of a pixel.
        fast_start: Whether the index of an mp4 stands at the front.
        truncate_at: Share of the file's bytes to keep; None keeps all.

    Returns:
        The timestamps in seconds.
    """
    times = [number / fps for number in range(frames)] if timestamps is None else list(timestamps)
    assert len(times) <= MOST_FRAMES
    options = {"movflags": "+faststart"} if fast_start and path.suffix in {".mp4", ".mov"} else {}
    with av.open(str(path), "w", container_options=options) as container:
        # Each picture differs much from the one before; without this, x264 sees cuts and adds key frames.
        defaults = {"preset": "veryfast", "sc_threshold": "0", "forced-idr": "1"} if codec == "libx264" else {}
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rate, options=defaults | (codec_options or {}))
        turned = rotation in (90, 270)
        stream.width, stream.height = size[::-1] if turned else size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = key_frame_every
        stream.codec_context.thread_count = 1
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation or mirrored:
            stream.set_display_rotation(-rotation, hflip=mirrored)
        if display_matrix:
            stream.set_display_matrix(display_matrix)
        sound = None if audio is None else container.add_stream(audio, rate=AUDIO_RATE, layout="mono")
        if sound is not None:
            _encode_beeps(container, sound, times[-1] + 1 / fps)
        for number, time_s in enumerate(times):
            shown = draw_number(number, width=size[0], height=size[1])
            picture = np.rot90(shown[:, ::-1] if mirrored else shown, rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            if number in key_frames:
                frame.pict_type = av.video.frame.PictureType.I
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if truncate_at is not None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * truncate_at)])
    return times


def _encode_beeps(container, stream, duration_s: float) -> None:
    count = int(duration_s * AUDIO_RATE)
    seconds = np.arange(count) / AUDIO_RATE
    wave = np.where(seconds % 1 < BEEP_S, 0.5 * np.sin(2 * np.pi * BEEP_HZ * seconds), 0).astype(np.float32)
    resampler = av.AudioResampler(stream.codec_context.format.name, "mono", AUDIO_RATE)
    for begin in range(0, count, 960):
        frame = av.AudioFrame.from_ndarray(wave[None, begin : begin + 960], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, begin, Fraction(1, AUDIO_RATE)
        for ready in resampler.resample(frame):
            container.mux(stream.encode(ready))
    container.mux(stream.encode(None))


def beep_starts(path: Path) -> list[float]:
    """Return the times in seconds at which the sound of a file begins to beep, as a player would hear it."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    resampler = av.AudioResampler("fltp", "mono", AUDIO_RATE)
    times, waves = [], []
    for frame in frames:
        for ready in resampler.resample(frame):
            wave = ready.to_ndarray()[0]
            begin = ready.pts * float(ready.time_base)
            times.append(begin + np.arange(len(wave)) / AUDIO_RATE)
            waves.append(np.abs(wave))
    seconds, loud = np.concatenate(times), np.concatenate(waves) > 0.1
    starts = []
    for at in seconds[loud]:
        if not starts or at - starts[-1][1] > 0.5:
            starts.append([at, at])
        starts[-1][1] = at
    return [float(begin) for begin, _ in starts]
