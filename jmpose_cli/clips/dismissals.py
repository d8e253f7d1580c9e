"""Suspects that somebody has looked at and found right: they are told no more."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from jmpose_cli.choices import SuspectKind
from jmpose_cli.clips.operation import ALL, Clip, FrameRange, Operation, TrackId, places, rows_within, text_of
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.formats.truth import Roster, Truth
from jmpose_cli.values import Ids


class Dismiss(Operation):
    """What is suspicious there is right as it is; nothing changes but what `jmpose check` and the page tell.

    Attributes:
        tracks: Suspects about these tracks and no others.
        kind: Of this kind and about all of the tracks; None: of any kind, about any of them.
        frames: To be looked at in these frames.
    """

    op: Literal["dismiss"] = "dismiss"
    tracks: Annotated[tuple[TrackId, ...], Field(min_length=1, max_length=100)]
    kind: SuspectKind | None = None
    frames: FrameRange = ALL

    def reach(self, clip: Clip) -> Ids:
        """Return nobody."""
        return np.zeros(0, np.int64)

    def _apply(self, truth: Truth) -> Truth:
        places(truth, self.frames)
        for track in self.tracks:
            rows_within(truth, truth.roster, track, ALL)  # says what is not there
        return truth

    def __str__(self) -> str:
        what = self.kind or "everything"
        return f"{what} of {','.join(map(str, self.tracks))}{text_of(self.frames)} is right"

    def holds_for(self, suspect: Suspect) -> bool:
        """Whether it speaks of a suspect."""
        begin, end = self.frames
        if (begin is not None and suspect.at < begin) or (end is not None and suspect.at >= end):
            return False
        mine, its = set(self.tracks), set(suspect.tracks)
        return its <= mine if self.kind is None else self.kind == suspect.kind and its == mine


def still_suspicious(found: Iterable[Suspect], steps: Sequence[Sequence[Operation]]) -> list[Suspect]:
    """Leave out the suspects that steps of corrections have dismissed."""
    dismissed = [operation for step in steps for operation in step if isinstance(operation, Dismiss)]
    return [one for one in found if not any(operation.holds_for(one) for operation in dismissed)]


def right_tracks(people: Roster, steps: Sequence[Sequence[Operation]]) -> list[int]:
    """Return the tracks about which everything was dismissed, rising."""
    whole = (one for step in steps for one in step if isinstance(one, Dismiss) and one.kind is None)
    tracks = {track for one in whole if one.frames == ALL for track in one.tracks}
    return sorted(track for track in tracks if (people.track_ids == track).any())
