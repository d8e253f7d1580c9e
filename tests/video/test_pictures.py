"""Files of several pictures, and pictures with damage inside."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from jmpose_cli.errors import JmposeError
from jmpose_cli.runs.probing import Probed, probe_videos
from jmpose_cli.video.picture_damage import is_damaged
from jmpose_cli.video.picture_pages import pages_in
from jmpose_cli.video.source import open_video
from tests.video_assets import draw_number, make_video, read_numbers

ASSUMED = "images have no frame rate; 25 is assumed, --fps gives the true one"


def pictures(count: int) -> list[Image.Image]:
    return [Image.fromarray(draw_number(number, width=96, height=64)) for number in range(count)]


def write_animation(path, count=6, **options):
    first, *others = pictures(count)
    first.save(path, save_all=True, append_images=others, **options)


def read(path, **options):
    with open_video(path, **options) as source:
        batches = list(source)
    numbers = [number for batch in batches for number in read_numbers(batch.frames)]
    return numbers, [float(at_s) for batch in batches for at_s in batch.time_s], source


# name: how it is saved, the times of six pictures, the rate, the notes.
ANIMATIONS = {
    "a.webp": ({"duration": [100, 100, 300, 100, 100, 100], "lossless": True}, [0, 0.1, 0.2, 0.5, 0.6, 0.7], 7.5, []),
    "a.tif": ({}, [n / 25 for n in range(6)], 25, [ASSUMED]),
    "big.tiff": ({"compression": "tiff_deflate", "big_tiff": True}, [n / 25 for n in range(6)], 25, [ASSUMED]),
    "a.gif": ({"duration": 100}, [n / 10 for n in range(6)], 10, None),
    "a.png": ({"duration": 100}, [n / 10 for n in range(6)], 10, None),
}


@pytest.mark.parametrize("name", ANIMATIONS)
def test_all_pictures_of_a_file_are_frames(tmp_path, name):
    options, times, fps, notes = ANIMATIONS[name]
    write_animation(tmp_path / name, **options)
    numbers, times_s, source = read(tmp_path / name, batch=4)
    assert numbers == list(range(6)) and times_s == pytest.approx(times)
    assert source.info.fps == pytest.approx(fps)
    if notes is not None:  # the others are FFmpeg's
        assert source.notes == notes
        assert read(tmp_path / name, frames=(2, 5))[0] == [2, 3, 4]
        assert read(tmp_path / name, deliver_from=4)[0] == [4, 5]
        assert probe_videos([tmp_path / name], processes=1) == [Probed(6)]


def test_the_rate_given_is_for_files_that_have_none(tmp_path):
    write_animation(tmp_path / "a.tif")
    _, times_s, source = read(tmp_path / "a.tif", fps=2)
    assert times_s == [0, 0.5, 1, 1.5, 2, 2.5] and source.notes == []
    write_animation(tmp_path / "a.webp", duration=100)
    _, times_s, source = read(tmp_path / "a.webp", fps=2)
    assert times_s[1] == 0.1 and source.notes == ["--fps 2 is not used: the file has timestamps of its own"]


def test_one_picture_is_a_video_of_one_frame(tmp_path):
    for suffix in ("png", "jpg", "bmp", "webp", "tif"):
        pictures(1)[0].save(tmp_path / f"a.{suffix}")
        numbers, times_s, source = read(tmp_path / f"a.{suffix}")
        assert (numbers, times_s, source.notes) == ([0], [0], [])


def test_a_video_with_the_name_of_a_picture_is_a_video(tmp_path):
    make_video(tmp_path / "a.mp4", frames=3)
    (tmp_path / "a.mp4").rename(tmp_path / "a.jpg")
    assert read(tmp_path / "a.jpg")[0] == [0, 1, 2]


def test_small_copies_in_a_tiff_are_no_frames(tmp_path):
    first, second = pictures(2)
    small = first.resize((24, 16))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "a.tif", save_all=True, append_images=[small, second])
    assert read(tmp_path / "a.tif")[0] == [0, 1]


def test_in_a_folder_the_first_of_several_is_used_and_said(tmp_path):
    write_animation(tmp_path / "0.webp", lossless=True)
    write_animation(tmp_path / "1.png", 3)
    write_animation(tmp_path / "2.tif", 2)
    pictures(1)[0].save(tmp_path / "3.webp")
    said = "files with several pictures, of which only the first is used: 3: 0.webp (of 6), 1.png (of 3), 2.tif (of 2)"
    numbers, _, source = read(tmp_path, fps=25)
    assert numbers == [0, 0, 0, 0] and source.notes == [said]
    _, _, source = read(tmp_path, fps=25, deliver_from=3)  # as a run that resumes
    assert source.notes == [said]


@pytest.mark.parametrize("name", ["a.webp", "a.tif"])
def test_pages_are_limited_in_size_and_named_when_damaged(tmp_path, name):
    write_animation(tmp_path / name)
    with pytest.raises(JmposeError, match=r"96x64 pixels are more than the 0\.001 million allowed"):
        open_video(tmp_path / name, max_megapixels=0.001)
    write_animation(tmp_path / name, 3)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 3 // 4])
    try:
        numbers, *_ = read(tmp_path / name)
    except JmposeError as error:
        assert "cannot be decoded" in error.message or "readable" in error.message
    else:
        assert numbers == list(range(len(numbers))) and len(numbers) < 3


def test_counts_that_a_file_only_claims_are_bounded():
    control = b"\0\0\0\x08acTL" + b"\xff" * 8 + b"\0" * 4
    assert len(pages_in(b"\x89PNG\r\n\x1a\n" + control + b"\0" * 64)) < 100


def photo(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (40, 60, 3), np.uint8), (600, 400), interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", **options)
    return out.getvalue()


# Whole files of every kind: no false alarm.
KINDS = {
    "plain": {},
    "coarse": {"quality": 5},
    "finest": {"quality": 100, "subsampling": 0},
    "progressive": {"progressive": True},
    "own tables": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2},
    "four to one": {"subsampling": "4:1:1"},
    "a long comment": {"comment": b"\0" * 60000},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_jpeg_is_not_called_damaged(kind):
    for image in (photo(), np.zeros((480, 640, 3), np.uint8), photo()[:1, :1], photo()[:33, :97]):
        data = jpeg(image, **KINDS[kind])
        assert not is_damaged(data) and not is_damaged(data + b"trailer") and not is_damaged(data + data)
    assert not is_damaged(jpeg(photo()[..., 0], **KINDS[kind] if kind != "four to one" else {}))


def with_hole(data: bytes, at: float, length: int, fill: bytes = b"\0") -> bytes:
    begin = int(len(data) * at)
    return data[:begin] + fill * length + data[begin + length :]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("progressive", "a long comment")])
def test_zeros_in_a_jpeg_are_seen(kind):
    data = jpeg(photo(), **KINDS[kind])
    for at in (0.3, 0.5, 0.7):
        for length in (128, 512, 1024):
            assert is_damaged(with_hole(data, at, length))


@pytest.mark.parametrize("kind", ["plain", "coarse", "restarts", "four to one"])
@pytest.mark.parametrize("fill", [b"\xff", b"U"])
def test_other_bytes_in_a_jpeg_are_seen_too(kind, fill):
    data = jpeg(photo(), **KINDS[kind])
    for at in (0.3, 0.5, 0.7):
        assert is_damaged(with_hole(data, at, 1024, fill))


def test_most_holes_in_a_progressive_jpeg_are_seen():
    data = jpeg(photo(), progressive=True)
    assert sum(is_damaged(with_hole(data, at, 1024)) for at in np.linspace(0.2, 0.9, 20)) >= 13


def test_a_damaged_jpeg_is_used_and_named(tmp_path):
    for number in range(25):
        data = jpeg(photo(number))
        (tmp_path / f"{number}.jpg").write_bytes(with_hole(data, 0.5, 1024) if number % 12 == 1 else data)
    with open_video(tmp_path, fps=25) as source:
        assert sum(len(batch) for batch in source) == 25
    said = "damaged pictures that are shown as far as they could be decoded: 2: 1.jpg, 13.jpg"
    assert source.notes == [said]
    with open_video(tmp_path, fps=25, deliver_from=20) as source:
        assert sum(len(batch) for batch in source) == 5
    assert source.notes == [said]
    with open_video(tmp_path / "1.jpg") as source:
        list(source)
    assert source.notes == ["damaged pictures that are shown as far as they could be decoded: 1: 1.jpg"]


def test_many_damaged_files_are_counted_and_the_first_ones_named(tmp_path):
    data = with_hole(jpeg(photo()), 0.5, 1024)
    for number in range(23):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    with open_video(tmp_path, fps=25) as source:
        list(source)
    (note,) = source.notes
    assert ": 23: 0.jpg, 1.jpg, " in note and note.endswith("19.jpg, and 3 more")


def test_the_checksums_of_a_png_are_checked():
    data = cv2.imencode(".png", photo())[1].tobytes()
    assert not is_damaged(data)
    assert is_damaged(with_hole(data, 0.5, 1, b"?")) and is_damaged(with_hole(data, 0.5, 512))
    comment = b"\0\0\0\x04tEXta\0bc\0\0\0\0"  # with a wrong checksum: no pixel is affected
    assert not is_damaged(data[:33] + comment + data[33:])
