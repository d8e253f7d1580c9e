"""Decoders that hang, crash or give up; and that nothing is left behind, however a run ends."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.video import child_process
from jmpose_cli.video.source import open_video
from tests.video_assets import make_video, read_numbers

ROOT = Path(__file__).resolve().parents[2]

# A child whose "decord" is PyAV with a fault at frame 5.
FAULTY_CHILD = """
import ctypes, os, signal, sys
from jmpose_cli.video import child
from jmpose_cli.video.messages import DecoderGaveUpError

child.GRACE_S = 0.3
pyav = child.READERS["pyav"]

def faulty(*given):
    for picture in pyav(*given):
        if picture is not None and picture.index == 5:
            {fault}
        yield picture

child.READERS["decord"] = faulty
child.main(int(sys.argv[1]), int(sys.argv[2]))
"""
FAULTS = {
    "hangs": ("import time; time.sleep(60)", r"it made no progress for 1\.5 s and was stopped"),
    "hangs with the interpreter locked": ("ctypes.PyDLL(None).sleep(60)", r"it made no progress for 1\.5 s"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", r"it was killed by signal 11 \(Segmentation fault\)"),
    "exits": ("print('oh dear', file=sys.stderr); os._exit(3)", r"it ended with code 3 \(oh dear\)"),
    "fails": ("[][0]", r"it failed in an unexpected way \(IndexError: list index out of range\)"),
    "gives up": ("raise DecoderGaveUpError('the tape is torn')", "the tape is torn"),
}
HANG = "hangs with the interpreter locked"


@pytest.fixture
def video(tmp_path) -> Path:
    make_video(tmp_path / "video.mp4", frames=40)
    return tmp_path / "video.mp4"


def faulty_child_command(folder: Path, fault: str) -> tuple[str, ...]:
    script = folder / "faulty_child.py"
    script.write_text(FAULTY_CHILD.format(fault=FAULTS[fault][0]))
    return (sys.executable, str(script))


@pytest.mark.parametrize("fault", FAULTS)
def test_pyav_takes_over_at_the_first_missing_frame(monkeypatch, tmp_path, video, fault, children):
    monkeypatch.setattr(child_process, "CHILD_COMMAND", faulty_child_command(tmp_path, fault))
    with open_video(video, stall_timeout_s=1.5, batch=3) as source:
        batches = list(source)
    numbers = [number for batch in batches for number in read_numbers(batch.frames)]
    assert numbers == list(range(40))
    assert np.concatenate([batch.index for batch in batches]).tolist() == numbers
    assert np.concatenate([batch.time_s for batch in batches]) == pytest.approx(np.arange(40) / 25)
    assert source.info.decoder == "decord, then pyav"
    (note,) = source.notes
    assert note.startswith("PyAV takes over from decord at frame 5: ")
    assert re.search(FAULTS[fault][1], note)
    assert not children()


@pytest.mark.parametrize("fault", ["crashes", HANG])
def test_without_a_second_decoder_the_frames_before_come_first_then_the_error(
    monkeypatch, tmp_path, video, fault, children
):
    monkeypatch.setattr(child_process, "CHILD_COMMAND", faulty_child_command(tmp_path, fault))
    numbers = []
    with open_video(video, decoder="decord", stall_timeout_s=1.5, batch=3) as source:
        message = rf"video\.mp4: decord ended before frame 5: {FAULTS[fault][1]}"
        with pytest.raises(JmposeError, match=message) as caught:
            for batch in source:
                numbers += read_numbers(batch.frames)
    assert numbers == [0, 1, 2, 3, 4]
    assert caught.value.hint == "try --decoder auto"
    assert not children()


def test_what_decoded_before_a_decode_error_is_kept_and_said(monkeypatch, tmp_path, video):
    monkeypatch.setattr(child_process, "CHILD_COMMAND", faulty_child_command(tmp_path, "gives up"))
    with open_video(video, decoder="decord") as source:
        assert [number for batch in source for number in read_numbers(batch.frames)] == [0, 1, 2, 3, 4]
    assert source.notes == ["decord ended before frame 5: the tape is torn; try --decoder auto"]


def test_python_that_cannot_start_is_an_error(monkeypatch, video):
    monkeypatch.setattr(child_process, "CHILD_COMMAND", (sys.executable, "-c", "raise ImportError('no numpy')"))
    with pytest.raises(JmposeError, match=r"PyAV ended before frame 0: .* code 1 \(ImportError: no numpy\)"):
        open_video(video)


PARENT = """
import os, signal, sys, time
from pathlib import Path
from jmpose_cli.video import child_process
from jmpose_cli.video.source import open_video

if len(sys.argv) > 2:
    child_process.CHILD_COMMAND = (sys.executable, sys.argv[2])
source = open_video(Path(sys.argv[1]), batch=4, stall_timeout_s=1.5)
batches = iter(source)
next(batches)
print("ready", flush=True)
{then}
"""


def start_parent(folder: Path, then: str, *arguments: Path) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    """Start a process that reads a video and then does `then`; return it with its children."""
    script = folder / "parent.py"
    script.write_text(PARENT.format(then=textwrap.dedent(then)))
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process, psutil.Process(process.pid).children(recursive=True)


def wait_until_gone(processes: list[psutil.Process], timeout_s: float) -> None:
    gone, alive = psutil.wait_procs(processes, timeout=timeout_s)
    for process in alive:
        process.kill()
    assert not alive, f"still there after {timeout_s} s: {alive}"
    assert gone


# name: what the parent does after its first batch, its exit code, what it leaves on stderr.
ENDINGS = {
    "reads to the end": ("for _ in batches: pass", 0, ""),
    "closes early": ("source.close(); source.close()", 0, ""),
    "forgets to close": ("", 0, ""),
    "fails": ("with source: sys.exit('consumer failed')", 1, "consumer failed\n"),
    "ends without a word": ("os._exit(4)", 4, ""),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_however_a_run_ends(tmp_path, video, ending):
    then, code, stderr = ENDINGS[ending]
    process, its_children = start_parent(tmp_path, then, video)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (code, stderr)
    if its_children:
        wait_until_gone(its_children, 5)


def test_ctrl_c_ends_parent_and_child_and_only_the_parent_says_so(tmp_path, video):
    process, its_children = start_parent(tmp_path, "time.sleep(60)", video)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.count("KeyboardInterrupt") == 1
    assert "jmpose_cli" not in errors
    wait_until_gone(its_children, 5)


def test_a_killed_parent_takes_its_child_along(tmp_path, video):
    process, its_children = start_parent(tmp_path, "time.sleep(60)", video)
    assert len(its_children) == 1
    process.kill()
    process.communicate(timeout=20)
    wait_until_gone(its_children, 5)


def test_a_hanging_child_of_a_killed_parent_ends_itself(tmp_path, video):
    _, faulty = faulty_child_command(tmp_path, HANG)
    process, its_children = start_parent(tmp_path, "time.sleep(60)", video, Path(faulty))
    process.kill()
    process.communicate(timeout=20)
    wait_until_gone(its_children, 6)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_descriptors_and_shared_memory_are_released(video, children):
    open_video(video).close()  # the first time opens what stays open
    before = len(os.listdir("/proc/self/fd"))
    sources = []
    for _ in range(3):
        with open_video(video) as source:
            next(iter(source))
        sources.append(source)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not children()


def test_decord_does_not_read_ahead_of_a_slow_consumer(tmp_path, children):
    # 1200 frames of 320x240 are 264 MiB decoded; a chunk is half of the ring's 64 MiB.
    make_video(tmp_path / "long.mp4", frames=1200, size=(320, 240), key_frame_every=25)
    sizes = []
    with open_video(tmp_path / "long.mp4", decoder="decord") as source:
        (child,) = children()
        for batch in source:
            time.sleep(0.03)
            if batch.index[0] % 64 == 0:
                sizes.append(child.memory_full_info().uss / 2**20)
    assert max(sizes) < 180, sizes


@pytest.mark.parametrize("module", ["jmpose_cli.video.source", "jmpose_cli.video.child", "jmpose_cli.video.writer"])
def test_imports_stay_light(module):
    heavy = {"torch", "cv2", "av", "decord", "scipy", "PIL", "matplotlib"}
    code = f"import sys, {module}; print(*sorted({heavy} & sys.modules.keys()))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ""
