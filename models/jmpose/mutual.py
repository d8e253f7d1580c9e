"""Progressive joint-motion mutual learning: each of the two streams takes from the other what helps it.

Letters: B windows, C channels, D heads, (h, w) map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jmpose.blocks import ResidualBlock, conv_block

OPEN_GATE = 3.0
"""Bias of a gate that starts open: its sigmoid is 0.95, where it still has a gradient."""


class ChannelAttention(nn.Module):
    """Attention whose tokens are channels and whose vectors are the h*w positions: linear in h*w.

    Vectors are L2-normalised and a temperature for each head is learnt, as in Restormer's transposed attention
    (Zamir et al., CVPR 2022).

    Args:
        channels: C.
        heads: D, divides C; a channel attends to the C/D channels of its head.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads))
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Map three `[B, C, h, w]` to `[B, C, h, w]`."""
        b, c, h, w = query.shape
        q, k, v = (x.reshape(b, self.heads, c // self.heads, h * w) for x in (query, key, value))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        similarity = q @ k.transpose(-1, -2) * self.temperature.view(-1, 1, 1)  # [B, D, C/D, C/D]
        mixed = similarity.softmax(-1) @ v  # [B, D, C/D, h*w]
        out: Tensor = self.project(mixed.reshape(b, c, h, w))
        return out


class MutualBlock(nn.Module):
    """One block: own convolution, attention to the other stream, a gate on both.

    Args:
        channels: C.
        heads: Attention heads, divides C.
        identity_start: Convolutions and attention are residuals that start at 0, gates start open: an untrained block
            hands on what it was given. Without, gates start half closed and attention is noise.
    """

    def __init__(self, channels: int, *, heads: int, identity_start: bool = False) -> None:
        super().__init__()
        self.motion_conv = ResidualBlock(channels) if identity_start else conv_block(channels, channels, 3)
        self.joint_conv = ResidualBlock(channels) if identity_start else conv_block(channels, channels, 3)
        self.motion_qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.joint_qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.motion_attention = ChannelAttention(channels, heads=heads)
        self.joint_attention = ChannelAttention(channels, heads=heads)
        self.gate = nn.Conv2d(2 * channels, 2 * channels, 1)
        if identity_start:
            self._start_as_identity()

    def _start_as_identity(self) -> None:
        for block in (self.motion_conv, self.joint_conv):
            assert isinstance(block, ResidualBlock)
            block.start_as_identity()
        for attention in (self.motion_attention, self.joint_attention):
            nn.init.zeros_(attention.project.weight)
            nn.init.zeros_(attention.project.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, OPEN_GATE)  # type: ignore[arg-type]

    def forward(self, motion: Tensor, joint: Tensor) -> tuple[Tensor, Tensor]:
        """Map flow and joint feature, each `[B, C, h, w]`, to their next versions of the same shape."""
        motion, joint = self.motion_conv(motion), self.joint_conv(joint)
        q_m, k_m, v_m = self.motion_qkv(motion).chunk(3, 1)  # each [B, C, h, w]
        q_j, k_j, v_j = self.joint_qkv(joint).chunk(3, 1)
        motion = motion + self.motion_attention(q_m, k_j, v_j)
        joint = joint + self.joint_attention(q_j, k_m, v_m)
        gate_m, gate_j = torch.sigmoid(self.gate(torch.cat([motion, joint], 1))).chunk(2, 1)
        return gate_m * motion, gate_j * joint
