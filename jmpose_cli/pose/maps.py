"""What the backbone saw of each person in each frame: computed once, laid onto the crops of the windows that use it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from jmpose.config import Preprocess
from jmpose.network import FrameFeatures
from jmpose.sampling import crop_affine, lay_maps, place_between
from jmpose_cli.pose.windows import SeenFrame, Windows
from jmpose_cli.structures import Float

_MOST_KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class PersonMaps:
    """One person in one frame.

    Attributes:
        to_image: `[2, 3]`, crop pixels to image pixels.
        stages: `[C_s, h, w]` each, as in `FrameFeatures`.
        heatmaps: `[K, h, w]`.
    """

    to_image: Tensor
    stages: tuple[Tensor, ...]
    heatmaps: Tensor

    @property
    def nbytes(self) -> int:
        """Memory of the maps."""
        return sum(maps.nbytes for maps in (*self.stages, self.heatmaps))


# Gives the maps of crops: pictures [F, H, W, 3], the picture of each crop [P], affines [P, 2, 3] of crop to image.
Encode = Callable[[Tensor, Tensor, Tensor], FrameFeatures]


class MapKeeper:
    """Gives the maps of all people of windows, and keeps those of a frame for as long as somebody holds the frame.

    In the paper a window shows one image region in all frames, which takes T passes of the backbone for a person and
    frame. Here each frame is cut by the person's own box in it: one pass serves all windows.

    Args:
        encode: Runs the backbone; what it gives for a crop must not depend on the other crops.
        preprocess: Of the model.
        device: Where the maps are.
        shared_crops: Cut all frames of a window by the key frame's box, as the paper does; nothing is kept then.
        mirrored: Mirror the crops.
    """

    def __init__(
        self, encode: Encode, preprocess: Preprocess, *, device: torch.device, shared_crops: bool, mirrored: bool
    ) -> None:
        self._encode, self._preprocess, self._device = encode, preprocess, device
        self._shared_crops, self._mirrored = shared_crops, mirrored
        self._kept: WeakKeyDictionary[SeenFrame, dict[int, PersonMaps]] = WeakKeyDictionary()

    def look_up(self, frames: Sequence[Windows]) -> list[list[PersonMaps]]:
        """Give the maps of all people of some key frames, in order, each in the T frames of its window."""
        people = [(windows, person) for windows in frames for person in range(len(windows.key.people))]
        if self._shared_crops:
            boxes = [windows.key.people.boxes_xyxy_px[person] for windows, person in people]
            cuts = [(frame, box) for (w, p), box in zip(people, boxes, strict=True) for frame in _window(w, p)]
            maps = iter(self._run(cuts))
            return [list(islice(maps, self._preprocess.frames)) for _ in people]
        if sum(maps.nbytes for kept in self._kept.values() for maps in kept.values()) > _MOST_KEPT_BYTES:
            self._kept.clear()  # what is needed of it is computed again
        tracks = [int(windows.key.people.track_ids[person]) for windows, person in people]
        wanted = [(frame, t) for (w, p), t in zip(people, tracks, strict=True) for frame in _window(w, p)]
        missing = [(frame, t) for frame, t in dict.fromkeys(wanted) if t not in self._kept.get(frame, {})]
        maps = iter(self._run([(frame, _box_of(frame, track)) for frame, track in missing]))
        for frame, track in missing:
            self._kept.setdefault(frame, {})[track] = next(maps)
        return [[self._kept[f][t] for f in _window(w, p)] for (w, p), t in zip(people, tracks, strict=True)]

    def _run(self, cuts: Sequence[tuple[SeenFrame, Float]]) -> list[PersonMaps]:
        """Cut boxes `[4]` out of frames and run the backbone."""
        if not cuts:
            return []
        row = {frame: number for number, frame in enumerate(dict.fromkeys(frame for frame, _ in cuts))}
        pictures = torch.stack([torch.from_numpy(frame.pixels) for frame in row]).to(self._device)
        rows = torch.tensor([row[frame] for frame, _ in cuts], device=self._device)
        boxes = torch.from_numpy(np.stack([box for _, box in cuts])).to(self._device)
        affine = crop_affine(boxes, self._preprocess)
        if self._mirrored:
            affine[:, 0, 2] += affine[:, 0, 0] * (self._preprocess.input_width - 1)
            affine[:, 0, 0] *= -1
        features = self._encode(pictures, rows, affine)
        each = zip(affine, zip(*features.stages, strict=True), features.heatmaps, strict=True)
        return [PersonMaps(*maps) for maps in each]


def _window(windows: Windows, person: int) -> list[SeenFrame]:
    """The T frames of a person's window."""
    return [windows.frames[row] for row in windows.frame_of[person].tolist()]


def _box_of(frame: SeenFrame, track: int) -> Float:
    (row,) = np.flatnonzero(frame.people.track_ids == track)
    box: Float = frame.people.boxes_xyxy_px[row]
    return box


def arrange(people: Sequence[Sequence[PersonMaps]], preprocess: Preprocess, *, lay: bool) -> FrameFeatures:
    """Put maps into windows.

    Args:
        people: N people in T frames each.
        preprocess: Of the model.
        lay: Lay each map onto the key frame's crop; False where it is cut like that already.

    Returns:
        Stages `[N, T, C_s, h, w]` and heatmaps `[N, T, K, h, w]`.
    """
    key = torch.stack([frames[preprocess.key_index].to_image for frames in people])
    stages: list[list[Tensor]] = []
    heatmaps: list[Tensor] = []
    for place, seen in enumerate(zip(*people, strict=True)):
        at_once = [torch.stack(maps) for maps in zip(*(maps.stages for maps in seen), strict=True)]
        heat = torch.stack([maps.heatmaps for maps in seen])
        if lay and place != preprocess.key_index:
            where = place_between(key, torch.stack([maps.to_image for maps in seen]), preprocess)
            at_once = [lay_maps(maps, *where, repeat_border=True) for maps in at_once]
            heat = lay_maps(heat, *where, repeat_border=False)
        stages.append(at_once)
        heatmaps.append(heat)
    return FrameFeatures(tuple(torch.stack(maps, 1) for maps in zip(*stages, strict=True)), torch.stack(heatmaps, 1))
