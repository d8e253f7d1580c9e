"""Motion flow: what changes between neighbouring frames of a window (the paper's feature difference layer).

Letters: B windows, T frames, C channels of the flow, C_s channels of a backbone stage, (h, w) map.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmpose.blocks import ResidualBlock, conv_block, residual_blocks, run_behind
from jmpose.deform import DeformConv, OffsetsAndWeights


class MotionEncoder(nn.Module):
    """Anything that turns a window's features into a motion flow, in two steps.

    `look` sees single pictures, so that one call serves all windows that a picture is in; `flow` puts together what
    the pictures of a window gave.

    Attributes:
        places: For each map that `look` gives, the frames of a window that `flow` wants it of.
    """

    places: tuple[tuple[int, ...], ...]

    def look(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Map the features of N pictures, each stage in use `[N, C_s, h, w]`, to maps `[N, *, h, w]`."""
        raise NotImplementedError(f"{type(self).__name__} must define look")

    def flow(self, maps: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Compute the flow.

        Args:
            maps: For each map of `look`, those of its places: `[B, places, *, h, w]`.
            exists: `[B, T]` bool, False where a frame is only a repeat of another.

        Returns:
            `[B, C, h, w]`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define flow")

    def forward(self, stages: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Compute the flow `[B, C, h, w]` from the stages in use, each `[B, T, C_s, h, w]`."""
        seen = self.look([stage.flatten(0, 1) for stage in stages])
        windows = [maps.view(*exists.shape, *maps.shape[1:]) for maps in seen]
        return self.flow([w[:, list(at)] for w, at in zip(windows, self.places, strict=True)], exists)


class _StageDifference(nn.Module):
    """Left and right flow of one backbone stage, fused.

    The 1x1 convolution that stands first on each side is applied to pictures instead of their differences: it is
    linear, so the flow is the same, and most of its work is done once a picture.

    Args:
        in_channels: C_s.
        channels: C.
        before: Frames before the key frame.
        after: Frames after it.
        blocks: Residual blocks on each side.
    """

    def __init__(self, in_channels: int, channels: int, *, before: int, after: int, blocks: int) -> None:
        super().__init__()
        self._counts = before, after
        self.left = residual_blocks(before * in_channels, channels, blocks)
        self.right = residual_blocks(after * in_channels, channels, blocks)
        self.fuse = conv_block(2 * channels, channels, 1)

    def look(self, features: Tensor) -> list[Tensor]:
        """Map `[N, C_s, h, w]` to T-1 maps `[N, C, h, w]`: a picture's share in the difference of frames i and i+1."""
        sides = zip((self.left, self.right), self._counts, strict=True)
        firsts = [side.get_parameter("0.0.weight").chunk(count, 1) for side, count in sides]
        kernels = [kernel for first in firsts for kernel in first]  # each [C, C_s, 1, 1]
        return list(F.conv2d(features, torch.cat(kernels)).chunk(len(kernels), 1))

    def forward(self, pairs: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Map the shares of both frames of each difference, `[B, 2, C, h, w]`, to the flow `[B, C, h, w]`."""
        both = exists[:, 1:] & exists[:, :-1]
        differences = [
            torch.where(known[:, None, None, None], pair[:, 1] - pair[:, 0], 0.0)
            for pair, known in zip(pairs, both.unbind(1), strict=True)
        ]
        before, _ = self._counts
        left = self.left[1:](run_behind(self.left[0], differences[:before]))  # [B, C, h, w]
        right = self.right[1:](run_behind(self.right[0], differences[before:]))  # [B, C, h, w]
        fused: Tensor = self.fuse(torch.cat([left, right], 1))  # [B, 2C, h, w] -> [B, C, h, w]
        return fused


class FeatureDifference(MotionEncoder):
    """Differences of adjacent frames' features, 0 where either is missing; those before and after the key frame apart.

    With several stages, each stage's flow goes through a modulated deformable convolution conditioned on the
    key frame's last feature, and the results are summed.

    Args:
        stage_channels: C_s of each stage in use; the last one is the backbone's output.
        channels: C.
        frames: T.
        key: Position of the key frame in the window.
        blocks: Residual blocks on each side.
        groups: Offset groups where several stages are aligned.
    """

    def __init__(
        self, stage_channels: Sequence[int], channels: int, *, frames: int, key: int, blocks: int, groups: int
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            _StageDifference(c, channels, before=key, after=frames - 1 - key, blocks=blocks) for c in stage_channels
        )
        several = len(stage_channels) > 1
        self.sampling = nn.ModuleList(
            OffsetsAndWeights(stage_channels[-1], channels, groups=groups) for _ in stage_channels if several
        )
        self.align = nn.ModuleList(DeformConv(channels, dilation=1) for _ in stage_channels if several)
        self.places = tuple(pairwise(range(frames))) * len(stage_channels) + ((key,),) * several

    def look(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return the shares in the differences of each stage, and with several stages the last feature behind them."""
        maps: list[Tensor] = []
        for stage, features in zip(self.stages, stages, strict=True):
            maps += stage.look(features)  # type: ignore[operator]
        return [*maps, stages[-1]] if self.align else maps

    def flow(self, maps: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Compute the flow `[B, C, h, w]`; see `MotionEncoder`."""
        count = exists.shape[1] - 1
        flows = [stage(maps[i * count : (i + 1) * count], exists) for i, stage in enumerate(self.stages)]
        if not self.align:
            only: Tensor = flows[0]
            return only
        key_feature = maps[-1][:, 0]  # [B, C_s, h, w]
        aligned = [
            align(flow, *sampling(key_feature))
            for align, sampling, flow in zip(self.align, self.sampling, flows, strict=True)
        ]
        return torch.stack(aligned).sum(0)


class PixelFeatures(nn.Module):
    """Small stride-4 features of a picture of its own, for a motion flow that needs nothing of the backbone.

    Args:
        channels: C_s.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels // 2, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            ResidualBlock(channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised pictures `[N, 3, H, W]` to `[N, C_s, h, w]`."""
        features: Tensor = self.body(images)
        return features


class KeyFrameFeature(MotionEncoder):
    """No motion: the key frame's features in place of the flow, for the ablation.

    Args:
        in_channels: C_s of the backbone's output.
        channels: C.
        key: Position of the key frame in the window.
        blocks: Residual blocks.
    """

    def __init__(self, in_channels: int, channels: int, *, key: int, blocks: int) -> None:
        super().__init__()
        self.places = ((key,),)
        self.body = residual_blocks(in_channels, channels, blocks)

    def look(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return the backbone's output as it is."""
        return [stages[-1]]

    def flow(self, maps: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Return `[B, C, h, w]`; which support frames exist makes no difference."""
        out: Tensor = self.body(maps[0][:, 0])
        return out
