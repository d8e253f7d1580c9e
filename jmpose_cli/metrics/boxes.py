"""Tracking of boxes: HOTA, MOTA and IDF1 through the `trackers` library, whose figures equal TrackEval's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import Doubles, PoseRecords, check_tracks
from jmpose_cli.values import Ids


@dataclass(frozen=True)
class BoxTracking:
    """Figures in percent over all videos; a match is an IoU of 0.5, for HOTA of 0.05 to 0.95.

    Attributes:
        hota: Higher order tracking accuracy.
        mota: Multi-object tracking accuracy.
        idf1: F1 score of identities.
        switches: Number of identity switches.
    """

    hota: float
    mota: float
    idf1: float
    switches: int


@dataclass(frozen=True)
class _Boxes:
    """Boxes of one file by frame; ids numbered from 0."""

    boxes: list[Doubles]
    ids: list[Ids]


def evaluate_boxes(videos: Sequence[tuple[PoseRecords, PoseRecords]]) -> BoxTracking:
    """Evaluate the tracked boxes of some videos, ground truth and predictions each.

    Frames are paired by `frame_index` where both files have it, else by their place. Frames without annotated
    people do not count, since PoseTrack leaves most frames without annotation.

    Raises:
        JmposeError: A person without a box or track id.
    """
    from trackers.eval import (
        aggregate_clear_metrics,
        aggregate_hota_metrics,
        aggregate_identity_metrics,
        box_iou,
        compute_clear_metrics,
        compute_hota_metrics,
        compute_identity_metrics,
    )

    clear, hota, identity = [], [], []
    for truth, predicted in videos:
        wanted = _frame_numbers(truth, predicted)
        mine, theirs = (
            _by_frame(r, n, set(wanted[0].tolist())) for r, n in zip((truth, predicted), wanted, strict=True)
        )
        overlaps = [np.asarray(box_iou(a, b)) for a, b in zip(mine.boxes, theirs.boxes, strict=True)]
        clear.append(compute_clear_metrics(mine.ids, theirs.ids, overlaps, threshold=0.5))
        hota.append(compute_hota_metrics(mine.ids, theirs.ids, overlaps))
        identity.append(compute_identity_metrics(mine.ids, theirs.ids, overlaps, threshold=0.5))
    all_clear = aggregate_clear_metrics(clear)
    return BoxTracking(
        hota=100 * float(aggregate_hota_metrics(hota)["HOTA"]),
        mota=100 * float(all_clear["MOTA"]),
        idf1=100 * float(aggregate_identity_metrics(identity)["IDF1"]),
        switches=int(all_clear["IDSW"]),
    )


def _frame_numbers(truth: PoseRecords, predicted: PoseRecords) -> tuple[Ids, Ids]:
    """Number of the frame of every person in both files."""
    numbers = [[image.frame_index for image in records.images] for records in (truth, predicted)]
    if any(number is None for column in numbers for number in column):
        return truth.image_row, predicted.image_row
    return (
        np.array(numbers[0], np.int64)[truth.image_row],
        np.array(numbers[1], np.int64)[predicted.image_row],
    )


def _by_frame(records: PoseRecords, frame: Ids, frames: set[int]) -> _Boxes:
    boxless = np.flatnonzero(np.isnan(records.boxes_xyxy_px).any(1) | (records.track_ids < 0))
    if boxless.size:
        image = records.images[records.image_row[boxless[0]]]
        raise JmposeError(
            f"{records.path}: person {boxless[0]} in {image.file_name} has no `bbox` or no `track_id`",
            hint="box tracking needs both for everybody",
        )
    check_tracks(records)
    _, number = np.unique(records.track_ids, return_inverse=True)
    rows = [np.flatnonzero(frame == f) for f in sorted(frames)]
    return _Boxes([records.boxes_xyxy_px[r] for r in rows], [number[r] for r in rows])
