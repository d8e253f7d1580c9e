"""CenterNet for people: each is a peak of one map, and two maps tell the box there.

Zhou et al., "Objects as Points" (2019), on MobileNetV2 with a light pyramid, layer by layer as MoveNet MultiPose has it
(Google, Apache-2.0). A suppression of doubles is left to the caller.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jmpose.backbones import MoveNetBackbone, depthwise
from jmpose.config import MOVENET_CHANNELS
from jmpose.state import read_half, write_half

WIDTH = 1.5
"""Factor on the channels of MobileNetV2, as MoveNet MultiPose has it."""
STRIDE = 4
"""Pixels of the picture to a cell of the maps."""
_KIND = "jmpose-centernet"


class CenterMaps(NamedTuple):
    """What the network says of each cell.

    Attributes:
        centers: Logits `[N, 1, h, w]` that the middle of a box lies in the cell.
        sizes: Heights and widths of the box `[N, 2, h, w]`, in cells.
        offsets: From the cell's first corner to the middle `[N, 2, h, w]`: down and right, in cells.
    """

    centers: Tensor
    sizes: Tensor
    offsets: Tensor

    def boxes(self) -> Tensor:
        """Boxes xyxy `[N, 4, h, w]` in pixels of the picture; none has a negative side."""
        height, width = self.sizes.shape[-2:]
        rows = torch.arange(height, device=self.sizes.device, dtype=self.sizes.dtype)[:, None]
        columns = torch.arange(width, device=self.sizes.device, dtype=self.sizes.dtype)[None]
        y, x = self.offsets[:, 0] + rows, self.offsets[:, 1] + columns
        half = F.relu(self.sizes) / 2
        return STRIDE * torch.stack([x - half[:, 1], y - half[:, 0], x + half[:, 1], y + half[:, 0]], 1)


class CenterNet(nn.Module):
    """Finds people in pictures whose sides are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MoveNetBackbone(WIDTH, joints=1)  # of middles, in place of joints
        self.size, self.offset = _head(2), _head(2)

    def forward(self, pictures: Tensor) -> CenterMaps:
        """Map pictures `[N, 3, H, W]`, RGB from -1 to 1, to maps of a quarter of their sides."""
        (features,) = self.backbone.stage_features(pictures)
        head = self.backbone.heatmap_head
        assert isinstance(head, nn.Sequential)
        return CenterMaps(head[:-1](features), self.size(features), self.offset(features))  # logits: without a sigmoid


def _head(outputs: int) -> nn.Sequential:
    inner = 96
    return nn.Sequential(
        depthwise(MOVENET_CHANNELS), nn.Conv2d(MOVENET_CHANNELS, inner, 1), nn.ReLU(), nn.Conv2d(inner, outputs, 1)
    )


def scored_boxes(maps: CenterMaps) -> Tensor:
    """Return rows `[N, h * w, 5]` of every cell: (x0, y0, x1, y1) in pixels, and the score from 0 to 1.

    A cell beside a better one has score 0 (a maximum over 3x3 cells instead of a sort).
    """
    scores = maps.centers.sigmoid()
    is_peak = scores == F.max_pool2d(scores, 3, stride=1, padding=1)
    return torch.cat([maps.boxes(), scores * is_peak], 1).flatten(2).transpose(1, 2)


def save_centernet(network: CenterNet, path: Path) -> None:
    """Write a network as float16 `.safetensors`.

    Raises:
        WeightsError: The file cannot be written.
    """
    write_half(network, path, kind=_KIND)


def load_centernet(path: Path) -> CenterNet:
    """Read what `save_centernet` wrote: a network in eval mode, float32.

    Raises:
        WeightsError: The file is missing, damaged, or of another network.
    """
    return read_half(path, lambda: CenterNet().eval(), kind=_KIND, of="CenterNet of people", example="person-nano")
