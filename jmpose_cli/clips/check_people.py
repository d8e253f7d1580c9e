"""Suspicious people: ids that come and go inside the picture, gaps, doubles, exchanged ids, people who are not there.

Weights are errors to be expected, as for joints: an id that is wrong counts as the joints of one person.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jmpose_cli.choices import SuspectKind
from jmpose_cli.clips.suspect import Suspect, frame_list, runs_of, suspect
from jmpose_cli.clips.tracks import Tracks
from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools, Ids

PERSON_WEIGHT = 6.0
"""Joints that a wrong id counts for."""
NOBODY_WEIGHT = 0.3
"""And somebody who is not there: one deletion does for all frames, of which one is as good to look at as another."""


def people_suspects(tracks: Tracks) -> Iterator[Suspect]:
    """Find what is suspicious about ids and whole people."""
    cuts = cuts_of(tracks)
    pairs = pairs_of(tracks)
    gaps = list(_gaps(tracks, cuts))
    yield from (gap.suspect(tracks) for gap in gaps)
    yield from doubles(tracks, pairs)
    yield from exchanged_ids(tracks, pairs)
    yield from shared_tracks(tracks)
    yield from interrupted(tracks)
    yield from _comings_and_goings(tracks, cuts, gaps)
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
    return bool((_overlap(tracks.boxes[ended[:1]].repeat(len(begun), 0), tracks.boxes[begun])[0] > 0.3).any())


def _overlap(one: Doubles, other: Doubles) -> tuple[Doubles, Doubles]:
    """Return `[n]` intersection over union, and over the smaller box, of boxes `[n, 4]`."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    both = sides.clip(min=0).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1) for boxes in (one, other)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9), both / np.maximum(np.minimum(*areas), 1e-9)


@dataclass(frozen=True)
class Pairs:
    """P pairs of rows of one frame whose boxes touch, sorted by the tracks and the frame.

    Attributes:
        one: `[P]` row of the track with the lower id.
        other: `[P]` row of the other.
        iou: `[P]` of their boxes.
        within: `[P]` share of the smaller box that lies in the larger.
    """

    one: Ids
    other: Ids
    iou: Doubles
    within: Doubles


def pairs_of(tracks: Tracks) -> Pairs:
    """Find the pairs of people of one frame whose boxes overlap."""
    order = np.argsort(tracks.place, kind="stable")
    place = tracks.place[order]
    most = int(np.bincount(place).max(initial=0)) if len(place) else 0
    ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for apart in range(1, most):
        same = np.flatnonzero(place[apart:] == place[:-apart])
        one, other = order[same], order[same + apart]
        near = (tracks.boxes[one, :2] < tracks.boxes[other, 2:]).all(1)
        near &= (tracks.boxes[other, :2] < tracks.boxes[one, 2:]).all(1)
        ones.append(one[near])
        others.append(other[near])
    one, other = np.concatenate(ones), np.concatenate(others)
    by = np.lexsort((tracks.place[one], tracks.ids[other], tracks.ids[one]))
    one, other = one[by], other[by]
    return Pairs(one, other, *_overlap(tracks.boxes[one], tracks.boxes[other]))


def _pair_runs(tracks: Tracks, pairs: Pairs, marked: Bools, *, bridge: int = 1) -> list[tuple[int, int]]:
    """Find stretches of marked pairs of the same two tracks, with holes of less than `bridge` frames."""
    chosen = np.flatnonzero(marked)
    one, other = tracks.ids[pairs.one[chosen]], tracks.ids[pairs.other[chosen]]
    place = tracks.place[pairs.one[chosen]]
    together = np.zeros(len(chosen), bool)
    together[1:] = (one[1:] == one[:-1]) & (other[1:] == other[:-1]) & (np.diff(place) <= bridge)
    runs = runs_of(np.ones(len(chosen), bool), together)
    return [(int(chosen[first]), int(chosen[end - 1]) + 1) for first, end in runs]


SAME_PERSON_IOU = 0.3
SAME_PERSON_OKS = 0.4
"""Poses of two tracks that are more alike than this, as a rule over the frames, may be of one person."""


def doubles(tracks: Tracks, pairs: Pairs) -> Iterator[Suspect]:
    """Two tracks on one person: boxes that overlap and poses that are alike."""
    near = (pairs.iou > SAME_PERSON_IOU) | (pairs.within > 0.7)
    alike = np.zeros(len(near))
    alike[near] = _oks(tracks, pairs.one[near], pairs.other[near])
    for first, end in _pair_runs(tracks, pairs, alike > SAME_PERSON_OKS, bridge=tracks.steps(0.2)):
        shown = np.arange(first, end)[alike[first:end] > SAME_PERSON_OKS]
        rows, others = pairs.one[shown], pairs.other[shown]
        a, b = int(tracks.ids[rows[0]]), int(tracks.ids[others[0]])
        weaker = a if tracks.person_scores[rows].mean() < tracks.person_scores[others].mean() else b
        numbers = tracks.number[rows]
        likely = float(alike[shown].mean()) * min(1.0, 0.5 + len(shown) / 10)
        yield suspect(
            "double",
            numbers,
            alike[shown] * PERSON_WEIGHT,
            tracks=(a, b),
            severity=likely,
            reason=f"Tracks {a} and {b} have nearly one pose in {frame_list(numbers[0], numbers[-1])}: two tracks on "
            f"one person, or one person hidden behind another; {weaker} scores lower.",
            remedy=f"--delete {weaker}@{numbers[0]}:{numbers[-1] + 1}",
        )


def _oks(tracks: Tracks, one: Ids, other: Ids) -> Doubles:
    """Return `[n]` object keypoint similarity between rows, joints weighted by the lower of their scores."""
    sides = [(tracks.boxes[rows, 2:] - tracks.boxes[rows, :2]).clip(min=0).prod(1) for rows in (one, other)]
    area = np.maximum(np.minimum(*sides), 1.0)[:, None]
    apart = ((tracks.xy[one] - tracks.xy[other]) ** 2).sum(2)
    alike = np.exp(-apart / (2 * area * (2 * np.array(tracks.keypoints.sigmas)) ** 2))
    weight = np.minimum(tracks.scores[one], tracks.scores[other]) * tracks.present[one] * tracks.present[other]
    return np.asarray((weight * alike).sum(1) / np.maximum(weight.sum(1), 1e-9))


LOOK_S = 0.6
"""Seconds before and after a meeting from which the ways of two people are taken."""
LONGEST_MEETING_S = 2.0
"""After a longer meeting, ways from before say nothing; sizes still do."""


def exchanged_ids(tracks: Tracks, pairs: Pairs) -> Iterator[Suspect]:
    """Two tracks that met and go on better with each other's id: by way, size and proportions."""
    look = tracks.steps(LOOK_S)
    for first, end in _pair_runs(tracks, pairs, pairs.within > 0.1, bridge=look):
        rows = [(int(side[first]), int(side[end - 1])) for side in (pairs.one, pairs.other)]
        before = [side for side in (_side(tracks, begin, -look) for begin, _ in rows) if side is not None]
        after = [side for side in (_side(tracks, stop, look) for _, stop in rows) if side is not None]
        if len(before) < 2 or len(after) < 2:
            continue
        kept = sum(_misfit(*way) for way in zip(before, after, strict=True))
        crossed = sum(_misfit(*way) for way in zip(before, after[::-1], strict=True))
        likely = 1.0 / (1.0 + np.exp(EXCHANGE_SLOPE * (crossed - kept) + EXCHANGE_PRIOR))
        is_exchange = likely > 0.5
        likely = max(likely, 0.5 * (1.0 - np.exp(-kept / POOR_FIT)))
        if likely < LEAST_LIKELY:
            continue
        a, b = int(tracks.ids[rows[0][0]]), int(tracks.ids[rows[1][0]])
        nearest = first + int(np.argmax(pairs.within[first:end] + pairs.iou[first:end]))
        numbers = tracks.number[pairs.one[first:end]]
        at = int(tracks.number[pairs.one[nearest]])
        yield suspect(
            "shared",
            numbers,
            np.full(len(numbers), likely * PERSON_WEIGHT),
            tracks=(a, b),
            severity=float(likely),
            reason=f"Tracks {a} and {b} meet in {frame_list(numbers[0], numbers[-1])}, and afterwards "
            + (
                "each goes on as the other did before, by way and size."
                if is_exchange
                else "one goes on otherwise than before."
            ),
            remedy=f"--swap {a},{b}@{at}:",
            at=at,
        )


LEAST_LIKELY = 0.25
EXCHANGE_SLOPE, EXCHANGE_PRIOR = 0.7, 1.0
"""Log-odds of an exchange: so much for each unit that it fits better, and against all of them."""
POOR_FIT = 10.0
"""Misfit of both tracks together from which on it is as likely as not that one of them took somebody else up."""


@dataclass(frozen=True)
class _Side:
    """A track before or after a meeting: medians of its rows there.

    Attributes:
        rows: Places of the rows.
        centre: `[2]`.
        speed: `[2]` a second.
        size: Body size.
        time: Seconds.
    """

    rows: slice
    centre: Doubles
    speed: Doubles
    size: float
    time: float


def _side(tracks: Tracks, row: int, reach: int) -> _Side | None:
    """Look at the rows of a track before (`reach` below 0) or after one of its rows; None where there are too few."""
    track = int(np.searchsorted(tracks.starts, row, side="right")) - 1
    start, end = int(tracks.starts[track]), int(tracks.ends[track]) + 1
    rows = slice(max(row + reach, start), row) if reach < 0 else slice(row + 1, min(row + 1 + reach, end))
    if rows.stop - rows.start < 2:
        return None
    time, centre = tracks.time[rows], tracks.centres[rows]
    offset = time - time.mean()
    speed = (offset[:, None] * (centre - centre.mean(0))).sum(0) / max(float((offset**2).sum()), 1e-9)
    return _Side(rows, centre.mean(0), speed, float(np.median(tracks.size[rows])), float(time.mean()))


def _misfit(before: _Side, after: _Side) -> float:
    """Return how badly what is after a meeting continues what was before it: squared deviations over ordinary ones."""
    span = after.time - before.time
    size = (before.size + after.size) / 2
    misfit = (np.log(after.size / before.size) / 0.15) ** 2
    if span <= LONGEST_MEETING_S + 2 * LOOK_S:
        way = np.linalg.norm(after.centre - before.centre - (before.speed + after.speed) / 2 * span) / size
        misfit += (way / (0.25 + 0.4 * span)) ** 2
        turn = np.linalg.norm(after.speed - before.speed) / size
        misfit += (turn / (0.5 + 0.5 * span)) ** 2
    return float(min(misfit, 12.0))


BODY_JUMP = 0.35
"""Sizes by which a whole body may leave its way from one frame to the next; people in sports stay below."""


def shared_tracks(tracks: Tracks) -> Iterator[Suspect]:
    """Tracks that leap from one person to another: the whole body leaves its way and does not come back."""
    if len(tracks) < 4:
        return
    weight = (tracks.present * (1.0 - tracks.wrong))[..., None]
    body = (tracks.xy * weight).sum(1) / np.maximum(weight.sum(1), 1e-6)
    linked = tracks.follows(3)
    leap = np.zeros(len(tracks))
    # From row i - 2 to row i - 1 against the steps before and after it.
    step = body[2:-1] - body[1:-2]
    usual = ((body[1:-2] - body[:-3]) + (body[3:] - body[2:-1])) / 2
    size = tracks.size[2:-1]
    time = tracks.time
    allowed = BODY_JUMP + FASTEST_BODY * ((time[2:-1] - time[1:-2]) ** 2)
    leap[2:-1] = np.where(linked[3:], np.linalg.norm(step - usual, axis=1) / size / allowed, 0.0)
    for first, end in runs_of(leap > 1.0, tracks.together):
        row = first + int(np.argmax(leap[first:end]))
        track, number = int(tracks.ids[row]), int(tracks.number[row])
        likely = 1.0 - 0.6 / leap[row]
        yield suspect(
            "shared",
            tracks.number[row - 1 : row + 1],
            np.full(2, likely * PERSON_WEIGHT),
            tracks=[track],
            severity=float(likely),
            reason=f"Track {track} leaps from frame {tracks.number[row - 1]} to frame {number}, all of the body at "
            "once: it may go on with another person.",
            remedy=f"--split {track}@{number}",
            at=number,
        )


FASTEST_BODY = 8.0
"""Acceleration of whole bodies in the picture, body sizes a second squared."""
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
        gone = tracks.index[tracks.place[before] + 1 : tracks.place[row]]
        old, new = _side(tracks, row, -look), _side(tracks, before, look)
        misfit = _misfit(old, new) if old is not None and new is not None else 0.0
        kind: SuspectKind
        where = f"Track {track} is missing in {frame_list(gone[0], gone[-1])} and comes back"
        if misfit > OTHER_PERSON:
            number = int(tracks.number[row])
            likely = 1.0 - 0.5 * OTHER_PERSON / misfit
            reason = f"{where} with another way or size: it may go on with another person."
            remedy, kind = f"--split {track}@{number}", "shared"
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


def _gaps(tracks: Tracks, cuts: Ids) -> Iterator[_Gap]:
    """Join ends of tracks to beginnings of others, the likeliest first, each once."""
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
    taken_ends: set[int] = set()
    taken_starts: set[int] = set()
    for chance, end, row in sorted(found, reverse=True):
        if chance < LEAST_LIKELY:
            break
        if end not in taken_ends and row not in taken_starts:
            taken_ends.add(end)
            taken_starts.add(row)
            yield _Gap(end, row, chance)


def _same_person(tracks: Tracks, end: int, starts: Ids) -> Doubles:
    """Return `[n]` how likely tracks that start at some rows continue the one that ends at another."""
    before = _side(tracks, end + 1, -tracks.steps(LOOK_S)) if end > 0 else None
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


def _comings_and_goings(tracks: Tracks, cuts: Ids, gaps: list[_Gap]) -> Iterator[Suspect]:
    """Ids that are born or die inside the picture, and belong to no gap."""
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
