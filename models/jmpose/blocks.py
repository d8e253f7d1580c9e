"""Convolution blocks that the temporal modules share."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def conv_block(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """Convolution of unchanged size, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip: `[B, C, h, w]` to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_block(channels, channels, 3),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to `[B, C, h, w]`."""
        return F.relu(x + self.body(x))

    def start_as_identity(self) -> None:
        """Set what is added to the skip to 0: what is not negative passes unchanged."""
        norm = self.body[-1]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)


def residual_blocks(in_channels: int, channels: int, count: int) -> nn.Sequential:
    """A 1x1 convolution to `channels`, then `count` residual blocks."""
    return nn.Sequential(conv_block(in_channels, channels, 1), *(ResidualBlock(channels) for _ in range(count)))


def run_behind(block: nn.Module, shares: Sequence[Tensor]) -> Tensor:
    """Run what a `conv_block` has behind the product of its convolution, given as a sum of shares `[B, C, h, w]`."""
    convolution, *rest = block.children()
    x = shares[0]
    for share in shares[1:]:
        x = x + share
    if isinstance(convolution.bias, Tensor):  # of a BatchNorm folded into it
        x = x + convolution.bias.to(x.dtype).view(-1, 1, 1)
    for layer in rest:
        x = layer(x)
    return x
