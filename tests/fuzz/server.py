"""A process that has imported everything heavy, and forks one child for each command line: a tenth of a second each.

`python -m tests.fuzz.server JOBS ANSWERS`; both are descriptors of pipes. A job is a JSON line, and so is its answer.
A child runs `jmpose_cli.main.run` as the `jmpose` command does, in a session of its own. The processes that it starts
(`python -m jmpose_cli...`) are forked too: they are its children, and what they do is what the module does.
"""

import atexit
import base64
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import jmpose
import jmpose_cli

_HEAVY = (
    *("av", "cv2", "decord", "faster_coco_eval", "jinja2", "lightning.fabric", "lightning_fabric", "numpy", "orjson"),
    *("plotly.graph_objects", "rich", "safetensors.torch", "scipy.optimize", "tensorboard.compat.proto.event_pb2"),
    *("timm", "torch", "torchvision", "transformers", "typer.main", "ultralytics.nn.tasks", "yaml"),
)
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_FAR = 700  # descriptors from here on are nobody's
_MOST_DESCRIPTORS = 16


def main(jobs: int, answers: int) -> None:
    """Run jobs until there are no more."""
    from jmpose_cli.people.detect_yolo import _ultralytics

    _ultralytics()  # its settings then lie in this process's cache, not where a command must not write
    own = [module.name for package in (jmpose, jmpose_cli) for module in _modules_of(package)]
    for name in (*_HEAVY, *own):
        with suppress(ImportError):  # not in this version; the command will import what it needs
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that children copy less
    os.write(answers, b'{"ready": true}\n')
    with os.fdopen(jobs, "rb") as lines:
        for line in lines:
            job = json.loads(line)
            pid = os.fork()
            if pid == 0:
                os.close(answers)
                _run(job)
                return
            began = time.monotonic()
            os.write(answers, json.dumps({"pid": pid}).encode() + b"\n")
            _, status, used = os.wait4(pid, 0)
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "wall_s": time.monotonic() - began,
                "cpu_s": used.ru_utime + used.ru_stime,
                "peak_kb": used.ru_maxrss,
            }
            os.write(answers, json.dumps(answer).encode() + b"\n")


def _modules_of(package: ModuleType) -> Iterator[pkgutil.ModuleInfo]:
    return pkgutil.walk_packages(package.__path__, f"{package.__name__}.")


def _run(job: dict[str, Any]) -> None:
    """Be the command."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    files = [os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr")]
    for target, descriptor in enumerate((nowhere, *files)):
        os.dup2(descriptor, target)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(base64.b64decode(job["folder"]))
    _serve_children()
    words = [os.fsdecode(base64.b64decode(word)) for word in job["words"]]
    if words[:1] == ["-c"]:  # for tests of the harness itself
        _end(lambda: exec(words[1], {"os": os, "subprocess": subprocess, "sys": sys, "time": time}))
    from jmpose_cli.main import run

    sys.argv = ["jmpose", *words]
    _end(run)


def _serve_children() -> None:
    """Let the processes that this one will start be forked by another, which stays as it is now: without threads."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    main_pid = os.getpid()
    if os.fork() == 0:
        ours.close()
        _fork_children(theirs, main_pid)
        return
    theirs.close()
    _Forked.link = ours
    subprocess.Popen = _Forked  # type: ignore[misc]


class _Forked(subprocess.Popen):  # type: ignore[type-arg]
    """A process that is forked where its command is a module of the package."""

    link: socket.socket

    def _execute_child(self, args: Any, *rest: Any) -> None:
        words = [os.fspath(word) for word in args] if isinstance(args, list | tuple) else []
        if len(words) < 4 or words[0] != sys.executable or not words[3].startswith("jmpose_cli."):
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        (_, _, _, pass_fds, cwd, env, _, _, _, to_read, _, _, to_write, _, for_errors, *_) = rest
        assert cwd is None
        wanted = {number: number for number in pass_fds}
        wanted |= {at: given for at, given in enumerate((to_read, to_write, for_errors)) if given != -1}
        order = {"words": words[3:], "env": dict(env or os.environ), "wanted": list(wanted), "session": rest[-2]}
        socket.send_fds(self.link, [json.dumps(order).encode()], list(wanted.values()))
        self.pid = int(self.link.recv(32))
        self._child_created = True
        self._close_pipe_fds(*rest[9:15])  # type: ignore[attr-defined]


def _fork_children(link: socket.socket, reaper: int) -> None:
    """Fork a process for each order, as a child of the command's process."""
    while True:
        order, descriptors, _, _ = socket.recv_fds(link, 1 << 20, _MOST_DESCRIPTORS)
        if not order:
            os._exit(0)
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        pid = os.fork()
        if pid:
            os._exit(0)  # the child becomes the command's
        while os.getppid() != reaper:
            time.sleep(0.001)
        link.send(str(os.getpid()).encode())
        _be(json.loads(order), descriptors)


def _be(order: dict[str, Any], descriptors: list[int]) -> None:
    """Be `python -P -m MODULE ARGUMENTS`."""
    if order["session"]:
        os.setsid()
    far = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FAR) for descriptor in descriptors]
    os.closerange(3, _FAR)
    for target, descriptor in zip(order["wanted"], far, strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["env"])
    module, *arguments = order["words"]
    sys.argv = [module, *arguments]
    warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
    _end(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))


def _end(work: Callable[[], object]) -> None:
    """Do the work and end as the interpreter does, except that the libraries' memory is not taken apart."""
    code: object = 0
    try:
        work()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(int(code or 0) & 0xFF)


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # nobody wants to know any more
        main(int(sys.argv[1]), int(sys.argv[2]))
