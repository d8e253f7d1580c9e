"""TAR-ViTPose: its ViTPose as a backbone, and what becomes of each of its weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jmpose import foreign
from jmpose.config import ViTSpec
from jmpose.errors import WeightsError
from jmpose.foreign import read_foreign
from jmpose.presets import CONFIGS, vitpose_config
from jmpose.weights import load_model, save_model
from tests.jmpose.mmpretrain_vit import random_tar_vitpose, single_frame_heatmaps

WIDTH, LAYERS, HEADS = 32, 2, 4


def save(state: dict[str, Tensor], folder: Path, name: str = "tar.pt", **beside: Any) -> Path:
    torch.save({"epoch": 9, "model_state_dict": state, "optimizer_state_dict": {"state": {}}, **beside}, folder / name)
    return folder / name


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A small TAR-ViTPose for inputs of 64x48, whose width is made known for the test."""
    monkeypatch.setitem(CONFIGS, "tiny", vitpose_config("tiny", ViTSpec(width=WIDTH, layers=LAYERS, heads=HEADS)))
    monkeypatch.setitem(foreign._VIT.configs, WIDTH, "tiny")
    return random_tar_vitpose(WIDTH, LAYERS, patches=12)


def pictures(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(64, 48), (96, 64), (96, 32)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_heatmaps_are_those_of_an_independent_computation(
    tiny: dict[str, Tensor], tmp_path: Path, size: tuple[int, int]
) -> None:
    model, report = read_foreign(save(tiny, tmp_path), input_hw=size)
    images = pictures(*size)
    with torch.inference_mode():
        wanted = single_frame_heatmaps(tiny, images, heads=HEADS, grid=(4, 3))
        found = model.backbone(images)[1]
        windows = images[:, None].expand(-1, 5, -1, -1, -1)
        assert torch.equal(model(windows).heatmaps, model(windows).initial_key)
    assert wanted.std() > 0.3 and found.shape == (2, 17, size[0] // 4, size[1] // 4)
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    resized = [choice for choice in report.choices if choice[0] == "positions"]
    assert bool(resized) == (size != (64, 48))


def test_every_weight_of_the_file_is_in_the_report(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    _, report = read_foreign(save(tiny, tmp_path))
    parts = dict(report.left_out)
    copies = parts["the same weights again, by other names"]
    assert sorted(name for names in (report.matched, *parts.values()) for name in names) == sorted(tiny)
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert set(report.matched) == {name for name in tiny if name.startswith(("backbone.", "heatmap_head."))}
    assert set(copies) == {name for name in tiny if name.startswith("model.")} and len(copies) == len(report.matched)
    assert set(parts["its global restoring attention"]) == {n for n in tiny if n.startswith("cross_attention.")}
    assert str(report).splitlines() == [
        "weights of ViT-W32 of TAR-ViTPose",
        "joints     17, posetrack18 (usual for TAR-ViTPose)",
        "input      384x288 (usual for TAR-ViTPose)",
        "alignment  origins (usual for TAR-ViTPose)",
        "positions  for 24x18 patches from 4x3 (bicubic, as its project does at every call)",
        f"matched    {len(report.matched)}",
        "missing    0",
        "unexpected 0",
        "mismatched 0",
        f"left out   {len(copies)}: the same weights again, by other names",
        "left out   20: its joint-centric temporal aggregation",
        "left out   6: its global restoring attention",
    ]


def test_other_weights_under_the_names_of_copies_are_unexpected(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    others = {
        "model.backbone.ln1.bias": torch.zeros(WIDTH),
        "model.backbone.ln1.weight": torch.zeros(3),
        "model.head.final_layer.bias": torch.zeros(17, dtype=torch.int64),
    }
    model, report = read_foreign(save(tiny | others, tmp_path))
    assert set(report.unexpected) == set(others)
    assert torch.equal(model.backbone.heatmap_head.bias, tiny["heatmap_head.1.bias"])


def test_a_whole_vitpose_s_can_be_saved(tmp_path: Path) -> None:
    state = random_tar_vitpose(384, 12, patches=192)
    path = save({f"module.{name}": value for name, value in state.items()}, tmp_path, "tar_256x192.pt")
    model, report = read_foreign(path)
    assert report.family == "ViT-W384 of TAR-ViTPose" and ("input", "256x192", "said by its name") in report.choices
    again = load_model(save_model(model, tmp_path))
    images = pictures(256, 192)[:1]
    with torch.inference_mode():
        wanted = single_frame_heatmaps(state, images, heads=12, grid=(16, 12))
        found = again.backbone(images)[1]
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    p = again.config.preprocess
    assert (p.keypoint_set, p.heatmap_alignment, p.heatmap_sigma) == ("posetrack18", "origins", 2.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"backbone.layers.1.attn.qkv.weight": torch.zeros(64, 32)},
            r"1 of another shape or type \(.*\[64, 32\] for \[96, 32\]",
        ),
        (
            {"backbone.pos_embed": torch.zeros(1, 13, 32)},
            r"of another shape or type \(.*\[1, 13, 32\] for \[1, 432, 32\]",
        ),
        ({"backbone.pos_embed": torch.zeros(12, 32)}, r"of another shape or type \(.*\[12, 32\] for \[1, 432, 32\]"),
        ({"backbone.pos_embed": torch.zeros(1, 12, 32, dtype=torch.int64)}, r"torch\.int64 for torch\.float32"),
        ({"heatmap_head.1.weight": torch.zeros(17, 256, 3, 3)}, r"of another shape or type \(heatmap_head\.1\.weight"),
        ({"backbone.ln1.weight": None}, r"1 missing \(backbone\.ln1\.weight\)"),
        ({"backbone.layers.2.ln1.weight": torch.zeros(32)}, r"has what no ViT-W32 of .* has: backbone\.layers\.2\.ln1"),
        ({"backbone.cls_token": torch.zeros(1, 1, 32)}, r"has what no ViT-W32 of TAR-ViTPose has: backbone\.cls_token"),
        ({"heatmap_head.1.weight": torch.zeros(15, 256, 1, 1)}, r"has 15 joints, posetrack18 .* has 17"),
        ({"backbone.patch_embed.projection.weight": torch.zeros(48, 3, 16, 16)}, "holds ViT-W48 of TAR-ViTPose"),
        ({"heatmap_head.1.weight": None}, "is of no known project"),
    ],
)
def test_what_does_not_fit_is_told(
    tiny: dict[str, Tensor], tmp_path: Path, changed: dict[str, Tensor | None], message: str
) -> None:
    state = {name: value for name, value in (tiny | changed).items() if value is not None}
    with pytest.raises(WeightsError, match=message) as caught:
        read_foreign(save(state, tmp_path))
    assert caught.value.hint
