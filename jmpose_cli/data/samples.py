"""What a data source gives: the pictures around one annotated person, and what is known of the joints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jmpose.keypoints import KeypointSet
from jmpose_cli.errors import JmposeError
from jmpose_cli.values import Bools, Bytes, Float

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Joints of one person in the T frames of a window, K joints in the model's order.

    Attributes:
        xy: `[T, K, 2]` image (later crop) pixels.
        weight: `[T, K]` weight in the loss; 0 where nothing is known.
        present: `[T, K]` 1 where the joint is there, 0 where its heatmap must be empty.
    """

    xy: Doubles
    weight: Doubles
    present: Doubles

    @classmethod
    def unknown(cls, frames: int, joints: int) -> "Labels":
        """Nothing known."""
        return cls(np.zeros((frames, joints, 2)), np.zeros((frames, joints)), np.zeros((frames, joints)))

    def flipped(self, keypoints: KeypointSet) -> "Labels":
        """Swap left and right joints; the coordinates are mirrored already."""
        index = list(keypoints.flip_index)
        return Labels(self.xy[:, index], self.weight[:, index], self.present[:, index])

    def used(self, frame: int) -> Bools:
        """`[K]` joints of a frame that are there and count."""
        return np.asarray((self.weight[frame] > 0) & (self.present[frame] > 0))


@dataclass(frozen=True)
class Taught:
    """A teacher's heatmaps of the key frame, for distillation.

    Attributes:
        heatmaps: `[K, h, w]` float32, K joints in the model's order; NaN for those that the teacher does not know.
        to_image: `[2, 3]` affine from their pixels to image pixels.
    """

    heatmaps: Float
    to_image: Doubles


@dataclass(frozen=True)
class RawWindow:
    """The T pictures around one person, before any cropping.

    Attributes:
        pictures: T frames `[H, W, 3]` uint8 RGB of one size; a still image stands T times.
        exists: `[T]` False where a picture repeats another because there is none.
        box_xyxy_px: The person's box in the key frame, image pixels.
        labels: Joints in image pixels.
        is_still: All pictures are one picture, so that motion has to be made up.
        name: For messages: file, frame, person.
        taught: What a teacher says of the key frame; None where there is none, or it was not asked for.
    """

    pictures: Sequence[Bytes]
    exists: Bools
    box_xyxy_px: Float
    labels: Labels
    is_still: bool
    name: str
    taught: Taught | None = None


@dataclass(frozen=True)
class Choice:
    """Which support frames are wanted.

    Attributes:
        offsets: Frames from the key frame, ascending, with 0.
    """

    offsets: tuple[int, ...]

    @property
    def key(self) -> int:
        """Place of the key frame."""
        return self.offsets.index(0)


class Source(Protocol):
    """Annotated people; indexing is free of side effects, so that any worker can read any sample."""

    name: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of annotated people."""

    def read(self, index: int, choice: Choice) -> RawWindow:
        """Read one window.

        Raises:
            JmposeError: A picture is broken.
        """

    def files(self) -> Sequence[str]:
        """Annotation files, for checksums."""

    def pictures(self) -> Iterable[Path]:
        """Picture files that windows are cut from."""


def joint_columns(source: Sequence[str], target: KeypointSet, *, name: str) -> tuple[list[int], list[int]]:
    """Columns of the joints that both know, in the source and in the target.

    Raises:
        JmposeError: They have no joint in common.
    """
    known = [joint for joint in target.joints if joint in source]
    if not known:
        raise JmposeError(
            f"{name}: none of its joints ({', '.join(source)}) is known to the model",
            hint=f"the model has {', '.join(target.joints)}",
        )
    return [list(source).index(joint) for joint in known], [target.joints.index(joint) for joint in known]
