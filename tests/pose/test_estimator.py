import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jmpose.build import assemble, temporal_part
from jmpose.config import Calibration, Preprocess
from jmpose.decoding import decode_dark
from jmpose.files import file_sha256
from jmpose.sampling import crop_affine, normalise, sample_crops
from jmpose.targets import crop_to_image, heatmap_to_crop
from jmpose.weights import save_calibration, save_model
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED
from jmpose_cli.pose.certainty import near_probabilities
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings, PoseEstimator
from jmpose_cli.pose.maps import PersonMaps
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import FramePoses, TrackedFrame
from tests.jmpose.tiny_model import TINY, TinyBackbone, stir, tiny_config
from tests.jmpose.tiny_vitpose import save_vitpose

VITPOSES: dict[str, dict[str, Any]] = {
    "classic": {"decoder": "classic"},
    "simple": {"decoder": "simple"},
    "plus": {"experts": 2},
}
PEOPLE = 9
FRAMES = 5


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fill the folders of the small ViTPoses; the networks of transformers, by name."""
    root = tmp_path_factory.mktemp("models")
    return {"root": root} | {kind: save_vitpose(root / kind, **settings) for kind, settings in VITPOSES.items()}


@pytest.fixture(scope="module")
def load(networks: dict[str, Any]) -> Callable[..., PoseEstimator]:
    def load_one(kind: str, *, device: str = "cpu", batch: int = 16, threads: int = 1) -> PoseEstimator:
        path = networks["root"] / kind if kind in VITPOSES else SHIPPED / "nano.safetensors"
        settings = EstimatorSettings(device=device, batch=batch, threads=threads)
        return load_estimator(path, settings, engine="onnx" if kind == "nano on onnx" else "torch")[0]

    return load_one


def windows_of(people: list[int], offsets: tuple[int, ...]) -> list[Windows]:
    """Windows of noisy frames in which some of the nine people are tracked, always at the same places."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (FRAMES, 120, 160, 3), dtype=np.uint8)
    corners = random.uniform(0, 80, (PEOPLE, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 60, (PEOPLE, 2))], 1).astype(np.float32)
    maker, found = WindowMaker(Spacing(offsets, max_gap_s=1.0)), []
    for index in range(FRAMES):
        ids = np.array(people, np.int64)
        ones = np.ones(len(people), np.float32)
        tracked = TrackedFrame(index, index / 30, boxes[ids], ones, ids + 1, ones > 0)
        found.extend(maker.push(SeenFrame(pixels[index], tracked)))
    return [*found, *maker.finish()]


def estimate(estimator: PoseEstimator, people: list[int]) -> list[FramePoses]:
    return estimator.estimate(windows_of(people, estimator.preprocess.window_offsets)[1:3])


@pytest.mark.parametrize("kind", ["nano", "nano on onnx", *VITPOSES])
def test_a_persons_pose_does_not_depend_on_company(load: Callable[..., PoseEstimator], kind: str) -> None:
    together = estimate(load(kind), list(range(PEOPLE)))
    moved = [5, 0, 7]
    others = [
        ([2], load(kind)),  # alone in every call
        (moved, load(kind, batch=1)),
        (moved, load(kind, threads=2)),
        (list(range(PEOPLE))[::-1], load(kind, batch=3)),
    ]
    for people, estimator in others:
        for frame, wanted in zip(estimate(estimator, people), together, strict=True):
            for name in ("xy_image", "scores", "covariances", *(["probabilities"] if "nano" in kind else [])):
                assert np.array_equal(getattr(frame, name), getattr(wanted, name)[people]), name


def test_covariances_are_of_the_image_and_scaled_and_probabilities_need_a_calibration(tmp_path: Path) -> None:
    raw, scaled = tmp_path / "raw.safetensors", tmp_path / "scaled.safetensors"
    for path, calibration in ((raw, None), (scaled, Calibration(4.0, -1.0, 1.0, -1.0, people=9))):
        shutil.copy(SHIPPED / "nano.safetensors", path)
        save_calibration(path, calibration)
    windows = windows_of([0, 1, 2], (-2, -1, 0, 1, 2))[:1]
    (plain,), (calibrated,) = (
        TorchEstimator.load(path, EstimatorSettings()).estimate(windows) for path in (raw, scaled)
    )
    assert plain.probabilities is None and calibrated.probabilities.shape == plain.scores.shape
    assert np.array_equal(calibrated.covariances, 4 * plain.covariances)
    assert np.array_equal(
        calibrated.probabilities, near_probabilities(calibrated, Calibration(4.0, -1.0, 1.0, -1.0, 9))
    )
    side = plain.people.boxes_xyxy_px[:, 2:] - plain.people.boxes_xyxy_px[:, :2]
    crop = np.maximum(side[:, 0] / 144, side[:, 1] / 192)[:, None] * 1.25  # image pixels for a crop pixel
    sigma = np.sqrt(plain.covariances[..., [0, 2]].min(-1)) / crop
    assert sigma.min() > 0.5 * 1.5 * 4 * 0.99 and sigma.max() < 10 * 1.5 * 4
    (nobody,) = TorchEstimator.load(scaled, EstimatorSettings()).estimate(windows_of([], (-2, -1, 0, 1, 2))[:1])
    assert nobody.covariances.shape == (0, 19, 3) and nobody.probabilities.shape == (0, 19)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["nano", *VITPOSES])
def test_a_persons_pose_does_not_depend_on_company_on_a_gpu(load: Callable[..., PoseEstimator], kind: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    together = estimate(load(kind, device="cuda"), list(range(PEOPLE)))
    for people in ([2], [5, 0, 7]):
        for frame, wanted in zip(estimate(load(kind, device="cuda"), people), together, strict=True):
            assert np.allclose(frame.scores, wanted.scores[people], atol=1e-5)


@pytest.mark.parametrize("kind", VITPOSES)
def test_an_untrained_temporal_part_gives_the_pose_of_transformers(
    networks: dict[str, Any], load: Callable[..., PoseEstimator], kind: str
) -> None:
    estimator = load(kind)
    window: Preprocess = estimator.preprocess
    frames = windows_of(list(range(PEOPLE)), window.window_offsets)
    assert any(not w.exists.all() for w in frames) and any(w.exists.all() for w in frames)
    final, initial = estimator.estimate_both(frames)
    for windows, pose, single in zip(frames, final, initial, strict=True):
        affine = crop_affine(torch.from_numpy(windows.key.people.boxes_xyxy_px), window)
        picture = torch.from_numpy(windows.key.pixels)[None]
        crops = sample_crops(
            picture, torch.zeros(PEOPLE, dtype=torch.int64), affine, (window.input_height, window.input_width)
        )
        index = torch.zeros(PEOPLE, dtype=torch.int64) if kind == "plus" else None
        with torch.inference_mode():
            maps = networks[kind](normalise(crops, window), dataset_index=index).heatmaps
        places, scores = decode_dark(maps, sigma=window.heatmap_sigma)
        xy = crop_to_image(heatmap_to_crop(places, heatmap_size=window.heatmap_size, alignment="corners"), affine)
        for found in (pose, single):
            assert np.abs(found.xy_image - xy.numpy()).max() < 0.1
            assert np.abs(found.scores - scores.numpy()).max() < 1e-5


class Noted(PoseEstimator):
    """An engine that computes nothing and notes what it is asked for, as one of a GPU."""

    engine = "noted"

    def __init__(self, *, batch: int) -> None:
        settings = EstimatorSettings(device="cuda:0", batch=batch)
        super().__init__(tiny_config(), settings, name="noted", sha256=None, calls=None)
        self.asked: list[tuple[str, int]] = []

    def _look(self, pictures: Any, rows: Any, affine: Any) -> list[PersonMaps]:
        return [PersonMaps(each, (), np.zeros(1)) for each in affine]

    def _locate(self, views: Any, exists: Any, *, kinds: int) -> int:
        self.asked.append(("locate", len(exists)))
        return kinds

    def _fetch(self, located: int) -> list[Any]:
        self.asked.append(("fetch", located))
        count = self._people_a_call, len(self.keypoints)
        return [(np.zeros((*count, 2)), np.zeros(count), np.zeros((*count, 3)))] * located


def test_a_gpu_is_waited_for_when_all_calls_are_on_their_way_and_gets_several_at_a_time() -> None:
    estimator = Noted(batch=4)
    assert estimator.windows_wanted == 16 and estimator.looks_ahead
    made = windows_of(list(range(PEOPLE)), estimator.preprocess.window_offsets)[:1]
    (poses,) = estimator.estimate(made)
    assert len(poses) == PEOPLE
    assert estimator.asked == [("locate", 4)] * 3 + [("fetch", 1)] * 3


def test_name_and_checksum_of_what_was_loaded(networks: dict[str, Any], load: Callable[..., PoseEstimator]) -> None:
    estimator = load("classic")
    assert estimator.name == "classic"
    assert estimator.sha256 == file_sha256(networks["root"] / "classic" / "model.safetensors")
    assert load("nano").sha256 == file_sha256(SHIPPED / "nano.safetensors")


@pytest.fixture(scope="module")
def part(networks: dict[str, Any]) -> Path:
    """A trained temporal part without its backbone, for the crops of the small ViTPoses."""
    window = replace(TINY.preprocess, heatmap_sigma=0.5)
    donor = stir(assemble(TinyBackbone(channels=8, joints=17), tiny_config(motion_source="pixels", preprocess=window)))
    return save_model(temporal_part(donor), networks["root"] / "part.safetensors")


class TestTemporalPart:
    def load(self, path: Path, part: Path, *, required: bool = False) -> PoseEstimator:
        return TorchEstimator.load(path, EstimatorSettings(batch=4), temporal=part, replace_temporal=required)

    def test_stands_in_for_one_that_has_learnt_nothing(self, networks: dict[str, Any], part: Path) -> None:
        estimator = self.load(networks["root"] / "classic", part)
        assert estimator.temporal == part and estimator.name == "classic"
        windows = windows_of([0, 1], estimator.preprocess.window_offsets)
        final, initial = estimator.estimate_both(windows)
        moved = [np.abs(f.xy_image - i.xy_image).max() for f, i in zip(final, initial, strict=True)]
        assert max(moved) > 0.5

    def test_leaves_a_trained_one_alone(self, part: Path) -> None:
        assert self.load(SHIPPED / "nano.safetensors", part).temporal is None

    def test_that_does_not_fit_is_left_out_or_an_error(self, networks: dict[str, Any], tmp_path: Path) -> None:
        narrow = tiny_config(motion_source="pixels")  # sigma 1
        donor = temporal_part(stir(assemble(TinyBackbone(channels=8, joints=17), narrow)))
        other = save_model(donor, tmp_path / "other.safetensors")
        assert self.load(networks["root"] / "classic", other).temporal is None
        with pytest.raises(JmposeError, match=r"heatmap_sigma 1\.0, classic has 0\.5"):
            self.load(networks["root"] / "classic", other, required=True)


def test_weights_that_cannot_be_used_are_a_users_error(tmp_path: Path) -> None:
    save_vitpose(tmp_path, num_labels=14)
    with pytest.raises(JmposeError, match="a ViTPose for 14 joints") as caught:
        TorchEstimator.load(tmp_path, EstimatorSettings(batch=4))
    assert caught.value.hint == "one for COCO's 17"
