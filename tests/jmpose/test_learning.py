"""What the temporal part is for: a joint that only the neighbouring frames show."""

import pytest
import torch
from torch import Tensor

from jmpose.backbones import Backbone
from jmpose.build import assemble
from jmpose.losses import JMPoseLoss, heatmap_loss
from jmpose.network import JMPose
from jmpose.targets import gaussian_targets, heatmap_to_crop
from tests.jmpose.tiny_model import TINY, tiny_config


class SpotBackbone(Backbone):
    """Says, without training, where the picture is bright."""

    def __init__(self) -> None:
        super().__init__(channels=8, joints=17)
        torch.nn.init.constant_(self.heatmap_head.weight, 1 / 8)

    def stage_features(self, images: Tensor) -> list[Tensor]:
        return [torch.nn.functional.avg_pool2d(images[:, :1], 4).expand(-1, 8, -1, -1)]


def spots(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Windows in which a spot moves steadily and is hidden in the key frame; targets where it must be."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(count, 2, generator=generator) * torch.tensor([3.0, 11.0]) + 2
    speed = torch.rand(count, 2, generator=generator) * 3 - 1.5
    centres = heatmap_to_crop(place[:, None] + speed[:, None] * torch.tensor([-1.0, 0.0, 1.0])[:, None])
    maps = gaussian_targets(centres, torch.ones(count, 3), heatmap_size=(16, 8), sigma=1.0)
    frames = maps.clone()
    frames[:, 1] = 0
    windows = frames.repeat_interleave(4, 2).repeat_interleave(4, 3)[:, :, None].expand(-1, -1, 3, -1, -1)
    return windows, maps[:, 1:2].expand(-1, 17, -1, -1)


@pytest.fixture(scope="module")
def trained() -> JMPose:
    torch.manual_seed(0)
    model, loss = assemble(SpotBackbone(), TINY), JMPoseLoss(tiny_config(io_weight=0.001))
    model.freeze_backbone()
    model.train()
    optimizer = torch.optim.AdamW([p for p in [*model.parameters(), *loss.parameters()] if p.requires_grad], lr=1e-2)
    windows, targets = spots(256, seed=0)
    for step in range(120):
        rows = torch.randperm(256, generator=torch.Generator().manual_seed(step))[:16]
        optimizer.zero_grad()
        loss(model(windows[rows]), targets[rows], torch.ones(16, 17)).total.backward()
        optimizer.step()
    return model.eval()


def error(heatmaps: Tensor, targets: Tensor) -> float:
    return heatmap_loss(heatmaps, targets, torch.ones(targets.shape[:2]), sigma=1.0).item()


def test_temporal_beats_single_frame_on_unseen_windows(trained: JMPose) -> None:
    windows, targets = spots(64, seed=1)
    with torch.inference_mode():
        output = trained(windows)
    assert error(output.initial_key, targets) > 0.9
    assert error(output.heatmaps, targets) < 0.3


def test_without_neighbours_it_is_the_single_frame(trained: JMPose) -> None:
    windows, _ = spots(4, seed=1)
    exists = torch.tensor([[False, True, False]] * 4)
    with torch.inference_mode():
        output = trained(windows, exists)
    assert torch.equal(output.heatmaps, output.initial_key)
