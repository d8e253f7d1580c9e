"""What is suspicious in a clip, worst first, and what to try; NumPy and SciPy only."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from jmpose_cli.choices import SUSPECT_KINDS, SuspectKind
from jmpose_cli.clips.check_joints import joint_suspects
from jmpose_cli.clips.check_people import NOBODY_BELOW, people_suspects
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.clips.tracks import tracks_of
from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import Truth
from jmpose_cli.people.stitch import Join
from jmpose_cli.values import Ids

SAID: dict[SuspectKind, tuple[str, str]] = {
    "jump": ("jump of joints", "jumps of joints"),
    "sides": ("exchange of left and right", "exchanges of left and right"),
    "limb": ("odd limb", "odd limbs"),
    "unsure": ("stretch of unsure joints", "stretches of unsure joints"),
    "appears": ("birth inside the picture", "births inside the picture"),
    "vanishes": ("death inside the picture", "deaths inside the picture"),
    "gap": ("id that was lost and found", "ids that were lost and found"),
    "double": ("person with two tracks", "people with two tracks"),
    "shared": ("track of two people", "tracks of two people"),
    "nobody": ("track of nobody", "tracks of nobody"),
}
"""How kinds are called: one, and several."""
WORTH_SAYING = 0.3
"""Severity from which on a suspect counts in the summary."""
FALSE_PEOPLE_SHARE = 0.5
"""Share of tracks that score too low from which on a higher threshold is advised."""
HIGHER_BOX_SCORE = 0.5


def suspects(truth: Truth, joins: Sequence[Join] = ()) -> list[Suspect]:
    """Find what is suspicious in a clip, worst first.

    Frames that somebody reviewed and joints that somebody corrected are not suspicious by their scores.

    Args:
        truth: The clip; any number of frames and people, also none.
        joins: Tracks that were taken to be one person.
    """
    if len(truth) == 0:
        return []
    tracks = tracks_of(truth)
    return worst_first(joint_suspects(tracks), list(people_suspects(tracks, joins)))


def worst_first(joints: Iterable[Suspect], people: Sequence[Suspect]) -> list[Suspect]:
    """Return the suspects of a clip, worst first.

    Args:
        joints: About joints; each track's are the same when it is looked at alone.
        people: About ids and whole people.
    """
    nobody = {one.tracks[0] for one in people if one.kind == "nobody"}  # its joints are nobody's either
    found = [*(one for one in joints if one.tracks[0] not in nobody), *people]
    return sorted(found, key=lambda one: (-one.severity, one.at, one.tracks, SUSPECT_KINDS.index(one.kind)))


def rank_frames(found: Iterable[Suspect]) -> list[int]:
    """Order frames by the errors that suspects let expect in them, the most suspicious first.

    Of suspects about the joints of one track in one frame the weightiest counts, and of those about its id.

    Returns:
        Frame numbers; those without suspects are left out.
    """
    rows, weight = _weights(found)
    numbers, place = np.unique(rows[:, 0], return_inverse=True)
    total = np.bincount(place, weight, minlength=len(numbers))
    return [int(number) for number in numbers[np.lexsort((numbers, -total))]]


def rank_people(found: Iterable[Suspect]) -> list[tuple[int, int]]:
    """Order people of frames likewise.

    Returns:
        Frame number and track id; those without suspects are left out.
    """
    rows, weight = _weights(found)
    people, place = np.unique(rows[:, :2], axis=0, return_inverse=True)
    total = np.bincount(place.ravel(), weight, minlength=len(people))
    return [(int(number), int(track)) for number, track in people[np.argsort(-total, kind="stable")]]


def _weights(found: Iterable[Suspect]) -> tuple[Ids, Doubles]:
    """Return `[n, 3]` frame number, track id, about joints or not, each once, and `[n]` the highest weight of each."""
    rows, weights = [np.zeros((0, 3), np.int64)], [np.zeros(0)]
    for one in found:
        columns = np.empty((len(one.numbers), 3), np.int64)
        columns[:, 0], columns[:, 1], columns[:, 2] = one.numbers, one.tracks[0], bool(one.joints)
        rows.append(columns)
        weights.append(one.weights)
    every, weight = np.concatenate(rows), np.concatenate(weights)
    order = np.lexsort((-weight, every[:, 2], every[:, 1], every[:, 0]))
    every, weight = every[order], weight[order]
    first = np.ones(len(every), bool)
    first[1:] = (every[1:] != every[:-1]).any(1)
    return every[first], weight[first]


def hints(truth: Truth, found: Sequence[Suspect]) -> list[str]:
    """Advise on settings that would have helped the clip as a whole."""
    said = []
    tracks = len(np.unique(truth.track_ids))
    nobody = {one.tracks[0] for one in found if one.kind == "nobody"}
    if tracks and len(nobody) >= max(2, FALSE_PEOPLE_SHARE * tracks):
        said.append(
            f"{len(nobody)} of {tracks} people score below {NOBODY_BELOW:g}: try --min-box-score {HIGHER_BOX_SCORE:g}"
        )
    gaps = sum(one.kind == "gap" and len(one.tracks) == 2 and one.severity >= WORTH_SAYING for one in found)
    if gaps >= max(3, 0.3 * tracks):
        said.append(f"{gaps} of {tracks} ids are lost and found again: try --set people.lost_after_s=3")
    jumps = sum(len(one.numbers) for one in found if one.kind == "jump")
    if len(truth) and truth.raw_xy is None and jumps > 0.1 * len(truth):
        said.append(f"joints jump in {100 * jumps / len(truth):.0f} % of the poses: try --smooth")
    return said


def summary(found: Sequence[Suspect], advice: Sequence[str] = ()) -> list[str]:
    """Say in at most two lines what was found, for the end of a run.

    Args:
        found: What `suspects` gave.
        advice: What `hints` gave; the first is told.

    Returns:
        No line where nothing is worth saying.
    """
    told = [one for one in found if one.severity >= WORTH_SAYING]
    lines = []
    if told:
        worst = next((one.remedy for one in told if one.remedy), "")
        tried = f"; worth a try: `jmpose edit` with {worst}" if worst else ""
        lines.append(f"suspicious: {tally(told)}; `jmpose check` shows them{tried}")
    return lines + list(advice[:1])


def tally(found: Iterable[Suspect]) -> str:
    """Count suspects by kind, in words."""
    counts = Counter(one.kind for one in found)
    return ", ".join(f"{counts[kind]} {SAID[kind][counts[kind] > 1]}" for kind in SUSPECT_KINDS if kind in counts)
