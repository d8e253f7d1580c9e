"""Whatever is read because somebody named it is opened without waiting for anybody."""

import errno
import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jmpose.regular_file import open_own, open_regular, read_regular
from jmpose_cli.config import build_config
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.main import app
from jmpose_cli.people.boxes_file import read_boxes
from jmpose_cli.video.image_folder import read_image

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def pipe(tmp_path) -> Path:
    """A named pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe.txt")
    return tmp_path / "pipe.txt"


def test_a_file_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    assert read_regular(path) == read_regular(tmp_path / "link") == read_regular(path, most_bytes=7) == b"content"
    with open_regular(path) as file:
        assert (file.read(3), file.read()) == (b"con", b"tent")


def test_an_own_file_is_made_appended_to_and_emptied(tmp_path):
    for mode, content in (("ab", b"x"), ("ab", b"xx"), ("a+b", b"xxx"), ("wb", b"x")):
        with open_own(tmp_path / "a", mode) as file:
            file.write(b"x")
        assert (tmp_path / "a").read_bytes() == content


@pytest.mark.parametrize("mode", ["ab", "a+b", "wb"])
def test_own_files_are_no_links_and_no_pipes(tmp_path, pipe, mode):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, message in (("link", "a link"), ("dangling", "a link"), (pipe.name, "a named pipe")):
        with pytest.raises(OSError, match=f"{message}; it must be a regular file"):
            open_own(tmp_path / name, mode)
    assert (tmp_path / "precious").read_text() == "kept" and not (tmp_path / "nowhere").exists()


def test_what_is_too_large_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345678")
    with pytest.raises(OSError, match="larger than 0 MB") as caught:
        read_regular(tmp_path / "a", most_bytes=7)
    assert caught.value.errno == errno.EFBIG


def test_what_is_no_file_says_what_it_is(tmp_path, pipe):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    (tmp_path / "linked").symlink_to(pipe)
    for path, message in ((pipe, "a named pipe"), (tmp_path / "linked", "a named pipe"), ("/dev/zero", "a device")):
        for reading in (read_regular, open_regular):
            with pytest.raises(OSError, match=f"{message}; it must be a regular file"):
                reading(Path(path))
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
    with pytest.raises(OSError, match=r"socket|No such device"):
        read_regular(tmp_path / "socket")
    listening.close()


READERS = {
    "boxes": read_boxes,
    "MOT text": read_poses,
    "JSON": lambda path: read_poses(path.rename(path.with_suffix(".json"))),
    "settings": lambda path: build_config(file=path, assignments=(), options={}),
    "an image": read_image,
}


@pytest.mark.parametrize(
    "command",
    [("convert", "PIPE", "x.json", "--to", "coco"), ("eval", "--gt", "PIPE", "--pred", "PIPE", "--out", "scores")],
)
def test_no_command_waits_for_a_named_pipe(pipe, command, monkeypatch):
    monkeypatch.chdir(pipe.parent)
    json = pipe.rename(pipe.with_suffix(".json"))
    result = CliRunner().invoke(app, [str(json) if one == "PIPE" else one for one in command])
    assert isinstance(result.exception, JmposeError) or result.exit_code == 1
    assert "a named pipe" in f"{result.exception} {result.output}"


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_named_pipe(pipe, name):
    with pytest.raises(JmposeError, match=r"pipe.*it must be a regular file"):
        READERS[name](pipe)
