"""Suspicious people: ids that come and go inside the picture, gaps and holes, people who are not there.

Weights are errors to be expected, as for joints: an id that is wrong counts as the joints of one person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.choices import SuspectKind
from jmpose_cli.clips.check_joins import Link, changed_tracks, doubtful_joins, links_of
from jmpose_cli.clips.check_meetings import doubles, exchanged_ids, pairs_of, shared_tracks
from jmpose_cli.clips.suspect import LEAST_LIKELY, PERSON_WEIGHT, Suspect, frame_list, suspect
from jmpose_cli.clips.tracks import Tracks
from jmpose_cli.clips.trajectories import LOOK_S, misfit_of, overlap_of, side_of
from jmpose_cli.formats.records import Doubles
from jmpose_cli.people.stitch import Join
from jmpose_cli.values import Bools, Ids

NOBODY_WEIGHT = 0.3
"""And somebody who is not there: one deletion does for all frames, of which one is as good to look at as another."""


def people_suspects(tracks: Tracks, joins: Sequence[Join] = ()) -> Iterator[Suspect]:
    """Find what is suspicious about ids and whole people.

    Args:
        tracks: The rows.
        joins: Tracks that were taken to be one person.
    """
    cuts = cuts_of(tracks)
    pairs = pairs_of(tracks)
    links = links_of(tracks, joins)
    gaps = list(_gaps(tracks, cuts, links))
    yield from (gap.suspect(tracks) for gap in gaps)
    yield from doubles(tracks, pairs)
    leaps = list(shared_tracks(tracks))
    exchanges = list(exchanged_ids(tracks, pairs, leaps))
    yield from exchanges
    yield from leaps
    yield from doubtful_joins(tracks, links)
    holes = list(interrupted(tracks))
    yield from changed_tracks(tracks, [*exchanges, *leaps, *(one for one in holes if one.kind == "shared")])
    yield from holes
    yield from _comings_and_goings(tracks, cuts, [*gaps, *links])
    yield from nobodies(tracks)


def cuts_of(tracks: Tracks) -> Ids:
    """Return places of frames before which a cut must lie: all tracks end there, and others begin.

    Where a single track ends and one begins in its place, it is no cut but a lost id.
    """
    if len(tracks) == 0:
        return np.zeros(0, np.int64)
    first, last = tracks.place[tracks.starts], tracks.place[tracks.ends]
    frames = len(tracks.index)
    # How many tracks are there on both sides of the step from frame p - 1 to frame p.
    spans = np.zeros(frames + 1, np.int64)
    np.add.at(spans, first + 1, 1)
    np.add.at(spans, last + 1, -1)
    crossing = np.cumsum(spans)[:frames]
    ending = np.bincount(last + 1, minlength=frames + 1)[:frames]
    beginning = np.bincount(first, minlength=frames + 1)[:frames]
    cuts = np.flatnonzero((crossing == 0) & (ending > 0) & (beginning > 0))
    return np.array([place for place in cuts.tolist() if not _goes_on(tracks, place)], np.int64)


def _goes_on(tracks: Tracks, place: int) -> bool:
    """Whether the one person of the frame before is still there under another id."""
    ended = tracks.ends[tracks.place[tracks.ends] == place - 1]
    begun = tracks.starts[tracks.place[tracks.starts] == place]
    if len(ended) > 1 or len(begun) == 0:
        return False
    return bool((overlap_of(tracks.boxes[ended[:1]].repeat(len(begun), 0), tracks.boxes[begun])[0] > 0.3).any())


HOLE_LIKELY = 0.35
"""How likely it is that somebody who is missing for a while inside the picture was there."""
LONGEST_FILL_S = 1.0
"""Over longer holes interpolated people would be guesses."""
OTHER_PERSON = 6.0
"""Misfit from which on whoever comes back under an id is another person."""


def interrupted(tracks: Tracks) -> Iterator[Suspect]:
    """Tracks with holes: whoever comes back may be another person, and if not, somebody is missing in between."""
    if len(tracks) < 2:
        return
    missing = np.where(tracks.ids[1:] == tracks.ids[:-1], np.diff(tracks.place) - 1, 0)
    look = tracks.steps(LOOK_S)
    for before in np.flatnonzero(missing > 0).tolist():
        row, track = before + 1, int(tracks.ids[before])
        hole = slice(tracks.place[before] + 1, tracks.place[row])
        gone = tracks.index[hole]
        old, new = side_of(tracks, row, -look), side_of(tracks, before, look)
        misfit = misfit_of(old, new) if old is not None and new is not None else 0.0
        kind: SuspectKind
        where = f"Track {track} is missing in {frame_list(gone[0], gone[-1])} and comes back"
        if misfit > OTHER_PERSON:
            number = int(tracks.number[row])
            likely = 1.0 - 0.5 * OTHER_PERSON / misfit
            reason = f"{where} with another way or size: it may go on with another person."
            remedy, kind = f"--split {track}@{number}", "shared"
        elif tracks.reviewed[hole].all():
            continue  # somebody has seen that nobody is there
        else:
            likely, number = HOLE_LIKELY, int(gone[0])
            reason, kind = f"{where}: somebody may have no pose there.", "gap"
            fill = tracks.time[row] - tracks.time[before] <= LONGEST_FILL_S
            remedy = f"--interpolate {track}@{gone[0]}:{gone[-1] + 1}" if fill else ""
        yield suspect(
            kind,
            gone,
            np.full(len(gone), likely * PERSON_WEIGHT),
            tracks=[track],
            severity=likely,
            reason=reason,
            remedy=remedy,
            at=number,
        )


LONGEST_GAP_S = 3.0
REACH_AT_ONCE, REACH_A_SECOND = 0.5, 0.7
"""Body sizes within which an id is taken up again, at once and for each second of the gap."""


@dataclass(frozen=True)
class _Gap:
    """One track ends and another begins near in time and place.

    Attributes:
        end: Last row of the one.
        start: First row of the other.
        likely: That they are one person.
    """

    end: int
    start: int
    likely: float

    def suspect(self, tracks: Tracks) -> Suspect:
        a, b = int(tracks.ids[self.end]), int(tracks.ids[self.start])
        first, last = sorted((int(tracks.place[self.end]), int(tracks.place[self.start])))
        numbers = tracks.index[first : last + 1]
        shared = tracks.place[self.start] <= tracks.place[self.end]
        cut_off = f"--delete {b}@{numbers[0]}:{numbers[-1] + 1} " if shared else ""
        return suspect(
            "gap",
            numbers,
            np.full(len(numbers), self.likely * PERSON_WEIGHT),
            tracks=(a, b),
            severity=self.likely,
            reason=f"Track {a} ends at frame {tracks.number[self.end]}, and track {b} begins near it at frame "
            f"{tracks.number[self.start]}: probably one person.",
            remedy=f"{cut_off}--merge {a},{b}",
            at=tracks.number[self.start],
        )


def _gaps(tracks: Tracks, cuts: Ids, links: Sequence[Link]) -> Iterator[_Gap]:
    """Join ends of tracks to beginnings of others, the likeliest first, each once, but those that are joined."""
    if len(tracks) == 0:
        return
    order = np.argsort(tracks.place[tracks.starts], kind="stable")
    starts = tracks.starts[order]
    start_time = tracks.time[starts]
    segment = np.searchsorted(cuts, tracks.place, side="right")
    overlap_s = 2.5 * tracks.step_s
    found = []
    for end in tracks.ends.tolist():
        low, high = np.searchsorted(start_time, [tracks.time[end] - overlap_s, tracks.time[end] + LONGEST_GAP_S + 1e-9])
        rows = starts[low:high]
        rows = rows[(tracks.ids[rows] != tracks.ids[end]) & (segment[rows] == segment[end])]
        if len(rows):
            likely = _same_person(tracks, end, rows)
            found += [(float(chance), end, int(row)) for chance, row in zip(likely, rows.tolist(), strict=True)]
    taken_ends, taken_starts = {link.end for link in links}, {link.start for link in links}
    for chance, end, row in sorted(found, reverse=True):
        if chance < LEAST_LIKELY:
            break
        if end not in taken_ends and row not in taken_starts:
            taken_ends.add(end)
            taken_starts.add(row)
            yield _Gap(end, row, chance)


def _same_person(tracks: Tracks, end: int, starts: Ids) -> Doubles:
    """Return `[n]` how likely tracks that start at some rows continue the one that ends at another."""
    before = side_of(tracks, end + 1, -tracks.steps(LOOK_S)) if end > 0 else None
    speed = before.speed if before is not None else np.zeros(2)
    wait = (tracks.time[starts] - tracks.time[end])[:, None]
    size = np.minimum(tracks.size[end], tracks.size[starts])
    ahead = tracks.centres[starts] - tracks.centres[end]
    # Whoever is lost behind something may go on or stand still.
    away = (
        np.minimum(np.linalg.norm(ahead - speed * wait, axis=1), np.linalg.norm(ahead - 0.5 * speed * wait, axis=1))
        / size
    )
    reach = REACH_AT_ONCE + REACH_A_SECOND * wait[:, 0].clip(min=0)
    heights = [tracks.boxes[rows, 3] - tracks.boxes[rows, 1] for rows in (np.array([end]), starts)]
    unlike = np.abs(np.log(np.maximum(heights[1], 1.0) / np.maximum(heights[0], 1.0)))
    return np.asarray(np.exp(-((away / reach) ** 2) - (unlike / 0.5) ** 2 - 0.25 * wait[:, 0].clip(min=0)))


NEAR_BORDER = 0.25
"""Body sizes from the border within which people come and go."""
BEHIND = 0.5
"""Share of a box that is covered by another one, nearer to the camera, whose owner may have hidden somebody."""


def _comings_and_goings(tracks: Tracks, cuts: Ids, gaps: Sequence[_Gap | Link]) -> Iterator[Suspect]:
    """Ids that are born or die inside the picture, and belong to no gap and no join."""
    if len(tracks) == 0:
        return
    first_places = np.concatenate([[0], cuts])
    last_places = np.concatenate([cuts - 1, [len(tracks.index) - 1]])
    sides: tuple[tuple[SuspectKind, Ids, Ids, set[int], int], ...] = (
        ("appears", tracks.starts, first_places, {gap.start for gap in gaps}, 1),
        ("vanishes", tracks.ends, last_places, {gap.end for gap in gaps}, -1),
    )
    for kind, rows, edges, explained, step in sides:
        inside = _inside(tracks, rows, step)
        at_edge = np.isin(tracks.place[rows], edges)
        for row in rows[inside & ~at_edge].tolist():
            if row in explained:
                continue
            hidden = _covered(tracks, row) > BEHIND
            likely = 0.15 if hidden else 0.4
            track, number = int(tracks.ids[row]), int(tracks.number[row])
            told = "is born" if kind == "appears" else "dies"
            yield suspect(
                kind,
                np.array([number]),
                np.array([likely * PERSON_WEIGHT]),
                tracks=[track],
                severity=likely,
                reason=f"Track {track} {told} inside the picture at frame {number}"
                + (", beside or behind somebody." if hidden else ", neither at its border nor behind somebody."),
            )


def _inside(tracks: Tracks, rows: Ids, step: int) -> Bools:
    """Return `[n]` whether rows are away from the border, with where they come from or go to in a quarter second."""
    reach = step * tracks.steps(0.25)
    other = np.clip(rows + reach, 0, len(tracks) - 1)
    same = tracks.ids[other] == tracks.ids[rows]
    move = np.where(same[:, None], tracks.centres[rows] - tracks.centres[other], 0.0)
    boxes = tracks.boxes[rows] + np.tile(move, 2)
    margin = NEAR_BORDER * tracks.size[rows]
    low = np.minimum(boxes[:, :2], tracks.boxes[rows, :2]) > margin[:, None]
    high = np.maximum(boxes[:, 2:], tracks.boxes[rows, 2:]) < np.array([tracks.width, tracks.height]) - margin[:, None]
    # Feet at the lower border are no way out for people whose box ends there all the time, but mostly they are.
    return np.asarray(low.all(1) & high.all(1))


def _covered(tracks: Tracks, row: int) -> float:
    """Return the largest share of a row's box that another box of its frame covers."""
    others = tracks.of_frame(int(tracks.place[row]))
    others = others[others != row]
    if len(others) == 0:
        return 0.0
    box, boxes = tracks.boxes[row], tracks.boxes[others]
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return float(sides.clip(min=0).prod(1).max() / max(float((box[2:] - box[:2]).prod()), 1e-9))


NOBODY_BELOW = 0.2
"""Mean score of a person below which there may be nobody."""


def nobodies(tracks: Tracks) -> Iterator[Suspect]:
    """Tracks whose mean score says that nobody is there; those that somebody has corrected or reviewed are not."""
    for start, end in zip(tracks.starts.tolist(), (tracks.ends + 1).tolist(), strict=True):
        rows = slice(start, end)
        mean = float(tracks.person_scores[rows].mean())
        if mean >= NOBODY_BELOW or tracks.confirmed[rows].any():
            continue
        likely = 1.0 - mean / NOBODY_BELOW / 2
        numbers, track = tracks.number[rows], tracks.ids[start]
        yield suspect(
            "nobody",
            numbers,
            np.full(len(numbers), likely * NOBODY_WEIGHT),
            tracks=[track],
            severity=likely,
            reason=f"Track {track} scores {mean:.2f} on average over {len(numbers)} frames: there may be nobody.",
            remedy=f"--delete {track}",
        )
