import math

import pytest
import torch

from jmpose.targets import crop_to_heatmap, crop_to_image, gaussian_targets, heatmap_to_crop


@pytest.mark.parametrize(("crop", "heatmap"), [(-0.5, -0.5), (1.5, 0.0), (5.5, 1.0), (255.5, 63.5), (0.0, -0.375)])
def test_outer_edges_of_crop_and_heatmap_meet(crop: float, heatmap: float) -> None:
    xy = torch.tensor([[crop, crop]])
    assert crop_to_heatmap(xy)[0, 0].item() == heatmap
    assert heatmap_to_crop(crop_to_heatmap(xy))[0, 1].item() == crop


def test_mirroring_the_crop_mirrors_the_heatmap_without_a_shift() -> None:
    x = torch.tensor([[17.25, 3.0]])
    mirrored = torch.tensor([[191 - 17.25, 3.0]])
    assert crop_to_heatmap(mirrored)[0, 0].item() == 47 - crop_to_heatmap(x)[0, 0].item()


def test_crop_to_image_applies_each_persons_affine() -> None:
    affine = torch.tensor([[[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]], [[0.0, -1.0, 0.0], [1.0, 0.0, 5.0]]])
    xy = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert crop_to_image(xy, affine).tolist() == [[[12.0, 24.0]], [[-4.0, 8.0]]]


def test_gaussian_is_centred_between_pixels() -> None:
    # Crop (11.5, 9.5) is heatmap (2.5, 2.0).
    target = gaussian_targets(
        torch.tensor([[11.5, 9.5], [11.5, 9.5]]), torch.tensor([1, 0]), heatmap_size=(5, 6), sigma=1.5
    )
    assert target.shape == (2, 5, 6)
    assert target[0, 2, 2].item() == pytest.approx(math.exp(-0.25 / 4.5))
    assert target[0, 2, 2].item() == target[0, 2, 3].item()
    assert target[0, 4, 5].item() == pytest.approx(math.exp(-(2.5**2 + 2**2) / 4.5))
    assert target[1].abs().max().item() == 0


def test_gaussians_of_a_window_keep_their_axes() -> None:
    target = gaussian_targets(torch.zeros(2, 3, 17, 2), torch.ones(2, 3, 17), heatmap_size=(16, 8), sigma=1.0)
    assert target.shape == (2, 3, 17, 16, 8)
