"""What a decoding child keeps of a video between jobs, so that a seek does not open it anew."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jmpose_cli.video.container import Probe
from jmpose_cli.video.key_groups import KeyGroup
from jmpose_cli.video.messages import Job


class Replay:
    """Key groups that are read once and can be gone through again and again.

    Args:
        groups: From `key_groups`.
    """

    def __init__(self, groups: Iterator[KeyGroup | None]) -> None:
        self._rest = groups
        self._read: list[KeyGroup] = []

    def __iter__(self) -> Iterator[KeyGroup | None]:
        yield from self._read
        for group in self._rest:
            if group is not None:
                self._read.append(group)
            yield group


@dataclass
class KeptFile:
    """A video file, as far as it was opened.

    Attributes:
        found: The probe.
        groups: Its key groups; after an error in them, the whole is to be forgotten.
        reader: decord's.
    """

    found: Probe | None = None
    groups: Replay | None = None
    reader: Any = None


class LastFile:
    """Keeps the file of the last job that wants that."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._file = KeptFile()

    def of(self, job: Job) -> KeptFile:
        """Return what is kept of a job's file; nothing where it is another one, or has changed."""
        key = _key(job) if job.keep_open else None
        if key is None or key != self._key:
            self.forget()
        self._key = key
        return self._file

    def forget(self) -> None:
        """Close it."""
        self._key, self._file = None, KeptFile()


def _key(job: Job) -> tuple[Any, ...] | None:
    try:
        facts = os.stat(job.path)
    except OSError:
        return None
    read_as = job.decoder, job.stream, job.fps, job.max_megapixels, job.whole_groups
    return (job.path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, *read_as)
