"""Per-frame backbones: pictures to stride-4 features and initial heatmaps.

Letters: N pictures, C feature channels, K joints, (H, W) input, (h, w) = (H/4, W/4).
"""

import difflib
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from jmpose.blocks import conv_block
from jmpose.errors import ConfigError

STRIDE = 4


def _timm_features(name: str) -> Any:
    """Build a timm feature extractor with random weights; ValueError for an unknown name."""
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        raise ValueError(f"timm knows no backbone {name!r}; near names: {near or 'none'}")
    return timm.create_model(name, pretrained=False, features_only=True)


class Backbone(nn.Module):
    """Shared per-frame network: stride-4 features and, by one convolution, initial heatmaps.

    Args:
        channels: C.
        joints: K.
        kernel: Side of the convolution, odd.

    Attributes:
        channels: C, channels of the features.
        joints: K, channels of the heatmaps.
    """

    _frozen: tuple[str, ...] = ()

    def __init__(self, *, channels: int, joints: int, kernel: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.joints = joints
        self.heatmap_head = nn.Conv2d(channels, joints, kernel, padding=kernel // 2)
        # Targets are nearly all zero: small weights start the heatmaps near zero.
        nn.init.normal_(self.heatmap_head.weight, std=0.001)
        assert self.heatmap_head.bias is not None
        nn.init.zeros_(self.heatmap_head.bias)

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
