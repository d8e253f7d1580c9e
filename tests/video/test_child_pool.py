"""Decoding processes that serve one video after the other."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.video import child_process
from jmpose_cli.video.source import ChildPool, open_video
from tests.video.test_child_process import faulty_child_command
from tests.video_assets import make_video, read_numbers


@pytest.fixture
def pool(children):
    made = ChildPool()
    yield made
    made.close()
    assert not children()


def numbers(path: Path, pool: ChildPool, **options) -> list[int]:
    with open_video(path, children=pool, **options) as source:
        return [number for batch in source for number in read_numbers(batch.frames)]


def test_one_child_reads_many_videos_of_all_sizes(tmp_path, pool, children):
    sizes = [(96, 64), (640, 480), (64, 96), (320, 240)]
    for number, size in enumerate(sizes):
        make_video(tmp_path / f"{number}.mp4", frames=10 + number, size=size)
    pids = set()
    for _ in range(2):
        for decoder in ("decord", "pyav", "auto"):
            for number in range(len(sizes)):
                assert numbers(tmp_path / f"{number}.mp4", pool, decoder=decoder) == list(range(10 + number))
                pids.update(children())
    assert len(pids) == 1


def test_what_is_said_of_one_video_is_not_said_of_the_next(tmp_path, pool):
    make_video(tmp_path / "good.mp4", frames=20)
    make_video(tmp_path / "cut.mp4", frames=60, truncate_at=0.6, size=(160, 120))
    make_video(tmp_path / "vfr.mp4", timestamps=[0, 0.1, 3.0, 3.1])
    alone = {}
    for name in ("good", "cut", "vfr"):
        with open_video(tmp_path / f"{name}.mp4") as source:
            times = np.concatenate([batch.time_s for batch in source])
        alone[name] = (source.notes, source.info, times.tolist())
    for name in ("cut", "good", "vfr", "good", "cut", "vfr"):
        with open_video(tmp_path / f"{name}.mp4", children=pool) as source:
            times = np.concatenate([batch.time_s for batch in source])
        assert (source.notes, source.info, times.tolist()) == alone[name]


def test_a_part_and_a_file_that_is_none_do_not_cost_the_child(tmp_path, pool, children):
    make_video(tmp_path / "v.mp4", frames=30)
    (tmp_path / "text.mp4").write_text("no video")
    assert numbers(tmp_path / "v.mp4", pool, frames=(3, 9)) == list(range(3, 9))
    before = children()
    with pytest.raises(JmposeError, match=r"text\.mp4 is not a readable video"):
        open_video(tmp_path / "text.mp4", children=pool)
    assert numbers(tmp_path / "v.mp4", pool) == list(range(30)) and children() == before


def test_a_video_left_in_the_middle_ends_its_child(tmp_path, pool, children):
    make_video(tmp_path / "v.mp4", frames=300, size=(320, 240))
    with open_video(tmp_path / "v.mp4", children=pool, batch=4) as source:
        next(iter(source))
    assert not children()
    assert numbers(tmp_path / "v.mp4", pool) == list(range(300))


def test_a_child_that_died_while_idle_is_replaced(tmp_path, pool, children):
    make_video(tmp_path / "v.mp4", frames=10)
    numbers(tmp_path / "v.mp4", pool)
    (idle,) = children()
    os.kill(idle.pid, signal.SIGKILL)
    idle.wait()
    assert numbers(tmp_path / "v.mp4", pool) == list(range(10))


@pytest.mark.parametrize("fault", ["crashes", "fails", "hangs"])
def test_a_faulty_child_is_not_used_again(tmp_path, monkeypatch, pool, fault, children):
    make_video(tmp_path / "v.mp4", frames=10)
    monkeypatch.setattr(child_process, "CHILD_COMMAND", faulty_child_command(tmp_path, fault))
    assert numbers(tmp_path / "v.mp4", pool, stall_timeout_s=1.5) == list(range(10))  # PyAV took over
    assert len(children()) == 1
    monkeypatch.undo()
    assert numbers(tmp_path / "v.mp4", pool, decoder="pyav") == list(range(10))


def test_a_child_is_retired(tmp_path, monkeypatch, pool, children):
    make_video(tmp_path / "v.mp4", frames=2)
    monkeypatch.setattr(child_process, "_MOST_JOBS", 3)
    pids = []
    for _ in range(6):
        numbers(tmp_path / "v.mp4", pool, decoder="pyav")
        pids += children()
    assert len(set(pids)) == 2 and len(pids) == 4


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_a_video_that_stays_open_is_read_from_any_frame(tmp_path, pool, children, decoder):
    """Also after a place that was left early, and anew when the file has changed."""
    path = tmp_path / "video.mp4"
    make_video(path, frames=90)
    pids = set()
    for first in (40, 3, 41, 0, 88, 60):
        with open_video(path, children=pool, decoder=decoder, frames=(first, None), batch=2, keep_open=True) as source:
            assert read_numbers(next(iter(source)).frames) == [first, first + 1]
        pids.update(children())
    assert len(pids) == 1
    make_video(path, frames=30, size=(160, 120))
    assert numbers(path, pool, decoder=decoder, frames=(5, None), keep_open=True) == list(range(5, 30))
    assert {*children()} == pids
