"""The process that reads what is at addresses: `python -m jmpose_cli.runs.storage_child`.

It reads one request a line from standard input, a JSON object with `do` and `url`, and answers with JSON objects a
line: any number of signs of life, then the answer or an `error`. It ends with its parent.
"""

import http
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import orjson

_MARKS = ("ETag", "etag", "mtime", "LastModified", "last_modified")  # as the storages name them
_WILDCARDS = frozenset("*?[")
_SIGN_EVERY_S = 0.2
_POLL_S = 1.0


class _Answers:
    """Writes answers; signs of life not too often."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._signed_s = 0.0

    def send(self, **answer: Any) -> None:
        self._stream.write(orjson.dumps(answer) + b"\n")
        self._stream.flush()

    def sign(self, **facts: Any) -> None:
        now = time.monotonic()
        if now - self._signed_s >= _SIGN_EVERY_S:
            self._signed_s = now
            self.send(alive=True, **facts)


def _located(url: str) -> tuple[Any, str]:
    import fsspec

    if "http" in url:
        # Its own limit is for the whole transfer, 5 minutes; whoever asked watches for silence.
        import aiohttp

        for protocol in ("http", "https"):
            client = fsspec.config.conf.setdefault(protocol, {}).setdefault("client_kwargs", {})
            client.setdefault("timeout", aiohttp.ClientTimeout(total=None))
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path


def _find(url: str, most_entries: int, answers: _Answers) -> dict[str, Any]:
    """Find what is at an address: nothing, one thing, or many below `top`."""
    filesystem, path = _located(url)
    if _WILDCARDS & set(path):
        parts = PurePosixPath(path).parts
        fixed = next(i for i, part in enumerate(parts) if _WILDCARDS & set(part))
        top, paths = str(PurePosixPath(*parts[:fixed])), filesystem.glob(path)
    elif filesystem.isdir(path):
        top, paths = path, []
        for found in _below(filesystem, path):
            paths.append(found)
            if len(paths) > most_entries:
                break
            answers.sign()
    elif filesystem.exists(path):
        return {"one": path}
    else:
        return {}
    if len(paths) > most_entries:
        return {"error": f"more than {most_entries:,} files", "hint": "name the folders that hold the videos"}
    chain = url.partition("::")[2]
    scheme = url.split("://")[0]
    urls = [f"{scheme}://{one}::{chain}" if chain else filesystem.unstrip_protocol(one) for one in paths]
    return {"top": top, "paths": paths, "urls": urls}


def _below(filesystem: Any, path: str) -> Iterator[str]:
    for folder, _, names in filesystem.walk(path, on_error="raise"):
        for name in names:
            yield f"{folder}/{name}" if folder else name


def _facts(url: str) -> dict[str, Any]:
    filesystem, path = _located(url)
    info = filesystem.info(path)
    return {"size": info.get("size"), **{key: str(info[key]) for key in _MARKS if key in info}}


def _fetch(url: str, target: str, answers: _Answers) -> dict[str, Any]:
    from fsspec.callbacks import Callback

    class Progress(Callback):  # type: ignore[misc]
        def call(self, *args: Any, **kwargs: Any) -> None:
            answers.sign(size=self.size, bytes=self.value)

        def set_size(self, size: int | None) -> None:
            self.size = size
            answers.send(alive=True, size=size, bytes=0)

    filesystem, path = _located(url)
    filesystem.get_file(path, target, callback=Progress())
    return {}


def reason(error: BaseException, url: str) -> str:
    """Say why an address cannot be read: the server's status, or what the system said; libraries hide both."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    for one in reversed(chain):
        status = getattr(one, "status", None)
        if isinstance(status, int) and status >= http.HTTPStatus.BAD_REQUEST:
            return f"the server answers {_status(status, str(getattr(one, 'message', '')))}"
        if isinstance(one, OSError) and one.errno and one.errno > 0:
            return os.strerror(one.errno).lower()
    if isinstance(error, FileNotFoundError) and url.startswith(("http://", "https://")):
        return f"the server answers {_status(http.HTTPStatus.NOT_FOUND, '')}"
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _status(number: int, message: str) -> str:
    known = {status.value: status.phrase for status in http.HTTPStatus}
    return f"{number} {message or known.get(number, '')}".strip()


def _answer(request: dict[str, Any], answers: _Answers) -> dict[str, Any]:
    url = request["url"]
    try:
        if request["do"] == "find":
            return _find(url, request["most_entries"], answers)
        if request["do"] == "facts":
            return _facts(url)
        return _fetch(url, request["target"], answers)
    except ImportError as error:
        return {"error": str(error), "hint": "install the package for this kind of storage"}
    except Exception as error:  # each protocol has errors of its own
        return {"error": reason(error, url), "hint": "check the address and the access rights"}


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


def main() -> None:
    """Answer requests until there are no more."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    # What libraries print must not come between the answers.
    answers = _Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answers.send(**{"done": True, **_answer(orjson.loads(line), answers)})


if __name__ == "__main__":
    main()
