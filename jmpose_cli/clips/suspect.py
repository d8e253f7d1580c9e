"""What may be wrong in a clip: a suspicion with its place, its weight and what to try."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jmpose_cli.choices import SuspectKind
from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools, Ids

PERSON_WEIGHT = 6.0
"""Joints that a wrong id counts for."""
LEAST_LIKELY = 0.25
"""Severity from which on suspects about people are told."""
MOST_NAMED = 6
"""Joints that a sentence names."""


@dataclass(frozen=True)
class Suspect:
    """Something that may be wrong.

    Attributes:
        kind: What it is.
        frames: Numbers of its first and last frame.
        tracks: Ids of the tracks concerned.
        joints: Names of the joints concerned; none where it is about whole people.
        severity: How likely it is an error, 0..1, comparable across kinds.
        reason: A sentence.
        remedy: Options of `jmpose edit` to try; empty where only a look helps.
        at: Number of the frame to look at first.
        numbers: `[n]` numbers of the frames in which something is to be seen.
        weights: `[n]` errors to be expected in each of them.
    """

    kind: SuspectKind
    frames: tuple[int, int]
    tracks: tuple[int, ...]
    joints: tuple[str, ...]
    severity: float
    reason: str
    remedy: str
    at: int
    numbers: Ids = field(repr=False, compare=False)
    weights: Doubles = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they stand in `check.json`."""
        return {
            "kind": self.kind,
            "frames": list(self.frames),
            "at": self.at,
            "tracks": list(self.tracks),
            "joints": list(self.joints),
            "severity": round(self.severity, 3),
            "reason": self.reason,
            "try": self.remedy,
        }


def suspect(
    kind: SuspectKind,
    numbers: Ids,
    weights: Doubles,
    *,
    tracks: Iterable[int],
    severity: float,
    reason: str,
    remedy: str = "",
    joints: Iterable[str] = (),
    at: int | None = None,
) -> Suspect:
    """Make a suspect from the frames in which it is seen; look first `at` one, or at that of the greatest weight."""
    return Suspect(
        kind=kind,
        frames=(int(numbers.min()), int(numbers.max())),
        tracks=tuple(int(track) for track in tracks),
        joints=tuple(joints),
        severity=float(np.clip(severity, 0.0, 1.0)),
        reason=reason,
        remedy=remedy,
        at=int(numbers[np.argmax(weights)]) if at is None else int(at),
        numbers=numbers,
        weights=weights,
    )


def runs_of(marked: Bools, together: Bools) -> list[tuple[int, int]]:
    """Find the runs of marked rows.

    Args:
        marked: `[N]`.
        together: `[N]` the row continues that before it.

    Returns:
        First row and the row after the last one, of each run.
    """
    if not marked.any():
        return []
    before = np.concatenate([[False], marked[:-1]])
    after = np.concatenate([marked[1:], [False]])
    goes_on = np.concatenate([together[1:], [False]])
    starts = np.flatnonzero(marked & ~(before & together))
    ends = np.flatnonzero(marked & ~(after & goes_on)) + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def joint_list(names: Iterable[str]) -> str:
    """Name joints in a sentence."""
    words = [name.replace("_", " ") for name in names]
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    shown = words[:MOST_NAMED]
    if len(shown) < 2 or more:
        return ", ".join(shown) + more
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def frame_list(first: int, last: int) -> str:
    """Name frames in a sentence."""
    return f"frame {first}" if first == last else f"frames {first} to {last}"
