"""Detection head: from the two streams to heatmaps of the key frame.

Letters: B windows, C channels, K joints, (h, w) map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jmpose.blocks import residual_blocks


class DetectionHead(nn.Module):
    """Residual blocks over the concatenated streams and a 3x3 convolution to what is added to the initial heatmaps.

    It is added through a scale, one a joint, that starts at 0: an untrained temporal part changes nothing.

    Args:
        in_channels: Channels of all inputs together.
        channels: Inner width.
        joints: K.
        blocks: Residual blocks, at least 1.
    """

    def __init__(self, in_channels: int, channels: int, *, joints: int, blocks: int) -> None:
        super().__init__()
        self.blocks = residual_blocks(in_channels, channels, blocks)
        self.out = nn.Conv2d(channels, joints, 3, padding=1)
        # One-dimensional, so that optimisers which spare biases from weight decay spare it too.
        self.scale = nn.Parameter(torch.zeros(joints))

    def forward(self, inputs: Sequence[Tensor], initial: Tensor) -> Tensor:
        """Map inputs `[B, C_i, h, w]` and the key frame's initial heatmaps `[B, K, h, w]` to `[B, K, h, w]`."""
        heatmaps: Tensor = self.out(self.blocks(torch.cat(list(inputs), 1)))
        return initial + self.scale.view(-1, 1, 1) * heatmaps
