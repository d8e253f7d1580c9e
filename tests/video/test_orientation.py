"""Pictures stand as the file asks, whatever decodes it: all eight orientations of videos and of images."""

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from jmpose_cli.video.orientation import Orientation, orientation_of
from jmpose_cli.video.source import open_video
from tests.video_assets import draw_number, make_video, read_numbers

ONE = 1 << 16
ALL = list(itertools.product((0, 90, 180, 270), (False, True)))


def read(path: Path, **options):
    with open_video(path, **options) as source:
        return np.concatenate([batch.frames for batch in source]), source


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize(("rotation", "mirrored"), ALL)
def test_every_orientation_of_mp4(tmp_path, decoder, rotation, mirrored):
    make_video(tmp_path / "v.mp4", frames=5, rotation=rotation, mirrored=mirrored)
    frames, source = read(tmp_path / "v.mp4", decoder=decoder)
    assert read_numbers(frames) == [0, 1, 2, 3, 4]
    assert (source.info.rotation, source.info.mirrored, source.info.decoder) == (rotation, mirrored, decoder)
    assert source.notes == []


@pytest.mark.parametrize(("rotation", "mirrored"), [(180, False), (0, True), (90, True)])
def test_where_decord_does_not_know_that_a_file_asks_for_a_turn_pyav_takes_over(tmp_path, rotation, mirrored):
    make_video(tmp_path / "v.mkv", frames=5, rotation=rotation, mirrored=mirrored)
    frames, source = read(tmp_path / "v.mkv")
    assert read_numbers(frames) == [0, 1, 2, 3, 4]
    assert source.info.decoder == "pyav"
    assert "decord does not turn the pictures as the file asks" in source.notes[0]


def test_a_turn_that_only_the_pictures_themselves_ask_for(tmp_path):
    make_video(tmp_path / "plain.mp4", frames=3)
    with av.open(str(tmp_path / "plain.mp4")) as source, av.open(str(tmp_path / "v.mp4"), "w") as target:
        old = source.streams.video[0]
        new = target.add_stream_from_template(old)
        rewrite = av.bitstream.BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=180", old, new)
        for packet in source.demux(old):
            for rewritten in rewrite.filter(packet if packet.size else None):
                rewritten.stream = new
                target.mux(rewritten)
    frames, source = read(tmp_path / "v.mp4")
    assert read_numbers(frames[:, ::-1, ::-1]) == [0, 1, 2]
    assert source.info.rotation == 180


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize(
    ("matrix", "asked"),
    [
        ((46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30), "a turn by 45 degrees"),
        ((ONE, 0, 0, ONE // 2, ONE, 0, 0, 0, 1 << 30), "a distorted picture"),
        ((0, 0, 0, 0, 0, 0, 0, 0, 1 << 30), "a distorted picture"),
    ],
)
def test_what_is_no_quarter_turn_is_said_and_left(tmp_path, decoder, matrix, asked):
    make_video(tmp_path / "v.mp4", frames=3, display_matrix=matrix)
    frames, source = read(tmp_path / "v.mp4", decoder=decoder)
    assert read_numbers(frames) == [0, 1, 2]
    assert [note for note in source.notes if asked in note and "left as stored" in note]


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "expected"),
    [
        (-1, 0, 0, 1, Orientation(0, True)),
        (1, 0, 0, -1, Orientation(180, True)),
        (0, 1, 1, 0, Orientation(90, True)),
        (0, -1, -1, 0, Orientation(270, True)),
        (0, -1, 1, 0, Orientation(270, False)),
        (2, 0.01, -0.005, 3, Orientation(0, False)),
        (0.01, 0.9, -2, 0.001, Orientation(90, False)),
        (1, 0.1, 0, 1, None),
        (1, 0, 0, 0, None),
    ],
)
def test_matrices(a, b, c, d, expected):
    values = [round(Fraction(part) * ONE) for part in (a, b, 0, c, d)]
    assert orientation_of(np.array([*values, 0, 0, 0, 1 << 30], np.int32).tobytes()) == expected


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_every_exif_orientation_of_images(tmp_path, suffix):
    exif_of = {1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True)}
    exif_of |= {5: (90, True), 6: (90, False), 7: (270, True), 8: (270, False)}
    for tag, (rotation, mirrored) in exif_of.items():
        shown = draw_number(tag, width=96, height=64)
        lying = np.rot90(shown[:, ::-1] if mirrored else shown, rotation // 90)
        exif = Image.Exif()
        exif[0x0112] = tag
        Image.fromarray(np.ascontiguousarray(lying)).save(tmp_path / f"{tag}.{suffix}", exif=exif, quality=95)
    frames, _ = read(tmp_path)
    assert read_numbers(frames) == list(exif_of)
