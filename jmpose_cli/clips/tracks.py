"""The rows of a truth track by track, in square pixels and body sizes, as checks look at them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.formats.records import Doubles
from jmpose_cli.formats.truth import CORRECTED, Truth
from jmpose_cli.values import Bools, Ids

SIZE_WINDOW_S = 1.0
"""A body's size is the median over so many seconds: boxes of people who are half hidden are small."""
LEAST_SIZE_PX = 4.0


@dataclass(frozen=True)
class Tracks:
    """N rows of T tracks, sorted by track and frame.

    Lengths are in square pixels: heights of a pixel.

    Attributes:
        keypoints: The K joints.
        width: Picture width.
        height: Picture height.
        index: `[M]` frame numbers of the clip.
        clock: `[M]` seconds.
        reviewed: `[M]` somebody has looked at all of the frame.
        place: `[N]` place of the row's frame in `index`.
        ids: `[N]` track id.
        who: `[N]` identity.
        boxes: `[N, 4]` corners.
        size: `[N]` body size: the root of the box's area, steadied over a second.
        xy: `[N, K, 2]` joints.
        present: `[N, K]`.
        scores: `[N, K]`.
        person_scores: `[N]`.
        wrong: `[N, K]` how likely each joint is off by more than a tenth of the body size, by its probability or score.
        sigma: `[N, K]` standard deviation of the joint; 0 where the file has no covariances.
        confirmed: `[N, K]` somebody has corrected the joint or reviewed its frame.
    """

    keypoints: KeypointSet
    width: float
    height: float
    index: Ids
    clock: Doubles
    reviewed: Bools
    place: Ids
    ids: Ids
    who: Ids
    boxes: Doubles
    size: Doubles
    xy: Doubles
    present: Bools
    scores: Doubles
    person_scores: Doubles
    wrong: Doubles
    sigma: Doubles
    confirmed: Bools

    def __len__(self) -> int:
        return len(self.place)

    @cached_property
    def number(self) -> Ids:
        """`[N]` frame number of each row."""
        return self.index[self.place]

    @cached_property
    def time(self) -> Doubles:
        """`[N]` seconds of each row."""
        return self.clock[self.place]

    @cached_property
    def starts(self) -> Ids:
        """`[T]` first row of each track."""
        return np.flatnonzero(np.concatenate([[True], self.ids[1:] != self.ids[:-1]])[: len(self)])

    @cached_property
    def ends(self) -> Ids:
        """`[T]` last row of each track."""
        return np.concatenate([self.starts[1:], [len(self)]])[: len(self.starts)] - 1

    @cached_property
    def centres(self) -> Doubles:
        """`[N, 2]` middles of the boxes."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @cached_property
    def _by_frame(self) -> tuple[Ids, Ids]:
        order = np.argsort(self.place, kind="stable")
        return order, np.searchsorted(self.place[order], np.arange(len(self.index) + 1))

    def of_frame(self, place: int) -> Ids:
        """Return the rows of the frame at a place of `index`."""
        order, bounds = self._by_frame
        return order[bounds[place] : bounds[place + 1]]

    @cached_property
    def together(self) -> Bools:
        """`[N]` the row is of the track and the frame that follow those of the row before it."""
        return self.follows(1)

    def follows(self, steps: int) -> Bools:
        """Return `[N]` whether the row is `steps` frames after the row so many before, in one track without gaps."""
        found = np.zeros(len(self), bool)
        if len(self) > steps:
            same = self.ids[steps:] == self.ids[:-steps]
            found[steps:] = same & (self.place[steps:] - self.place[:-steps] == steps)
        return found

    @cached_property
    def step_s(self) -> float:
        """Seconds between two frames, as a rule."""
        return max(float(np.median(np.diff(self.clock))), 1e-6) if len(self.clock) > 1 else 0.04

    def steps(self, seconds: float) -> int:
        """Return how many frames come in some time, at least one."""
        return max(round(seconds / self.step_s), 1)


def tracks_of(truth: Truth) -> Tracks:
    """Sort the rows of a truth by track, and derive what checks need."""
    rows = truth.rows(np.lexsort((truth.frame, truth.track_ids)))
    horizontal, vertical = truth.video.pixel_aspect
    stretch = np.array([horizontal / vertical, 1.0])
    boxes = rows.boxes_xyxy_px * np.tile(stretch, 2)
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(min=0)
    present = rows.present
    confirmed = (rows.sources == CORRECTED) | truth.reviewed[rows.frame][:, None]
    wrong = np.where(present, likely_wrong(rows), 0.0)
    return Tracks(
        keypoints=truth.keypoints,
        width=truth.video.width * stretch[0],
        height=float(truth.video.height),
        index=truth.index,
        clock=truth.time_s,
        reviewed=truth.reviewed,
        place=rows.frame,
        ids=rows.track_ids,
        who=rows.identity,
        boxes=boxes,
        size=steadied(rows, np.sqrt(sides.prod(1)), truth.time_s),
        xy=rows.xy * stretch,
        present=present,
        scores=rows.scores,
        person_scores=rows.person_scores,
        wrong=np.where(confirmed | (rows.sources > CORRECTED), 0.0, wrong),  # scores are of where the model had it
        sigma=_sigma(rows, stretch),
        confirmed=confirmed,
    )


def likely_wrong(rows: Truth) -> Doubles:
    """Return `[N, K]` how likely joints are wrong; without calibrated probabilities a guess from their scores."""
    if rows.probabilities is not None:
        return np.asarray(1.0 - rows.probabilities)
    logit = np.log(rows.scores.clip(1e-3, 1 - 1e-3)) - np.log1p(-rows.scores.clip(1e-3, 1 - 1e-3))
    return np.asarray(1.0 / (1.0 + np.exp(GUESS_AT_HALF + GUESS_SLOPE * logit)))


GUESS_AT_HALF, GUESS_SLOPE = 1.0, 1.7
"""Log-odds that a joint of score 0.5 is right, and their slope over the score's; fitted to `nano` on one rendered
scene, see `benchmarks/accuracy/check.py`."""


def _sigma(rows: Truth, stretch: Doubles) -> Doubles:
    if rows.covariances is None:
        return np.zeros(rows.scores.shape)
    both = rows.covariances[..., 0] * stretch[0] ** 2 + rows.covariances[..., 2]
    return np.asarray(np.sqrt(both.clip(min=0) / 2))


def steadied(rows: Truth, size: Doubles, clock: Doubles) -> Doubles:
    """Return `[N]` running medians along each track."""
    from scipy.ndimage import median_filter

    step_s = max(float(np.median(np.diff(clock))), 1e-6) if len(clock) > 1 else SIZE_WINDOW_S
    window = 2 * min(int(SIZE_WINDOW_S / step_s / 2), 60) + 1
    steady = size.copy()
    if window > 1:
        bounds = np.flatnonzero(np.diff(rows.track_ids)) + 1
        for part in np.split(np.arange(len(size)), bounds):
            if len(part):
                steady[part] = median_filter(size[part], size=min(window, 2 * len(part) - 1), mode="nearest")
    return steady.clip(min=LEAST_SIZE_PX)
