"""A worker: loads the networks once, then processes one video after another.

`python -m jmpose_cli.runs.worker LINK` is one in a process of its own; LINK is the descriptor of its connection to the
parent. It ends when the parent closes the link or dies.
"""

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from jmpose_cli.annotate.task import StoppedError, Watcher
from jmpose_cli.errors import JmposeError, OutputError
from jmpose_cli.home import settle
from jmpose_cli.machine import explain
from jmpose_cli.runs.messages import (
    Advanced,
    Done,
    Failed,
    FromWorker,
    Heartbeat,
    Inbox,
    Noted,
    NotReady,
    Opened,
    Process,
    Ready,
    SetUp,
    Stopped,
)

if TYPE_CHECKING:
    from jmpose_cli.annotate.networks import Networks
    from jmpose_cli.annotate.task import ClipTask
    from jmpose_cli.config import InferConfig

REPORT_EVERY_S = 0.25
ALIVE_EVERY_S = 5.0

Send = Callable[[FromWorker], None]


def serve(inbox: Inbox, send: Send) -> None:
    """Answer messages until None comes; the first one is `SetUp`.

    Args:
        inbox: The messages.
        send: Takes the answers; may be called from several threads.
    """
    first = inbox.get()
    if not isinstance(first, SetUp):
        return
    settle()
    try:
        from jmpose_cli.annotate.networks import load_networks

        networks, header = load_networks(first.config, workers_here=first.workers_here)
    except JmposeError as error:
        send(NotReady(error.message, error.hint))
        return
    except (ImportError, OSError, MemoryError, RuntimeError) as error:
        explained = explain(error)
        if explained is None:
            raise
        send(NotReady(explained.message, explained.hint))
        return
    with closing(networks):
        send(Ready(header, networks.info["weights"]))
        while (message := inbox.get()) is not None:
            if isinstance(message, Process):
                _process(message.task, first.config, networks, inbox, send)


def _process(task: "ClipTask", config: "InferConfig", networks: "Networks", inbox: Inbox, send: Send) -> None:
    """Process one video and send the outcome."""
    from jmpose_cli.annotate.clip import process_clip
    from jmpose_cli.runs.fetch import local_copy

    watcher = _Sender(send)

    def listen() -> None:
        while True:
            with suppress(queue.Empty):
                message = inbox.get(timeout=REPORT_EVERY_S)
                if isinstance(message, _Finished):
                    return
                watcher.stop.set()  # it is Stop, or the end of all
                if message is None:
                    inbox.put(None)
                    return
            watcher.report()

    listener = threading.Thread(target=listen, name="listener", daemon=True)
    listener.start()
    answer: FromWorker
    try:
        with local_copy(task, config.run, watcher) as local:
            answer = Done(process_clip(local, config=config, networks=networks, watcher=watcher))
    except StoppedError as stopped:
        answer = Stopped(stopped.frames)
    except OutputError as error:
        answer = Failed(error.message, error.hint, stops_run=True)
    except JmposeError as error:
        answer = Failed(error.message, error.hint, _trace())
    except Exception as error:
        answer = _unexpected(error)
    finally:
        inbox.put(_Finished())
        listener.join()
    watcher.report()
    send(answer)


def _unexpected(error: Exception) -> Failed:
    """Explain any other failure as one of this video, so that the next ones are processed."""
    explained = explain(error)
    if explained is not None:
        return Failed(explained.message, explained.hint, _trace(), needs_new_worker=True, keeps_work=True)
    if "out of memory" in str(error).lower():
        hint = "give a smaller --batch, fewer --workers, or a smaller model"
        message = f"out of memory: {str(error).splitlines()[0]}"
        return Failed(message, hint, _trace(), needs_new_worker=True, keeps_work=True)
    hint = "--verbose shows where; please report it with the video"
    return Failed(f"unexpected {type(error).__name__}: {error}", hint, _trace(), needs_new_worker=True)


def _trace() -> str:
    return traceback.format_exc()


class _Finished:
    """From a worker to its own listener: the video is done."""


class _Sender(Watcher):
    """Reports the progress of one video, a few times a second."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        # Counted up by the thread that does the work, read by the one that reports.
        self._frames = self._steps = self._people = 0
        self._frames_sent = self._steps_sent = 0
        self._is_opened = False
        self._sent_s = time.monotonic()

    def opened(self, total: int | None, done: int) -> None:
        self._is_opened = True
        self._send(Opened(total, done))

    def advanced(self, people: int) -> None:
        self._frames += 1
        self._people = people

    def stepped(self) -> None:
        self._steps += 1

    def note(self, text: str) -> None:
        self._send(Noted(text))

    def report(self) -> None:
        """Send what is new, or now and then a heartbeat while there is progress of any kind."""
        frames, now = self._frames, time.monotonic()
        if frames > self._frames_sent:
            self._send(Advanced(frames - self._frames_sent, self._people))
        elif now - self._sent_s > ALIVE_EVERY_S and (self._steps > self._steps_sent or not self._is_opened):
            # Before the video is open, the decoder's own watchdog counts.
            self._send(Heartbeat())
        else:
            return
        self._frames_sent, self._steps_sent, self._sent_s = frames, self._steps, now


def main() -> None:
    """Serve a parent process over the link whose descriptor is the first argument."""
    link = Connection(int(sys.argv[1]))
    inbox: Inbox = queue.Queue()
    lock = threading.Lock()

    def read() -> None:
        # Runs beside the work: a parent that died must end this process in the middle of a video.
        while True:
            try:
                inbox.put(link.recv())
            except (EOFError, OSError):
                os._exit(1)

    def send(message: FromWorker) -> None:
        with lock:
            try:
                link.send(message)
            except OSError:
                os._exit(1)

    threading.Thread(target=read, name="link", daemon=True).start()
    serve(inbox, send)


if __name__ == "__main__":
    main()
