"""At the end of a clip: tracks that changed from one person to another are split, and those of one person joined.

In the manner of GTA-Link (Sun et al., 2024), with odds in place of thresholds: appearance, motion and size each say how
much likelier it is that two pieces show one person than that the second one is anybody else. Nobody is at two places at
once, and nobody is faster than people are. A wrong join is worse than a missing one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from jmpose_cli.formats.records import Doubles
from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.people.boxes import overlaps
from jmpose_cli.values import Bools, Float, Ids

LONGEST_ABSENCE_S = 60.0
"""Absences after which people are not recognised."""
_AT_ONCE, _FASTEST = 0.5, 4.0  # body heights that people move at most: without delay, and in each second of an absence
_BRIEF_S = 1.0  # absences over which motion alone may tell
_LOOK_S = 0.5  # over which speed and height are measured at the ends of a part
_CROPS, _ENOUGH_CROPS = 20, 3  # clean crops nearest to an end that tell what somebody looks like there: most, fewest
_RECOGNISED_CROPS = 5  # fewest of a part that is recognised after more than a moment
_MEETING_OVERLAP, _APART_OVERLAP = 0.3, 0.1  # from which on people meet, and up to which they are surely two
_MOMENT_S = 0.2  # gaps from which on a track may have been handed on
_SIDE_S = 2.0  # time on both sides of such a place in which looks are compared
_ANOTHER = -0.5  # evidence that it was
# By so much is somebody off the way expected (body heights) and the height expected (logarithm), at once, more in each
# second of an absence, and at most; and how much the heights of people differ.
_STANDING_STILL, _DRIFT_PER_S, _MOST_DRIFT = 0.15, 0.5, 4.0
_SIZE, _SIZE_PER_S, _MOST_SIZE, _ANY_SIZE = 0.12, 0.05, 0.4, 0.5
_COASTING_S = 0.8
_ELSEWHERE_S = 4.0  # time of an absence in which two thirds may be anywhere
# Logarithms of odds: of looks that are certain, of motion at most, of a newcomer being somebody known; what a join
# needs, and without looks; and by how much it must be ahead of others.
_APPEARANCE_ODDS, _MOST_MOTION_ODDS, _PRIOR_ODDS = 6.0, 5.0, -1.5
_NEEDED_ODDS, _NEEDED_ODDS_ALONE, _AHEAD = 2.5, 2.8, 1.0


@dataclass(frozen=True)
class Sightings:
    """Where tracks were seen, row by row, in the order of time.

    Attributes:
        track: `[N]` ids.
        segment: `[N]` hard cuts before.
        frame: `[N]` frame numbers.
        time_s: `[N]`.
        boxes: `[N, 4]` in square pixels, of the first frame of the segment where the camera moves.
        look: `[N]` rows of `looks`; -1 where there is no clean crop.
        looks: `[M, D]` unit vectors of clean crops.
        size: Width and height of the picture in the same pixels.
    """

    track: Ids
    segment: Ids
    frame: Ids
    time_s: Doubles
    boxes: Doubles
    look: Ids
    looks: Float
    size: tuple[float, float]

    def mean_looks(self, rows: Ids, *, least: int = 1) -> Float | None:
        """Return the unit mean `[D]` of the looks of some rows; None where there are fewer than `least`."""
        known = self.look[rows][self.look[rows] >= 0]
        if len(known) < least:
            return None
        mean: Float = self.looks[known].astype(np.float32).mean(0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)


@dataclass(frozen=True)
class Join:
    """Two pieces of tracks that were taken to be one person.

    Attributes:
        first: Track of the earlier piece.
        second: Track of the later one.
        frame: First frame of the later piece.
        gap_s: Time between them.
        odds: Logarithm of how much likelier one person is than two, all in all.
        appearance: What looks contribute to it; None where they are not known.
        motion: What the way and the size contribute.
    """

    first: int
    second: int
    frame: int
    gap_s: float
    odds: float
    appearance: float | None
    motion: float


@dataclass(frozen=True)
class Piece:
    """Who a track is from a frame on, up to its next piece.

    Attributes:
        track: Its id.
        frame: First frame.
        identity: Who it is.
    """

    track: int
    frame: int
    identity: int


@dataclass(frozen=True)
class Identities:
    """Who the tracks of a clip are.

    Attributes:
        pieces: In the order of tracks and frames.
        joins: Why pieces were joined.
        splits: Track and frame where it was split.
    """

    pieces: tuple[Piece, ...]
    joins: tuple[Join, ...] = ()
    splits: tuple[tuple[int, int], ...] = ()

    def of(self, tracks: Ids, frames: Ids) -> Ids:
        """Return who tracks `[N]` are in frames `[N]`; those that are not among the pieces are themselves."""
        found = tracks.copy()
        for piece in self.pieces:  # later pieces of a track come later
            found[(tracks == piece.track) & (frames >= piece.frame)] = piece.identity
        return found

    @property
    def changes_nothing(self) -> bool:
        """Whether every track is a person of its own."""
        return not self.joins and not self.splits

    def as_json(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return orjson.loads(orjson.dumps(self))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "Identities":
        """Read what `as_json` gave."""
        pieces, joins = (tuple(kind(**one) for one in given[n]) for kind, n in ((Piece, "pieces"), (Join, "joins")))
        return cls(pieces, joins, tuple((track, frame) for track, frame in given["splits"]))  # type: ignore[arg-type]


def stitch(seen: Sightings, scale: AppearanceScale | None) -> Identities:
    """Find out which tracks are one person.

    Args:
        seen: All tracks of the clip.
        scale: How to read the looks; None where there are none.
    """
    parts: list[_Part] = []
    splits: list[tuple[int, int]] = []
    met = _meetings(seen)
    order = np.argsort(seen.track, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(seen.track[order])) + 1):
        if len(rows):
            places = _changes(seen, rows, met, scale)
            splits += [(int(seen.track[rows[0]]), int(seen.frame[rows[place]])) for place in places]
            parts += [_Part(piece) for piece in np.split(rows, places)]
    joins = _joined(seen, parts, scale)
    return Identities(_numbered(seen, parts, joins), tuple(join for join, *_ in joins), tuple(splits))


def _numbered(seen: Sightings, parts: Sequence["_Part"], joins: Iterable[tuple[Join, int, int]]) -> tuple[Piece, ...]:
    """Number people by their first track; those who begin inside one, with the first number that is free."""
    person = list(range(len(parts)))
    for _, first, second in joins:
        person = [person[first] if one == person[second] else one for one in person]
    free = int(seen.track.max(initial=0)) + 1
    taken: set[int] = set()
    identity: dict[int, int] = {}
    for place in sorted(range(len(parts)), key=lambda place: int(parts[place].rows[0])):
        if person[place] in identity:
            continue
        track = int(seen.track[parts[place].rows[0]])
        if track in taken:
            track, free = free, free + 1
        taken.add(track)
        identity[person[place]] = track
    pieces = [
        Piece(int(seen.track[part.rows[0]]), int(seen.frame[part.rows[0]]), identity[person[place]])
        for place, part in enumerate(parts)
    ]
    return tuple(sorted(pieces, key=lambda piece: (piece.track, piece.frame)))


class _Part:
    """Sightings of one track between two splits.

    Attributes:
        rows: Places in the sightings, rising.
    """

    def __init__(self, rows: Ids) -> None:
        self.rows = rows

    def end(self, seen: Sightings, side: int) -> "_End":
        """Tell what it is like at its beginning (side 1) or end (side -1)."""
        rows = self.rows[::side]
        away = side * (seen.time_s[rows] - seen.time_s[rows[0]])
        boxes = seen.boxes[rows[away <= _LOOK_S + 1e-6]]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        lasts = float(away[len(boxes) - 1])
        speed = side * (centres[-1] - centres[0]) / lasts if lasts > 0 else np.zeros(2)
        looks = seen.mean_looks(rows[seen.look[rows] >= 0][:_CROPS], least=_ENOUGH_CROPS)
        height = float(np.median(boxes[:, 3] - boxes[:, 1]))
        return _End(float(seen.time_s[rows[0]]), centres[0], speed, max(height, 1e-3), looks)


@dataclass(frozen=True)
class _End:
    """What somebody is like at one end of a part: time, place, speed in pixels a second, height, looks."""

    time_s: float
    centre: Doubles
    speed: Doubles
    height: float
    looks: Float | None


def _changes(seen: Sightings, rows: Ids, met: Doubles, scale: AppearanceScale | None) -> list[int]:
    """Return places in a track's rows from which on it shows somebody else, by the looks before and after meetings."""
    if scale is None:
        return []
    found: list[int] = []
    time_s, clean = seen.time_s[rows], np.asarray(seen.look[rows] >= 0)
    for place in _doubtful_places(time_s, met[rows]):
        first = found[-1] if found else 0
        before = np.flatnonzero(clean[first:place])[-_CROPS:] + first
        after = np.flatnonzero(clean[place:])[:_CROPS] + place
        before = before[time_s[before] >= time_s[place] - _SIDE_S]
        after = after[time_s[after] <= time_s[place] + _SIDE_S]
        old, new = (seen.mean_looks(rows[side], least=_ENOUGH_CROPS) for side in (before, after))
        if old is not None and new is not None and float(scale.evidence(float(old @ new))) < _ANOTHER:
            found.append(place)
    return found


def _doubtful_places(time_s: Doubles, met: Doubles) -> list[int]:
    """Return places in a track where it may have been handed on: where meetings are closest, and after gaps."""
    places = []
    steps = np.diff(time_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    close = met > _MEETING_OVERLAP
    edges = np.flatnonzero(np.diff(np.concatenate([[False], close, [False]])))
    places += [int(a + np.argmax(met[a:b])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    places += (np.flatnonzero(steps > max(_MOMENT_S, 2.5 * usual)) + 1).tolist()
    return sorted(set(places) - {0})


def _meetings(seen: Sightings) -> Doubles:
    """Return `[N]` the largest overlap of each box with another of its frame."""
    met = np.zeros(len(seen.track))
    for rows in _by_frame(seen):
        if len(rows) > 1:
            overlap = overlaps(seen.boxes[rows], seen.boxes[rows])
            np.fill_diagonal(overlap, 0.0)
            met[rows] = overlap.max(1)
    return met


def _joined(seen: Sightings, parts: Sequence[_Part], scale: AppearanceScale | None) -> list[tuple[Join, int, int]]:
    """Choose the joins, with the places of their parts."""
    ends, starts = ([part.end(seen, side) for part in parts] for side in (-1, 1))
    likeness = _Likeness(seen, parts)
    begin_s = np.array([start.time_s for start in starts])
    segment = np.array([seen.segment[part.rows[0]] for part in parts])
    found = []
    for i, end in enumerate(ends):
        gap_s = begin_s - end.time_s
        for j in np.flatnonzero((gap_s > 0) & (gap_s <= LONGEST_ABSENCE_S) & (segment == segment[i])).tolist():
            join = _join(seen, parts, (i, j), end, starts[j], scale, likeness)
            if join is not None:
                found.append((join, i, j))
    return _best(found, _impossible(ends, starts), likeness, -1.0 if scale is None else scale.known)


class _Likeness:
    """How alike parts look, all in all.

    Attributes:
        mean: `[P, D]` unit means of all their looks; zeros where there are too few.
        crops: `[P]` how many they are.
        cosine: `[P, P]`.
        strangers: `[P]` up to where looks like these are known to belong to two people: of all pairs that were seen at
            once, apart, the less alike one's cosine is highest.
    """

    def __init__(self, seen: Sightings, parts: Sequence[_Part]) -> None:
        nothing = np.zeros(seen.looks.shape[1], np.float32)
        found = [seen.mean_looks(part.rows, least=_ENOUGH_CROPS) for part in parts]
        self.mean = np.stack([nothing if mean is None else mean for mean in found]) if found else nothing[None][:0]
        self.crops = np.array([np.count_nonzero(seen.look[part.rows] >= 0) for part in parts])
        self.cosine = (self.mean @ self.mean.T).astype(np.float64)
        one, other = np.nonzero(np.triu(_seen_apart(seen, parts)))
        less = (np.minimum(row[one], row[other]).max(initial=-1.0) for row in self.cosine)
        self.strangers = np.fromiter(less, np.float64, len(parts))

    def between(self, some: Iterable[int], others: Iterable[int]) -> float:
        """Return the cosine of the means of two groups of parts."""
        one, other = (self.crops[list(group)] @ self.mean[list(group)] for group in (some, others))
        return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))


def _seen_apart(seen: Sightings, parts: Sequence[_Part]) -> Bools:
    """Return `[P, P]` which parts were seen at once, apart, and are surely two people."""
    together = np.zeros((len(parts), len(parts)), bool)
    part_of = np.zeros(len(seen.track), np.int64)
    for place, part in enumerate(parts):
        part_of[part.rows] = place
    for rows in _by_frame(seen):
        here = part_of[rows]
        together[here[:, None], here] |= overlaps(seen.boxes[rows], seen.boxes[rows]) < _APART_OVERLAP
    return together


def _impossible(ends: Sequence["_End"], starts: Sequence["_End"]) -> Bools:
    """Return `[P, P]` which parts cannot show one person: at one time, or too far apart."""
    if not ends:
        return np.zeros((0, 0), bool)
    gap_s = np.array([s.time_s for s in starts]) - np.array([e.time_s for e in ends])[:, None]
    way = np.array([s.centre for s in starts]) - np.array([e.centre for e in ends])[:, None]
    height = np.sqrt(np.array([s.height for s in starts]) * np.array([e.height for e in ends])[:, None])
    after = (gap_s > 0) & (np.linalg.norm(way, axis=2) <= height * (_AT_ONCE + _FASTEST * np.maximum(gap_s, 0)))
    return np.asarray(~(after | after.T))


def _join(
    seen: Sightings,
    parts: Sequence[_Part],
    places: tuple[int, int],
    end: _End,
    start: _End,
    scale: AppearanceScale | None,
    likeness: _Likeness,
) -> Join | None:
    """Tell the odds that two parts show one person; None where they are too low even for a rival."""
    gap_s = start.time_s - end.time_s
    height = float(np.sqrt(end.height * start.height))
    if np.linalg.norm(start.centre - end.centre) > height * (_AT_ONCE + _FASTEST * gap_s):
        return None
    i, j = places
    brief = gap_s <= _BRIEF_S
    appearance = None
    if brief and scale is not None and end.looks is not None and start.looks is not None:
        appearance = _APPEARANCE_ODDS * float(scale.evidence(float(end.looks @ start.looks)))
    elif not brief:
        if scale is None or likeness.crops[[i, j]].min() < _RECOGNISED_CROPS:
            return None
        strangers = float(likeness.strangers[[i, j]].max())
        appearance = _APPEARANCE_ODDS * float(scale.recognised(float(likeness.cosine[i, j]), strangers))
    motion = _motion_odds(seen, end, start, gap_s, height)
    odds = motion + (appearance or 0.0) + _PRIOR_ODDS
    if odds < (_NEEDED_ODDS_ALONE if appearance is None else _NEEDED_ODDS) - _AHEAD:
        return None
    one, other = (int(seen.track[parts[place].rows[0]]) for place in places)
    return Join(one, other, int(seen.frame[parts[j].rows[0]]), gap_s, odds, appearance, motion)


def _motion_odds(seen: Sightings, end: _End, start: _End, gap_s: float, height: float) -> float:
    """Compare where and how large somebody is with what the way there lets expect, and with anybody else."""
    coasting = _COASTING_S * (1 - np.exp(-gap_s / _COASTING_S))  # who is out of sight goes on for a while
    ahead = np.linalg.norm(start.centre - end.centre - coasting * end.speed)
    back = np.linalg.norm(end.centre - start.centre + coasting * start.speed)
    off = float(ahead + back) / 2 / height
    drift = min(_STANDING_STILL + _DRIFT_PER_S * gap_s, _MOST_DRIFT)
    places = max(seen.size[0] * seen.size[1] / height**2 / 2, 2.0)  # people are in about half of a picture
    place = float(np.log(places) - np.log(2 * np.pi * drift**2) - (off / drift) ** 2 / 2)
    if gap_s > _BRIEF_S:  # who has been away may come back anywhere, as may anybody
        anywhere = 1 - np.exp(-gap_s / _ELSEWHERE_S)
        place = float(np.logaddexp(np.log1p(-anywhere) + place, np.log(anywhere)))
    change = float(np.log(start.height / end.height))
    usual = min(_SIZE + _SIZE_PER_S * gap_s, _MOST_SIZE)
    size = float(np.log(_ANY_SIZE / usual) - change**2 / 2 * (1 / usual**2 - 1 / _ANY_SIZE**2))
    return float(np.clip(place + size, -_MOST_MOTION_ODDS, _MOST_MOTION_ODDS))


def _best(
    found: Sequence[tuple[Join, int, int]], impossible: Bools, likeness: _Likeness, least_cosine: float
) -> list[tuple[Join, int, int]]:
    """Take the likeliest joins, each only where nobody else comes near it.

    Parts that were joined are one person from there on, who is nowhere twice. A rival is a join of either person with
    somebody who is hardly the other one.

    Args:
        found: Joins with the places of their parts, and others that may be their rivals.
        impossible: `[P, P]` parts that cannot show one person.
        likeness: Of the parts.
        least_cosine: Of the looks of two people who are joined after more than a moment.
    """
    chosen: list[tuple[Join, int, int]] = []
    likely = np.zeros_like(impossible)
    for _, i, j in found:
        likely[i, j] = likely[j, i] = True
    person = np.arange(len(impossible))
    for one in sorted(found, key=lambda one: (-one[0].odds, one[1], one[2])):
        join, i, j = one
        some, others = np.flatnonzero(person == person[i]), np.flatnonzero(person == person[j])
        needed = _NEEDED_ODDS_ALONE if join.appearance is None else _NEEDED_ODDS
        if join.odds < needed or person[i] == person[j] or impossible[np.ix_(some, others)].any():
            continue
        if join.gap_s > _BRIEF_S and likeness.between(some, others) < least_cosine:
            continue
        mine = {int(person[i]): others, int(person[j]): some}
        rivals = [
            rival.odds
            for rival, a, b in found
            for here, there in ((a, b), (b, a))
            if person[here] in mine and person[there] not in mine
            if not likely[np.ix_(person == person[there], mine[int(person[here])])].any()
        ]
        if join.odds - max(rivals, default=-np.inf) >= _AHEAD:
            chosen.append(one)
            person[others] = person[i]
    return chosen


def _by_frame(seen: Sightings) -> Iterator[Ids]:
    """Yield the rows of each frame."""
    order = np.argsort(seen.frame, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(seen.frame[order])) + 1)
