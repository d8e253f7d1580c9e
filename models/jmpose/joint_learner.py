"""Context-aware joint learner: where the heatmaps of the window say that motion matters for joints.

Letters: B windows, T frames, K joints, C channels, G offset groups, (h, w) map.
"""

import torch
from torch import Tensor, nn

from jmpose.blocks import conv_block
from jmpose.deform import DeformConv, OffsetsAndWeights


class JointLearner(nn.Module):
    """Joint feature: a deformable convolution over the motion flow, steered by heatmaps and flow.

    Args:
        context_channels: T*K, channels of the window's heatmaps.
        channels: C.
        groups: G.
        dilation: Spacing of the 3x3 sampling positions.
        identity_start: The convolution is added to the flow and starts at 0: an untrained learner hands the flow on.
    """

    def __init__(
        self, context_channels: int, channels: int, *, groups: int, dilation: int, identity_start: bool = False
    ) -> None:
        super().__init__()
        self._adds = identity_start
        self.sampling = OffsetsAndWeights(context_channels + channels, channels, groups=groups)
        self.conv = DeformConv(channels, dilation=dilation)
        if identity_start:
            nn.init.zeros_(self.conv.kernel)

    def forward(self, context: Tensor, motion: Tensor) -> Tensor:
        """Map heatmaps `[B, T*K, h, w]` and flow `[B, C, h, w]` to the joint feature `[B, C, h, w]`."""
        offsets, weights = self.sampling(torch.cat([context, motion], 1))  # [B, 2*G*9, h, w], [B, G*9, h, w]
        joint: Tensor = self.conv(motion, offsets, weights)
        return motion + joint if self._adds else joint


class PlainJointFeature(nn.Module):
    """No joint learner: an ordinary 3x3 convolution of the flow, for the ablation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv_block(channels, channels, 3)

    def forward(self, context: Tensor, motion: Tensor) -> Tensor:
        """Map the flow `[B, C, h, w]` to `[B, C, h, w]`; the heatmaps make no difference."""
        out: Tensor = self.conv(motion)
        return out
