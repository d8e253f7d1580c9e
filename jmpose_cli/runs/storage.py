"""Inputs at addresses, read through fsspec in a process of its own: whatever a server does, it can be left at once."""

import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from jmpose_cli.annotate.task import StoppedError
from jmpose_cli.child_environment import child_environment
from jmpose_cli.errors import JmposeError

STORAGE_COMMAND = (sys.executable, "-P", "-m", "jmpose_cli.runs.storage_child")
SILENCE_S = 60.0
MOST_ENTRIES = 1_000_000
_LOOK_EVERY_S = 0.25
# A copy must not take the last of the disk from the results of other videos: this, or a tenth of a small disk.
_LEFT_FREE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Addresses:
    """What is at an address.

    Attributes:
        paths: The files, as paths inside the storage; none where nothing is.
        urls: The address of each.
        top: Folder that they are in; None for an address that is a file itself.
    """

    paths: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    top: str | None = None


class Storage:
    """Asks a process that reads addresses; it is started when it is needed. A context manager.

    Args:
        silence_s: A server from which nothing comes for so many seconds is given up; as long as something comes, a
            transfer may take any time.
        is_stopped: Tells whether the user asked to stop.

    Raises:
        JmposeError: From every request: the address cannot be read, or nothing comes.
        StoppedError: From every request, within a moment, when the user asked to stop.
    """

    def __init__(self, *, silence_s: float = SILENCE_S, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._silence_s, self._is_stopped = silence_s, is_stopped
        self._child: subprocess.Popen[bytes] | None = None
        self._said: queue.Queue[bytes] = queue.Queue()

    def __enter__(self) -> "Storage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, url: str, *, most_entries: int = MOST_ENTRIES) -> Addresses:
        """List the files at an address: itself, those in a folder and below, or those that a pattern matches."""
        answer = self._ask({"do": "find", "url": url, "most_entries": most_entries}, verb="read")
        if "one" in answer:
            return Addresses((answer["one"],), (url,))
        return Addresses(tuple(answer.get("paths", ())), tuple(answer.get("urls", ())), answer.get("top"))

    def facts(self, url: str) -> dict[str, Any]:
        """Return the size of a file in bytes, None where it is not said, and what else tells its versions apart."""
        answer = self._ask({"do": "facts", "url": url}, verb="read")
        return {key: value for key, value in answer.items() if key != "done"}

    def fetch(self, url: str, target: Path, *, most_bytes: float) -> None:
        """Copy a file; a part of it may be left at `target` when that fails.

        Raises:
            JmposeError: Also, if it has more than `most_bytes` bytes, or more than the disk can spare.
        """

        def watch(answer: dict[str, Any]) -> object:
            """Check how far the copy is; what is returned changes as long as something arrives."""
            with suppress(FileNotFoundError):
                answer["there"] = target.stat().st_size
            size = max(answer.get("size") or 0, answer.get("bytes") or 0, answer.get("there") or 0)
            if size > most_bytes:
                raise JmposeError(
                    f"{url}: cannot be fetched, it is larger than the {most_bytes / 1e9:g} GB allowed",
                    hint="fetch it yourself, or allow more with --set run.fetch_limit_gb=...",
                )
            disk = shutil.disk_usage(target.parent)
            to_come = size - (answer.get("there") or 0)
            if disk.free - to_come < min(_LEFT_FREE_BYTES, disk.total // 10):
                raise JmposeError(
                    f"{url}: cannot be fetched, there is no room for it on the disk",
                    hint="free some disk space, or choose a folder on another disk with --out",
                )
            return answer.get("bytes"), answer.get("there")

        self._ask({"do": "fetch", "url": url, "target": str(target)}, verb="fetched", watch=watch)

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _ask(
        self, request: dict[str, Any], *, verb: str, watch: Callable[[dict[str, Any]], object] = lambda _: None
    ) -> dict[str, Any]:
        """Wait for the answer; end the process when that fails, as it may hang."""
        try:
            answer = self._wait_for(request, verb, watch)
        except BaseException:
            self.close()
            raise
        if "error" in answer:
            raise JmposeError(f"{request['url']}: cannot be {verb} ({answer['error']})", hint=answer["hint"])
        return answer

    def _wait_for(
        self, request: dict[str, Any], verb: str, watch: Callable[[dict[str, Any]], object]
    ) -> dict[str, Any]:
        url = request["url"]
        self._send(orjson.dumps(request) + b"\n")
        latest: dict[str, Any] = {}
        seen: object = None
        heard_s = time.monotonic()
        while True:
            if self._is_stopped():
                raise StoppedError(0)
            with suppress(queue.Empty):
                line = self._said.get(timeout=_LOOK_EVERY_S)
                try:
                    latest = {**latest, **orjson.loads(line)}
                except orjson.JSONDecodeError:
                    raise JmposeError(
                        f"{url}: cannot be {verb} (the process that reads addresses died)", hint="fetch it yourself"
                    ) from None
                heard_s = time.monotonic()
                if "done" in latest and "error" in latest:
                    return latest
            now_seen = watch(latest)
            if now_seen != seen:
                heard_s, seen = time.monotonic(), now_seen
            if "done" in latest:
                return latest
            if time.monotonic() - heard_s > self._silence_s:
                raise JmposeError(
                    f"{url}: cannot be {verb}, nothing came for {self._silence_s:g} s",
                    hint="try again later; --set run.fetch_timeout_s=... waits longer",
                )

    def _send(self, request: bytes) -> None:
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                STORAGE_COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=child_environment(),
            )
            self._said = queue.Queue()
            threading.Thread(target=_listen, args=(self._child, self._said), daemon=True).start()
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):  # it has died, which is heard
            self._child.stdin.write(request)
            self._child.stdin.flush()


def _listen(child: "subprocess.Popen[bytes]", said: "queue.Queue[bytes]") -> None:
    """Pass on what a process says; nothing at its end."""
    assert child.stdout is not None
    for line in child.stdout:
        said.put(line)
    said.put(b"")
