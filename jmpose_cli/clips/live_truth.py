"""The truth of a clip while it is corrected: operations change the rows that they concern, in place, and can be undone.

An operation on a long clip concerns few of its people. `LiveTruth.apply` hands those to the operation as a small
`Truth`, and takes over what has become of them; what it replaces is kept as a `Change`, which takes it back. The result
is that of `Operation.apply` on the whole truth, to the byte.

People never move: who is added gets the next row, whoever is deleted keeps a row that is marked as gone. People of one
frame stand in the order of their rows, as in a `Truth`, so taking back an addition frees the last rows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmpose_cli.clips.operation import Operation
from jmpose_cli.formats.truth import JOINT_COLUMNS, MODEL, OPTIONAL_COLUMNS, ROW_COLUMNS, Roster, Truth
from jmpose_cli.values import Bools, Ids

Column = NDArray[Any]
_LIGHT = ("frame", "track_ids", "identity")


@dataclass(frozen=True)
class Change:
    """What operations have changed, and what was there before.

    Attributes:
        places: Places of the frames that differ now, rising.
        tracks: Ids, before or after, of the people who differ, rising.
        marked: Places of the frames of which the mark of review differs, rising.
        undo: What takes it back.
    """

    places: Ids
    tracks: Ids
    marked: Ids
    undo: "tuple[_Undo, ...]" = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(one.nbytes for one in self.undo)


def joined(changes: Sequence[Change]) -> Change:
    """Return several changes, in their order, as one."""
    none = np.zeros(0, np.int64)
    return Change(
        places=np.unique(np.concatenate([none, *(one.places for one in changes)])),
        tracks=np.unique(np.concatenate([none, *(one.tracks for one in changes)])),
        marked=np.unique(np.concatenate([none, *(one.marked for one in changes)])),
        undo=tuple(undo for one in changes for undo in one.undo),
    )


@dataclass(frozen=True)
class _Undo:
    """How to take one operation back.

    Attributes:
        count: Rows that there were.
        gone: Rows that were deleted.
        old: By column, rows and what stood there.
        reviewed: What was marked as reviewed.
        is_order_kept: The same people stand in the same order, and are who they were.
        columns: All that there was, where the operation has made everything anew.
    """

    count: int
    gone: Ids
    old: dict[str, tuple[Ids, Column]]
    reviewed: Bools
    is_order_kept: bool = False
    columns: "_Columns | None" = None

    @property
    def nbytes(self) -> int:
        whole = 0 if self.columns is None else self.columns.nbytes
        return whole + self.reviewed.nbytes + sum(rows.nbytes + values.nbytes for rows, values in self.old.values())


class _Columns:
    """Columns of a truth to which rows are added without copying those that are there.

    Args:
        columns: Of N rows, by name; they are changed in place.
    """

    def __init__(self, columns: dict[str, Column]) -> None:
        self._first = columns
        self._first_count = len(columns["frame"])
        self._more = {name: column[:0] for name, column in columns.items()}
        self.is_there = np.ones(self._first_count, bool)

    def __len__(self) -> int:
        return self._first_count + len(self._more["frame"])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._first)

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for part in (self._first, self._more) for column in part.values())

    def get(self, name: str, rows: Ids) -> Column:
        """Return a copy of some rows of a column."""
        first, more = self._first[name], self._more[name]
        if not len(more):
            return first[rows]
        late = rows >= self._first_count
        found = np.empty((len(rows), *first.shape[1:]), first.dtype)
        found[~late] = first[rows[~late]]
        found[late] = more[rows[late] - self._first_count]
        return found

    def bare(self, name: str, count: int) -> Column:
        """Return a column of joints for so many people who have none."""
        first = self._first[name]
        return np.empty((count, 0, *first.shape[2:]), first.dtype)

    def put(self, name: str, rows: Ids, values: Column) -> None:
        """Set some rows of a column."""
        late = rows >= self._first_count
        self._first[name][rows[~late]] = values[~late]
        self._more[name][rows[late] - self._first_count] = values[late]

    def add(self, columns: dict[str, Column]) -> None:
        """Add rows at the end."""
        self._more = {name: np.concatenate([more, columns[name]]) for name, more in self._more.items()}
        self.is_there = np.concatenate([self.is_there, np.ones(len(columns["frame"]), bool)])

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        self._more = {name: more[: count - self._first_count] for name, more in self._more.items()}
        self.is_there = self.is_there[:count]

    def in_order(self) -> Ids:
        """Return the rows that are there, in the order of their frames."""
        rows = np.flatnonzero(self.is_there)
        if not len(self._more["frame"]):
            return rows
        return rows[np.argsort(self.get("frame", rows), kind="stable")]


class LiveTruth:
    """The truth of a clip with the operations that were applied to it.

    Args:
        base: What the model gave, as `operation.settled` leaves it; its columns are changed in place.

    Attributes:
        index: `[M]` as in `Truth`.
        time_s: `[M]` as in `Truth`.
        reviewed: `[M]` as in `Truth`; not to be changed.
    """

    def __init__(self, base: Truth) -> None:
        self._frame = base.rows(np.zeros(0, np.int64))  # all but the people
        self.index, self.time_s, self.reviewed = base.index, base.time_s, base.reviewed
        self._columns = _Columns(base.row_columns())
        self._order = self._columns.in_order()
        self._roster = base.roster

    def __len__(self) -> int:
        return len(self._order)

    @property
    def head(self) -> Truth:
        """The truth without people."""
        return replace(self._frame, reviewed=self.reviewed)

    @property
    def roster(self) -> Roster:
        """Everybody."""
        return self._roster

    def truth(self) -> Truth:
        """Return a copy of all of it."""
        return self._with({name: self._columns.get(name, self._order) for name in self._columns.names})

    def column(self, name: str, rows: Ids) -> Column:
        """Return some rows of a column of `Truth`; they count in the order of its frames."""
        return self._columns.get(name, self._order[rows])

    def rows_of(self, places: slice) -> Ids:
        """Return the rows of the frames at some places of `index`."""
        return np.arange(*np.searchsorted(self._roster.frame, (places.start, places.stop)).tolist())

    def part(self, rows: Ids, columns: Collection[str] = ROW_COLUMNS) -> Truth:
        """Return a copy of some of the people, with those columns of `OPTIONAL_COLUMNS` that are named."""
        left_out = OPTIONAL_COLUMNS - {*columns}
        names = [name for name in self._columns.names if name not in left_out]
        return self._with({name: self._columns.get(name, self._order[rows]) for name in names})

    def is_touched(self, rows: Ids) -> Bools:
        """Return `[R]` whether joints of some rows are not the model's."""
        return np.asarray((self.column("sources", rows) != MODEL).any(1))

    def apply(self, operations: Sequence[Operation]) -> Change:
        """Apply operations, all or none.

        Raises:
            JmposeError: One cannot be applied.
        """
        done: list[Change] = []
        try:
            for operation in operations:
                done.append(self._apply(operation))  # noqa: PERF401  # those before one that fails are taken back
        except BaseException:
            self.revert(joined(done))
            raise
        return joined(done)

    def revert(self, change: Change) -> None:
        """Take back what was changed last."""
        for undo in reversed(change.undo):
            if undo.columns is not None:
                self._columns = undo.columns
            self._columns.cut(undo.count)
            self._columns.is_there[undo.gone] = True
            for name, (rows, values) in undo.old.items():
                self._columns.put(name, rows, values)
            self.reviewed = undo.reviewed
        if not all(undo.is_order_kept for undo in change.undo):
            self._sort()

    def _apply(self, operation: Operation) -> Change:
        if not len(self):
            return self._apply_whole(operation)
        rows = self._order[operation.reach(self)]
        before = self._part(rows, joints=operation.needs_joints)
        after = operation.apply(before)
        is_last = len(self) - len(before) + len(after) == 0
        return self._apply_whole(operation) if is_last else self._take(rows, before, after)

    def _apply_whole(self, operation: Operation) -> Change:
        """Apply an operation that leaves or finds nobody: then columns come and go."""
        before = self.truth()
        after = operation.apply(before)
        undo = _Undo(len(self._columns), np.zeros(0, np.int64), {}, self.reviewed, columns=self._columns)
        self._columns, self.reviewed = _Columns(after.row_columns()), after.reviewed
        self._sort()
        marked = np.flatnonzero(before.reviewed != after.reviewed)
        places = np.union1d(np.union1d(before.frame, after.frame), marked)
        return Change(places, np.union1d(before.track_ids, after.track_ids), marked, (undo,))

    def _take(self, rows: Ids, before: Truth, after: Truth) -> Change:
        """Take over what has become of some rows."""
        assert after.origin is not None
        is_kept = after.origin > 0
        place = after.origin[is_kept] - 1
        left = np.delete(np.arange(len(rows)), place)
        old: dict[str, tuple[Ids, Column]] = {}
        differs = np.zeros(len(place), bool)
        for name in self._columns.names if len(place) else ():
            was, now = getattr(before, name)[place], getattr(after, name)[is_kept]
            apart = np.flatnonzero(_is_apart(was, now))
            if len(apart):
                old[name] = (rows[place[apart]], was[apart])
                self._columns.put(name, rows[place[apart]], now[apart])
                differs[apart] = True
        is_order_kept = not len(left) and bool(is_kept.all()) and not old.keys() & set(_LIGHT)
        undo = _Undo(len(self._columns), rows[left], old, self.reviewed, is_order_kept)
        self._columns.is_there[rows[left]] = False
        if not is_kept.all():
            added = after.rows(~is_kept)
            self._columns.add({name: getattr(added, name) for name in self._columns.names})
        marked = np.flatnonzero(self.reviewed != after.reviewed)
        self.reviewed = after.reviewed
        if not is_order_kept:
            self._sort()
        was_there = np.concatenate([place[differs], left])
        now_there = np.concatenate([np.flatnonzero(is_kept)[differs], np.flatnonzero(~is_kept)])
        places = np.concatenate([before.frame[was_there], after.frame[now_there], marked])
        tracks = np.concatenate([before.track_ids[was_there], after.track_ids[now_there]])
        return Change(np.unique(places), np.unique(tracks), marked, (undo,))

    def _sort(self) -> None:
        self._order = self._columns.in_order()
        self._roster = Roster(*(self._columns.get(name, self._order) for name in _LIGHT))

    def _part(self, rows: Ids, *, joints: bool) -> Truth:
        """Return the people of some rows of the columns; without joints, columns of joints have none."""
        columns = {
            name: self._columns.get(name, rows)
            if joints or name not in JOINT_COLUMNS
            else self._columns.bare(name, len(rows))
            for name in self._columns.names
        }
        return self._with(columns | {"origin": np.arange(1, len(rows) + 1)}, whole=self._roster)

    def _with(self, columns: dict[str, Column], whole: Roster | None = None) -> Truth:
        found: dict[str, Any] = dict.fromkeys(OPTIONAL_COLUMNS - columns.keys()) | columns
        return replace(self._frame, reviewed=self.reviewed, whole=whole, **found)


def _is_apart(was: Column, now: Column) -> Bools:
    """Return `[R]` whether rows differ; what is not a number is like itself."""
    apart = (was != now) & ((was == was) | (now == now))
    return np.asarray(apart.reshape(len(apart), -1).any(1))
