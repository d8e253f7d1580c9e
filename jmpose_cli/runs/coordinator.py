"""Many videos: planned, claimed, given to workers, recorded in the journal; stopped and resumed."""

import secrets
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jmpose_cli.annotate.networks import are_those_of_before
from jmpose_cli.annotate.task import ClipSummary, ClipTask, StoppedError, remove_work
from jmpose_cli.clips.layout import RUN_FILE, STATE_FOLDER, replacing_mark
from jmpose_cli.clips.run_record import file_facts, recorded_files
from jmpose_cli.clips.video import frames_in_range
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.home import temporary_files
from jmpose_cli.machine import explain
from jmpose_cli.runs.claims import Claims
from jmpose_cli.runs.inputs import Clip, clip_source
from jmpose_cli.runs.journal import Event, Journal
from jmpose_cli.runs.messages import (
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
from jmpose_cli.runs.plan import (
    History,
    PlannedClip,
    Settings,
    plan_clip,
    work_folder,
    work_key,
)
from jmpose_cli.runs.probing import probe_videos
from jmpose_cli.runs.report import RunReport
from jmpose_cli.runs.storage import Storage
from jmpose_cli.runs.summary import Failure, write_summary
from jmpose_cli.runs.worker_pool import WorkerPool
from jmpose_cli.signals import StopRequest

LISTEN_S = 0.25
_MOST_PROBERS = 4
_PROBER_EACH = 25  # videos that make another prober worth its start
_MOST_BAD_STARTS = 3
_PARENT = -1  # stands for this process where workers have numbers
_OPEN = ("todo", "unreadable")  # a worker gets it, or it fails in this run


@dataclass(frozen=True)
class ResumeOptions:
    """What is done again of what an earlier run has done.

    Attributes:
        retry_failed: Try again what failed before.
        verify_hash: Tell changed inputs by their content, not by size and time of change.
    """

    retry_failed: bool = False
    verify_hash: bool = False


@dataclass
class _WorkerState:
    """One worker and what it is doing."""

    is_ready: bool = False
    bad_starts: int = 0
    clip: PlannedClip | None = None
    task: ClipTask | None = None
    heard_s: float = 0.0
    is_opened: bool = False


class Coordinator:
    """Takes one run over videos from the plan to the summary.

    Args:
        clips: The videos.
        asked: Names of all videos that the user named, those of other shards included.
        out: Folder of the results.
        config: The settings.
        resume: What is done again.
        workers: The workers, not yet started.
        report: Shows what happens.
        stop: Tells whether the user asked to stop.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        asked: Collection[str],
        out: Path,
        config: InferConfig,
        resume: ResumeOptions,
        workers: WorkerPool,
        report: RunReport,
        stop: StopRequest,
    ) -> None:
        self._clips, self._asked = clips, asked
        self._out, self._config, self._resume = out, config, resume
        self._pool, self._report, self._stop = workers, report, stop
        self._state = out / STATE_FOLDER
        self._workers: dict[int, _WorkerState] = {}
        self._todo: deque[PlannedClip] = deque()
        self._renders: list[PlannedClip] = []
        self._attempts: dict[str, int] = {}
        self._failures: list[Failure] = []
        self._elsewhere: list[str] = []
        self._remaining: set[str] = set()  # names of videos that nothing has come of yet, those in progress included
        self._fatal: OutputError | None = None
        self._history = History()
        self._storage = Storage(silence_s=config.run.fetch_timeout_s, is_stopped=lambda: stop.asked)
        self._run = secrets.token_hex(4)

    def run(self) -> int:
        """Process what is to be done.

        Returns:
            0 when all videos are done, 1 when some failed, 128 + the signal's number when it was stopped.

        Raises:
            JmposeError: The workers cannot start.
            OutputError: Nothing can be written from the start.
        """
        self._prepare()
        with ExitStack() as stack:
            stack.enter_context(temporary_files(self._state / f"tmp-{self._run}"))
            self._journal = Journal(self._state / "journal.jsonl")
            stack.callback(self._journal.close)
            self._claims = stack.enter_context(Claims(self._state / "claims"))
            stack.callback(self._pool.close)
            stack.enter_context(self._storage)
            self._history.take_in(self._journal.news())
            try:
                planned = self._plan_by_the_record() or self._plan_with_a_worker()
            except StoppedError:
                return self._stop.exit_code
            settings = self._settings
            self._report.plan(planned)
            self._journal.add(
                "run", run=self._run, config=settings.config, weights=settings.weights, videos=len(self._todo)
            )
            with self._report:
                self._render()
                self._work()
            self._finish(planned)
        if self._fatal is not None:
            self._report.error(self._fatal.message, self._fatal.hint)
            self._report.note("nothing more can be written; the same command resumes this run")
            return 1
        if self._stop.asked:
            return self._stop.exit_code
        return 1 if self._failures or any(one.state in ("failed", "refused") for one in planned) else 0

    def _prepare(self) -> None:
        """Make the folders, which shows whether they can be written to."""
        for folder in (self._out, self._state, self._state / "work", self._state / "claims"):
            with explain_os_errors(folder, ends_run=True):
                folder.mkdir(parents=True, exist_ok=True)

    def _plan_by_the_record(self) -> list[PlannedClip] | None:
        """Plan without a worker, whose start takes seconds; None when there is work, or when that is not certain.

        Raises:
            StoppedError: The user asked to stop.
        """
        before = self._history.newest_settings()
        known = all(clip.name in self._history.last for clip in self._clips)
        if before is None or not known or self._config.output.overwrite or not self._pool.is_local:
            return None
        if not are_those_of_before(self._config, before.weights):
            return None
        settings = Settings(self._config.of_results(), before.weights)
        planned = self._decide(settings, {})
        return self._plan(settings, planned) if not any(one.state in _OPEN for one in planned) else None

    def _plan_with_a_worker(self) -> list[PlannedClip]:
        """Plan by the weights that the first worker has loaded.

        Raises:
            JmposeError: It cannot start.
            StoppedError: The user asked to stop.
        """
        people = "" if self._config.people.boxes else f" and the detector ({self._config.people.detector})"
        compiled = ", to be compiled, which takes a minute or more" if self._config.pose.compile else ""
        self._report.starting(f"loading the pose model ({self._config.pose.model}){people}{compiled}")
        self._start(0)
        probed = self._probe()
        settings = self._first_ready()
        if settings is None:
            raise StoppedError(0)
        return self._plan(settings, self._decide(settings, probed))

    def _probe(self) -> dict[str, PlannedClip]:
        """Read the headers of videos not known to be done: which cannot be read, how many frames the others have."""
        wanted = [c for c in self._clips if not c.problem and not c.url and self._history.is_open(c.name)]
        files = [clip for clip in wanted if not clip.path.is_dir()]
        processes = min(_MOST_PROBERS, 1 + len(files) // _PROBER_EACH)
        probed: dict[str, PlannedClip] = {}
        answers = probe_videos(
            [c.path for c in files],
            processes=processes,
            stream=self._config.decode.stream,
            is_stopped=lambda: self._stop.asked,
        )
        for clip, found in zip(files, answers, strict=True):
            if found.error:
                probed[clip.name] = PlannedClip(clip, "todo", found.error, found.hint)
            else:
                frames = frames_in_range(found.frames, found.fps, self._config.decode)
                is_asked_for = frames == frames_in_range(None, found.fps, self._config.decode)
                is_estimate = found.is_estimate and not is_asked_for
                probed[clip.name] = PlannedClip(clip, "todo", frames=frames, is_estimate=is_estimate)
        return probed

    def _start(self, number: int) -> None:
        worker = self._workers.setdefault(number, _WorkerState())
        worker.is_ready, worker.heard_s = False, time.monotonic()
        self._pool.start(number)

    def _first_ready(self) -> Settings | None:
        """Wait for the first worker; None when the user asked to stop before."""
        while True:
            heard = self._pool.listen(LISTEN_S)
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
                self._workers[0].is_ready = True
                self._report.header(message.header)
                return Settings(self._config.of_results(), message.weights)

    def _decide(self, settings: Settings, probed: dict[str, PlannedClip]) -> list[PlannedClip]:
        """Decide what happens to each video.

        Raises:
            StoppedError: The user asked to stop.
        """
        planned: list[PlannedClip] = []
        for clip in self._clips:
            if self._stop.asked:
                raise StoppedError(0)
            one = plan_clip(
                clip,
                self._history,
                out=self._out,
                settings=settings,
                overwrite=self._config.output.overwrite,
                retry_failed=self._resume.retry_failed,
                verify_hash=self._resume.verify_hash,
                storage=self._storage,
            )
            header = probed.get(clip.name)
            if one.state == "todo" and header is not None:
                one = replace(one, frames=header.frames, is_estimate=header.is_estimate)
                if header.reason:  # cannot be read
                    one = replace(one, state="unreadable", reason=header.reason, hint=header.hint)
            planned.append(one)
        return planned

    def _plan(self, settings: Settings, planned: list[PlannedClip]) -> list[PlannedClip]:
        """Keep what is decided, and put the longest first."""
        for one in planned:
            if one.is_unrecorded:
                self._record_as_it_stands(one)
        self._settings = settings
        todo = [one for one in planned if one.state in _OPEN]
        self._todo.extend(sorted(todo, key=lambda one: -(one.frames or 0)))
        self._renders = [one for one in planned if one.state == "render"]
        self._remaining = {one.clip.name for one in (*todo, *self._renders)}
        return planned

    def _record_as_it_stands(self, one: PlannedClip) -> None:
        """Record that a video's results stand as they are, so that the next runs need not find out."""
        if one.state == "edited":
            self._journal.add("edited", name=one.clip.name, run=self._run, reason=one.reason, hint=one.hint)
            return
        with suppress(OSError):
            replacing_mark(work_folder(self._out, one.clip.name)).unlink(missing_ok=True)
        self._journal.add("kept", name=one.clip.name, run=self._run, stamp=one.stamp, **_source(one.clip))

    def _render(self) -> None:
        """Make files anew of videos whose output settings alone have changed; it takes no network, so no worker."""
        for one in self._renders:
            name = one.clip.name
            if self._stop.asked or self._fatal is not None:
                return
            holder = self._claims.take(work_key(name))
            if holder is not None:
                self._elsewhere.append(f"{name} ({holder})")
                self._remaining.discard(name)
                continue
            try:
                self._render_one(one)
            except StoppedError:
                return
            except OutputError as error:
                self._fatal = error
            except JmposeError as error:
                self._failures.append(_failure(one.clip, error.message, error.hint))
                self._report.failed(_PARENT, self._failures[-1])
                self._remaining.discard(name)
            finally:
                self._claims.release(work_key(name))

    def _render_one(self, one: PlannedClip) -> None:
        """Make the files of one video anew, and record it.

        Raises:
            JmposeError: As `render`.
            StoppedError: The user asked to stop.
        """
        from jmpose_cli.clips.render import render

        folder, began_s, done = self._out / one.clip.name, time.perf_counter(), self._history.done[one.clip.name]
        self._report.begin(_PARENT, one.clip.name, one.frames, 0)

        def step() -> None:
            if self._stop.asked:
                raise StoppedError(0)
            self._report.advance(_PARENT, 1, 0)

        notes = render(folder, self._config.output, video=one.clip.path, step=step)
        files = recorded_files(folder) or {}
        wall_s = time.perf_counter() - began_s
        facts = {name: done[name] for name in ("frames", "people", "tracks")}
        summary = ClipSummary(
            **facts,
            resumed=0,
            wall_s=wall_s,
            stage_s={"render": wall_s},
            notes=tuple(notes),
            input_sha256=done.get("sha256", ""),
            files={**files, RUN_FILE: file_facts(folder / RUN_FILE)},
        )
        self._record_done(one, summary)
        if self._fatal is None:
            self._remaining.discard(one.clip.name)
        self._report.done(_PARENT, one.clip.name, summary)

    def _work(self) -> None:
        """Keep all workers busy until nothing is left or the user asked to stop."""
        asked_to_stop = False
        for number in range(1, min(self._pool.size, len(self._todo))):
            self._start(number)
        while True:
            is_ending = self._stop.asked or self._fatal is not None
            if is_ending and not asked_to_stop:
                asked_to_stop = True
                self._report.note("stopping after the frames in progress; once more to stop at once")
                for number in self._busy():
                    self._pool.send(number, Stop())
            if self._stop.is_urgent:
                return
            if not is_ending:
                for number, worker in self._workers.items():
                    if worker.is_ready and worker.clip is None:
                        self._assign_next(number)
            if not self._busy() and (is_ending or not self._todo):
                return
            heard = self._pool.listen(LISTEN_S)
            if heard is not None:
                self._handle(*heard)
            self._kill_hanging()

    def _busy(self) -> list[int]:
        return [number for number, worker in self._workers.items() if worker.clip is not None]

    def _assign_next(self, number: int) -> None:
        """Assign to a worker the next video that nobody else has."""
        worker = self._workers[number]
        while self._todo:
            one = self._todo.popleft()
            name = one.clip.name
            try:
                holder = self._claims.take(work_key(name))
                if holder is not None:
                    self._elsewhere.append(f"{name} ({holder})")
                    self._remaining.discard(name)
                    continue
                one = self._plan_again(one)
                if one.state in ("done", "failed", "edited"):
                    self._claims.release(work_key(name))
                    self._remaining.discard(name)
                    continue
                if one.state in ("unreadable", "refused"):
                    self._fail(number, one, Failed(one.reason, one.hint))
                    continue
                task = self._task(one)
                self._journal.add("begin", name=name, run=self._run, stamp=one.stamp, **_source(one.clip))
            except StoppedError:  # while a server was asked
                self._claims.release(work_key(name))
                self._todo.appendleft(one)
                return
            except OutputError as error:
                self._fatal = error
                return
            worker.clip, worker.task, worker.is_opened, worker.heard_s = one, task, False, time.monotonic()
            self._pool.send(number, Process(task))
            return

    def _task(self, one: PlannedClip) -> ClipTask:
        return ClipTask(
            name=one.clip.name,
            path=one.clip.path,
            url=one.clip.url,
            folder=self._out / one.clip.name,
            work=work_folder(self._out, one.clip.name),
            stamp=one.stamp,
        )

    def _plan_again(self, one: PlannedClip) -> PlannedClip:
        """Plan a video anew when another process has done something with it since the plan was made."""
        self._history.take_in(self._journal.news(), without=self._run)
        if self._history.last.get(one.clip.name) is one.entry:
            return one
        again = plan_clip(one.clip, self._history, out=self._out, settings=self._settings, storage=self._storage)
        is_wanted = again.state == "todo" or (again.state != "done" and self._config.output.overwrite)
        return one if is_wanted else again

    def _record(self, event: Event, **facts: Any) -> None:
        """Add to the journal; the run ends when that fails."""
        try:
            self._journal.add(event, **facts)
        except OutputError as error:
            self._fatal = error

    def _handle(self, number: int, message: FromWorker) -> None:
        """Act on a message of a worker."""
        worker = self._workers[number]
        worker.heard_s = time.monotonic()
        if isinstance(message, Ready):
            worker.is_ready, worker.bad_starts = True, 0
            if message.weights != self._settings.weights:
                raise JmposeError(
                    f"worker {number} loaded other weights than the first", hint="give all machines the same files"
                )
            return
        if isinstance(message, NotReady):
            raise JmposeError(message.message, hint=message.hint)
        if isinstance(message, Died):
            self._replace_dead(number, message)
            return
        one = worker.clip
        if one is None:
            return
        if isinstance(message, Opened):
            worker.is_opened = True
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
            self._note_stopped(number, one, message.frames)

    def _complete(self, number: int, one: PlannedClip, message: Done) -> None:
        worker, summary = self._workers[number], message.summary
        self._record_done(one, summary)
        if self._fatal is None:
            if worker.task is not None:
                remove_work(worker.task)
            self._remaining.discard(one.clip.name)
        self._report.done(number, one.clip.name, summary)
        self._release(number, one)

    def _record_done(self, one: PlannedClip, summary: ClipSummary) -> None:
        self._record(
            "done",
            name=one.clip.name,
            run=self._run,
            input=_given(one.clip),
            **_source(one.clip),
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

    def _fail(self, number: int, one: PlannedClip, message: Failed) -> None:
        """Note that a video cannot be done, or that the run cannot continue."""
        worker = self._workers[number]
        if message.stops_run:
            self._fatal = OutputError(message.message, hint=message.hint)
            self._release(number, one)
            return
        failure = _failure(one.clip, message.message, message.hint)
        self._failures.append(failure)
        self._remaining.discard(failure.name)
        self._report.failed(number, failure, message.trace)
        if not one.clip.problem and one.state != "refused":  # an input that is none is not to be remembered
            self._record(
                "failed",
                name=failure.name,
                run=self._run,
                input=failure.input,
                **_source(one.clip),
                stamp=one.stamp,
                message=failure.message,
                hint=failure.hint,
            )
        if worker.task is not None and not message.keeps_work and not replacing_mark(worker.task.work).exists():
            remove_work(worker.task)
        remove_empty(self._out / one.clip.name, upto=self._out)
        self._release(number, one)
        if message.needs_new_worker:
            self._pool.kill(number)
            self._start(number)

    def _note_stopped(self, number: int, one: PlannedClip, frames: int) -> None:
        self._record("stopped", name=one.clip.name, run=self._run, frames=frames)
        self._report.stopped(number, one.clip.name, frames)
        remove_empty(self._out / one.clip.name, upto=self._out)
        self._release(number, one)

    def _release(self, number: int, one: PlannedClip) -> None:
        self._claims.release(work_key(one.clip.name))
        worker = self._workers[number]
        worker.clip = worker.task = None

    def _replace_dead(self, number: int, died: Died) -> None:
        """Start a new worker in place of one that is gone, whose video failed or goes to another one."""
        worker = self._workers[number]
        one, was_ready = worker.clip, worker.is_ready
        worker.is_ready = False
        if one is not None:
            name = one.clip.name
            self._attempts[name] = self._attempts.get(name, 0) + 1
            if self._attempts[name] <= self._pool.retries:
                self._report.note(f"{name}: its worker is gone ({died.reason}); another one resumes it")
                self._todo.appendleft(one)
                self._release(number, one)
            else:
                hint = "the video may crash the decoder or need too much memory; --retry-failed tries it again"
                self._fail(number, one, Failed(f"the worker process died: {died.reason}", hint, keeps_work=True))
        elif not was_ready:
            worker.bad_starts += 1
            if worker.bad_starts >= _MOST_BAD_STARTS:
                raise explain(died.reason) or JmposeError(
                    f"a worker cannot start: {died.reason}", hint="give fewer --workers"
                )
        if self._todo and not self._stop.asked:
            self._start(number)
        else:
            worker.heard_s = float("inf")

    def _kill_hanging(self) -> None:
        """End workers that have been silent for too long; `Died` follows."""
        limit = self._config.run.hang_timeout_s
        for number in self._busy():
            worker = self._workers[number]
            if worker.is_opened and time.monotonic() - worker.heard_s > limit:
                worker.heard_s = time.monotonic()
                self._report.note(f"worker {number} made no progress for {limit:g} s and is stopped")
                self._pool.kill(number)

    def _finish(self, planned: list[PlannedClip]) -> None:
        """Write the summary and print the end."""
        left = [_failure(one.clip, one.reason, one.hint) for one in planned if one.state in ("failed", "refused")]
        edited = [one.clip.name for one in planned if one.state == "edited"]
        done = [one.clip.name for one in planned if one.state == "done"]
        self._report.table(self._failures, left, edited=edited, done=done, out=self._out)
        if self._elsewhere:
            names = ", ".join(self._elsewhere[:3]) + " ..." * (len(self._elsewhere) > 3)
            self._report.note(f"{len(self._elsewhere)} videos are in progress elsewhere: {names}")
        if self._stop.asked:
            rest = f"{len(self._remaining)} video{'s' * (len(self._remaining) != 1)}"
            self._report.note(f"stopped with {rest} to go; the same command resumes this run")
        if self._fatal is None:
            try:
                write_summary(self._out, self._journal.path, asked=self._asked, failures=[*self._failures, *left])
            except JmposeError as error:
                self._fatal = OutputError(error.message, hint=error.hint)


def remove_empty(folder: Path, *, upto: Path) -> None:
    """Remove a folder that is empty, and those above it that then are."""
    while folder != upto and upto in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _failure(clip: Clip, message: str, hint: str) -> Failure:
    return Failure(clip.name, _given(clip), message, hint)


def _given(clip: Clip) -> str:
    """Return an input as it was named or found."""
    return clip.url or str(clip.path)


def _source(clip: Clip) -> dict[str, str]:
    """Return where a video comes from, for the journal."""
    return asdict(clip_source(clip))
