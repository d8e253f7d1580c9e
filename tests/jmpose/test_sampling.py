from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose import sampling
from jmpose.decoding import decode_dark
from jmpose.presets import CONFIGS
from jmpose.sampling import crop_affine, normalise, sample_crops
from jmpose.targets import crop_to_image, gaussian_targets, heatmap_to_crop

NANO = replace(CONFIGS["nano"].preprocess, input_height=256, input_width=192)


def noise(height: int = 120, width: int = 150) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(height: int = 240, width: int = 320) -> np.ndarray:
    """Smooth shading with soft edges, as a photograph has."""
    rng = np.random.default_rng(1)
    picture = cv2.resize(
        rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    cv2.circle(picture, (140, 100), 50, (240, 30, 60), -1)
    return cv2.GaussianBlur(picture, (0, 0), 3)


def warp(picture: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The oracle: OpenCV's crop as `[3, h, w]`."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(picture, affine, size[::-1], flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return warped.transpose(2, 0, 1).astype(np.float32)


def sample(picture: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    frames, index = torch.from_numpy(picture)[None], torch.zeros(1, dtype=torch.long)
    return sample_crops(frames, index, torch.from_numpy(affine)[None], size)[0].numpy()


# OpenCV 4 rounds sampling positions to 1/32 pixel, OpenCV 5 does not. On noise, where 1/64 pixel can be four grey
# levels, the positions here are multiples of 1/32, which both give exactly.
EXACT = {
    "enlarged": [[0.5, 0, 20.25], [0, 0.5, 30.75]],
    "reduced": [[1.375, 0, -10.3125], [0, 1.375, -20.5]],
    "mirrored": [[-1, 0, 100.5], [0, 1, 0.03125]],
    "turned": [[0.75, -0.5, 60], [0.5, 0.75, 3.5]],
    "outside": [[1, 0, 1000], [0, 1, 1000]],
    "across the corner": [[1, 0, -40.5], [0, 1, 100.25]],
}


@pytest.mark.parametrize("affine", EXACT.values(), ids=EXACT)
def test_equals_opencv_on_noise(affine: list[list[float]]) -> None:
    picture, matrix = noise(), np.array(affine, np.float64)
    assert np.abs(sample(picture, matrix, (64, 48)) - warp(picture, matrix, (64, 48))).max() <= 1


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("scale", [0.37, 1.0, 1.93])
def test_equals_opencv_on_a_scene(angle: float, scale: float) -> None:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cos, -sin, 71.23], [sin, cos, -11.71]])
    picture = scene()
    assert np.abs(sample(picture, matrix, (256, 192)) - warp(picture, matrix, (256, 192))).max() <= 1


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="OpenCV 4 rounds positions to 1/32 pixel")
def test_equals_opencv_on_noise_at_any_position() -> None:
    picture, rng = noise(), np.random.default_rng(2)
    for _ in range(10):
        matrix = np.concatenate([rng.normal(0, 1, (2, 2)), rng.uniform(0, 100, (2, 1))], 1)
        assert np.abs(sample(picture, matrix, (64, 48)) - warp(picture, matrix, (64, 48))).max() <= 1


def test_hand_computed_pixels() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0], picture[0, 1], picture[1, 0], picture[1, 1] = (0, 1, 2), (100, 101, 102), (200, 0, 0), (40, 0, 0)
    crop = sample(picture, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (2, 4))
    assert crop[0].tolist() == [[0, 50, 100, 50], [100, 85, 70, 35]]
    assert crop[2, 0].tolist() == [2, 52, 102, 51]


@pytest.mark.parametrize("at_once", [1, 64 * 48 * 2, 1 << 30])
def test_crop_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    frames = torch.from_numpy(np.stack([noise(), noise()[::-1]]).copy())
    affine = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 50.0])
    index = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    alone = torch.cat([sample_crops(frames, index[i : i + 1], affine[i : i + 1], (64, 48)) for i in range(7)])
    monkeypatch.setattr(sampling, "_PIXELS_AT_ONCE_CPU", at_once)
    assert torch.equal(sample_crops(frames, index, affine, (64, 48)), alone)


def test_more_bytes_than_int32_can_count(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, matrix = scene(), np.array([[0.9, 0.1, 20.3], [-0.1, 0.9, 30.7]])
    small = sample(picture, matrix, (64, 48))
    monkeypatch.setattr(sampling, "_INT32_MAX", 0)
    assert np.array_equal(sample(picture, matrix, (64, 48)), small)


def test_no_people_give_no_crops() -> None:
    frames = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    crops = sample_crops(frames, torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, 3), (8, 6))
    assert crops.shape == (0, 3, 8, 6)
    assert crop_affine(torch.zeros(0, 4), NANO).shape == (0, 2, 3)


def test_bad_inputs_are_named() -> None:
    frames, index = torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.tensor([0])
    affine = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match=r"frames are torch.float32 \[2, 4, 4, 3\]"):
        sample_crops(frames.float(), index, affine, (8, 6))
    with pytest.raises(ValueError, match=r"frames are torch.uint8 \[2, 3, 4, 4\]"):
        sample_crops(frames.permute(0, 3, 1, 2), index, affine, (8, 6))
    with pytest.raises(ValueError, match="frame_index runs to 2, there are 2 frames"):
        sample_crops(frames, torch.tensor([2]), affine, (8, 6))
    with pytest.raises(ValueError, match="not finite"):
        sample_crops(frames, index, affine / 0, (8, 6))


def test_crop_of_a_box() -> None:
    # A 120x160 box has the input's aspect; enlarged by 1.25 it is 150x200 image pixels on 192x256 crop pixels.
    affine = crop_affine(torch.tensor([[100.0, 50.0, 220.0, 210.0]]), NANO)[0]
    scale = 150 / 192
    assert affine[0].tolist() == pytest.approx([scale, 0, 160 - scale * 95.5])
    assert affine[1].tolist() == pytest.approx([0, scale, 130 - scale * 127.5])


@settings(max_examples=50, deadline=None)
@given(st.floats(-500, 2000), st.floats(-500, 2000), st.floats(0, 1500), st.floats(0, 1500))
def test_crop_holds_the_padded_box_and_no_more_than_it_must(x: float, y: float, width: float, height: float) -> None:
    affine = crop_affine(torch.tensor([[x, y, x + width, y + height]], dtype=torch.float64), NANO)[0]
    edges = torch.tensor([[-0.5, -0.5, 1], [191.5, 255.5, 1]], dtype=torch.float64) @ affine.T
    shown = edges[1] - edges[0]
    padded = torch.tensor([max(width, 1.0), max(height, 1.0)], dtype=torch.float64) * 1.25
    assert torch.allclose(edges.mean(0), torch.tensor([x + width / 2, y + height / 2], dtype=torch.float64))
    assert (shown - padded).min().item() == pytest.approx(0, abs=1e-6)
    assert (shown[0] / shown[1]).item() == pytest.approx(0.75)


def test_normalise() -> None:
    crop = torch.full((3, 1, 1), 255.0)
    assert normalise(crop, CONFIGS["hrnet-w32"].preprocess).flatten().tolist() == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )


def two_crops(preprocess):
    """Affines of two crops that lie differently."""
    boxes = torch.tensor([[20.0, 30.0, 70.0, 150.0], [26.0, 18.0, 80.0, 160.0]])
    return crop_affine(boxes, preprocess).split(1)


@pytest.mark.parametrize("alignment", ["edges", "corners", "origins"])
def test_heatmap_pixels_of_one_crop_lie_where_the_image_says_in_another(alignment):
    preprocess = replace(NANO, heatmap_alignment=alignment)
    key, other = two_crops(preprocess)
    scale, shift = sampling.place_between(key, other, preprocess)
    points = torch.tensor([[[0.0, 0.0], [11.0, 40.0], [47.0, 63.0]]])
    places = {"heatmap_size": preprocess.heatmap_size, "alignment": alignment}
    images = [
        crop_to_image(heatmap_to_crop(p, **places), affine)
        for p, affine in ((points, key), (scale[:, None] * points + shift[:, None], other))
    ]
    assert torch.allclose(*images, atol=1e-3)


@pytest.mark.parametrize(("repeat_border", "padding"), [(True, "border"), (False, "zeros")])
def test_laid_maps_are_those_of_grid_sample(repeat_border, padding):
    maps = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    scale, shift = torch.tensor([[0.9, 1.2], [1.1, 1.0]]), torch.tensor([[-0.7, 0.4], [1.3, 0.0]])
    laid = sampling.lay_maps(maps, *sampling.interpolations(scale, shift, (9, 7), repeat_border=repeat_border))
    x, y = (scale[:, i, None] * torch.arange(side) + shift[:, i, None] for i, side in ((0, 7), (1, 9)))
    grid = torch.stack(torch.broadcast_tensors((2 * x[:, None] + 1) / 7 - 1, (2 * y[:, :, None] + 1) / 9 - 1), -1)
    wanted = F.grid_sample(maps, grid, padding_mode=padding, align_corners=False)
    assert torch.allclose(laid, wanted, atol=1e-5)


def test_a_joint_stays_where_it_is_in_the_image_when_its_heatmap_is_laid_onto_another_crop():
    key, other = two_crops(NANO)
    joint = torch.tensor([[[45.0, 80.0]]])
    maps = [
        gaussian_targets(
            (joint - affine[:, :, 2]) / affine[:, 0, 0], torch.ones(1, 1), heatmap_size=NANO.heatmap_size, sigma=2.0
        )
        for affine in (key, other)
    ]
    where = sampling.place_between(key, other, NANO)
    laid = sampling.lay_maps(maps[1], *sampling.interpolations(*where, NANO.heatmap_size, repeat_border=False))
    seen = crop_to_image(heatmap_to_crop(decode_dark(laid, sigma=2.0)[0]), key)
    assert torch.allclose(seen, joint, atol=0.05)
    assert torch.allclose(decode_dark(maps[0], sigma=2.0)[0], decode_dark(laid, sigma=2.0)[0], atol=0.05)


@pytest.mark.parametrize("pixel_width", [2.0, 4 / 3, 0.5])
def test_crops_have_square_pixels_whatever_those_of_the_picture(pixel_width):
    height, width = 160, 240
    columns = int(width / pixel_width)
    box = torch.tensor([[60.0, 20.0, 150.0, 140.0]])
    stored_box = box / torch.tensor([pixel_width, 1.0, pixel_width, 1.0])
    size = (NANO.input_height, NANO.input_width)

    def crop(columns, affine):
        """Cut out of a picture whose values are places in square pixels, 0 to 240."""
        x = (torch.arange(columns) * (width / columns)).expand(height, columns)
        y = torch.arange(height)[:, None].expand(height, columns)
        picture = torch.stack([x, y, y], -1).round().to(torch.uint8).contiguous()
        return sample_crops(picture[None], torch.zeros(1, dtype=torch.int64), affine, size)

    square = crop(width, crop_affine(box, NANO))
    wide = crop(columns, crop_affine(stored_box, NANO, pixel_width=pixel_width))
    inside = (square[:, 1] > 0) & (square[:, 0] > 2)
    assert inside.float().mean() > 0.5
    assert (square - wide).abs()[inside[:, None].expand_as(square)].max() < 1.1  # rounding of the pictures
