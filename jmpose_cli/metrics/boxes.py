"""Tracking of boxes: HOTA (Luiten et al., 2021), CLEAR MOT and IDF1 as TrackEval counts them, and where ids change."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles, PoseRecords, check_tracks
from jmpose_cli.metrics.identity import IdEvents, Matched, count_events, match_frames
from jmpose_cli.values import Ids

_EPS = np.finfo(float).eps
_ALPHAS = np.arange(0.05, 0.99, 0.05)
ASSUMED_FPS = 25.0
"""Of files that say no times, as MOT's."""


@dataclass(frozen=True)
class BoxTracking:
    """Figures in percent over all videos; a match is an IoU of 0.5, for HOTA of 0.05 to 0.95.

    Attributes:
        hota: Higher order tracking accuracy.
        mota: Multi-object tracking accuracy.
        idf1: F1 score of identities.
        switches: Number of identity switches.
        events: The switches by kind, and late starts.
        ceiling_hota: HOTA of the same boxes if each had the id of the person whom it is matched to.
        ceiling_idf1: IDF1 likewise.
    """

    hota: float
    mota: float
    idf1: float
    switches: int
    events: IdEvents
    ceiling_hota: float
    ceiling_idf1: float


@dataclass(frozen=True)
class BoxSequence:
    """Annotated and predicted boxes of one video by frame; ids are numbered from 0.

    Attributes:
        time_s: `[F]` seconds.
        people: Of each frame, `[G]` numbers of the annotated people.
        tracks: Of each frame, `[P]` numbers of the predicted tracks.
        overlaps: Of each frame, `[G, P]` intersection over union.
    """

    time_s: Doubles
    people: list[Ids]
    tracks: list[Ids]
    overlaps: list[Doubles]


@dataclass(frozen=True)
class _Boxes:
    """Boxes of one file by frame; ids numbered from 0."""

    boxes: list[Doubles]
    ids: list[Ids]


def evaluate_boxes(videos: Sequence[tuple[PoseRecords, PoseRecords]], *, fps: float = ASSUMED_FPS) -> BoxTracking:
    """Evaluate the tracked boxes of some videos, ground truth and predictions each.

    Frames are paired by `frame_index` where both files have it, else by their place. Frames without annotated
    people do not count, since PoseTrack leaves most frames without annotation.

    Args:
        videos: Ground truth and predictions.
        fps: Frames a second of files that do not say when their frames are.

    Raises:
        JmposeError: A person without a box or track id.
    """
    return evaluate_sequences([_sequence(*video, fps=fps) for video in videos])


def evaluate_sequences(sequences: Sequence[BoxSequence]) -> BoxTracking:
    """Evaluate tracked boxes that are paired already."""
    matched = [match_frames(one.people, one.tracks, one.overlaps) for one in sequences]
    events = sum((count_events(m, one.time_s) for m, one in zip(matched, sequences, strict=True)), IdEvents())
    hits = sum(int((person >= 0).sum()) for m in matched for person in m.person_of)
    people = sum(len(ids) for one in sequences for ids in one.people)
    boxes = sum(len(ids) for one in sequences for ids in one.tracks)
    right = [_with_right_ids(one, m) for one, m in zip(sequences, matched, strict=True)]
    return BoxTracking(
        hota=_hota(sequences),
        mota=100 * (2 * hits - boxes - events.switches) / max(people, 1),
        idf1=_idf1(sequences),
        switches=events.switches,
        events=events,
        ceiling_hota=_hota(right),
        ceiling_idf1=_idf1(right),
    )


def overlaps_of(one: Doubles, other: Doubles) -> Doubles:
    """Return the `[N, M]` intersection over union of boxes `[N, 4]` and `[M, 4]`, x0, y0, x1, y1."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (high - low).clip(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, _EPS))


def _with_right_ids(sequence: BoxSequence, matched: Matched) -> BoxSequence:
    numbers = matched.right_ids()
    return BoxSequence(sequence.time_s, sequence.people, _from_zero(numbers), sequence.overlaps)


def _from_zero(ids: Sequence[Ids]) -> list[Ids]:
    """Number ids from 0 without holes."""
    if not ids:
        return []
    _, number = np.unique(np.concatenate(ids), return_inverse=True)
    return np.split(number, np.cumsum([len(frame) for frame in ids])[:-1])


def _counts(frames: Sequence[Ids]) -> Doubles:
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *frames])).astype(np.float64)


def _hota(sequences: Sequence[BoxSequence]) -> float:
    """Return HOTA in percent: the mean over the thresholds of the root of detection times association accuracy."""
    from scipy.optimize import linear_sum_assignment

    hits, weighted, people, boxes = np.zeros(len(_ALPHAS)), np.zeros(len(_ALPHAS)), 0.0, 0.0
    for one in sequences:
        mine, theirs = _counts(one.people), _counts(one.tracks)
        people, boxes = people + mine.sum(), boxes + theirs.sum()
        possible = np.zeros((len(mine), len(theirs)))
        for g, p, overlap in zip(one.people, one.tracks, one.overlaps, strict=True):
            union = overlap.sum(0, keepdims=True) + overlap.sum(1, keepdims=True) - overlap
            possible[g[:, None], p] += np.divide(overlap, union, out=np.zeros_like(overlap), where=union > _EPS)
        alike = possible / (mine[:, None] + theirs - possible)
        found = np.zeros((len(_ALPHAS), len(mine), len(theirs)))
        for g, p, overlap in zip(one.people, one.tracks, one.overlaps, strict=True):
            rows, columns = linear_sum_assignment(alike[g[:, None], p] * overlap, maximize=True)
            found[:, g[rows], p[columns]] += overlap[rows, columns] >= _ALPHAS[:, None] - _EPS
        hits += found.sum((1, 2))
        weighted += (found * found / np.maximum(mine[:, None] + theirs - found, 1)).sum((1, 2))
    accuracy = hits / np.maximum(people + boxes - hits, 1) * weighted / np.maximum(hits, 1)
    return 100 * float(np.sqrt(accuracy).mean())


def _idf1(sequences: Sequence[BoxSequence]) -> float:
    """Return the F1 score of identities in percent: people and tracks are paired once a video."""
    from scipy.optimize import linear_sum_assignment

    right, together = 0.0, 0.0
    for one in sequences:
        mine, theirs = _counts(one.people), _counts(one.tracks)
        together += mine.sum() + theirs.sum()
        shared = np.zeros((len(mine), len(theirs)))
        for g, p, overlap in zip(one.people, one.tracks, one.overlaps, strict=True):
            shared[g[:, None], p] += overlap >= 0.5
        rows, columns = linear_sum_assignment(shared, maximize=True)
        right += shared[rows, columns].sum()
    return 200 * float(right) / max(float(together), 1.0)


def _sequence(truth: PoseRecords, predicted: PoseRecords, *, fps: float) -> BoxSequence:
    """Pair the boxes of two files."""
    numbers = _frame_numbers(truth, predicted)
    frames = np.unique(numbers[0])
    mine, theirs = (_by_frame(r, n, frames) for r, n in zip((truth, predicted), numbers, strict=True))
    overlaps = [overlaps_of(a, b) for a, b in zip(mine.boxes, theirs.boxes, strict=True)]
    times = _times(truth, numbers[0]) or _times(predicted, numbers[1])
    time_s = np.array([times.get(frame, frame / fps) for frame in frames.tolist()], np.float64)
    return BoxSequence(time_s, mine.ids, _from_zero(theirs.ids), overlaps)


def _times(records: PoseRecords, frame: Ids) -> dict[int, float]:
    """Return the times that a file says of the frames of its people."""
    times = [records.images[row].time_s for row in records.image_row.tolist()]
    return {f: at_s for f, at_s in zip(frame.tolist(), times, strict=True) if at_s is not None}


def _frame_numbers(truth: PoseRecords, predicted: PoseRecords) -> tuple[Ids, Ids]:
    """Number of the frame of every person in both files."""
    numbers = [[image.frame_index for image in records.images] for records in (truth, predicted)]
    if any(number is None for column in numbers for number in column):
        return truth.image_row, predicted.image_row
    return (
        np.array(numbers[0], np.int64)[truth.image_row],
        np.array(numbers[1], np.int64)[predicted.image_row],
    )


def _by_frame(records: PoseRecords, frame: Ids, frames: Ids) -> _Boxes:
    boxless = np.flatnonzero(np.isnan(records.boxes_xyxy_px).any(1) | (records.track_ids < 0))
    if boxless.size:
        image = records.images[records.image_row[boxless[0]]]
        raise JmposeError(
            f"{records.path}: person {boxless[0]} in {image.file_name} has no `bbox` or no `track_id`",
            hint="box tracking needs both for everybody",
        )
    check_tracks(records)
    _, number = np.unique(records.track_ids, return_inverse=True)
    rows = [np.flatnonzero(frame == f) for f in frames.tolist()]
    return _Boxes([records.boxes_xyxy_px[r] for r in rows], [number[r] for r in rows])
