import errno
import os
import re
from pathlib import Path

import pytest

import jmpose
import jmpose_cli
from jmpose.files import WholeFile, file_sha256
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.files import PartialFile, explain_os_errors, write_whole

PACKAGES = [Path(package.__file__).parent for package in (jmpose, jmpose_cli)]


def fail_with(number: int):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    with PartialFile(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one" and os.listdir(tmp_path) == ["a.json"]
    with WholeFile(path) as partial:
        partial.write_bytes(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("broken", ["os.fsync", "os.replace", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ENOENT])
def test_a_failure_leaves_what_stood_there_and_nothing_else(tmp_path, monkeypatch, broken, number):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    fail = fail_with(number)
    if broken == "write":
        monkeypatch.setattr(PartialFile, "write", lambda *_: fail())
    else:
        monkeypatch.setattr(f"jmpose.files.{broken}", fail)
    with pytest.raises(OSError if broken == "write" else JmposeError):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.json"]


def test_an_exception_inside_leaves_nothing(tmp_path):
    for open_one in (PartialFile, WholeFile):
        with pytest.raises(KeyboardInterrupt), open_one(tmp_path / "a") as file:
            if isinstance(file, PartialFile):
                file.write(b"1")
            raise KeyboardInterrupt
    assert not os.listdir(tmp_path)


def test_processes_that_share_a_file_do_not_share_its_partial(tmp_path):
    first, second = (WholeFile(tmp_path / "a", shared=True) for _ in range(2))
    first.partial.write_bytes(b"1")
    second.partial.write_bytes(b"2")
    first.commit()
    second.commit()
    assert (tmp_path / "a").read_bytes() == b"2" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "ends_run", "kind"),
    [
        (errno.ENOSPC, False, OutputError),
        (errno.EROFS, False, OutputError),
        (errno.ENOENT, False, JmposeError),
        (errno.ENOENT, True, OutputError),
    ],
)
def test_errors_say_what_cannot_be_written_and_whether_all_else_fails_too(number, ends_run, kind):
    with (
        pytest.raises(JmposeError, match=f"cannot write out/a: {os.strerror(number)}") as caught,
        explain_os_errors(Path("out/a"), ends_run=ends_run),
    ):
        fail_with(number)()
    assert type(caught.value) is kind and caught.value.hint


def test_a_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_nothing_writes_partial_files_by_hand():
    """A copy of the mechanism forgets what to do when the disk is full; downloads keep theirs on purpose."""
    allowed = {"files.py", "download.py", "pose/engines.py"}  # the last: a folder
    sources = [path for package in PACKAGES for path in package.rglob("*.py") if not str(path).endswith(tuple(allowed))]
    by_hand = re.compile(r"os\.replace\(|os\.rename\(|\.rename\(|\{path\.name\}\.partial")
    assert len(sources) > 100
    assert [path.name for path in sources if by_hand.search(path.read_text())] == []


@pytest.mark.parametrize("is_pipe", [False, True])
def test_what_lies_under_the_name_of_a_partial_file_is_not_written_to(tmp_path, is_pipe):
    (tmp_path / "precious").write_text("kept")
    for name in ("a", "b"):
        partial = tmp_path / f"{name}.partial"
        if is_pipe:
            os.mkfifo(partial)
        else:
            partial.symlink_to("precious")
    write_whole(tmp_path / "a", b"new")
    with WholeFile(tmp_path / "b") as path:
        path.write_bytes(b"new")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "precious"}
    assert (tmp_path / "precious").read_text() == "kept" and not (tmp_path / "a").is_symlink()
