"""A reviewer who knows the ground truth: what it does to a clip on a desk, and in which order.

A desk is the page of `jmpose review`, or something that behaves as the page does. Whatever the reviewer does there
counts: a click, a drag or a key is one action, modifiers included.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from check import ABOUT_IDS, OFF, Mistakes, Switch, mistakes_of
from jmpose_cli.clips.check import suspects
from jmpose_cli.clips.edit import operations_in
from jmpose_cli.clips.operations import Merge, Operation, Propagate, Review, SetJoints, Swap, SwapSides
from jmpose_cli.clips.suspect import Suspect
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.formats.truth import Truth

GOAL_PCK = 95.0
REACH_S = 0.16  # of a correction: so long a stretch around it is taken to be mended
GOES, SELECTS, JOINTS, IDS, REVIEWS = KINDS = ("go", "select", "joints", "ids", "review")
NEAR_PX, BONUS_PX, MOVED_PX = 11.0, 4.0, 3.0  # of the page: a joint is gripped, one of the selected person, and dragged
SELECTED_AND_PRESSED = 2  # actions
MOST_MOVED = 50  # exchanges of ids that make none fewer that change
MOST_TRIES = 5  # of exchanges of ids in a frame: those that are left come with the rest
LIMBS = {"Shift+F": ("shoulder", "elbow", "wrist"), "Shift+L": ("hip", "knee", "ankle")}  # keys that exchange them
CANVAS = (1097.0, 653.0)  # of the page in a window of 1440x900, for desks without a browser


class Desk:
    """The page without a browser: the same operations, selections and actions.

    Args:
        truth: The clip as the model gave it.
        spreads: Corrections of joints spread to the frames around at once.
        canvas: Width and height of the picture on the screen, pixels.

    Attributes:
        truth: The clip as it stands.
        actions: How many there were, by kind.
        place: Of the frame that is shown.
        track: Who is selected.
        other: Who is the other one of a merge or swap.
        suspect: The suspect that was gone to last.
    """

    def __init__(self, truth: Truth, *, spreads: bool, canvas: tuple[float, float] = CANVAS) -> None:
        self.truth = replace(truth, model_xy=np.where(truth.present[..., None], truth.xy, np.nan))
        self.spreads = spreads
        video = truth.video
        self.scale = min(canvas[0] / video.width, canvas[1] / video.height)
        self.actions: Counter[str] = Counter()
        self.place = 0
        self.track: int | None = None
        self.other: int | None = None
        self.suspect: Suspect | None = None

    @property
    def number(self) -> int:
        """Number of the frame that is shown."""
        return int(self.truth.index[self.place])

    def suspects(self) -> list[Suspect]:
        """List what the page calls suspicious, in its order."""
        return suspects(self.truth)

    def go_to_suspect(self, place: int) -> Suspect:
        """Click on a suspect of the list, which selects whom it names, and shows the frame."""
        return self._at(self.suspects()[place])

    def _at(self, suspect: Suspect) -> Suspect:
        self.suspect, self.track = suspect, suspect.tracks[0]
        self.other = suspect.tracks[1] if len(suspect.tracks) > 1 else None
        self.place = int(np.searchsorted(self.truth.index, suspect.at))
        self.actions[GOES] += 1
        return suspect

    def go(self, track: int, place: int) -> None:
        """Click into a track's lane."""
        self._is_now(track)
        self.place = place
        self.actions[GOES] += 1

    def step(self) -> None:
        """Go to the next frame."""
        self.place += 1
        self.actions[GOES] += 1

    def select(self, track: int) -> None:
        """Click on a person of the list."""
        self._is_now(track)
        self.actions[SELECTS] += 1

    def select_other(self, track: int) -> None:
        """Shift+click on a track's lane."""
        self.other = track
        self.actions[SELECTS] += 1

    def _is_now(self, track: int) -> None:
        self.track = track
        self.other = None if self.other == track else self.other

    def drag(self, track: int, joint: int, x: float, y: float) -> None:
        """Drag a joint to a place; where it cannot be gripped, select it in the lists and press q there."""
        grip = self.grip(track, joint, x, y)
        if grip is None and self.track != track:
            self.select(track)
        self.actions[SELECTS] += grip is None
        self._is_now(track)
        (row,) = self.rows(track)
        name, seen = self.truth.keypoints.joints[joint], int(self.truth.visibility[row, joint]) or 2
        point = SetJoints(track=track, frame=self.number, joints={name: (round(x, 2), round(y, 2), seen)})
        around = Propagate(track=track, joints=(name,), around=self.number)
        self._do(JOINTS, point, *([around] if self.spreads else []))

    def grip(self, track: int, joint: int, x: float, y: float) -> tuple[float, float] | None:
        """Return where to press to drag a joint to a place, image pixels; None where another joint lies over it."""
        (row,) = self.rows(track)
        if not self.truth.present[row, joint]:
            return None
        start, target = self.truth.xy[row, joint] * self.scale, np.array([x, y]) * self.scale
        here = self.truth.of_frame(self.place)
        others, there = self.truth.xy[here] * self.scale, self.truth.present[here].copy()
        bonus = np.where(self.truth.track_ids[here] == self.track, BONUS_PX, 0.0)[:, None]
        there[row - here.start, joint] = False
        reach = NEAR_PX + (BONUS_PX if self.track == track else 0)
        best, room = None, 0.5
        for radius in (0.0, 3.0, 6.0, 9.0):
            for angle in np.arange(0, 2 * np.pi, np.pi / 6) if radius else [0.0]:
                at = start + radius * np.array([np.cos(angle), np.sin(angle)])
                away = np.where(there, np.linalg.norm(others - at, axis=2) - bonus, np.inf).min(initial=np.inf)
                own = radius - (reach - NEAR_PX)
                left = min(away - own, reach - radius) if np.linalg.norm(at - target) > MOVED_PX + 1 else 0.0
                if left > room and (best is None or radius == 0 or left > room + 1):
                    best, room = at / self.scale, left
            if best is not None:
                return float(best[0]), float(best[1])
        return None

    def rows(self, track: int) -> np.ndarray:
        """Rows of a person in the frame that is shown: one or none."""
        here = self.truth.of_frame(self.place)
        return here.start + np.flatnonzero(self.truth.track_ids[here] == track)

    def press(self, key: str) -> None:
        """Press a key that corrects ids; Enter goes to the next suspect as well."""
        if key != "Enter":
            self._do(IDS, *self.meaning(key))
            return
        listed = self.suspects()
        after = [one for one in listed if same(one, self.suspect)]
        following = listed[(listed.index(after[0]) if after else -1) + 1 :] or listed[:-1]
        self._do(IDS, *self.meaning(key))
        if following:
            self._at(following[0])
            self.actions[GOES] -= 1

    def meaning(self, key: str) -> Sequence[Operation]:
        """Say what a key would do now; nothing where it needs more."""
        if key == "Enter":
            return operations_in(self.suspect.remedy) if self.suspect is not None else ()
        if key in LIMBS and self.track is not None:
            left = [f"left_{part}" for part in LIMBS[key]]
            joints = tuple(name for name in self.truth.keypoints.joints if name in left)
            if self.spreads:
                return [SwapSides(track=self.track, joints=joints, around=self.number)]
            return [SwapSides(track=self.track, joints=joints, frames=(self.number, self.number + 1))]
        if self.track is None or self.other is None:
            return ()
        if key == "m":
            return [Merge(tracks=(self.track, self.other))]
        return [Swap(tracks=(self.track, self.other), frames=(self.number, None if key == "x" else self.number + 1))]

    def mark_reviewed(self) -> None:
        """Go to the last frame, and mark all up to there."""
        self.place = len(self.truth.index) - 1
        self.actions[GOES] += 1
        self._do(REVIEWS, Review())

    def _do(self, kind: str, *operations: Operation) -> None:
        for operation in operations:
            self.truth = operation.apply(self.truth)
        self.actions[kind] += 1


def same(one: Suspect, other: Suspect | None) -> bool:
    """Whether two suspects are one, as the page sees it."""
    return other is not None and (one.kind, one.at, one.tracks[0]) == (other.kind, other.at, other.tracks[0])


@dataclass
class Progress:
    """How a clip stands against its ground truth."""

    mistakes: Mistakes

    @property
    def pck(self) -> float:
        """Per cent of the joints of people who were found that are within a tenth of the body size of their place."""
        known = ~np.isnan(self.mistakes.off)
        return 100.0 - 100.0 * float(self.mistakes.off[known].mean()) if known.any() else 100.0

    @property
    def switches(self) -> list[Switch]:
        """Ids that change."""
        return self.mistakes.switches

    @property
    def is_done(self) -> bool:
        """Nothing is left to do."""
        return self.pck >= GOAL_PCK and not self.switches


@dataclass
class Reviewer:
    """Corrects what it sees, until the joints and ids are good enough.

    Attributes:
        desk: Where.
        ground: What is so.
        curve: After each step, the actions so far, PCK, and ids that change.
    """

    desk: Desk
    ground: PoseRecords
    curve: list[tuple[int, float, int]] = field(default_factory=list)
    _seen: tuple[Truth, Progress] | None = None
    _moved: int = 0
    _vain: set[tuple[int, int, str]] = field(default_factory=set)  # exchanges that would not help: frame, track, key

    def look(self) -> Progress:
        """Compare the clip with what is so."""
        if self._seen is None or self._seen[0] is not self.desk.truth:
            now = Progress(mistakes_of(self.desk.truth, self.ground))
            self.curve.append((self.desk.actions.total(), now.pck, len(now.switches)))
            self._seen = self.desk.truth, now
        return self._seen[1]

    def every_suspect(self) -> None:
        """Look at every suspect, the worst first: those about ids, then those about joints; then mend what is left."""
        self._mend_switches()
        self._mend_sides()
        self._follow(lambda one: bool(one.joints), self._mend_joints, lambda now: now.pck < GOAL_PCK)
        self._mend_the_rest()

    def where_most_is_wrong(self) -> None:
        """Mend ids by the list, then joints and sides where most are wrong, as the timeline and playing show it."""
        self._mend_switches()
        self._mend_the_rest()

    def _mend_sides(self) -> None:
        self._follow(lambda one: one.kind == "sides", self._take_advice, lambda now: now.pck < GOAL_PCK)

    def _take_advice(self, _: Suspect) -> None:
        """Do what is advised if fewer joints are wrong then."""
        if self._gained("Enter") > 0:
            self.desk.press("Enter")

    def _gained(self, key: str) -> float:
        """Return how many per cent of the joints more would be right after a key; 0 where it means nothing."""
        truth, meant = self.desk.truth, self.desk.meaning(key)
        for operation in meant:
            truth = operation.apply(truth)
        return Progress(mistakes_of(truth, self.ground)).pck - self.look().pck if meant else 0.0

    def _mend_switches(self) -> None:
        self._follow(lambda one: one.kind in ABOUT_IDS, self._mend_ids, lambda now: bool(now.switches))
        while switches := self.look().switches:
            self._mend_switch(switches[0])

    def _mend_the_rest(self) -> None:
        while not (now := self.look()).is_done:
            if now.switches:
                self._mend_switch(now.switches[0])
            else:
                self._mend_worst(now)

    def frame_by_frame(self) -> None:
        """Mend whatever is wrong in a frame, joints as long as PCK is too low, then go to the next."""
        while True:
            tried = 0
            while tried < MOST_TRIES and (here := [s for s in self.look().switches if s.frame == self.desk.number]):
                self._swap(here[0].after, here[0].before)
                tried += 1
            rows = self.desk.truth.of_frame(self.desk.place)
            for key, gained in self._exchanged(self.look().mistakes).items():
                for row in (rows.start + np.flatnonzero(gained[rows] > SELECTED_AND_PRESSED)).tolist():
                    if self.look().pck < GOAL_PCK:
                        self.desk.select(int(self.desk.truth.track_ids[row]))
                        self.desk.press(key)
            mistakes = self.look().mistakes
            for row, joint in np.argwhere(mistakes.off[rows] == 1).tolist():
                if self.look().pck >= GOAL_PCK:
                    break
                self._drag(mistakes, rows.start + row, joint)
            if self.look().is_done or self.desk.place == len(self.desk.truth.index) - 1:
                break
            self.desk.step()
        self._mend_the_rest()  # what has come of corrections in frames before

    def _follow(
        self, wanted: Callable[[Suspect], bool], mend: Callable[[Suspect], None], goes_on: Callable[[Progress], bool]
    ) -> None:
        """Go through the suspects of a kind from the top, those that come up meanwhile too, each once."""
        seen: set[tuple[Any, ...]] = set()
        while goes_on(self.look()):
            listed = self.desk.suspects()
            fresh = [n for n, one in enumerate(listed) if wanted(one) and key_of(one) not in seen]
            if not fresh:
                break
            now = self.desk.suspect
            is_there = same(listed[fresh[0]], now) and now is not None and key_of(now) not in seen
            suspect = listed[fresh[0]] if is_there else self.desk.go_to_suspect(fresh[0])
            seen.add(key_of(suspect))
            mend(suspect)

    def _mend_ids(self, _: Suspect) -> None:
        """Do what leaves the fewest ids that change, if anything does."""
        best, fewest = "", len(self.look().switches)
        for key in ("Enter", "m", "x", "Shift+X"):
            left = self._left(self.desk.meaning(key))
            if left < fewest:
                best, fewest = key, left
        if best:
            self.desk.press(best)

    def _left(self, operations: Sequence[Operation]) -> float:
        """Return how many ids would change after some operations; infinity where they cannot be done."""
        truth = self.desk.truth
        try:
            for operation in operations:
                truth = operation.apply(truth)
        except JmposeError:
            return np.inf
        return len(mistakes_of(truth, self.ground).switches) if operations else np.inf

    def _mend_switch(self, switch: Switch) -> None:
        """Exchange the two ids where they change, from there on or there; where that does not help, before."""
        truth = self.desk.truth
        place = int(np.searchsorted(truth.index, switch.frame))
        pair, left = (switch.before, switch.after), len(self.look().switches)
        ends = (None, switch.frame + 1)
        if min(self._left([Swap(tracks=pair, frames=(switch.frame, end))]) for end in ends) < left:
            self.desk.go(switch.after, place)
            self._swap(switch.after, switch.before)
            return
        who = self.look().mistakes.who
        (row,) = np.flatnonzero((truth.frame == place) & (truth.track_ids == switch.after))
        before = truth.frame[(truth.track_ids == switch.before) & (who == who[row]) & (truth.frame < place)]
        begin = before[np.flatnonzero(np.diff(before, prepend=-2) > 1)[-1]]  # of the stretch before
        for there in (int(begin), place):
            self.desk.go(switch.before, there)
            if self.desk.other != switch.after:
                self.desk.select_other(switch.after)
            self.desk.press("x")
        self._moved += 1
        if self._moved > MOST_MOVED:
            raise RuntimeError(
                f"ids {switch.before} and {switch.after} change in frame {switch.frame}, whatever is done"
            )

    def _swap(self, track: int, other: int) -> None:
        """Exchange two ids, from here on or here, whichever leaves fewer that change."""
        if self.desk.track != track:
            self.desk.select(track)
        if self.desk.other != other:
            self.desk.select_other(other)
        self.desk.press(min(("x", "Shift+X"), key=lambda key: self._left(self.desk.meaning(key))))

    def _mend_joints(self, suspect: Suspect) -> None:
        mistakes = self.look().mistakes
        (row,) = self.desk.rows(suspect.tracks[0])
        worth = self._worth(mistakes)[row]
        for joint in best_of(worth):
            self._drag(mistakes, row, joint)

    def _mend_worst(self, now: Progress) -> None:
        """Go to the person and frame where corrections are worth most an action, and correct those joints there.

        Left and right of limbs are exchanged first, where that is worth more than to put their joints.
        """
        truth, worth = self.desk.truth, self._worth(now.mistakes)
        best, row, chosen = 0.0, 0, ""
        for key, gained in {"": np.zeros(len(truth)), **self._exchanged(now.mistakes)}.items():
            columns = np.concatenate([worth, self._around(gained.clip(min=0)[:, None])], 1)
            columns[:, [*self._limb(key), -1]] *= [0] * len(self._limb(key)) + [1]
            values = np.sort(columns, 1)[:, ::-1].cumsum(1) / (1 + np.arange(1, columns.shape[1] + 1))
            if values.max() > best:
                best, row, chosen = values.max(), int(values.max(1).argmax()), key
        track = int(truth.track_ids[row])
        self.desk.go(track, int(truth.frame[row]))
        if chosen and self._gained(chosen) > 0:
            self.desk.press(chosen)
        elif chosen:
            self._vain.add((self.desk.number, track, chosen))
        mistakes = self.look().mistakes
        for joint in best_of(self._worth(mistakes)[row]):
            self._drag(mistakes, row, joint)

    def _limb(self, key: str) -> list[int]:
        """Return the joints that a key exchanges."""
        joints = self.desk.truth.keypoints.joints
        return [joints.index(name) for name in joints if name.partition("_")[2] in LIMBS.get(key, ())]

    def _exchanged(self, mistakes: Mistakes) -> dict[str, np.ndarray]:
        """Return, by key, how many joints more `[N]` would be right in the frame if it was pressed there."""
        truth, found = self.desk.truth, {}
        for key in LIMBS:
            limb = self._limb(key)
            there = truth.xy[:, np.array(truth.keypoints.flip_index)[limb]]
            is_off = np.linalg.norm(there - mistakes.wanted[:, limb], axis=2) > OFF * mistakes.size[:, None]
            found[key] = np.nansum(mistakes.off[:, limb], 1) - (is_off & (mistakes.off[:, limb] >= 0)).sum(1)
        for frame, track, key in self._vain:
            found[key][(truth.index[truth.frame] == frame) & (truth.track_ids == track)] = 0
        return found

    def _drag(self, mistakes: Mistakes, row: int, joint: int) -> None:
        self.desk.drag(int(self.desk.truth.track_ids[row]), joint, *mistakes.wanted[row, joint].tolist())

    def _worth(self, mistakes: Mistakes) -> np.ndarray:
        """Return `[N, K]` how much is wrong of each joint around each frame, without a break; 0 where it is right.

        Frames count less the further away they are: nothing from half a second on. Without spreading, 1 counts.
        """
        return self._around(np.nan_to_num(mistakes.off))

    def _around(self, wrong: np.ndarray) -> np.ndarray:
        """Sum `[N, C]` of what is wrong over the frames around, as `_worth` says."""
        if not self.desk.spreads:
            return wrong
        worth, truth = np.zeros(wrong.shape), self.desk.truth
        for track in np.unique(truth.track_ids).tolist():
            rows = np.flatnonzero(truth.track_ids == track)
            times = truth.time_s[truth.frame[rows]]
            near = (1 - np.abs(times[:, None] - times) / REACH_S).clip(0)
            for column in np.flatnonzero(wrong[rows].any(0)).tolist():
                for first, end in runs(wrong[rows, column] > 0):
                    worth[rows[first:end], column] = near[first:end, first:end] @ wrong[rows[first:end], column]
        return worth


def key_of(suspect: Suspect) -> tuple[Any, ...]:
    """Tell suspects apart."""
    return suspect.kind, suspect.at, suspect.tracks


def runs(marked: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first and end of each stretch of `[n]` marks."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def best_of(worth: np.ndarray) -> list[int]:
    """Choose the joints `[K]` that are worth most an action, one action being spent already."""
    order = np.argsort(-worth, kind="stable")
    count = int((worth[order].cumsum() / (1 + np.arange(1, len(order) + 1))).argmax()) + 1
    return [joint for joint in order[:count].tolist() if worth[joint] > 0]
