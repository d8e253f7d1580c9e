"""Motion flow from pixels: what the temporal part then takes from the backbone is its heatmaps alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from jmpose.build import assemble, temporal_part, with_temporal_part
from jmpose.config import Calibration
from jmpose.errors import ConfigError
from jmpose.motion import PixelFeatures
from jmpose.weights import load_model, save_model
from tests.jmpose.tiny_model import TinyBackbone, stir, tiny_config, tiny_windows

PIXELS = tiny_config(motion_source="pixels", pixel_channels=8)


class OtherFeatures(TinyBackbone):
    """Gives features that another head would read; the heatmaps stay."""

    def stage_features(self, images: Tensor) -> list[Tensor]:
        return [3 - 2 * super().stage_features(images)[0]]


def test_shape() -> None:
    assert PixelFeatures(8)(torch.randn(2, 3, 64, 32)).shape == (2, 8, 16, 8)


@pytest.mark.parametrize("head_context", ["none", "heatmaps"])
def test_the_backbones_features_make_no_difference(head_context: str) -> None:
    config = tiny_config(motion_source="pixels", pixel_channels=8, head_context=head_context)
    torch.manual_seed(0)
    model = stir(assemble(TinyBackbone(channels=8, joints=17), config)).eval()
    other = assemble(OtherFeatures(channels=8, joints=17), config).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        # The same heatmaps from the changed features.
        other.backbone.heatmap_head.weight.div_(-2)
        other.backbone.heatmap_head.bias.sub_(3 * other.backbone.heatmap_head.weight.sum((1, 2, 3)))
        one, two = model(tiny_windows()), other(tiny_windows())
    torch.testing.assert_close(one.initial, two.initial)
    torch.testing.assert_close(one.heatmaps, two.heatmaps)
    assert not torch.allclose(one.heatmaps, one.initial_key)


def test_a_frozen_backbone_leaves_the_pixel_network_to_learn() -> None:
    torch.manual_seed(0)
    model = stir(assemble(TinyBackbone(channels=8, joints=17), PIXELS))
    model.freeze_backbone()
    model.train()
    model(tiny_windows()).heatmaps.square().sum().backward()
    assert model.motion_features is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.motion_features.parameters())
    assert all(p.grad is None for p in model.backbone.parameters())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"motion": False}, "without motion"),
        ({"pixel_channels": 7}, "pixel_channels is 7"),
    ],
)
def test_impossible_settings(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny_config(motion_source="pixels", **changes)


def test_a_temporal_part_moves_to_another_backbone() -> None:
    torch.manual_seed(0)
    donor = stir(assemble(TinyBackbone(channels=8, joints=17), PIXELS)).eval()
    calibration = Calibration(1.0, 0.0, 1.0, -1.0, people=1)
    wide = tiny_config(name="wide", backbone=replace(PIXELS.backbone, channels=12), calibration=calibration)
    model = stir(assemble(TinyBackbone(channels=12, joints=17), wide)).eval()
    moved, windows = with_temporal_part(model, donor), tiny_windows()
    assert model.config.calibration and not moved.config.calibration  # that was of other heatmaps
    with torch.no_grad():
        output, given = moved(windows), donor.encode(windows.flatten(0, 1))
        torch.testing.assert_close(output.initial, model(windows).initial)
        # The donor on the other's heatmaps and its own pixels.
        frames = replace(donor.arrange(given, torch.arange(6).view(2, 3)), heatmaps=output.initial)
        torch.testing.assert_close(output.heatmaps, donor.fuse(frames).heatmaps)
    assert moved.config.name == "wide" and moved.config.backbone == wide.backbone
    assert not torch.allclose(output.heatmaps, output.initial_key)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"motion_source": "features"}, "needs the features of its own backbone"),
        ({"preprocess": replace(PIXELS.preprocess, heatmap_sigma=2.0)}, "heatmap_sigma 2.0, tiny has 1.0"),
        ({"preprocess": replace(PIXELS.preprocess, input_height=96)}, r"heatmap_size \(24, 8\), tiny has \(16, 8\)"),
    ],
)
def test_a_temporal_part_that_does_not_fit(changes: dict[str, object], said: str) -> None:
    model = assemble(TinyBackbone(channels=8, joints=17), PIXELS)
    donor = assemble(TinyBackbone(channels=8, joints=17), replace(PIXELS, **changes))
    with pytest.raises(ConfigError, match=said):
        with_temporal_part(model, donor)


def test_a_temporal_part_is_saved_without_its_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    donor, windows = stir(assemble(TinyBackbone(channels=8, joints=17), PIXELS)).eval(), tiny_windows()
    path = save_model(temporal_part(donor), tmp_path / "part.safetensors")
    part = load_model(path)
    assert not any(name.startswith("backbone") for name in part.state_dict())
    with pytest.raises(ConfigError, match="a temporal part without a backbone cannot run"):
        part(windows)
    with torch.no_grad():
        torch.testing.assert_close(with_temporal_part(donor, part)(windows).heatmaps, donor(windows).heatmaps)
    with pytest.raises(ConfigError, match="needs the features of its own backbone"):
        temporal_part(assemble(TinyBackbone(channels=8, joints=17), tiny_config()))


def test_an_identity_start_is_told_from_a_trained_part() -> None:
    model = assemble(TinyBackbone(channels=8, joints=17), PIXELS)
    assert not model.is_trained_in_time
    assert stir(model).is_trained_in_time
