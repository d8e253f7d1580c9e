"""What a run did at the end of a clip and is not sure of: tracks joined as one person, and tracks that changed.

Ends that are joined are not asked about as lost ids: of those joined with certainty nothing is said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.clips.suspect import LEAST_LIKELY, PERSON_WEIGHT, Suspect, suspect
from jmpose_cli.clips.tracks import Tracks
from jmpose_cli.people.stitch import Join

WRONG_AT_LEAST, LEAST_ODDS, ODDS_SCALE = 0.8, 2.5, 1.2
"""How likely a join is wrong whose odds (logarithm) are just enough, those odds, and by how much more they must be for
a third of it. Of joins on the sequences of `docs/identity.md`, 4 of 4 below 3.6 were wrong, and 1 of 6 above."""
CHANGED = 0.6
"""How likely it is that a track shows another person where the looks said so."""


@dataclass(frozen=True)
class Link:
    """Rows of two tracks between which one person is taken to go on.

    Attributes:
        end: The last row of the one.
        start: The first row of the other.
        odds: Logarithm of the odds of the join.
    """

    end: int
    start: int
    odds: float


def links_of(tracks: Tracks, joins: Sequence[Join]) -> list[Link]:
    """Return the joins that still hold."""
    odds: dict[tuple[int, int], float] = {}
    for join in joins:
        pair = join.first, join.second
        odds[pair] = min(join.odds, odds.get(pair, np.inf))
    order = np.lexsort((tracks.place, tracks.who))
    end, start = order[:-1], order[1:]
    passes = (tracks.who[end] == tracks.who[start]) & (tracks.ids[end] != tracks.ids[start])
    passes &= tracks.place[end] < tracks.place[start]
    found = []
    for a, b in zip(end[passes].tolist(), start[passes].tolist(), strict=True):
        pair = int(tracks.ids[a]), int(tracks.ids[b])
        if pair in odds:
            found.append(Link(a, b, odds[pair]))
    return found


def doubtful_joins(tracks: Tracks, links: Sequence[Link]) -> Iterator[Suspect]:
    """Joins that were only just likely enough."""
    for link in links:
        likely = float(WRONG_AT_LEAST * np.exp((LEAST_ODDS - link.odds) / ODDS_SCALE))
        if likely < LEAST_LIKELY:
            continue
        a, b = int(tracks.ids[link.end]), int(tracks.ids[link.start])
        numbers = tracks.number[[link.end, link.start]]
        gap_s = tracks.time[link.start] - tracks.time[link.end]
        yield suspect(
            "shared",
            numbers,
            np.full(2, likely * PERSON_WEIGHT),
            tracks=(a, b),
            severity=likely,
            reason=f"Track {a} up to frame {numbers[0]} and track {b} from frame {numbers[1]} on, {gap_s:.1f} s later, "
            "were taken to be one person, with little to spare: it may be another one.",
            remedy=f"--split {b}@{numbers[1]}",
            at=int(numbers[1]),
        )


def changed_tracks(tracks: Tracks, told: Sequence[Suspect]) -> Iterator[Suspect]:
    """Tracks that show another person from a frame on, as their looks have told.

    Args:
        tracks: The rows.
        told: Suspects about tracks of two people; what they have told of within a second is not told again.
    """
    if len(tracks) < 2:
        return
    places = np.flatnonzero((tracks.ids[1:] == tracks.ids[:-1]) & (tracks.who[1:] != tracks.who[:-1])) + 1
    known = [(one.tracks, int(np.searchsorted(tracks.index, one.at))) for one in told]
    near = tracks.steps(1.0)
    done: set[int] = set()
    for row in places.tolist():
        track, place, number = int(tracks.ids[row]), int(tracks.place[row]), int(tracks.number[row])
        if row in done or any(track in its and abs(at - place) <= near for its, at in known):
            continue
        others = [
            other
            for other in places.tolist()
            if abs(tracks.place[other] - place) <= near
            and (tracks.who[other], tracks.who[other - 1]) == (tracks.who[row - 1], tracks.who[row])
        ]
        done.update(others)
        other = int(tracks.ids[others[0]]) if others else None
        with_it = "" if other is None else f", and track {other} the one of track {track}"
        yield suspect(
            "shared",
            np.array([number]),
            np.array([CHANGED * PERSON_WEIGHT]),
            tracks=(track,) if other is None else (track, other),
            severity=CHANGED,
            reason=f"Track {track} shows another person from frame {number} on, by the looks{with_it}.",
            remedy=f"--split {track}@{number}" if other is None else f"--swap {track},{other}@{number}:",
            at=number,
        )
