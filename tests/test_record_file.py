import errno
import fcntl
import os
import resource
import subprocess
import sys
import tempfile
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jmpose_cli import files
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import RecordFile
from tests.conftest import ROOT

quick = settings(max_examples=40, deadline=None)

ARRAYS = {
    "float32": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "float64": np.array([np.pi, np.nan, -np.inf]),
    "int64": np.array([-1, 2**62]),
    "big_endian": np.array([1, 2], ">i4"),
    "bool": np.array([True, False, True]),
    "text": np.array(["a", "žluť"]),
    "empty": np.zeros(0, np.int64),
    "no_rows": np.zeros((0, 15, 2), np.float32),
    "no_columns": np.zeros((3, 0), np.uint8),
    "number": np.array(3.5, np.float32),
    "columns_first": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "every_other": np.arange(10)[::2],
}


def same(read: dict[str, np.ndarray], written: dict[str, np.ndarray]) -> bool:
    """Whether names, order, dtypes, shapes and contents are equal."""
    return list(read) == list(written) and all(
        read[name].dtype == array.dtype and read[name].shape == array.shape and read[name].tobytes() == array.tobytes()
        for name, array in written.items()
    )


def write(path: Path, *values: dict) -> None:
    with RecordFile(path) as records:
        for one in values:
            records.append(one, {"a": np.arange(3, dtype=np.int16)})


def values_in(path: Path) -> list[dict]:
    with RecordFile(path) as records:
        read = list(records)
    assert all(same(arrays, {"a": np.arange(3, dtype=np.int16)}) for _, arrays in read)
    return [values for values, _ in read]


def assert_usable(path: Path, expected: list[dict]) -> None:
    """Check what the file holds, and that a record appended now is read back."""
    assert values_in(path) == expected
    write(path, {"later": 1})
    assert values_in(path) == [*expected, {"later": 1}]


def two_records(path: Path) -> tuple[bytes, int]:
    """Write two records; return the file's bytes and where the second begins."""
    write(path, {"n": 1})
    begin = path.stat().st_size
    write(path, {"n": 2})
    return path.read_bytes(), begin


@contextmanager
def longest_file(size: int):
    """Let no file grow beyond so many bytes: a write that gets there takes a part only, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_as_it_was(tmp_path, name):
    with RecordFile(tmp_path / "r") as records:
        records.append({}, {name: ARRAYS[name]})
    with RecordFile(tmp_path / "r") as records:
        [(values, arrays)] = records
    assert values == {} and same(arrays, {name: ARRAYS[name]})


def test_many_arrays_and_values_come_back_in_order(tmp_path):
    values = {"text": "žluť\n", "number": -1.5, "big": 2**53, "none": None, "list": [1, [True]], "tree": {"a": {}}}
    with RecordFile(tmp_path / "r") as records:
        records.append(values, ARRAYS)
        records.append({}, {"empty": np.zeros(0)})
        records.append({"only": "values"})
        before = list(records)
    with RecordFile(tmp_path / "r") as records:
        after = list(records)
    for read in (before, after):
        assert [r[0] for r in read] == [values, {}, {"only": "values"}]
        assert same(read[0][1], ARRAYS) and same(read[1][1], {"empty": np.zeros(0)}) and read[2][1] == {}


def test_arrays_read_back_may_be_changed(tmp_path):
    with RecordFile(tmp_path / "r") as records:
        records.append({}, {"a": np.zeros(3)})
        [(_, arrays)] = records
        arrays["a"][:] = 1
        assert next(iter(records))[1]["a"].tolist() == [0, 0, 0]


def test_a_reader_sees_records_appended_meanwhile(tmp_path):
    with RecordFile(tmp_path / "r") as records:
        records.append({"n": 1})
        reader = iter(records)
        assert next(reader) == ({"n": 1}, {})
        records.append({"n": 2})
        assert list(reader) == [({"n": 2}, {})]


def test_cleared_records_are_gone_and_new_ones_are_kept(tmp_path):
    with RecordFile(tmp_path / "r") as records:
        records.append({"n": 1})
        records.clear()
        assert list(records) == []
        records.append({"n": 2})
    with RecordFile(tmp_path / "r") as records:
        assert [values for values, _ in records] == [{"n": 2}]


def test_cut_off_at_any_byte_only_the_last_record_is_lost(tmp_path):
    data, begin = two_records(tmp_path / "whole")
    assert len(data) - begin > 50
    for end in range(begin, len(data)):
        path = tmp_path / "cut"
        path.write_bytes(data[:end])
        assert_usable(path, [{"n": 1}])


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_with_any_byte_changed_only_the_last_record_is_lost(tmp_path, mask):
    data, begin = two_records(tmp_path / "whole")
    for place in range(begin, len(data)):
        path = tmp_path / "changed"
        path.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
        assert_usable(path, [{"n": 1}])


@pytest.mark.parametrize(
    "tail",
    [
        b"\0",
        b"\0" * 5000,
        b"JMR1",
        files._RECORD_HEAD.pack(b"JMR1", 0, 1 << 62),
        files._RECORD_HEAD.pack(b"JMR1", 1, 0),
        b"garbage " * 100,
    ],
)
def test_garbage_behind_the_last_record_is_dropped(tmp_path, tail):
    data, _ = two_records(tmp_path / "r")
    (tmp_path / "r").write_bytes(data + tail)
    assert_usable(tmp_path / "r", [{"n": 1}, {"n": 2}])
    assert (tmp_path / "r").read_bytes()[: len(data)] == data


def test_a_file_of_something_else_holds_no_records(tmp_path):
    (tmp_path / "r").write_bytes(b"a film about nothing")
    assert_usable(tmp_path / "r", [])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON is UTF-8
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)
some_arrays = hnp.arrays(
    st.sampled_from(["<f4", "<f8", "<i8", "|u1", "|b1", ">i2"]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
)
some_records = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("xyz"), json_values, max_size=3),
        st.dictionaries(st.text("abc", max_size=3), some_arrays, max_size=3),
    ),
    max_size=5,
)


@quick
@given(some_records, st.sets(st.integers(0, 5)))
def test_any_records_come_back(contents, reopened_behind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        records = RecordFile(path)
        for number, (values, arrays) in enumerate(contents):
            records.append(values, arrays)
            if number in reopened_behind:
                records.close()
                records = RecordFile(path)
        with records:
            read = list(records)
    assert [values for values, _ in read] == [values for values, _ in contents]
    assert all(same(got, given) for (_, got), (_, given) in zip(read, contents, strict=True))


@quick
@given(st.data())
def test_whatever_is_damaged_what_is_read_is_the_first_records(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        ends = [0]
        for number in range(4):
            write(path, {"n": number})
            ends.append(path.stat().st_size)
        content = bytearray(path.read_bytes())
        first = data.draw(st.integers(0, len(content) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=40))
        if content[first : first + len(junk)] == junk[: len(content) - first] and first + len(junk) <= len(content):
            return  # nothing was damaged
        content[first : first + len(junk)] = junk
        path.write_bytes(content)
        unharmed = sum(end <= first for end in ends[1:])
        read = values_in(path)
        assert read == [{"n": number} for number in range(len(read))]
        assert len(read) >= unharmed


def start_holder(path: Path) -> "subprocess.Popen[bytes]":
    """Start a process that appends a record and keeps the file open."""
    code = """
import sys
from pathlib import Path
from jmpose_cli.files import RecordFile
records = RecordFile(Path(sys.argv[1]))
records.append({"by": "holder"})
print("open", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"open\n"
    return process


def test_a_file_belongs_to_one_process_until_that_is_killed(tmp_path, monkeypatch):
    path = tmp_path / "r"
    with start_holder(path) as holder:
        try:
            monkeypatch.setattr(files, "_LONGEST_WAIT_S", 0.1)
            before = path.read_bytes()
            with pytest.raises(JmposeError, match="r: another process is writing it") as caught:
                RecordFile(path)
            assert "wait for the other" in caught.value.hint
            assert path.read_bytes() == before
        finally:
            holder.kill()
            holder.wait()
        with RecordFile(path) as records:
            assert list(records) == [({"by": "holder"}, {})]
            records.append({"by": "next"})
            assert len(list(records)) == 2


def test_one_that_is_about_to_close_is_waited_for(tmp_path):
    first = RecordFile(tmp_path / "r")
    first.append({"n": 1})
    closing = threading.Timer(0.25, first.close)
    closing.start()
    with RecordFile(tmp_path / "r") as second:
        assert not closing.is_alive() or closing.finished.is_set()
        assert list(second) == [({"n": 1}, {})]


def test_a_file_that_was_refused_is_not_left_open(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LONGEST_WAIT_S", 0.0)
    opened = len(os.listdir("/proc/self/fd"))
    with RecordFile(tmp_path / "r"):
        kept = []  # an error holds what was alive where it was raised
        for _ in range(3):
            with pytest.raises(JmposeError, match="another process") as caught:
                RecordFile(tmp_path / "r")
            kept.append(caught)
        assert len(os.listdir("/proc/self/fd")) == opened + 1


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write(tmp_path / "r", {"n": 1})
    assert_usable(tmp_path / "r", [{"n": 1}])


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        RecordFile(tmp_path / "none" / "r")


@pytest.mark.parametrize("room", [0, 1, 20, 500])
def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, room):
    path = tmp_path / "r"
    with RecordFile(path) as records:
        records.append({"n": 1})
        before = path.read_bytes()
        with longest_file(len(before) + room), pytest.raises(OSError, match="too large"):
            records.append({"n": 2}, {"a": np.zeros(1000)})
        assert path.read_bytes() == before
        records.append({"n": 3})
    with RecordFile(path) as records:
        assert [values for values, _ in records] == [{"n": 1}, {"n": 3}]


def test_a_full_disk_leaves_the_file_as_it_was(small_disk):
    path = small_disk / "r"
    with RecordFile(path) as records:
        with pytest.raises(OSError, match="No space left"):
            for number in range(100):
                records.append({"n": number}, {"a": np.zeros(1000)})
        whole = list(records)
        assert 3 < len(whole) < 10
        records.append({"n": "small"})
    with RecordFile(path) as records:
        assert [values["n"] for values, _ in records] == [*range(len(whole)), "small"]


def test_what_cannot_be_written_as_json_changes_nothing(tmp_path):
    with RecordFile(tmp_path / "r") as records:
        records.append({"n": 1})
        with pytest.raises(TypeError, match="not JSON serializable"):
            records.append({"n": object()})
        assert list(records) == [({"n": 1}, {})]


def test_a_disk_that_fails_on_commit_is_an_error(tmp_path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with RecordFile(tmp_path / "r") as records:
        records.append({"n": 1})
        records.commit()
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            records.commit()


def whole(payload: bytes) -> bytes:
    return files._RECORD_HEAD.pack(b"JMR1", zlib.crc32(payload), len(payload)) + payload


def head(text: bytes, data: bytes = b"") -> bytes:
    return len(text).to_bytes(4, "little") + text + data


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"abc",
        b"\xff\xff\xff\xff{}",
        head(b"[]"),
        head(b"{}"),
        head(b"[" * 2000),
        head(b'{"values": []}'),
        head(b'{"values": [], "layout": []}'),
        head(b'{"values": {}, "layout": 5}'),
        head(b'{"values": {}, "layout": [["a"]]}'),
        head(b'{"values": {}, "layout": [["a", 5, [1]]]}', b"12345678"),
        head(b'{"values": {}, "layout": [["a", "|O", [1]]]}', b"12345678"),
        head(b'{"values": {}, "layout": [["a", "f8,f8", [1]]]}', b"1234567812345678"),
        head(b'{"values": {}, "layout": [["a", "<f8", [2]]]}', b"12345678"),
        head(b'{"values": {}, "layout": [["a", "<f8", [-1]]]}', b"12345678"),
        head(b'{"values": {}, "layout": [["a", "<f8", ["1"]]]}', b"12345678"),
        head(b'{"values": {}, "layout": [["a", "<f8", [1000000000000000000]]]}', b"12345678"),
        head(b'{"values": {}, "layout": [["a", "<U999999999", [1]]]}', b"12345678"),
    ],
)
def test_a_record_with_a_valid_checksum_that_holds_nothing_known_is_a_torn_end(tmp_path, payload):
    path = tmp_path / "records"
    with RecordFile(path) as records:
        records.append({"a": 1})
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + whole(payload))
    with RecordFile(path) as records:
        records.append({"a": 2})
        assert [values for values, _ in records] == [{"a": 1}, {"a": 2}]
    assert path.stat().st_size == 2 * size
