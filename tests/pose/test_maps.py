"""The backbone looks once at each person in each frame, and windows see what it saw."""

import gc
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from jmpose.crops import cut_crops
from jmpose.decoding import decode_dark, predict_with_initial
from jmpose.graphs import lay_windows
from jmpose.sampling import crop_affine, normalise, sample_crops
from jmpose.targets import crop_to_image, heatmap_to_crop
from jmpose_cli.pose import maps
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.maps import MapKeeper, PersonMaps
from jmpose_cli.pose.torch_engine import TorchEstimator, arrange
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import TrackedFrame
from tests.jmpose.tiny_model import stir, tiny_config, tiny_model

FRAMES, PEOPLE, STEP_PX = 12, 3, 3.0
OFFSETS = tiny_config().preprocess.window_offsets


@dataclass
class Counted:
    """An estimator of a tiny network and the pictures that its backbone was given."""

    estimator: PoseEstimator
    pictures: list[int] = field(default_factory=list)


def load(*, flip_test: bool = False, shared_crops: bool = False) -> Counted:
    model = stir(tiny_model(tiny_config())).eval()
    settings = EstimatorSettings(batch=4, flip_test=flip_test, shared_crops=shared_crops)
    counted = Counted(TorchEstimator(model, settings, name="tiny"))
    encode = counted.estimator._keepers[0]._encode

    def count(pictures, rows, affine):
        counted.pictures.append(len(rows))
        return encode(pictures, rows, affine)

    for keeper in counted.estimator._keepers:
        keeper._encode = count
    return counted


def windows(*, step_px: float = 0.0, blur: float = 0.0) -> list[Windows]:
    """People whose boxes go to the right, in front of noise that stands still."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (FRAMES, 120, 200, 3), dtype=np.uint8)
    if blur:
        smooth = cv2.GaussianBlur(noise[0], (0, 0), blur)
        noise[:] = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    boxes = np.float32([[20, 10, 50, 70], [60, 20, 100, 110], [110, 5, 130, 60]])
    maker, made = WindowMaker(Spacing(OFFSETS, max_gap_s=1.0)), []
    ids, ones = np.arange(1, PEOPLE + 1), np.ones(PEOPLE, np.float32)
    for index in range(FRAMES):
        followed = boxes + step_px * index * np.float32([1, 0, 1, 0])
        made += maker.push(SeenFrame(noise[index], TrackedFrame(index, index / 30, followed, ones, ids, ones > 0)))
    return [*made, *maker.finish()]


def joints(estimator: PoseEstimator, made: list[Windows], *, at_once: int = FRAMES) -> np.ndarray:
    """Joints and scores `[F, N, K, 3]`."""
    parts = [made[first : first + at_once] for first in range(0, len(made), at_once)]
    poses = [pose for part in parts for pose in estimator.estimate(part)]
    return np.stack([np.concatenate([p.xy_image, p.scores[..., None]], 2) for p in poses])


@pytest.mark.parametrize("at_once", [1, 5, FRAMES])
def test_each_person_is_looked_at_once_in_each_frame(at_once):
    counted = load()
    joints(counted.estimator, windows(step_px=STEP_PX), at_once=at_once)
    assert sum(counted.pictures) == FRAMES * PEOPLE
    shared = load(shared_crops=True)
    joints(shared.estimator, windows(step_px=STEP_PX), at_once=at_once)
    assert sum(shared.pictures) == FRAMES * PEOPLE * len(OFFSETS)


def test_what_was_kept_changes_nothing(monkeypatch):
    made = windows(step_px=STEP_PX)
    together = joints(load().estimator, made)
    assert np.array_equal(joints(load().estimator, made, at_once=1), together)
    monkeypatch.setattr(maps, "_MOST_KEPT_BYTES", 0)
    counted = load()
    assert np.array_equal(joints(counted.estimator, made, at_once=1), together)
    assert sum(counted.pictures) > FRAMES * PEOPLE


def test_a_frame_that_nobody_holds_is_forgotten():
    counted = load()
    made = windows()
    joints(counted.estimator, made)
    kept = counted.estimator._keepers[0]._kept
    assert len(kept) == FRAMES
    del made
    gc.collect()
    assert len(kept) == 0


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("shared_crops", [False, True])
def test_people_whose_boxes_stand_get_the_poses_of_the_network_on_whole_windows(flip_test, shared_crops):
    made = windows()
    found = joints(load(flip_test=flip_test, shared_crops=shared_crops).estimator, made)
    model = stir(tiny_model(tiny_config())).eval()
    window = model.config.preprocess
    for frame, shown in zip(made, found, strict=True):
        pictures = torch.stack([torch.from_numpy(seen.pixels) for seen in frame.frames])
        affine = crop_affine(torch.from_numpy(frame.key.people.boxes_xyxy_px), window)
        rows = torch.from_numpy(frame.frame_of).flatten()
        size = (window.input_height, window.input_width)
        crops = normalise(sample_crops(pictures, rows, affine.repeat_interleave(len(OFFSETS), 0), size), window)
        crops = crops.view(PEOPLE, len(OFFSETS), *crops.shape[1:])
        final, _ = predict_with_initial(model, crops, torch.from_numpy(frame.exists), flip_test=flip_test)
        places, scores = decode_dark(final, sigma=window.heatmap_sigma)
        xy = crop_to_image(heatmap_to_crop(places, heatmap_size=window.heatmap_size), affine)
        assert np.abs(shown[..., 2] - scores.numpy()).max() < 1e-4
        assert np.abs(shown[..., :2] - xy.numpy()).max() < 0.05


def arranged(made: list[Windows], *, shared_crops: bool, mirrored: bool = False, lay: bool = True) -> torch.Tensor:
    """Pictures `[F*N, T, 3, h, w]` that windows would see if the backbone did nothing but shrink crops."""
    window = replace(tiny_config().preprocess, input_height=96, input_width=64)

    def encode(pictures: list[np.ndarray], rows: list[int], affine: np.ndarray) -> list[PersonMaps]:
        crops = cut_crops(pictures, rows, affine, (window.input_height, window.input_width))
        return [PersonMaps(a, (s,), s) for a, s in zip(affine, avg_pool2d(torch.from_numpy(crops), 4), strict=True)]

    keeper = MapKeeper(encode, window, shared_crops=shared_crops, mirrored=mirrored)
    everywhere = (tuple(range(len(OFFSETS))),)
    people = keeper.look_up(made)
    features = arrange(people, everywhere)
    if lay and not shared_crops:
        to_image = torch.from_numpy(np.stack([[seen.to_image for seen in frames] for frames in people]))
        features = lay_windows(features, to_image, everywhere, window)
    inside = (..., slice(3, -3), slice(3, -3))
    assert torch.allclose(features.maps[0][inside], features.heatmaps[inside], atol=1e-3)
    return features.maps[0]


def test_maps_of_own_crops_laid_onto_the_key_frames_crop_are_nearly_those_of_shared_crops():
    made = windows(step_px=STEP_PX, blur=6.0)[2:-2]
    own, shared = (arranged(made, shared_crops=s) for s in (False, True))
    as_cut = arranged(made, shared_crops=False, lay=False)
    middle = (..., slice(3, -3), slice(3, -3))
    apart = (as_cut - shared)[middle].abs().mean()
    assert apart > 5
    assert (own - shared)[middle].abs().mean() < 0.05 * apart
    key = OFFSETS.index(0)
    assert torch.equal(own[:, key], shared[:, key])


@pytest.mark.parametrize("shared_crops", [False, True])
def test_mirrored_maps_are_mirror_images(shared_crops):
    made = windows(step_px=STEP_PX, blur=6.0)[2:-2]
    straight, mirrored = (arranged(made, shared_crops=shared_crops, mirrored=m) for m in (False, True))
    assert torch.allclose(mirrored.flip(-1), straight, atol=0.01)
