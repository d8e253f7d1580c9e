"""Where ids change, and what right ids would give: CLEAR MOT's switches by kind, late starts, and the ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Ids

MATCH_IOU = 0.5
SHORT_GAP_S = 1.0
"""A new id after a longer time without any is a long gap."""
LATE_S = 0.25
"""Whoever gets the first id later than this after the first annotated frame is a late start."""
_EPS = np.finfo(float).eps


@dataclass(frozen=True)
class IdEvents:
    """Counts over some videos; the four kinds add up to the identity switches of CLEAR MOT.

    Attributes:
        crossing: An id that somebody else had before.
        short_gap: A new id, at most a second after the last one.
        long_gap: A new id after a longer time without any.
        returning: An id that the same person had before the last one.
        late: People whose first id comes more than a quarter of a second after their first annotated frame.
        found: People who have an id at all.
    """

    crossing: int = 0
    short_gap: int = 0
    long_gap: int = 0
    returning: int = 0
    late: int = 0
    found: int = 0

    def __add__(self, other: "IdEvents") -> "IdEvents":
        return IdEvents(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def switches(self) -> int:
        """Identity switches of all kinds."""
        return self.crossing + self.short_gap + self.long_gap + self.returning


@dataclass(frozen=True)
class Matched:
    """The boxes of one video, matched frame by frame as CLEAR MOT does, at an IoU of 0.5.

    Attributes:
        people: Of each frame, `[G]` numbers of the annotated people.
        tracks: Of each frame, `[P]` numbers of the predicted tracks.
        person_of: Of each frame, `[P]` the number of the person that a box is matched to; -1: nobody.
    """

    people: list[Ids]
    tracks: list[Ids]
    person_of: list[Ids]

    def right_ids(self) -> list[Ids]:
        """Return the ids of each frame if all boxes of a person had one; others keep theirs, apart from those."""
        people = 1 + max((int(ids.max(initial=-1)) for ids in self.people), default=-1)
        return [
            np.where(person >= 0, person, people + track)
            for person, track in zip(self.person_of, self.tracks, strict=True)
        ]


def match_frames(people: Sequence[Ids], tracks: Sequence[Ids], overlaps: Sequence[Doubles]) -> Matched:
    """Match annotated people to predicted boxes; who had a box's track in the frame before keeps it.

    Args:
        people: Of each frame, `[G]` numbers from 0 of the annotated people.
        tracks: Of each frame, `[P]` numbers from 0 of the predicted tracks.
        overlaps: Of each frame, `[G, P]` intersection over union.
    """
    from scipy.optimize import linear_sum_assignment

    before = np.full(1 + max((int(ids.max(initial=-1)) for ids in people), default=-1), -1)
    person_of = []
    for mine, theirs, overlap in zip(people, tracks, overlaps, strict=True):
        found = np.full(len(theirs), -1)
        if overlap.size:
            value = np.where(overlap < MATCH_IOU - _EPS, 0, overlap + 1000 * (before[mine][:, None] == theirs))
            rows, columns = linear_sum_assignment(value, maximize=True)
            real = value[rows, columns] > 0
            found[columns[real]] = mine[rows[real]]
        if len(mine) and len(theirs):
            before[:] = -1
            before[found[found >= 0]] = theirs[found >= 0]
        person_of.append(found)
    return Matched(list(people), list(tracks), person_of)


def count_events(matched: Matched, time_s: Doubles) -> IdEvents:
    """Count the events of one video.

    Args:
        matched: Its boxes.
        time_s: Of each frame, seconds.
    """
    counts = dict.fromkeys(("crossing", "short_gap", "long_gap", "returning"), 0)
    owner: dict[int, int] = {}  # of each track: the person whom it was matched to last
    had: dict[int, list[int]] = {}  # of each person: the tracks, the last one at the end
    appeared: dict[int, float] = {}
    started: dict[int, float] = {}
    last_s: dict[int, float] = {}
    for people, tracks, person_of, at_s in zip(
        matched.people, matched.tracks, matched.person_of, time_s.tolist(), strict=True
    ):
        for person in people.tolist():
            appeared.setdefault(person, at_s)
        pairs = [(p, t) for p, t in zip(person_of.tolist(), tracks.tolist(), strict=True) if p >= 0]
        for person, track in pairs:
            started.setdefault(person, at_s)
            past = had.setdefault(person, [])
            if past and past[-1] != track:
                if owner.get(track, person) != person:
                    kind = "crossing"
                elif track in past:
                    kind = "returning"
                else:
                    kind = "short_gap" if at_s - last_s[person] <= SHORT_GAP_S else "long_gap"
                counts[kind] += 1
            if not past or past[-1] != track:
                past.append(track)
            last_s[person] = at_s
        owner.update((track, person) for person, track in pairs)
    late = sum(at_s - appeared[person] > LATE_S + 1e-6 for person, at_s in started.items())
    return IdEvents(**counts, late=late, found=len(started))
