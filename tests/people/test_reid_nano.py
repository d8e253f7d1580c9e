from pathlib import Path

import numpy as np
import pytest
import torch

from jmpose.appearance import MEAN, STD, AppearanceNetwork, load_appearance, save_appearance
from jmpose.errors import WeightsError
from jmpose_cli.annotate.networks import open_embedder
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import REID_NANO, choose_reid
from jmpose_cli.people.reid_nano import ReidNano


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 128, 64, 3)).astype(np.uint8)


def test_the_shipped_graph_says_what_torch_says(crops):
    pictures = (torch.from_numpy(crops).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(
        STD
    )[:, None, None]
    with torch.inference_mode():
        expected = load_appearance(REID_NANO)(pictures).numpy()
    assert np.allclose(open_embedder(REID_NANO, device="cpu").embed(crops), expected, atol=1e-5)


def test_a_vector_does_not_depend_on_the_crops_beside_it(crops):
    network = ReidNano(REID_NANO)
    together = network.embed(crops)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert all((network.embed(crop[None])[0] == vector).all() for crop, vector in zip(crops, together, strict=True))
    assert network.embed(crops[:0]).shape == (0, 128)


def test_folding_and_half_precision_change_little(tmp_path):
    torch.manual_seed(0)
    network = AppearanceNetwork()
    pictures = torch.randn(4, 3, 128, 64)
    for _ in range(3):
        network(pictures)  # statistics of the norms
    expected = network.eval()(pictures)
    save_appearance(network, tmp_path / "one.safetensors")
    assert torch.allclose(load_appearance(tmp_path / "one.safetensors")(pictures), expected, atol=5e-3)


def test_other_files_are_refused(tmp_path):
    pose = REID_NANO.with_name("nano.safetensors")
    with pytest.raises(WeightsError, match="holds no network of appearance"):
        load_appearance(pose)
    with pytest.raises(JmposeError, match="made from other weights"):
        ReidNano(pose)
    (tmp_path / "notes.txt").write_text("")
    for name, reason in ((tmp_path / "notes.txt", "is no weights file"), (Path("absent.pth"), "no such file")):
        with pytest.raises(JmposeError, match=reason):
            choose_reid(str(name))
    assert choose_reid("none") is None
    assert choose_reid("reid-nano") == REID_NANO
