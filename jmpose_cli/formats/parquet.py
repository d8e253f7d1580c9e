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

from jmpose.keypoints import KeypointSet
from jmpose_cli.files import PartialFile
from jmpose_cli.formats.base import PoseWriter, VideoMeta
from jmpose_cli.formats.keypoint_mapping import map_keypoints, present_joints
from jmpose_cli.values import Float, FramePoses

ROWS_A_GROUP = 1024
"""People, and frames, that are held in memory and written at a time; more make smaller files, quicker to read."""
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
        self._absent = ~present_joints(keypoints, self._written)
        names = [f"{joint}_{value}" for joint in self._written.joints for value in ("x", "y", "score")]
        names += [f"{joint}_{axis}_raw" for joint in self._written.joints for axis in "xy"] if with_raw else []
        facts = {"width": meta.width, "height": meta.height, "fps": meta.fps, "pixel_aspect": meta.pixel_aspect}
        facts["keypoints"] = self._written.name
        joints = [(name, pa.float32()) for name in names]
        self._schema = pa.schema([*_PERSON, *joints], metadata={"jmpose": orjson.dumps(facts)})
        self._waiting: list[FramePoses] = []
        self._file = PartialFile(path)
        self._sink = _Sink(self._file)
        self._table = TableWriter(self._sink, self._schema)

    def _write(self, poses: FramePoses) -> None:
        if (poses.xy_raw_image is not None) != self._with_raw:
            raise ValueError(f"with_raw is {self._with_raw}, but the poses say otherwise")
        self._waiting.append(poses)
        if len(self._waiting) >= ROWS_A_GROUP or sum(map(len, self._waiting)) >= ROWS_A_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        """Write the people of the frames that wait."""
        waiting, self._waiting = self._waiting, []
        rows = [len(poses) for poses in waiting]
        if not sum(rows):
            return
        people = [poses.people for poses in waiting]
        boxes = np.concatenate([frame.boxes_xyxy_px for frame in people])
        video = pa.DictionaryArray.from_arrays(np.zeros(sum(rows), np.int32), [self._meta.name])
        columns = [
            np.repeat([frame.index for frame in people], rows),
            np.repeat([frame.time_s for frame in people], rows),
            np.concatenate([frame.track_ids for frame in people]),
            np.concatenate([poses.person_scores for poses in waiting]),
            *np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).T,
            np.concatenate([frame.scores for frame in people]),
            np.concatenate([frame.observed for frame in people]),
            *np.concatenate([self._joints(poses) for poses in waiting]).T,
        ]
        absent = [False] * len(_PERSON) + self._absent.repeat(3).tolist() + self._absent.repeat(2).tolist()
        arrays = [
            video,
            *(self._array(*each) for each in zip(columns, self._schema.types[1:], absent[1:], strict=False)),
        ]
        self._table.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=sum(rows))

    def _array(self, values: Any, kind: Any, is_absent: bool) -> Any:
        return pa.nulls(len(values), kind) if is_absent else pa.array(np.ascontiguousarray(values), kind)

    def _joints(self, poses: FramePoses) -> Float:
        """Put the joints of a frame's people into `[N, columns]`."""
        xy, scores = map_keypoints(poses.xy_image, poses.scores, self._keypoints, self._written)
        values = np.concatenate([xy, scores[..., None]], 2).reshape(len(poses), 3 * len(self._written))
        if poses.xy_raw_image is None:
            return values
        raw, _ = map_keypoints(poses.xy_raw_image, poses.scores, self._keypoints, self._written)
        return np.concatenate([values, raw.reshape(len(poses), 2 * len(self._written))], axis=1)

    def _finish(self) -> None:
        self._write_group()
        self._table.close()
        self._file.commit()

    def _discard(self) -> None:
        self._sink.is_open = False  # closing the table, which pyarrow does at the latest when it is let go of, writes
        with contextlib.suppress(Exception):
            self._table.close()
        self._file.discard()


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
