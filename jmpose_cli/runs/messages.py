"""The messages between the coordinator and its workers."""

import queue
from dataclasses import dataclass
from typing import Any

from jmpose_cli.annotate.task import ClipSummary, ClipTask
from jmpose_cli.config import InferConfig


@dataclass(frozen=True)
class SetUp:
    """To a worker, first: load the networks.

    Attributes:
        config: The settings, with the worker's own device.
        workers_here: Workers that share this machine's cores.
    """

    config: InferConfig
    workers_here: int


@dataclass(frozen=True)
class Process:
    """To a worker: process a video."""

    task: ClipTask


@dataclass(frozen=True)
class Stop:
    """To a worker: commit what is done of the video in progress, and leave it."""


@dataclass(frozen=True)
class Ready:
    """From a worker: the networks are loaded.

    Attributes:
        header: Device, model, people, for the user.
        weights: Name and sha256 of each file that decides results.
    """

    header: dict[str, str]
    weights: dict[str, dict[str, str | None]]


@dataclass(frozen=True)
class NotReady:
    """From a worker, last: the networks cannot be loaded."""

    message: str
    hint: str


@dataclass(frozen=True)
class Opened:
    """The video in progress has about `total` frames, of which `done` were done before."""

    total: int | None
    done: int


@dataclass(frozen=True)
class Advanced:
    """More frames of the video in progress are done, with so many people in the last one."""

    frames: int
    people: int


@dataclass(frozen=True)
class Noted:
    """Something that the user should know at once."""

    text: str


@dataclass(frozen=True)
class Heartbeat:
    """No frame is done since the last message, but the worker is working."""


@dataclass(frozen=True)
class Done:
    """The video's results are complete."""

    summary: ClipSummary


@dataclass(frozen=True)
class Failed:
    """The video cannot be processed.

    Attributes:
        message: Why.
        hint: What to do about it.
        trace: Where it happened, for `--verbose`.
        stops_run: Every other video would fail likewise.
        needs_new_worker: The worker may be damaged.
        keeps_work: What is done of it may be right, and `--retry-failed` is to resume there.
    """

    message: str
    hint: str
    trace: str = ""
    stops_run: bool = False
    needs_new_worker: bool = False
    keeps_work: bool = False


@dataclass(frozen=True)
class Stopped:
    """The video was left; so many of its frames are committed."""

    frames: int


@dataclass(frozen=True)
class Died:
    """In place of a worker that is gone: how it ended.

    Attributes:
        reason: A clause, such as "it was killed by signal 9 (Killed)".
    """

    reason: str


ToWorker = SetUp | Process | Stop
Inbox = queue.Queue[Any]  # of ToWorker, and None at the end
FromWorker = Ready | NotReady | Opened | Advanced | Noted | Heartbeat | Done | Failed | Stopped | Died
