"""Folders of images as videos."""

import cv2
import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.image_folder import list_images
from jmpose_cli.video.source import open_video
from tests.video_assets import draw_number, read_numbers


def write_images(folder, names, *, size=(96, 64)):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        picture = draw_number(number, width=size[0], height=size[1])
        assert cv2.imwrite(str(folder / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif", "JPG"])
def test_images_are_frames(tmp_path, suffix):
    write_images(tmp_path / "seq", [f"{n:06d}.{suffix}" for n in range(10)])
    with open_video(tmp_path / "seq", batch=4, fps=12.5) as source:
        batches = list(source)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    frames = np.concatenate([batch.frames for batch in batches])
    assert read_numbers(frames) == list(range(10))
    assert np.concatenate([batch.index for batch in batches]).tolist() == list(range(10))
    assert np.concatenate([batch.time_s for batch in batches]) == pytest.approx(np.arange(10) * 0.08)
    assert source.notes == []
    info = source.info
    assert (info.width, info.height, info.fps, info.frames_claimed) == (96, 64, 12.5, 10)
    assert (info.decoder, info.rotation, info.has_audio, info.duration_s) == ("images", 0, False, 0.8)


def test_an_assumed_rate_is_said(tmp_path):
    write_images(tmp_path, ["0.png", "1.png"])
    with open_video(tmp_path) as source:
        assert next(iter(source)).time_s.tolist() == [0, 0.04]
    assert source.notes == ["images have no frame rate; 25 is assumed, --fps gives the true one"]


def test_order_is_natural_and_other_files_are_left_alone(tmp_path):
    names = ["img_1.jpg", "img_2.png", "img_10.jpg", "img_100.jpg", "other.jpg"]
    write_images(tmp_path, names)
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_images(tmp_path)] == names
    with open_video(tmp_path) as source:
        assert read_numbers(next(iter(source)).frames) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"frames": (2, 4)}, [2, 3]),
        ({"time_s": (0.12, None)}, [3, 4, 5]),
        ({"frames": (1, None), "time_s": (None, 0.08)}, [1]),
    ],
)
def test_ranges(tmp_path, options, expected):
    write_images(tmp_path, [f"{n}.png" for n in range(6)])
    with open_video(tmp_path, **options) as source:
        batch = next(iter(source))
    assert read_numbers(batch.frames) == batch.index.tolist() == expected


def test_exif_orientation_is_applied(tmp_path):
    write_images(tmp_path, ["0.jpg"], size=(64, 96))
    data = (tmp_path / "0.jpg").read_bytes()
    stored = cv2.rotate(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.ROTATE_90_COUNTERCLOCKWISE)
    _, encoded = cv2.imencode(".jpg", stored)
    turn_clockwise = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(turn_clockwise) + 2).to_bytes(2, "big") + turn_clockwise
    (tmp_path / "0.jpg").write_bytes(encoded.tobytes()[:2] + segment + encoded.tobytes()[2:])
    with open_video(tmp_path) as source:
        assert read_numbers(next(iter(source)).frames) == [0]


def spoil_nothing(folder):
    for path in folder.iterdir():
        path.unlink()


def spoil_size(folder):
    write_images(folder, ["0.png", "1.png"])
    cv2.imwrite(str(folder / "2.png"), np.zeros((48, 64, 3), np.uint8))


def cut(name):
    def spoil(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])

    return spoil


def overwrite(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def claim_a_long_block(name):
    def spoil(folder):
        data = (folder / name).read_bytes()
        at = data.index(b"IDAT") - 4
        (folder / name).write_bytes(data[:at] + b"\xff\xff\x7f\0" + data[at + 4 :])

    return spoil


# fault: how to make it, in which image format, the error.
FAULTS = {
    "no images": (spoil_nothing, "png", r"seq: the folder holds no images"),
    "mixed sizes": (spoil_size, "png", r"2\.png is 64x48 pixels, the first image is 96x64"),
    "cut JPEG": (cut("2.jpg"), "jpg", r"2\.jpg: the image is cut off"),
    "cut PNG": (cut("2.png"), "png", r"2\.png: the image is cut off"),
    # OpenCV takes 4 GB for it before it reads
    "PNG block without end": (claim_a_long_block("2.png"), "png", r"2\.png: the image is cut off"),
    "first is cut": (cut("0.jpg"), "jpg", r"0\.jpg: the image is cut off"),
    "empty file": (overwrite("2.jpg", b""), "jpg", r"2\.jpg is not a readable image"),
    "text": (overwrite("2.png", b"no image"), "png", r"2\.png is not a readable image"),
    "start marker only": (overwrite("2.jpg", b"\xff\xd8\xff\xff\xff\xe0"), "jpg", r"2\.jpg: the image is cut off"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_the_file(tmp_path, fault):
    spoil, suffix, message = FAULTS[fault]
    write_images(tmp_path / "seq", [f"{n}.{suffix}" for n in range(4)])
    spoil(tmp_path / "seq")
    with pytest.raises(JmposeError, match=message):
        list(open_video(tmp_path / "seq"))


def test_jpeg_with_a_thumbnail_inside_and_bytes_behind_is_whole(tmp_path):
    write_images(tmp_path, ["0.jpg"])
    data = (tmp_path / "0.jpg").read_bytes()
    thumbnail = b"\xff\xe1\0\x06\xff\xd9\xff\xd9"  # a segment of 6 bytes with end markers inside
    whole = data[:2] + thumbnail + data[2:] + b"trailer"
    (tmp_path / "0.jpg").write_bytes(whole)
    with open_video(tmp_path) as source:
        assert read_numbers(next(iter(source)).frames) == [0]
    (tmp_path / "0.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JmposeError, match="cut off"):
        open_video(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "0 frames per second are not possible"),
        ({"fps": float("nan")}, "nan frames per second are not possible"),
        ({"frames": (5, None)}, "no image lies in --frames 5:; the folder has 3 images"),
    ],
)
def test_impossible_options(tmp_path, options, message):
    write_images(tmp_path, ["0.png", "1.png", "2.png"])
    with pytest.raises(JmposeError, match=message):
        open_video(tmp_path, **options)


def test_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)  # as root, a mode of 000 keeps nobody out
    with pytest.raises(JmposeError, match="the folder cannot be read: Permission denied"):
        open_video(tmp_path)


def test_is_read_once_and_closes_early(tmp_path):
    write_images(tmp_path, ["0.png", "1.png", "2.png"])
    with open_video(tmp_path, batch=1) as source:
        batches = iter(source)
        next(batches)
        with pytest.raises(RuntimeError, match="read once"):
            iter(source)
        source.close()
        assert list(batches) == []
