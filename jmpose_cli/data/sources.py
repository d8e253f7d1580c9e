"""Annotated people on disk: PoseTrack videos, COCO pictures, annotated videos of our own, ready-made crops."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from jmpose.keypoints import KeypointSet
from jmpose_cli.data.layouts import AnnotatedVideo
from jmpose_cli.data.samples import Choice, Doubles, Labels, RawWindow, Taught, joint_columns
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.values import Bools, Bytes, Ids
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

    def of(self, index: int) -> tuple[Doubles, Bools, Doubles]:
        """Joints, which of them are known, and box of one person."""
        return self.xy[index], self.weight[index] > 0, self.boxes[index]


def usable_people(
    records: PoseRecords, keypoints: KeypointSet, *, name: str, trust: Doubles | None = None
) -> tuple[_People, list[str]]:
    """Take the people that can be learnt from, and say why others were left out.

    A joint counts when the file gives it; joints that the file's set lacks get no loss. Crowds are left out too.

    Args:
        records: The annotations.
        keypoints: The model's joints.
        name: For messages.
        trust: `[N, K]` weight of each joint of the records in the loss, 0 to 1; None trusts all.

    Raises:
        JmposeError: The joint sets have nothing in common.
    """
    source, target = joint_columns(records.joints, keypoints, name=name)
    n = len(records)
    xy, weight = np.zeros((n, len(keypoints), 2)), np.zeros((n, len(keypoints)))
    xy[:, target] = records.xy[:, source]
    weight[:, target] = (records.present if trust is None else records.present * trust)[:, source]
    sizes = [(image.width, image.height) for image in records.images]
    limits = np.array([(w or np.inf, h or np.inf) for w, h in sizes]).reshape(-1, 2)[records.image_row][:, None]
    outside = (weight > 0) & ((xy < -0.5) | (xy > limits - 0.5)).any(2)
    weight[outside] = 0
    # PoseTrack17 has no boxes of people.
    boxes = _around(xy, weight > 0) if records.kind == "posetrack17" else records.boxes_xyxy_px
    reasons = {
        "crowds": records.is_crowd,
        f"people with fewer than {MIN_JOINTS} known joints": (weight > 0).sum(1) < MIN_JOINTS,
        "people without a box": np.isnan(boxes).any(1),
        "people with a box without area": ~(boxes[:, 2:] > boxes[:, :2]).all(1),
    }
    usable, left_out = np.ones(n, bool), {"joints outside the picture": int(outside.sum())}
    for what, applies in reasons.items():
        left_out[what] = int((usable & applies).sum())
        usable &= ~applies
    counts = ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
    rows = np.flatnonzero(usable)
    return _People(rows, xy[rows], weight[rows], boxes[rows]), [f"{name}: left out: {counts}"] if counts else []


def _around(xy: Doubles, known: Bools) -> Doubles:
    """Boxes `[N, 4]` around the known joints, a fifth larger."""
    low = np.where(known[:, :, None], xy, np.inf).min(1)
    high = np.where(known[:, :, None], xy, -np.inf).max(1)
    some = known.any(1, keepdims=True)
    margin = 0.1 * np.where(some, high - low, 0)
    return np.where(some, np.concatenate([low - margin, high + margin], 1), np.nan)


class FrameWindows:
    """People of one video whose frames lie on disk as pictures.

    Args:
        name: For messages.
        records: The annotations.
        pictures: Frame number to picture.
        frame_of: `[M]` frame number of each annotated image.
        keypoints: The model's joints.
        frame_step: Frames that an offset of 1 stands for: 2 at twice the frame rate that offsets are meant for.
        trust: As in `usable_people`.
        notes: What the user should know, before what is left out.
    """

    def __init__(
        self,
        name: str,
        records: PoseRecords,
        *,
        pictures: Mapping[int, Path],
        frame_of: Sequence[int],
        keypoints: KeypointSet,
        frame_step: int = 1,
        trust: Doubles | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.name, self._pictures, self._step = name, pictures, frame_step
        self._people, left_out = usable_people(records, keypoints, name=name, trust=trust)
        self.notes = (*notes, *left_out)
        self._records, self._joints = records, len(keypoints)
        frame = np.array(frame_of, np.int64)[records.image_row]
        rows = self._people.rows
        self._frame, self._track = frame[rows], records.track_ids[rows]
        keys = zip(self._frame.tolist(), self._track.tolist(), strict=True)
        self._index_of = {key: index for index, key in enumerate(keys) if key[1] >= 0}  # -1: nobody knows who it is
        self._annotated = set(zip(frame.tolist(), records.track_ids.tolist(), strict=True))
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

    def joints_of(self, index: int) -> tuple[Doubles, Bools, Doubles]:
        """Joints `[K, 2]` in image pixels, which of them are known `[K]`, and the box's corners `[4]`."""
        return self._people.of(index)

    @property
    def records(self) -> PoseRecords:
        """All annotations of the video."""
        return self._records

    def read(self, index: int, choice: Choice) -> RawWindow:
        """Read one window; see `Source`."""
        key, track = int(self._frame[index]), int(self._track[index])
        wanted = [key + self._step * offset for offset in choice.offsets]
        used = [self._stand_in(frame, key, track) for frame in wanted]
        labels = Labels.unknown(len(used), self._joints)
        for place, frame in enumerate(used):
            known = index if frame == key else self._index_of.get((frame, track))
            if known is not None:
                labels.xy[place], labels.weight[place] = self._people.xy[known], self._people.weight[known]
                labels.present[place] = self._people.weight[known] > 0
        return RawWindow(
            pictures=[_picture(self._pictures[frame]) for frame in used],
            exists=np.array(used) == wanted,
            box_xyxy_px=self._people.boxes[index].astype(np.float32),
            labels=labels,
            is_still=False,
            name=f"{self.name}, frame {key}, track {track}",
        )

    def _stand_in(self, frame: int, key: int, track: int) -> int:
        """The frame itself, or the first existing one on the way to the key frame, as in inference."""
        step = self._step if frame < key else -self._step
        return next((on_the_way for on_the_way in range(frame, key, step) if self._exists(on_the_way, track)), key)

    def _exists(self, frame: int, track: int) -> bool:
        """Whether the video has the frame, and nothing says that the person is not in it."""
        if frame not in self._pictures:
            return False
        return frame not in self._labelled or (frame, track) in self._annotated


def posetrack_windows(video: AnnotatedVideo, keypoints: KeypointSet) -> FrameWindows:
    """People of one PoseTrack video, which says no frame rate: frames count as the images are listed."""
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

    def joints_of(self, index: int) -> tuple[Doubles, Bools, Doubles]:
        """Joints `[K, 2]` in image pixels, which of them are known `[K]`, and the box's corners `[4]`."""
        return self._people.of(index)

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


def _arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Load arrays of an .npz, or the one of an .npy without reading it into memory."""
    try:
        if not names:
            return [np.load(path, mmap_mode="r")]
        with np.load(path) as stored:
            return [stored[name] for name in names]
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise JmposeError(f"{path} cannot be read: {error}", hint="cut the crops again") from error


def _has(path: Path, name: str) -> bool:
    with np.load(path) as stored:
        return name in stored


def _joint_names(path: Path) -> tuple[str, ...]:
    """Names of the joints of a file of crops; empty where it tells none."""
    return tuple(_arrays(path, "names")[0].tolist()) if _has(path, "names") else ()


def _box_height(path: Path) -> float | None:
    """Height of people in a file of crops, pixels; None where it tells none."""
    if not _has(path, "box_height"):
        return None
    (height,) = _arrays(path, "box_height")
    if height.shape or height.dtype.kind not in "iuf" or not 0 < height < np.inf:
        raise JmposeError(f"{path}: box_height is {height}, not a number of pixels", hint="cut the crops again")
    return float(height)


def _in_columns(values: Doubles, columns: tuple[list[int], list[int]], joints: int) -> Doubles:
    """Put columns of `[N, K, ...]` into the places of `joints` others; the rest is 0."""
    source, target = columns
    placed = np.zeros((len(values), joints, *values.shape[2:]))
    placed[:, target] = values[:, source]
    return placed


class CropWindows:
    """Ready-made pictures of people, as the recipes of the shipped weights cut them.

    A folder with `patches.npy` `[N, H, W, 3]` uint8 (stills) or `scene-*.npz` with `pictures` `[n, T, H, W, 3]`
    (windows), and joints in patch pixels: `labels.npz` with `xy` `[N, K, 2]`, `weight`, `present` `[N, K]`; in scenes
    `joints` `[n, K, 2]` and `visible` `[n, K]`. Beside them `names` `[K]` names the joints; without, they are the
    model's. Each picture is centred on its person, whose box is `box_height` pixels of it high and half as wide;
    that number lies there too.

    A teacher's heatmaps may lie beside `labels.npz`: `taught.npy` `[N, k, h, w]` uint8, 255 for 1, of the first k
    joints, and `taught_affine` `[2, 3]` among the labels, from heatmap pixels to patch pixels.

    Args:
        folder: The folder.
        keypoints: The model's joints.
        moving: As for `StillWindows`.
        box_height: Height of the box in the pictures, pixels; None for what the folder says.
        taught: Whether the teacher's heatmaps are wanted.

    Raises:
        JmposeError: What the folder holds does not fit together or the model, or nothing says how large people are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keypoints: KeypointSet,
        moving: bool,
        box_height: float | None = None,
        taught: bool = False,
    ) -> None:
        self.name, self._moving = folder.name, moving
        self._files = sorted(folder.glob("scene-*.npz")) or [folder / "labels.npz"]
        if not self._files[0].is_file():
            raise JmposeError(f"{folder}: neither scene-*.npz nor labels.npz", hint="the recipes write such folders")
        self._scenes = self._files[0].name.startswith("scene-")
        if self._scenes:
            scenes = [_arrays(path, "pictures", "joints", "visible") for path in self._files]
            self._pictures, joints, visible = (np.concatenate(column) for column in zip(*scenes, strict=True))
            # A renderer knows hidden joints too; they count less.
            self._xy, self._weight = joints.astype(np.float64), 0.3 + 0.7 * visible.astype(np.float64)
            self._present = np.ones_like(self._weight)
        else:
            (self._pictures,) = _arrays(folder / "patches.npy")
            labels = _arrays(self._files[0], "xy", "weight", "present")
            self._xy, self._weight, self._present = (values.astype(np.float64) for values in labels)
        names = _joint_names(self._files[0]) or keypoints.joints
        if self._xy.shape[1] != len(names) or len(self._xy) != len(self._pictures):
            raise JmposeError(
                f"{folder}: {len(self._pictures)} pictures, {len(self._xy)} people with {self._xy.shape[1]} joints; "
                f"the {'file names' if names is not keypoints.joints else 'model has'} {len(names)} joints",
                hint="cut the crops again for this keypoint set",
            )
        self._box_height = box_height or self._stored_box_height(folder)
        columns = joint_columns(names, keypoints, name=self.name)
        self._xy, self._weight, self._present = (
            _in_columns(values, columns, len(keypoints)) for values in (self._xy, self._weight, self._present)
        )
        self._joints = len(keypoints)
        self._taught: NDArray[Any] | None = None
        if taught and not self._scenes and (folder / "taught.npy").is_file():
            self._read_taught(folder, columns)
        enough = (self._weight * self._present > 0).sum(1) >= MIN_JOINTS
        self._rows = np.flatnonzero(enough)
        few = f"{self.name}: left out: {np.sum(~enough)} people with fewer than {MIN_JOINTS} known joints"
        self.notes: tuple[str, ...] = () if enough.all() else (few,)

    def _stored_box_height(self, folder: Path) -> float:
        """Return the height of the box in pictures, pixels, that the files agree on."""
        height, *others = {_box_height(path) for path in self._files}
        if others or height is None:
            raise JmposeError(
                f"{folder}: {'files that disagree about' if others else 'nothing about'} how large people are in the "
                "pictures",
                hint="cut the crops again, or give their box_height, pixels, beside the path",
            )
        return height

    def _read_taught(self, folder: Path, columns: tuple[list[int], list[int]]) -> None:
        """Open the teacher's heatmaps."""
        (maps,), (affine,) = _arrays(folder / "taught.npy"), _arrays(self._files[0], "taught_affine")
        if maps.ndim != 4 or len(maps) != len(self._pictures) or maps.dtype != np.uint8 or affine.shape != (2, 3):
            raise JmposeError(
                f"{folder / 'taught.npy'}: {maps.dtype} of shape {maps.shape}, not uint8 heatmaps of "
                f"{len(self._pictures)} pictures, or taught_affine is not [2, 3]",
                hint="cut the crops again",
            )
        pairs = [(source, target) for source, target in zip(*columns, strict=True) if source < maps.shape[1]]
        if pairs:
            self._taught, self._taught_affine = maps, affine.astype(np.float64)
            self._taught_columns = np.array(pairs).T

    @property
    def has_teacher(self) -> bool:
        """Whether there are heatmaps of a teacher."""
        return self._taught is not None

    def _taught_of(self, row: int) -> Taught | None:
        if self._taught is None:
            return None
        source, target = self._taught_columns
        heatmaps = np.full((self._joints, *self._taught.shape[2:]), np.nan, np.float32)
        heatmaps[target] = self._taught[row, source] / np.float32(255)
        return Taught(heatmaps, self._taught_affine)

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
            step = (stored - 1) // max(frames - 1, 1)  # spread evenly over what there is
            if not step and frames > 1:
                raise JmposeError(
                    f"{self.name}: windows of {stored} pictures, the model takes {frames}",
                    hint="cut the windows again for this model",
                )
            first = stored // 2 - step * (frames // 2)
            pictures = [self._pictures[row, first + step * place] for place in range(frames)]
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
            taught=self._taught_of(row),
        )
