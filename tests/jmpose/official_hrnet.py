"""HRNet-pose computed from its published layer names alone, without timm: what converted weights are compared with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from jmpose.backbones import HRNetBackbone


class Weights(dict[str, Tensor]):
    """Named weights that remember which of them were read."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return super().__getitem__(name)

    def under(self, prefix: str) -> int:
        """How many parts there are directly under `prefix`."""
        return len({name[len(prefix) :].split(".")[0] for name in self if name.startswith(prefix)})


def random_weights(timm_name: str, *, joints: int = 17, seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a whole HRNet-pose under its own names, that keep activations within bounds."""
    with torch.device("meta"):
        backbone = HRNetBackbone(timm_name, joints=joints)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, like in backbone.state_dict().items():
        own = name.replace("heatmap_head.", "final_layer.").removeprefix("body.")
        if like.ndim == 4:
            weights[own] = torch.randn(like.shape, generator=generator) * (2 / like[0].numel()) ** 0.5
        elif name.endswith("num_batches_tracked"):
            weights[own] = torch.tensor(7)
        elif name.endswith("running_var"):
            weights[own] = 0.5 + torch.rand(like.shape, generator=generator)
        elif name.endswith("weight"):
            weights[own] = 0.1 + 0.3 * torch.rand(like.shape, generator=generator)
        else:
            weights[own] = torch.randn(like.shape, generator=generator) * 0.1
    return weights


def official_heatmaps(w: Weights, images: Tensor) -> Tensor:
    """Heatmaps `[N, K, h, w]` of pictures `[N, 3, H, W]`."""
    x = F.relu(_conv_norm(w, "conv1", "bn1", images, stride=2))
    x = F.relu(_conv_norm(w, "conv2", "bn2", x, stride=2))
    maps = [_blocks(w, "layer1", x)]
    for stage in (2, 3, 4):
        maps = [_transition(w, f"transition{stage - 1}.{branch}", maps, branch) for branch in range(stage)]
        for module in range(w.under(f"stage{stage}.")):
            name = f"stage{stage}.{module}"
            maps = [_blocks(w, f"{name}.branches.{branch}", x) for branch, x in enumerate(maps)]
            maps = [_fused(w, f"{name}.fuse_layers.{i}", maps, i) for i in range(w.under(f"{name}.fuse_layers."))]
    assert len(maps) == 1
    return _conv(w, "final_layer", maps[0])


def _conv(w: Weights, name: str, x: Tensor, *, stride: int = 1) -> Tensor:
    kernel = w[f"{name}.weight"]
    bias = w[f"{name}.bias"] if name == "final_layer" else None
    return F.conv2d(x, kernel, bias, stride, padding=kernel.shape[-1] // 2)


def _conv_norm(w: Weights, conv: str, norm: str, x: Tensor, *, stride: int = 1) -> Tensor:
    mean, variance, scale, shift = (w[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(_conv(w, conv, x, stride=stride), mean, variance, scale, shift, eps=1e-5)


def _blocks(w: Weights, name: str, x: Tensor) -> Tensor:
    """Residual blocks: two 3x3 convolutions, or 1x1, 3x3 and 1x1; ReLU after all but the last, and after the sum."""
    for block in range(w.under(f"{name}.")):
        inner = x
        layers = 3 if f"{name}.{block}.conv3.weight" in w else 2
        for layer in range(1, layers + 1):
            inner = _conv_norm(w, f"{name}.{block}.conv{layer}", f"{name}.{block}.bn{layer}", inner)
            inner = F.relu(inner) if layer < layers else inner
        if f"{name}.{block}.downsample.0.weight" in w:
            x = _conv_norm(w, f"{name}.{block}.downsample.0", f"{name}.{block}.downsample.1", x)
        x = F.relu(inner + x)
    return x


def _transition(w: Weights, name: str, maps: list[Tensor], branch: int) -> Tensor:
    """Feed a branch: its own map, another width of it, or the coarsest map at half its size."""
    if f"{name}.0.weight" in w:
        return F.relu(_conv_norm(w, f"{name}.0", f"{name}.1", maps[branch]))
    if f"{name}.0.0.weight" in w:
        return F.relu(_conv_norm(w, f"{name}.0.0", f"{name}.0.1", maps[-1], stride=2))
    return maps[branch]


def _fused(w: Weights, name: str, maps: list[Tensor], out: int) -> Tensor:
    """Sum of all branches at the size of branch `out`: coarser ones are repeated, finer ones halved step by step."""
    total = torch.zeros_like(maps[out])
    for j, x in enumerate(maps):
        if j > out:
            x = _conv_norm(w, f"{name}.{j}.0", f"{name}.{j}.1", x)
            x = x.repeat_interleave(2 ** (j - out), -1).repeat_interleave(2 ** (j - out), -2)
        for step in range(out - j):
            x = _conv_norm(w, f"{name}.{j}.{step}.0", f"{name}.{j}.{step}.1", x, stride=2)
            x = F.relu(x) if step < out - j - 1 else x
        total = total + x
    return F.relu(total)
