"""What the page is told of a clip: its tracks as lanes of a timeline, and the poses of some frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jmpose_cli.clips.live_truth import LiveTruth
from jmpose_cli.clips.operation import rows_in
from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import CORRECTED, MODEL
from jmpose_cli.values import Bools, Ids

MOST_BINS = 600
"""Steps of a lane's score: as many as a timeline has room for."""


def runs(numbers: Ids) -> list[list[int]]:
    """Return rising frame numbers as runs `[first, last]`."""
    if not len(numbers):
        return []
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    firsts, lasts = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(numbers) - 1]])
    return np.stack([numbers[firsts], numbers[lasts]], 1).tolist()  # type: ignore[no-any-return]


def lanes(live: LiveTruth, tracks: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Return tracks as the timeline shows them, in the order in which they appear.

    Args:
        live: The clip.
        tracks: Which; those that are not there are left out. None means all.

    Returns:
        By track: `id`; `present`, `corrected` and `spread` as runs of frames, the last of those that are propagated or
        interpolated; `score`; `bins`, mean scores 0 to 100 of equal parts of the clip, -1 where the track is not.
    """
    people = live.roster
    rows = np.arange(len(live)) if tracks is None else rows_in(live, tracks)
    rows = rows[np.lexsort((people.frame[rows], people.track_ids[rows]))]
    if not len(rows):
        return []
    ids, places = people.track_ids[rows], people.frame[rows]
    sources = np.where(live.column("visibility", rows) > 0, live.column("sources", rows), MODEL)
    is_corrected: Bools = np.asarray((sources == CORRECTED).any(1))
    is_spread: Bools = np.asarray((sources > CORRECTED).any(1))
    scores = live.column("person_scores", rows)
    count = len(live.index)
    bins = min(count, MOST_BINS)
    bin_of = places * bins // count
    bounds = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1], [True]]))
    found = []
    for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        mine = slice(first, end)
        numbers = live.index[places[mine]]
        found.append(
            {
                "id": int(ids[first]),
                "present": runs(numbers),
                "corrected": runs(numbers[is_corrected[mine]]),
                "spread": runs(numbers[is_spread[mine]]),
                "score": round(float(scores[mine].mean()), 3),
                "bins": _means(bin_of[mine], scores[mine], bins),
            }
        )
    return sorted(found, key=lambda lane: (lane["present"][0][0], lane["id"]))


def _means(bin_of: Ids, scores: Doubles, bins: int) -> list[int]:
    counts = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, scores, minlength=bins)
    return np.where(counts > 0, np.rint(100 * sums / counts.clip(min=1)), -1).astype(int).tolist()  # type: ignore[no-any-return]


def poses(live: LiveTruth, first: int, end: int) -> list[dict[str, Any]]:
    """Return the people of the frames with numbers `first` to `end - 1`.

    Returns:
        By frame: `n`, `t` seconds, `reviewed`, `people` with `id`, `box` (corners), `score`, `occluded`, and of each
        joint `xy`, `v` (0 not there, 1 hidden, 2 visible), `s` (score) and `src` (place in `formats.coco.SOURCES`).
    """
    begin, stop = np.searchsorted(live.index, (first, end)).tolist()
    part = live.part(live.rows_of(slice(begin, stop)))
    people: list[list[dict[str, Any]]] = [[] for _ in range(begin, stop)]
    columns = {
        "box": part.boxes_xyxy_px.round(2).tolist(),
        "score": part.person_scores.round(3).tolist(),
        "occluded": part.occluded.tolist(),
        "xy": part.xy.round(2).tolist(),
        "v": part.visibility.tolist(),
        "s": part.scores.round(3).tolist(),
        "src": part.sources.tolist(),
    }
    for row, (place, track) in enumerate(zip(part.frame.tolist(), part.track_ids.tolist(), strict=True)):
        people[place - begin].append({"id": track, **{name: values[row] for name, values in columns.items()}})
    return [
        {
            "n": int(live.index[place]),
            "t": float(live.time_s[place]),
            "reviewed": bool(live.reviewed[place]),
            "people": here,
        }
        for place, here in enumerate(people, begin)
    ]
