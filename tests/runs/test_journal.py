import fcntl
import os
import resource
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.runs.journal import Journal
from jmpose_cli.runs.plan import History
from tests.conftest import ROOT

quick = settings(max_examples=40, deadline=None)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "journal.jsonl"


def add(path: Path, *names: str) -> None:
    journal = Journal(path)
    for name in names:
        journal.add("begin", run="1", name=name)
    journal.close()


def names_in(path: Path) -> list[str]:
    journal = Journal(path)
    try:
        return [entry["name"] for entry in journal.news()]
    finally:
        journal.close()


def test_entries_come_back_with_all_their_facts(path):
    facts = {
        "name": "day 1/žluť",
        "run": "1",
        "files": {"run.json": [12, "ab"]},
        "stamp": {"size": 3, "mtime_ns": 2**60},
    }
    journal = Journal(path)
    journal.add("stopped", **facts, notes=("one", "two"), line="a\nb")
    expected = {"event": "stopped", **facts, "notes": ["one", "two"], "line": "a\nb"}
    assert list(journal.news()) == [expected]
    journal.close()
    assert path.read_bytes().count(b"\n") == 1


def test_a_name_that_is_no_utf8_comes_back(path):
    """Linux has such file names: old archives, memory cards of cameras."""
    name = os.fsdecode(b"caf\xe9")
    add(path, name)
    assert len(names_in(path)) == 1


def test_news_yields_each_entry_once(path):
    journal = Journal(path)
    assert list(journal.news()) == []
    for number in range(4):
        journal.add("begin", run="1", name=str(number))
    assert next(journal.news())["name"] == "0"  # a reader that leaves early
    assert [entry["name"] for entry in journal.news()] == ["1", "2", "3"]
    assert list(journal.news()) == []
    journal.add("begin", run="1", name="4")
    assert [entry["name"] for entry in journal.news()] == ["4"]
    journal.close()


def test_news_of_others_are_seen(path):
    one, other = Journal(path), Journal(path)
    one.add("begin", run="1", name="a")
    assert [entry["name"] for entry in other.news()] == ["a"]
    other.add("stopped", run="1", name="a")
    one.add("begin", run="1", name="b")
    assert [entry["name"] for entry in one.news()] == ["a", "a", "b"]
    assert [(entry["event"], entry["name"]) for entry in other.news()] == [("stopped", "a"), ("begin", "b")]
    one.close(), other.close()


def test_news_of_another_process_are_seen(path):
    journal = Journal(path)
    journal.add("begin", run="1", name="own")
    assert len(list(journal.news())) == 1
    run_adding(path, "child", 2).communicate(b"go\n")
    assert [entry["name"] for entry in journal.news()] == ["child 0", "child 1"]
    journal.close()


def test_torn_at_any_byte_the_last_line_is_lost_and_later_ones_are_read(path):
    add(path, "a")
    begin = path.stat().st_size
    add(path, "b")
    data = path.read_bytes()
    for end in range(begin, len(data)):
        path.write_bytes(data[:end])
        assert names_in(path) == ["a"]
        add(path, "c", "d")
        kept = ["b"] if end == len(data) - 1 else []  # only the newline was lost
        assert names_in(path) == ["a", *kept, "c", "d"]


def test_a_line_half_written_is_read_when_it_is_whole(path):
    add(path, "a", "b")
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    journal = Journal(path)
    assert [entry["name"] for entry in journal.news()] == ["a"]
    assert list(journal.news()) == []
    path.write_bytes(data)
    assert [entry["name"] for entry in journal.news()] == ["b"]
    journal.close()


def test_a_reader_passes_over_a_torn_line_when_there_is_more(path):
    add(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(path)
    assert [entry["name"] for entry in journal.news()] == ["a"]
    add(path, "c")
    assert [entry["name"] for entry in journal.news()] == ["c"]
    journal.close()


@pytest.mark.parametrize("mask", [0x01, 0x04, 0x80])
def test_a_damaged_line_is_passed_over(path, mask):
    add(path, "a")
    begin = path.stat().st_size
    add(path, "b")
    end = path.stat().st_size - 1  # the newline stays: without it the next line belongs to this one
    add(path, "c")
    data = path.read_bytes()
    for place in range(begin, end):
        path.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
        assert names_in(path) == ["a", "c"], place


def test_two_lines_run_together_leave_the_others(path):
    add(path, "a", "b", "c", "d")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(lines[0] + b"\n" + lines[1] + b" " + lines[2] + b"\n" + lines[3] + b"\n")
    assert names_in(path) == ["a", "d"]


@quick
@given(st.lists(st.binary(max_size=60), min_size=4, max_size=4))
def test_garbage_between_lines_is_passed_over(garbage):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.touch()
        for number, junk in enumerate(garbage):
            with path.open("ab") as file:
                file.write(junk)
            add(path, str(number))
        assert names_in(path) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("text", [b"[]", b'"begin"', b"{}", b'{"name": "x"}', b"12", b"null"])
def test_whole_lines_that_are_no_entries_are_passed_over(path, text):
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    add(path, "a")
    assert names_in(path) == ["a"]


DONE = {
    **{"event": "done", "name": "a", "run": "1", "input": "a.mp4", "stamp": {}, "stage_s": {}},
    **{"frames": 1, "people": 1, "tracks": 1, "wall_s": 0.5, "notes": [], "files": {"run.json": [2, "ab"]}},
}
FAILED = {"event": "failed", "name": "a", "run": "1", "input": "a.mp4", "stamp": {}, "message": "no", "hint": ""}
RUN = {"event": "run", "run": "1", "config": {"people": {"detector": "auto"}}, "weights": {"model": {"name": "nano"}}}
DEEP: Any = {}
for _ in range(900):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize("entry", [DONE, FAILED, RUN, {"event": "begin", "name": "a", "run": "1"}])
def test_an_entry_that_lacks_a_field_or_has_it_as_something_else_is_passed_over(path, entry):
    journal = Journal(path)
    kinds: list[Any] = [None, [[]], {"x": 1}, 3, "x", DEEP]
    journal.add(**entry)
    assert len(list(journal.news())) == 1
    wrong = [{k: v for k, v in entry.items() if k != key} for key in entry if key != "event"]
    wrong += [
        entry | {key: k}
        for key in entry
        for k in kinds
        if type(k) is not type(entry[key]) and (key, k) != ("wall_s", 3)
    ]
    wrong += [entry | {"files": {"run.json": facts}} for facts in (None, [], [1], {"a": 1})] * (entry is DONE)
    wrong += [RUN | {"config": DEEP}, RUN | {"config": {"people": DEEP}}, RUN | {"weights": {"model": "nano"}}]
    for one in wrong:
        journal.add(**{"event": "begin", **one})
    history = History()
    history.take_in(journal.news())  # what came through is complete
    journal.close()
    assert not history.last


def run_adding(path: Path, name: str, count: int) -> "subprocess.Popen[bytes]":
    """Start a process that adds so many entries when it is told to."""
    code = """
import sys
from pathlib import Path
from typing import Any
from jmpose_cli.runs.journal import Journal
from jmpose_cli.runs.plan import History
journal = Journal(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    journal.add("begin", run="1", name=f"{sys.argv[2]} {number}", filler="x" * (number % 50))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, path, name, str(count)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def test_four_processes_lose_nothing(path):
    processes = [run_adding(path, str(number), 200) for number in range(4)]
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    journal, seen = Journal(path), []
    while any(process.poll() is None for process in processes):
        seen.extend(entry["name"] for entry in journal.news())  # while they write
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    seen.extend(entry["name"] for entry in journal.news())
    journal.close()
    assert len(seen) == 800
    for number in range(4):
        assert [name for name in seen if name.startswith(f"{number} ")] == [f"{number} {i}" for i in range(200)]


def test_an_entry_waits_until_another_ones_failed_line_is_removed(path):
    add(path, "a")
    whole = path.stat().st_size
    adding = threading.Thread(target=add, args=(path, "b"))
    with path.open("ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"0123abcd {half a li")
        adding.start()
        adding.join(0.2)
        os.ftruncate(other.fileno(), whole)
    adding.join()
    assert names_in(path) == ["a", "b"]


@pytest.mark.parametrize("room", [1, 15, 60])
def test_an_entry_that_cannot_be_written_leaves_the_file_as_it_was(path, room):
    add(path, "a")
    before = path.read_bytes()
    journal = Journal(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))  # a write takes a part, as on a full disk
    try:
        with pytest.raises(OutputError, match=r"journal\.jsonl: No space left") as caught:
            journal.add("begin", run="1", name="b" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "--out" in caught.value.hint
    assert path.read_bytes() == before
    journal.add("begin", run="1", name="c")
    journal.close()
    assert names_in(path) == ["a", "c"]


def test_an_entry_is_on_the_disk_when_add_returns(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.readlink(f"/proc/self/fd/{fd}"), path.read_bytes())))
    add(path, "a")
    assert synced == [(str(path), path.read_bytes())]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(JmposeError, match=r"cannot write .*none/j: No such file"):
        Journal(tmp_path / "none" / "j")
