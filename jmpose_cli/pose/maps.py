"""What the backbone saw of each person in each frame: computed once, laid onto the crops of the windows that use it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from jmpose.config import Preprocess
from jmpose.crops import crop_affines
from jmpose_cli.pose.windows import SeenFrame, Windows
from jmpose_cli.values import Bytes, Float

_MOST_KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class PersonMaps:
    """One person in one frame.

    Attributes:
        to_image: `[2, 3]` float32, crop pixels to image pixels.
        maps: `[*, h, w]` each, as in `FrameFeatures`; arrays of the engine.
        heatmaps: `[K, h, w]`, likewise.
    """

    to_image: Float
    maps: tuple[Any, ...]
    heatmaps: Any

    @property
    def nbytes(self) -> int:
        """Memory of the maps."""
        return sum(maps.nbytes for maps in (*self.maps, self.heatmaps))


# Computes the maps of crops: pictures [H, W, 3] of one size, the picture of each crop, affines [P, 2, 3] of crop to
# image.
Encode = Callable[[Sequence[Bytes], Sequence[int], Float], Iterable[PersonMaps]]


class MapKeeper:
    """Computes the maps of all people of windows, and keeps those of a frame for as long as somebody holds the frame.

    In the paper a window shows one image region in all frames, which takes T passes of the backbone for a person and
    frame. Here each frame is cut by the person's own box in it: one pass serves all windows.

    Args:
        encode: Runs the backbone; what it gives for a crop must not depend on the other crops.
        preprocess: Of the model.
        shared_crops: Cut all frames of a window by the key frame's box, as the paper does; nothing is kept then.
        mirrored: Mirror the crops.
    """

    def __init__(self, encode: Encode, preprocess: Preprocess, *, shared_crops: bool, mirrored: bool) -> None:
        self._encode, self._preprocess = encode, preprocess
        self._shared_crops, self._mirrored = shared_crops, mirrored
        self._kept: WeakKeyDictionary[SeenFrame, dict[int, PersonMaps]] = WeakKeyDictionary()

    def look_up(self, frames: Sequence[Windows]) -> list[list[PersonMaps]]:
        """Return the maps of all people of some key frames, in order, each in the T frames of its window."""
        people = [(windows, person) for windows in frames for person in range(len(windows.key.people))]
        if self._shared_crops:
            boxes = [windows.key.people.boxes_xyxy_px[person] for windows, person in people]
            cuts = [(frame, box) for (w, p), box in zip(people, boxes, strict=True) for frame in _window(w, p)]
            maps = iter(self._run(cuts))
            return [list(islice(maps, self._preprocess.frames)) for _ in people]
        if self._kept_bytes() > _MOST_KEPT_BYTES:
            self._kept.clear()  # what is needed of it is computed again
        tracks = [int(windows.key.people.track_ids[person]) for windows, person in people]
        wanted = [(frame, t) for (w, p), t in zip(people, tracks, strict=True) for frame in _window(w, p)]
        missing = [(frame, t) for frame, t in dict.fromkeys(wanted) if t not in self._kept.get(frame, {})]
        maps = iter(self._run([(frame, _box_of(frame, track)) for frame, track in missing]))
        for frame, track in missing:
            self._kept.setdefault(frame, {})[track] = next(maps)
        return [[self._kept[f][t] for f in _window(w, p)] for (w, p), t in zip(people, tracks, strict=True)]

    def _kept_bytes(self) -> int:
        """Memory of what is kept: all people's maps have the same shapes."""
        kept = list(self._kept.values())
        one = next((maps for people in kept for maps in people.values()), None)
        return 0 if one is None else one.nbytes * sum(map(len, kept))

    def _run(self, cuts: Sequence[tuple[SeenFrame, Float]]) -> Iterable[PersonMaps]:
        """Cut boxes `[4]` out of frames and run the backbone."""
        if not cuts:
            return []
        row = {frame: number for number, frame in enumerate(dict.fromkeys(frame for frame, _ in cuts))}
        boxes = np.stack([box for _, box in cuts])
        # All frames are of one video.
        affine = crop_affines(boxes, self._preprocess, pixel_width=cuts[0][0].pixel_width)
        if self._mirrored:
            affine[:, 0, 2] += affine[:, 0, 0] * (self._preprocess.input_width - 1)
            affine[:, 0, 0] *= -1
        return self._encode([frame.pixels for frame in row], [row[frame] for frame, _ in cuts], affine)


def _window(windows: Windows, person: int) -> list[SeenFrame]:
    """The T frames of a person's window."""
    return [windows.frames[row] for row in windows.frame_of[person].tolist()]


def _box_of(frame: SeenFrame, track: int) -> Float:
    (row,) = np.flatnonzero(frame.people.track_ids == track)
    box: Float = frame.people.boxes_xyxy_px[row]
    return box
