import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.runs import claims
from jmpose_cli.runs.claims import Claims, Holder
from tests.conftest import ROOT

KEYS = [f"video{number}" for number in range(50)]
CHILD = """
import json, sys
from pathlib import Path
from jmpose_cli.runs.claims import Claims
claims = Claims(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps([key for key in json.loads(line) if claims.take(key) is None]), flush=True)
claims.close()
"""


class Child:
    """Another process with claims; `take` says which of some keys it got."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, *keys: str) -> None:
        self.process.stdin.write(json.dumps(keys) + "\n")
        self.process.stdin.flush()

    def answer(self) -> list[str]:
        return json.loads(self.process.stdout.readline())

    def take(self, *keys: str) -> list[str]:
        self.ask(*keys)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def children(folder: Path, count: int = 1) -> Iterator[list[Child]]:
    started = [Child(folder) for _ in range(count)]
    try:
        yield started
    finally:
        for child in started:
            child.kill()
            child.process.stdin.close()
            child.process.stdout.close()


class Clock:
    """In place of the module `time`: a clock that is set by hand, and a wall clock that jumps."""

    def __init__(self) -> None:
        self.now, self.jumps = 1000.0, 0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        self.jumps += 1
        return (-1) ** self.jumps * 1e9


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(claims, "time", clock)
    return clock


class Foreigner:
    """A holder on another machine, whose lock is not seen here, with a claim on "video"."""

    def __init__(self, folder: Path, *, machine: str = "another") -> None:
        (folder / "holders").mkdir(parents=True, exist_ok=True)
        self._machine = machine
        self.holder = folder / "holders" / "node7-4711-abcd"
        self.claim = folder / "video.claim"
        self.claim.write_text(self.holder.name)
        self.beat(1)

    def beat(self, number: int) -> None:
        facts = {"host": "node7", "pid": 4711, "machine": self._machine, "beat": number}
        self.holder.write_text(json.dumps(facts).ljust(256))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_claim_belongs_to_one_process_until_that_is_killed(tmp_path):
    with Claims(tmp_path) as mine, children(tmp_path) as [child]:
        assert child.take("video") == ["video"]
        holder = mine.take("video")
        assert holder == Holder(socket.gethostname(), child.process.pid)
        assert str(holder) == f"process {child.process.pid} on {socket.gethostname()}"
        child.kill()
        assert mine.take("video") is None
        with Claims(tmp_path) as third:
            assert third.take("video").pid == os.getpid()


def test_one_that_starts_behind_a_killed_one_has_its_claims(tmp_path):
    with children(tmp_path) as [child]:
        assert child.take(*KEYS) == KEYS
        child.kill()
    with Claims(tmp_path) as mine:
        assert [mine.take(key) for key in KEYS] == [None] * len(KEYS)
    assert files_in(tmp_path) == ["lock"]


def test_one_that_is_only_held_up_keeps_its_claims(tmp_path):
    """A suspended process does not beat; its lock speaks for it."""
    with Claims(tmp_path, silent_s=0.0) as mine, children(tmp_path) as [child]:
        assert child.take("video") == ["video"]
        child.process.send_signal(signal.SIGSTOP)
        for _ in range(3):
            assert mine.take("video").pid == child.process.pid
        child.process.send_signal(signal.SIGCONT)
        assert child.take("other") == ["other"]


def test_what_is_given_back_is_free(tmp_path):
    with Claims(tmp_path) as mine, Claims(tmp_path) as other:
        assert mine.take("video") is None and mine.take("kept") is None
        mine.release("video")
        assert other.take("video") is None
        assert mine.take("video") is not None
        assert other.take("kept") is not None
        mine.release("never taken")


def test_a_claim_may_be_taken_twice_by_the_same(tmp_path):
    with Claims(tmp_path) as mine, Claims(tmp_path) as other:
        assert mine.take("video") is None
        assert mine.take("video") is None
        mine.release("video")
        assert other.take("video") is None


def test_nothing_but_the_lock_is_left_behind(tmp_path):
    with pytest.raises(KeyError, match="on the way"), Claims(tmp_path) as mine, Claims(tmp_path) as other:
        for key in KEYS[:5]:
            assert mine.take(key) is None
            assert other.take(key) is not None
        mine.release(KEYS[0])
        raise KeyError("on the way")
    assert files_in(tmp_path) == ["lock"]
    mine.close()


def test_closed_claims_are_free(tmp_path):
    with Claims(tmp_path) as mine:
        assert mine.take("video") is None
    with Claims(tmp_path) as other:
        assert other.take("video") is None


def test_what_a_killed_one_left_is_cleared_away(tmp_path):
    with children(tmp_path, 2) as [one, two]:
        one.take("a")
        two.take("b")
    assert len(files_in(tmp_path / "holders")) == 2
    with Claims(tmp_path) as mine:
        assert len(files_in(tmp_path / "holders")) == 1
        assert mine.take("a") is None and mine.take("b") is None
    assert files_in(tmp_path) == ["lock"]


def test_a_holder_beats(tmp_path):
    with Claims(tmp_path, beat_s=0.01):
        [holder] = (tmp_path / "holders").iterdir()
        beats, until = set(), time.monotonic() + 10
        while len(beats) < 4 and time.monotonic() < until:
            beats.add(json.loads(holder.read_text())["beat"])
            time.sleep(0.005)
    assert len(beats) == 4


def test_a_foreign_holder_is_alive_while_it_beats_and_dead_when_it_was_silent(tmp_path, clock):
    foreigner = Foreigner(tmp_path)
    with Claims(tmp_path, silent_s=30) as mine:
        for beat in range(2, 12):
            assert mine.take("video") == Holder("node7", 4711)
            clock.now += 29
            foreigner.beat(beat)
        assert mine.take("video") == Holder("node7", 4711)
        clock.now += 29.9
        assert mine.take("video") == Holder("node7", 4711)
        clock.now += 0.1
        assert mine.take("video") is None
        assert not foreigner.holder.exists()
        assert foreigner.claim.read_text() != foreigner.holder.name


def test_a_foreign_holder_is_watched_from_the_start_of_the_run(tmp_path, clock):
    Foreigner(tmp_path)
    with Claims(tmp_path, silent_s=30) as mine:
        clock.now += 31
        assert mine.take("video") is None


def test_a_number_that_runs_backwards_is_a_sign_of_life(tmp_path, clock):
    foreigner = Foreigner(tmp_path)
    with Claims(tmp_path, silent_s=30) as mine:
        for beat in (9, 3, 7):
            clock.now += 100
            foreigner.beat(beat)
            assert mine.take("video") is not None


@pytest.mark.parametrize("changed_s", [0, 4_000_000_000])
def test_the_times_of_files_do_not_count(tmp_path, clock, changed_s):
    foreigner = Foreigner(tmp_path)
    with Claims(tmp_path, silent_s=30) as mine:
        for beat, is_alive in ((2, True), (3, True), (3, False)):
            foreigner.beat(beat)
            for path in (foreigner.holder, foreigner.claim):
                os.utime(path, (changed_s, changed_s))
            assert (mine.take("video") is not None) == is_alive
            clock.now += 31


def test_a_foreign_holder_without_a_file_is_dead(tmp_path, clock):
    foreigner = Foreigner(tmp_path)
    foreigner.holder.unlink()
    with Claims(tmp_path) as mine:
        assert mine.take("video") is None


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 256, b'{"host": "no'])
def test_a_holder_file_that_is_half_written_counts_as_alive_for_a_while(tmp_path, clock, content):
    foreigner = Foreigner(tmp_path)
    foreigner.holder.write_bytes(content)
    with Claims(tmp_path, silent_s=30) as mine:
        assert mine.take("video") is not None
        clock.now += 31
        assert mine.take("video") is None


def test_a_machine_started_again_is_another_one(tmp_path, clock):
    """The process id may be in use again; what counts is who holds the lock."""
    Foreigner(tmp_path, machine="boot before")
    with Claims(tmp_path, silent_s=30) as mine:
        assert mine.take("video") is not None
        clock.now += 31
        assert mine.take("video") is None


def test_a_holder_of_this_machine_without_its_lock_is_dead_at_once(tmp_path, clock):
    with Claims(tmp_path / "other"):
        [own] = (tmp_path / "other" / "holders").iterdir()
        machine = json.loads(own.read_text())["machine"]
    with Claims(tmp_path) as mine:
        Foreigner(tmp_path, machine=machine)
        assert mine.take("video") is None


def refuse_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_without_locks_a_holder_lives_by_its_beats(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse_locks)
    with Claims(tmp_path, beat_s=0.01) as mine, Claims(tmp_path, silent_s=30) as other:
        assert mine.take("video") is None
        for _ in range(5):
            assert other.take("video").pid == os.getpid()
            clock.now += 31
            time.sleep(0.05)
        mine._ended.set()  # it hangs
        mine._heart.join()
        assert other.take("video") is not None
        clock.now += 31
        assert other.take("video") is None


def race(contenders: list[Claims]) -> list[list[str]]:
    """Let threads take all keys at the same time; return what each got."""
    got: list[list[str]] = [[] for _ in contenders]
    barrier = threading.Barrier(len(contenders))

    def work(number: int) -> None:
        barrier.wait()
        for key in KEYS:
            if contenders[number].take(key) is None:
                got[number].append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(contenders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_two_threads_never_both_get_a_claim(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        first, second = race([one, two])
        assert sorted(first + second) == sorted(KEYS)
    assert files_in(tmp_path) == ["lock"]


def test_two_threads_never_both_get_a_dead_ones_claim(tmp_path):
    with children(tmp_path) as [child]:
        assert child.take(*KEYS) == KEYS
        with Claims(tmp_path) as one, Claims(tmp_path) as two:
            child.kill()
            first, second = race([one, two])
            assert sorted(first + second) == sorted(KEYS)
    assert files_in(tmp_path) == ["lock"]


@pytest.mark.parametrize("left_by_dead", [False, True])
def test_two_processes_never_both_get_a_claim(tmp_path, left_by_dead):
    with children(tmp_path, 3) as [dead, one, two]:
        if left_by_dead:
            assert dead.take(*KEYS) == KEYS
        dead.kill()
        one.ask(*KEYS)
        two.ask(*KEYS)
        assert sorted(one.answer() + two.answer()) == sorted(KEYS)


def test_one_that_is_looked_at_while_it_starts_keeps_its_claims(tmp_path, monkeypatch):
    """Another process tries the lock of each holder for a moment when it starts."""
    flock, lookers = fcntl.flock, []

    def looked_at(file, how: int) -> None:
        if not lookers:
            looker = open(file.name, "r+b")  # noqa: SIM115
            flock(looker, how | fcntl.LOCK_NB)
            lookers.append(threading.Timer(0.1, looker.close))
            lookers[0].start()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", looked_at)
    with Claims(tmp_path) as mine:
        lookers[0].join()
        assert mine.take("video") is None
        with Claims(tmp_path) as other:
            assert other.take("video") is not None


@contextmanager
def when_looked_at(pid: int, then: Callable[[], None]) -> Iterator[None]:
    """Do something at the first moment when anybody has just read the file of a holder."""
    loads, done = claims.orjson.loads, []

    def reading(text: bytes) -> dict:
        facts = loads(text)
        if facts["pid"] == pid and not done:
            done.append(pid)
            then()
        return facts

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(claims.orjson, "loads", reading)
        yield
    assert done


def test_two_that_look_at_a_dead_holder_at_the_same_time_both_see_it(tmp_path):
    with children(tmp_path) as [child], Claims(tmp_path) as first:
        assert child.take("video") == ["video"]
        child.kill()
        answers = []
        with when_looked_at(child.process.pid, lambda: answers.append(first.take("video"))), Claims(tmp_path):
            pass
        assert answers == [None]


def test_while_one_takes_a_dead_ones_claim_another_waits(tmp_path):
    with children(tmp_path) as [child], Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert child.take("video") == ["video"]
        child.kill()
        answers = []
        other = threading.Thread(target=lambda: answers.append(second.take("video")))

        def take_at_the_same_time() -> None:
            other.start()
            other.join(0.3)

        with when_looked_at(child.process.pid, take_at_the_same_time):
            assert first.take("video") is None
            other.join()
        assert answers == [Holder(socket.gethostname(), os.getpid())]


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "claims").write_text("a file")
    with pytest.raises(JmposeError, match=r"cannot write .*claims"):
        Claims(tmp_path / "claims")


def test_a_claim_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Claims(tmp_path) as mine:
        monkeypatch.setattr(os, "link", fail)
        with pytest.raises(JmposeError, match=r"video\.claim: No space left"):
            mine.take("video")
        monkeypatch.undo()
        with Claims(tmp_path) as other:
            assert other.take("video") is None
    assert files_in(tmp_path) == ["lock"]


@pytest.mark.parametrize(
    "content", [b"\xf6\xff", b"", b"../../precious", b"holders/../../precious", b"a-1-b\0", b"..", b"[1]", b"x" * 4096]
)
def test_a_claim_that_names_nobody_counts_for_nothing_and_leads_nowhere(tmp_path, content):
    precious = tmp_path / "precious"
    precious.write_text("[]")
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / f"{KEYS[0]}.claim").write_bytes(content)
    with Claims(tmp_path / "claims") as mine:
        assert mine.take(KEYS[0]) is None
    assert precious.read_text() == "[]"


@pytest.mark.parametrize("content", [b"[]", b"nothing", b'{"pid": "many", "beat": [1], "host": null}', b"\xff", b"3"])
def test_a_holder_that_says_something_else_is_one_without_a_name(tmp_path, content):
    (tmp_path / "holders").mkdir()
    (tmp_path / "holders" / "a-1-b").write_bytes(content)
    (tmp_path / f"{KEYS[0]}.claim").write_text("a-1-b")
    with Claims(tmp_path, silent_s=0.0) as mine:
        assert mine.take(KEYS[0]) is None
