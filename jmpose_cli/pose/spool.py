"""Poses on disk between two passes over a video: memory stays flat, tracks can be read whole."""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from jmpose.regular_file import open_own
from jmpose_cli.files import explain_os_errors
from jmpose_cli.pose.smooth import smooth_track
from jmpose_cli.values import Float, FramePoses, TrackedFrame

_OPTIONAL = ("covariances", "probabilities")


class PoseSpool:
    """Append frames of poses to a scratch file, then read them back, where asked for smoothed along each track.

    A context manager; the file is gone at the end. Only a row number and a time a person a frame are held in memory.

    Args:
        path: Scratch file, created anew.
        joints: K, joints a person.
    """

    def __init__(self, path: Path, *, joints: int) -> None:
        self._path = path
        self._row = np.dtype(
            [
                ("box", "f4", 4),
                ("box_score", "f4"),
                ("person_score", "f4"),
                ("observed", "?"),
                ("xy", "f4", (joints, 2)),
                ("scores", "f4", joints),
                ("covariances", "f4", (joints, 3)),
                ("probabilities", "f4", joints),
            ]
        )
        # index, time_s, segment, people, which of `_OPTIONAL` there are
        self._frames: list[tuple[int, float, int, int, tuple[str, ...]]] = []
        self._track: dict[int, tuple[array[int], array[float]]] = {}  # id: rows in the file, time_s
        self._count = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        with explain_os_errors(self._path):
            self._file = BufferedWriter(open_own(self._path, "wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            with suppress(OSError):  # closing flushes, which fails again on a full disk
                self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, poses: FramePoses) -> None:
        """Append one frame."""
        assert self._file is not None
        people = poses.people
        rows = np.zeros(len(poses), self._row)
        rows["box"], rows["box_score"], rows["observed"] = (
            people.boxes_xyxy_px,
            people.scores,
            people.observed,
        )
        rows["person_score"], rows["xy"], rows["scores"] = poses.person_scores, poses.xy_image, poses.scores
        known = tuple(name for name in _OPTIONAL if getattr(poses, name) is not None)
        for name in known:
            rows[name] = getattr(poses, name)
        with explain_os_errors(self._path):
            self._file.write(rows.tobytes())
        for offset, track in enumerate(people.track_ids.tolist()):
            held_rows, held_times = self._track.setdefault(track, (array("q"), array("d")))
            held_rows.append(self._count + offset)
            held_times.append(people.time_s)
        self._frames.append((people.index, people.time_s, people.segment, len(poses), known))
        self._count += len(poses)

    def again(self, *, cutoff_hz: float | None) -> Iterator[FramePoses]:
        """Yield all frames in order as they were.

        Args:
            cutoff_hz: Smooth the joints; the raw ones ride along. None: not.
        """
        assert self._file is not None
        with explain_os_errors(self._path):
            self._file.flush()
        rows = np.memmap(self._path, self._row, "r", shape=(self._count,)) if self._count else np.zeros(0, self._row)
        ids = np.zeros(self._count, np.int64)
        smooth_path = self._path.with_suffix(".smooth")
        try:
            size = 0 if cutoff_hz is None else self._count
            smooth = _scratch(smooth_path, (size, *self._row["xy"].shape))
            for track, (held_rows, held_times) in self._track.items():
                at, times = np.array(held_rows), np.array(held_times)
                ids[at] = track
                if cutoff_hz is not None:
                    smooth[at] = smooth_track(times, rows["xy"][at], rows["scores"][at], cutoff_hz=cutoff_hz)
            start = 0
            for index, time_s, segment, people, known in self._frames:
                part = rows[start : start + people]
                tracked = TrackedFrame(
                    index=index,
                    time_s=time_s,
                    boxes_xyxy_px=part["box"].copy(),
                    scores=part["box_score"].copy(),
                    track_ids=ids[start : start + people],
                    observed=part["observed"].copy(),
                    segment=segment,
                )
                yield FramePoses(
                    people=tracked,
                    xy_image=part["xy"].copy() if cutoff_hz is None else smooth[start : start + people].copy(),
                    scores=part["scores"].copy(),
                    person_scores=part["person_score"].copy(),
                    xy_raw_image=None if cutoff_hz is None else part["xy"].copy(),
                    **{name: part[name].copy() for name in known},
                )
                start += people
        finally:
            smooth_path.unlink(missing_ok=True)


def _scratch(path: Path, shape: tuple[int, ...]) -> Float:
    """Make a float32 array backed by a file, or a plain one when it is empty (an empty file has no map)."""
    if shape[0] == 0:
        return np.zeros(shape, np.float32)
    return np.memmap(path, np.float32, "w+", shape=shape)
