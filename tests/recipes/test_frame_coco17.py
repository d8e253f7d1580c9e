import pytest
import torch

from frame_coco17 import renormalise
from jmpose.backbones import Backbone, MoveNetBackbone, PyramidBackbone
from jmpose.presets import CONFIGS
from jmpose.sampling import normalise


@pytest.mark.parametrize(
    "backbone",
    [MoveNetBackbone(0.25, joints=3), PyramidBackbone("mobilenetv4_conv_small_050", channels=8, joints=3)],
    ids=lambda backbone: type(backbone).__name__,
)
def test_other_normalisation_gives_the_same(backbone: Backbone) -> None:
    torch.manual_seed(0)
    old, new = CONFIGS["nano"].preprocess, CONFIGS["vitpose-b"].preprocess
    first = torch.nn.Sequential(*list(backbone.get_submodule("body").children())[:2]).eval()
    pictures = torch.randint(0, 256, (1, 3, 64, 64)).float()
    with torch.inference_mode():
        before = first(normalise(pictures, old))
        renormalise(backbone, old, new)
        after = first(normalise(pictures, new))
    inside = (..., slice(4, -4), slice(4, -4))
    assert (after - before)[inside].abs().max() < 1e-4 * before.abs().max()
