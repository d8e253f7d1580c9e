"""The child process that decodes one video: `python -m jmpose_cli.video.child LINK RING`.

LINK is the descriptor of a duplex connection to the parent, RING that of the shared memory for frames. The parent
sends a `Job`, then one empty message for each frame that it has copied out of the ring, or `ENOUGH`; the child answers
as in `messages`, and then waits for another job.

The child ends when the parent closes the link or dies, and when it makes no step for longer than the parent would wait:
the alarm clock of the kernel kills it even while a decoder hangs inside native code with the interpreter locked.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from time import monotonic

from jmpose_cli.errors import JmposeError
from jmpose_cli.machine import explain
from jmpose_cli.video.container import Probe, probe
from jmpose_cli.video.decord_reader import read_with_decord
from jmpose_cli.video.kept_file import KeptFile, LastFile
from jmpose_cli.video.messages import (
    ENOUGH,
    Alive,
    ChildMessage,
    DecoderGaveUpError,
    DecoderName,
    Failed,
    Finished,
    FrameReady,
    Job,
    Opened,
    Passed,
    Position,
)
from jmpose_cli.video.pyav_reader import read_with_pyav
from jmpose_cli.video.reading import Clock, Picture, ReadingNotes, describe_damage
from jmpose_cli.video.ring import FrameRing

GRACE_S = 5.0  # the parent, which has the better message, is to act first
_POLL_S = 1.0

Reader = Callable[[Job, KeptFile, Probe, ReadingNotes, "Outlet"], Iterator[Picture | None]]


class _EnoughError(Exception):
    """The parent wants no more frames."""


class Outlet:
    """The child's end of the link: sends messages, and knows how many frames the ring has room for.

    Args:
        link: Connection to the parent.
        stall_timeout_s: Longest time between two steps of the decoder.
    """

    def __init__(self, link: Connection, *, stall_timeout_s: float) -> None:
        self._link = link
        self._alarm_s = stall_timeout_s + GRACE_S
        self._parent = os.getppid()
        self._free = 0
        self._last_sent_s = monotonic()
        self.capacity = 0
        self.step()

    def step(self) -> None:
        """Put off the alarm, and tell the parent now and then: the decoder is alive."""
        signal.setitimer(signal.ITIMER_REAL, self._alarm_s)
        if monotonic() - self._last_sent_s > _POLL_S:
            self.send(Alive())

    def send(self, message: ChildMessage) -> None:
        """Send a message to the parent."""
        self._link.send(message)
        self._last_sent_s = monotonic()

    def open_ring(self, descriptor: int, found: Probe) -> FrameRing:
        """Set the size of the ring."""
        ring = FrameRing(descriptor, height=found.info.height, width=found.info.width)
        self.capacity = self._free = ring.slots
        return ring

    def wait_for_room(self, frames: int) -> None:
        """Return when the ring has room for so many frames.

        Raises:
            EOFError: The parent is gone.
            _EnoughError: It wants no more.
        """
        while self._free < frames or self._link.poll():
            self._listen()

    def _listen(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._alarm_s)
        if self._link.poll(_POLL_S):
            if self._link.recv_bytes() == ENOUGH:
                raise _EnoughError
            self._free += 1
        elif os.getppid() != self._parent:  # a process forked from the parent may keep the link open
            raise EOFError

    def fill_slot(self) -> None:
        """Count a slot as used."""
        self._free -= 1


def _decord(job: Job, file: KeptFile, found: Probe, notes: ReadingNotes, outlet: Outlet) -> Iterator[Picture | None]:
    return read_with_decord(job, file, found, notes, capacity=outlet.capacity, wait_for_room=outlet.wait_for_room)


def _pyav(job: Job, file: KeptFile, found: Probe, notes: ReadingNotes, outlet: Outlet) -> Iterator[Picture | None]:
    return read_with_pyav(job, found, notes)


READERS: dict[DecoderName, Reader] = {"decord": _decord, "pyav": _pyav}


def _decode(job: Job, file: KeptFile, descriptor: int, outlet: Outlet) -> Finished:
    """Send the frames of the selection; return how it ended."""
    found = file.found or probe(
        job.path, decoder=job.decoder, fps=job.fps, number=job.stream, max_megapixels=job.max_megapixels
    )
    file.found = found
    job = replace(job, selection=job.selection.on_clock(found.begin_s))
    ring = outlet.open_ring(descriptor, found)
    outlet.send(Opened(found.info))
    clock = Clock(found.time_base, found.info.fps, last_s=job.after.time_s if job.after else None)
    notes = ReadingNotes(remarks=list(found.remarks))
    sent = 0
    is_complete = True
    for picture in READERS[job.decoder](job, file, found, notes, outlet):
        outlet.step()
        if picture is None:
            continue
        time_s = clock.stamp(picture.pts) if found.has_clock else clock.count(picture.index)
        if job.selection.is_past(picture.index, time_s):
            is_complete = False
            break
        if not job.selection.takes(picture.index, time_s):
            continue
        at = Position(picture.index, picture.pts, time_s)
        if picture.index < job.deliver_from:
            outlet.send(Passed(at))
            continue
        outlet.wait_for_room(1)
        picture.paint(ring.slot(sent))
        outlet.fill_slot()
        outlet.send(FrameReady(at))
        sent += 1
    return Finished(
        frames_in_file=notes.frames if is_complete else None,
        last_time_s=None if clock.last_s is None else clock.last_s - found.begin_s,
        remarks=(*notes.remarks, *describe_damage(found, notes, clock, is_complete=is_complete)),
    )


def _last_words(job: Job, last: LastFile, descriptor: int, outlet: Outlet) -> Finished | Failed:
    """Decode; return the last message, also of a failure."""
    try:
        return _decode(job, last.of(job), descriptor, outlet)
    except _EnoughError:
        return Finished(frames_in_file=None, last_time_s=None)
    except Exception as error:
        last.forget()
        return _failure(job, error)


def _failure(job: Job, error: Exception) -> Failed:
    """Put an error into words; raise it again where the parent is gone."""
    if isinstance(error, DecoderGaveUpError):
        return Failed("decoder", str(error))
    if isinstance(error, JmposeError):
        return Failed("file", error.message, error.hint)
    if isinstance(error, BrokenPipeError | ConnectionResetError | EOFError):
        raise error
    # Whatever it is, the parent is to know, and may have another decoder.
    if explained := explain(error):
        return Failed("file", f"{job.path}: {explained.message}", explained.hint)
    return Failed("fault", f"it failed in an unexpected way ({type(error).__name__}: {error})")


def _next_job(link: Connection) -> Job:
    """Wait for a job; raise EOFError when the parent is gone."""
    parent = os.getppid()
    signal.setitimer(signal.ITIMER_REAL, 0)  # the next job may be long in coming
    while True:
        while not link.poll(_POLL_S):
            if os.getppid() != parent:  # a process forked from the parent may keep the link open
                raise EOFError
        message = link.recv_bytes()
        if message not in (b"", ENOUGH):  # those are late words on the job before
            job: Job = pickle.loads(message)
            return job


def main(link_descriptor: int, ring_descriptor: int) -> None:
    """Run jobs for the parent at the other end of the link, one after the other, until it closes the link."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the link
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # Ctrl-Z too: the alarm would run on while this process is stopped
    link, last = Connection(link_descriptor), LastFile()
    try:
        while True:
            job = _next_job(link)
            outlet = Outlet(link, stall_timeout_s=job.stall_timeout_s)
            outlet.send(_last_words(job, last, ring_descriptor, outlet))
    except (BrokenPipeError, ConnectionResetError, EOFError):
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
