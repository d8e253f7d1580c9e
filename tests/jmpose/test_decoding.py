from typing import Any

import pytest
import torch
from torch import Tensor

from jmpose.decoding import decode_dark, flip_average, heatmap_covariances, predict_with_initial
from jmpose.keypoints import COCO17
from jmpose.presets import CONFIGS
from jmpose.sampling import crop_affine
from jmpose.targets import crop_to_image, gaussian_targets, heatmap_to_crop
from tests.jmpose.tiny_model import stir, tiny_model, tiny_windows


def gaussians(centres: Tensor, *, size: tuple[int, int], sigma: float) -> Tensor:
    """Maps `[N, h, w]` with peaks at (x, y) `[N, 2]` in heatmap pixels."""
    return gaussian_targets(heatmap_to_crop(centres), torch.ones(len(centres)), heatmap_size=size, sigma=sigma)


def centres_in(size: tuple[int, int], count: int = 2000) -> Tensor:
    """Random places, up to half a pixel beyond the outermost pixel centres."""
    h, w = size
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([w, h]) - 0.5


@pytest.mark.parametrize(("size", "sigma"), [((64, 48), 2.0), ((96, 72), 3.0), ((16, 8), 1.0)])
def test_dark_is_exact_for_gaussians_also_at_the_border(size: tuple[int, int], sigma: float) -> None:
    centres = centres_in(size)
    xy, scores = decode_dark(gaussians(centres, size=size, sigma=sigma), sigma=sigma)
    assert xy.dtype == scores.dtype == torch.float32
    assert (xy - centres).abs().max().item() < 0.05
    assert scores.min().item() > 0.75 and scores.max().item() <= 1


def test_dark_beats_argmax_on_noisy_maps() -> None:
    centres = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([30, 46]) + 8.5
    maps = gaussians(centres, size=(64, 48), sigma=2.0) * 0.7
    maps = maps + 0.05 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    dark = (decode_dark(maps, sigma=2.0)[0] - centres).norm(dim=-1).mean()
    index = maps.flatten(1).argmax(1)
    highest = (torch.stack([index % 48, index // 48], 1) - centres).norm(dim=-1).mean()
    assert dark.item() < 0.2 < highest.item() / 2


def covariances_of(maps: Tensor, *, sigma: float) -> Tensor:
    return heatmap_covariances(maps, decode_dark(maps, sigma=sigma)[0], sigma=sigma)


@pytest.mark.parametrize("value", [0.0, -3.0, 1.0, 1e-30, 1e30])
def test_flat_maps_are_no_trouble(value: float) -> None:
    xy, scores = decode_dark(torch.full((2, 3, 16, 8), value), sigma=1.0)
    assert scores.unique().tolist() == [min(max(torch.tensor(value).item(), 0), 1)]
    assert xy.isfinite().all()
    xx, _, yy = covariances_of(torch.full((2, 3, 16, 8), value), sigma=1.0).unbind(-1)
    assert xx.min().item() > 15 and yy.min().item() > 20  # nothing is known: all that is within reach


def test_covariance_is_what_a_gaussian_has_beyond_its_target() -> None:
    rng, sigma = torch.Generator().manual_seed(0), 1.5
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    spread = torch.randn(20, 2, 2, generator=rng)
    wanted = spread @ spread.mT + torch.eye(2)
    off = torch.stack([x - 23.3, y - 30.6], -1)
    inverse = torch.linalg.inv(wanted + sigma**2 * torch.eye(2))
    maps = 0.4 * torch.exp(-torch.einsum("hwi,nij,hwj->nhw", off, inverse, off) / 2)
    found = covariances_of(maps - 0.02 * (maps == 0), sigma=sigma)
    assert torch.allclose(found, wanted.flatten(1)[:, [0, 1, 3]], rtol=0.02, atol=0.02)


def test_a_perfect_heatmap_is_sure_to_half_a_sigma() -> None:
    maps = gaussians(torch.tensor([[20.2, 30.7]]), size=(64, 48), sigma=2.0)
    assert covariances_of(maps, sigma=2.0)[0].tolist() == pytest.approx([1, 0, 1], abs=1e-3)
    assert covariances_of(maps**4, sigma=2.0)[0].tolist() == pytest.approx([1, 0, 1], abs=1e-3)


def test_a_second_peak_widens_the_covariance_towards_it() -> None:
    near, far = gaussians(torch.tensor([[20.0, 30.0], [30.0, 30.0]]), size=(64, 48), sigma=2.0)
    xx, xy, yy = covariances_of((near + 0.5 * far)[None], sigma=2.0)[0].tolist()
    assert xx == pytest.approx(100 / 3, rel=0.05) and abs(xy) < 0.1 and yy == pytest.approx(1, abs=0.2)
    out_of_reach = gaussians(torch.tensor([[20.0, 57.0]]), size=(64, 48), sigma=2.0)[0]
    assert covariances_of((near + 0.5 * out_of_reach)[None], sigma=2.0)[0, 2].item() < 3


def test_map_without_positive_values_gives_its_first_pixel() -> None:
    xy, scores = decode_dark(-torch.rand(2, 3, 16, 8), sigma=1.0)
    assert xy.abs().max().item() == scores.abs().max().item() == 0


@pytest.mark.parametrize("place", [(0, 0), (0, 7), (15, 0), (15, 7), (0, 3), (8, 0), (8, 4)])
@pytest.mark.parametrize("background", [0.0, -5.0])
def test_single_pixels_are_found(place: tuple[int, int], background: float) -> None:
    maps = torch.full((1, 16, 8), background)
    maps[0, place[0], place[1]] = 2.0
    xy, scores = decode_dark(maps, sigma=1.0)
    assert (xy[0] - torch.tensor([place[1], place[0]])).abs().max().item() <= 1
    assert scores.item() == 1


def test_noise_gives_finite_joints_inside_the_map() -> None:
    maps = torch.randn(200, 17, 16, 8, generator=torch.Generator().manual_seed(0))
    xy, scores = decode_dark(maps, sigma=1.0)
    assert xy.isfinite().all() and scores.isfinite().all()
    assert xy.min().item() >= -1 and (xy - torch.tensor([7, 15])).max().item() <= 1


def test_half_precision_maps_are_decoded_in_float32() -> None:
    maps = gaussians(torch.tensor([[20.3, 30.6]]), size=(64, 48), sigma=2.0)
    xy, _ = decode_dark(maps.half(), sigma=2.0)
    assert xy.dtype == torch.float32 and (xy - torch.tensor([20.3, 30.6])).abs().max().item() < 0.05


def test_result_does_not_depend_on_the_batch() -> None:
    maps = torch.randn(5, 17, 16, 8, generator=torch.Generator().manual_seed(0))
    together = decode_dark(maps, sigma=1.0)[0]
    alone = torch.cat([decode_dark(m[None], sigma=1.0)[0] for m in maps])
    assert torch.allclose(together, alone, atol=1e-4)


def test_joint_comes_back_to_its_place_in_the_image() -> None:
    window = CONFIGS["nano"].preprocess
    affine = crop_affine(torch.tensor([[300.0, 100.0, 420.0, 460.0]]), window)
    joint = torch.tensor([[[333.3, 222.2]]])
    in_crop = (joint - affine[:, None, :, 2]) / affine[:, 0, 0]
    maps = gaussian_targets(in_crop, torch.ones(1, 1), heatmap_size=window.heatmap_size, sigma=window.heatmap_sigma)
    xy, _ = decode_dark(maps, sigma=window.heatmap_sigma)
    assert torch.allclose(crop_to_image(heatmap_to_crop(xy), affine), joint, atol=0.01)


def test_flip_average_of_a_mirrored_pose_is_the_pose() -> None:
    centres = torch.rand(17, 2, generator=torch.Generator().manual_seed(0)) * 8
    maps = gaussians(centres, size=(16, 8), sigma=1.0)
    mirror_image = torch.stack([7 - centres[:, 0], centres[:, 1]], 1)[list(COCO17.flip_index)]
    mirrored = gaussians(mirror_image, size=(16, 8), sigma=1.0)
    assert torch.allclose(flip_average(maps[None], mirrored[None], COCO17.flip_index)[0], maps, atol=1e-6)


def test_flip_average_brings_maps_together_whose_origins_meet_the_crops() -> None:
    in_crop = torch.tensor([[90.0, 60.0]])  # of a crop with W = 192
    settings: dict[str, Any] = {"heatmap_size": (64, 48), "sigma": 2.0, "alignment": "origins"}
    maps = gaussian_targets(in_crop, torch.ones(1), **settings)
    mirrored = gaussian_targets(torch.tensor([[191 - 90.0, 60.0]]), torch.ones(1), **settings)
    found, _ = decode_dark(flip_average(maps[None], mirrored[None], [0], alignment="origins"), sigma=2.0)
    assert (heatmap_to_crop(found[0], alignment="origins") - in_crop).abs().max().item() < 0.05
    unshifted, _ = decode_dark(flip_average(maps[None], mirrored[None], [0]), sigma=2.0)
    assert (heatmap_to_crop(unshifted[0], alignment="origins") - in_crop)[0, 0].item() == pytest.approx(-1.5, abs=0.05)


def test_flip_test_is_symmetric() -> None:
    """The flip test of the mirrored window is the mirror image of the flip test."""
    model = stir(tiny_model()).eval()
    windows, exists = tiny_windows(), torch.tensor([[True, True, True], [True, True, False]])
    straight = predict_with_initial(model, windows, exists, flip_test=True)[0]
    mirrored = predict_with_initial(model, windows.flip(-1), exists, flip_test=True)[0]
    assert torch.allclose(mirrored.flip(-1)[:, list(COCO17.flip_index)], straight, atol=1e-5)
    assert not torch.allclose(straight, predict_with_initial(model, windows, exists)[0], atol=1e-3)
    assert torch.equal(predict_with_initial(model, windows, exists)[0], model(windows, exists).heatmaps)
