"""Annotated people on disk: PoseTrack videos, COCO pictures, annotated videos of our own, ready-made crops."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from jmpose.keypoints import KeypointSet
from jmpose_cli.data.layouts import AnnotatedVideo
from jmpose_cli.data.samples import Choice, Doubles, Labels, RawWindow, joint_columns
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.structures import Bools, Bytes, Ids
from jmpose_cli.video.image_folder import read_image

MIN_JOINTS = 3
"""People with fewer known joints teach nothing and are left out."""
_CACHED_PICTURES = 16  # per worker; windows of one video share frames


@lru_cache(maxsize=_CACHED_PICTURES)
def _picture(path: Path) -> Bytes:
    return read_image(path)


@dataclass(frozen=True)
class _People:
    """The usable people of one annotation file, joints in the model's order.

    Attributes:
        rows: `[N]` rows of the records.
        xy: `[N, K, 2]` image pixels.
        weight: `[N, K]` 1 for known joints.
        boxes: `[N, 4]` corners.
    """

    rows: Ids
    xy: Doubles
    weight: Doubles
    boxes: Doubles


def usable_people(records: PoseRecords, keypoints: KeypointSet, *, name: str) -> tuple[_People, list[str]]:
    """Take the people that can be learnt from, and say why others were left out.

    A joint counts when the file gives it; joints that the file's set lacks get no loss.

    Raises:
        JmposeError: The joint sets have nothing in common.
    """
    source, target = joint_columns(records.joints, keypoints, name=name)
    n = len(records)
    xy, weight = np.zeros((n, len(keypoints), 2)), np.zeros((n, len(keypoints)))
    xy[:, target] = records.xy[:, source]
    weight[:, target] = records.present[:, source]
    sizes = [(image.width, image.height) for image in records.images]
    limits = np.array([(w or np.inf, h or np.inf) for w, h in sizes]).reshape(-1, 2)[records.image_row][:, None]
    outside = (weight > 0) & ((xy < -0.5) | (xy > limits - 0.5)).any(2)
    weight[outside] = 0
    boxes = records.boxes_xyxy_px
    boxless = np.isnan(boxes).any(1)
    flat = ~boxless & ~(boxes[:, 2:] > boxes[:, :2]).all(1)
    few = (weight > 0).sum(1) < MIN_JOINTS
    usable = ~(boxless | flat | few | records.is_crowd)
    reasons = {
        "joints outside the picture": int(outside.sum()),
        "people without a box": int((boxless & ~few).sum()),
        "people with a box without area": int((flat & ~few).sum()),
    }
    notes = [f"{name}: left out: {count} {what}" for what, count in reasons.items() if count]
    rows = np.flatnonzero(usable)
    return _People(rows, xy[rows], weight[rows], boxes[rows]), notes


class FrameWindows:
    """People of one video whose frames lie on disk as pictures.

    Args:
        name: For messages.
        records: The annotations.
        pictures: Frame number to picture.
        frame_of: `[M]` frame number of each annotated image.
        keypoints: The model's joints.
    """

    def __init__(
        self,
        name: str,
        records: PoseRecords,
        *,
        pictures: Mapping[int, Path],
        frame_of: Sequence[int],
        keypoints: KeypointSet,
    ) -> None:
        self.name, self._pictures = name, pictures
        self._people, notes = usable_people(records, keypoints, name=name)
        self.notes = tuple(notes)
        self._records, self._joints = records, len(keypoints)
        rows = self._people.rows
        self._frame = np.array(frame_of, np.int64)[records.image_row[rows]] if len(rows) else np.zeros(0, np.int64)
        self._track = records.track_ids[rows]
        keys = zip(self._frame.tolist(), self._track.tolist(), strict=True)
        self._row_of = {key: row for row, key in enumerate(keys)}
        self._labelled = {frame_of[row] for row, image in enumerate(records.images) if image.is_labeled}

    def __len__(self) -> int:
        return len(self._people.rows)

    def files(self) -> Sequence[str]:
        """The annotation file."""
        return [str(self._records.path)]

    def pictures(self) -> Iterable[Path]:
        """All frames."""
        return self._pictures.values()

    def key_of(self, index: int) -> tuple[int, int]:
        """Image row and record row of a sample, for scoring."""
        row = int(self._people.rows[index])
        return int(self._records.image_row[row]), row

    @property
    def records(self) -> PoseRecords:
        """All annotations of the video."""
        return self._records

    def read(self, index: int, choice: Choice) -> RawWindow:
        """Read one window; see `Source`."""
        key_frame, track = int(self._frame[index]), int(self._track[index])
        frames = [key_frame + offset for offset in choice.offsets]
        there = [self._exists(frame, track) for frame in frames]
        there[choice.key] = True
        # The nearest frame that exists stands in, as in inference.
        used = [_nearest(frames, there, place, choice.key) for place in range(len(frames))]
        labels = Labels.unknown(len(used), self._joints)
        for place, frame in enumerate(used):
            row = self._row_of.get((frame, track))
            if row is not None:
                labels.xy[place], labels.weight[place] = self._people.xy[row], self._people.weight[row]
                labels.present[place] = self._people.weight[row]
        return RawWindow(
            pictures=[_picture(self._pictures[frame]) for frame in used],
            exists=np.array(there, bool),
            box_xyxy_px=self._people.boxes[index].astype(np.float32),
            labels=labels,
            is_still=False,
            name=f"{self.name}, frame {key_frame}, track {track}",
        )

    def _exists(self, frame: int, track: int) -> bool:
        """Whether the video has the frame, and nothing says that the person is not in it."""
        if frame not in self._pictures:
            return False
        return frame not in self._labelled or track < 0 or (frame, track) in self._row_of


def _nearest(frames: list[int], there: list[bool], place: int, key: int) -> int:
    """The frame itself, or the first existing one on the way to the key frame."""
    step = 1 if place < key else -1
    while not there[place]:
        place += step
    return frames[place]


def posetrack_windows(video: AnnotatedVideo, keypoints: KeypointSet) -> FrameWindows:
    """People of one PoseTrack video; frames count as the images are listed."""
    pictures = dict(enumerate(video.images))
    return FrameWindows(
        video.name, video.truth, pictures=pictures, frame_of=range(len(video.images)), keypoints=keypoints
    )


class StillWindows:
    """People of a COCO data set: windows of one picture, whose motion is made up in training.

    Args:
        data: Annotations and pictures.
        keypoints: The model's joints.
        moving: True says that the frames of a window exist, because training moves them; False that only the key
            frame does.
    """

    def __init__(self, data: AnnotatedVideo, *, keypoints: KeypointSet, moving: bool) -> None:
        self.name, self.records, self._images = data.name, data.truth, data.images
        self._people, notes = usable_people(data.truth, keypoints, name=data.name)
        self.notes, self._moving = tuple(notes), moving

    def __len__(self) -> int:
        return len(self._people.rows)

    def files(self) -> Sequence[str]:
        """The annotation file."""
        return [str(self.records.path)]

    def pictures(self) -> Iterable[Path]:
        """Pictures with usable people."""
        return [self._images[self.key_of(index)[0]] for index in range(len(self))]

    def key_of(self, index: int) -> tuple[int, int]:
        """Image row and record row of a sample, for scoring."""
        row = int(self._people.rows[index])
        return int(self.records.image_row[row]), row

    def read(self, index: int, choice: Choice) -> RawWindow:
        """Read one window; see `Source`."""
        image_row, row = self.key_of(index)
        frames = len(choice.offsets)
        exists = np.full(frames, self._moving)
        exists[choice.key] = True
        labels = _repeated(self._people.xy[index], self._people.weight[index], self._people.weight[index], frames)
        return RawWindow(
            pictures=[_picture(self._images[image_row])] * frames,
            exists=exists,
            box_xyxy_px=self._people.boxes[index].astype(np.float32),
            labels=labels,
            is_still=self._moving,
            name=f"{self._images[image_row]}, annotation {self.records.ids[row]}",
        )


def _repeated(xy: Doubles, weight: Doubles, present: Doubles, frames: int) -> Labels:
    return Labels(*(np.repeat(values[None], frames, 0) for values in (xy, weight, present)))


class CropWindows:
    """Ready-made pictures of people, as the recipes of the shipped weights cut them.

    A folder with `patches.npy` `[N, H, W, 3]` uint8 (stills) or `scene-*.npz` with `pictures` `[n, T, H, W, 3]`
    (windows), and joints in patch pixels: `labels.npz` with `xy` `[N, K, 2]`, `weight`, `present` `[N, K]`; in scenes
    `joints` `[n, K, 2]` and `visible` `[n, K]`. Each picture is centred on its person, whose box fills
    `box_height` pixels of it.

    Args:
        folder: The folder.
        keypoints: The model's joints, which must be those of the file.
        box_height: Height of the box in the pictures, pixels.
        moving: As for `StillWindows`.
    """

    def __init__(self, folder: Path, *, keypoints: KeypointSet, box_height: float, moving: bool) -> None:
        self.name, self._moving = folder.name, moving
        self.notes: tuple[str, ...] = ()
        self._box_height = box_height
        self._files = sorted(folder.glob("scene-*.npz")) or [folder / "labels.npz"]
        if not self._files[0].is_file():
            raise JmposeError(f"{folder}: neither scene-*.npz nor labels.npz", hint="the recipes write such folders")
        self._scenes = self._files[0].name.startswith("scene-")
        if self._scenes:
            scenes = [np.load(path) for path in self._files]
            self._pictures = np.concatenate([scene["pictures"] for scene in scenes])
            self._xy = np.concatenate([scene["joints"] for scene in scenes]).astype(np.float64)
            visible = np.concatenate([scene["visible"] for scene in scenes]).astype(np.float64)
            # A renderer knows hidden joints too; they count less.
            self._weight, self._present = 0.3 + 0.7 * visible, np.ones_like(visible)
        else:
            stored = np.load(self._files[0])
            self._pictures = np.load(folder / "patches.npy", mmap_mode="r")
            self._xy, self._weight = stored["xy"].astype(np.float64), stored["weight"].astype(np.float64)
            self._present = stored["present"].astype(np.float64)
        if self._xy.shape[1] != len(keypoints):
            raise JmposeError(
                f"{folder}: {self._xy.shape[1]} joints, the model has {len(keypoints)}",
                hint="cut the crops again for this keypoint set",
            )
        self._rows = np.flatnonzero((self._weight * self._present > 0).sum(1) >= MIN_JOINTS)

    def __len__(self) -> int:
        return len(self._rows)

    def files(self) -> Sequence[str]:
        """The label files."""
        return [str(path) for path in self._files]

    def pictures(self) -> Iterable[Path]:
        """None: the pictures are in memory."""
        return ()

    def read(self, index: int, choice: Choice) -> RawWindow:
        """Read one window; see `Source`."""
        row, frames = int(self._rows[index]), len(choice.offsets)
        if self._scenes:
            stored = self._pictures.shape[1]
            if frames not in (1, stored):
                raise JmposeError(
                    f"{self.name}: windows of {stored} pictures, the model takes {frames}",
                    hint="cut the windows again for this model",
                )
            first = (stored - frames) // 2
            pictures = list(self._pictures[row, first : first + frames])
            labels = Labels.unknown(frames, self._xy.shape[1])
            labels.xy[choice.key], labels.weight[choice.key] = self._xy[row], self._weight[row]
            labels.present[choice.key] = self._present[row]
        else:
            pictures = [np.asarray(self._pictures[row])] * frames
            labels = _repeated(self._xy[row], self._weight[row], self._present[row], frames)
        height, width = pictures[0].shape[:2]
        exists: Bools = np.full(frames, self._scenes or self._moving)
        exists[choice.key] = True
        centre = (np.array([width, height]) - 1) / 2
        half = np.array([0.25, 0.5]) * self._box_height
        return RawWindow(
            pictures=pictures,
            exists=exists,
            box_xyxy_px=np.concatenate([centre - half, centre + half]).astype(np.float32),
            labels=labels,
            is_still=not self._scenes and self._moving,
            name=f"{self.name}, row {row}",
        )
