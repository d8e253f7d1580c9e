"""What a run over videos shows: the plan, one bar over all frames and one line a worker, the table at the end.

People read standard error; with `--log-json`, programs read one JSON object a line from standard output.
"""

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from jmpose_cli.annotate.task import ClipSummary
from jmpose_cli.clips.layout import FAILURES_FILE, OVERLAY_FILE
from jmpose_cli.console import LINE_EVERY_S, STEADY_S, make_console, say_start, stages_text
from jmpose_cli.runs.plan import PlannedClip, State
from jmpose_cli.runs.summary import Failure
from jmpose_cli.text import one_line, to_json

_MOST_LISTED = 10
_LOG_EVERY_S = 5.0


@dataclass
class _ClipProgress:
    """What a worker is doing."""

    name: str
    total: int | None
    done: int
    people: int = 0
    bar: TaskID | None = None


class RunReport:
    """Shows one run; a context manager around the time when workers are busy.

    Args:
        quiet: Errors only.
        verbose: Stage timings of each video, and tracebacks.
        log_json: Events on standard output instead of everything else but errors.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, log_json: bool = False) -> None:
        self._console = make_console(stderr=True)
        self._quiet, self._verbose, self._log = quiet or log_json, verbose, log_json
        self._clips: dict[int, _ClipProgress] = {}
        self._bar: Progress | None = None
        self._all: TaskID | None = None
        self._videos = self._videos_done = 0
        self._frames_total: int | None = 0
        self._about = ""  # "about " where headers do not count the frames
        self._frames_done = self._frames_before = 0  # the latter by earlier runs
        self._steady: tuple[float, int] | None = None  # when the first frames were done, and how many
        self._sums = {"frames": 0, "people": 0, "tracks": 0, "resumed": 0}
        self._last_done: deque[tuple[str, ClipSummary]] = deque(maxlen=_MOST_LISTED)
        self._busy: dict[str, float] = {}
        self._started_s = self._shown_s = time.monotonic()

    @property
    def quiet(self) -> bool:
        """Whether people are shown nothing but errors."""
        return self._quiet

    def __enter__(self) -> "RunReport":
        self._started_s = self._shown_s = time.monotonic()
        if not self._quiet and self._console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[counts]}"))
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
            self._all = self._bar.add_task("all", total=self._frames_total or None, counts="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def event(self, kind: str, **facts: Any) -> None:
        """Write one JSON line, if asked for."""
        if self._log:
            sys.stdout.write(to_json({"event": kind, "time": round(time.time(), 3), **facts}).decode() + "\n")
            sys.stdout.flush()

    def header(self, lines: dict[str, str]) -> None:
        """Print what the run uses, one line a thing."""
        self.event("header", **lines)
        for name, text in {} if self._quiet else lines.items():
            self._console.print(f"{name:>10}  ", end="", style="bold")
            self._console.print(one_line(text), highlight=False)

    def note(self, text: str) -> None:
        """Print something the user should know that is no error."""
        self.event("note", text=text)
        if not self._quiet:
            self._console.print(f"note: {one_line(text)}", style="yellow", highlight=False)

    def starting(self, text: str) -> None:
        """Say what is being done while there is nothing to count yet."""
        say_start(text, quiet=self._quiet)

    def plan(self, planned: Sequence[PlannedClip]) -> None:
        """Say what will be done, what is done already, and what cannot be."""
        by_state: dict[str, list[PlannedClip]] = {state: [] for state in get_args(State)}
        for one in planned:
            by_state[one.state].append(one)
        counts = {state: len(them) for state, them in by_state.items()}
        known = [one.frames for one in by_state["todo"] if one.frames is not None]
        self._frames_total = sum(known) if len(known) == counts["todo"] else None
        self._about = "about " * any(one.is_estimate for one in by_state["todo"])
        self._videos = counts["todo"] + counts["render"] + counts["unreadable"]
        self.event("plan", **counts, frames=self._frames_total)
        for one in by_state["failed"] + by_state["refused"] + by_state["edited"]:
            self.event("left", name=one.clip.name, state=one.state, reason=one.reason, hint=one.hint)
        if self._quiet:
            return
        if len(planned) > 1 or counts["done"] or counts["edited"] or counts["render"]:
            frames = f"{self._about}{sum(known)}{'' if self._frames_total is not None else ' or more'} frames"
            todo = f"{counts['todo']} video{'s' * (counts['todo'] != 1)}"
            parts = [f"{todo} to do, {frames}"] * bool(counts["todo"])
            parts += ["nothing to do"] * (not counts["todo"] and not counts["render"])
            parts += [f"{counts['render']} to be rendered of the poses that are there"] * bool(counts["render"])
            parts += [f"{counts['done']} done already"] * bool(counts["done"])
            parts += [f"{counts['edited']} edited, left alone"] * bool(counts["edited"])
            parts += [f"{counts['unreadable']} cannot be read"] * bool(counts["unreadable"])
            parts += [f"{counts['failed']} failed before"] * bool(counts["failed"])
            parts += [f"{counts['refused']} would replace other results"] * bool(counts["refused"])
            self.header({"plan": "; ".join(parts)})
        again = [one for one in (*by_state["todo"], *by_state["render"]) if one.reason]
        for one in again[:_MOST_LISTED]:
            what = "is rendered again, its poses stay" if one.state == "render" else "is done again"
            self.note(f"{one.clip.name} {what}: {one.reason}")
        if len(again) > _MOST_LISTED:
            self.note(f"{len(again) - _MOST_LISTED} more are done again")

    def begin(self, worker: int, name: str, total: int | None, done: int) -> None:
        """A worker has opened a video."""
        self.event("begin", worker=worker, name=name, frames=total, resumed=done)
        if done and not self._quiet:
            self._print(f"{one_line(name)}: resumes after frame {done}")
        for other in [number for number, at in self._clips.items() if at.name == name]:
            self._frames_done -= self._clips[other].done
            self._frames_before -= self._clips[other].done
            self._drop(other)
        self._frames_done += done
        self._frames_before += done
        self._drop(worker)
        self._clips[worker] = _ClipProgress(name, total, done)
        if self._bar:
            self._clips[worker].bar = self._bar.add_task(one_line(name), total=total, completed=done, counts="")
        self._show()

    def advance(self, worker: int, frames: int, people: int) -> None:
        """More frames of a worker's video are finished."""
        self._frames_done += frames
        if self._steady is None:
            self._steady = (time.monotonic(), self._frames_done - self._frames_before)
        at = self._clips.get(worker)
        if at is not None:
            at.done, at.people = at.done + frames, people
        self._show()

    def done(self, worker: int, name: str, summary: ClipSummary) -> None:
        """A video is complete."""
        self._videos_done += 1
        self._last_done.append((name, summary))
        for key in self._sums:
            self._sums[key] += getattr(summary, key)
        for stage, seconds in summary.stage_s.items():
            self._busy[stage] = self._busy.get(stage, 0.0) + seconds
        facts = {"frames": summary.frames, "people": summary.people, "tracks": summary.tracks}
        self.event("done", worker=worker, name=name, wall_s=round(summary.wall_s, 3), **facts)
        for note in summary.notes:
            self.note(f"{name}: {note}")
        if self._verbose and not self._quiet:
            self._print(f"{one_line(name)}: {stages_text(summary.stage_s)}")
        self._drop(worker)

    def failed(self, worker: int, failure: Failure, trace: str = "") -> None:
        """A video has failed."""
        self._videos_done += 1
        self.event("failed", worker=worker, name=failure.name, message=failure.message, hint=failure.hint)
        self.error(failure.message, failure.hint, name=failure.name)
        if self._verbose and trace:
            self._print(trace)
        self._drop(worker)

    def stopped(self, worker: int, name: str, frames: int) -> None:
        """A video was left after a commit."""
        self.event("stopped", worker=worker, name=name, frames=frames)
        self._drop(worker)

    def error(self, message: str, hint: str, *, name: str = "") -> None:
        """Print why something failed."""
        text = message if not name or Path(name).name in message else f"{name}: {message}"
        self._console.print(f"error: {one_line(text)}", style="red", highlight=False)
        if hint:
            self._console.print(f"hint: {one_line(hint)}", highlight=False)

    def table(
        self,
        failures: Sequence[Failure],
        left: Sequence[Failure],
        *,
        edited: Sequence[str] = (),
        done: Sequence[str] = (),
        out: Path,
    ) -> None:
        """Print the tables at the end.

        Args:
            failures: Of this run.
            left: Videos that were left though they are not done.
            edited: Names of videos whose results were left as the user has made them.
            done: Names of videos that were done before this run.
            out: Folder of the results.
        """
        wall_s = time.monotonic() - self._started_s
        done_now = self._videos_done - len(failures)
        self.event("end", done=done_now, failed=len(failures), wall_s=round(wall_s, 3))
        if self._quiet:
            return
        if self._last_done:
            self._console.print(self._done_table(wall_s), highlight=False)
            self._console.print(f"busy, overlapping: {stages_text(self._busy)}", highlight=False)
        if edited:
            names = ", ".join(edited[:_MOST_LISTED]) + " ..." * (len(edited) > _MOST_LISTED)
            self._console.print(f"{len(edited)} edited, left alone: {names}; --overwrite replaces", highlight=False)
        problems = [*failures, *left]
        if problems:
            table = _plain_table("not done", "reason")
            for problem in problems[:_MOST_LISTED]:
                table.add_row(one_line(problem.name), one_line(problem.message))
            self._console.print(table, highlight=False, style="red")
            text = f"{len(problems)} of {len(problems) + done_now} inputs failed; all are in {out / FAILURES_FILE}"
            self._console.print(text, style="red", highlight=False)
        finished = [*done, *(name for name, _ in self._last_done)]
        self._console.print(_where(out, finished, only=len(done) + done_now == 1))

    def _done_table(self, wall_s: float) -> Table:
        """List the last videos done, and the sums over all."""
        table = _plain_table("video")
        for column in ("frames", "poses", "tracks", "seconds", "frames/s"):
            table.add_column(column, justify="right")
        for name, summary in self._last_done:
            new = summary.frames - summary.resumed
            counts = (str(summary.frames), str(summary.people), str(summary.tracks))
            table.add_row(one_line(name), *counts, f"{summary.wall_s:.1f}", f"{new / max(summary.wall_s, 1e-3):.1f}")
        if len(self._last_done) > 1:
            sums = self._sums
            new = sums["frames"] - sums["resumed"]
            counts = (str(sums["frames"]), str(sums["people"]), str(sums["tracks"]))
            table.add_row("all", *counts, f"{wall_s:.1f}", f"{new / max(wall_s, 1e-3):.1f}", style="bold")
        return table

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _drop(self, worker: int) -> None:
        at = self._clips.pop(worker, None)
        if at is not None and at.bar is not None and self._bar:
            self._bar.remove_task(at.bar)
        self._show()

    def _show(self) -> None:
        """Bring the bars up to date; without a terminal, print a line every few seconds."""
        now = time.monotonic()
        if self._bar and self._all is not None:
            self._bar.update(self._all, completed=self._frames_done, counts=self._counts(now))
            for at in self._clips.values():
                if at.bar is not None:
                    of = f"/{at.total}" if at.total else ""
                    self._bar.update(at.bar, completed=at.done, counts=f"{at.done}{of} frames, {at.people} people")
            return
        if now - self._shown_s < (_LOG_EVERY_S if self._log else LINE_EVERY_S) or not self._clips:
            return
        self._shown_s = now
        self.event("progress", videos=self._videos_done, frames=self._frames_done, rate=round(self._rate(now), 2))
        if not self._quiet:
            busy = ", ".join(f"{at.name} {at.done}{f'/{at.total}' if at.total else ''}" for at in self._clips.values())
            self._print(f"{self._counts(now)}: {one_line(busy)}")

    def _rate(self, now: float) -> float:
        return (self._frames_done - self._frames_before) / max(now - self._started_s, 1e-3)

    def _counts(self, now: float) -> str:
        rate = self._rate(now)
        text = f"{self._videos_done} of {self._videos} videos, {self._frames_done}"
        if self._frames_total and self._frames_done <= self._frames_total:
            text = f"{text} of {self._about}{self._frames_total} frames, {rate:.1f}/s"
            left_s = self._left_s(self._frames_total, now)
            return text if left_s is None else f"{text}, {timedelta(seconds=round(left_s))} left"
        return f"{text} frames, {rate:.1f}/s"

    def _left_s(self, total: int, now: float) -> float | None:
        """Estimate the time that is left; None while the first frames, which wait for all that starts, say nothing."""
        if self._steady is None:
            return None
        since_s, frames = self._steady
        new = self._frames_done - self._frames_before - frames
        if new <= 0 or now - since_s < STEADY_S:
            return None
        return (total - self._frames_done) * (now - since_s) / new


def _where(out: Path, names: Sequence[str], *, only: bool) -> str:
    """Say where the results of videos are, and their overlays, if there are any."""
    drawn = [name for name in names if (out / name / OVERLAY_FILE).is_file()]
    if only and names:
        folder = out / names[0]
        return f"results in {folder}" + (f"; watch {folder / OVERLAY_FILE}" if drawn else "")
    return f"results in {out}" + (f"; watch {out / '<video>' / OVERLAY_FILE}" if drawn else "")


def _plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
