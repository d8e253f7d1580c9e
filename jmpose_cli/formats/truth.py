"""The truth of a clip in memory: all that its COCO file holds, in columns that corrections and checks work on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jmpose.keypoints import KeypointSet
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.base import (
    COORDINATE_DECIMALS,
    SCORE_DECIMALS,
    TIME_DECIMALS,
    VideoMeta,
    boxes_xywh,
    rounded,
)
from jmpose_cli.formats.clip import described, frames_per_second, in_order, optional_lists, raw_joints, unknown_set
from jmpose_cli.formats.coco import COVARIANCE_DECIMALS, SOURCES, CocoWriter, Marks
from jmpose_cli.formats.json_file import read_json
from jmpose_cli.formats.keypoint_mapping import known_set, truth_set
from jmpose_cli.formats.read import poses_in
from jmpose_cli.formats.records import Doubles, JsonTable, PoseRecords, xywh_to_xyxy
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.values import Bools, FramePoses, Ids, TrackedFrame

TRUTH_FILE = FORMATS["coco"].file_name
MODEL, CORRECTED, PROPAGATED, INTERPOLATED = range(len(SOURCES))
MOST_FAULTS = 10


@dataclass(frozen=True)
class Roster:
    """Who is in which frame of a clip, without where they are: N people in the order of `Truth`.

    Attributes:
        frame: `[N]` place of the frame in `Truth.index`.
        track_ids: `[N]`.
        identity: `[N]`.
    """

    frame: Ids
    track_ids: Ids
    identity: Ids


@dataclass(frozen=True)
class Truth:
    """The people of one clip: N rows, one a person and frame, in M frames with K joints.

    Rows stand in the order of their frames. Numbers are rounded as in the file, so that reading and writing change
    nothing. Arrays are not to be changed in place: operations give a new truth.

    Attributes:
        path: Where it was read.
        keypoints: The joints; COCO's 17 first when they are all there.
        video: What the file says of the video.
        info: What it says of the tool, the model and the like.
        index: `[M]` frame numbers, rising.
        time_s: `[M]` seconds.
        reviewed: `[M]` somebody has looked at all of the frame.
        frame: `[N]` place in `index` of each row, not falling.
        track_ids: `[N]` from 1, different in a frame.
        identity: `[N]` who it is after tracks were joined.
        boxes_xyxy_px: `[N, 4]` corners in image pixels.
        box_scores: `[N]`; NaN where the file does not say.
        observed: `[N]` False where the box was interpolated.
        person_scores: `[N]`.
        occluded: `[N]` CVAT's mark of the whole person.
        xy: `[N, K, 2]` image pixels; (0, 0) where the joint is not there.
        visibility: `[N, K]` uint8: 0 not there, 1 hidden, 2 visible.
        scores: `[N, K]` 0..1; 0 where the joint is not there.
        sources: `[N, K]` uint8, places in `coco.SOURCES`.
        raw_xy: `[N, K, 2]` before smoothing; None where nothing was smoothed.
        covariances: `[N, K, 3]` xx, xy, yy in square pixels; None where the file has none.
        probabilities: `[N, K]` that the joint lies within 0.1 of the body size; None where the model is not calibrated.
        model_xy: `[N, K, 2]` where the model had the joint that stands here, NaN where it had none. No file holds it:
            None, unless it comes from the corrections of a clip.
        origin: `[N]` in a part of a clip, the row of the whole counted from 1; 0 of people who were added since.
        whole: In a part of a clip, everybody of the whole.
    """

    path: Path
    keypoints: KeypointSet
    video: VideoMeta
    info: dict[str, Any] = field(repr=False)
    index: Ids = field(repr=False)
    time_s: Doubles = field(repr=False)
    reviewed: Bools = field(repr=False)
    frame: Ids = field(repr=False)
    track_ids: Ids = field(repr=False)
    identity: Ids = field(repr=False)
    boxes_xyxy_px: Doubles = field(repr=False)
    box_scores: Doubles = field(repr=False)
    observed: Bools = field(repr=False)
    person_scores: Doubles = field(repr=False)
    occluded: Bools = field(repr=False)
    xy: Doubles = field(repr=False)
    visibility: NDArray[np.uint8] = field(repr=False)
    scores: Doubles = field(repr=False)
    sources: NDArray[np.uint8] = field(repr=False)
    raw_xy: Doubles | None = field(default=None, repr=False)
    covariances: Doubles | None = field(default=None, repr=False)
    probabilities: Doubles | None = field(default=None, repr=False)
    model_xy: Doubles | None = field(default=None, repr=False)
    origin: Ids | None = field(default=None, repr=False)
    whole: Roster | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def present(self) -> Bools:
        """`[N, K]` joints that are there."""
        return np.asarray(self.visibility > 0)

    @property
    def roster(self) -> Roster:
        """Everybody of the clip, also where this is a part of it."""
        return self.whole or Roster(self.frame, self.track_ids, self.identity)

    def rows(self, kept: NDArray[Any]) -> "Truth":
        """Return a truth with some of the people: a mask `[N]`, or places in the order wanted."""
        return replace(self, **{name: value[kept] for name, value in self.row_columns().items()})

    def row_columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns with one row a person, by name; those that the file does not have are left out."""
        columns = {name: getattr(self, name) for name in ROW_COLUMNS}
        return {name: column for name, column in columns.items() if column is not None}

    def sorted(self) -> "Truth":
        """Return the same with rows in the order of their frames; those of one frame keep theirs."""
        return self.rows(np.argsort(self.frame, kind="stable"))

    def of_frame(self, place: int) -> slice:
        """Return the rows of the frame at `place` of `index`."""
        begin, end = np.searchsorted(self.frame, (place, place + 1)).tolist()
        return slice(begin, end)

    def poses(self) -> Iterator[FramePoses]:
        """Yield the poses of each frame."""
        starts = np.searchsorted(self.frame, np.arange(len(self.index) + 1)).tolist()
        for place, (index, time_s) in enumerate(zip(self.index.tolist(), self.time_s.tolist(), strict=True)):
            yield self._poses_of(index, time_s, slice(starts[place], starts[place + 1]))

    def _poses_of(self, index: int, time_s: float, rows: slice) -> FramePoses:
        def floats(column: Doubles | None) -> Any:
            return None if column is None else column[rows].astype(np.float32)

        people = TrackedFrame(
            index=index,
            time_s=time_s,
            boxes_xyxy_px=floats(self.boxes_xyxy_px),
            scores=floats(self.box_scores),
            track_ids=self.track_ids[rows],
            observed=self.observed[rows],
        )
        return FramePoses(
            people,
            floats(self.xy),
            floats(self.scores),
            floats(self.person_scores),
            floats(self.raw_xy),
            covariances=floats(self.covariances),
            probabilities=floats(self.probabilities),
        )

    def marks(self, place: int) -> Marks:
        """Return what people have said of the frame at `place` of `index`."""
        rows = self.of_frame(place)
        return Marks(
            reviewed=bool(self.reviewed[place]),
            identity=self.identity[rows],
            sources=self.sources[rows],
            visibility=self.visibility[rows],
            occluded=self.occluded[rows],
        )


ROW_COLUMNS = (
    *("frame", "track_ids", "identity", "boxes_xyxy_px", "box_scores", "observed", "person_scores", "occluded"),
    *("xy", "visibility", "scores", "sources", "raw_xy", "covariances", "probabilities", "model_xy"),
    "origin",
)
"""Columns of a `Truth` with one row a person."""
JOINT_COLUMNS = frozenset(
    {"xy", "visibility", "scores", "sources", "raw_xy", "covariances", "probabilities", "model_xy"}
)
"""Those of them that say something of each joint."""
OPTIONAL_COLUMNS = frozenset({"raw_xy", "covariances", "probabilities", "model_xy"})
"""Those that may be missing."""


def truth_path(path: Path) -> Path:
    """Return the file that holds the truth: of a clip's folder, or the file that is named."""
    return path / TRUTH_FILE if path.is_dir() else path


def read_truth(path: Path | str) -> Truth:
    """Read the truth of a clip.

    Args:
        path: A folder that `jmpose infer` has left, of this or an older version, or a COCO file about one video. What
            an older file does not say is what it was: joints of the model, nothing reviewed.

    Raises:
        JmposeError: It cannot be read, is about several videos, or contradicts itself; up to ten contradictions are
            named.
    """
    path = truth_path(Path(path))
    if not path.is_file():
        raise JmposeError(f"{path}: no such file", hint="name a folder that `jmpose infer` has left, or a COCO file")
    data = read_json(path)
    return truth_in(poses_in(path, data, kind="coco"), data)


def truth_in(records: PoseRecords, data: Any) -> Truth:
    """Build the truth of a COCO file that was read.

    Args:
        records: Its poses.
        data: Its parsed JSON.

    Raises:
        JmposeError: As `read_truth`.
    """
    ordered = in_order(records)
    _check(records, ordered)
    table = JsonTable(records.path, "annotations", data["annotations"])
    place_of = np.empty(len(records.images), np.int64)
    place_of[[place for _, place, _ in ordered]] = np.arange(len(ordered))
    fps = frames_per_second(ordered)
    info, video = described(records.path, data, ordered)
    file_set = known_set(records.joints) or unknown_set(records.path, records, data)
    there = records.present
    count, joints = len(records), len(records.joints)
    scores = np.where(there, np.nan_to_num(records.scores, nan=1.0), 0.0)
    raw = raw_joints(table, joints, records.extra_joints)
    covariances = optional_lists(table, "covariance", 3 * joints, "xx, xy, yy of each joint")
    truth = Truth(
        path=records.path,
        keypoints=file_set,
        video=video,
        info=info,
        index=np.array([index for index, _, _ in ordered], np.int64),
        time_s=np.array([index / fps if i.time_s is None else i.time_s for index, _, i in ordered], np.float64),
        reviewed=JsonTable(records.path, "images", data["images"]).flags("reviewed", default=False)[
            [place for _, place, _ in ordered]
        ],
        frame=place_of[records.image_row] if count else np.zeros(0, np.int64),
        track_ids=records.track_ids,
        identity=_identity(table, records.track_ids),
        boxes_xyxy_px=records.boxes_xyxy_px,
        box_scores=table.numbers("box_score"),
        observed=table.flags("box_observed", default=True),
        person_scores=np.nan_to_num(records.person_scores, nan=1.0),
        occluded=_occluded(table),
        xy=np.where(there[..., None], records.xy, 0.0),
        visibility=np.where(there, records.visibility.clip(1, 2), 0).astype(np.uint8),
        scores=scores,
        sources=joint_sources(table, joints),
        raw_xy=None if raw is None else np.where(there[..., None], raw, 0.0),
        covariances=None if covariances is None else covariances.reshape(count, joints, 3),
        probabilities=optional_lists(table, "keypoint_probabilities", joints, "one for each joint"),
    )
    return _in_set(truth, truth_set(file_set)).sorted()


def write_truth(truth: Truth, path: Path) -> None:
    """Write a truth; what stands there is replaced when all is written.

    Raises:
        JmposeError: The file cannot be written; what stood there is as it was.
    """
    with CocoWriter(path, truth.video, truth.keypoints, info=truth.info) as writer:
        for place, poses in enumerate(truth.poses()):
            writer.write_marked(poses, truth.marks(place))


def as_written(poses: FramePoses) -> FramePoses:
    """Return poses with the numbers that the truth keeps of them, so that what derives from either is the same."""

    def floats(values: Any, decimals: int = COORDINATE_DECIMALS) -> Any:
        return None if values is None else rounded(values, decimals).astype(np.float32)

    boxes = boxes_xywh(poses.people.boxes_xyxy_px)
    people = replace(
        poses.people,
        time_s=round(poses.people.time_s, TIME_DECIMALS),
        boxes_xyxy_px=xywh_to_xyxy(boxes).astype(np.float32),
        scores=floats(poses.people.scores, SCORE_DECIMALS),
    )
    return replace(
        poses,
        people=people,
        xy_image=floats(poses.xy_image),
        scores=floats(poses.scores, SCORE_DECIMALS),
        person_scores=floats(poses.person_scores, SCORE_DECIMALS),
        xy_raw_image=floats(poses.xy_raw_image),
        covariances=floats(poses.covariances, COVARIANCE_DECIMALS),
        probabilities=floats(poses.probabilities, SCORE_DECIMALS),
    )


def doubled_ids(truth: Truth) -> list[str]:
    """Say where people of one frame have the same track id; at most `MOST_FAULTS` clauses."""
    keys = truth.frame * (int(truth.track_ids.max(initial=0)) + 1) + truth.track_ids
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return [
        f"frame {truth.index[truth.frame[row]]} has {(keys == keys[row]).sum()} people of track {truth.track_ids[row]}"
        for row in first[counts > 1][:MOST_FAULTS].tolist()
    ]


def _check(records: PoseRecords, ordered: Sequence[tuple[int, int, Any]]) -> None:
    """Raise a JmposeError that names what contradicts itself in a file."""
    numbers = {place: index for index, place, _ in ordered}
    faults: list[str] = []
    seen: dict[tuple[int, int], int] = {}
    boxless: list[bool] = np.asarray(np.isnan(records.boxes_xyxy_px).any(1)).tolist()
    for row, key in enumerate(zip(records.image_row.tolist(), records.track_ids.tolist(), strict=True)):
        where = f"frame {numbers[key[0]]}: annotations[{row}]"
        if key[1] < 0:
            faults.append(f"{where} has no track_id")
        elif key in seen:
            faults.append(f"{where} is of track {key[1]}, as annotations[{seen[key]}] is")
        if boxless[row]:
            faults.append(f"{where} has no bbox")
        seen[key] = row
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise JmposeError(
            f"{records.path}: contradicts itself: {'; '.join(faults[:MOST_FAULTS])}{more}",
            hint="every person of a frame needs a box and a track id of its own; mend the file, or take back the edit",
        )


def _identity(table: JsonTable, track_ids: Ids) -> Ids:
    given = np.array(table.integers("identity", default=-1), np.int64)
    return np.where(given < 0, track_ids, given)


def joint_sources(table: JsonTable, joints: int) -> NDArray[np.uint8]:
    """Return `[N, K]` where joints come from, as places in `SOURCES`.

    Raises:
        JmposeError: A source is not known, or there is not one for each joint.
    """
    found = np.zeros((len(table), joints), np.uint8)
    numbers = {name: number for number, name in enumerate(SOURCES)}
    hint = f"allowed: {', '.join(SOURCES)}; one for each of {joints} joints in `keypoint_sources`"
    for row, record in enumerate(table.records):
        whole, each = record.get("source", SOURCES[0]), record.get("keypoint_sources")
        if not isinstance(whole, str) or whole not in numbers:
            raise table.fault(row, "source", f"is {whole!r:.80}", hint=hint)
        found[row] = numbers[whole]
        if each is None:
            continue
        if (
            not isinstance(each, list)
            or len(each) != joints
            or not all(isinstance(n, str) and n in numbers for n in each)
        ):
            raise table.fault(row, "keypoint_sources", "is no such list", hint=hint)
        found[row] = [numbers[str(name)] for name in each]
    return found


def _occluded(table: JsonTable) -> Bools:
    said = [record.get("attributes") for record in table.records]
    return np.array([isinstance(one, dict) and one.get("occluded") is True for one in said], bool)


def _in_set(truth: Truth, wanted: KeypointSet) -> Truth:
    """Return the same with joints in another order."""
    if wanted is truth.keypoints:
        return truth
    order = [truth.keypoints.joints.index(joint) for joint in wanted.joints]
    columns = ("xy", "visibility", "scores", "sources", "raw_xy", "covariances", "probabilities")
    moved = {name: getattr(truth, name)[:, order] for name in columns if getattr(truth, name) is not None}
    return replace(truth, keypoints=wanted, **moved)
