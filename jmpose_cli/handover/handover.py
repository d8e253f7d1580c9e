"""What a function that writes a format is given."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors, write_whole
from jmpose_cli.formats.base import VideoMeta
from jmpose_cli.formats.one_video import described, frames_per_second, in_order
from jmpose_cli.formats.records import Doubles, ImageRecord, PoseRecords
from jmpose_cli.values import Ids

_MOST_CELLS = 50_000_000
"""Numbers of a table with a row for every frame and columns for every person."""


@dataclass(frozen=True)
class Handover:
    """People to be written in a format of another tool.

    Attributes:
        records: The people.
        path: The file or folder to write.
        notes: Gets sentences about what the format could not hold.
        footage: The video itself; None where nobody has named it.
    """

    records: PoseRecords
    path: Path
    notes: list[str]
    footage: Path | None = None

    def write(self, content: bytes) -> None:
        """Write the file; what stands there is replaced when all is written.

        Raises:
            JmposeError: It cannot be written.
        """
        write_whole(self.path, content)

    @cached_property
    def stem(self) -> str:
        """The video's name as a part of file names."""
        return re.sub(r"[^\w.-]", "_", PurePath(self.video.name).name, flags=re.ASCII).lstrip(".")[:100] or "video"

    def begin_folder(self, folder: Path, names: str) -> None:
        """Make a folder; files of an earlier writing, whose names match the regular expression `names`, are removed.

        Raises:
            JmposeError: It cannot be made or written to.
        """
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if re.fullmatch(names, path.name, re.ASCII):
                    path.unlink()

    @cached_property
    def ordered(self) -> list[tuple[int, int, ImageRecord]]:
        """Frame number, place in `records.images` and record of each image, by frame number.

        Raises:
            JmposeError: They are not those of one video.
        """
        return in_order(self.records)

    @cached_property
    def video(self) -> VideoMeta:
        """What the records say of the video."""
        return described(self.records.path, {"info": self.records.info}, self.ordered)[1]

    @cached_property
    def frames(self) -> Ids:
        """`[M]` frame numbers, rising."""
        return np.array([index for index, _, _ in self.ordered], np.int64)

    @cached_property
    def span(self) -> Ids:
        """`[F]` all frame numbers from the first to the last."""
        return np.arange(self.frames[0], self.frames[-1] + 1) if len(self.frames) else np.zeros(0, np.int64)

    @cached_property
    def times_s(self) -> Doubles:
        """`[M]` seconds of each of `frames`."""
        fps = frames_per_second(self.ordered)
        return np.array([i / fps if image.time_s is None else image.time_s for i, _, image in self.ordered])

    @cached_property
    def frame_of_row(self) -> Ids:
        """`[N]` frame number of each person."""
        of_place = np.zeros(len(self.ordered), np.int64)
        of_place[[place for _, place, _ in self.ordered]] = self.frames
        return of_place[self.records.image_row]

    def tracks(self) -> Iterator[tuple[int, Ids]]:
        """Yield each track id, from the lowest, with its rows in the order of their frames."""
        order = np.lexsort((self.frame_of_row, self.records.track_ids))
        ids, starts = np.unique(self.records.track_ids[order], return_index=True)
        yield from zip(ids.tolist(), np.split(order, starts[1:]), strict=True)

    def spread(self, rows: Ids, frames: Ids) -> tuple[Doubles, Doubles]:
        """Lay the joints of one track out over frames.

        Args:
            rows: Of the track.
            frames: `[F]` rising frame numbers.

        Returns:
            `[F, K, 2]` joints and `[F, K]` scores; NaN where the person or the joint is not there.
        """
        given = self.records
        shape = (len(frames), len(given.joints))
        xy, scores = np.full((*shape, 2), np.nan), np.full(shape, np.nan)
        places = np.searchsorted(frames, self.frame_of_row[rows])
        there = given.present[rows]
        xy[places] = np.where(there[..., None], given.xy[rows], np.nan)
        scores[places] = np.where(there, given.scores[rows], np.nan)
        return xy, scores

    def check_size(self, frames: int, a_joint: int) -> None:
        """Make sure that a table of all people in all frames fits into memory.

        Args:
            frames: Its rows.
            a_joint: Columns of a joint.

        Raises:
            JmposeError: It does not.
        """
        people = len(np.unique(self.records.track_ids))
        cells = frames * people * len(self.records.joints) * a_joint
        if cells > _MOST_CELLS:
            raise JmposeError(
                f"{self.records.path}: {people} tracks in {frames} frames make a table of {cells} numbers",
                hint=f"this format takes at most {_MOST_CELLS} here; join or delete tracks, or choose another format",
            )


def without_joints(given: Handover) -> None:
    """Say so when people without joints cannot be told from nobody."""
    empty = int((~given.records.present.any(1)).sum())
    if empty:
        given.notes.append(f"people without joints cannot be written and were left out: {empty}")
