"""What is done of one video, on disk: enough to resume after the last committed frame."""

import math
from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from jmpose_cli.files import Arrays, RecordFile, explain_os_errors
from jmpose_cli.values import CameraState, CutState, Detections, Float, FramePoses, Observation, TrackedFrame

_NOBODY_LOOKED = -1
_JOINTS, _LOOKS, _GREY = -1, -2, -3  # as many as the model, the network of appearance and the small picture have
# Of each array in a chunk: the kind of its numbers, the sides behind the first, and what there is a row for.
_COLUMNS: dict[str, tuple[str, tuple[int, ...], str]] = {
    "index": ("i", (), "frame"),
    "time_s": ("f", (), "frame"),
    "cut": ("b", (), "frame"),
    "since_detection": ("i", (), "frame"),
    "found": ("i", (), "frame"),
    "has_ids": ("b", (), "frame"),
    "people": ("i", (), "frame"),
    "segment": ("i", (), "frame"),
    "found_boxes": ("f", (4,), "found"),
    "found_scores": ("f", (), "found"),
    "found_ids": ("i", (), "ids"),
    "found_looks": ("f", (_LOOKS,), "found"),
    "boxes": ("f", (4,), "person"),
    "scores": ("f", (), "person"),
    "track_ids": ("i", (), "person"),
    "observed": ("b", (), "person"),
    "xy": ("f", (_JOINTS, 2), "person"),
    "joint_scores": ("f", (_JOINTS,), "person"),
    "person_scores": ("f", (), "person"),
    "has_covariances": ("b", (), "frame"),
    "covariances": ("f", (_JOINTS, 3), "covariances"),
    "has_probabilities": ("b", (), "frame"),
    "probabilities": ("f", (_JOINTS,), "probabilities"),
    "usual": ("f", (), "one"),
    "histogram": ("f", (), "bin"),
    "thumbnail": ("f", (48,), "line"),
    "has_camera": ("b", (), "frame"),
    "camera": ("f", (2, 3), "camera"),
    "grey": ("u", (_GREY,), "row"),
    "corners": ("f", (2,), "corner"),
}


class ClipStore:
    """The frames of one video that are done, in chunks that are each written whole or not at all.

    A context manager. What an earlier run left is used when it was made of the same input by the same settings.

    Args:
        path: The file; its folder must exist.
        identity: What the results depend on.

    Attributes:
        frames: Number of frames committed; the first ones of the video.
        last: What was found in the last of them; None without frames.
        fps: Frame rate of the video; None without frames.
        ending: What was known at the end of the video; None before.
        dropped: What the results of an earlier run depended on, which are not used; None without any.

    Raises:
        JmposeError: Another process writes the file, or it cannot be written (also from `commit` and `finish`).
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        with explain_os_errors(path):
            self._records = RecordFile(path, is_known=_is_known)
        self._waiting: list[tuple[Observation, FramePoses]] = []
        self._indices = array("q")
        self.dropped: dict[str, Any] | None = None
        self._forget()
        records = iter(self._records)
        first = next(records, None)
        if first is None or first[0] != {"identity": identity}:
            self.dropped = first[0].get("identity") if first and next(records, None) else None
            self.restart(identity)
            return
        for values, arrays in records:
            self._read(values, arrays)

    def _forget(self) -> None:
        self.frames = 0
        self.last: Observation | None = None
        self.fps: float | None = None
        self.ending: dict[str, Any] | None = None
        self._waiting.clear()
        del self._indices[:]

    def restart(self, identity: Mapping[str, Any]) -> None:
        """Drop all that is there."""
        self._forget()
        with explain_os_errors(self.path):
            self._records.clear()
            self._records.append({"identity": identity})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._records.close()

    @property
    def waiting(self) -> int:
        """Number of frames added and not yet committed."""
        return len(self._waiting)

    def index_at(self, ordinal: int) -> int:
        """Give the frame number in the file of a committed frame, or one after the last for those after it."""
        if ordinal < len(self._indices):
            return self._indices[ordinal]
        return self._indices[-1] + 1 if self._indices else 0

    def add(self, observation: Observation, poses: FramePoses) -> None:
        """Take the next frame; it is safe after `commit`."""
        self._waiting.append((observation, poses))

    def commit(self, *, fps: float) -> None:
        """Bring the frames added to the disk, as one chunk."""
        if not self._waiting:
            return
        values = {"fps": fps}
        arrays = _chunk([seen for seen, _ in self._waiting], [poses for _, poses in self._waiting])
        with explain_os_errors(self.path):
            self._records.append(values, arrays)
            self._records.commit()
        self._waiting.clear()
        self._read(values, arrays)

    def finish(self, ending: dict[str, Any]) -> None:
        """Say that the video ends after the frames committed, and keep what is known about it."""
        with explain_os_errors(self.path):
            self._records.append({"ending": ending})
            self._records.commit()
        self.ending = ending

    def observations(self) -> Iterator[Observation]:
        """Yield what was found in each frame committed so far; `cut_state` may be that of a later one."""
        yield from islice((one for arrays in self._chunks() for one in _observations(arrays)), self.frames)

    def poses(self) -> Iterator[FramePoses]:
        """Yield the poses of each frame committed so far."""
        yield from islice((poses for arrays in self._chunks() for poses in _poses(arrays)), self.frames)

    def _chunks(self) -> Iterator[Arrays]:
        for values, arrays in self._records:
            if "fps" in values:
                yield arrays

    def _read(self, values: dict[str, Any], arrays: Arrays) -> None:
        """Take in one record."""
        if "ending" in values:
            self.ending = values["ending"]
            return
        self.fps = values["fps"]
        self.frames += len(arrays["index"])
        self._indices.extend(arrays["index"].tolist())
        *_, self.last = _observations(arrays)


def _chunk(observations: list[Observation], frames: list[FramePoses]) -> Arrays:
    """Put some frames into one record."""
    looked = [one.detections for one in observations if one.detections is not None]
    looks = [one.looks for one in observations if one.looks is not None and len(one.looks)]
    with_ids = [one.ids for one in observations if one.ids is not None]
    people = [poses.people for poses in frames]
    state, joints = observations[-1].cut_state, frames[0].xy_image.shape[1]
    moved = [one.camera for one in observations if one.camera is not None]
    nothing = CameraState(np.zeros((0, 0), np.uint8), np.zeros((0, 2), np.float32))
    camera = observations[-1].camera_state or nothing
    return {
        "index": np.array([one.index for one in observations], np.int64),
        "time_s": np.array([one.time_s for one in observations], np.float64),
        "cut": np.array([one.cut for one in observations], np.bool_),
        "since_detection": np.array([one.since_detection for one in observations], np.int64),
        "found": np.array(
            [_NOBODY_LOOKED if one.detections is None else len(one.detections) for one in observations], np.int64
        ),
        "has_ids": np.array([one.ids is not None for one in observations], np.bool_),
        "found_boxes": _joined([found.boxes_xyxy_px for found in looked], (0, 4), np.float32),
        "found_scores": _joined([found.scores for found in looked], (0,), np.float32),
        "found_ids": _joined(with_ids, (0,), np.int64),
        "found_looks": _joined(looks, (sum(map(len, looked)), 0), np.float16),
        "thumbnail": state.thumbnail,
        "histogram": state.histogram,
        "has_camera": np.array([one.camera is not None for one in observations], np.bool_),
        "camera": _joined(moved, (0, 2, 3), np.float32).reshape(-1, 2, 3),
        "grey": camera.grey,
        "corners": camera.corners,
        "people": np.array([len(poses) for poses in frames], np.int64),
        "segment": np.array([frame.segment for frame in people], np.int64),
        "boxes": np.concatenate([frame.boxes_xyxy_px for frame in people]),
        "scores": np.concatenate([frame.scores for frame in people]),
        "track_ids": np.concatenate([frame.track_ids for frame in people]),
        "observed": np.concatenate([frame.observed for frame in people]),
        "xy": np.concatenate([poses.xy_image for poses in frames]),
        "joint_scores": np.concatenate([poses.scores for poses in frames]),
        "person_scores": np.concatenate([poses.person_scores for poses in frames]),
        "usual": np.array([state.usual], np.float64),
        **_optional("covariances", [poses.covariances for poses in frames], (0, joints, 3)),
        **_optional("probabilities", [poses.probabilities for poses in frames], (0, joints)),
    }


def _optional(name: str, per_frame: list[Float | None], empty: tuple[int, ...]) -> Arrays:
    """Store what only some frames may have, and which do."""
    there = [rows for rows in per_frame if rows is not None]
    has = np.array([rows is not None for rows in per_frame], np.bool_)
    return {f"has_{name}": has, name: _joined(there, empty, np.float32)}


def _is_known(values: dict[str, Any], arrays: Arrays) -> bool:
    """Tell whether a record is one of those that a `ClipStore` writes."""
    if "identity" in values:
        return True  # compared as a whole
    if "ending" in values:
        ending = values["ending"]
        return isinstance(ending, dict) and isinstance(ending.get("notes"), list) and "video" in ending
    fps = values.get("fps")
    return isinstance(fps, float | int) and 0 < fps < math.inf and _is_chunk(arrays)


def _is_chunk(arrays: Arrays) -> bool:
    """Tell whether the arrays are those of `_chunk`: all there, of its types, with as many rows as they say."""
    if any(
        name not in arrays or arrays[name].dtype.kind != kind or arrays[name].ndim != 1 + len(rest)
        for name, (kind, rest, _) in _COLUMNS.items()
    ):
        return False
    found, has_ids, people = (arrays[name] for name in ("found", "has_ids", "people"))
    looked = found[found != _NOBODY_LOOKED]
    if len(found) == 0 or (looked < 0).any() or (people < 0).any():
        return False
    if any(len(arrays[name]) != len(found) for name, (_, _, of) in _COLUMNS.items() if of == "frame"):
        return False
    rows = {
        "frame": len(found),
        "found": int(looked.sum()),
        "ids": int(found[has_ids].sum()),
        "person": int(people.sum()),
        "covariances": int(people[arrays["has_covariances"]].sum()),
        "probabilities": int(people[arrays["has_probabilities"]].sum()),
        "one": 1,
        "line": 27,
        "bin": 512,
        "camera": int(arrays["has_camera"].sum()),
        "row": len(arrays["grey"]),
        "corner": len(arrays["corners"]),
    }
    sides = {_GREY: arrays["grey"].shape[1], _JOINTS: arrays["xy"].shape[1], _LOOKS: arrays["found_looks"].shape[1]}
    for name, (_, rest, of) in _COLUMNS.items():
        wanted = tuple(sides.get(side, side) for side in rest)
        if arrays[name].shape[1:] != wanted or len(arrays[name]) != rows[of]:
            return False
    return True


def _joined(parts: list[Any], empty: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype)


def _observations(arrays: Arrays) -> Iterator[Observation]:
    """Read what was found in the frames of a chunk; all carry the cut detector's state after the chunk."""
    state = CutState(arrays["thumbnail"], arrays["histogram"], float(arrays["usual"][0]))
    camera_state = CameraState(arrays["grey"], arrays["corners"]) if arrays["grey"].size else None
    moved = iter(arrays["camera"])
    at = ids_at = 0
    names = ("index", "time_s", "cut", "since_detection", "found", "has_ids", "has_camera")
    columns = (arrays[name].tolist() for name in names)
    for index, time_s, cut, since, found, has_ids, has_camera in zip(*columns, strict=True):
        detections = ids = looks = None
        if found != _NOBODY_LOOKED:
            rows = slice(at, at + found)
            detections = Detections(arrays["found_boxes"][rows], arrays["found_scores"][rows])
            looks = arrays["found_looks"][rows] if arrays["found_looks"].shape[1] else None
            at += found
        if has_ids:
            ids = arrays["found_ids"][ids_at : ids_at + found]
            ids_at += found
        camera = next(moved) if has_camera else None
        yield Observation(
            *(index, time_s, cut, detections, ids, state, since, looks), camera=camera, camera_state=camera_state
        )


def _poses(arrays: Arrays) -> Iterator[FramePoses]:
    at = 0
    covariances, probabilities = (_per_frame(arrays, name) for name in ("covariances", "probabilities"))
    columns = (arrays[name].tolist() for name in ("index", "time_s", "people", "segment"))
    for index, time_s, people, segment in zip(*columns, strict=True):
        rows = slice(at, at + people)
        tracked = TrackedFrame(
            index=index,
            time_s=time_s,
            boxes_xyxy_px=arrays["boxes"][rows],
            scores=arrays["scores"][rows],
            track_ids=arrays["track_ids"][rows],
            observed=arrays["observed"][rows],
            segment=segment,
        )
        joints: Float = arrays["xy"][rows]
        yield FramePoses(
            tracked,
            joints,
            arrays["joint_scores"][rows],
            arrays["person_scores"][rows],
            covariances=next(covariances),
            probabilities=next(probabilities),
        )
        at += people


def _per_frame(arrays: Arrays, name: str) -> Iterator[Float | None]:
    """Read what `_optional` stored: frame by frame, None where there is none."""
    at = 0
    for has, people in zip(arrays[f"has_{name}"].tolist(), arrays["people"].tolist(), strict=True):
        yield arrays[name][at : at + people] if has else None
        at += people if has else 0
