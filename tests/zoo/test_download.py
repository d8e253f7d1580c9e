import errno
import hashlib
import subprocess
import threading

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo import download as module
from jmpose_cli.zoo.download import download
from tests.zoo.web_assets import web

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "model.pt"


def partial_of(target):
    return target.with_name("model.pt.partial")


@pytest.mark.parametrize("digits", [64, 8])
def test_a_file_is_fetched_and_counted(target, digits):
    counted = []
    with web(files={"/model.pt": CONTENT}) as served:
        progress = lambda there, whole: counted.append((there, whole))  # noqa: E731
        download(f"{served.url}/model.pt", target, sha256=SHA256[:digits], progress=progress)
    assert target.read_bytes() == CONTENT and counted[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in target.parent.iterdir()] == ["model.pt"]


def test_an_interrupted_download_goes_on_where_it_stopped(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(CONTENT[:1000])
    with web(files={"/model.pt": CONTENT}) as served:
        download(f"{served.url}/model.pt", target, sha256=SHA256)
        assert served.asked == [("/model.pt", "bytes=1000-")]
    assert target.read_bytes() == CONTENT


def test_connections_that_end_early_are_taken_up_again(target):
    with web(files={"/model.pt": CONTENT}, cut_after=4000) as served:
        download(f"{served.url}/model.pt", target, sha256=SHA256)
        assert [span for _, span in served.asked] == [None, "bytes=4000-", "bytes=8000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_that_gives_no_parts_starts_again(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(b"the beginning of something else")
    with web(files={"/model.pt": CONTENT}, ranges=False) as served:
        download(f"{served.url}/model.pt", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"])
def test_a_partial_file_that_is_long_enough(target, left):
    target.parent.mkdir()
    partial_of(target).write_bytes(left)
    with web(files={"/model.pt": CONTENT}) as served:
        download(f"{served.url}/model.pt", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_gives_nothing_more_is_an_error_and_keeps_what_is_there(target):
    with web(files={"/model.pt": CONTENT}, cut_after=0) as served:
        target.parent.mkdir()
        partial_of(target).write_bytes(CONTENT[:500])
        with pytest.raises(JmposeError, match=r"model\.pt cannot .* ended after 500 of 10240 bytes") as caught:
            download(f"{served.url}/model.pt", target, sha256=SHA256)
    assert "resumes where this one stopped" in caught.value.hint and str(target) in caught.value.hint
    assert partial_of(target).read_bytes() == CONTENT[:500] and not target.exists()


def test_another_checksum_is_an_error_and_leaves_nothing(target):
    with (
        web(files={"/model.pt": CONTENT[:-1] + b"?"}) as served,
        pytest.raises(JmposeError, match=f"has sha256 .* expected {SHA256[:16]}") as caught,
    ):
        download(f"{served.url}/model.pt", target, sha256=SHA256)
    assert "it was removed, try again" in caught.value.hint
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (404, "has moved"),
        (401, "log in"),
        (403, "accept its terms"),
        (418, "try again later"),
        (503, "try again later"),
    ],
)
def test_what_the_server_refuses_is_said(target, status, hint):
    with web(files={}, fail=status) as served, pytest.raises(JmposeError, match=f"model.pt answers {status}") as caught:
        download(f"{served.url}/model.pt", target, sha256=SHA256)
    assert hint in caught.value.hint and str(target) in caught.value.hint


def test_no_network_names_the_file_and_where_to_put_it(target):
    with web(files={}) as served:
        closed = served.url
    with pytest.raises(JmposeError, match=r"model\.pt cannot be downloaded from http://127.* refused") as caught:
        download(f"{closed}/model.pt", target, sha256=SHA256)
    assert f"put the file to {target}" in caught.value.hint


def test_a_full_disk_is_named(target, tmp_path):
    disk = target.parent
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with (
            web(files={"/model.pt": CONTENT}) as served,
            pytest.raises(JmposeError, match="cannot be written: No space left") as caught,
        ):
            download(f"{served.url}/model.pt", target, sha256=SHA256)
        assert "free some space" in caught.value.hint and not target.exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JmposeError, match="cannot be written") as caught:
        download("http://127.0.0.1:9/x", tmp_path / "file" / "model.pt", sha256=SHA256)
    assert "JMPOSE_CACHE" in caught.value.hint


def test_hint_for_errors_of_the_disk(tmp_path):
    assert "JMPOSE_CACHE" in module.not_written(tmp_path, OSError(errno.EACCES, "Permission denied")).hint
    assert "free some space" in module.not_written(tmp_path, OSError(errno.EDQUOT, "Disk quota exceeded")).hint


def test_several_that_want_the_same_file_fetch_it_once(target):
    with web(files={"/model.pt": CONTENT}) as served:
        threads = [
            threading.Thread(target=download, args=(f"{served.url}/model.pt", target), kwargs={"sha256": SHA256})
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(served.asked) == 1
    assert target.read_bytes() == CONTENT and not partial_of(target).exists()
