"""What `open_video` gives for files with known content: frames, numbers, times, and one clear error for each fault."""

import os
import random
import re
from fractions import Fraction

import av
import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.video import file_source
from jmpose_cli.video.source import open_video
from tests.video_assets import make_video, read_numbers


def read(path, **options):
    """Return `(numbers shown, index, time_s, source)` of a whole video."""
    numbers, index, time_s = [], [], []
    with open_video(path, **options) as source:
        for batch in source:
            assert batch.frames.shape[1:] == (source.info.height, source.info.width, 3)
            assert len(batch) <= options.get("batch", 16)
            numbers += read_numbers(batch.frames)
            index += batch.index.tolist()
            time_s += batch.time_s.tolist()
    return numbers, index, time_s, source


# name: suffix, options of make_video. Every one decodes completely, and alike with both decoders.
WHOLE = {
    "h264 with B-frames": (".mp4", {"frames": 40, "codec_options": {"bf": "3"}}),
    "one frame": (".mp4", {"frames": 1}),
    "two frames": (".mp4", {"frames": 2}),
    "variable frame rate": (
        ".mp4",
        {"timestamps": [0, 0.04, 0.5, 0.51, 0.9, 1.7, 1.74, 2.6] + [3 + n / 7 for n in range(20)]},
    ),
    "starts above zero": (".mp4", {"timestamps": [8.4 + n / 25 for n in range(20)]}),
    "odd width and height": (".webm", {"size": (97, 65), "codec": "libvpx-vp9", "codec_options": {"cpu-used": "8"}}),
    "turned by 90": (".mp4", {"rotation": 90}),
    "turned by 180": (".mov", {"rotation": 180}),
    "turned by 270": (".mp4", {"rotation": 270}),
    "10 bit": (
        ".mkv",
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "codec_options": {"x265-params": "log-level=none"}},
    ),
    "many key frames": (".mov", {"frames": 50, "key_frame_every": 1}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_both_decoders_give_every_frame_upright_and_on_time(tmp_path, name):
    suffix, options = WHOLE[name]
    path = tmp_path / f"video{suffix}"
    times = make_video(path, **options)
    for decoder in ("decord", "pyav"):
        numbers, index, time_s, source = read(path, decoder=decoder)
        assert numbers == index == list(range(len(times)))
        # Matroska rounds to milliseconds, the others here to ticks of 1/90000 s.
        np.testing.assert_allclose(time_s, times, atol=6e-4 if suffix in {".mkv", ".webm"} else 6e-6)
        assert source.info.decoder == decoder
        assert source.info.rotation == options.get("rotation", 0)
        assert (source.info.width, source.info.height) == options.get("size", (96, 64))
        assert source.notes == []


# name: suffix, options, why PyAV decodes. decord gives these wrongly, or not at all.
PYAV_ONLY = {
    "vp8": (".webm", {"codec": "libvpx"}, "a packet of vp8 may hold more or less than one frame"),
    "av1": (".mkv", {"codec": "libsvtav1", "codec_options": {"preset": "12"}}, "decord cannot open the file"),
    "avi": (
        ".avi",
        {"codec": "mjpeg", "pix_fmt": "yuvj420p", "time_base": Fraction(1, 25)},
        "avi files have no exact index of their frames",
    ),
    "transport stream": (".ts", {"frames": 40}, "mpegts files have no exact index of their frames"),
    "key frames far apart": (
        ".mp4",
        {"frames": 600, "key_frame_every": 1000, "size": (32, 32)},
        "more than 512 frames apart",
    ),
    "tiny": (".mp4", {"size": (16, 16)}, r"frames of shape \(16, 16, 6\)"),
}


@pytest.mark.parametrize("name", PYAV_ONLY)
def test_auto_leaves_to_pyav_what_decord_cannot_read_rightly(tmp_path, name):
    suffix, options, reason = PYAV_ONLY[name]
    path = tmp_path / f"video{suffix}"
    times = make_video(path, **options)
    numbers, index, _, source = read(path)
    assert numbers == index == list(range(len(times)))
    assert source.info.decoder == "pyav"
    (note,) = source.notes
    assert note.startswith("PyAV takes over from decord at frame 0: ")
    assert re.search(reason, note)


def test_decord_cuts_long_groups_when_it_must(tmp_path):
    make_video(tmp_path / "long.mp4", frames=600, key_frame_every=1000, size=(32, 32))
    numbers, index, _, source = read(tmp_path / "long.mp4", decoder="decord")
    assert numbers == index == list(range(600))
    assert source.info.decoder == "decord"


def test_decoders_agree_on_colours(tmp_path):
    make_video(tmp_path / "a.mp4", size=(128, 96))
    batches = []
    for decoder in ("decord", "pyav"):
        with open_video(tmp_path / "a.mp4", decoder=decoder) as source:
            batches.append(next(iter(source)).frames.astype(int))
    assert np.abs(batches[0] - batches[1]).max() <= 2


def test_batches_are_own_memory_and_independent_of_their_size(tmp_path):
    make_video(tmp_path / "a.mp4", frames=23)
    with open_video(tmp_path / "a.mp4", batch=100) as source:
        (whole,) = list(source)
    with open_video(tmp_path / "a.mp4", batch=5) as source:
        parts = list(source)
    assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
    assert np.array_equal(np.concatenate([part.frames for part in parts]), whole.frames)
    assert np.array_equal(np.concatenate([part.time_s for part in parts]), whole.time_s)
    parts[0].frames[:] = 0  # writable, and nothing else changes with it
    assert read_numbers(parts[1].frames) == [5, 6, 7, 8, 9]


def test_large_frames_come_in_small_batches(monkeypatch, tmp_path):
    make_video(tmp_path / "a.mp4", frames=7)
    monkeypatch.setattr(file_source, "MOST_BATCH_BYTES", 3 * 96 * 64 * 3)
    with open_video(tmp_path / "a.mp4") as source:
        assert [len(batch) for batch in source] == [3, 3, 1]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"codec_options": {"bf": "2"}}),
        (".mp4", {"timestamps": [5 + n * n / 100 for n in range(50)]}),
        (
            ".mkv",
            {"codec": "libx265", "codec_options": {"preset": "ultrafast", "x265-params": "open-gop=1:log-level=none"}},
        ),
        (".ts", {}),
    ],
    ids=["closed groups", "variable frame rate", "open groups", "no index"],
)
def test_ranges_are_slices_of_the_whole(tmp_path, suffix, options):
    path = tmp_path / f"video{suffix}"
    make_video(path, **({"frames": 50, "key_frame_every": 7} | options))
    _, index, time_s, _ = read(path, decoder="pyav")
    from_first = [at_s - time_s[0] for at_s in time_s]
    choose = random.Random(0)
    for decoder in ("auto", "pyav"):
        begin = choose.randrange(1, 49)
        end = choose.randint(begin + 1, 55)
        ranges = {"frames": (begin, end), "time_s": (from_first[begin], from_first[end] if end < 50 else None)}
        for option, bounds in ranges.items():
            numbers, taken, taken_s, source = read(path, decoder=decoder, **{option: bounds})
            assert numbers == taken == index[begin:end], (option, bounds)
            assert taken_s == time_s[begin:end]
            assert not any("claims" in note for note in source.notes)


# A clock that starts late, in containers that give their duration from zero (mkv, nut) and from there (mp4, ts).
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".nut"])
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_time_is_counted_from_the_first_frame(tmp_path, suffix, decoder):
    path = tmp_path / f"late{suffix}"
    times = make_video(path, timestamps=[36000 + n / 25 for n in range(50)], key_frame_every=5)
    for time_s, expected in {
        (0.0, 0.4): range(10),
        (0.8, 1.2): range(20, 30),
        (1.6, None): range(40, 50),
        (None, 0.04): range(1),
    }.items():
        numbers, index, got_s, _ = read(path, decoder=decoder, time_s=time_s)
        assert numbers == index == list(expected)
        assert got_s == pytest.approx([times[n] for n in expected], abs=1e-3)
    with pytest.raises(JmposeError, match="no frame lies in --time 5:"):
        read(path, decoder=decoder, time_s=(5, None))


def test_the_error_of_an_empty_range_counts_from_the_first_frame_too(tmp_path):
    make_video(tmp_path / "a.ts", timestamps=[36000 + n / 25 for n in range(50)])
    with pytest.raises(JmposeError, match=r"the video has 50 frames, the last one read is at 1\.960 s"):
        read(tmp_path / "a.ts", time_s=(5, None))


def make_raw(path, **options):
    """Write a bare stream of pictures, which has no timestamps."""
    kinds = {
        ".mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
        ".h264": {},
        ".hevc": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}},
    }
    make_video(path, frames=12, **kinds[path.suffix], **options)


@pytest.mark.parametrize(
    ("name", "options", "fps", "expected", "said"),
    [
        ("a.mjpeg", {}, None, 25, "the file has no frame rate; 25 is assumed, --fps gives the true one"),
        ("a.mjpeg", {}, 10, 10, None),
        ("a.h264", {}, None, 25, "the file has no frame rate; 25 is assumed, --fps gives the true one"),  # says 90,000
        ("a.h264", {}, 50, 50, None),
        (
            "a.h264",
            {"time_base": Fraction(1, 20)},
            None,
            20,
            "its pictures say 20 frames a second, --fps",
        ),
        ("a.hevc", {"time_base": Fraction(1, 20), "fps": 20}, None, 20, "its pictures say 20 frames a second, --fps"),
        ("a.hevc", {"time_base": Fraction(1, 20), "fps": 20}, 12.5, 12.5, None),
    ],
)
def test_a_file_without_timestamps_is_timed_by_its_rate(tmp_path, name, options, fps, expected, said):
    make_raw(tmp_path / name, **options)
    numbers, index, time_s, source = read(tmp_path / name, fps=fps)
    assert numbers == index == list(range(12))
    assert time_s == pytest.approx([n / expected for n in range(12)])
    assert source.info.fps == expected
    rates = [note for note in source.notes if "--fps" in note or "timestamps" in note]
    assert len(rates) == (said is not None) and (said is None or said in rates[0])
    assert read(tmp_path / name, fps=fps, time_s=(4 / expected, 6 / expected))[1] == [4, 5]


def test_a_rate_for_a_file_with_timestamps_is_not_taken_and_said(tmp_path):
    make_video(tmp_path / "a.mp4")
    *_, source = read(tmp_path / "a.mp4", fps=10)
    assert source.info.fps == 25 and source.notes == ["--fps 10 is not used: the file has timestamps of its own"]


def test_range_outside_the_video(tmp_path):
    make_video(tmp_path / "a.mp4", frames=10)
    with pytest.raises(
        JmposeError, match=r"a\.mp4: no frame lies in --frames 10:20; the video has 10 frames"
    ) as caught:
        open_video(tmp_path / "a.mp4", frames=(10, 20))
    assert caught.value.hint == "choose a range inside the video"
    with pytest.raises(JmposeError, match=r"no frame lies in --time 0\.37:0\.4; .* 10 frames, .* is at 0\.360 s"):
        open_video(tmp_path / "a.mp4", time_s=(0.37, 0.4), decoder="pyav")
    with pytest.raises(JmposeError, match=r"no frame lies in --time 0\.01:0\.02, the last one read is at 0\.040 s"):
        open_video(tmp_path / "a.mp4", time_s=(0.01, 0.02))


def test_auto_goes_on_with_pyav_where_decord_stops(tmp_path):
    path = tmp_path / "a.mp4"
    make_video(path, frames=700, size=(32, 32), key_frame_every=1000, key_frames=[20, 40, 60, 80])
    numbers, index, time_s, source = read(path)
    assert numbers == index == list(range(700))
    assert time_s == sorted(set(time_s))
    assert source.info.decoder == "decord, then pyav"
    (note,) = source.notes
    assert note == "PyAV takes over from decord at frame 60: the file's key frames are more than 512 frames apart"


def test_damage_costs_few_frames_and_is_said(tmp_path):
    path = tmp_path / "a.mov"
    make_video(path, frames=120, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\xd8", len(data) // 2)  # a JPEG picture begins
    data[at : at + 300] = bytes(300)
    path.write_bytes(data)
    for decoder in ("auto", "pyav"):
        with open_video(path, decoder=decoder) as source:
            index = np.concatenate([batch.index for batch in source])
        assert index.tolist() == list(range(119))
        assert source.notes[-2:] == [
            "damaged pictures that cannot be decoded and are left out: 1",
            "the container claims 120 frames, 119 could be decoded",
        ]


def test_gap_in_time_is_said(tmp_path):
    make_video(tmp_path / "a.mp4", timestamps=[*np.arange(25) / 25, *(3 + np.arange(25) / 25), 6.5])
    with open_video(tmp_path / "a.mp4") as source:
        assert sum(len(batch) for batch in source) == 51
    assert source.notes == ["there are no pictures between 0.96 s and 3.00 s, and 1 more such gaps"]


def test_cut_file_without_a_frame_count_is_said_by_its_duration(tmp_path):
    make_video(tmp_path / "a.mkv", frames=150, truncate_at=0.5, codec_options={"bf": "0"})
    numbers, index, time_s, source = read(tmp_path / "a.mkv")
    assert 40 < len(numbers) < 120
    assert numbers == index == list(range(len(numbers)))
    assert source.info.frames_claimed is None
    assert source.notes == [f"the last picture is at {time_s[-1]:.2f} s, by the container the video lasts to 6.00 s"]


def test_metadata_in_another_encoding(tmp_path):
    make_video(tmp_path / "a.mkv", frames=3)
    data = (tmp_path / "a.mkv").read_bytes()
    assert b"Lavf" in data
    (tmp_path / "a.mkv").write_bytes(data.replace(b"Lavf", b"L\xe4vf"))
    assert read(tmp_path / "a.mkv")[0] == [0, 1, 2]


def test_truncated_fast_start_file_gives_its_first_part(tmp_path):
    make_video(tmp_path / "a.mp4", frames=150, truncate_at=0.6)
    numbers, index, _, source = read(tmp_path / "a.mp4")
    assert 40 < len(numbers) < 120
    assert numbers == index == list(range(len(numbers)))
    assert f"the container claims 150 frames, {len(numbers)} could be decoded" in source.notes
    assert source.info.frames_claimed == 150


def write_audio_only(path):
    make_video(path.with_suffix(".mkv"), audio="aac")
    with av.open(str(path.with_suffix(".mkv"))) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.pts is not None:
                packet.stream = stream
                output.mux(packet)


def write_zero_frames(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


def write_all_frames_damaged(path):
    make_video(path, frames=20, codec="mjpeg", pix_fmt="yuvj420p", fast_start=False)
    data = bytearray(path.read_bytes())
    begin, end = data.find(b"mdat") + 4, data.find(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


# name of the file: how to make it, the error. One error, for every decoder.
BAD_FILES = {
    "missing.mp4": (None, "missing.mp4: no such file"),
    "text.mp4": (lambda path: path.write_text("no video\n" * 100), "text.mp4 is not a readable video"),
    "readme.txt": (
        lambda path: path.write_text("no video\n" * 100),
        "readme.txt is (not a readable video|a text file, not a video)",
    ),
    "empty.mp4": (lambda path: path.write_bytes(b""), "empty.mp4 is an empty file"),
    "list.m3u8": (
        lambda path: path.write_text("#EXTM3U\nhttp://127.0.0.1/a.ts\n"),
        "list.m3u8 is not a readable video",
    ),
    "cut.mp4": (
        lambda path: make_video(path, frames=50, fast_start=False, truncate_at=0.3),
        "cut.mp4 is not a readable video",
    ),
    "sound.m4a": (write_audio_only, "sound.m4a holds audio only"),
    "nothing.mp4": (
        write_zero_frames,
        "nothing.mp4( is not a readable video|: not one frame can be decoded|.*holds no video stream)",
    ),
    "damaged.mov": (write_all_frames_damaged, "damaged.mov: not one frame can be decoded"),
    "pipe.mp4": (os.mkfifo, "pipe.mp4 is not a regular file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_give_one_clear_error(tmp_path, name):
    make, message = BAD_FILES[name]
    if make is not None:
        make(tmp_path / name)
    with pytest.raises(JmposeError, match=message) as caught:
        open_video(tmp_path / name)
    assert caught.value.hint
    assert caught.value.message.count("\n") == 0


def test_decord_alone_says_what_else_to_try(tmp_path):
    make_video(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    with pytest.raises(JmposeError, match=r"a\.avi: decord ended before frame 0: avi files have") as caught:
        open_video(tmp_path / "a.avi", decoder="decord")
    assert caught.value.hint == "try --decoder auto"


@pytest.mark.parametrize(
    "name", ["-dash.mp4", "a:b.mp4", "per%cent 100%d.mp4", "ünïcödé 人.mp4", os.fsdecode(b"not-utf8-\xff.mp4")]
)
def test_any_file_name(tmp_path, monkeypatch, name):
    make_video(tmp_path / "plain.mp4", frames=3)
    os.rename(tmp_path / "plain.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, type(tmp_path)(name)):
        assert read(path)[0] == [0, 1, 2]


def test_missing_timestamps_are_replaced_and_said(tmp_path):
    make_video(tmp_path / "a.h264", frames=10, codec_options={"bf": "0"})
    numbers, index, time_s, source = read(tmp_path / "a.h264")
    assert numbers == index == list(range(10))
    assert all(np.diff(time_s) > 0)
    assert source.info.decoder == "pyav"


def test_frame_size_that_changes_is_said(tmp_path):
    parts = [tmp_path / "a.h264", tmp_path / "b.h264"]
    make_video(parts[0], frames=5, codec_options={"bf": "0"})
    make_video(parts[1], frames=5, size=(128, 128), codec_options={"bf": "0"})
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    numbers, _, _, source = read(path)
    assert numbers == [0, 1, 2, 3, 4] * 2
    assert any("frame size changes at frame 5 from 96x64 to 128x128" in note for note in source.notes)


def test_facts_about_the_file(tmp_path):
    make_video(
        tmp_path / "a.mp4", frames=30, fps=29.97, rotation=90, size=(64, 96), audio="aac", pixel_aspect=Fraction(4, 3)
    )
    with open_video(tmp_path / "a.mp4") as source:
        info = source.info
    assert (info.width, info.height, info.rotation) == (64, 96, 90)
    assert info.fps == pytest.approx(29.97, abs=0.01)
    assert info.frames_claimed == 30
    assert info.has_audio
    assert info.pixel_aspect == (3, 4)  # of the picture as shown, after the turn
    assert info.duration_s == pytest.approx(30 / 29.97, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": (3, 3)}, "--frames 3:3 is an empty range"),
        ({"batch": 0}, "a batch of 0 frames is not possible"),
        ({"decoder": "vlc"}, "there is no decoder 'vlc'"),
    ],
)
def test_impossible_options(tmp_path, options, message):
    with pytest.raises(JmposeError, match=message):
        open_video(tmp_path / "a.mp4", **options)


def test_a_source_is_read_once(tmp_path):
    make_video(tmp_path / "a.mp4", frames=3)
    with open_video(tmp_path / "a.mp4") as source:
        assert len(next(iter(source))) == 3
        with pytest.raises(RuntimeError, match="read once"):
            iter(source)
