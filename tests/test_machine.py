"""Missing libraries of the system and limits of the shell: every error says what is the matter."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from jmpose_cli.machine import explain
from jmpose_cli.upkeep import doctor
from jmpose_cli.video.ring import FEWEST_SLOTS, RING_BYTES, count_slots
from tests.conftest import ROOT
from tests.video_assets import make_video

LIBGL = "libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def limits(monkeypatch):
    """Pretend that a shell has set limits."""
    given = {}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (given.get(which, resource.RLIM_INFINITY),) * 2)
    return given


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (LIBGL, "libGL.so.1", "apt-get install libgl1 libglib2.0-0t64 (libglib2.0-0 before"),
        (LIBGL, "libGL.so.1", "opencv-python-headless"),
        ("libglib-2.0.so.0: cannot open shared object file: x", "libglib-2.0.so.0", "libglib2.0-0t64"),
        ("libSM.so.6: cannot open shared object file: x", "libSM.so.6", " libsm6"),
        ("libgomp.so.1: cannot open shared object file: x", "libgomp.so.1", "apt-get install libgomp1"),
        ("libodd-1.so.7: cannot open shared object file: x", "libodd-1.so.7", "apt-file search libodd-1.so.7"),
        ("libcuda.so.1: cannot open shared object file: x", "libcuda.so.1", "NVIDIA driver"),
    ],
)
def test_a_missing_library(text, message, hint):
    for error in (ImportError(text), OSError(text), f"it ended with code 1 (ImportError: {text})"):
        explained = explain(error)
        assert message in explained.message and hint in explained.hint


def test_causes_count_and_other_errors_do_not():
    try:
        try:
            raise ImportError(LIBGL)
        except ImportError as error:
            raise RuntimeError("cannot import name") from error
    except RuntimeError as error:
        assert "libGL.so.1" in explain(error).message
    assert explain(RuntimeError("shapes do not fit")) is None
    assert explain(ModuleNotFoundError("No module named 'tensorboard.util'")).message.endswith("tensorboard is missing")


@pytest.mark.parametrize(
    ("error", "which", "value", "says"),
    [
        (MemoryError(), resource.RLIMIT_AS, 2 * 2**30, "2.1 GB of address space (ulimit -v 2097152)"),
        (
            ImportError("libtorch_cpu.so: failed to map segment from shared object"),
            *(resource.RLIMIT_AS, 10**9, "too little memory to load libtorch_cpu.so: a process may have 1.0 GB"),
        ),
        (RuntimeError("can't start new thread"), resource.RLIMIT_AS, 10**9, "ulimit -v"),
        (RuntimeError("can't start new thread"), resource.RLIMIT_NPROC, 7, "this user may have 7 (ulimit -u)"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), resource.RLIMIT_NOFILE, 9, "may have 9 (ulimit -n)"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), resource.RLIMIT_FSIZE, 5 * 10**6, "5.0 MB that are allowed"),
    ],
)
def test_a_limit_is_named_with_its_value(error, which, value, says, limits):
    limits[which] = value
    explained = explain(error)
    assert says in explained.message and "ulimit" in explained.message + explained.hint


def test_the_ring_fits_into_what_files_may_have(limits):
    frame = 1280 * 720 * 3
    assert count_slots(frame) == RING_BYTES // frame
    limits[resource.RLIMIT_FSIZE] = 20 * 10**6
    assert count_slots(frame) == 20 * 10**6 // frame
    limits[resource.RLIMIT_FSIZE] = 1
    assert count_slots(frame) == FEWEST_SLOTS  # which will fail, and say so


def infer(tmp_path, *options, limit="", path=""):
    video = tmp_path / "clip.mp4"
    make_video(video, frames=6)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in (path, str(ROOT), str(ROOT / "models")) if p)}
    command = [sys.executable, "-m", "jmpose_cli.main", "infer", str(video), "--out", str(tmp_path / "out"), *options]
    shell = ["bash", "-c", f'{limit}; exec "$@"', "bash"] if limit else []
    return subprocess.run([*shell, *command], env=env, capture_output=True, text=True)


def test_infer_without_libgl_names_the_packages(tmp_path):
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"raise ImportError({LIBGL!r})\n")
    done = infer(tmp_path, path=str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "error: libGL.so.1, a library of the system, is missing" in done.stderr
    assert "libgl1 libglib2.0-0t64" in done.stderr and "opencv-python-headless" in done.stderr


def test_doctor_without_libgl_names_the_packages(tmp_path, monkeypatch):
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"raise ImportError({LIBGL!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    (finding,) = (f for f in doctor.examine(doctor.InferOptions(), self_test=False) if f.check == "pictures")
    assert finding.status == "problem" and "libgl1 libglib2.0-0t64" in finding.todo
    assert "opencv-python-headless" in finding.todo


def test_headless_opencv_stands_in(monkeypatch):
    real = doctor.installed_version
    versions = {"opencv-python": None, "opencv-python-headless": "5.0"}
    monkeypatch.setattr(doctor, "installed_version", lambda name: versions.get(name, real(name)))
    assert not [f for f in doctor.check_packages() if "opencv" in f.text]


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("ulimit -v 400000", "of address space (ulimit -v 400000)"),
        ("ulimit -n 10", "a process may have 10 (ulimit -n)"),
    ],
)
def test_infer_below_a_limit_says_which(limit, says, tmp_path):
    done = infer(tmp_path, limit=limit)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert says in done.stderr and "hint: raise this limit" in done.stderr
