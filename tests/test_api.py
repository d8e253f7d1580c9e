"""The Python face: the same results as the command, from files, arrays and live frames, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

import jmpose_cli
from jmpose_cli import Annotator, FramePoses, JmposeError, open_video, read_clip, write_clip
from jmpose_cli.clips.layout import RESULT_FILES
from jmpose_cli.upkeep import self_test
from tests.conftest import ROOT
from tests.runs.batch_assets import run_here, street_video

FRAMES = 18
SETTINGS = {"people.input_size": 320, "people.min_box_score": 0.6}
OPTIONS = ("--model", "nano", "--device", "cpu", "--set", "people.input_size=320", "--set", "people.min_box_score=0.6")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return street_video(tmp_path_factory.mktemp("videos") / "match.mp4", first=0, frames=FRAMES)


@pytest.fixture(scope="module")
def annotator():
    with Annotator("nano", device="cpu", settings=SETTINGS) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def poses(annotator, video) -> list[FramePoses]:
    return list(annotator.frames(video))


def frames_of(video: Path) -> list[tuple[np.ndarray, float]]:
    with open_video(str(video)) as source:
        return [(f, float(t)) for batch in source for f, t in zip(batch.frames, batch.time_s, strict=True)]


def test_nothing_heavy_is_loaded_before_the_networks_and_settings_of_the_process_come_back():
    script = """
import sys
import jmpose_cli
annotator = jmpose_cli.Annotator("nano", device="cpu", settings={"engine": "torch"})
jmpose_cli.read_clip, jmpose_cli.write_clip, jmpose_cli.open_video
heavy = {"torch", "ultralytics", "transformers", "scipy", "av", "decord", "ray", "pandas"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
with jmpose_cli.Annotator("nano", device="cpu") as quick:
    quick.load()
assert not {"torch", "ultralytics", "transformers"} & set(sys.modules)
import logging, signal, warnings
import cv2, numpy, torch
def state():
    signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    torchs = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    prints = str(torch._tensor_str.PRINT_OPTS), numpy.get_printoptions()
    logs = logging.root.level, logging.root.handlers[:]
    return signals, torchs, prints, logs, cv2.getNumThreads(), torch.initial_seed(), sys.stderr, sys.excepthook
torch.set_num_threads(2)
before = state()
with annotator:
    annotator.load()
    assert state()[:1] + state()[2:4] == before[:1] + before[2:4]  # what is printed and caught, also meanwhile
    assert torch.get_num_threads() == 1
assert state() == before
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_command_does_not_load_the_face_for_its_help():
    script = """
import sys
from typer.testing import CliRunner
from jmpose_cli.main import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
assert not {"torch", "jmpose_cli.api", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_names_of_the_package():
    assert set(jmpose_cli.__all__) <= set(dir(jmpose_cli))
    with pytest.raises(AttributeError, match="no attribute 'Anotator'"):
        jmpose_cli.Anotator  # noqa: B018


def test_files_are_those_of_the_command(annotator, video, poses, tmp_path):
    summary = annotator.write(video, tmp_path / "api" / "match")
    assert run_here(video, "--out", tmp_path / "command", *OPTIONS).exit_code == 0
    written, expected = tmp_path / "api" / "match", tmp_path / "command" / "match"
    assert sorted(path.name for path in written.iterdir()) == sorted(path.name for path in expected.iterdir())
    assert all((written / path.name).read_bytes() == path.read_bytes() for path in expected.iterdir())
    assert summary.frames == FRAMES and summary.people == sum(map(len, poses)) > FRAMES
    clip = read_clip(written)
    assert [frame.people.index for frame in clip.frames] == list(range(FRAMES))
    for read, live in zip(clip.frames, poses, strict=True):
        assert read.people.track_ids.tolist() == live.people.track_ids.tolist()
        np.testing.assert_allclose(read.xy_image, live.xy_image, atol=0.006)
    assert write_clip(tmp_path / "again", clip, formats=["coco"]) == []
    assert read_clip(tmp_path / "again") == clip
    name = "keypoints.coco.json"
    assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_pushed_frames_give_the_same_and_come_in_time(annotator, video, poses):
    found, lags = [], []
    buffer = np.zeros_like(frames_of(video)[0][0])
    for number, (frame, time_s) in enumerate(frames_of(video)):
        buffer[:] = frame  # as a camera that fills the same memory
        settled = annotator.push(buffer, time_s)
        lags += [number - one.people.index for one in settled]
        found += settled
    found += annotator.finish()
    assert found == poses
    assert set(lags) == {15}  # docs/library.md says so
    assert annotator.finish() == []


def test_a_stream_that_fills_no_gaps_is_faster(annotator, video, monkeypatch):
    people = annotator.config.people.model_copy(update={"max_gap_s": 0.0})
    monkeypatch.setattr(annotator, "config", annotator.config.model_copy(update={"people": people}))
    boxes = [[40, 60, 80, 160]]
    settled = [annotator.push(frame, time_s, boxes=boxes) for frame, time_s in frames_of(video)[:6]]
    assert [[poses.people.index for poses in each] for each in settled] == [[], [], [], [0], [1], [2]]
    assert [poses.people.index for poses in annotator.finish()] == [3, 4, 5]


def test_own_boxes_as_arrays_and_as_a_file(annotator, video, tmp_path):
    boxes = {index: [[40 + index, 60, 80 + index, 160, 0.9, 7]] for index in (0, 1, FRAMES - 2, FRAMES - 1)}
    file = tmp_path / "boxes.txt"
    file.write_text("".join(f"{index + 1},7,{40 + index},60,40,100,0.9,-1,-1,-1\n" for index in boxes))
    of_arrays = list(annotator.frames(video, boxes=boxes))
    assert of_arrays == list(annotator.frames(video, boxes=file))
    assert [one.people.track_ids.tolist() for one in of_arrays] == [[7] if i in boxes else [] for i in range(FRAMES)]
    pushed = [p for i, (f, t) in enumerate(frames_of(video)) for p in annotator.push(f, t, boxes=boxes.get(i, ()))]
    assert [*pushed, *annotator.finish()] == of_arrays
    without_ids = [[boxes[i][0][:5]] if i in boxes else None for i in range(FRAMES)]  # None: nobody has looked
    found = list(annotator.frames(video, boxes=without_ids))
    assert [one.people.observed.tolist() for one in found] == [[i in boxes] for i in range(FRAMES)]
    summary = annotator.write(video, tmp_path / "out", boxes=file, frames=f"{FRAMES - 3}:{FRAMES}")
    assert (summary.frames, summary.people) == (3, 2)
    assert b'"boxes"' in (tmp_path / "out" / "run.json").read_bytes()


def test_smoothed_poses(annotator, video, poses, monkeypatch):
    smooth = annotator.config.pose.model_copy(update={"smooth": True})
    monkeypatch.setattr(annotator, "config", annotator.config.model_copy(update={"pose": smooth}))
    found = list(annotator.frames(video))
    assert [one.xy_raw_image.tolist() for one in found] == [one.xy_image.tolist() for one in poses]
    with pytest.raises(JmposeError, match="smoothing takes the whole video"):
        annotator.push(np.zeros((64, 64, 3), np.uint8), 0.0)
    monkeypatch.undo()
    assert len(list(annotator.frames(video, frames=(0, 2)))) == 2  # it is free again


def interrupted_in(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_nothing_is_left_however_a_loop_ends(video, tmp_path, monkeypatch, children):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    threads = set(threading.enumerate())
    idle = 1  # a decoder that waits for the next video

    def working() -> set[str]:
        return {thread.name for thread in threading.enumerate()} & {"pose", "people", "hash"}

    with Annotator("nano", device="cpu", settings=SETTINGS) as annotator:
        for _ in annotator.frames(video):
            assert working()
            break
        assert not working() and len(children()) <= idle
        with pytest.raises(ZeroDivisionError):
            for _ in annotator.frames(video):
                raise ZeroDivisionError
        assert not working() and len(children()) <= idle
        timer = interrupted_in(0.5)
        with pytest.raises(KeyboardInterrupt):
            while True:
                list(annotator.frames(video))
        timer.join()
        assert not working() and len(children()) <= idle
        timer = interrupted_in(0.5)
        with pytest.raises(KeyboardInterrupt):
            while True:
                annotator.write(video, tmp_path / "out" / "match")
        timer.join()
        assert not working() and len(children()) <= idle
        assert {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()} <= set(RESULT_FILES)
        unfinished = annotator.frames(video)
        next(unfinished)
        with pytest.raises(RuntimeError, match=r"push\(\) while frames\(\) is not finished"):
            annotator.push(frames_of(video)[0][0], 0.0)
    assert list(unfinished) == []
    assert set(threading.enumerate()) == threads
    assert not children()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_video_that_fails_leaves_nothing(annotator, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("a film about nothing\n" * 50)
    with pytest.raises(JmposeError, match=r"broken\.mp4"):
        annotator.write(broken, tmp_path / "out")
    with pytest.raises(JmposeError, match=r"broken\.mp4"):
        list(annotator.frames(broken))
    assert list(tmp_path.iterdir()) == [broken]


def test_many_videos_resume_and_one_that_fails_does_not_stop_the_others(video, tmp_path):
    (tmp_path / "broken.mp4").write_text("a film about nothing\n" * 50)
    with Annotator("nano", device="cpu", settings={**SETTINGS, "run.workers": 0}) as annotator:
        for _ in range(2):
            summary = annotator.write_all([video, tmp_path / "broken.mp4"], tmp_path / "out")
            assert (summary["done"], summary["failed"]) == (1, 1)
            assert summary["videos"]["match"]["frames"] == FRAMES
        assert (tmp_path / "out" / "match" / "run.json").is_file()


@pytest.mark.parametrize(
    ("settings", "said", "hint"),
    [
        ({"people.max_peple": 2}, "unknown setting 'people.max_peple'", "people.max_people"),
        ({"pose.batch": 0}, "setting pose.batch = 0", None),
        ({"people.boxes": "boxes.json"}, "belongs to one video", "boxes="),
    ],
)
def test_settings_that_are_wrong(settings, said, hint):
    with pytest.raises(JmposeError, match=said) as caught:
        Annotator(settings=settings)
    assert hint is None or hint in caught.value.hint


def test_settings_are_not_changed_and_may_be_nested():
    given = {"people": {"max_people": 3}, "people.detect_every": 2}
    config = Annotator(settings=given).config
    assert (config.people.max_people, config.people.detect_every) == (3, 2)
    assert given == {"people": {"max_people": 3}, "people.detect_every": 2}


def test_no_detector_and_no_boxes(video, monkeypatch):
    with Annotator("nano", detector=None, device="cpu") as annotator:
        with pytest.raises(JmposeError, match="no detector"):
            next(annotator.frames(video))
        (first,) = annotator.frames(video, frames=(3, 4), boxes={3: [[40, 60, 80, 160]]})
        assert (first.people.index, len(first)) == (3, 1)


@pytest.mark.parametrize(
    ("frame", "time_s", "said"),
    [
        (np.zeros((64, 64), np.uint8), 1.0, "must be"),
        (np.zeros((64, 64, 3)), 1.0, "uint8"),
        (np.zeros((60, 64, 3), np.uint8), 1.0, r"\[60, 64, 3\] after"),
        (np.zeros((64, 64, 3), np.uint8), 0.0, "rise"),
        (np.zeros((64, 64, 3), np.uint8), float("nan"), "finite"),
    ],
)
def test_frames_that_are_none(annotator, frame, time_s, said):
    annotator.push(np.zeros((64, 64, 3), np.uint8), 0.0)
    with pytest.raises(ValueError, match=said):
        annotator.push(frame, time_s)
    assert annotator.finish() == []  # the stream has ended


def test_the_self_test_calls_the_face(monkeypatch):
    called = []
    write = Annotator.write
    monkeypatch.setattr(self_test.Annotator, "write", lambda *a, **k: called.append(a[1]) or write(*a, **k))
    done = self_test.run_self_test(device="cpu", model="nano", detector="person-nano")
    assert called == [self_test.EXAMPLE] and done.frames == self_test.FRAMES
