from dataclasses import replace

import pytest
import torch
from torch import nn

from jmpose.backbones import PyramidBackbone
from jmpose.build import build_model
from jmpose.folding import fold_batch_norms
from jmpose.presets import CONFIGS
from tests.jmpose.tiny_model import stir, tiny_model, tiny_windows


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("name", ["nano", "small", "hrnet-w32"])
def test_whole_models_stay_the_same(name: str) -> None:
    config = CONFIGS[name]
    config = replace(config, preprocess=replace(config.preprocess, input_height=64, input_width=64))
    torch.manual_seed(0)
    model = build_model(config).eval()
    with torch.no_grad():
        model.head.scale += 1
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight += 0.1 * torch.randn_like(module.weight)
                module.running_mean += 0.1 * torch.randn_like(module.running_mean)
                module.running_var *= 0.5 + torch.rand_like(module.running_var)
    windows = torch.randn(1, config.preprocess.frames, 3, 64, 64)
    with torch.inference_mode():
        before = model(windows)
        total = norms(model)
        folded = fold_batch_norms(model)
        after = model(windows)
    assert norms(model) == total - folded < total / 5
    for one, other in ((before.heatmaps, after.heatmaps), (before.initial, after.initial)):
        assert (one - other).abs().max() < 1e-4 * one.abs().max()


@pytest.mark.parametrize(
    "timm_name", ["resnet18", "mobilenetv4_conv_small_050", "regnetx_002", "hgnetv2_b0", "convnext_atto"]
)
def test_backbones_of_other_families_stay_the_same(timm_name: str) -> None:
    torch.manual_seed(0)
    backbone = PyramidBackbone(timm_name, channels=8, joints=3)
    for _ in range(3):
        backbone(torch.randn(4, 3, 64, 64))  # statistics that are not those of the start
    backbone.eval()
    pictures = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        before = backbone(pictures)[0]
        assert fold_batch_norms(backbone) > 0
        after = backbone(pictures)[0]
    assert (before - after).abs().max() < 1e-4 * before.abs().max()


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="eval mode only"):
        fold_batch_norms(tiny_model().train())


def test_norm_that_follows_another_layer_stays() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    assert fold_batch_norms(net) == 0 and isinstance(net[2], nn.BatchNorm2d)


def test_folded_model_has_no_norm_where_convolutions_had_one() -> None:
    model = stir(tiny_model()).eval()
    before = model(tiny_windows()).heatmaps
    fold_batch_norms(model)
    assert isinstance(model.backbone.get_submodule("body")[1], nn.Identity)
    assert torch.allclose(before, model(tiny_windows()).heatmaps, atol=1e-4)
