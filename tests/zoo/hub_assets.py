"""A Hugging Face Hub on this machine, as far as downloads need it."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """Repositories, and how they are served.

    Attributes:
        repos: Content by file name, by repository.
        sums: Checksums by file name that the Hub names instead of the true ones.
        codes: Status and error code of a repository's answers instead of its files.
        asked: Path and Range header of every request.
        tokens: Authorization header of every request for a file.
    """

    repos: dict[str, dict[str, bytes]]
    sums: dict[str, str] = field(default_factory=dict)
    codes: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    @property
    def bodies(self) -> list[str]:
        """Names of the files whose content was given, in order."""
        return [path.rpartition("/")[2] for path, _ in self.asked if "/resolve/" in path]


@contextmanager
def fake_hub(
    monkeypatch: pytest.MonkeyPatch, repos: dict[str, dict[str, bytes]], **kwargs: object
) -> Iterator[FakeHub]:
    """Serve as `HF_ENDPOINT` until the block ends."""
    hub = FakeHub(repos, **kwargs)  # type: ignore[arg-type]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((path, self.headers.get("Range")))
            parts = path.removeprefix("/api/models").strip("/").split("/")
            repo, rest = "/".join(parts[:2]), parts[2:]
            files = hub.repos.get(repo)

            def listed(name: str) -> dict[str, object]:
                assert files is not None
                lfs = {"sha256": hub.sums.get(name) or hashlib.sha256(files[name]).hexdigest(), "pointerSize": 134}
                size = {"rfilename": name, "size": len(files[name])}
                return size | ({"lfs": lfs | {"size": len(files[name])}} if name.endswith(".safetensors") else {})

            if repo in hub.codes or files is None:
                status, code = hub.codes.get(repo, (404, "RepoNotFound"))
                self._send(status, code=code)
            elif rest[:1] != ["resolve"]:
                self._send(200, json.dumps({"id": repo, "sha": COMMIT, "siblings": list(map(listed, files))}).encode())
            elif rest[2] not in files:
                self._send(404)
            else:
                hub.tokens.append(self.headers.get("Authorization"))
                self._send(200, files[rest[2]])

        def _send(self, status: int, body: bytes = b"", code: str = "") -> None:
            span = self.headers.get("Range")
            start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
            self.send_response(206 if start else status)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
