"""A web server with faults, on this machine."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Web:
    """Files by path, and how they are served.

    Attributes:
        files: Content by path.
        cut_after: Most bytes of a body that one connection gives; None gives all.
        ranges: Whether parts of files are given.
        fail: Status of every answer; None serves the files.
        asked: Path and Range header of every request.
    """

    files: dict[str, bytes]
    cut_after: int | None = None
    ranges: bool = True
    fail: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


@contextmanager
def web(**kwargs: object) -> Iterator[Web]:
    """Serve until the block ends."""
    served = Web(**kwargs)  # type: ignore[arg-type]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range")
            served.asked.append((self.path, span))
            whole = served.files.get(self.path)
            if served.fail or whole is None:
                self.send_error(served.fail or 404)
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and served.ranges else 0
            if start >= len(whole) > 0 and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(whole)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
            self.send_header("Content-Length", str(len(whole) - start))
            self.end_headers()
            self.wfile.write(whole[start:][: served.cut_after])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
