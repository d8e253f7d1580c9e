"""NanoDet for people: each cell of three maps tells how surely a person's box lies around it, and which.

RangiLyu, "NanoDet" (2020, Apache-2.0), as its variant `g`: convolutions of 3x3 in cross-stage partial blocks (Wang et
al., "CSPNet", 2020), a pyramid of three levels, and sides of boxes as distributions (Li et al., "Generalized Focal
Loss", 2020). Its BatchNorms are folded into the convolutions. A suppression of doubles is left to the caller.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jmpose.state import read_half, write_half

STRIDES = (8, 16, 32)
"""Pixels of the picture to a cell, level by level."""
BINS = 11
"""Of the distribution of a side's distance from the cell's middle: 0 to 10 cells."""
_MEAN, _SCALE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB
_WIDTH = 128  # of the pyramid
_BLOCKS = ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 3, 2))  # channels, residual blocks, stride
_KIND = "jmpose-nanodet"


class Cells(NamedTuple):
    """What the network says of each of the A cells of all levels, the finest first.

    Attributes:
        scores: Logits that a person's box lies around it `[N, A]`.
        sides: Logits of the distances of left, top, right and bottom from its middle, in cells `[N, A, 4, BINS]`.
        middles: Of the cells, x and y in pixels of the picture `[A, 2]`.
        strides: Pixels to a cell `[A]`.
    """

    scores: Tensor
    sides: Tensor
    middles: Tensor
    strides: Tensor

    def boxes(self) -> Tensor:
        """Boxes xyxy `[N, A, 4]` in pixels of the picture; none has a negative side."""
        bins = torch.arange(BINS, device=self.sides.device, dtype=self.sides.dtype)
        distances = (self.sides.softmax(-1) * bins).sum(-1) * self.strides[:, None]
        return torch.cat([self.middles - distances[..., :2], self.middles + distances[..., 2:]], -1)


class NanoDet(nn.Module):
    """Finds people in pictures whose sides are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, _BLOCKS[0][0], stride=2)
        outputs = [_BLOCKS[0][0], *(2 * channels for channels, _, _ in _BLOCKS)]
        self.blocks = nn.ModuleList(
            _CrossStagePartial(inputs, *block) for inputs, block in zip(outputs, _BLOCKS, strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, _WIDTH, 1) for inputs in outputs[-len(STRIDES) :])
        self.heads = nn.ModuleList(
            nn.Sequential(_convolution(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, 1 + 4 * BINS, 1)) for _ in STRIDES
        )

    def forward(self, pictures: Tensor) -> Cells:
        """Map pictures `[N, 3, H, W]`, RGB from 0 to 255, to what all cells say."""
        mean, scale = (pictures.new_tensor(values)[:, None, None] for values in (_MEAN, _SCALE))
        features = F.max_pool2d(self.stem((pictures - mean) / scale), 3, 2, 1)
        stages = []
        for block in self.blocks:
            features = block(features)
            stages.append(features)
        levels = [side(stage) for side, stage in zip(self.lateral, stages[-len(STRIDES) :], strict=True)]
        for coarse, fine in pairwise(reversed(range(len(levels)))):
            levels[fine] = levels[fine] + _like(levels[coarse], levels[fine])
        for fine, coarse in pairwise(range(len(levels))):
            levels[coarse] = levels[coarse] + _like(levels[fine], levels[coarse])
        told = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        rows = torch.cat([maps.flatten(2) for maps in told], 2).transpose(1, 2)
        sizes = [(maps.shape[-2:], stride) for maps, stride in zip(told, STRIDES, strict=True)]
        middles = torch.cat([_middles(size, stride, pictures) for size, stride in sizes])
        strides = torch.cat([pictures.new_full((height * width,), stride) for (height, width), stride in sizes])
        return Cells(rows[..., 0], rows[..., 1:].reshape(*rows.shape[:2], 4, BINS), middles, strides)


class _CrossStagePartial(nn.Module):
    def __init__(self, inputs: int, channels: int, residuals: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, channels, stride=stride)
        self.residuals = nn.ModuleList(_Residual(channels) for _ in range(residuals))
        self.last = _convolution(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        first = features = self.first(features)
        for residual in self.residuals:
            features = residual(features)
        return torch.cat([self.last(features), first], 1)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = _convolution(channels, channels // 2)
        self.further = _convolution(channels // 2, channels // 2)

    def forward(self, features: Tensor) -> Tensor:
        narrow = self.narrow(features)
        return torch.cat([self.further(narrow), narrow], 1)


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1))


def _like(features: Tensor, other: Tensor) -> Tensor:
    """Scale `features` to the rows and columns of `other`."""
    return F.interpolate(features, size=other.shape[-2:], mode="bilinear", align_corners=False)


def _middles(size: tuple[int, int], stride: int, like: Tensor) -> Tensor:
    """Middles of a level's (h, w) cells, row by row: x and y in pixels of the picture `[h * w, 2]`."""
    rows, columns = (torch.arange(side, device=like.device, dtype=like.dtype) for side in size)
    y, x = torch.meshgrid((rows + 0.5) * stride, (columns + 0.5) * stride, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def scored_boxes(cells: Cells) -> Tensor:
    """Return rows `[N, A, 5]` of every cell: (x0, y0, x1, y1) in pixels, and the score from 0 to 1."""
    return torch.cat([cells.boxes(), cells.scores.sigmoid()[..., None]], -1)


def save_nanodet(network: NanoDet, path: Path) -> None:
    """Write a network as float16 `.safetensors`.

    Raises:
        WeightsError: The file cannot be written.
    """
    write_half(network, path, kind=_KIND)


def load_nanodet(path: Path) -> NanoDet:
    """Read what `save_nanodet` wrote: a network in eval mode, float32.

    Raises:
        WeightsError: The file is missing, damaged, or of another network.
    """
    return read_half(path, lambda: NanoDet().eval(), kind=_KIND, of="NanoDet of people", example="person-nano")
