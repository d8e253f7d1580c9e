"""Who works on which video, among all processes that write to one folder of results.

A process holds a file that is locked as long as it lives; a claim on a video is a small file that names its holder. The
kernel opens the lock when the holder dies, however it dies, so a claim of a dead process counts for nothing. Locks of
network file systems are not always seen on other machines: there a holder also counts as alive while the number in its
file keeps changing. No clock is compared with another one.
"""

import fcntl
import os
import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from jmpose.regular_file import open_own, open_regular, read_regular
from jmpose_cli.files import explain_os_errors

BEAT_S = 5.0
SILENT_S = 30.0  # a foreign holder that is silent for so long is dead
_TOKEN = re.compile(r"[^/\0]+-\d+-[0-9a-f]+")
_LONGEST_CLAIM = 4096  # bytes; the names of machines are short


@dataclass(frozen=True)
class Holder:
    """Who holds a claim, for messages."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claims:
    """The claims of this process; a context manager that ends them all.

    Args:
        folder: Where claims and holders lie, shared by all processes.
        beat_s: Seconds between two changes of this holder's number.
        silent_s: Seconds after which a foreign holder whose number does not change is dead.

    Raises:
        OutputError: The folder cannot be written to (also from `take`); no run can do without it.
    """

    def __init__(self, folder: Path, *, beat_s: float = BEAT_S, silent_s: float = SILENT_S) -> None:
        self._folder, self._beat_s, self._silent_s = folder, beat_s, silent_s
        self._machine = _machine()
        self._token = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._mine: set[Path] = set()
        self._watched: dict[str, tuple[int, float]] = {}  # token: its number, when first seen
        self._ended = threading.Event()
        with explain_os_errors(folder, ends_run=True):
            (folder / "holders").mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = open(self._holder(self._token), "w+b", buffering=0)  # noqa: SIM115
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX)
            self._beat(0)
            for left in (folder / "holders").iterdir():
                if left.name != self._token:
                    self._living(left.name)  # removes it when it is known to be dead
        self._heart = threading.Thread(target=self._keep_beating, name="claims", daemon=True)
        self._heart.start()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, key: str) -> Holder | None:
        """Claim a video; return its holder when another living process has it."""
        path = self._folder / f"{key}.claim"
        with explain_os_errors(path, ends_run=True), open_own(self._folder / "lock", "ab") as gate:
            with suppress(OSError):
                fcntl.flock(gate, fcntl.LOCK_EX)
            token = self._owner(path)
            if token is not None and token != self._token:
                holder = self._living(token)
                if holder is not None:
                    return holder
                path.unlink(missing_ok=True)
            draft = path.with_name(f"{self._token}.draft")
            try:
                draft.write_text(self._token)
                os.link(draft, path)  # fails when another process was first
            except FileExistsError:
                if self._owner(path) != self._token:
                    return self._living(self._owner(path) or "") or Holder("another machine", 0)
            finally:
                draft.unlink(missing_ok=True)
        self._mine.add(path)
        return None

    def release(self, key: str) -> None:
        """End a claim."""
        path = self._folder / f"{key}.claim"
        self._mine.discard(path)
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """End all claims."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._heart.join()
        for path in list(self._mine):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self._holder(self._token).unlink(missing_ok=True)
        self._file.close()

    def _holder(self, token: str) -> Path:
        return self._folder / "holders" / token

    def _owner(self, path: Path) -> str | None:
        """Return the token in a claim: None without a claim, "" of a claim that names nobody."""
        try:
            text = read_regular(path, most_bytes=_LONGEST_CLAIM).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        # It becomes part of a path: whoever can write here must not lead out of the folder.
        return text if _TOKEN.fullmatch(text) else ""

    def _living(self, token: str) -> Holder | None:
        """Tell who a holder is; None when it is dead."""
        try:
            with open_regular(self._holder(token)) as file:
                lock = _lock_state(file)
                facts = _facts(file.read(_LONGEST_CLAIM))
        except (FileNotFoundError, IsADirectoryError):
            return None
        holder = Holder(str(facts.get("host", "another machine")), _number(facts.get("pid")))
        if lock == "locked":
            return holder
        is_here = facts.get("machine") == self._machine
        if (is_here and lock == "free") or self._is_silent(token, _number(facts.get("beat"))):
            with suppress(OSError):
                self._holder(token).unlink(missing_ok=True)
            return None
        return holder

    def _is_silent(self, token: str, beat: int) -> bool:
        now = time.monotonic()
        known = self._watched.get(token)
        if known is None or known[0] != beat:
            self._watched[token] = (beat, now)
            return False
        return now - known[1] >= self._silent_s

    def _keep_beating(self) -> None:
        beat = 0
        while not self._ended.wait(self._beat_s):
            beat += 1
            with suppress(OSError):  # a full disk must not end the run here
                self._beat(beat)

    def _beat(self, beat: int) -> None:
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "machine": self._machine, "beat": beat}
        self._file.seek(0)
        self._file.write(orjson.dumps(facts).ljust(256))


def _facts(data: bytes) -> dict[str, Any]:
    """Read what a holder says; nothing where it was caught between two beats, or is somebody else's file."""
    try:
        facts = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _lock_state(file: BinaryIO) -> Literal["locked", "free", "unknown"]:
    """Tell whether somebody else holds a lock on a file; unknown where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "locked"
    except OSError:
        return "unknown"
    return "free"


def _machine() -> str:
    """Name this machine until it is started again; processes in containers on it share its locks."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()
