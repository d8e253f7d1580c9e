"""A pose model as modules of plain tensors, the way in which other engines run it: crops in, joints in the image out.

`CropEncoder` sees pictures of people, `WindowFuser` puts what it saw into windows and finds the joints. Letters: N
people, T frames, K joints, (H, W) input, (h, w) heatmap.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jmpose.config import Preprocess
from jmpose.decoding import decode_dark, heatmap_covariances
from jmpose.network import FrameFeatures, JMPose
from jmpose.sampling import interpolations, lay_maps, normalise, place_between
from jmpose.targets import covariances_to_image, crop_to_image, heatmap_to_crop


class CropEncoder(nn.Module):
    """The backbone, with what stands before it: crops `[N, 3, H, W]` of 0..255 to heatmaps and maps."""

    def __init__(self, model: JMPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return initial heatmaps `[N, K, h, w]` and the maps of `FrameFeatures`, each `[N, *, h, w]`."""
        features = self.model.encode(normalise(crops, self.model.config.preprocess))
        return features.heatmaps, *features.maps


class WindowFuser(nn.Module):
    """The temporal part, with what stands around it: maps of T frames to joints in the image."""

    def __init__(self, model: JMPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, to_image: Tensor, exists: Tensor, heatmaps: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        """Lay the maps onto the key frame's crop, fuse them, find the joints.

        Args:
            to_image: `[N, T, 2, 3]`, of the crop in each frame.
            exists: `[N, T]` bool, see `JMPose.forward`.
            heatmaps: `[N, T, K, h, w]` of `CropEncoder`.
            maps: Each of `CropEncoder` in its places: `[N, places, *, h, w]`.

        Returns:
            Joints `[N, K, 2]`, scores `[N, K]` and covariances `[N, K, 3]` in image pixels, and heatmaps
            `[N, K, h, w]`.
        """
        preprocess = self.model.config.preprocess
        seen = lay_windows(FrameFeatures(maps, heatmaps), to_image, self.model.places, preprocess)
        fused = self.model.fuse(seen, exists).heatmaps
        return *joints_in_image(fused, to_image[:, preprocess.key_index], preprocess), fused


class HeatmapDecoder(nn.Module):
    """Heatmaps `[N, K, h, w]` and affines of their crops `[N, 2, 3]` to joints; see `joints_in_image`."""

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = preprocess

    def forward(self, heatmaps: Tensor, to_image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the joints."""
        return joints_in_image(heatmaps, to_image, self.preprocess)


def lay_windows(
    windows: FrameFeatures, to_image: Tensor, places: Sequence[Sequence[int]], preprocess: Preprocess
) -> FrameFeatures:
    """Lay the maps of each frame of windows, which are of crops of its own, onto the key frame's crop.

    Args:
        windows: As `JMPose.arrange` gives them.
        to_image: `[N, T, 2, 3]`, of the crop in each frame.
        places: `JMPose.places`.
        preprocess: Of the model.
    """
    key, frames = preprocess.key_index, preprocess.frames
    keys = to_image[:, key : key + 1].expand_as(to_image).flatten(0, 1)
    where = place_between(keys, to_image.flatten(0, 1), preprocess)
    scale, shift = (each.view(-1, frames, 2) for each in where)  # [N, T, 2]

    def laid(maps: Tensor, at: Sequence[int], rows: Tensor, columns: Tensor) -> Tensor:
        each = (
            maps[:, row] if frame == key else lay_maps(maps[:, row], rows[:, frame], columns[:, frame])
            for row, frame in enumerate(at)
        )
        return torch.stack(list(each), 1)

    # All maps of a frame are laid by the same matrices.
    black, repeated = (
        interpolations(scale, shift, preprocess.heatmap_size, repeat_border=repeats) for repeats in (False, True)
    )
    heatmaps = laid(windows.heatmaps, range(frames), *black)
    maps = (laid(each, at, *repeated) for each, at in zip(windows.maps, places, strict=True))
    return FrameFeatures(tuple(maps), heatmaps)


def joints_in_image(heatmaps: Tensor, to_image: Tensor, preprocess: Preprocess) -> tuple[Tensor, Tensor, Tensor]:
    """Find the joints of heatmaps `[N, K, h, w]` of crops whose affines are `[N, 2, 3]`.

    Returns:
        Joints `[N, K, 2]`, scores `[N, K]` and covariances `[N, K, 3]` (xx, xy, yy), in image pixels.
    """
    xy, scores = decode_dark(heatmaps, sigma=preprocess.heatmap_sigma)
    covariances = heatmap_covariances(heatmaps, xy, sigma=preprocess.heatmap_sigma)
    size, alignment = preprocess.heatmap_size, preprocess.heatmap_alignment
    in_crop = heatmap_to_crop(xy, heatmap_size=size, alignment=alignment)
    in_image = covariances_to_image(covariances, to_image, heatmap_size=size, alignment=alignment)
    return crop_to_image(in_crop, to_image), scores, in_image
