"""Many videos as users run them: killed, stopped, broken, shared; the results must not show it."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from jmpose_cli.clips.layout import STATE_FOLDER
from jmpose_cli.main import app
from jmpose_cli.runs.plan import work_key
from tests.runs import batch_assets as assets
from tests.runs.batch_assets import SMALL, entries, kill, results, run, run_here, start

FULL = "JMPOSE_FULL_TESTS" in os.environ
GOOD, KILLS = (190, 20) if FULL else (10, 2)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Path:
    """A folder of four good videos, one of them longer."""
    folder = tmp_path_factory.mktemp("few")
    assets.good_videos(folder, 3)
    assets.street_video(folder / "long.mp4", first=0, frames=24)
    return folder


@pytest.fixture(scope="module")
def undisturbed(few, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    shown = run_here(few, "--out", out, *SMALL)
    assert shown.exit_code == 0, shown.stderr
    found = results(out)
    assert len(found) == 4 * 4 and len(found["long/posetrack18.json"]) > 20_000
    return found


@pytest.mark.timeout(1800 if FULL else 400)
def test_killed_again_and_again_the_results_are_the_same(tmp_path):
    """JMPOSE_FULL_TESTS=1 takes 200 videos and 20 kills."""
    videos = tmp_path / "videos"
    good = assets.good_videos(videos, GOOD - 1)
    assets.street_video(videos / "long.mp4", first=0, frames=24)
    good.append("long")
    broken = assets.broken_videos(videos)
    assert len(broken) == 10
    shown = run_here(videos, "--out", tmp_path / "calm", *SMALL)
    assert shown.exit_code == 1, shown.stderr
    calm = results(tmp_path / "calm")
    assert assets.failures(tmp_path / "calm") == set(broken) and len(calm) == 4 * len(good)

    out, moments = tmp_path / "out", random.Random(5)
    committed: dict[str, int] = {}
    mean_s = len(good) * 0.6 / KILLS
    for number in range(KILLS):
        process = start(videos, "--out", out, *SMALL, "--workers", 2)
        assets.wait_for_work(out, process, runs=number)
        while number == 0 and process.poll() is None and not assets.committed_frames(out, ["long"]).get("long"):
            time.sleep(0.01)  # one of the kills is to be in the middle of a video
        time.sleep(moments.random() * mean_s if number else 0)
        kill(process)
        committed |= assets.committed_frames(out, good)
    last = run_here(videos, "--out", out, *SMALL, "--log-json")
    assert last.exit_code == 1, last.stderr

    assert results(out) == calm
    assert assets.failures(out) == set(broken)
    reasons = [failure["reason"] for failure in json.loads((out / "failures.json").read_text())]
    assert all(reasons) and len({reason.split(" ", 1)[1] for reason in reasons}) >= 8
    done: dict[str, dict] = {}
    for entry in entries(out):
        if entry["event"] == "begin":
            assert entry["name"] not in done, "begun again after it was committed"
        elif entry["event"] == "done":
            done[entry["name"]] = entry
    assert set(done) == set(good)
    for name, frames in committed.items():
        assert done[name]["resumed"] >= frames, f"{name}: frames that were committed were done again"
    assert not list((out / STATE_FOLDER / "work").iterdir())
    assert sum(entry["resumed"] > 0 for entry in done.values()) >= 1
    events = [json.loads(line)["event"] for line in last.stdout.splitlines()]
    assert events[0] == "header" and "plan" in events and events[-1] == "end"
    print(f"{len(good)} good, {len(broken)} broken, {KILLS} kills, resumed inside: {len(committed)}")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "options",
    [
        ("--workers", 2, "--batch", 3),
        ("--workers", 0, "--batch", 64, "--set", "run.chunk_frames=1000", "--set", "run.threads=4"),
    ],
    ids=["2 workers", "no process"],
)
def test_the_same_results_however_the_work_is_shared(few, undisturbed, tmp_path, options):
    shown = run_here(few, "--out", tmp_path, *SMALL, *options)
    assert shown.exit_code == 0, shown.stderr
    assert results(tmp_path) == undisturbed


@pytest.mark.timeout(400)
def test_ray_actors_that_are_killed_are_replaced(few, undisturbed, tmp_path):
    pytest.importorskip("ray", reason="needs jmpose[ray]")
    process = start(few, "--out", tmp_path, *SMALL, "--ray", "local", "--workers", 2)
    actors = wait_for_process(process, "ray::", "_Host", out=tmp_path, name="long")
    assert len(actors) == 2
    for actor in actors:
        actor.kill()
    _, shown = process.communicate(timeout=300)
    assert process.returncode == 0, shown
    assert "its worker is gone" in shown and results(tmp_path) == undisturbed
    (done,) = [e for e in entries(tmp_path) if e["event"] == "done" and e["name"] == "long"]
    assert 0 < done["resumed"] < 24


def wait_for_process(
    process: "subprocess.Popen[str]", *words: str, out: Path, name: str, timeout_s: float = 120
) -> list[psutil.Process]:
    """Wait until a video has committed frames; return the run's descendants whose command has all the words."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        if assets.committed_frames(out, [name]).get(name, 0):
            found = [
                child
                for child in psutil.Process(process.pid).children(recursive=True)
                if all(word in " ".join(child.cmdline()) for word in words)
            ]
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(f"no process with {words} in time; {process.poll()}")


@contextmanager
def at_the_first_frames(out: Path, name: str, act: Callable[[], object]) -> Iterator[None]:
    """Act as soon as a video of a run inside the block has committed frames."""

    def wait() -> None:
        while not is_over.wait(0.005):
            if assets.committed_frames(out, [name]).get(name, 0):
                act()
                return

    is_over, waiting = threading.Event(), ThreadPoolExecutor(1)
    acted = waiting.submit(wait)
    try:
        yield
    finally:
        is_over.set()
        waiting.shutdown()
        acted.result()


def test_a_worker_that_dies_takes_its_video_only(few, undisturbed, tmp_path):
    process = start(few, "--out", tmp_path, *SMALL)
    (worker,) = wait_for_process(process, "jmpose_cli.runs.worker", out=tmp_path, name="long")
    worker.kill()
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 1 and "long: the worker process died: it was killed by signal 9" in shown
    found = results(tmp_path)
    assert not any(name.startswith("long/") for name in found)
    assert found == {name: data for name, data in undisturbed.items() if not name.startswith("long/")}
    again = run_here(few, "--out", tmp_path, *SMALL)
    assert again.exit_code == 1 and "failed before" in again.stderr and results(tmp_path) == found
    retried = run_here(few, "--out", tmp_path, *SMALL, "--retry-failed")
    assert retried.exit_code == 0 and "long: resumes after frame" in retried.stderr
    assert results(tmp_path) == undisturbed
    assert assets.failures(tmp_path) == set()


def test_a_signal_commits_and_says_how_to_go_on(few, undisturbed, tmp_path):
    process = start(few, "--out", tmp_path, *SMALL)
    wait_for_process(process, "jmpose_cli.runs.worker", out=tmp_path, name="long")
    process.send_signal(signal.SIGTERM)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 143 and "the same command resumes this run" in shown
    to_go = 4 - [entry["event"] for entry in entries(tmp_path)].count("done")
    assert to_go and f"stopped with {to_go} video" in shown  # the one in progress included
    (stopped,) = [entry for entry in entries(tmp_path) if entry["event"] == "stopped"]
    assert stopped["frames"] == assets.committed_frames(tmp_path, ["long"])["long"] > 0
    assert not any(".partial" in name for name in results(tmp_path))
    assert run_here(few, "--out", tmp_path, *SMALL).exit_code == 0 and results(tmp_path) == undisturbed


def test_a_second_signal_ends_at_once(few, tmp_path):
    process = start(few, "--out", tmp_path, *SMALL)
    (worker,) = wait_for_process(process, "jmpose_cli.runs.worker", out=tmp_path, name="long")
    worker.suspend()  # it cannot answer
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 130 and not worker.is_running()
    assert "stopped with 4 videos to go" in shown


def test_two_runs_share_a_folder(few, undisturbed, tmp_path):
    both = [start(few, "--out", tmp_path, *SMALL) for _ in range(2)]
    shown = [process.communicate(timeout=200)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], shown
    begun = [entry["name"] for entry in entries(tmp_path) if entry["event"] == "begin"]
    assert sorted(begun) == ["day1/v001", "day2/v002", "long", "v000"]
    assert results(tmp_path) == undisturbed


def test_the_parts_of_a_job_array_make_the_whole(few, undisturbed, tmp_path):
    for part in ("1/2", "2/2"):
        assert run_here(few, "--out", tmp_path, *SMALL, "--shard", part).exit_code == 0
    begun = [entry["name"] for entry in entries(tmp_path) if entry["event"] == "begin"]
    assert len(begun) == len(set(begun)) == 4 and results(tmp_path) == undisturbed


def test_an_input_deleted_in_mid_run_fails_alone(few, tmp_path):
    videos = tmp_path / "videos"
    for name in ("a", "b"):
        assets.street_video(videos / f"{name}.mp4", first=0, frames=20)
    with at_the_first_frames(tmp_path / "out", "a", (videos / "b.mp4").unlink):
        shown = run_here(videos, "--out", tmp_path / "out", *SMALL)
    assert shown.exit_code == 1 and "b.mp4: no such file" in shown.stderr
    assert {name.split("/")[0] for name in results(tmp_path / "out")} == {"a"}


def test_a_clock_that_jumps_changes_nothing(few, undisturbed, tmp_path, monkeypatch):
    moments = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: moments.uniform(-1e9, 4e9))
    assert run_here(few, "--out", tmp_path, *SMALL).exit_code == 0
    assert results(tmp_path) == undisturbed
    assert run_here(few, "--out", tmp_path, *SMALL).exit_code == 0
    assert len([entry for entry in entries(tmp_path) if entry["event"] == "begin"]) == 4


def test_a_disk_that_gets_full_stops_the_run_and_spoils_nothing(few, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        shown = run_here(few, "--out", disk, *SMALL)
        assert shown.exit_code == 1 and "the same command resumes this run" in shown.stderr
        found = results(disk)
        assert all(undisturbed[name] == data for name, data in found.items())
        assert len(found) < len(undisturbed) and not any(name.endswith(".partial") for name in found)
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        assert run_here(few, "--out", disk, *SMALL).exit_code == 0
        assert results(disk) == undisturbed
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_read_only_folder_is_one_clear_error(few, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        shown = run(few, "--out", disk / "out", *SMALL)
        assert shown.returncode == 1 and "Read-only file system" in shown.stderr and "Traceback" not in shown.stderr
        assert "choose another folder with --out" in shown.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_of_results_that_is_taken_away_ends_the_run(few, tmp_path):
    with at_the_first_frames(tmp_path / "out", "long", lambda: (tmp_path / "out").rename(tmp_path / "away")):
        shown = run_here(
            few / "long.mp4", few / "v000.mp4", "--out", tmp_path / "out", *SMALL, "--set", "run.chunk_frames=1"
        )
    assert shown.exit_code == 1 and "Traceback" not in shown.stderr
    assert "No such file or directory" in shown.stderr and "nothing more can be written" in shown.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["run.json", "posetrack18.json", "overlay.mp4", "summary.json"])
def test_a_file_that_cannot_be_completed_leaves_no_part_of_it(few, tmp_path, monkeypatch, name):
    real = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr("jmpose.files.os.replace", full)
    shown = run_here(few / "v000.mp4", "--out", tmp_path, *SMALL, "--frames", "0:2")
    assert shown.exit_code == 1 and "nothing more can be written" in shown.stderr
    assert "No space left on device" in shown.stderr or "the disk is full" in shown.stderr
    assert not list(tmp_path.rglob("*.partial"))


def test_another_video_of_the_same_name_replaces_nothing(few, tmp_path):
    first, second = tmp_path / "cam1" / "a.mp4", tmp_path / "cam2" / "a.mp4"
    for number, path in enumerate((first, second)):
        assets.street_video(path, first=10 * number, frames=3)
    words = ("--out", tmp_path / "out", *SMALL, "--no-overlay")
    assert run_here(first, *words).exit_code == 0
    before = results(tmp_path / "out")
    for _ in range(2):
        refused = run_here(second, *words)
        assert refused.exit_code == 1 and str(first) in refused.stderr and str(second) in refused.stderr
        assert "--overwrite" in json.loads((tmp_path / "out" / "failures.json").read_text())[0]["hint"]
        assert results(tmp_path / "out") == before
    moved = first.rename(tmp_path / "a.mp4")
    again = run_here(moved, *words)
    assert again.exit_code == 0 and "nothing to do" in again.stderr and results(tmp_path / "out") == before
    assert assets.failures(tmp_path / "out") == set()
    assert [entry["event"] for entry in entries(tmp_path / "out")].count("begin") == 1
    assert run_here(second, *words, "--overwrite").exit_code == 0
    assert json.loads(results(tmp_path / "out")["a/run.json"])["input"] == str(second)


def test_edited_results_are_left_alone_and_are_no_failure(few, tmp_path):
    words = (few / "v000.mp4", "--out", tmp_path, *SMALL, "--no-overlay", "--frames", "0:2")
    assert run_here(*words).exit_code == 0
    edited = tmp_path / "v000" / "posetrack18.json"
    edited.write_text(edited.read_text() + " ")
    for _ in range(2):
        shown = run_here(*words)
        assert shown.exit_code == 0 and "1 edited, left alone: v000" in shown.stderr
    assert edited.read_text().endswith(" ")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["done"], summary["edited"], summary["failed"]) == (0, 1, 0)
    assert summary["videos"]["v000"]["state"] == "edited" and summary["videos"]["v000"]["frames"] == 2
    assert [entry["event"] for entry in entries(tmp_path)].count("edited") == 1
    assert assets.failures(tmp_path) == set()
    assert run_here(*words, "--overwrite").exit_code == 0
    assert json.loads((tmp_path / "summary.json").read_text())["done"] == 1


def test_a_selection_that_fails_costs_the_results_nothing(few, tmp_path):
    words = (few / "v000.mp4", "--out", tmp_path, *SMALL, "--no-overlay")
    assert run_here(*words).exit_code == 0
    before = results(tmp_path)
    assert run_here(*words, "--frames", "400:500").exit_code == 1
    assert assets.failures(tmp_path) == {"v000"} and results(tmp_path) == before
    assert run_here(*words, "--frames", "400:500").exit_code == 1
    again = run_here(*words)
    assert again.exit_code == 0 and "nothing to do" in again.stderr and results(tmp_path) == before
    assert assets.failures(tmp_path) == set()
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == 0
    assert [entry["event"] for entry in entries(tmp_path)].count("begin") == 2


def test_a_list_that_was_wrong_is_forgotten_when_it_is_mended(few, tmp_path):
    wrong = tmp_path / "list.txt"
    wrong.write_text("gone1.mp4\ngone2.mp4\nnotes.md\n")
    (tmp_path / "notes.md").write_text("no film")
    words = ("--out", tmp_path / "out", *SMALL, "--no-overlay", "--frames", "0:1")
    assert run_here(wrong, *words).exit_code == 1
    assert assets.failures(tmp_path / "out") == {"gone1", "gone2", "notes"}
    wrong.write_text(str(few / "v000.mp4"))
    assert run_here(wrong, *words).exit_code == 0
    assert assets.failures(tmp_path / "out") == set()
    assert set(json.loads((tmp_path / "out" / "summary.json").read_text())["videos"]) == {"v000"}


def test_a_worker_that_hangs_is_stopped(few, tmp_path):
    process = start(few / "long.mp4", "--out", tmp_path, *SMALL, "--set", "run.hang_timeout_s=6")
    (worker,) = wait_for_process(process, "jmpose_cli.runs.worker", out=tmp_path, name="long")
    worker.suspend()
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 1 and "made no progress for 6 s and is stopped" in shown
    (failure,) = json.loads((tmp_path / "failures.json").read_text())
    assert failure["name"] == "long" and "the worker process died" in failure["reason"]
    assert (tmp_path / STATE_FOLDER / "work" / work_key("long")).is_dir()  # --retry-failed resumes it


def test_addresses_are_fetched(few, undisturbed, tmp_path):
    with zipfile.ZipFile(tmp_path / "videos.zip", "w") as archive:
        archive.write(few / "v000.mp4", "day/v000.mp4")
    inside = f"zip://day/v000.mp4::file://{tmp_path}/videos.zip"
    out = tmp_path / "out"
    assert run_here(inside, "--out", out, *SMALL).exit_code == 0
    found = results(out)
    same = {name: data for name, data in undisturbed.items() if name.startswith("v000/") and "run.json" not in name}
    assert {name: data for name, data in found.items() if "run.json" not in name} == same
    assert json.loads(found["v000/run.json"])["input"] == inside
    assert not list((out / STATE_FOLDER / "work").iterdir())
    assert run_here(inside, "--out", out, *SMALL).exit_code == 0
    assert [entry["event"] for entry in entries(out)].count("begin") == 1


def test_a_tree_of_results_can_be_evaluated(few, tmp_path):
    assert run_here(few, "--out", tmp_path / "out", "--no-overlay", *SMALL).exit_code == 0
    truth = tmp_path / "truth"
    truth.mkdir()
    for name in ("v000", "day1/v001", "day2/v002", "long"):
        shutil.copy(tmp_path / "out" / name / "posetrack18.json", truth / f"{Path(name).name}.json")
    words = ["eval", "--gt", str(truth), "--pred", str(tmp_path / "out"), "--out", str(tmp_path / "scores")]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    scores = json.loads((tmp_path / "scores" / "eval.json").read_text())
    assert sorted(scores["videos"]) == ["long", "v000", "v001", "v002"]
