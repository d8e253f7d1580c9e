"""What `OverlayWriter` writes, read back with PyAV."""

import errno
import os
import resource
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import RecordFile
from jmpose_cli.video.audio_track import AudioTrack
from jmpose_cli.video.info import VideoInfo
from jmpose_cli.video.source import open_video
from jmpose_cli.video.writer import OverlayWriter, _size_written
from tests.conftest import ROOT
from tests.video_assets import beep_starts, draw_number, make_video, read_number


def info_of(width=96, height=64, fps=25.0, **facts) -> VideoInfo:
    facts = {"has_audio": False, "frames_claimed": None, "rotation": 0, "decoder": "pyav"} | facts
    return VideoInfo(path=Path("source.mp4"), width=width, height=height, fps=fps, **facts)


def write_numbers(path, times, info, **options):
    with OverlayWriter(path, info=info, **options) as writer:
        for number, time_s in enumerate(times):
            writer.write(draw_number(number, width=info.width, height=info.height), time_s)
    return writer


def read_back(path):
    """Return the frames `[T, H, W, 3]`, their times in seconds, and the closed stream's facts."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        facts = (context.name, context.pix_fmt, context.profile, stream.frames, stream.duration * stream.time_base)
        frames = list(container.decode(stream))
    times = [float(frame.pts * frame.time_base) for frame in frames]
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), times, facts


HOUR_S, DAY_S = 3600, 86400
VARIABLE = [0, 0.04, 0.5, 0.51, 0.9, 2.0, 2.04, 3.7]
TIMES = {
    "constant": (25.0, [n / 25 for n in range(60)]),
    "ntsc": (30000 / 1001, [n * 1001 / 30000 for n in range(60)]),
    "variable": (8 / 3.7, VARIABLE),
    "starts above zero": (25.0, [127.3 + n / 25 for n in range(10)]),
    "slow": (0.2, [0.0, 5.0, 10.0]),
    "one frame": (25.0, [0.0]),
    "two frames": (25.0, [0.0, 0.04]),
    "broken header": (1e6, [0.0, 0.04]),
}


@pytest.mark.parametrize("name", TIMES)
def test_every_frame_at_its_time(tmp_path, name):
    fps, times = TIMES[name]
    write_numbers(tmp_path / "o.mp4", times, info_of(fps=fps))
    frames, found, (codec, pix_fmt, _, count, duration_s) = read_back(tmp_path / "o.mp4")
    assert [read_number(frame) for frame in frames] == list(range(len(times)))
    assert found == pytest.approx(np.array(times) - times[0], abs=6e-6)
    assert (codec, pix_fmt, count) == ("h264", "yuv420p", len(times))
    assert duration_s > found[-1]  # the last frame is shown for a while too
    data = (tmp_path / "o.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    assert list(tmp_path.iterdir()) == [tmp_path / "o.mp4"]


@pytest.mark.parametrize(("width", "height"), [(97, 64), (96, 65), (97, 65), (1, 1)])
def test_odd_sizes_repeat_the_border(tmp_path, width, height):
    picture = np.full((height, width, 3), (200, 60, 30), np.uint8)
    with OverlayWriter(tmp_path / "o.mp4", info=info_of(width, height)) as writer:
        writer.write(picture, 0.0)
    frames, _, _ = read_back(tmp_path / "o.mp4")
    assert frames.shape == (1, height + height % 2, width + width % 2, 3)
    assert np.abs(frames[0].astype(int) - (200, 60, 30)).max() < 12


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_colours_come_back(tmp_path, size):
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (120, 80, 40)], np.uint8)
    with OverlayWriter(tmp_path / "o.mp4", info=info_of(*size)) as writer:
        for number, colour in enumerate(colours):
            writer.write(np.broadcast_to(colour, (size[1], size[0], 3)), number / 25)
    with open_video(tmp_path / "o.mp4", decoder="pyav") as source:
        frames = np.concatenate([batch.frames for batch in source])
    assert np.abs(frames[:, 24, 32].astype(int) - colours).max() < 12
    with av.open(str(tmp_path / "o.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


def test_pixel_aspect_is_kept(tmp_path):
    write_numbers(tmp_path / "o.mp4", [0.0], info_of(pixel_aspect=(16, 15)))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


def copy_video(source_path, path, **options):
    """Write the frames of a video unchanged; return their times and the notes."""
    times = []
    with (
        open_video(source_path, decoder="pyav", **options) as source,
        OverlayWriter(path, info=source.info, audio_from=source_path) as writer,
    ):
        for batch in source:
            for frame, time_s in zip(batch.frames, batch.time_s, strict=True):
                writer.write(frame, float(time_s))
                times.append(float(time_s))
    return times, writer.notes


# source: suffix, sound encoder, codec of the sound in the output.
SOUNDS = {
    "aac": (".mp4", "aac", "aac"),
    "mp3": (".mp4", "libmp3lame", "mp3"),
    "opus": (".mkv", "libopus", "opus"),
    "flac, encoded again": (".mkv", "flac", "aac"),
    "pcm, encoded again": (".mov", "pcm_s16le", "aac"),
    "broadcast aac, encoded again": (".ts", "aac", "aac"),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_is_in_step_also_for_ranges(tmp_path, name):
    suffix, encoder, codec = SOUNDS[name]
    source = tmp_path / f"source{suffix}"
    make_video(source, timestamps=[0.7 + n / 25 for n in range(100)], audio=encoder, size=(64, 48))
    beeps = beep_starts(source)
    for time_range in (None, (0.8, 2.5)):  # 1.5 to 3.2 s on the clock of the source
        times, notes = copy_video(source, tmp_path / "o.mp4", time_s=time_range)
        with av.open(str(tmp_path / "o.mp4")) as container:
            assert container.streams.audio[0].codec_context.codec.canonical_name == codec
        expected = [at - times[0] for at in beeps if times[0] <= at < times[-1] + 0.04]
        assert len(expected) >= 2
        assert beep_starts(tmp_path / "o.mp4") == pytest.approx(expected, abs=0.004)
        assert notes == []


@pytest.mark.parametrize("encoder", ["flac", "libopus"])
def test_sound_with_a_pause_of_hours(tmp_path, encoder):
    """Filling it with silence would take gigabytes and minutes."""
    pause_s, source = 7 * HOUR_S, tmp_path / "source.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        sound = container.add_stream(encoder, rate=48000, layout="mono")
        for begin_s in (0, pause_s):
            for number in range(25):
                frame = av.VideoFrame.from_ndarray(draw_number(number, width=64, height=48), format="rgb24")
                frame.pts, frame.time_base = begin_s * 25 + number, Fraction(1, 25)
                container.mux(video.encode(frame))
            tone = (np.sin(np.arange(48000) / 20) * 20000).astype(np.int16)
            for at in range(0, 48000, 960):
                part = av.AudioFrame.from_ndarray(tone[None, at : at + 960], format="s16", layout="mono")
                part.sample_rate, part.pts, part.time_base = 48000, begin_s * 48000 + at, Fraction(1, 48000)
                container.mux(sound.encode(part))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, notes = copy_video(source, tmp_path / "o.mp4")
    assert time.monotonic() - begun < 5 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert len(times) == 50 and times[25] == pytest.approx(pause_s, abs=0.01) and notes == []
    with av.open(str(tmp_path / "o.mp4")) as container:
        heard = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.size]
    late = [time_s for time_s in heard if time_s > 2]
    assert late and late[0] == pytest.approx(pause_s, abs=0.06) and late[-1] == pytest.approx(pause_s + 1, abs=0.1)
    assert len(heard) < 250


def test_copied_sound_is_the_same_bytes(tmp_path):
    make_video(tmp_path / "source.mp4", frames=50, audio="aac")
    copy_video(tmp_path / "source.mp4", tmp_path / "o.mp4")
    packets = []
    for name in ("source.mp4", "o.mp4"):
        with av.open(str(tmp_path / name)) as container:
            packets.append([(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size])
    written = len(packets[1])
    assert written >= 90  # 2 s of 1024 samples at 48 kHz are 93.75
    assert packets[1] == packets[0][:written]


def test_range_without_sound_and_video_without_sound(tmp_path):
    make_video(tmp_path / "source.mp4", frames=50, audio="aac")
    times, _ = copy_video(tmp_path / "source.mp4", tmp_path / "o.mp4", frames=(49, None))
    assert len(times) == len(read_back(tmp_path / "o.mp4")[0]) == 1
    make_video(tmp_path / "silent.mp4", frames=3)
    copy_video(tmp_path / "silent.mp4", tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert not container.streams.audio


def test_damaged_sound_costs_only_sound(tmp_path):
    source = tmp_path / "source.mov"
    make_video(source, frames=50, audio="aac")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 3 // 4])
    times, _ = copy_video(source, tmp_path / "o.mp4")
    assert len(read_back(tmp_path / "o.mp4")[0]) == len(times) > 10


def test_no_path_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_numbers(None, [0.0, 0.1], info_of())
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_neither_file_nor_partial(tmp_path):
    (tmp_path / "o.mp4").write_bytes(b"the old one")
    with pytest.raises(KeyError), OverlayWriter(tmp_path / "o.mp4", info=info_of()) as writer:
        writer.write(draw_number(0, width=96, height=64), 0.0)
        assert (tmp_path / "o.mp4.packets.partial").exists()
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]
    assert (tmp_path / "o.mp4").read_bytes() == b"the old one"


@pytest.mark.parametrize(
    ("frame", "time_s", "message"),
    [
        (np.zeros((64, 95, 3), np.uint8), 0.5, r"frame is uint8\[64, 95, 3\], expected uint8\[64, 96, 3\]"),
        (np.zeros((64, 96, 3), np.float32), 0.5, r"frame is float32\[64, 96, 3\]"),
        (np.zeros((64, 96, 3), np.uint8), 0.0, r"a frame at 0\.0 s cannot follow one at 0\.0 s"),
    ],
)
def test_wrong_frames_are_refused(frame, time_s, message):
    writer = OverlayWriter(None, info=info_of())
    writer.write(np.zeros((64, 96, 3), np.uint8), 0.0)
    with pytest.raises(ValueError, match=message):
        writer.write(frame, time_s)


def test_times_closer_than_a_tick_stay_in_order(tmp_path):
    write_numbers(tmp_path / "o.mp4", [0.0, 1e-7, 2e-7, 0.04], info_of())
    _, times, _ = read_back(tmp_path / "o.mp4")
    assert times == pytest.approx([0, 1 / 90000, 2 / 90000, 0.04])


def test_names_that_ffmpeg_would_read_as_protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pipe:1.mp4", "-o.mp4", "100%d.mp4", "人.mp4"):
        write_numbers(Path(name), [0.0], info_of())
        assert len(read_back(tmp_path / name)[0]) == 1


def test_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(JmposeError, match=r"no/o\.mp4 cannot be written: No such file or directory") as caught:
        OverlayWriter(tmp_path / "no" / "o.mp4", info=info_of())
    assert caught.value.hint == "check its folder; --no-overlay makes the other results"
    assert not isinstance(caught.value, OutputError)


@pytest.mark.parametrize(("width", "height", "written"), [(20001, 64, (16384, 52)), (2, 40000, (2, 16384))])
def test_frames_too_large_for_h264_become_smaller(tmp_path, width, height, written):
    with OverlayWriter(tmp_path / "o.mp4", info=info_of(width, height)) as writer:
        writer.write(np.full((height, width, 3), (200, 60, 30), np.uint8), 0.0)
    frames, _, _ = read_back(tmp_path / "o.mp4")
    assert frames.shape == (1, written[1], written[0], 3) and np.abs(frames[0].astype(int) - (200, 60, 30)).max() < 12
    assert f"smaller, {written[0]}x{written[1]} pixels" in writer.notes[0]


def test_as_many_pixels_as_the_largest_level_of_h264_holds():
    assert _size_written(7680, 4320) == (7680, 4320)
    width, height = _size_written(10000, 10000)
    assert width == height and 0.999 < width * height / (139264 * 256) <= 1


@pytest.mark.parametrize(
    ("pause_s", "shown_s"), [(7 * HOUR_S, 7 * HOUR_S), (20 * DAY_S, 20 * DAY_S), (400 * DAY_S, 24.86 * DAY_S)]
)
def test_pauses_of_hours_and_days(tmp_path, pause_s, shown_s):
    """Beyond 6.6 hours, mp4 cannot hold a picture's time in ticks of 1/90000 s; beyond 24 days, not in milliseconds."""
    times = [5.0, 5.0002, 5.04, 5.04 + pause_s, 5.08 + pause_s, 5.1 + pause_s]
    writer = write_numbers(tmp_path / "o.mp4", times, info_of())
    frames, found, _ = read_back(tmp_path / "o.mp4")
    assert [read_number(frame) for frame in frames] == list(range(6)) and found == sorted(set(found))
    assert found == pytest.approx([0, 0, 0.04, 0.04 + shown_s, 0.08 + shown_s, 0.1 + shown_s], rel=3e-4, abs=2e-3)
    assert found[5] - found[3] == pytest.approx(0.06, abs=2e-3)
    assert ["days shorter" in note for note in writer.notes] == [True] * (shown_s < pause_s)


def test_a_pause_is_known_to_a_later_run(tmp_path):
    """The packets before it may have been written by an earlier one."""
    times = [0.0, 30 * DAY_S, 30 * DAY_S + 0.04]
    write_numbers(tmp_path / "whole.mp4", times, info_of(fps=0.5))  # segments have one frame
    for part in (1, 2, 3):
        with OverlayWriter(tmp_path / "o.mp4", info=info_of(fps=0.5), packets=tmp_path / "packets") as writer:
            for number in range(writer.frames, part):
                writer.write(draw_number(number, width=96, height=64), times[number])
    assert (tmp_path / "o.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert len(writer.notes) == 1


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no right to mount: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def noise(times, path):
    random = np.random.default_rng(0)
    with OverlayWriter(path, info=info_of(320, 240)) as writer:
        for time_s in times:
            writer.write(random.integers(0, 255, (240, 320, 3), np.uint8), time_s)


@pytest.mark.parametrize("frames", [200, 45], ids=["while writing", "while closing"])
def test_full_disk(tiny_disk, frames):
    with pytest.raises(JmposeError, match=r"o\.mp4: the disk is full") as caught:
        noise([n / 25 for n in range(frames)], tiny_disk / "o.mp4")
    assert caught.value.hint == "free space, or write elsewhere"
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.parametrize("stage", ["append", "_multiplex"])
def test_failing_disk_at_each_stage(tmp_path, monkeypatch, stage):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordFile if stage == "append" else OverlayWriter, stage, fail)
    with (
        pytest.raises(OutputError, match="the disk is full"),
        OverlayWriter(tmp_path / "o.mp4", info=info_of()) as writer,
    ):
        writer.write(draw_number(0, width=96, height=64), 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EINVAL, JmposeError), (errno.EACCES, JmposeError), (errno.EFBIG, JmposeError), (errno.EIO, OutputError)],
)
def test_only_the_disk_stops_a_run(tmp_path, monkeypatch, number, kind):
    def fail(*_):
        raise av.error.FFmpegError(number, os.strerror(number))

    monkeypatch.setattr(OverlayWriter, "_multiplex", fail)
    with pytest.raises(JmposeError, match=r"o\.mp4 cannot be written") as caught:
        write_numbers(tmp_path / "o.mp4", [0.0], info_of())
    assert type(caught.value) is kind and list(tmp_path.iterdir()) == []


def test_sound_that_the_muxer_refuses_is_left_out(tmp_path, monkeypatch):
    def fail(*_):
        raise av.error.ArgumentError(errno.EINVAL, "Invalid argument")

    source = tmp_path / "v.mp4"
    make_video(source, frames=10, audio="aac")
    monkeypatch.setattr(AudioTrack, "advance", fail)
    writer = write_numbers(tmp_path / "o.mp4", [0, 0.04], info_of(has_audio=True), audio_from=source)
    assert writer.notes == ["the sound is left out of the overlay: it cannot be written (Invalid argument)"]
    assert len(read_back(tmp_path / "o.mp4")[0]) == 2
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert not container.streams.audio


def write_part(path, packets, frames, *, stop_at=None):
    """Write numbered frames behind those that are there; with `stop_at`, end as a killed process would."""
    with OverlayWriter(path, info=info_of(fps=10.0), packets=packets) as writer:
        begin = writer.frames
        for number in range(begin, frames):
            if number == stop_at:
                raise KeyboardInterrupt
            writer.write(draw_number(number, width=96, height=64), 3 + number / 10)
    return begin


def test_a_stopped_overlay_goes_on_to_the_same_bytes(tmp_path):
    write_part(tmp_path / "whole.mp4", None, 95)
    packets, path = tmp_path / "packets", tmp_path / "o.mp4"
    for stop_at in (7, 50, 50, 79):
        with pytest.raises(KeyboardInterrupt):
            write_part(path, packets, 95, stop_at=stop_at)
        with packets.open("ab") as file:  # a record that was torn
            file.write(packets.read_bytes()[:100] or b"JM")
    assert write_part(path, packets, 95) == 60  # segments have 20 frames
    assert path.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert write_part(path, packets, 95) == 95  # killed behind the last frame
    assert path.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_bytes_do_not_depend_on_what_memory_held_before(tmp_path):
    """glibc fills memory with a pattern before it gives it away; elsewhere this only writes the same file twice."""
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from tests.video.test_writer import OverlayWriter, info_of\n"
        "frames = np.random.default_rng(0).integers(0, 255, (6, 34, 60, 3), np.uint8).repeat(16, 1).repeat(16, 2)\n"
        "with OverlayWriter(Path(sys.argv[1]), info=info_of(width=960, height=540)) as writer:\n"
        "    for number, frame in enumerate(frames):\n"
        "        writer.write(frame[:540], number / 25)\n"
    )
    paths = [tmp_path / f"{pattern}.mp4" for pattern in (1, 85)]
    for path in paths:
        environment = os.environ | {"MALLOC_PERTURB_": path.stem}
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=ROOT, env=environment)
    assert paths[0].read_bytes() == paths[1].read_bytes()
