"""What is suspicious in a clip while it is corrected: a thread looks again at what has changed, and only at that."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np

from jmpose_cli.clips.check import worst_first
from jmpose_cli.clips.check_joints import joint_suspects
from jmpose_cli.clips.check_people import people_suspects
from jmpose_cli.clips.live_truth import Change, LiveTruth
from jmpose_cli.clips.operation import rows_in
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.clips.tracks import tracks_of
from jmpose_cli.people.stitch import Join

AT_ONCE_ROWS = 20_000
"""Joints of tracks with so many people in all are looked at together."""
LONG_ROWS = 50_000
QUIET_S = 1.5
"""In clips with more people than `LONG_ROWS`, ids are looked at again when nobody has corrected for so long."""


class Suspicions:
    """The suspects of a clip, as `check.suspects` finds them; may be used by many threads.

    Args:
        live: Gives the truth as it is now.
        lock: Held while that is looked at.
        joins: Tracks that were taken to be one person.
    """

    def __init__(
        self, live: Callable[[], LiveTruth], lock: AbstractContextManager[object], joins: Sequence[Join] = ()
    ) -> None:
        self._live, self._lock, self._joins = live, lock, joins
        self._changed = threading.Condition()
        self._joints: dict[int, list[Suspect]] = {}
        self._people: list[Suspect] = []
        self._tracks = set(np.unique(live().roster.track_ids).tolist())  # whose joints are to be looked at
        self._state = self._people_state = 0  # as many changes there were; and when ids were looked at
        self._people_state = -1
        self._changed_at = -QUIET_S
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def note(self, change: Change) -> None:
        """Take in that something has changed; the caller holds the lock."""
        live = self._live()
        reviewed = [live.roster.track_ids[live.rows_of(slice(place, place + 1))] for place in change.marked.tolist()]
        with self._changed:
            self._tracks.update(np.concatenate([change.tracks, *reviewed]).tolist())
            self._state += 1
            self._changed_at = time.monotonic()
            self._changed.notify_all()

    def found(self, wait_s: float) -> tuple[list[Suspect], bool]:
        """Return what is suspicious, worst first, and whether that is all of the clip as it is.

        Args:
            wait_s: How long to wait until it is.
        """
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="suspects", daemon=True)
                self._thread.start()
            is_all = self._changed.wait_for(lambda: self._is_closed or self._is_current(), wait_s)
            joints = [one for track in sorted(self._joints) for one in self._joints[track]]
            return worst_first(joints, self._people), is_all

    def close(self) -> None:
        """Stop looking."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _is_current(self) -> bool:
        return not self._tracks and self._people_state == self._state

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or not self._is_current())
                if self._is_closed:
                    return
                has_tracks = bool(self._tracks)
            if has_tracks:
                self._look_at_joints()
            elif self._is_quiet():
                self._look_at_people()

    def _is_quiet(self) -> bool:
        """Wait until nobody has corrected a long clip for a while; False when somebody does."""
        state = self._state
        left = self._changed_at + QUIET_S - time.monotonic() if len(self._live()) > LONG_ROWS else 0.0
        with self._changed:
            return not self._changed.wait_for(lambda: self._is_closed or self._state != state, max(left, 0.0))

    def _look_at_joints(self) -> None:
        with self._lock:
            live = self._live()
            with self._changed:
                chosen, count = list[int](), 0
                while self._tracks and count < AT_ONCE_ROWS:
                    chosen.append(self._tracks.pop())
                    count += int(np.count_nonzero(live.roster.track_ids == chosen[-1]))
            part = live.part(rows_in(live, chosen), ("covariances", "probabilities"))
        found: dict[int, list[Suspect]] = {track: [] for track in chosen}
        for one in joint_suspects(tracks_of(part)) if len(part) else ():
            found[one.tracks[0]].append(one)
        with self._changed:
            # Whoever was corrected meanwhile is looked at again.
            self._joints |= found
            self._changed.notify_all()

    def _look_at_people(self) -> None:
        with self._lock:
            live, state = self._live(), self._state
            part = live.part(np.arange(len(live)), ("probabilities",))
        found: list[Suspect] = []
        for one in people_suspects(tracks_of(part), self._joins) if len(part) else ():
            found.append(one)
            if self._state != state or self._is_closed:
                return
        with self._changed:
            self._people, self._people_state = found, state
            self._changed.notify_all()
