"""CSV tables of poses (RFC 4180): one row a person a frame, joints in columns.

Columns: `video, frame_index, time_s, track_id, person_score, box_x, box_y, box_w, box_h, box_score,
box_observed`, then `<joint>_x, <joint>_y, <joint>_score` for every joint, then, when the poses were smoothed,
`<joint>_x_raw, <joint>_y_raw`. Cells of joints that the model does not give are empty. Coordinates are image
pixels from the centre of the top-left one, `time_s` is the container's timestamp, `box_observed` is 0 where the
box was interpolated. A frame without people has no row. A video or joint whose name begins like a formula has an
apostrophe before it, as spreadsheets want it.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.files import PartialFile
from jmpose_cli.formats.base import (
    SCORE_DECIMALS,
    TIME_DECIMALS,
    PoseWriter,
    VideoMeta,
    boxes_xywh,
    rounded,
)
from jmpose_cli.formats.keypoint_mapping import absent_joints, map_keypoints, present_joints
from jmpose_cli.formats.records import PoseRecords, frame_numbers, xyxy_to_xywh
from jmpose_cli.text import csv_cell
from jmpose_cli.values import FramePoses

_PERSON_COLUMNS = (
    *("video", "frame_index", "time_s", "track_id", "person_score"),
    *("box_x", "box_y", "box_w", "box_h", "box_score", "box_observed"),
)


def joint_columns(joints: Sequence[str], *, with_raw: bool) -> list[str]:
    """Return the names of the joints' columns; with `with_raw`, those of unsmoothed joints come after them."""
    names = [f"{joint}_{value}" for joint in joints for value in ("x", "y", "score")]
    return names + [f"{joint}_{axis}_raw" for joint in joints for axis in "xy"] if with_raw else names


class CsvWriter(PoseWriter):
    """Writes one CSV table; see `PoseWriter` for how it is used.

    Args:
        path: The file to write; its folder must exist.
        meta: The video.
        keypoints: Keypoint set of the poses that will come.
        with_raw: Adds the columns of unsmoothed joints; every frame must then have them.
        written: Keypoint set of the table; None takes that of the poses.

    Raises:
        JmposeError: The file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        meta: VideoMeta,
        keypoints: KeypointSet,
        *,
        with_raw: bool,
        written: KeypointSet | None = None,
    ) -> None:
        super().__init__(path, meta, keypoints)
        self._with_raw, self._written = with_raw, written or keypoints
        self._absent = ~present_joints(keypoints, self._written)
        self._file = PartialFile(path)
        joints = joint_columns(self._written.joints, with_raw=with_raw)
        self._write_rows([[*_PERSON_COLUMNS, *map(csv_cell, joints)]])

    def _write(self, poses: FramePoses) -> None:
        if (poses.xy_raw_image is not None) != self._with_raw:
            raise ValueError(f"with_raw is {self._with_raw}, but the poses say otherwise")
        n, k = len(poses), len(self._written)
        xy, scores = map_keypoints(poses.xy_image, poses.scores, self._keypoints, self._written)
        joints = np.concatenate([rounded(xy), rounded(scores, SCORE_DECIMALS)[..., None]], 2)
        absent = self._absent | absent_joints(xy, scores)
        joints[absent] = np.nan
        values = joints.reshape(n, 3 * k)
        if poses.xy_raw_image is not None:
            raw, _ = map_keypoints(poses.xy_raw_image, poses.scores, self._keypoints, self._written)
            raw[absent] = np.nan
            values = np.concatenate([values, rounded(raw).reshape(n, 2 * k)], axis=1)
        people = poses.people
        columns = zip(
            people.track_ids.tolist(),
            rounded(poses.person_scores, SCORE_DECIMALS).tolist(),
            boxes_xywh(people.boxes_xyxy_px).tolist(),
            ["" if math.isnan(score) else score for score in rounded(people.scores, SCORE_DECIMALS).tolist()],
            people.observed.astype(int).tolist(),
            [["" if math.isnan(value) else value for value in row] for row in values.tolist()],
            strict=True,
        )
        frame = [csv_cell(self._meta.name), people.index, round(people.time_s, TIME_DECIMALS)]
        self._write_rows(
            [
                [*frame, track_id, score, *box, box_score, observed, *row]
                for track_id, score, box, box_score, observed, row in columns
            ]
        )

    def _write_rows(self, rows: list[list[str | int | float]] | list[list[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        self._file.write(text.getvalue().encode())

    def _finish(self) -> None:
        self._file.commit()

    def _discard(self) -> None:
        self._file.discard()


def records_csv(records: PoseRecords) -> str:
    """Build the table of any pose file: the same columns with every digit, and empty cells for what is missing."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow([*_PERSON_COLUMNS, *map(csv_cell, joint_columns(records.joints, with_raw=False))])
    frames = frame_numbers(records.images).tolist()
    xy = np.where(records.present[..., None], records.xy, np.nan)
    values = np.concatenate([xy, records.scores[..., None]], axis=2).reshape(len(records), 3 * len(records.joints))
    columns = zip(
        records.image_row.tolist(),
        records.track_ids.tolist(),
        records.person_scores.tolist(),
        xyxy_to_xywh(records.boxes_xyxy_px).tolist(),
        values.tolist(),
        strict=True,
    )
    for row, track_id, score, box, joint_values in columns:
        image = records.images[row]
        time_s = "" if image.time_s is None else image.time_s
        track = "" if track_id < 0 else track_id
        numbers = ["" if math.isnan(value) else value for value in (score, *box)]
        cells = ["" if math.isnan(value) else value for value in joint_values]
        video = image.vid_id or records.path.stem
        rows.writerow([csv_cell(video), frames[row], time_s, track, *numbers, "", "", *cells])
    return text.getvalue()
