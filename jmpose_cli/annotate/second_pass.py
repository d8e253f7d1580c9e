"""What of a video can be told only when all of it is known: smoothed joints, and whom to keep of many."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jmpose_cli.config import InferConfig
from jmpose_cli.people.limit import PeopleLimit
from jmpose_cli.people.stitch import Identities
from jmpose_cli.pose.spool import PoseSpool
from jmpose_cli.values import FramePoses


def needs_all(config: InferConfig) -> bool:
    """Whether no frame is finished before all of them are known."""
    return config.pose.smooth or config.people.max_people is not None


class SecondPass:
    """Takes all frames of a video in order, then gives them finished. A context manager; the file is gone at its end.

    Args:
        config: The settings.
        path: Scratch file, created anew.
        joints: K, joints a person.
    """

    def __init__(self, config: InferConfig, path: Path, *, joints: int) -> None:
        self._cutoff_hz = config.pose.smooth_cutoff_hz if config.pose.smooth else None
        most = config.people.max_people
        self._limit = None if most is None else PeopleLimit(most)
        self._spool = PoseSpool(path, joints=joints)

    def __enter__(self) -> Self:
        self._spool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.__exit__(kind, error, trace)

    def add(self, poses: FramePoses) -> None:
        """Take the next frame."""
        self._spool.write(poses)
        if self._limit is not None:
            self._limit.add(poses.people)

    def finished(self, ending: dict[str, Any]) -> Iterator[FramePoses]:
        """Yield all frames in order.

        Args:
            ending: What is known of the whole video, as `stages.tracked` gives it.
        """
        frames = self._spool.again(cutoff_hz=self._cutoff_hz)
        return frames if self._limit is None else self._limit.keep(frames, identities_in(ending))


def identities_in(ending: dict[str, Any]) -> Identities | None:
    """Return who the tracks of a video are; None where nobody asked."""
    given = ending.get("identities")
    return None if given is None else Identities.from_json(given)
