"""Pictures that would take gigabytes are refused by what their header says."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.container import header_frames
from jmpose_cli.video.image_folder import read_image
from jmpose_cli.video.picture_size import picture_size
from jmpose_cli.video.source import open_video


def huge_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG with the header of a huge picture and the rows of a small one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(kind: str, **options) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.zeros((37, 53, 3), np.uint8)).save(target, kind, **options)
    return target.getvalue()


PICTURES = {
    "png": encoded("PNG"),
    "jpeg": encoded("JPEG"),
    "jpeg, progressive": encoded("JPEG", progressive=True),
    "jpeg with a thumbnail": encoded("JPEG", exif=b"Exif\0\0" + encoded("JPEG")[:500]),
    "jpeg with fill bytes": encoded("JPEG").replace(b"\xff\xc0", b"\xff\xff\xff\xc0", 1),
    "bmp": encoded("BMP"),
    "webp": encoded("WEBP"),
    "webp, lossless": encoded("WEBP", lossless=True),
    "webp, extended": encoded("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    "tiff": encoded("TIFF"),
    "tiff, two pages": encoded("TIFF", save_all=True, append_images=[Image.new("RGB", (3, 2))]),
    "big tiff": encoded("TIFF", big_tiff=True),
}


@pytest.mark.parametrize("name", PICTURES)
def test_sizes_are_read_from_headers(tmp_path, name):
    assert picture_size(PICTURES[name]) == (53, 37)
    (tmp_path / "picture").write_bytes(PICTURES[name])
    assert read_image(tmp_path / "picture").shape == (37, 53, 3)


def test_the_largest_page_counts():
    pages = encoded("TIFF", save_all=True, append_images=[Image.new("RGB", (300, 200)), Image.new("RGB", (3, 2))])
    assert picture_size(pages) == (300, 200)


@given(name=st.sampled_from(sorted(PICTURES)), cut=st.integers(0, 200), noise=st.binary(max_size=8), at=st.integers(0))
def test_damaged_headers_have_some_size_or_none(name, cut, noise, at):
    data = bytearray(PICTURES[name][: -cut or None])
    at %= max(len(data), 1)
    data[at : at + len(noise)] = noise
    size = picture_size(bytes(data))
    assert size is None or (len(size) == 2 and min(size) >= 0)


@pytest.mark.parametrize("suffix", [".gif", ".ppm"])
def test_other_kinds_are_no_images_whatever_their_name(tmp_path, suffix):
    """OpenCV reads more kinds than have a size here."""
    done, data = cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))
    assert done
    (tmp_path / "a.png").write_bytes(data.tobytes())
    with pytest.raises(JmposeError, match=r"a\.png is not a readable image"):
        read_image(tmp_path / "a.png")


def mov(path: Path, picture: bytes, width: int, height: int) -> Path:
    """A video of one picture whose container claims a size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = width, height, "rgb24", Fraction(1, 25)
        packet = av.Packet(picture)
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, Fraction(1, 25), 0, 0, 1
        packet.is_keyframe = True
        container.mux(packet)
    return path


HUGE = {
    "a picture": lambda folder: _written(folder / "a.png", huge_png()),
    "a folder": lambda folder: _written(folder / "seq" / "1.png", huge_png()).parent,
    "a video": lambda folder: _with_claim(mov(folder / "a.mov", huge_png(), 640, 480), 30_000, 30_000),
    "a video that claims to be small": lambda folder: mov(folder / "a.mov", huge_png(), 640, 480),
}


def _with_claim(path: Path, width: int, height: int) -> Path:
    """Change the size that a mov file of 640x480 states."""
    data, stated = path.read_bytes(), struct.pack(">HH", 640, 480)
    assert data.count(stated) == 1
    path.write_bytes(data.replace(stated, struct.pack(">HH", width, height)))
    return path


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", HUGE)
def test_huge_frames_are_refused_before_they_are_decoded(tmp_path, name):
    path = HUGE[name](tmp_path)
    with pytest.raises(JmposeError, match="30000x30000 pixels are more than the 50 million allowed") as caught:
        open_video(path)
    assert "--set decode.max_megapixels=900 --retry-failed" in caught.value.hint
    with pytest.raises(JmposeError, match=r"decoded|cut off|not a readable image"):  # it is tried, and has no rows
        open_video(path, max_megapixels=900)
    if path.is_file():
        header_frames(path)  # tells what it can, and leaves the rest to who decodes


def test_the_limit_is_a_setting(tmp_path):
    picture = encoded("PNG")
    small = mov(tmp_path / "a.mov", picture, 53, 37)
    with open_video(small, max_megapixels=0.002) as source:
        assert len(list(source)) == 1
    with pytest.raises(JmposeError, match=r"53x37 pixels are more than the 0\.001 million"):
        open_video(small, max_megapixels=0.001)
