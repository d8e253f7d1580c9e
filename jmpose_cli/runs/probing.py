"""How many frames videos have by their headers, read in a process of its own: a poisoned file must not end the run.

`python -m jmpose_cli.runs.probing` reads one path a line from standard input and answers with a JSON object a line.
A number after it says which of their video streams.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

import orjson

from jmpose_cli.child_environment import child_environment

_LOOK_EVERY_S = 0.25
PROBE_COMMAND = (sys.executable, "-P", "-m", "jmpose_cli.runs.probing")


@dataclass(frozen=True)
class Probed:
    """What a header says.

    Attributes:
        frames: Number of frames; None where it is not said.
        fps: Average frame rate; None where the file has no timestamps.
        is_estimate: The header does not count the frames; it is what fits into the duration.
        error: Why the video cannot be read; empty when it can.
        hint: What to do about it.
    """

    frames: int | None = None
    fps: float | None = None
    is_estimate: bool = False
    error: str = ""
    hint: str = ""


def probe_videos(
    paths: Sequence[Path],
    *,
    processes: int,
    timeout_s: float = 20.0,
    stream: int | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Probed]:
    """Probe videos; one that hangs or crashes the prober is left to the workers, which will say what is wrong.

    Args:
        paths: The video files.
        processes: How many to probe at a time.
        timeout_s: Longest time for one.
        stream: Which of their video streams, from 1; None chooses.
        is_stopped: Tells whether the user asked to stop; what is not known by then stays so.
    """
    found: list[Probed] = [Probed()] * len(paths)
    todo: Queue[int] = Queue()
    for number in range(len(paths)):
        todo.put(number)

    children: list[subprocess.Popen[bytes]] = []

    def work() -> None:
        child = None
        try:
            while True:
                try:
                    number = todo.get_nowait()
                except Empty:
                    return
                if is_stopped():
                    return
                if child is None:
                    child = _start(stream)
                    children.append(child)
                answer = _ask(child, paths[number], timeout_s)
                if answer is None:
                    child.kill()
                    child.wait()
                    child = None
                else:
                    found[number] = answer
        except (OSError, RuntimeError):
            return  # no more processes, files or threads: the workers will say so
        finally:
            if child is not None:
                child.kill()
                child.wait()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(processes, len(paths)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK_EVERY_S)
            if is_stopped():
                for child in children:
                    child.kill()
    return found


def _start(stream: int | None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        (*PROBE_COMMAND, *(() if stream is None else (str(stream),))),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=child_environment(),
    )


def _ask(child: "subprocess.Popen[bytes]", path: Path, timeout_s: float) -> Probed | None:
    """Return the answer to one path; None when there is none."""
    assert child.stdin is not None and child.stdout is not None
    watchdog = threading.Timer(timeout_s, child.kill)
    watchdog.start()
    try:
        child.stdin.write(os.fsencode(os.path.abspath(path)).replace(b"\n", b"\0") + b"\n")
        child.stdin.flush()
        return Probed(**orjson.loads(child.stdout.readline()))
    except (OSError, orjson.JSONDecodeError):
        return None
    finally:
        watchdog.cancel()


def _by_header(path: Path, stream: int | None) -> Probed:
    from jmpose_cli.video.container import header_frames

    found = header_frames(path, number=stream)
    return Probed(found.frames, found.fps, found.is_estimate)


def main() -> None:
    """Answer paths until there are no more."""
    from jmpose_cli.errors import JmposeError
    from jmpose_cli.video.image_folder import is_picture
    from jmpose_cli.video.picture_pages import pages_of

    stream = int(sys.argv[1]) if len(sys.argv) > 1 else None
    for line in sys.stdin.buffer:
        path = Path(os.fsdecode(line.rstrip(b"\n").replace(b"\0", b"\n")))
        try:
            answer = Probed(len(pages_of(path))) if is_picture(path) else _by_header(path, stream)
        except JmposeError as error:
            answer = Probed(error=error.message, hint=error.hint)
        with suppress(BrokenPipeError):
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
