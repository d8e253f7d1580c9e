import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from jmpose.deform import DeformConv, OffsetsAndWeights, deform_conv, deform_conv_grid, deform_conv_torchvision


def inputs(groups: int, *, spread: float = 2.0, c: int = 12, h: int = 9, w: int = 7) -> tuple[Tensor, ...]:
    """Map, offsets, weights and kernel of two windows."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, c, h, w, generator=generator),
        torch.randn(2, groups * 18, h, w, generator=generator) * spread,
        torch.rand(2, groups * 9, h, w, generator=generator),
        torch.randn(5, c, 3, 3, generator=generator),
    )


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("groups", [1, 4, 12])
@pytest.mark.parametrize("spread", [0.0, 1.0, 20.0])
def test_both_forms_agree(groups: int, dilation: int, spread: float) -> None:
    arguments = inputs(groups, spread=spread)
    ours = deform_conv_grid(*arguments, dilation=dilation)
    theirs = deform_conv_torchvision(*arguments, dilation=dilation)
    assert ours.shape == (2, 5, 9, 7)
    assert torch.allclose(ours, theirs, atol=2e-4)


def test_gradients_of_both_forms_agree() -> None:
    gradients = []
    for compute in (deform_conv_grid, deform_conv_torchvision):
        arguments = [x.requires_grad_() for x in inputs(4)]
        compute(*arguments, dilation=1).square().sum().backward()
        gradients.append([x.grad for x in arguments])
    for ours, theirs in zip(*gradients, strict=True):
        assert ours is not None and theirs is not None
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_without_offsets_it_is_an_ordinary_convolution() -> None:
    x, offsets, weights, kernel = inputs(4)
    out = deform_conv(x, torch.zeros_like(offsets), torch.ones_like(weights), kernel, dilation=2)
    assert torch.allclose(out, F.conv2d(x, kernel, padding=2, dilation=2), atol=1e-4)


def test_offset_order_is_dy_then_dx() -> None:
    x = torch.arange(20.0).view(1, 1, 4, 5)
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 1, 1] = 1
    offsets = torch.zeros(1, 9, 2, 4, 5)
    offsets[:, 4, 0], offsets[:, 4, 1] = 1, 2  # the middle tap looks one row down and two columns right
    out = deform_conv(x, offsets.flatten(1, 2), torch.full((1, 9, 4, 5), 0.5), kernel, dilation=1)
    assert out[0, 0, 0, 0].item() == pytest.approx(x[0, 0, 1, 2].item() / 2)
    assert out[0, 0, 3, 0].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_works_and_keeps_positions_exact(dtype: torch.dtype) -> None:
    arguments = [x.to(dtype) for x in inputs(4, w=70)]
    out = deform_conv(*arguments, dilation=1)
    assert out.dtype == dtype
    exact = deform_conv_torchvision(*(x.float() for x in arguments), dilation=1)
    assert (out.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_autocast_does_not_reach_the_positions() -> None:
    arguments = inputs(4, w=70)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = deform_conv(*arguments, dilation=1)
    assert torch.equal(out, deform_conv(*arguments, dilation=1))


def test_channels_last_gives_the_same() -> None:
    arguments = inputs(4)
    laid_out = [x.contiguous(memory_format=torch.channels_last) for x in arguments]
    assert torch.allclose(deform_conv(*laid_out, dilation=1), deform_conv(*arguments, dilation=1), atol=1e-4)


def test_training_starts_from_an_ordinary_convolution() -> None:
    x, *_ = inputs(4)
    offsets, weights = OffsetsAndWeights(12, 12, groups=4)(x)
    assert offsets.abs().max().item() == 0
    assert torch.equal(weights, torch.full_like(weights, 0.5))
    conv = DeformConv(12, dilation=1)
    assert torch.allclose(conv(x, offsets, weights), F.conv2d(x, conv.kernel, padding=1) / 2, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    arguments = inputs(4)
    on_gpu = deform_conv(*(x.cuda() for x in arguments), dilation=1)
    assert torch.allclose(on_gpu.cpu(), deform_conv(*arguments, dilation=1), atol=1e-3)
