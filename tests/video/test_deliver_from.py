"""Reading on in the middle of a video is exactly the tail of reading it from the beginning."""

from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.video.source import open_video
from tests.runs.batch_assets import write_image
from tests.video_assets import make_video


def damaged(path: Path) -> None:
    make_video(path, frames=40, key_frame_every=10, size=(160, 120))
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[at : at + 60] = bytes(60)
    path.write_bytes(data)


VIDEOS = {
    "plain.mp4": lambda path: make_video(path, frames=30),
    "b_frames.mp4": lambda path: make_video(path, frames=30, codec_options={"bf": "3"}),
    "variable.mp4": lambda path: make_video(path, timestamps=[n * n / 50 for n in range(25)]),
    "turned.mp4": lambda path: make_video(path, frames=20, rotation=90),
    "far_keys.mp4": lambda path: make_video(path, frames=60, key_frame_every=1000, size=(640, 480)),
    "cut_off.mp4": lambda path: make_video(path, frames=60, truncate_at=0.7, size=(160, 120)),
    "vp8.webm": lambda path: make_video(path, frames=20, codec="libvpx"),
    "damaged.mp4": damaged,
}


def read(path: Path, **options):
    with open_video(path, **options) as source:
        batches = list(source)
        joined = [np.concatenate([getattr(b, name) for b in batches]) for name in ("frames", "index", "time_s")]
        return *joined, source.notes, source.info


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("selection", [{}, {"frames": (4, 17)}, {"decoder": "pyav"}], ids=["all", "part", "pyav"])
def test_the_tail_of_a_full_read(tmp_path, name, selection):
    VIDEOS[name](tmp_path / name)
    frames, index, time_s, notes, info = read(tmp_path / name, **selection)
    for begin in (1, 7, int(index[-1])):
        tail = index >= begin
        found = read(tmp_path / name, deliver_from=begin, **selection)
        assert found[1].tolist() == index[tail].tolist() and found[2].tolist() == time_s[tail].tolist()
        assert np.array_equal(found[0], frames[tail])
        assert found[3] == notes and found[4] == info


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_behind_the_last_frame_comes_none(tmp_path, kind):
    path = tmp_path / "v.mp4"
    if kind == "file":
        make_video(path, frames=10)
    else:
        path.mkdir()
        for number in range(10):
            write_image(path / f"{number}.png", 64, 48)
    with open_video(path) as whole:
        assert sum(len(batch) for batch in whole) == 10
    with open_video(path, deliver_from=10) as source:
        assert list(source) == [] and source.info == whole.info and source.notes == whole.notes
    with open_video(path, deliver_from=8) as source:
        assert [batch.index.tolist() for batch in source] == [[8, 9]]
