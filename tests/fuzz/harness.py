"""Runs cases, and says what a command must never do."""

import base64
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from tests.fuzz.case import Case

LONGEST_S = 30.0
MOST_GROWTH_MB = 3400
"""Of a command and its children beside the libraries, which take some 0.6 GB: 4 GB together."""
_LOOK_EVERY_S = 0.03
_LAST_WORDS_S = 3.0  # of processes that are being ended
_PAGE = resource.getpagesize()
_LARGEST_SHOWN = 1 << 22

CANARY = "EXECUTED"
"""A file of this name in the home says that an input ran code."""

_WRONG_WORDS = {
    "a traceback": r"Traceback \(most recent call last\)",
    "an error that nobody foresaw": r"unexpected \w*(?:Error|Exception|Interrupt)|in an unexpected way",
    "a warning of a library": r"^\S+:\d+: \w*Warning\b",
    "a crash": r"Fatal Python error|Segmentation fault|core dumped",
    "an exception that was swallowed": r"Exception (?:ignored )?in ",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        case: The case.
        code: Exit code; negative for a signal.
        wall_s: Seconds until it ended.
        cpu_s: Seconds of processors, with its children.
        growth_mb: Most memory beside the libraries, at a time.
        stdout: What it printed.
        stderr: What it said.
        faults: What it must not have done; empty when all is well.
    """

    case: Case
    code: int
    wall_s: float
    cpu_s: float
    growth_mb: float
    stdout: str
    stderr: str
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = "\n".join(line for line in (self.stdout + self.stderr).splitlines()[-25:])
        head = f"{self.case.kind} {self.case.seed}: {'; '.join(self.faults)}"
        return f"{head}\n$ {self.case.command()}\n[{self.code}, {self.wall_s:.1f} s, +{self.growth_mb:.0f} MB]\n{said}"


class Harness:
    """A server of commands and a folder to run them in; a context manager.

    Args:
        folder: For everything that is written; made when it is not there.
        patience: How many times slower than a quiet machine this one is.
    """

    def __init__(self, folder: Path, *, patience: float = 1.0) -> None:
        self.folder, self._patience = folder, patience
        self._home = folder / "server-home"
        self._home.mkdir(parents=True, exist_ok=True)
        their_jobs, self._jobs = os.pipe()
        self._answers, their_answers = os.pipe()
        environment = {
            **_plain_environment(),
            "HOME": str(self._home),
            "JMPOSE_CACHE": str(self._home / "cache"),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "models"))),
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.server", str(their_jobs), str(their_answers)],
            pass_fds=(their_jobs, their_answers),
            cwd=ROOT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process
        )
        os.close(their_jobs)
        os.close(their_answers)
        self._lines = os.fdopen(self._answers, "rb")
        assert json.loads(self._lines.readline()) == {"ready": True}
        self._kept_home = _snapshot(self._home)

    def __enter__(self) -> "Harness":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._jobs)
        self._server.wait(30)
        self._lines.close()

    def run(self, case: Case, *, stop_when: Callable[[], bool] | None = None) -> Outcome:
        """Run a case in a fresh folder, `self.folder / "case"`, which stays until the next one.

        Args:
            case: What to run.
            stop_when: Kill it when this is so; for making inputs.
        """
        box = self.folder / "case"
        _remove(box)
        work = box / "work"
        for folder in (work, box / "home", box / "tmp", box / "cache"):
            folder.mkdir(parents=True)
        (box / "home" / "canary").write_text("nobody touches this")
        (work / "canary").write_text("nor this")
        case.lay_out(work)
        allowed = [box / "cache", *(work / name for name in case.writes)]
        before = _snapshot(box, but=allowed)
        measured = self._run(case, box, stop_when=stop_when)
        outcome = Outcome(
            case,
            int(measured["code"]),
            measured["wall_s"],
            measured["cpu_s"],
            measured["growth_mb"],
            _read(self.folder / "stdout"),
            _read(self.folder / "stderr"),
        )
        outcome.faults = [*_faults(outcome, self._patience), *_changes(before, _snapshot(box, but=allowed))]
        if measured["left"]:
            outcome.faults.append(f"{measured['left']:.0f} processes went on after it")
        if _snapshot(self._home) != self._kept_home:
            outcome.faults.append("something was written where the libraries keep their files")
        return outcome

    def _run(self, case: Case, box: Path, *, stop_when: Callable[[], bool] | None) -> dict[str, float]:
        job = {
            "words": [base64.b64encode(word).decode() for word in case.raw_words()],
            "folder": base64.b64encode(os.fsencode(box / "work")).decode(),
            "stdout": str(self.folder / "stdout"),
            "stderr": str(self.folder / "stderr"),
            "environment": {
                **_plain_environment(),
                "HOME": str(box / "home"),
                "JMPOSE_CACHE": str(box / "cache"),
                "TMPDIR": str(box / "tmp"),
                "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "models"))),
            },
        }
        os.write(self._jobs, json.dumps(job).encode() + b"\n")
        pid = json.loads(self._lines.readline())["pid"]
        watch = _Watch(pid, longest_s=4 * LONGEST_S * self._patience, stop_when=stop_when)
        answer = json.loads(self._lines.readline())
        watch.end()
        alone = answer.pop("peak_kb") / 1024 - watch.least_mb
        return {**answer, "growth_mb": max(watch.growth_mb, alone), "left": watch.end_left()}


class _Watch:
    """Looks at a process and those that it started, and ends them when it is enough."""

    def __init__(self, pid: int, *, longest_s: float, stop_when: Callable[[], bool] | None) -> None:
        self._pid, self._until, self._stop_when = pid, time.monotonic() + longest_s, stop_when
        self._first_mb: dict[int, float] = {}
        self.growth_mb = 0.0
        self._is_over = threading.Event()
        self._look()
        self.least_mb = self._first_mb.get(pid, 0.0)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._is_over.wait(_LOOK_EVERY_S):
            self._look()
            is_enough = self.growth_mb > 2 * MOST_GROWTH_MB or time.monotonic() > self._until
            if is_enough or (self._stop_when is not None and self._stop_when()):
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)

    def _look(self) -> None:
        growth = 0.0
        for pid in _family(self._pid):
            now = _memory_mb(pid)
            if now is not None:
                growth += max(0.0, now - self._first_mb.setdefault(pid, now))
        self.growth_mb = max(self.growth_mb, growth)

    def end(self) -> None:
        """Look no longer."""
        self._is_over.set()
        self._thread.join()

    def end_left(self) -> int:
        """End the processes that are still there a little later; return how many."""
        until = time.monotonic() + _LAST_WORDS_S
        left = list(self._first_mb)
        while left and time.monotonic() < until:
            left = [pid for pid in left if _memory_mb(pid) is not None]
            time.sleep(0.005 if left else 0)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in file.read().split():
                    yield from _family(int(child))


def _memory_mb(pid: int) -> float | None:
    """Resident memory; None of a process that has ended."""
    with suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
        pages = int(file.read().split()[1])
        return pages * _PAGE / 2**20 if pages else None
    return None


def _plain_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "LC_ALL": "C.UTF-8", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _snapshot(root: Path, *, but: list[Path] = ()) -> dict[bytes, str]:  # type: ignore[assignment]
    """What lies below a folder, by path: kind, mode and content, and the time of change of files."""
    left_out = {os.fsencode(path) for path in but}
    found: dict[bytes, str] = {}

    def look(folder: bytes) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.path in left_out:
                    continue
                facts = entry.stat(follow_symlinks=False)
                what = f"{facts.st_mode:o}"
                if entry.is_symlink():
                    what += repr(os.readlink(entry.path))
                elif entry.is_dir():
                    look(entry.path)
                elif entry.is_file():
                    with open(entry.path, "rb") as file:
                        what += f" {facts.st_mtime_ns} {hashlib.file_digest(file, 'sha256').hexdigest()}"
                found[os.path.relpath(entry.path, os.fsencode(root))] = what

    look(os.fsencode(root))
    return found


def _changes(before: dict[bytes, str], after: dict[bytes, str]) -> list[str]:
    faults = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            done = "made" if name not in before else "removed" if name not in after else "changed"
            faults.append(f"{name.decode(errors='backslashreplace')} was {done}")
    return faults[:5]


def _faults(outcome: Outcome, patience: float) -> list[str]:
    """Name what is wrong with how a command ended and what it said."""
    faults = []
    if outcome.code not in (0, 1, 2):
        faults.append(f"exit code {outcome.code}")
    if outcome.cpu_s > LONGEST_S or outcome.wall_s > LONGEST_S * patience:
        faults.append(f"it took {outcome.wall_s:.0f} s, {outcome.cpu_s:.0f} s of processors")
    if outcome.growth_mb > MOST_GROWTH_MB:
        faults.append(f"it took {outcome.growth_mb:.0f} MB beside the libraries")
    said = outcome.stdout + "\n" + outcome.stderr
    faults += [name for name, pattern in _WRONG_WORDS.items() if re.search(pattern, said, re.MULTILINE)]
    odd = _CONTROL.search(said)
    if odd:
        faults.append(f"a control character, {odd[0]!r}, was printed")
    if outcome.code in (1, 2) and not outcome.stderr.strip():
        faults.append("it failed without a word")
    return faults


def _read(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(_LARGEST_SHOWN).decode(errors="replace")


def _remove(folder: Path) -> None:
    """Remove a folder, whatever rights its files have."""

    def allow(function, path, _):  # type: ignore[no-untyped-def]
        os.chmod(os.path.dirname(path), 0o700)
        function(path)

    if folder.exists():
        shutil.rmtree(os.fsencode(folder), onerror=allow)


def keep(outcome: Outcome, folder: Path) -> Path:
    """Keep a case that failed: its files, what it said, and a script that runs it again."""
    place = folder / f"{outcome.case.kind}-{outcome.case.seed.replace('/', '-')}"
    _remove(place)
    (place / "work").mkdir(parents=True)
    outcome.case.lay_out(place / "work")
    (place / "said.txt").write_text(f"{outcome}\n\n--- stdout\n{outcome.stdout}\n--- stderr\n{outcome.stderr}")
    seed = outcome.case.seed.split("/")
    words = " ".join(_quoted(word) for word in outcome.case.raw_words())
    (place / "again.sh").write_bytes(
        b"#!/usr/bin/env bash\n"
        b"# with the harness: python -m tests.fuzz --kind %s --seed %s --only %s\n"
        b'cd "$(dirname "$0")/work" && HF_HUB_OFFLINE=1 python -m jmpose_cli.main %s\n'
        % (outcome.case.kind.encode(), seed[0].encode(), seed[-1].encode(), words.encode())
    )
    return place


def _quoted(word: bytes) -> str:
    """Write a word for bash, any bytes."""
    if re.fullmatch(rb"[\w./:=,+-]+", word):
        return word.decode()
    return "$'" + "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in word) + "'"


@contextmanager
def harness(folder: Path, *, patience: float = 1.0) -> Iterator[Harness]:
    """Open a harness; its folder is removed in the end."""
    try:
        with Harness(folder, patience=patience) as opened:
            yield opened
    finally:
        _remove(folder / "case")
