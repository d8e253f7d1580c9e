"""Modulated deformable convolution, DCNv2 (Zhu et al., CVPR 2019), in two equal forms.

Letters: B windows, C channels, G offset groups, (h, w) map, 9 taps of a 3x3 kernel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmpose.blocks import conv_block


def deform_conv_torchvision(x: Tensor, offsets: Tensor, weights: Tensor, kernel: Tensor, *, dilation: int) -> Tensor:
    """Compute by torchvision's compiled kernel, in float32. Arguments as in `deform_conv`."""
    from torchvision.ops import deform_conv2d

    out: Tensor = deform_conv2d(
        x.float(),
        offsets.float(),
        kernel.float(),
        padding=dilation,
        dilation=dilation,
        mask=weights.float(),
    )
    return out.to(x.dtype)


def deform_conv_grid(x: Tensor, offsets: Tensor, weights: Tensor, kernel: Tensor, *, dilation: int) -> Tensor:
    """Compute by `grid_sample` and a matrix product, on any device and dtype. Arguments as in `deform_conv`."""
    b, c, h, w = x.shape
    groups = weights.shape[1] // 9
    # Positions in float32 also under half precision: bfloat16 cannot tell pixel 64.0 from 64.4.
    shift = offsets.float().reshape(b * groups, 9, 2, h, w)
    tap = torch.arange(9, device=x.device)
    row = torch.arange(h, device=x.device)[:, None] + ((tap // 3 - 1) * dilation)[:, None, None]  # [9, h, 1]
    column = torch.arange(w, device=x.device) + ((tap % 3 - 1) * dilation)[:, None, None]  # [9, 1, w]
    grid = torch.stack(
        [(shift[:, :, 1] + column) * (2 / w) + (1 / w - 1), (shift[:, :, 0] + row) * (2 / h) + (1 / h - 1)], -1
    )  # [B*G, 9, h, w, 2] as (x, y), -1..1 from edge to edge
    taps = F.grid_sample(
        x.float().reshape(b * groups, c // groups, h, w),
        grid.view(b * groups, 9 * h, w, 2),
        align_corners=False,
    ).to(x.dtype)  # [B*G, C/G, 9*h, w], zero outside; nine times the map, so float32 ends here
    taps = taps * weights.to(x.dtype).reshape(b * groups, 1, 9 * h, w)
    # A convolution, because a product with one matrix for the whole batch would transpose all taps first.
    return F.conv2d(taps.reshape(b, c * 9, h, w), kernel.to(x.dtype).reshape(-1, c * 9, 1, 1))  # [B, C_out, h, w]


def deform_conv(x: Tensor, offsets: Tensor, weights: Tensor, kernel: Tensor, *, dilation: int) -> Tensor:
    """Convolve `x` with taps moved by `offsets` and scaled by `weights`; zero outside the map.

    torchvision's kernel on CUDA; elsewhere `grid_sample`, which on a CPU is several times faster than
    torchvision's scalar loop and which exists on every device.

    Args:
        x: `[B, C, h, w]`.
        offsets: `[B, G*9*2, h, w]` in pixels: for each group and tap (row by row) first dy, then dx.
        weights: `[B, G*9, h, w]`.
        kernel: `[C_out, C, 3, 3]`.
        dilation: Distance of neighbouring taps, pixels.

    Returns:
        `[B, C_out, h, w]` in the dtype of `x`.
    """
    compute = deform_conv_torchvision if x.is_cuda else deform_conv_grid
    with torch.autocast(x.device.type, enabled=False):
        return compute(x, offsets, weights, kernel, dilation=dilation)


class DeformConv(nn.Module):
    """The 3x3 kernel of a modulated deformable convolution, C to C channels, with bias."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.kernel = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.kaiming_normal_(self.kernel)

    def forward(self, x: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to `[B, C, h, w]`; see `deform_conv`."""
        out = deform_conv(x, offsets, weights, self.kernel, dilation=self.dilation)
        return out + self.bias.to(out.dtype).view(-1, 1, 1)


class OffsetsAndWeights(nn.Module):
    """Two conv branches that predict where to sample and how much each tap counts.

    Offsets start at 0 and weights at 1/2 everywhere: training starts from an ordinary convolution.

    Args:
        in_channels: Channels that condition the prediction.
        channels: Inner width.
        groups: G.
    """

    def __init__(self, in_channels: int, channels: int, *, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.offset_branch = _branch(in_channels, channels, groups * 18)
        self.weight_branch = _branch(in_channels, channels, groups * 9)

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Map `[B, in, h, w]` to offsets `[B, G*18, h, w]` and weights `[B, G*9, h, w]` in 0..1."""
        weights = torch.sigmoid(self.weight_branch(condition))
        return self.offset_branch(condition), weights


def _branch(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """1x1 to the inner width, 3x3, and an output layer that starts at 0."""
    last = nn.Conv2d(channels, out_channels, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv_block(in_channels, channels, 1), conv_block(channels, channels, 3), last)
