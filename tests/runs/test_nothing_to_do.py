"""A run that finds all done says so at once: no worker is started, no network loaded."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from jmpose_cli import device
from jmpose_cli.annotate import networks
from jmpose_cli.known_weights import Choice
from jmpose_cli.runs.local_workers import LocalWorkers
from tests.conftest import ROOT
from tests.runs import batch_assets
from tests.runs.batch_assets import command, entries, run_here, street_video

SMALL = (*batch_assets.SMALL, "--device", "cpu", "--no-overlay")


class StartedError(Exception):
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A video, and the folder of its results."""
    folder = tmp_path_factory.mktemp("finished")
    street_video(folder / "v.mp4", first=0, frames=2)
    shown = run_here(folder / "v.mp4", "--out", folder / "out", *SMALL)
    assert shown.exit_code == 0, shown.stderr
    assert "starting  loading the pose model (auto) and the detector (auto)" in shown.stderr
    return folder


@pytest.fixture
def again(finished, monkeypatch):
    """Run again, with workers that must not start."""

    def started(*_):
        raise StartedError

    def infer(*options):
        monkeypatch.setattr(LocalWorkers, "start", started)
        return run_here(finished / "v.mp4", "--out", finished / "out", *SMALL, *options)

    return infer


def test_no_worker_is_started(again, finished):
    before = len(entries(finished / "out"))
    shown = again()
    assert shown.exit_code == 0 and "nothing to do; 1 done already" in shown.stderr
    assert shown.stderr.splitlines()[-1] == f"results in {finished / 'out' / 'v'}"
    assert [entry["event"] for entry in entries(finished / "out")[before:]] == ["run"]


@pytest.mark.parametrize("options", [("--overwrite",), ("--flip-test",), ("--model", "small"), ("--time", "0:0.04")])
def test_other_settings_want_a_worker(again, options):
    assert isinstance(again(*options).exception, StartedError)


def test_other_weights_of_the_same_name_want_a_worker(again, tmp_path, monkeypatch):
    (tmp_path / "nano.safetensors").write_bytes(b"other")
    monkeypatch.setattr(networks, "choose_model", lambda *_, **__: Choice(tmp_path / "nano.safetensors"))
    assert isinstance(again().exception, StartedError)


def test_another_input_and_missing_results_want_a_worker(again, finished):
    stamp = (finished / "v.mp4").stat()
    os.utime(finished / "v.mp4", (1, 1))
    assert isinstance(again().exception, StartedError)
    os.utime(finished / "v.mp4", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    shutil.move(finished / "out/v/run.json", finished / "run.json")
    assert isinstance(again().exception, StartedError)
    shutil.move(finished / "run.json", finished / "out/v/run.json")


def test_it_takes_no_network_library_and_little_time(finished, tmp_path):
    for name in ("torch", "ultralytics", "cv2", "decord", "av"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not needed')\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "models")])}
    words = command(finished / "v.mp4", "--out", finished / "out", *SMALL)
    began = time.monotonic()
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "1 done already" in done.stderr, done.stderr
    assert time.monotonic() - began < 3 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("asked", "there", "taken"),
    [
        ("auto", "/dev/nvidiactl", True),
        ("auto", "", False),
        ("cpu", "/dev/nvidiactl", False),
        ("cuda:1", "", True),
        ("mps", "", True),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="has a GPU of its own")
def test_whether_a_gpu_will_be_taken(asked, there, taken, monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: path == there)
    assert device.may_take_gpu(asked) is taken
