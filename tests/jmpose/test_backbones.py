from dataclasses import replace

import pytest
import torch

from jmpose.backbones import Backbone, HRNetBackbone, MoveNetBackbone, PyramidBackbone
from jmpose.build import build_model
from jmpose.config import BackboneSpec
from jmpose.errors import ConfigError
from jmpose.presets import CONFIGS
from tests.jmpose.tiny_model import stir, tiny_config, tiny_windows


def test_pyramid_gives_stride_four() -> None:
    backbone = PyramidBackbone("mobilenetv4_conv_small_050", channels=12, joints=5).eval()
    with torch.inference_mode():
        features, heatmaps = backbone(torch.randn(2, 3, 64, 96))
    assert features.shape == (2, 12, 16, 24) and heatmaps.shape == (2, 5, 16, 24)
    assert (backbone.channels, backbone.joints) == (12, 5)


@pytest.mark.parametrize(
    ("width", "last_block", "millions"),
    [(1.0, 320, 2.30), (1.75, 560, 6.21)],  # MoveNet Lightning's and Thunder's, without what finds and places a person
)
def test_movenet_has_its_sizes(width: float, last_block: int, millions: float) -> None:
    backbone = MoveNetBackbone(width, joints=17).eval()
    with torch.inference_mode():
        features, heatmaps = backbone(torch.randn(2, 3, 64, 96))
    assert features.shape == (2, 24, 16, 24) and heatmaps.shape == (2, 17, 16, 24)
    assert float(heatmaps.min()) > 0 and float(heatmaps.max()) < 1
    assert backbone.body[16][-1].out_channels == last_block
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_movenet_halves_as_tensorflow_does() -> None:
    stem = MoveNetBackbone(0.25, joints=5).eval().body[0]
    pictures = torch.randn(1, 3, 32, 32)
    pad, convolution = stem[0], stem[1]
    with torch.inference_mode():
        padded = torch.nn.functional.pad(pictures, (0, 1, 0, 1))
        corner = (convolution.weight * padded[:, :, -3:, -3:]).sum((1, 2, 3)) + convolution.bias
        assert torch.allclose(convolution(pad(pictures))[0, :, -1, -1], corner, atol=1e-5)


def test_every_weight_of_a_movenet_is_used() -> None:
    backbone = MoveNetBackbone(0.25, joints=5)
    backbone(torch.randn(2, 3, 64, 64))[1].sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


def test_hrnet_gives_four_stages_at_stride_four() -> None:
    backbone = HRNetBackbone("hrnet_w18_small", joints=5).eval()
    with torch.inference_mode():
        stages = backbone.stage_features(torch.randn(1, 3, 64, 32))
        features, heatmaps = backbone(torch.randn(1, 3, 64, 32))
    assert [tuple(s.shape) for s in stages] == [(1, c, 16, 8) for c in backbone.stage_channels]
    assert features.shape == (1, backbone.channels, 16, 8) and heatmaps.shape == (1, 5, 16, 8)


@pytest.mark.parametrize(("width", "millions"), [(32, 28.5), (48, 63.6)])
def test_large_hrnets_have_the_layers_of_a_pose_network_only(width: int, millions: float) -> None:
    config = replace(CONFIGS[f"hrnet-w{width}"], motion_stages=4)
    with torch.device("meta"):
        model = build_model(config)
        stages = model.backbone.stage_features(torch.empty(1, 3, 128, 96))
    assert isinstance(model.backbone, HRNetBackbone)
    assert model.backbone.stage_channels == (256, width, width, width)
    assert [tuple(s.shape) for s in stages] == [(1, c, 32, 24) for c in model.backbone.stage_channels]
    # As published (Sun et al., CVPR 2019).
    assert sum(p.numel() for p in model.backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_every_weight_of_an_hrnet_is_used() -> None:
    backbone = HRNetBackbone("hrnet_w18_small", joints=5)
    backbone(torch.randn(2, 3, 64, 64))[1].sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


def test_untrained_heatmaps_start_near_zero() -> None:
    backbone = PyramidBackbone("mobilenetv4_conv_small_050", channels=12, joints=5).eval()
    with torch.inference_mode():
        _, heatmaps = backbone(torch.randn(1, 3, 64, 64))
    assert heatmaps.abs().max().item() < 0.2


def test_unfit_networks_are_named() -> None:
    with pytest.raises(ValueError, match=r"timm knows no backbone 'mobilenet'; near names: mobilenet"):
        PyramidBackbone("mobilenet", channels=8, joints=5)
    with pytest.raises(ValueError, match=r"test_vit has strides .*, a pyramid needs 4, 8, 16, 32"):
        PyramidBackbone("test_vit", channels=8, joints=5)
    with pytest.raises(ValueError, match="'resnet18' is no timm HRNet"):
        HRNetBackbone("resnet18", joints=5)


def test_a_backbone_must_say_how() -> None:
    class Other(Backbone):
        pass

    with pytest.raises(NotImplementedError, match="Other must define stage_features"):
        Other(channels=8, joints=5)(torch.zeros(1, 3, 32, 32))


def test_all_four_stages_of_an_hrnet_reach_the_motion_flow() -> None:
    config = tiny_config(backbone=BackboneSpec("hrnet", "hrnet_w18_small", 16), motion_stages=4)
    torch.manual_seed(0)
    model = stir(build_model(config)).eval()
    windows = tiny_windows()
    assert model.backbone.stage_features(windows[:, 0])[0].shape == (2, 128, 16, 8)
    with torch.inference_mode():
        before = model(windows).heatmaps
        model.backbone.body.layer1[0].bn1.bias += 1
        assert before.shape == (2, 17, 16, 8) and before.isfinite().all()
        assert not torch.allclose(model(windows).heatmaps, before)


def test_frozen_parts_stay_as_they_are() -> None:
    backbone = PyramidBackbone("mobilenetv4_conv_small_050", channels=12, joints=5)
    backbone.freeze(["body.conv_stem", "body.bn1", "body.blocks.0"])
    backbone.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))[1].square().sum().backward()
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0).step()
    for name, value in backbone.state_dict().items():
        frozen = name.startswith(("body.conv_stem.", "body.bn1.", "body.blocks.0."))
        if frozen or value.ndim == 4:
            assert torch.equal(value, before[name]) == frozen, name


def test_part_that_is_not_there_is_named() -> None:
    backbone = PyramidBackbone("mobilenetv4_conv_small_050", channels=12, joints=5)
    with pytest.raises(ConfigError, match=r"the backbone has no part 'body.conv_stm'") as caught:
        backbone.freeze(["body.conv_stm"])
    assert "body.conv_stem" in caught.value.hint
