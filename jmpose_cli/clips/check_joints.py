"""Suspicious joints: jumps, left and right exchanged, limbs of odd length, joints that the model is unsure of.

Weights are errors to be expected: how many joints of that person are probably wrong in that frame.
"""

from collections.abc import Iterator

import numpy as np

from jmpose_cli.clips.suspect import Suspect, frame_list, joint_list, runs_of, suspect
from jmpose_cli.clips.tracks import Tracks
from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bools, Ids

JITTER = 0.06
"""Deviation of a joint from the middle between its neighbours in time that is ordinary, in body sizes."""
FASTEST = 24.0
"""Acceleration of a joint against its body that people reach, body sizes a second squared: a hand in sports."""
SPREAD = 0.25
"""Standard deviations of a joint that are added to what is ordinary: heatmaps are wider than their errors."""
REACHES_S = (0.0, 0.08, 0.16)
"""Neighbours before and after with which a joint is compared: the next frames, and those so many seconds away."""
JUMP_FROM = 1.5
"""How many times the ordinary deviation is a jump."""


def joint_suspects(tracks: Tracks) -> Iterator[Suspect]:
    """Find suspicious joints of all tracks."""
    yield from jumps(tracks)
    yield from exchanged_sides(tracks)
    yield from odd_limbs(tracks)
    yield from unsure_joints(tracks)


def jumps(tracks: Tracks) -> Iterator[Suspect]:
    """Joints that leave the way of their track for a moment, the motion of the whole body taken away."""
    excess = np.zeros(tracks.present.shape)
    far = np.zeros(tracks.present.shape)
    for reach in dict.fromkeys(tracks.steps(seconds) for seconds in REACHES_S):
        _deviations(tracks, reach, excess, far)
    excess[tracks.confirmed] = 0.0
    likely = np.where(excess > JUMP_FROM, 1.0 - 0.7 / np.sqrt(excess.clip(min=1.0)), 0.0)
    names = tracks.keypoints.joints
    for first, end, joints in _person_runs(tracks, likely > 0):
        part = likely[first:end]
        rows = slice(first, end)
        worst, joint = np.unravel_index(np.argmax(part), part.shape)
        row = first + int(worst)
        yield suspect(
            "jump",
            tracks.number[rows],
            _expected(tracks, rows, part > 0),
            tracks=[tracks.ids[first]],
            joints=[names[j] for j in joints],
            severity=float(part.max()),
            reason=f"The {joint_list([names[joint]])} of track {tracks.ids[first]} is {far[row, joint]:.2f} body sizes "
            f"away from where the frames around frame {tracks.number[row]} put it"
            + (f"; also {joint_list(names[j] for j in joints if j != joint)}." if len(joints) > 1 else "."),
            remedy=_bridges(tracks, first, end, joints),
            at=tracks.number[row],
        )


LONGEST_BRIDGE_S = 0.36
"""Over longer stretches the line between where joints are before and after would be a guess."""
SURE_BELOW = 0.3
"""A joint that is wrong less likely than this can be an end of the line."""


def _bridges(tracks: Tracks, first: int, end: int, joints: Ids) -> str:
    """Return the options that put those joints of a stretch that are probably wrong onto lines between sure places.

    Joints without such places near by are left out; "" where no joint is left.
    """
    found: dict[tuple[int, int], list[str]] = {}
    start, stop = (np.searchsorted(tracks.ids, tracks.ids[first], side) for side in ("left", "right"))
    for joint in joints.tolist():
        wrong, there = tracks.wrong[:, joint], tracks.present[:, joint]
        odd = first + np.flatnonzero(wrong[first:end] > UNSURE_FROM)
        if not len(odd):
            continue
        sure = start + np.flatnonzero((there & (wrong < SURE_BELOW))[start:stop])
        before, after = sure[sure < odd[0]][-1:], sure[sure > odd[-1]][:1]
        if len(before) and len(after) and tracks.time[after[0]] - tracks.time[before[0]] <= LONGEST_BRIDGE_S + 1e-6:
            numbers = int(tracks.number[before[0]]) + 1, int(tracks.number[after[0]])
            found.setdefault(numbers, []).append(tracks.keypoints.joints[joint])
    track = tracks.ids[first]
    return " ".join(f"--interpolate {track}@{a}:{b}={','.join(names)}" for (a, b), names in found.items())


def _deviations(tracks: Tracks, reach: int, excess: Doubles, far: Doubles) -> None:
    """Raise `excess` (deviations over ordinary ones) and `far` (body sizes) to those of one reach, at their peaks."""
    if len(tracks) <= 2 * reach:
        return
    inside = tracks.follows(2 * reach)[2 * reach :]
    before, now, after = slice(None, -2 * reach), slice(reach, -reach), slice(2 * reach, None)
    time, xy = tracks.time, tracks.xy
    span = np.maximum(time[after] - time[before], 1e-6)
    share = ((time[now] - time[before]) / span)[:, None, None]
    there = tracks.present[before] & tracks.present[now] & tracks.present[after] & inside[:, None]
    away = np.where(there[..., None], xy[now] - xy[before] - share * (xy[after] - xy[before]), 0.0)
    sure = there * (1.0 - tracks.wrong[now])
    body = (away * sure[..., None]).sum(1) / np.maximum(sure.sum(1), 1e-6)[:, None]
    size = tracks.size[now][:, None]
    distance = np.linalg.norm(away - body[:, None], axis=2) * there / size
    ordinary = JITTER + FASTEST * (span[:, None] / 2) ** 2 / 2 + SPREAD * tracks.sigma[now] / size
    ratio = np.zeros(excess.shape)
    ratio[now] = distance / ordinary
    peak = ratio.copy()
    for step in range(1, reach + 1):  # beside a jump its neighbours deviate too, by less
        same = tracks.follows(step)[step:, None]
        np.maximum(peak[step:], np.where(same & ~tracks.confirmed[:-step], ratio[:-step], 0), out=peak[step:])
        np.maximum(peak[:-step], np.where(same & ~tracks.confirmed[step:], ratio[step:], 0), out=peak[:-step])
    higher = (ratio > excess) & (ratio >= peak)
    excess[higher] = ratio[higher]
    spread = np.zeros(excess.shape)
    spread[now] = distance
    far[higher] = spread[higher]


def _expected(tracks: Tracks, rows: slice, odd: Bools) -> Doubles:
    """Return `[n]` how many joints of the rows are probably wrong, those that move or look odd `[n, K]` more likely."""
    wrong = np.where(tracks.present[rows], tracks.wrong[rows], 0.0)
    return np.asarray((wrong + ODD_MORE * odd * (1.0 - wrong)).sum(1))


ODD_MORE = 0.25
"""Share of the joints thought right that are wrong when they jump or belong to an odd limb: fitted as `GUESS_SLOPE`."""


def _person_runs(tracks: Tracks, marked: Bools) -> Iterator[tuple[int, int, Ids]]:
    """Yield first row, end and joints of each stretch of a track with marked joints `[N, K]`."""
    for first, end in runs_of(np.asarray(marked.any(1)), tracks.together):
        yield first, end, np.flatnonzero(marked[first:end].any(0))


LEAST_APART = 0.12
"""Distance of left and right, in body sizes, from which on their exchange can be seen."""
EXCHANGED_FIT, LONE_FIT = 0.4, 0.2
"""Exchanged, the motion must fit that much better: share of the squared deviations that is left, over both ends of a
stretch, and where there is one end only."""
LONGEST_EXCHANGE_S = 1.0
"""Longest stretch with two ends; a longer one has ends that are each sure for themselves."""
DAMPING = 0.5
"""Share of its speed that a joint is taken to keep from one frame to the next."""
HALVES = {"arms": ("shoulder", "elbow", "wrist"), "legs": ("hip", "knee", "ankle")}


def exchanged_sides(tracks: Tracks) -> Iterator[Suspect]:
    """Stretches of a track in which left and right of arms or legs are exchanged, by the motion before and after."""
    found: dict[tuple[int, int], list[tuple[str, float, Ids]]] = {}
    names = tracks.keypoints.joints
    for half, parts in HALVES.items():
        pairs = _pairs(tracks, parts)
        if len(pairs) < 2 or len(tracks) < 2:
            continue
        straight, crossed = _exchange_costs(tracks, pairs)
        for first, end, strength, chosen in _exchanges(tracks, straight, crossed):
            found.setdefault((first, end), []).append((half, strength, pairs[chosen]))
    for (first, end), halves in found.items():
        if tracks.confirmed[first:end].any():
            continue
        joints = np.concatenate([pairs.ravel() for _, _, pairs in halves])
        track, numbers = tracks.ids[first], tracks.number[first:end]
        likely = max(1.0 - 0.5 * LEAST_APART**2 / strength for _, strength, _ in halves)
        yield suspect(
            "sides",
            numbers,
            np.full(len(numbers), likely * len(joints)),
            tracks=[track],
            joints=[names[joint] for joint in joints],
            severity=likely,
            reason=f"Left and right {' and '.join(half for half, _, _ in halves)} of track {track} look exchanged in "
            f"{frame_list(numbers[0], numbers[-1])}: exchanged back they move as before and after.",
            # With one half wrong, the other would be wrong afterwards.
            remedy=f"--swap-sides {track}@{numbers[0]}:{numbers[-1] + 1}"
            + ("" if len(halves) == len(HALVES) else f"={','.join(names[joint] for joint in joints)}"),
            at=numbers[0],
        )


def _pairs(tracks: Tracks, parts: tuple[str, ...] | list[str]) -> Ids:
    """Return `[P, 2]` channels of left and right of the body parts that the keypoint set has."""
    joints = tracks.keypoints.joints
    names = [(f"left_{part}", f"right_{part}") for part in parts]
    found = [[joints.index(left), joints.index(right)] for left, right in names if left in joints and right in joints]
    return np.array(found, np.int64).reshape(-1, 2)


def _exchange_costs(tracks: Tracks, pairs: Ids) -> tuple[Doubles, Doubles]:
    """Return `[N, P]` squared deviations, square body sizes, from the frame before to the row: as is, and exchanged."""
    xy = tracks.xy[:, pairs] / tracks.size[:, None, None, None]  # [N, P, 2, 2]
    there = np.asarray(tracks.present[:, pairs].all(2))
    usable = there[1:] & there[:-1] & tracks.together[1:, None]
    velocity = np.where(usable[..., None, None], xy[1:] - xy[:-1], 0.0)
    ahead, back = xy[:-1].copy(), xy[1:].copy()
    ahead[1:] += DAMPING * velocity[:-1]  # where a row is expected by those before it
    back[:-1] -= DAMPING * velocity[1:]  # where the row before is expected by those after it
    costs = []
    for after, behind in ((xy[1:], back), (xy[1:, :, ::-1], back[:, :, ::-1])):
        cost = np.zeros((len(xy), len(pairs)))
        both = ((after - ahead) ** 2).sum((2, 3)) + ((xy[:-1] - behind) ** 2).sum((2, 3))
        cost[1:] = np.where(usable, both / 4, 0.0)
        costs.append(cost)
    return costs[0], costs[1]


def _exchanges(tracks: Tracks, straight: Doubles, crossed: Doubles) -> Iterator[tuple[int, int, float, Bools]]:
    """Yield first row, end, gain and pairs `[P]` of stretches that fit exchanged, the clearest of each place."""
    gain = straight - crossed
    clear = gain.clip(min=0).sum(1) > LEAST_APART**2
    found: list[tuple[float, int, int]] = []
    for length in range(1, tracks.steps(LONGEST_EXCHANGE_S) + 1):
        first = np.flatnonzero(clear[:-length] & clear[length:] & tracks.follows(length)[length:])
        both = gain[first] + gain[first + length]
        chosen = (gain[first] > 0) & (gain[first + length] > 0)
        left = np.where(chosen, crossed[first] + crossed[first + length], 0.0).sum(1)
        whole = np.where(chosen, straight[first] + straight[first + length], 0.0).sum(1)
        total = np.where(chosen, both, 0.0).sum(1) / 2
        fits = (chosen.sum(1) > 1) & (total > LEAST_APART**2) & (left < EXCHANGED_FIT * whole)
        found += [(float(total[i]), int(first[i]), int(first[i]) + length) for i in np.flatnonzero(fits)]
    taken = np.zeros(len(tracks) + 1, bool)
    for strength, row, end in sorted(found, reverse=True):
        if not taken[row : end + 1].any():
            taken[row : end + 1] = True
            yield row, end, strength, (gain[row] > 0) & (gain[end] > 0)
    chosen = gain > 0
    left, whole = (np.where(chosen, cost, 0.0).sum(1) for cost in (crossed, straight))
    sure = clear & (chosen.sum(1) == gain.shape[1]) & (left < LONE_FIT * whole) & ~taken[:-1]
    for row, end in _to_next_or_nearer_end(tracks, np.flatnonzero(sure)):
        yield row, end, float(gain[row if sure[row] else end].sum()), chosen[row if sure[row] else end]


def _to_next_or_nearer_end(tracks: Tracks, events: Ids) -> Iterator[tuple[int, int]]:
    """Pair the events of each track in turn; one that is left over reaches to the nearer end of the track."""
    track_of = np.searchsorted(tracks.starts, events, side="right") - 1
    for track in np.unique(track_of).tolist():
        rows = events[track_of == track].tolist()
        start, end = int(tracks.starts[track]), int(tracks.ends[track]) + 1
        yield from zip(rows[: len(rows) // 2 * 2 : 2], rows[1::2], strict=True)
        if len(rows) % 2:
            yield (start, rows[0]) if len(rows) == 1 and rows[0] - start < end - rows[0] else (rows[-1], end)


def exchange_around(tracks: Tracks, row: int, pairs: Ids) -> slice:
    """Return the rows around one in which left and right are exchanged as in it, by the motion.

    It goes on from a frame to the next as long as the joints clearly fit better as they are than exchanged.

    Args:
        tracks: Has the row.
        row: In which they are exchanged.
        pairs: `[P, 2]` channels of left and right.
    """
    if len(pairs) == 0:
        return slice(row, row + 1)
    straight, crossed = _exchange_costs(tracks, pairs)
    clear = (crossed - straight).sum(1) > CLEARLY_ON
    ends = ~clear | ~tracks.together
    ends |= tracks.confirmed[:, pairs.ravel()].any(1)
    after = np.flatnonzero(ends[row + 1 :])
    stays = clear[: row + 1] & tracks.together[: row + 1]
    stays[1:] &= ~tracks.confirmed[:row, pairs.ravel()].any(1)
    before = np.flatnonzero(~stays)
    return slice(int(before[-1]), row + 1 + int(after[0]) if len(after) else len(tracks))


CLEARLY_ON = 0.02
"""Squared deviations, square body sizes, by which joints fit better as they are where an exchange goes on."""
LONGEST_LIMB = 1.6
"""A limb is stretched when it is so many times as long as it mostly is in its track ..."""
LEAST_STRETCH = 0.15
"""... and by so many body sizes longer."""
ONE_POINT = 0.04
"""Ankles that are nearer than this, in body sizes, are on one point ..."""
APART_OTHERWISE = 0.12
"""... which is odd when the knees are further apart than this."""
PASSING_S = 0.12
"""Legs that pass each other are on one point for less than this."""


def odd_limbs(tracks: Tracks) -> Iterator[Suspect]:
    """Limbs far longer than they mostly are in their track, and both legs on one point."""
    bones = np.array(tracks.keypoints.skeleton_index).reshape(-1, 2)
    if len(tracks) == 0 or len(bones) == 0:
        return
    names = tracks.keypoints.joints
    likely = np.zeros(tracks.present.shape)
    said: dict[str, Bools] = {}
    seen = np.asarray(tracks.present[:, bones].all(2))
    length = np.linalg.norm(tracks.xy[:, bones[:, 0]] - tracks.xy[:, bones[:, 1]], axis=2) / tracks.size[:, None]
    usual = _usual(tracks, length, seen)
    stretched = np.where(seen & (length > LONGEST_LIMB * usual) & (length > usual + LEAST_STRETCH), length / usual, 0.0)
    far_end = np.where(tracks.wrong[:, bones[:, 1]] >= tracks.wrong[:, bones[:, 0]], bones[:, 1], bones[:, 0])
    for bone in range(len(bones)):  # the less certain end is the wrong one
        odd = np.flatnonzero(stretched[:, bone])
        joint = far_end[odd, bone]
        likely[odd, joint] = np.maximum(likely[odd, joint], 1.0 - 0.7 / np.sqrt(stretched[odd, bone] / LONGEST_LIMB))
    said["longer than elsewhere in the track"] = likely > 0
    fallen = np.zeros(likely.shape, bool)
    for together in _on_one_point(tracks, "ankle", "knee"):
        fallen[together, _pairs(tracks, ("ankle",))[0]] = True
    said["on one point with the other side"] = fallen
    likely[fallen] = np.maximum(likely[fallen], 0.5)
    likely[tracks.confirmed] = 0.0
    for what, marked in said.items():
        for first, end, joints in _person_runs(tracks, marked & (likely > 0)):
            rows = slice(first, end)
            numbers, track = tracks.number[rows], tracks.ids[first]
            part_likely = likely[rows] * marked[rows]
            yield suspect(
                "limb",
                numbers,
                _expected(tracks, rows, part_likely > 0),
                tracks=[track],
                joints=[names[j] for j in joints],
                severity=float(part_likely.max()),
                reason=f"In {frame_list(numbers[0], numbers[-1])} limbs of track {track} are {what}: "
                f"{joint_list(names[j] for j in joints)}.",
            )


def _usual(tracks: Tracks, length: Doubles, seen: Bools) -> Doubles:
    """Return `[N, B]` median length of each limb in the row's track, of what is seen; at least a little."""
    usual = np.empty_like(length)
    masked = np.where(seen, length, np.nan)
    for start, end in zip(tracks.starts.tolist(), (tracks.ends + 1).tolist(), strict=True):
        known = seen[start:end].any(0)
        middle = np.full(length.shape[1], np.inf)
        if known.any():
            middle[known] = np.nanmedian(masked[start:end, known], axis=0)
        usual[start:end] = middle
    return usual.clip(min=0.02)


def _on_one_point(tracks: Tracks, part: str, above: str) -> Iterator[slice]:
    """Yield rows in which both joints of a pair stay on one point while those above are apart."""
    lower, upper = _pairs(tracks, (part,)), _pairs(tracks, (above,))
    if len(lower) == 0 or len(upper) == 0:
        return
    (left, right), (up_left, up_right) = lower[0], upper[0]
    xy, size = tracks.xy, tracks.size
    near = np.linalg.norm(xy[:, left] - xy[:, right], axis=1) < ONE_POINT * size
    apart = np.linalg.norm(xy[:, up_left] - xy[:, up_right], axis=1) > APART_OTHERWISE * size
    there = tracks.present[:, [left, right, up_left, up_right]].all(1)
    for first, end in runs_of(near & apart & there, tracks.together):
        if (end - first) * tracks.step_s > PASSING_S or end - first > 3:
            yield slice(first, end)


UNSURE_FROM = 0.5
"""A joint that is wrong more likely than this is named; three such joints make a person suspicious ..."""
UNSURE_JOINTS = 3.0
"""... or so many joints that are probably wrong in all."""
UNSURE_SPLIT_S = 1.0
"""Longer stretches of unsure joints are told piece by piece."""


def unsure_joints(tracks: Tracks) -> Iterator[Suspect]:
    """Joints that are probably wrong by their calibrated probability, or by their score where there is none."""
    names = tracks.keypoints.joints
    wrong = np.where(tracks.present, tracks.wrong, 0.0)
    unsure = wrong > UNSURE_FROM
    marked = unsure.any(1) | (wrong.sum(1) > UNSURE_JOINTS)
    longest = tracks.steps(UNSURE_SPLIT_S)
    for begin, stop in runs_of(marked, tracks.together):
        for first in range(begin, stop, longest):
            rows = slice(first, min(first + longest, stop))
            joints = np.flatnonzero(unsure[rows].any(0))
            numbers, track = tracks.number[rows], tracks.ids[first]
            expected = wrong[rows].sum(1)
            what = joint_list(names[j] for j in joints) if len(joints) else "most joints"
            yield suspect(
                "unsure",
                numbers,
                expected,
                tracks=[track],
                joints=[names[j] for j in joints] or names,
                severity=float(expected.max()) / max(int(tracks.present[rows].sum(1).max()), 1),
                reason=f"In {frame_list(numbers[0], numbers[-1])} the model is unsure of {what} of track {track}; "
                f"{expected.max():.1f} joints of a frame are probably wrong.",
            )
