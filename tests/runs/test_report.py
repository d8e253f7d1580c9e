import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jmpose_cli.annotate.task import ClipSummary
from jmpose_cli.runs import report as run_report
from jmpose_cli.runs.inputs import Clip
from jmpose_cli.runs.plan import PlannedClip, State
from jmpose_cli.runs.report import RunReport
from jmpose_cli.runs.summary import Failure


class Clock:
    """In place of the module `time`: a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1.7e9 + self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    clock = Clock()
    monkeypatch.setattr(run_report, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")


def planned(
    state: State = "todo", *, frames: int | None = None, name: str = "a", reason: str = "", is_estimate: bool = False
) -> PlannedClip:
    return PlannedClip(Clip(Path(f"{name}.mp4"), name), state, reason, frames=frames, is_estimate=is_estimate)


def summary(frames: int = 10, *, resumed: int = 0, wall_s: float = 2.0, notes: Sequence[str] = ()) -> ClipSummary:
    stages = {"decode": 0.5, "pose": 1.5}
    return ClipSummary(frames, resumed, 2 * frames, 3, wall_s, stages, tuple(notes), "ab", {})


def failure(name: str = "b", message: str = "b.mp4 holds audio only") -> Failure:
    return Failure(name, f"{name}.mp4", message, "give a file with pictures")


def go_through_everything(report: RunReport, clock: Clock, out: Path) -> None:
    """Tell a report all that can happen in a run."""
    report.header({"device": "cpu (2 threads)", "model": "nano"})
    report.plan(
        [
            planned(frames=10, name="day 1/žluť\nline"),
            planned(frames=20, reason="the input has changed (size)"),
            planned("done"),
            planned("failed", name="f", reason="holds audio only"),
            planned("refused", name="r", reason="holds results"),
            planned("unreadable", name="u"),
        ]
    )
    with report:
        report.begin(0, "day 1/žluť\nline", 10, 0)
        report.begin(1, "a", None, 4)
        clock.now += 6
        report.advance(0, 5, 2)
        report.note("worker 0 made no progress")
        report.done(0, "day 1/žluť\nline", summary(notes=["two frames are missing"]))
        report.failed(1, failure(), trace="Traceback (most recent call last)")
        report.begin(0, "c", 9, 0)
        report.stopped(0, "c", 5)
    report.error("the disk is full", "free some space")
    report.table([failure()], [failure("r", "holds results")], out=out)


def events(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def test_with_a_log_each_line_on_standard_output_is_json(clock, capsys):
    go_through_everything(RunReport(log_json=True), clock, Path("out"))
    shown = capsys.readouterr()
    logged = events(shown.out)
    kinds = ["header", "plan", "left", "left", "begin", "begin", "progress", "note", "done", "note", "failed"]
    assert [one["event"] for one in logged] == [*kinds, "begin", "stopped", "end"]
    assert [one["time"] for one in logged] == sorted(one["time"] for one in logged)
    by_kind = {one["event"]: one for one in reversed(logged)}  # the first of each
    assert by_kind["header"]["device"] == "cpu (2 threads)"
    plan = {key: by_kind["plan"][key] for key in ("todo", "unreadable", "done", "failed", "refused", "frames")}
    assert plan == {"todo": 2, "unreadable": 1, "done": 1, "failed": 1, "refused": 1, "frames": 30}
    assert by_kind["left"]["name"] == "f" and by_kind["left"]["reason"] == "holds audio only"
    assert by_kind["begin"]["name"] == by_kind["done"]["name"] == "day 1/žluť\nline"
    assert by_kind["done"]["frames"] == 10 and by_kind["done"]["people"] == 20 and by_kind["done"]["wall_s"] == 2.0
    assert by_kind["failed"]["message"] == "b.mp4 holds audio only"
    assert (by_kind["end"]["done"], by_kind["end"]["failed"], by_kind["end"]["wall_s"]) == (1, 1, 6.0)


def test_with_a_log_people_see_errors_only(clock, capsys):
    go_through_everything(RunReport(log_json=True), clock, Path("out"))
    assert capsys.readouterr().err.splitlines() == [
        "error: b.mp4 holds audio only",
        "hint: give a file with pictures",
        "error: the disk is full",
        "hint: free some space",
    ]


def test_a_name_that_is_no_utf8_can_be_logged(capsys):
    """Linux has such file names: old archives, memory cards of cameras."""
    report = RunReport(log_json=True)
    report.begin(0, os.fsdecode(b"caf\xe9"), 10, 0)
    assert events(capsys.readouterr().out)[0]["event"] == "begin"


@pytest.mark.parametrize("options", [{}, {"quiet": True}, {"verbose": True}])
def test_without_a_log_standard_output_is_empty(clock, capsys, options):
    go_through_everything(RunReport(**options), clock, Path("out"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: b.mp4 holds audio only" in shown.err


def test_quiet_shows_errors_only(clock, capsys):
    go_through_everything(RunReport(quiet=True), clock, Path("out"))
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["error", "hint"] * 2


def test_verbose_shows_stages_and_traces(clock, capsys):
    go_through_everything(RunReport(verbose=True), clock, Path("out"))
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "line: decode 0.5 s, pose 1.5 s" in shown
    go_through_everything(RunReport(), clock, Path("out"))
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("clips", "text"),
    [
        ([planned(frames=10), planned(frames=32)], "2 videos to do, 42 frames"),
        ([planned(frames=10), planned(frames=None)], "2 videos to do, 10 or more frames"),
        ([planned(frames=10), planned(frames=32, is_estimate=True)], "2 videos to do, about 42 frames"),
        ([planned("done"), planned("done")], "nothing to do; 2 done already"),
        ([planned("done")], "nothing to do; 1 done already"),
        (
            [planned(frames=1), planned(frames=2), *map(planned, ("done", "unreadable", "failed", "refused"))],
            "2 videos to do, 3 frames; 1 done already; 1 cannot be read; 1 failed before; "
            "1 would replace other results",
        ),
    ],
)
def test_the_plan_is_one_line(capsys, clips, text):
    RunReport().plan(clips)
    assert capsys.readouterr().err == f"      plan  {text}\n"


def test_one_new_video_needs_no_plan(capsys):
    RunReport().plan([planned(frames=10)])
    assert capsys.readouterr().err == ""


def test_the_plan_says_what_is_done_again_but_no_long_list(capsys):
    RunReport().plan([planned(name=f"v{n}", reason="other settings: x was 1, is 2") for n in range(12)])
    notes = capsys.readouterr().err.splitlines()[1:]
    assert notes[0] == "note: v0 is done again: other settings: x was 1, is 2"
    assert len(notes) == 11 and notes[-1] == "note: 2 more are done again"


def test_the_line_counts_resumed_frames_as_done_but_not_in_the_rate(clock, capsys):
    report = RunReport()
    report.plan([planned(frames=100), planned(frames=100, name="b")])
    capsys.readouterr()
    with report:
        report.begin(0, "a", 100, 40)
        assert capsys.readouterr().err == "a: resumes after frame 40\n"
        clock.now += 10
        report.advance(0, 20, 3)
        # The first frames wait for all that starts: they foretell nothing.
        assert capsys.readouterr().err == "0 of 2 videos, 60 of 200 frames, 2.0/s: a 60/100\n"
        clock.now += 9
        report.advance(0, 30, 3)
        assert "left" not in capsys.readouterr().err
        clock.now += 6
        report.advance(0, 0, 3)
    # 30 frames in the 15 s since the first ones; 110 to go
    assert capsys.readouterr().err == "0 of 2 videos, 90 of 200 frames, 2.0/s, 0:00:55 left: a 90/100\n"


def test_the_logged_progress_counts_resumed_frames_likewise(clock, capsys):
    report = RunReport(log_json=True)
    report.plan([planned(frames=100)])
    with report:
        report.begin(0, "a", 100, 40)
        clock.now += 10
        report.advance(0, 20, 3)
    *_, progress = events(capsys.readouterr().out)
    assert (progress["event"], progress["frames"], progress["rate"], progress["videos"]) == ("progress", 60, 2.0, 0)


def test_lines_come_every_few_seconds_and_name_all_that_is_in_work(clock, capsys):
    report = RunReport()
    report.plan([planned(frames=100), planned(frames=None, name="b")])
    capsys.readouterr()
    with report:
        report.begin(0, "a", 100, 0)
        report.begin(1, "b", None, 0)
        for _ in range(60):
            clock.now += 0.25
            report.advance(0, 1, 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"0 of 2 videos, {n} frames, 4.0/s: a {n}/100, b 0" for n in (20, 40, 60)]


def test_with_more_frames_than_the_headers_claimed_no_end_is_foretold(clock, capsys):
    report = RunReport()
    report.plan([planned(frames=10)])
    with report:
        report.begin(0, "a", 10, 0)
        clock.now += 10
        report.advance(0, 20, 1)
    assert capsys.readouterr().err == "0 of 1 videos, 20 frames, 2.0/s: a 20/10\n"


@pytest.mark.parametrize("next_worker", [0, 1])
def test_frames_that_another_worker_does_again_count_once(clock, capsys, next_worker):
    """A worker dies after frame 50 of which 40 were committed; the next one resumes the video."""
    report = RunReport()
    report.plan([planned(frames=100)])
    with report:
        report.begin(0, "a", 100, 0)
        report.advance(0, 50, 1)
        report.begin(next_worker, "a", 100, 40)
        capsys.readouterr()
        clock.now += 10
        report.advance(next_worker, 20, 1)
    line = capsys.readouterr().err
    assert line.startswith("0 of 1 videos, 60 of 100 frames, ") and line.endswith("0:00:20 left: a 60/100\n")


def test_a_bar_on_a_terminal(terminal, clock, capsys):
    report = RunReport()
    report.plan([planned(frames=100)])
    with report:
        report.begin(0, "street", 100, 40)
        clock.now += 10
        report.advance(0, 20, 3)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "60 of 100 frames, 2.0/s" in shown.err and "60/100 frames, 3 people" in shown.err


def test_the_table_lists_videos_sums_and_what_was_not_done(clock, capsys):
    report = RunReport()
    report.plan([planned(frames=10), planned(frames=30, name="b"), planned(frames=9, name="c")])
    with report:
        clock.now += 5
        report.done(0, "a", summary(10))
        report.done(0, "b", summary(30, resumed=20))
        report.failed(0, failure("c", "c.mp4 holds audio only"))
    capsys.readouterr()
    report.table([failure("c", "c.mp4 holds audio only")], [failure("d", "holds results")], out=Path("out"))
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "video frames poses tracks seconds frames/s",
        "a 10 20 3 2.0 5.0",
        "b 30 60 3 2.0 5.0",  # 10 new ones in 2 s
        "all 40 80 6 5.0 4.0",  # 20 new ones in 5 s
        "busy, overlapping: decode 1.0 s, pose 3.0 s",
        "not done reason",
        "c c.mp4 holds audio only",
        "d holds results",
        f"2 of 4 inputs failed; all are in {Path('out/failures.json')}",
        "results in out",
    ]


def test_the_table_is_no_longer_than_a_screen_but_sums_all(clock, capsys):
    report = RunReport()
    with report:
        for number in range(30):
            report.done(0, f"v{number}", summary(10))
    report.table([], [], out=Path("out"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines[1:12]] == [*(f"v{n}" for n in range(20, 30)), "all"]
    assert lines[11].split()[1] == "300"


@pytest.mark.parametrize("name", ["dance [dQw4w9WgXcQ]", "[red]", "end [/bold]", "a \\[b]", "x :smile:"])
def test_names_are_shown_as_they_are(clock, capsys, name):
    """Downloaded videos carry an id in brackets, which rich would take for markup."""
    report, out = RunReport(), Path(name)
    with report:
        report.begin(0, name, 10, 3)
        clock.now += 10
        report.advance(0, 1, 1)
        report.done(0, name, summary(notes=["a note"]))
    report.failed(1, failure(name, "no picture"))
    shown = capsys.readouterr().err
    report.table([failure(name, f"{name}: no picture")], [], out=out)
    table = capsys.readouterr().err
    assert [shown.count(name), table.count(name)] == [4, 6]


@pytest.mark.parametrize("name", ["dance [dQw4w9WgXcQ]", "end [/bold]"])
def test_names_are_shown_as_they_are_on_a_terminal(terminal, capsys, name):
    report = RunReport()
    report.plan([planned(frames=10)])
    with report:
        report.begin(0, name, 10, 0)
        capsys.readouterr()
    assert name in capsys.readouterr().err


def test_the_last_line_names_the_overlay(tmp_path, capsys):
    def last_line(done_now, **others):
        report = RunReport()
        for name in done_now:
            report.done(0, name, summary())
        report.table([], [], out=tmp_path, **others)
        return "".join(capsys.readouterr().err.splitlines()[-1:])

    assert last_line(["cam1/a"]) == f"results in {tmp_path / 'cam1' / 'a'}"
    for name in ("cam1/a", "b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "overlay.mp4").touch()
    one = f"results in {tmp_path / 'b'}; watch {tmp_path / 'b' / 'overlay.mp4'}"
    assert last_line(["b"]) == one and last_line([], done=["b"]) == one
    both = f"results in {tmp_path}; watch {tmp_path / '<video>' / 'overlay.mp4'}"
    assert last_line(["b"], done=["cam1/a"]) == both and last_line(["cam1/a", "b"]) == both


def test_what_is_being_started_is_said(capsys):
    RunReport().starting("loading [nano]")
    assert capsys.readouterr().err == "  starting  loading [nano]\n"
    RunReport(quiet=True).starting("loading")
    assert capsys.readouterr().err == ""
