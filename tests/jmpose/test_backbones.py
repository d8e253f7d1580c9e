import pytest
import torch

from jmpose.backbones import Backbone, HRNetBackbone, PyramidBackbone


def test_pyramid_gives_stride_four() -> None:
    backbone = PyramidBackbone("mobilenetv4_conv_small_050", channels=12, joints=5).eval()
    with torch.inference_mode():
        features, heatmaps = backbone(torch.randn(2, 3, 64, 96))
    assert features.shape == (2, 12, 16, 24) and heatmaps.shape == (2, 5, 16, 24)
    assert (backbone.channels, backbone.joints) == (12, 5)


def test_hrnet_gives_four_stages_at_stride_four() -> None:
    backbone = HRNetBackbone("hrnet_w18_small", joints=5).eval()
    with torch.inference_mode():
        stages = backbone.stage_features(torch.randn(1, 3, 64, 32))
        features, heatmaps = backbone(torch.randn(1, 3, 64, 32))
    assert [tuple(s.shape) for s in stages] == [(1, c, 16, 8) for c in backbone.stage_channels]
    assert features.shape == (1, backbone.channels, 16, 8) and heatmaps.shape == (1, 5, 16, 8)


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
