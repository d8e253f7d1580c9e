"""Per-frame backbones: pictures to stride-4 features and initial heatmaps.

Letters: N pictures, C feature channels, K joints, (H, W) input, (h, w) = (H/4, W/4).
"""

import difflib
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from jmpose.blocks import conv_block
from jmpose.config import MOVENET_CHANNELS
from jmpose.errors import ConfigError

STRIDE = 4
_LAST_CHANNELS = 1280


def _timm_features(name: str) -> Any:
    """Build a timm feature extractor with random weights; ValueError for an unknown name."""
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        raise ValueError(f"timm knows no backbone {name!r}; near names: {near or 'none'}")
    return timm.create_model(name, pretrained=False, features_only=True)


class Backbone(nn.Module):
    """Shared per-frame network: stride-4 features and, by one convolution or a few, initial heatmaps.

    Args:
        channels: C.
        joints: K.
        kernel: Side of the convolution, odd.

    Attributes:
        channels: C, channels of the features.
        joints: K, channels of the heatmaps.
        bounded: Whether the initial heatmaps are from 0 to 1, by a sigmoid.
    """

    bounded = False
    _frozen: tuple[str, ...] = ()

    def __init__(self, *, channels: int, joints: int, kernel: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.joints = joints
        head = nn.Conv2d(channels, joints, kernel, padding=kernel // 2)
        # Targets are nearly all zero: small weights start the heatmaps near zero.
        nn.init.normal_(head.weight, std=0.001)
        assert head.bias is not None
        nn.init.zeros_(head.bias)
        self.heatmap_head: nn.Module = head

    def freeze(self, names: Sequence[str]) -> None:
        """Fix some parts: no gradients, and their BatchNorm stays in eval mode under `train()`.

        Args:
            names: Submodules, such as `body.conv_stem`.

        Raises:
            ConfigError: There is no such submodule.
        """
        known = dict(self.named_modules())
        for name in names:
            if not name or name not in known:
                near = difflib.get_close_matches(name, known, 3) or [n for n, _ in self.named_children()]
                raise ConfigError(f"the backbone has no part {name!r}", f"it has {', '.join(near)}")
            known[name].requires_grad_(False)
        self._frozen = tuple(names)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Switch the mode of all parts but the frozen ones."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Compute features `[N, C, h, w]` of normalised pictures `[N, 3, H, W]`."""
        return self.stage_features(images)[-1]

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Compute the stride-4 features after each stage; the last one feeds the heatmap head."""
        raise NotImplementedError(f"{type(self).__name__} must define stage_features")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised pictures `[N, 3, H, W]` to features `[N, C, h, w]` and heatmaps `[N, K, h, w]`."""
        features = self.features(images)
        return features, self.heatmap_head(features)


class PyramidBackbone(Backbone):
    """A classification net with a light top-down pyramid to stride 4.

    Args:
        timm_name: A timm network that gives features at strides 4, 8, 16 and 32.
        channels: C, width of the pyramid and of its output.
        joints: K.
    """

    def __init__(self, timm_name: str, *, channels: int, joints: int) -> None:
        super().__init__(channels=channels, joints=joints)
        self.body = _timm_features(timm_name)
        info = self.body.feature_info
        levels = [(i, c) for i, (c, r) in enumerate(zip(info.channels(), info.reduction(), strict=True)) if r >= 4]
        if [info.reduction()[i] for i, _ in levels] != [4, 8, 16, 32]:
            raise ValueError(f"{timm_name} has strides {info.reduction()}, a pyramid needs 4, 8, 16, 32")
        self._levels = tuple(i for i, _ in levels)
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1, bias=False) for _, c in levels)
        self.lateral_norm = nn.ModuleList(nn.BatchNorm2d(channels) for _ in levels)
        # Not depthwise: that is less arithmetic, but processors are slower at it, above all backwards.
        self.smooth = nn.ModuleList(conv_block(channels, channels, 3) for _ in levels)
        self.out_norm = nn.BatchNorm2d(channels)

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Return one level: features `[N, C, h, w]`, after the top-down pass."""
        maps = self.body(images)
        x: Tensor | None = None
        for level in (3, 2, 1, 0):
            side = self.lateral_norm[level](self.lateral[level](maps[self._levels[level]]))
            if x is not None:
                side = side + F.interpolate(x, size=side.shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[level](F.relu(side))
        return [F.relu(self.out_norm(x))]


class MoveNetBackbone(Backbone):
    """MobileNetV2 with a light pyramid to stride 4, layer by layer as MoveNet has them (Google, Apache-2.0).

    There is no BatchNorm: MoveNet's is known folded into the convolutions only. Sides of pictures are multiples of 32.

    Args:
        width: Factor on the channels of MobileNetV2: 1 in MoveNet Lightning, 1.75 in Thunder.
        joints: K.
    """

    bounded = True

    def __init__(self, width: float, *, joints: int) -> None:
        nn.Module.__init__(self)
        self.channels, self.joints = MOVENET_CHANNELS, joints
        self.body = nn.Sequential(*_mobilenet_v2(width))
        sides = [block[-1].out_channels for block in (self.body[2], self.body[5], self.body[9])]  # type: ignore[index]
        inner = (MOVENET_CHANNELS, 32, 64)  # widths of the pyramid at strides 4, 8 and 16
        self.lateral = nn.ModuleList(nn.Conv2d(c, out, 1) for c, out in zip(sides, inner, strict=True))
        self.top = nn.Conv2d(_LAST_CHANNELS, inner[-1], 1)
        self.smooth = nn.ModuleList(
            nn.Sequential(depthwise(c), nn.Conv2d(c, out, 1), nn.ReLU())
            for c, out in zip(inner, (MOVENET_CHANNELS, *inner[:-1]), strict=True)
        )
        self.heatmap_head = nn.Sequential(
            depthwise(MOVENET_CHANNELS),
            nn.Conv2d(MOVENET_CHANNELS, 96, 1),
            nn.ReLU(),
            nn.Conv2d(96, joints, 1),
            nn.Sigmoid(),
        )

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Give one level: features `[N, 24, h, w]`, after the top-down pass."""
        x, sides = images, []
        for number, part in enumerate(self.body):
            x = part(x)
            if number in (2, 5, 9):  # the last ones at strides 4, 8 and 16
                sides.append(x)
        x = self.top(x)
        for level in (2, 1, 0):
            side = self.lateral[level](sides[level])
            x = side + F.interpolate(x, size=side.shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[level](x)
        return [x]


class _InvertedResidual(nn.Sequential):
    """MobileNetV2's block: widen, filter each channel, narrow; added to what came in where shapes allow."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        inner = 6 * channels
        super().__init__(
            nn.Conv2d(channels, inner, 1),
            nn.ReLU6(),
            *_halving(depthwise(inner, stride)),
            nn.ReLU6(),
            nn.Conv2d(inner, out, 1),
        )
        self._is_residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self._is_residual else y


def _mobilenet_v2(width: float) -> list[nn.Module]:
    """The body: a stem, 16 blocks, and a last layer of 1280 channels."""

    def wide(channels: int) -> int:
        rounded = max(8, int(channels * width + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * channels * width else rounded + 8

    first, c = wide(32), wide(16)
    stem = nn.Sequential(
        *_halving(nn.Conv2d(3, first, 3, 2)), nn.ReLU6(), depthwise(first), nn.ReLU6(), nn.Conv2d(first, c, 1)
    )
    blocks: list[nn.Module] = []
    for channels, repeats, stride in ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)):
        for number in range(repeats):
            blocks.append(_InvertedResidual(c, wide(channels), stride if number == 0 else 1))
            c = wide(channels)
    return [stem, *blocks, nn.Sequential(nn.Conv2d(c, _LAST_CHANNELS, 1), nn.ReLU6())]


def depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution of each channel by itself; with a stride of 2 the padding is left to the caller."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1 if stride == 1 else 0, groups=channels)


def _halving(convolution: nn.Conv2d) -> list[nn.Module]:
    """Pad what has stride 2 as TensorFlow does with even sides: below and on the right alone."""
    return [convolution] if convolution.stride == (1, 1) else [nn.ZeroPad2d((0, 1, 0, 1)), convolution]


class HRNetBackbone(Backbone):
    """HRNet with its highest-resolution branch as features, as in HRNet-pose and DCPose.

    Args:
        timm_name: `hrnet_w32`, `hrnet_w48` or a smaller one.
        joints: K.
    """

    def __init__(self, timm_name: str, *, joints: int) -> None:
        body = _timm_hrnet(timm_name)
        super().__init__(channels=int(body.stage4_cfg["num_channels"][0]), joints=joints)
        self.body = body

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Return the highest-resolution branch `[N, C_i, h, w]` after each of the four stages."""
        body: Any = self.body
        x = body.act1(body.bn1(body.conv1(images)))
        x = body.act2(body.bn2(body.conv2(x)))
        x = body.layer1(x)
        stages = [x]
        maps = body.stage2([t(x) for t in body.transition1])
        stages.append(maps[0])
        for transition, stage in ((body.transition2, body.stage3), (body.transition3, body.stage4)):
            maps = stage([_transition(t, i, maps) for i, t in enumerate(transition)])
            stages.append(maps[0])
        return stages

    @property
    def stage_channels(self) -> tuple[int, int, int, int]:
        """Channels of `stage_features`, stage by stage."""
        body: Any = self.body
        first = int(body.layer1[-1].conv3.out_channels)
        later = [int(getattr(body, f"stage{i}_cfg")["num_channels"][0]) for i in (2, 3, 4)]
        return (first, later[0], later[1], later[2])


def _transition(layer: nn.Module, branch: int, maps: list[Tensor]) -> Tensor:
    """Feed one branch of the next HRNet stage: its own map, or the coarsest one to make a new branch."""
    if isinstance(layer, nn.Identity):
        return maps[branch]
    return layer(maps[-1])  # type: ignore[no-any-return]


class AbsentBackbone(Backbone):
    """Stands where a temporal part by itself has no backbone; holds no weights and computes nothing.

    Args:
        channels: C of the backbone that was there.
        joints: K.
    """

    def __init__(self, *, channels: int, joints: int) -> None:
        nn.Module.__init__(self)
        self.channels, self.joints = channels, joints

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Raise ConfigError: there is nothing to compute features with."""
        raise ConfigError("a temporal part without a backbone cannot run", "with_temporal_part puts it on one")


def _timm_hrnet(name: str) -> Any:
    """Build a timm HRNet as HRNet-pose has it: no classification head, one output resolution."""
    import timm

    if not (name.startswith("hrnet_") and timm.is_model(name)):
        raise ValueError(f"{name!r} is no timm HRNet; known: {', '.join(timm.list_models('hrnet_w*'))}")
    body = timm.create_model(name, pretrained=False)
    for part in ("incre_modules", "downsamp_modules", "final_layer", "global_pool", "head_drop", "classifier"):
        if hasattr(body, part):
            delattr(body, part)
    # Only the highest resolution leaves the last stage: pose networks have no layers for the others.
    last = body.stage4[-1]
    last.fuse_layers = last.fuse_layers[:1]
    return body
