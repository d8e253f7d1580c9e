"""Files from the test suites of video tools: each decodes right, or fails alone with one clear error."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.video.source import open_video


@dataclass(frozen=True)
class Right:
    """What a file holds: frames, `(width, height)` as shown, first timestamp, decoder under "auto", notes."""

    frames: int
    size: tuple[int, int]
    first_s: float
    decoder: str
    notes: tuple[str, ...] = ()
    rotation: int = 0
    has_audio: bool = False


def taken_over(why: str) -> str:
    return f"PyAV takes over from decord at frame 0: .*{why}"


ODD_FILES: dict[str, Right | str] = {
    "-video-with-dash-.mp4": Right(5, (1, 1), 0, "pyav", (taken_over("frames of shape"),)),
    "10frames.webm": Right(10, (1920, 1080), 0.003, "pyav", (taken_over("vp8"),), has_audio=True),
    "audio_only_aac.mp4": "audio_only_aac.mp4 holds audio only",
    "av1_video.mkv": Right(125, (640, 360), 0, "pyav", (taken_over("more than 97 frames apart"),)),
    "avi_truncated_invalid.avi": "avi_truncated_invalid.avi is not a readable video: Invalid data",
    "bt2020_10bit.mp4": Right(60, (320, 240), 0, "decord"),
    "corrupted.mp4": Right(
        49,
        (1280, 720),
        0,
        "pyav",
        (
            taken_over("24 frames"),
            "^damaged pictures that cannot be decoded and are left out: 1$",
            "^damaged pictures that are shown as far as they could be decoded: 1$",
            "^the container claims 50 frames, 49 could be decoded$",
        ),
    ),
    "discard_first_keyframe.mp4": Right(
        25, (64, 64), 0, "pyav", (taken_over("edit list"), "^the container claims 30 frames, 25 could be decoded$")
    ),
    "empty44bytes.mp4": "empty44bytes.mp4 is not a readable video",
    "iphone_rotated.mov": Right(66, (320, 568), 0, "decord", rotation=90, has_audio=True),
    "no_duration.webm": Right(74, (1280, 720), 0, "pyav", (taken_over("24 frames apart"),), has_audio=True),
    "odd_height_and_width_vp9.mp4": Right(25, (321, 241), 0, "decord"),
    "rotate_180.mov": Right(3, (568, 320), 0, "decord", rotation=180),
    "rotate_90.mov": Right(3, (320, 568), 0, "decord", rotation=90),
    "single-frame.webm": Right(1, (1920, 1080), 0, "pyav", (taken_over("vp8"),), has_audio=True),
    "test_non_zero_start.mp4": Right(12, (200, 112), 127995 / 15360, "decord"),
    "unordered.mov": Right(4, (50, 50), 0, "decord"),
}


@pytest.fixture(scope="module")
def odd(shared_data: Path) -> Path:
    return shared_data / "videos" / "odd"


def test_the_table_names_every_file(odd):
    assert sorted(path.name for path in odd.iterdir()) == sorted(ODD_FILES)


@pytest.mark.parametrize("name", [name for name, found in ODD_FILES.items() if isinstance(found, str)])
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_fails_alone_with_one_clear_error(odd, name, decoder):
    with pytest.raises(JmposeError, match=ODD_FILES[name]):
        open_video(odd / name, decoder=decoder)


def read(path: Path, decoder: str):
    with open_video(path, decoder=decoder) as source:
        batches = list(source)
    index, time_s = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("index", "time_s"))
    last = batches[-1].frames[-1].astype(int)
    return source, index, time_s, batches[0].frames[0].astype(int), last


@pytest.mark.parametrize("name", [name for name, found in ODD_FILES.items() if isinstance(found, Right)])
def test_decodes_right(odd, name):
    expected = ODD_FILES[name]
    source, index, time_s, first, last = read(odd / name, "auto")
    assert index.tolist() == list(range(expected.frames))
    assert time_s[0] == pytest.approx(expected.first_s, abs=1e-9)
    assert (np.diff(time_s) > 0).all()
    info = source.info
    assert (info.width, info.height) == expected.size == first.shape[1::-1]
    assert (info.decoder, info.rotation, info.has_audio) == (expected.decoder, expected.rotation, expected.has_audio)
    assert len(source.notes) == len(expected.notes)
    assert all(re.search(pattern, note) for pattern, note in zip(expected.notes, source.notes, strict=True))
    if info.decoder == "decord":
        _, _, other_time_s, other_first, other_last = read(odd / name, "pyav")
        assert np.array_equal(other_time_s, time_s)
        # The two convert 10 bit, and colour at odd borders, a little differently.
        assert max(np.abs(other_first - first).mean(), np.abs(other_last - last).mean()) < 3
