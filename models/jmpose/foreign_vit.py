"""Where the weights of a `VitPoseBackbone` are in files of MMPose, whose transformer is mmpretrain's.

Both compute the same; queries, keys and values of a layer are one matrix there, and position embeddings have no row
for a class token and are resized to the input.

Letters: D channels of a token, (h, w) patches of the input, n patches that the stored embeddings are of.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from jmpose.vitpose import PATCH

NORM_EPS = 1e-6
"""What mmpretrain's layer norms add to the variance."""
POSITIONS = "pos_embed"
_OURS = "embeddings.position_embeddings"
_NAMES = (
    (r"embeddings\.patch_embeddings\.", "patch_embed."),
    (r"embeddings\.position_embeddings", POSITIONS),
    (r"encoder\.layer\.", "layers."),
    (r"layernorm_before\.", "ln1."),
    (r"layernorm_after\.", "ln2."),
    (r"attention\.attention\.(query|key|value)\.", "attn.qkv."),
    (r"attention\.output\.dense\.", "attn.proj."),
    (r"mlp\.fc1\.", "ffn.layers.0.0."),
    (r"mlp\.fc2\.", "ffn.layers.1."),
    (r"^layernorm\.", "ln1."),
)


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Source:
    """What a weight is made from.

    Attributes:
        name: The weight in the file.
        like: A tensor of the shape and kind of number that it must have there.
        take: Makes the weight from it.
    """

    name: str
    like: Tensor
    take: Callable[[Tensor], Tensor] = _unchanged


def body_source(
    name: str, weight: Tensor, prefix: str, state: Mapping[str, Tensor], *, input_hw: tuple[int, int]
) -> Source:
    """Tell where a weight of the transformer comes from.

    Args:
        name: Its name in the body of `VitPoseBackbone`.
        weight: It, perhaps on the meta device.
        prefix: That of the transformer in the file.
        state: What is in the file.
        input_hw: Height and width of the input, pixels.
    """
    theirs = name
    for pattern, new in _NAMES:
        theirs = re.sub(pattern, new, theirs)
    theirs = prefix + theirs
    part = re.search(r"\.(query|key|value)\.", name)
    if part:
        row = ("query", "key", "value").index(part[1])
        like = weight.new_empty(3 * len(weight), *weight.shape[1:])
        return Source(theirs, like, partial(_third, row=row))
    if name == _OURS:
        wanted = (input_hw[0] // PATCH, input_hw[1] // PATCH)
        grid = stored_grid(state.get(theirs), wanted)
        like = weight.new_empty(1, grid[0] * grid[1], weight.shape[2])
        return Source(theirs, like, partial(_positions, grid=grid, wanted=wanted))
    return Source(theirs, weight)


def stored_grid(positions: Tensor | None, wanted: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of patches `[1, n, D]` is of: 4 by 3, as people are cropped, else those wanted."""
    count = positions.shape[1] if positions is not None and positions.ndim == 3 else 0
    rows = round((count * 4 / 3) ** 0.5)
    return (rows, rows * 3 // 4) if count and rows % 4 == 0 and rows * rows * 3 // 4 == count else wanted


def _third(tensor: Tensor, *, row: int) -> Tensor:
    return tensor.chunk(3)[row]


def _positions(tensor: Tensor, *, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Embeddings `[1, n, D]` to `[1, 1 + hw, D]`: resized as mmpretrain does, with zeros for the class token."""
    maps = tensor.float().reshape(1, *grid, -1).permute(0, 3, 1, 2)  # [1, D, rows, columns]
    if grid != wanted:
        maps = F.interpolate(maps, size=wanted, mode="bicubic", align_corners=False)
    rows = maps.flatten(2).transpose(1, 2)  # [1, hw, D]
    return torch.cat([torch.zeros_like(rows[:, :1]), rows], dim=1)
