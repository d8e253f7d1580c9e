"""Parquet tables of poses, for pandas, Polars, DuckDB and the like: the one file that imports pyarrow.

The rows and columns of the CSV table (see `tabular`), in types: whole numbers, float32 with every digit, true or false,
and null for joints that the model does not give. The file's metadata holds JSON under `jmpose`: width, height, frame
rate and shape of a pixel of the video, and the name of the keypoint set.
"""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow.parquet import ParquetWriter as TableWriter
from pyarrow.parquet import write_table

from jmpose.keypoints import KeypointSet
from jmpose_cli.files import PartialFile
from jmpose_cli.formats.base import PoseWriter, VideoMeta
from jmpose_cli.formats.keypoint_mapping import absent_joints, map_keypoints, present_joints
from jmpose_cli.formats.records import Doubles, PoseRecords, frame_numbers, xyxy_to_xywh
from jmpose_cli.formats.tabular import joint_columns
from jmpose_cli.values import Bools, FramePoses

ROWS_A_GROUP = 1024
"""People that are held in memory and written at a time; more make smaller files, which are read faster."""
_PERSON = (
    ("video", pa.dictionary(pa.int32(), pa.string())),
    ("frame_index", pa.int64()),
    ("time_s", pa.float64()),
    ("track_id", pa.int64()),
    ("person_score", pa.float32()),
    *((f"box_{value}", pa.float32()) for value in ("x", "y", "w", "h", "score")),
    ("box_observed", pa.bool_()),
)


class ParquetWriter(PoseWriter):
    """Writes one Parquet table; see `PoseWriter` for how it is used.

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
        absent = ~present_joints(keypoints, self._written)
        self._absent_columns = [*absent.repeat(3), *(absent.repeat(2) if with_raw else ())]
        facts = {"width": meta.width, "height": meta.height, "fps": meta.fps, "pixel_aspect": meta.pixel_aspect}
        facts["keypoints"] = self._written.name
        joints = [(name, pa.float32()) for name in joint_columns(self._written.joints, with_raw=with_raw)]
        self._schema = pa.schema([*_PERSON, *joints], metadata={"jmpose": orjson.dumps(facts)})
        self._waiting: list[list[Any]] = []
        self._people_waiting = 0
        self._file = PartialFile(path)
        self._sink = _Sink(self._file)
        self._table = TableWriter(self._sink, self._schema)

    def _write(self, poses: FramePoses) -> None:
        if (poses.xy_raw_image is not None) != self._with_raw:
            raise ValueError(f"with_raw is {self._with_raw}, but the poses say otherwise")
        if not len(poses):
            return
        self._waiting.append(self._rows(poses))
        self._people_waiting += len(poses)
        if self._people_waiting >= ROWS_A_GROUP:
            self._write_group()

    def _rows(self, poses: FramePoses) -> list[Any]:
        """Return the people of a frame: `[N]` a column, without the video's; at last all joints, `[N, columns]`."""
        people, n = poses.people, len(poses)
        xy, scores = map_keypoints(poses.xy_image, poses.scores, self._keypoints, self._written)
        absent = absent_joints(xy, scores)
        joints = [np.concatenate([xy, scores[..., None]], 2)]
        if poses.xy_raw_image is not None:
            raw, _ = map_keypoints(poses.xy_raw_image, poses.scores, self._keypoints, self._written)
            joints.append(raw)
        boxes = people.boxes_xyxy_px
        return [
            np.full(n, people.index),
            np.full(n, people.time_s),
            people.track_ids,
            poses.person_scores,
            *np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).T,
            people.scores,
            people.observed,
            np.concatenate([_flat(part, absent) for part in joints], axis=1),
        ]

    def _write_group(self) -> None:
        """Write the people that wait."""
        if not self._waiting:
            return
        *person, joints = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        rows = len(joints)
        video = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [self._meta.name])
        columns = [np.ascontiguousarray(column) for column in joints.T]
        nulls = pa.nulls(rows, pa.float32())
        arrays = [video, *map(pa.array, person)]
        arrays += [
            nulls if absent else pa.array(each, mask=np.isnan(each))
            for each, absent in zip(columns, self._absent_columns, strict=True)
        ]
        self._table.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=rows)
        self._waiting, self._people_waiting = [], 0

    def _finish(self) -> None:
        self._write_group()
        self._table.close()
        self._file.commit()

    def _discard(self) -> None:
        self._sink.is_open = False  # closing the table, which pyarrow does at the latest when it is let go of, writes
        with contextlib.suppress(Exception):
            self._table.close()
        self._file.discard()


def _flat(values: np.ndarray, absent: Bools) -> np.ndarray:
    """Values `[N, K, C]` as rows `[N, K * C]`, NaN for joints that are absent `[N, K]`."""
    joints, parts = values.shape[1:]
    return np.where(absent[..., None], np.nan, values).astype(np.float32).reshape(len(values), joints * parts)


class _Sink:
    """A `PartialFile` as pyarrow writes to it; errors of the disk come through as they are.

    Attributes:
        is_open: Whether what is written goes into the file.
    """

    closed = False

    def __init__(self, file: PartialFile) -> None:
        self._file, self._written, self.is_open = file, 0, True

    def write(self, data: bytes) -> int:
        if self.is_open:
            self._file.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """Leave it to the file."""

    def close(self) -> None:
        """Leave it to the file."""


def records_parquet(records: PoseRecords) -> bytes:
    """Build the table of any pose file: the columns of `tabular.records_csv`, numbers in 64 bits with every digit."""
    n, k = len(records), len(records.joints)
    frames = frame_numbers(records.images)[records.image_row] if n else np.zeros(0, np.int64)
    images = [records.images[row] for row in records.image_row.tolist()]
    xy = np.where(records.present[..., None], records.xy, np.nan)
    joints = np.concatenate([xy, records.scores[..., None]], 2).reshape(n, 3 * k)
    boxes = xyxy_to_xywh(records.boxes_xyxy_px)

    def numbers(values: Doubles) -> pa.Array:
        return pa.array(values, pa.float64(), from_pandas=True)  # NaN is null

    columns = {
        "video": pa.array([image.vid_id or records.path.stem for image in images]).dictionary_encode(),
        "frame_index": pa.array(frames, pa.int64()),
        "time_s": pa.array([image.time_s for image in images], pa.float64()),
        "track_id": pa.array([None if track < 0 else track for track in records.track_ids.tolist()], pa.int64()),
        "person_score": numbers(records.person_scores),
        **{f"box_{side}": numbers(boxes[:, place]) for place, side in enumerate("xywh")},
        "box_score": pa.nulls(n, pa.float64()),
        "box_observed": pa.nulls(n, pa.bool_()),
        **{
            name: numbers(np.ascontiguousarray(joints[:, place]))
            for place, name in enumerate(joint_columns(records.joints, with_raw=False))
        },
    }
    sink = pa.BufferOutputStream()
    write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())
