"""Whom to keep of a video where people are limited, chosen when all of it is known."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from jmpose_cli.people.stitch import Identities
from jmpose_cli.values import Bools, FramePoses, TrackedFrame


class PeopleLimit:
    """Keeps the people who are largest for longest. One object a video: `add` all frames in order, then `keep`.

    People come in the order of the sum of their boxes' areas over all frames, whatever tracks they have. Whoever finds
    a free place in at least half of the frames is kept in these, and anybody else nowhere: somebody beside the main
    person does not appear when that one leaves for a moment.

    Args:
        most: People in a frame.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts, self._indices = array("q"), array("q")
        self._tracks, self._areas = array("q"), array("d")

    def add(self, people: TrackedFrame) -> None:
        """Take the next frame."""
        self._counts.append(len(people))
        self._indices.append(people.index)
        self._tracks.extend(people.track_ids.tolist())
        self._areas.extend((people.boxes_xyxy_px[:, 2:] - people.boxes_xyxy_px[:, :2]).prod(1).tolist())

    def keep(self, frames: Iterable[FramePoses], identities: Identities | None) -> Iterator[FramePoses]:
        """Yield the frames again, with those who are kept.

        Args:
            frames: The frames added.
            identities: Who their tracks are; None: every track is a person.
        """
        chosen, start = self._chosen(identities), 0
        for poses in frames:
            kept = chosen[start : start + len(poses)]
            start += len(poses)
            yield poses if kept.all() else poses.only(kept)

    def _chosen(self, identities: Identities | None) -> Bools:
        """Return `[N]` which people of all frames are kept."""
        frame = np.repeat(np.arange(len(self._counts)), self._counts)
        who = np.array(self._tracks, np.int64)
        if identities is not None:
            who = identities.of(who, np.array(self._indices, np.int64)[frame])
        _, person = np.unique(who, return_inverse=True)
        rows_of = np.split(np.argsort(person, kind="stable"), np.cumsum(np.bincount(person))[:-1])
        room = np.full(len(self._counts), min(self._most, max(self._counts, default=0)))
        kept = np.zeros(len(who), bool)
        for one in np.argsort(-np.bincount(person, self._areas), kind="stable").tolist():
            # Tracks that exchange their ids at a meeting may be one person for some frames.
            _, first = np.unique(frame[rows_of[one]], return_index=True)
            rows = rows_of[one][first]
            free = rows[room[frame[rows]] > 0]
            if 2 * len(free) >= len(rows):
                kept[free] = True
                room[frame[free]] -= 1
        return kept
