"""Many videos: planned, claimed, given to workers, journalled; stopped and gone on with."""

import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import PartialFile, explain_os_errors
from jmpose_cli.home import temporary_files
from jmpose_cli.jobs.claims import Claims
from jmpose_cli.jobs.crew import Crew
from jmpose_cli.jobs.inputs import STATE_FOLDER, Clip
from jmpose_cli.jobs.journal import Entry, Journal
from jmpose_cli.jobs.messages import (
    Advanced,
    Died,
    Done,
    Failed,
    FromWorker,
    Noted,
    NotReady,
    Opened,
    Process,
    Ready,
    Stop,
    Stopped,
)
from jmpose_cli.jobs.plan import (
    History,
    Planned,
    Settings,
    frames_in_range,
    plan_clip,
    work_key,
)
from jmpose_cli.jobs.probing import probe_videos
from jmpose_cli.jobs.run_report import Failure, RunReport
from jmpose_cli.jobs.storage import Storage
from jmpose_cli.jobs.task import ClipTask, StoppedError, remove_work
from jmpose_cli.machine import explain
from jmpose_cli.signals import StopRequest
from jmpose_cli.text import to_json

LISTEN_S = 0.25
_MOST_PROBERS = 4
_PROBER_EACH = 25  # videos that make another prober worth its start
_MOST_BAD_STARTS = 3


@dataclass(frozen=True)
class Choices:
    """What the user wants of this run, beside the settings.

    Attributes:
        retry_failed: Try again what failed before.
        verify_hash: Compare inputs by content.
    """

    retry_failed: bool = False
    verify_hash: bool = False


@dataclass
class _Seat:
    """One worker and what it is doing."""

    is_ready: bool = False
    bad_starts: int = 0
    clip: Planned | None = None
    task: ClipTask | None = None
    heard_s: float = 0.0
    is_opened: bool = False


class Batch:
    """One run over videos.

    Args:
        clips: The videos.
        out: Folder of the results.
        config: The settings.
        choices: What else the user wants.
        crew: The workers, not yet started.
        report: Shows what happens.
        stop: Says when the user has had enough.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        out: Path,
        config: InferConfig,
        choices: Choices,
        crew: Crew,
        report: RunReport,
        stop: StopRequest,
    ) -> None:
        self._clips, self._out, self._config, self._choices = clips, out, config, choices
        self._crew, self._report, self._stop = crew, report, stop
        self._state = out / STATE_FOLDER
        self._seats: dict[int, _Seat] = {}
        self._todo: deque[Planned] = deque()
        self._attempts: dict[str, int] = {}
        self._failures: list[Failure] = []
        self._elsewhere: list[str] = []
        self._stopped = 0
        self._fatal: OutputError | None = None
        self._history = History()
        self._storage = Storage(silence_s=config.run.fetch_timeout_s, is_stopped=lambda: stop.asked)
        self._run = secrets.token_hex(4)

    def run(self) -> int:
        """Process what is to be done.

        Returns:
            0 when all videos are done, 1 when some failed, 128 + the signal's number when it was stopped.

        Raises:
            JmposeError: The workers cannot start, or nothing can be written any more.
        """
        self._prepare()
        with ExitStack() as stack:
            stack.enter_context(temporary_files(self._state / f"tmp-{self._run}"))
            self._journal = Journal(self._state / "journal.jsonl")
            stack.callback(self._journal.close)
            self._claims = stack.enter_context(Claims(self._state / "claims"))
            stack.callback(self._crew.close)
            stack.enter_context(self._storage)
            self._start(0)
            self._history.take_in(self._journal.news())
            probed = self._probe()
            settings = self._first_ready()
            if settings is None:
                return self._stop.exit_code
            try:
                planned = self._plan(settings, probed)
            except StoppedError:
                return self._stop.exit_code
            self._report.plan(planned)
            self._journal.add(
                "run", run=self._run, config=settings.config, weights=settings.weights, videos=len(self._todo)
            )
            with self._report:
                self._work()
            self._conclude(planned)
        if self._fatal is not None:
            self._report.error(self._fatal.message, self._fatal.hint)
            self._report.note("nothing more can be written; the same command goes on where this run was")
            return 1
        if self._stop.asked:
            return self._stop.exit_code
        return 1 if self._failures or any(one.state in ("failed", "refused") for one in planned) else 0

    def _prepare(self) -> None:
        """Make the folders, which shows whether they can be written to."""
        for folder in (self._out, self._state, self._state / "work", self._state / "claims"):
            with explain_os_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)

    def _probe(self) -> dict[str, Planned]:
        """Read the headers of videos that are not known to be done; give those that cannot be read, and frames."""
        wanted = [c for c in self._clips if not c.problem and not c.url and self._history.is_open(c.name)]
        files = [clip for clip in wanted if not clip.path.is_dir()]
        processes = min(_MOST_PROBERS, 1 + len(files) // _PROBER_EACH)
        probed: dict[str, Planned] = {}
        answers = probe_videos(
            [c.path for c in files],
            processes=processes,
            stream=self._config.decode.stream,
            is_stopped=lambda: self._stop.asked,
        )
        for clip, found in zip(files, answers, strict=True):
            if found.error:
                probed[clip.name] = Planned(clip, "todo", found.error, found.hint)
            else:
                frames = frames_in_range(found.frames, found.fps, self._config.decode)
                probed[clip.name] = Planned(clip, "todo", frames=frames)
        return probed

    def _start(self, number: int) -> None:
        seat = self._seats.setdefault(number, _Seat())
        seat.is_ready, seat.heard_s = False, time.monotonic()
        self._crew.start(number)

    def _first_ready(self) -> Settings | None:
        """Wait for the first worker; None when the user has had enough before."""
        while True:
            heard = self._crew.listen(LISTEN_S)
            if self._stop.asked:
                return None
            if heard is None:
                continue
            _, message = heard
            if isinstance(message, NotReady):
                raise JmposeError(message.message, hint=message.hint)
            if isinstance(message, Died):
                raise explain(message.reason) or JmposeError(
                    f"the worker could not start: {message.reason}", hint="--workers 0 shows more"
                )
            if isinstance(message, Ready):
                self._seats[0].is_ready = True
                self._report.header(message.header)
                return Settings(self._config.of_results(), message.weights)

    def _plan(self, settings: Settings, probed: dict[str, Planned]) -> list[Planned]:
        """Decide what happens to each video, and put the longest first.

        Raises:
            StoppedError: The user has had enough.
        """
        planned: list[Planned] = []
        for clip in self._clips:
            if self._stop.asked:
                raise StoppedError(0)
            one = plan_clip(
                clip,
                self._history,
                out=self._out,
                settings=settings,
                overwrite=self._config.output.overwrite,
                retry_failed=self._choices.retry_failed,
                verify_hash=self._choices.verify_hash,
                storage=self._storage,
            )
            header = probed.get(clip.name)
            if one.state == "todo" and header is not None:
                one = replace(one, frames=header.frames)
                if header.reason:  # cannot be read
                    one = replace(one, state="unreadable", reason=header.reason, hint=header.hint)
            planned.append(one)
        self._settings = settings
        todo = [one for one in planned if one.state in ("todo", "unreadable")]
        self._todo.extend(sorted(todo, key=lambda one: -(one.frames or 0)))
        return planned

    def _work(self) -> None:
        """Keep all workers busy until nothing is left or the user has had enough."""
        asked_to_stop = False
        for number in range(1, min(self._crew.size, len(self._todo))):
            self._start(number)
        while True:
            is_ending = self._stop.asked or self._fatal is not None
            if is_ending and not asked_to_stop:
                asked_to_stop = True
                self._report.note("stopping behind the frames in work; once more to stop at once")
                for number in self._busy():
                    self._crew.send(number, Stop())
            if self._stop.is_urgent:
                return
            if not is_ending:
                for number, seat in self._seats.items():
                    if seat.is_ready and seat.clip is None:
                        self._give_next(number)
            if not self._busy() and (is_ending or not self._todo):
                return
            heard = self._crew.listen(LISTEN_S)
            if heard is not None:
                self._hear(*heard)
            self._end_hanging()

    def _busy(self) -> list[int]:
        return [number for number, seat in self._seats.items() if seat.clip is not None]

    def _give_next(self, number: int) -> None:
        """Give a worker the next video that nobody else has."""
        seat = self._seats[number]
        while self._todo:
            one = self._todo.popleft()
            name = one.clip.name
            try:
                holder = self._claims.take(work_key(name))
                if holder is not None:
                    self._elsewhere.append(f"{name} ({holder})")
                    continue
                if self._done_meanwhile(one):
                    self._claims.give_back(work_key(name))
                    continue
                if one.state == "unreadable":
                    self._fail(number, one, Failed(one.reason, one.hint))
                    continue
                task = self._task(one)
                self._journal.add("begin", name=name, run=self._run)
            except StoppedError:  # while a server was asked
                self._claims.give_back(work_key(name))
                self._todo.appendleft(one)
                return
            except JmposeError as error:  # the claims and the journal are those of all videos
                self._fatal = OutputError(error.message, hint=error.hint)
                return
            seat.clip, seat.task, seat.is_opened, seat.heard_s = one, task, False, time.monotonic()
            self._crew.send(number, Process(task))
            return

    def _task(self, one: Planned) -> ClipTask:
        return ClipTask(
            name=one.clip.name,
            path=one.clip.path,
            url=one.clip.url,
            folder=self._out / one.clip.name,
            work=self._state / "work" / work_key(one.clip.name),
            stamp=one.stamp,
        )

    def _done_meanwhile(self, one: Planned) -> bool:
        """Whether another process has finished a video since the plan was made."""
        self._history.take_in(self._journal.news(), without=self._run)
        if self._history.last.get(one.clip.name) is one.entry:
            return False
        return plan_clip(
            one.clip, self._history, out=self._out, settings=self._settings, storage=self._storage
        ).state in ("done", "failed")

    def _hear(self, number: int, message: FromWorker) -> None:
        """Act on what a worker says."""
        seat = self._seats[number]
        seat.heard_s = time.monotonic()
        if isinstance(message, Ready):
            seat.is_ready, seat.bad_starts = True, 0
            if message.weights != self._settings.weights:
                raise JmposeError(
                    f"worker {number} loaded other weights than the first", hint="give all machines the same files"
                )
            return
        if isinstance(message, NotReady):
            raise JmposeError(message.message, hint=message.hint)
        if isinstance(message, Died):
            self._replace(number, message)
            return
        one = seat.clip
        if one is None:
            return
        if isinstance(message, Opened):
            seat.is_opened = True
            self._report.begin(number, one.clip.name, message.total, message.done)
        elif isinstance(message, Advanced):
            self._report.advance(number, message.frames, message.people)
        elif isinstance(message, Noted):
            self._report.note(f"{one.clip.name}: {message.text}")
        elif isinstance(message, Done):
            self._complete(number, one, message)
        elif isinstance(message, Failed):
            self._fail(number, one, message)
        elif isinstance(message, Stopped):
            self._leave(number, one, message.frames)

    def _complete(self, number: int, one: Planned, message: Done) -> None:
        seat, summary = self._seats[number], message.summary
        try:
            self._journal.add(
                "done",
                name=one.clip.name,
                run=self._run,
                input=one.clip.url or str(one.clip.path),
                stamp=one.stamp,
                sha256=summary.input_sha256,
                frames=summary.frames,
                resumed=summary.resumed,
                people=summary.people,
                tracks=summary.tracks,
                wall_s=round(summary.wall_s, 3),
                stage_s={stage: round(seconds, 3) for stage, seconds in summary.stage_s.items()},
                notes=summary.notes,
                files=summary.files,
            )
        except OutputError as error:
            self._fatal = error
        else:
            if seat.task is not None:
                remove_work(seat.task)
        self._report.done(number, one.clip.name, summary)
        self._free(number, one)

    def _fail(self, number: int, one: Planned, message: Failed) -> None:
        """Note that a video cannot be done, or that the run cannot go on."""
        seat = self._seats[number]
        if message.stops_run:
            self._fatal = OutputError(message.message, hint=message.hint)
            self._free(number, one)
            return
        failure = Failure(one.clip.name, one.clip.url or str(one.clip.path), message.message, message.hint)
        self._failures.append(failure)
        self._report.failed(number, failure, message.trace)
        try:
            self._journal.add(
                "failed",
                name=failure.name,
                run=self._run,
                input=failure.input,
                stamp=one.stamp,
                message=failure.message,
                hint=failure.hint,
            )
        except OutputError as error:
            self._fatal = error
        if seat.task is not None and not message.keeps_work:
            remove_work(seat.task)
        remove_empty(self._out / one.clip.name, upto=self._out)
        self._free(number, one)
        if message.needs_new_worker:
            self._crew.kill(number)
            self._start(number)

    def _leave(self, number: int, one: Planned, frames: int) -> None:
        self._stopped += 1
        self._journal.add("stopped", name=one.clip.name, run=self._run, frames=frames)
        self._report.stopped(number, one.clip.name, frames)
        remove_empty(self._out / one.clip.name, upto=self._out)
        self._free(number, one)

    def _free(self, number: int, one: Planned) -> None:
        self._claims.give_back(work_key(one.clip.name))
        seat = self._seats[number]
        seat.clip = seat.task = None

    def _replace(self, number: int, died: Died) -> None:
        """Start a new worker in place of one that is gone, whose video failed or goes to another one."""
        seat = self._seats[number]
        one, was_ready = seat.clip, seat.is_ready
        seat.is_ready = False
        if one is not None:
            name = one.clip.name
            self._attempts[name] = self._attempts.get(name, 0) + 1
            if self._attempts[name] <= self._crew.retries:
                self._report.note(f"{name}: its worker is gone ({died.reason}); another one goes on with it")
                self._todo.appendleft(one)
                self._free(number, one)
            else:
                hint = "the video may crash the decoder or need too much memory; --retry-failed tries it again"
                self._fail(number, one, Failed(f"the worker process died: {died.reason}", hint, keeps_work=True))
        elif not was_ready:
            seat.bad_starts += 1
            if seat.bad_starts >= _MOST_BAD_STARTS:
                raise explain(died.reason) or JmposeError(
                    f"a worker cannot start: {died.reason}", hint="give fewer --workers"
                )
        if self._todo and not self._stop.asked:
            self._start(number)
        else:
            seat.heard_s = float("inf")

    def _end_hanging(self) -> None:
        """End workers that have been silent for too long; `Died` follows."""
        limit = self._config.run.hang_timeout_s
        for number in self._busy():
            seat = self._seats[number]
            if seat.is_opened and time.monotonic() - seat.heard_s > limit:
                seat.heard_s = time.monotonic()
                self._report.note(f"worker {number} made no progress for {limit:g} s and is stopped")
                self._crew.kill(number)

    def _conclude(self, planned: list[Planned]) -> None:
        """Write the summary and print the end."""
        left = [
            Failure(one.clip.name, one.clip.url or str(one.clip.path), one.reason, one.hint)
            for one in planned
            if one.state in ("failed", "refused")
        ]
        self._report.table(self._failures, left, out=self._out)
        if self._elsewhere:
            names = ", ".join(self._elsewhere[:3]) + " ..." * (len(self._elsewhere) > 3)
            self._report.note(f"{len(self._elsewhere)} videos are in work elsewhere: {names}")
        if self._stop.asked:
            rest = len(self._todo) + self._stopped
            self._report.note(f"stopped with {rest} videos to go; the same command goes on where this run was")
        if self._fatal is None:
            write_summary(self._out, self._journal.path, [*self._failures, *left])


def remove_empty(folder: Path, *, upto: Path) -> None:
    """Remove a folder that is empty, and those above it that then are."""
    while folder != upto and upto in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def write_summary(out: Path, journal: Path, failures: Sequence[Failure]) -> None:
    """Write `summary.json`, the state of all videos that the journal knows, and `failures.json`."""
    reader = Journal(journal)
    try:
        videos = {e["name"]: _row(e) for e in reader.news() if e["event"] in ("done", "failed")}
    finally:
        reader.close()
    failed = {name: row for name, row in videos.items() if row["state"] == "failed"}
    for failure in failures:  # those that no worker has seen are not in the journal
        failed[failure.name] = _failed_row(failure.input, failure.message, failure.hint)
    totals = {
        "done": sum(row["state"] == "done" for row in videos.values()),
        "failed": len(failed),
        **{key: sum(row.get(key, 0) for row in videos.values()) for key in ("frames", "people")},
    }
    for name, content in (
        ("summary.json", {**totals, "videos": {**videos, **failed}}),
        ("failures.json", [{"name": name, **row} for name, row in failed.items()]),
    ):
        file = PartialFile(out / name)
        try:
            file.write(to_json(content, indent=True) + b"\n")
            file.commit()
        except BaseException:
            file.discard()
            raise


def _row(entry: Entry) -> dict[str, Any]:
    if entry["event"] == "failed":
        return _failed_row(entry["input"], entry["message"], entry["hint"])
    keys = ("input", "frames", "people", "tracks", "wall_s", "stage_s", "notes")
    return {"state": "done", **{key: entry[key] for key in keys}}


def _failed_row(given: str, message: str, hint: str) -> dict[str, Any]:
    return {"state": "failed", "input": given, "reason": message, "hint": hint}
