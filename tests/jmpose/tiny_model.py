"""A model small enough to train in a test."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from jmpose.backbones import Backbone
from jmpose.build import assemble
from jmpose.config import BackboneSpec, ModelConfig, Preprocess
from jmpose.network import JMPose

TINY = ModelConfig(
    name="tiny",
    backbone=BackboneSpec("pyramid", "none", 8),
    preprocess=Preprocess(64, 32, "coco17", heatmap_sigma=1.0, window_offsets=(-2, 0, 2)),
    channels=8,
    head_channels=8,
    offset_groups=2,
    heads=2,
)


class TinyBackbone(Backbone):
    """Two convolutions with BatchNorm, stride 4."""

    def __init__(self, *, channels: int, joints: int) -> None:
        super().__init__(channels=channels, joints=joints)
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 4, stride=4, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def stage_features(self, images: Tensor) -> list[Tensor]:
        return [self.body(images)]


def tiny_config(**changes: Any) -> ModelConfig:
    return replace(TINY, **changes)


def tiny_model(config: ModelConfig = TINY, *, seed: int = 0) -> JMPose:
    torch.manual_seed(seed)
    return assemble(TinyBackbone(channels=8, joints=17), config)


def tiny_windows(count: int = 2, *, frames: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(count, frames, 3, 64, 32, generator=torch.Generator().manual_seed(seed))


def stir(model: JMPose, *, seed: int = 2) -> JMPose:
    """Move every parameter and statistic off its start, so that identities no longer hold by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.add_(torch.rand(buffer.shape, generator=generator))
    return model
