"""Motion flow: what changes between neighbouring frames of a window (the paper's feature difference layer).

Letters: B windows, T frames, C channels of the flow, C_s channels of a backbone stage, (h, w) map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jmpose.blocks import ResidualBlock, conv_block, residual_blocks
from jmpose.deform import DeformConv, OffsetsAndWeights


class MotionEncoder(nn.Module):
    """Anything that turns a window's features into a motion flow."""

    def forward(self, stages: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Compute the flow.

        Args:
            stages: The backbone stages in use, each `[B, T, C_s, h, w]`.
            exists: `[B, T]` bool, False where a frame is only a repeat of another.

        Returns:
            `[B, C, h, w]`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")


class _StageDifference(nn.Module):
    """Left and right flow of one backbone stage, fused.

    Args:
        in_channels: C_s.
        channels: C.
        before: Frames before the key frame.
        after: Frames after it.
        blocks: Residual blocks on each side.
    """

    def __init__(self, in_channels: int, channels: int, *, before: int, after: int, blocks: int) -> None:
        super().__init__()
        self.before = before
        self.left = residual_blocks(before * in_channels, channels, blocks)
        self.right = residual_blocks(after * in_channels, channels, blocks)
        self.fuse = conv_block(2 * channels, channels, 1)

    def forward(self, features: Tensor, exists: Tensor) -> Tensor:
        key = self.before
        left = self.left(_differences(features[:, : key + 1], exists[:, : key + 1]))  # [B, C, h, w]
        right = self.right(_differences(features[:, key:], exists[:, key:]))  # [B, C, h, w]
        fused: Tensor = self.fuse(torch.cat([left, right], 1))  # [B, 2C, h, w] -> [B, C, h, w]
        return fused


def _differences(features: Tensor, exists: Tensor) -> Tensor:
    """Each frame minus the one before, 0 where either is missing: `[B, n, C_s, h, w]` to `[B, (n-1)*C_s, h, w]`."""
    difference = features[:, 1:] - features[:, :-1]
    both = exists[:, 1:] & exists[:, :-1]
    return torch.where(both[:, :, None, None, None], difference, 0.0).flatten(1, 2)


class FeatureDifference(MotionEncoder):
    """Differences of adjacent frames' features, those before and those after the key frame apart.

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
        self.key = key
        self.stages = nn.ModuleList(
            _StageDifference(c, channels, before=key, after=frames - 1 - key, blocks=blocks) for c in stage_channels
        )
        several = len(stage_channels) > 1
        self.sampling = nn.ModuleList(
            OffsetsAndWeights(stage_channels[-1], channels, groups=groups) for _ in stage_channels if several
        )
        self.align = nn.ModuleList(DeformConv(channels, dilation=1) for _ in stage_channels if several)

    def forward(self, stages: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Compute the flow `[B, C, h, w]`; see `MotionEncoder`."""
        flows: list[Tensor] = [stage(features, exists) for stage, features in zip(self.stages, stages, strict=True)]
        if not self.align:
            return flows[0]
        key_feature = stages[-1][:, self.key]  # [B, C_s, h, w]
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
        self.key = key
        self.body = residual_blocks(in_channels, channels, blocks)

    def forward(self, stages: Sequence[Tensor], exists: Tensor) -> Tensor:
        """Give `[B, C, h, w]`; which support frames exist makes no difference."""
        out: Tensor = self.body(stages[-1][:, self.key])
        return out
