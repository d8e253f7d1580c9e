import os
import sys
import time
from pathlib import Path

import pytest

from jmpose_cli.runs import probing
from jmpose_cli.runs.probing import Probed, probe_videos
from tests.video_assets import make_video

# In place of the prober: hangs at, dies of, or talks nonsense about a path that says so.
FALSE_PROBER = """
import json, os, sys, time
for line in sys.stdin:
    if "hang" in line:
        time.sleep(100)
    if "crash" in line:
        os.kill(os.getpid(), 11)
    if "nonsense" in line:
        print("Segmentation fault?", flush=True)
    print(json.dumps({"frames": len(line.strip().rpartition("/")[2])}), flush=True)
"""


@pytest.fixture
def false_prober(monkeypatch) -> None:
    monkeypatch.setattr(probing, "PROBE_COMMAND", (sys.executable, "-S", "-c", FALSE_PROBER))


def test_headers_are_read(tmp_path):
    make_video(tmp_path / "a.mp4", frames=7)
    make_video(tmp_path / "b.mkv", frames=30, fps=30000 / 1001)
    make_video(tmp_path / "c.mov", frames=5, fps=12.5)
    names = ["line\nbreak.mp4", os.fsdecode(b"caf\xe9.mp4"), "  spaces .mp4 ", "žluť.mp4"]
    for name in names:
        (tmp_path / name).symlink_to("a.mp4")
    (tmp_path / "text.mp4").write_text("a film about nothing\n" * 50)
    (tmp_path / "empty.mp4").touch()
    found = probe_videos(
        [tmp_path / name for name in ("a.mp4", "text.mp4", "none.mp4", "b.mkv", "empty.mp4", *names, "c.mov")],
        processes=1,
    )
    a, text, none, b, empty, *odd, c = found
    assert a == Probed(7, 25.0)
    assert b.frames == 30 and b.fps == pytest.approx(30000 / 1001)
    assert c == Probed(5, 12.5)
    assert odd == [a] * len(names)
    assert (none.frames, none.error, none.hint) == (None, f"{tmp_path / 'none.mp4'}: no such file", "check the path")
    assert text.frames is None and str(tmp_path / "text.mp4") in text.error and text.hint
    assert empty.error == f"{tmp_path / 'empty.mp4'} is an empty file"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".nut"])
def test_frames_are_counted_from_where_the_clock_starts(tmp_path, suffix):
    make_video(tmp_path / f"a{suffix}", timestamps=[36000 + n / 25 for n in range(50)])
    (found,) = probe_videos([tmp_path / f"a{suffix}"], processes=1)
    assert found.fps == 25 and found.frames == pytest.approx(50, abs=2)


def test_a_pause_of_hours_is_no_million_frames(tmp_path):
    for suffix, pause_s in ((".mp4", 7200), (".mkv", 25200)):
        times = [*(n / 25 for n in range(4)), *(pause_s + n / 25 for n in range(4))]
        make_video(tmp_path / f"a{suffix}", timestamps=times)
    counted, estimated = probe_videos([tmp_path / "a.mp4", tmp_path / "a.mkv"], processes=1)
    assert (counted.frames, counted.is_estimate) == (8, False)
    assert estimated.is_estimate and estimated.frames <= (tmp_path / "a.mkv").stat().st_size // 8


def test_a_file_without_timestamps_has_no_rate(tmp_path):
    make_video(tmp_path / "a.mjpeg", codec="mjpeg", pix_fmt="yuvj420p")
    (found,) = probe_videos([tmp_path / "a.mjpeg"], processes=1)
    assert found == Probed(None, None)


def test_nothing_in_the_users_folder_is_run(tmp_path, monkeypatch):
    make_video(tmp_path / "a.mp4", frames=3)
    for module in ("av", "orjson", "jmpose_cli"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert probe_videos([Path("a.mp4")], processes=1) == [Probed(3, 25.0)]


def test_no_videos_need_no_process(monkeypatch):
    monkeypatch.setattr(probing, "PROBE_COMMAND", ("/nowhere/at/all",))
    assert probe_videos([], processes=4) == []


@pytest.mark.parametrize("processes", [1, 3])
def test_answers_come_in_the_order_of_the_videos(false_prober, processes, children):
    paths = [Path("x" * length) for length in (5, 1, 9, 3, 7, 2)]
    assert [found.frames for found in probe_videos(paths, processes=processes)] == [5, 1, 9, 3, 7, 2]
    assert not children()


@pytest.mark.parametrize("trouble", ["crash", "nonsense"])
def test_one_that_spoils_the_prober_is_left_to_the_workers(false_prober, trouble, children):
    paths = [Path("aa"), Path(trouble), Path("bbb"), Path(trouble), Path("cccc")]
    expected = [Probed(2), Probed(), Probed(3), Probed(), Probed(4)]
    assert probe_videos(paths, processes=1) == expected
    assert not children()


def test_one_that_hangs_the_prober_costs_no_more_than_the_timeout(false_prober, children):
    paths = [Path("aa"), Path("hang"), Path("bbb"), Path("hang")]
    begun = time.monotonic()
    assert probe_videos(paths, processes=1, timeout_s=1.0) == [Probed(2), Probed(), Probed(3), Probed()]
    assert 2.0 <= time.monotonic() - begun < 10  # the prober sleeps for 100 s
    assert not children()


def test_one_that_takes_its_time_is_waited_for(monkeypatch):
    slow = "import time; time.sleep(0.5); input(); print('{\"frames\": 1}', flush=True)"
    monkeypatch.setattr(probing, "PROBE_COMMAND", (sys.executable, "-S", "-c", slow))
    assert probe_videos([Path("a")], processes=1) == [Probed(1)]


def test_a_prober_that_cannot_say_anything_is_no_harm(monkeypatch, children):
    monkeypatch.setattr(probing, "PROBE_COMMAND", (sys.executable, "-S", "-c", "raise SystemExit(3)"))
    assert probe_videos([Path("a"), Path("b")], processes=2) == [Probed(), Probed()]
    assert not children()
