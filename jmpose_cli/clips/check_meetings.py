"""Suspicious meetings: two tracks on one person, ids that are exchanged, tracks that leap to another person.

Weights are errors to be expected, as for joints: an id that is wrong counts as the joints of one person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.clips.suspect import LEAST_LIKELY, PERSON_WEIGHT, Suspect, frame_list, runs_of, suspect
from jmpose_cli.clips.tracks import Tracks
from jmpose_cli.clips.trajectories import LOOK_S, misfit_of, overlap_of, side_of
from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools, Ids


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
    return Pairs(one, other, *overlap_of(tracks.boxes[one], tracks.boxes[other]))


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


EXCHANGE_SLOPE, EXCHANGE_PRIOR = 0.7, 1.0
"""Log-odds of an exchange: so much for each unit that it fits better, and against all of them."""
POOR_FIT = 10.0
"""Misfit of both tracks together from which on it is as likely as not that one of them took somebody else up."""


def exchanged_ids(tracks: Tracks, pairs: Pairs, leaps: Sequence[Suspect] = ()) -> Iterator[Suspect]:
    """Two tracks that met and go on better with each other's id: by way, size and proportions.

    Args:
        tracks: The rows.
        pairs: Those that touch.
        leaps: What `shared_tracks` found; where it has told of the exchange, by the frame, it is not told again.
    """
    told = {(one.tracks, one.at) for one in leaps if len(one.tracks) > 1}
    look = tracks.steps(LOOK_S)
    for first, end in _pair_runs(tracks, pairs, pairs.within > 0.1, bridge=look):
        rows = [(int(side[first]), int(side[end - 1])) for side in (pairs.one, pairs.other)]
        before = [side for side in (side_of(tracks, begin, -look) for begin, _ in rows) if side is not None]
        after = [side for side in (side_of(tracks, stop, look) for _, stop in rows) if side is not None]
        if len(before) < 2 or len(after) < 2:
            continue
        kept = sum(misfit_of(*way) for way in zip(before, after, strict=True))
        crossed = sum(misfit_of(*way) for way in zip(before, after[::-1], strict=True))
        likely = 1.0 / (1.0 + np.exp(EXCHANGE_SLOPE * (crossed - kept) + EXCHANGE_PRIOR))
        is_exchange = likely > 0.5
        likely = max(likely, 0.5 * (1.0 - np.exp(-kept / POOR_FIT)))
        if likely < LEAST_LIKELY:
            continue
        a, b = int(tracks.ids[rows[0][0]]), int(tracks.ids[rows[1][0]])
        nearest = first + int(np.argmax(pairs.within[first:end] + pairs.iou[first:end]))
        numbers = tracks.number[pairs.one[first:end]]
        at = int(tracks.number[pairs.one[nearest]])
        if any(those == (a, b) and numbers[0] - look <= frame <= numbers[-1] + look for those, frame in told):
            continue
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
    rows = [first + int(np.argmax(leap[first:end])) for first, end in runs_of(leap > 1.0, tracks.together)]
    told: set[tuple[int, int]] = set()  # exchanges by row, of which both sides may leap
    for row in rows:
        track, number = int(tracks.ids[row]), int(tracks.number[row])
        likely = 1.0 - 0.6 / leap[row]
        numbers = tracks.number[row - 1 : row + 1]
        partner = _partner(tracks, body, row)
        if partner is None:
            said, remedy = "it may go on with another person", f"--split {track}@{number}"
        elif (partner, track) in {(int(tracks.ids[one]), other) for one, other in told if _near(tracks, one, row)}:
            continue
        else:
            told.add((row, partner))
            said, remedy = (
                f"it may have exchanged its id with track {partner}",
                f"--swap {track},{partner}@{number}:",
            )
        yield suspect(
            "shared",
            numbers,
            np.full(2, likely * PERSON_WEIGHT),
            tracks=[track] if partner is None else sorted((track, partner)),
            severity=float(likely),
            reason=f"Track {track} leaps from frame {numbers[0]} to frame {number}, all of the body at once: {said}.",
            remedy=remedy,
            at=number,
        )


LEAP_FRAMES = 3
"""Frames within which two tracks that exchange their ids leap, end or begin."""
SAME_PLACE = 0.5
"""Sizes within which somebody is where another one was."""


def _near(tracks: Tracks, one: int, other: int) -> bool:
    return abs(int(tracks.place[one]) - int(tracks.place[other])) <= LEAP_FRAMES


def _partner(tracks: Tracks, body: Doubles, row: int) -> int | None:
    """Return the track with which one that leaps to a row has exchanged its id: both go on where the other was.

    The other may also end before, or begin after.
    """
    place = tracks.place[row]
    near = np.flatnonzero((np.abs(tracks.place - place) <= LEAP_FRAMES) & (tracks.ids != tracks.ids[row]))
    best, nearest = None, 2 * SAME_PLACE
    for track in np.unique(tracks.ids[near]).tolist():
        mine = near[tracks.ids[near] == track]
        ends = [mine[tracks.place[mine] < place][-1:], mine[tracks.place[mine] >= place][:1]]
        away = [
            float(np.linalg.norm(body[its[0]] - body[at]) / tracks.size[at])
            for its, at in zip(ends, (row, row - 1), strict=True)
            if len(its)
        ]
        if max(away) < SAME_PLACE and sum(away) / len(away) < nearest:
            best, nearest = track, sum(away) / len(away)
    return best


FASTEST_BODY = 8.0
"""Acceleration of whole bodies in the picture, body sizes a second squared."""
