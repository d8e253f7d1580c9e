"""What the page is told of a clip: its tracks as lanes of a timeline, and the poses of some frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import CORRECTED, MODEL, Truth
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


def lanes(truth: Truth) -> list[dict[str, Any]]:
    """Return each track as the timeline shows it, in the order in which they appear.

    Returns:
        By track: `id`; `present`, `corrected` and `spread` as runs of frames, the last of those that are propagated or
        interpolated; `score`; `bins`, mean scores 0 to 100 of equal parts of the clip, -1 where the track is not.
    """
    order = np.lexsort((truth.frame, truth.track_ids))
    if not len(order):
        return []
    ids, places = truth.track_ids[order], truth.frame[order]
    sources = np.where(truth.present, truth.sources, MODEL)[order]
    is_corrected: Bools = np.asarray((sources == CORRECTED).any(1))
    is_spread: Bools = np.asarray((sources > CORRECTED).any(1))
    scores = truth.person_scores[order]
    count = len(truth.index)
    bins = min(count, MOST_BINS)
    bin_of = places * bins // count
    bounds = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1], [True]]))
    found = []
    for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        rows = slice(first, end)
        numbers = truth.index[places[rows]]
        found.append(
            {
                "id": int(ids[first]),
                "present": runs(numbers),
                "corrected": runs(numbers[is_corrected[rows]]),
                "spread": runs(numbers[is_spread[rows]]),
                "score": round(float(scores[rows].mean()), 3),
                "bins": _means(bin_of[rows], scores[rows], bins),
            }
        )
    return sorted(found, key=lambda lane: (lane["present"][0][0], lane["id"]))


def _means(bin_of: Ids, scores: Doubles, bins: int) -> list[int]:
    counts = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, scores, minlength=bins)
    return np.where(counts > 0, np.rint(100 * sums / counts.clip(min=1)), -1).astype(int).tolist()  # type: ignore[no-any-return]


def poses(truth: Truth, first: int, end: int) -> list[dict[str, Any]]:
    """Return the people of the frames with numbers `first` to `end - 1`.

    Returns:
        By frame: `n`, `t` seconds, `reviewed`, `people` with `id`, `box` (corners), `score`, and of each joint `xy`,
        `v` (0 not there, 1 hidden, 2 visible), `s` (score) and `src` (place in `formats.coco.SOURCES`).
    """
    begin, stop = np.searchsorted(truth.index, (first, end)).tolist()
    low, high = np.searchsorted(truth.frame, (begin, stop)).tolist()
    part = truth.rows(np.arange(low, high))
    people: list[list[dict[str, Any]]] = [[] for _ in range(begin, stop)]
    columns = {
        "box": part.boxes_xyxy_px.round(2).tolist(),
        "score": part.person_scores.round(3).tolist(),
        "xy": part.xy.round(2).tolist(),
        "v": part.visibility.tolist(),
        "s": part.scores.round(3).tolist(),
        "src": part.sources.tolist(),
    }
    for row, (place, track) in enumerate(zip(part.frame.tolist(), part.track_ids.tolist(), strict=True)):
        people[place - begin].append({"id": track, **{name: values[row] for name, values in columns.items()}})
    return [
        {
            "n": int(truth.index[place]),
            "t": float(truth.time_s[place]),
            "reviewed": bool(truth.reviewed[place]),
            "people": here,
        }
        for place, here in enumerate(people, begin)
    ]


def changed_numbers(old: Truth, new: Truth) -> Ids:
    """Return the numbers of the frames in which two truths of a clip differ, rising."""
    places = old.reviewed != new.reviewed
    if len(old) == len(new) and (old.frame == new.frame).all() and (old.track_ids == new.track_ids).all():
        places[new.frame[_differs(old, new)]] = True
    else:
        places[_rows_apart(old, new)] = True
    return np.asarray(new.index[places])


def _differs(old: Truth, new: Truth) -> Bools:
    """Return `[N]` whether rows that mean the same person and frame differ."""
    found = np.zeros(len(new), bool)
    for name, column in new.row_columns().items():
        before = getattr(old, name)
        if before is None:
            found[:] = True
        elif name != "model_xy" and before is not column:
            apart: NDArray[Any] = (before != column) & ~((before != before) & (column != column))
            found |= apart.reshape(len(apart), -1).any(1)
    return found


def _rows_apart(old: Truth, new: Truth) -> Ids:
    """Return the places of frames in which other people are, or the same ones otherwise."""
    count = len(new.index)
    first = np.stack([old.frame, old.track_ids], 1), np.stack([new.frame, new.track_ids], 1)
    both, inverse = np.unique(np.concatenate(first), axis=0, return_inverse=True)
    row = np.full((2, len(both)), -1, np.int64)
    row[0, inverse.ravel()[: len(old)]] = np.arange(len(old))
    row[1, inverse.ravel()[len(old) :]] = np.arange(len(new))
    shared = (row >= 0).all(0)
    apart = np.zeros(count, bool)
    apart[both[~shared, 0]] = True
    if shared.any():
        same = _differs(old.rows(row[0, shared]), new.rows(row[1, shared]))
        apart[both[shared, 0][same]] = True
    return np.flatnonzero(apart)
