import math

import pytest
import torch

from jmpose.config import HeatmapAlignment
from jmpose.targets import covariances_to_image, crop_to_heatmap, crop_to_image, gaussian_targets, heatmap_to_crop


@pytest.mark.parametrize(("crop", "heatmap"), [(-0.5, -0.5), (1.5, 0.0), (5.5, 1.0), (255.5, 63.5), (0.0, -0.375)])
def test_outer_edges_of_crop_and_heatmap_meet(crop: float, heatmap: float) -> None:
    xy = torch.tensor([[crop, crop]])
    assert crop_to_heatmap(xy)[0, 0].item() == heatmap
    assert heatmap_to_crop(crop_to_heatmap(xy))[0, 1].item() == crop


@pytest.mark.parametrize(("crop", "heatmap"), [((0.0, 0.0), (0.0, 0.0)), ((191.0, 255.0), (47.0, 63.0))])
def test_centres_of_the_corner_pixels_meet_as_udp_trains(
    crop: tuple[float, float], heatmap: tuple[float, float]
) -> None:
    xy = crop_to_heatmap(torch.tensor([crop]), heatmap_size=(64, 48), alignment="corners")
    assert xy[0].tolist() == pytest.approx(heatmap)
    assert heatmap_to_crop(xy, heatmap_size=(64, 48), alignment="corners")[0].tolist() == pytest.approx(crop)
    with pytest.raises(ValueError, match="alignment 'corners' needs heatmap_size"):
        heatmap_to_crop(xy, alignment="corners")


@pytest.mark.parametrize(("crop", "heatmap"), [(0.0, 0.0), (4.0, 1.0), (254.0, 63.5), (-2.0, -0.5)])
def test_origins_of_crop_and_heatmap_meet(crop: float, heatmap: float) -> None:
    xy = torch.tensor([[crop, crop]])
    assert crop_to_heatmap(xy, alignment="origins")[0, 0].item() == heatmap
    assert heatmap_to_crop(torch.tensor([[heatmap, 0]]), alignment="origins")[0, 0].item() == crop
    shift = heatmap_to_crop(xy) - heatmap_to_crop(xy, alignment="origins")
    assert shift.tolist() == [[1.5, 1.5]]


@pytest.mark.parametrize("alignment", ["edges", "corners"])
def test_mirroring_the_crop_mirrors_the_heatmap_without_a_shift(alignment: HeatmapAlignment) -> None:
    x, mirrored = (
        crop_to_heatmap(torch.tensor([[x, 3.0]]), heatmap_size=(64, 48), alignment=alignment)[0, 0].item()
        for x in (17.25, 191 - 17.25)
    )
    assert mirrored == pytest.approx(47 - x)


def test_crop_to_image_applies_each_persons_affine() -> None:
    affine = torch.tensor([[[2.0, 0.0, 10.0], [0.0, 2.0, 20.0]], [[0.0, -1.0, 0.0], [1.0, 0.0, 5.0]]])
    xy = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert crop_to_image(xy, affine).tolist() == [[[12.0, 24.0]], [[-4.0, 8.0]]]


@pytest.mark.parametrize("alignment", ["edges", "corners", "origins"])
def test_covariances_go_to_the_image_as_points_do(alignment: HeatmapAlignment) -> None:
    rng = torch.Generator().manual_seed(0)
    affine = torch.randn(2, 2, 3, generator=rng)
    points = torch.randn(2, 1000, 2, generator=rng) @ torch.tensor([[2.0, 0.5], [0.0, 1.0]])

    def covariances(xy: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.cov(person.T).flatten()[[0, 1, 3]] for person in xy])[:, None]

    size = (64, 48)
    image = crop_to_image(heatmap_to_crop(points, heatmap_size=size, alignment=alignment), affine)
    found = covariances_to_image(covariances(points), affine, heatmap_size=size, alignment=alignment)
    torch.testing.assert_close(found, covariances(image), rtol=1e-4, atol=1e-3)


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


def test_gaussians_stand_where_the_alignment_puts_them() -> None:
    target = gaussian_targets(
        torch.tensor([[191.0, 255.0]]), torch.ones(1), heatmap_size=(64, 48), sigma=2.0, alignment="corners"
    )
    assert target[0, 63, 47].item() == pytest.approx(1.0)


def test_gaussians_of_a_window_keep_their_axes() -> None:
    target = gaussian_targets(torch.zeros(2, 3, 17, 2), torch.ones(2, 3, 17), heatmap_size=(16, 8), sigma=1.0)
    assert target.shape == (2, 3, 17, 16, 8)
