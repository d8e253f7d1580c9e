"""Servers that are slow, silent, endless or not there."""

import http.server
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jmpose_cli.annotate.task import ClipTask, StoppedError, Watcher
from jmpose_cli.config import RunConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.runs.fetch import local_copy
from jmpose_cli.runs.inputs import find_clips
from jmpose_cli.runs.storage import Storage
from tests.runs.batch_assets import SMALL, start

pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
pytestmark = pytest.mark.timeout(60)

BODY = bytes(range(256)) * 8
Body = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def server() -> Iterator["Server"]:
    with Server() as served:
        yield served


class Server:
    """A web server whose answers are functions of the handler; `given_up` ends those that would hang."""

    def __init__(self) -> None:
        self.answers: dict[str, Body] = {}
        self.given_up = threading.Event()
        self.asked: list[str] = []

    def __enter__(self) -> "Server":
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.answers[self.path](self)

            def do_HEAD(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.given_up.set()
        self._server.shutdown()
        self._server.server_close()

    def gives(
        self, path: str, *parts: bytes, length: int | None = None, pause_s: float = 0, hangs: bool = False
    ) -> str:
        """Answer with a body in parts, then end or hang; return the address."""

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            if length is not None:
                handler.send_header("Content-Length", str(length))
            handler.end_headers()
            try:
                for part in parts:
                    handler.wfile.write(part)
                    handler.wfile.flush()
                    self.given_up.wait(pause_s)
            except OSError:
                return
            if hangs:
                self.given_up.wait(30)

        self.answers[path] = answer
        return self.url + path

    def refuses(self, path: str, status: int) -> str:
        self.answers[path] = lambda handler: handler.send_error(status)
        return self.url + path


def fetch(url: str, target: Path, *, silence_s: float = 20, most_bytes: float = 1e6, **options) -> bytes:
    with Storage(silence_s=silence_s, **options) as storage:
        storage.fetch(url, target, most_bytes=most_bytes)
    return target.read_bytes()


def test_a_transfer_may_take_longer_than_the_limit_on_silence(server, tmp_path):
    parts = [BODY[at : at + 256] for at in range(0, len(BODY), 256)]
    url = server.gives("/slow", *parts, pause_s=0.4, length=len(BODY))
    begun = time.monotonic()
    assert fetch(url, tmp_path / "a", silence_s=2) == BODY
    assert time.monotonic() - begun > 2.5


@pytest.mark.parametrize("parts", [(), (BODY,)], ids=["before the first byte", "in the middle"])
def test_a_silent_server_is_given_up(server, tmp_path, parts):
    url = server.gives("/silent", *parts, length=10_000, hangs=True)
    begun = time.monotonic()
    with pytest.raises(JmposeError, match=r"cannot be fetched, nothing came for 1\.5 s") as caught:
        fetch(url, tmp_path / "a", silence_s=1.5)
    assert time.monotonic() - begun < 8 and "run.fetch_timeout_s" in caught.value.hint


def test_an_endless_body_ends_at_the_limit(server, tmp_path):
    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not server.given_up.is_set():
                handler.wfile.write(b"x" * 65536)
        except OSError:
            return

    server.answers["/endless"] = endless
    with pytest.raises(JmposeError, match=r"larger than the 0\.02 GB allowed") as caught:
        fetch(f"{server.url}/endless", tmp_path / "a", most_bytes=2e7)
    assert "run.fetch_limit_gb" in caught.value.hint


def test_a_body_that_says_it_is_too_large_is_not_waited_for(server, tmp_path):
    url = server.gives("/large", length=10**12, hangs=True)
    with pytest.raises(JmposeError, match="larger than the"):
        fetch(url, tmp_path / "a")


def test_a_copy_does_not_take_the_last_of_the_disk(server, tmp_path, monkeypatch):
    url = server.gives("/a", length=10**9, hangs=True)
    usage = type("Usage", (), {"free": 10**9 + 10**8, "total": 10**12})
    monkeypatch.setattr("jmpose_cli.runs.storage.shutil.disk_usage", lambda _: usage)
    with pytest.raises(JmposeError, match="there is no room for it on the disk"):
        fetch(url, tmp_path / "a", most_bytes=1e12)


def test_a_body_that_ends_early_is_no_video(server, tmp_path):
    with pytest.raises(JmposeError, match="cannot be fetched"):
        fetch(server.gives("/short", BODY, length=10_000), tmp_path / "a")


@pytest.mark.parametrize(
    ("status", "message"), [(404, "404 Not Found"), (403, "403 Forbidden"), (500, "500 Internal Server Error")]
)
def test_the_status_of_the_server_is_shown(server, tmp_path, status, message):
    url = server.refuses("/a.mp4", status)
    with pytest.raises(JmposeError, match=f"a.mp4: cannot be fetched \\(the server answers {message}\\)"):
        fetch(url, tmp_path / "a")
    with (
        pytest.raises(JmposeError, match=f"a.mp4: cannot be read \\(the server answers {message}\\)"),
        Storage() as one,
    ):
        one.facts(url)


def test_a_refused_connection_is_called_so(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.mp4"
    with Storage() as storage:
        with pytest.raises(JmposeError, match=r"cannot be read \(connection refused\)"):
            storage.facts(url)
        with pytest.raises(JmposeError, match=r"cannot be fetched \(connection refused\)"):
            storage.fetch(url, tmp_path / "a", most_bytes=1e6)


def test_stopping_is_heard_in_the_middle_of_a_transfer(server, tmp_path, children):
    url = server.gives("/silent", BODY, length=10_000, hangs=True)
    task = ClipTask("a", Path("a.mp4"), url, tmp_path / "out", tmp_path / "work", {})
    watcher = Watcher()
    threading.Timer(1.5, watcher.stop.set).start()
    begun = time.monotonic()
    with pytest.raises(StoppedError), local_copy(task, RunConfig(), watcher):
        pass
    assert 1.4 < time.monotonic() - begun < 3
    assert not list((tmp_path / "work" / "input").iterdir())
    assert not children()


def test_a_process_that_died_is_replaced(server, tmp_path, children):
    urls = [server.gives(f"/{name}", BODY, hangs=name == "b") for name in "abc"]
    with Storage() as storage:
        storage.fetch(urls[0], tmp_path / "a", most_bytes=1e6)
        (child,) = children()
        threading.Timer(0.5, child.kill).start()
        with pytest.raises(JmposeError, match="the process that reads addresses died"):
            storage.fetch(urls[1], tmp_path / "b", most_bytes=1e6)
        storage.fetch(urls[2], tmp_path / "c", most_bytes=1e6)
    assert (tmp_path / "c").read_bytes() == BODY and not children()


def test_folders_patterns_and_files_of_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("day/a.mp4", "day/deep/b.mov"):
            archive.writestr(name, name)
    chain = f"::file://{tmp_path}/x.zip"
    with Storage() as storage:
        assert storage.find(f"zip://day/a.mp4{chain}").top is None
        assert storage.find(f"zip://day{chain}").paths == ("day/a.mp4", "day/deep/b.mov")
        assert storage.find(f"zip://day/*.mp4{chain}").urls == (f"zip://day/a.mp4{chain}",)
        assert storage.find(f"zip://night{chain}").paths == ()
        assert storage.facts(f"zip://day/a.mp4{chain}")["size"] == len("day/a.mp4")
        storage.fetch(f"zip://day/deep/b.mov{chain}", tmp_path / "b", most_bytes=100)
        with pytest.raises(JmposeError, match="more than 1 files"):
            storage.find(f"zip://day{chain}", most_entries=1)
        with pytest.raises(JmposeError, match="larger than"):
            storage.fetch(f"zip://day/deep/b.mov{chain}", tmp_path / "c", most_bytes=3)
    assert (tmp_path / "b").read_bytes() == b"day/deep/b.mov"


def test_one_video_under_several_addresses_is_one(tmp_path):
    (tmp_path / "v.mp4").touch()
    inputs = [f"{scheme}{tmp_path}/v.mp4" for scheme in ("", "file://", "local://", "FILE://")]
    assert [clip.path for clip in find_clips(inputs, out=tmp_path / "out")] == [tmp_path / "v.mp4"]
    web = ["http://Host/v.mp4", "HTTP://host:80/v.mp4", "http://host/v.mp4#t=5"]
    assert [clip.url for clip in find_clips(web, out=tmp_path / "out")] == ["http://host/v.mp4"]
    other = ["http://host/v.mp4?a", "http://host/v.mp4?b", "https://host/v.mp4", "http://host:81/v.mp4"]
    assert len(find_clips(other, out=tmp_path / "out")) == 4
    with pytest.raises(JmposeError, match="not an address"):
        find_clips(["http://[/v.mp4"], out=tmp_path / "out")


def test_stopping_is_heard_while_a_server_does_not_answer(tmp_path, children):
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4"
        threading.Timer(1.5, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(StoppedError), Storage(is_stopped=stop.is_set) as storage:
            storage.facts(url)
    assert 1.4 < time.monotonic() - begun < 3 and not children()


def test_ctrl_c_is_heard_while_a_server_is_silent(server, tmp_path):
    """From the shell's signal to the process that waits for the server."""
    url = server.gives("/a.mp4", length=10_000, hangs=True)
    process = start(url, "--out", tmp_path / "out", *SMALL)
    until = time.monotonic() + 40
    while len(server.asked) < 2 and process.poll() is None and time.monotonic() < until:  # the plan asks first
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - begun < 5, shown
    assert "Traceback" not in shown and "error" not in shown
