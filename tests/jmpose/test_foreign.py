import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jmpose import foreign
from jmpose.config import BackboneSpec
from jmpose.errors import ConfigError, WeightsError
from jmpose.foreign import read_foreign
from jmpose.presets import CONFIGS
from jmpose.weights import load_model, save_model
from tests.jmpose.official_hrnet import Weights, official_heatmaps, random_weights
from tests.jmpose.tiny_model import tiny_windows

# Prefixes of body and last layer, the joints that are usual, and what else lies in such files.
PROJECTS: dict[str, tuple[str, str, str | None, tuple[str, ...]]] = {
    "HRNet-pose": ("", "final_layer.", "coco17", ()),
    "MMPose 0.x": ("backbone.", "keypoint_head.final_layer.", None, ()),
    "MMPose 1.x": ("backbone.", "head.final_layer.", None, ("data_preprocessor.mean", "data_preprocessor.std")),
    "DCPose": (
        "rough_pose_estimation_net.",
        "rough_pose_estimation_net.final_layer.",
        "posetrack18",
        ("diff_temporal_fuse.layers.0.conv1.weight", "offsets_list.0.0.weight", "masks_list.4.0.weight"),
    ),
    "FAMI-Pose": (
        "hrnet.",
        "hrnet.final_layer.",
        "posetrack18",
        ("dcn_offset_1.0.weight", "dcn_3.bias", "agg_final_layer.weight", "feat_global_offset_layers.7.bias"),
    ),
}
COCO_META = {"config": "dataset_type = 'TopDownCocoDataset'\ndata_cfg = dict(\n    image_size=[288, 384],"}


def named_as(project: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official weights under the names of a project, with what else it has."""
    body, head, _, besides = PROJECTS[project]
    named = {
        head + name.removeprefix("final_layer.") if name.startswith("final_layer.") else body + name: value
        for name, value in weights.items()
    }
    return named | {name: torch.ones(3) for name in besides}


def save(content: object, folder: Path, name: str = "some.pth", **how: Any) -> Path:
    torch.save(content, folder / name, **how)
    return folder / name


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Official weights of a width-16 HRNet, which is made known for the test."""
    config = replace(
        CONFIGS["hrnet-w32"],
        backbone=BackboneSpec("hrnet", "hrnet_w18_small", 16),
        channels=8,
        head_channels=8,
        heads=2,
        preprocess=replace(CONFIGS["hrnet-w32"].preprocess, window_offsets=(-2, 0, 2)),
    )
    monkeypatch.setitem(CONFIGS, "tiny", config)
    monkeypatch.setitem(foreign._HRNET.configs, 16, "tiny")
    return random_weights("hrnet_w18_small")


@pytest.mark.parametrize(("width", "project"), [(32, "HRNet-pose"), (48, "MMPose 1.x")], ids=["w32", "w48"])
def test_a_whole_file_gives_the_official_heatmaps(tmp_path: Path, width: int, project: str) -> None:
    weights = Weights(random_weights(f"hrnet_w{width}"))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    path = save({"state_dict": named_as(project, weights)}, tmp_path, f"pose_hrnet_w{width}_coco_256x192.pth")
    model, report = read_foreign(path)
    with torch.inference_mode():
        wanted, (_, found) = official_heatmaps(weights, images), model.backbone(images)
    assert 0.1 < wanted.abs().max().item() < 1e4
    assert (found - wanted).abs().max().item() < 1e-5 * wanted.abs().max().item()
    # The official computation reads every weight, so the report's counts leave none out.
    counters = {name for name in weights if name.endswith("num_batches_tracked")}
    assert weights.read == weights.keys() - counters
    assert len(report.matched) == len(weights)
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.family == f"HRNet-W{width} of {project}"


@pytest.mark.parametrize("project", PROJECTS)
def test_each_projects_names(tiny: dict[str, Tensor], tmp_path: Path, project: str) -> None:
    path = save({"state_dict": named_as(project, tiny), "meta": {}}, tmp_path)
    usual, besides = PROJECTS[project][2:]
    model, report = read_foreign(path, keypoint_set=None if usual else "coco17")
    images = tiny_windows(1)[0]
    with torch.inference_mode():
        assert torch.allclose(model.backbone(images)[1], official_heatmaps(Weights(tiny), images), atol=1e-5)
    assert model.config.preprocess.keypoint_set == (usual or "coco17")
    assert report.family == f"HRNet-W16 of {project}" and len(report.matched) == len(tiny)
    assert [name for _, names in report.left_out for name in names] == list(besides)
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())


def test_the_model_is_single_frame_until_trained_and_can_be_saved(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    path = save(tiny, tmp_path)
    model, _ = read_foreign(path)
    windows = tiny_windows(2)
    with torch.inference_mode():
        output = model(windows)
        assert torch.equal(output.heatmaps, output.initial_key)
        again = load_model(save_model(model, tmp_path))
        assert torch.equal(again(windows).heatmaps, output.heatmaps)
    assert again.config == model.config and model.config.name == "some" and not model.training
    before = torch.get_rng_state()
    twice = read_foreign(path)[0].state_dict()
    assert all(torch.equal(value, twice[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "meta", "given", "wanted", "where"),
    [
        ("pose.pth", COCO_META, {}, ("coco17", 384, 288, "origins", 3.0), "configuration"),
        ("hrnet_w32_coco_256x192-c78dce93_20200708.pth", {}, {}, ("coco17", 256, 192, "origins", 2.0), "name"),
        ("td-hm_hrnet-w48_8xb32-210e_coco-384x288-c1_2022.pth", {}, {}, ("coco17", 384, 288, "origins", 3.0), "name"),
        ("hrnet_w48_posetrack18_384x288.pth", {}, {}, ("posetrack18", 384, 288, "origins", 3.0), "name"),
        ("hrnet_w32_coco_256x192_udp.pth", {}, {}, ("coco17", 256, 192, "corners", 2.0), "name"),
        # What the configuration says counts more than the name, what is given more than both.
        ("posetrack18_256x192.pth", COCO_META, {}, ("coco17", 384, 288, "origins", 3.0), "configuration"),
        (
            "coco_384x288_udp.pth",
            COCO_META,
            {"keypoint_set": "posetrack18", "input_hw": (128, 96), "heatmap_alignment": "edges"},
            ("posetrack18", 128, 96, "edges", 1.0),
            "given",
        ),
        (
            "x.pth",
            {
                "cfg": "codec = dict(type='UDPHeatmap', input_size=(192, 256))\nload_from = 'hrnet_coco_256x192.pth'",
                "dataset_meta": {"dataset_name": "posetrack18", "sigmas": np.ones(17, np.float32), "n": np.int64(2)},
            },
            {},
            ("posetrack18", 256, 192, "corners", 2.0),
            "configuration",
        ),
        (
            "x.pth",
            {"config": "load_from = 'a/hrnet_w32_coco_384x288.pth'\ndataset_type = 'TopDownPoseTrack18Dataset'"},
            {},
            ("posetrack18", 256, 192, "origins", 2.0),
            "configuration",
        ),
        ("x.pth", {"dataset_meta": {"dataset_name": "coco"}}, {}, ("coco17", 256, 192, "origins", 2.0), "config"),
    ],
)
def test_what_a_file_says_of_its_model(
    tiny: dict[str, Tensor], tmp_path: Path, name: str, meta: object, given: Any, wanted: tuple[Any, ...], where: str
) -> None:
    path = save({"state_dict": named_as("MMPose 0.x", tiny), "meta": meta}, tmp_path, name)
    model, report = read_foreign(path, **given)
    p = model.config.preprocess
    assert (p.keypoint_set, p.input_height, p.input_width, p.heatmap_alignment, p.heatmap_sigma) == wanted
    assert where in report.choices[0][2]


def test_the_report_is_a_table(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    state = named_as("DCPose", tiny) | {"offset_feats.weight": torch.zeros(1), "scale": torch.zeros(1)}
    lines = str(read_foreign(save(state, tmp_path, "w_384x288.pth"))[1]).splitlines()
    assert lines == [
        "weights of HRNet-W16 of DCPose",
        "joints     17, posetrack18 (usual for DCPose)",
        "input      384x288 (said by its name)",
        "alignment  origins (usual for DCPose)",
        f"matched    {len(tiny)}",
        "missing    0",
        "unexpected 2: offset_feats.weight, scale",
        "mismatched 0",
        "left out   3: DCPose's temporal part",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: {"epoch": 3, "state_dict": {f"module.{n}": v for n, v in w.items()}, "optimizer": {"state": {}}},
        lambda w: {n: v for n, v in w.items() if not n.endswith("num_batches_tracked")},
        lambda w: OrderedDict((n, torch.nn.Parameter(v, requires_grad=v.is_floating_point())) for n, v in w.items()),
    ],
    ids=["whole checkpoint of DataParallel", "without counters", "parameters"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_ways_of_saving(
    tiny: dict[str, Tensor], tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], zipped: bool
) -> None:
    model, report = read_foreign(save(change(tiny), tmp_path, _use_new_zipfile_serialization=zipped))
    assert torch.equal(model.backbone.heatmap_head.weight, tiny["final_layer.weight"])
    assert report.faults == "" and report.unexpected == ()
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_half_precision_files_become_float32(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    halved = {name: value.half() if value.is_floating_point() else value for name, value in tiny.items()}
    model, _ = read_foreign(save(halved, tmp_path))
    assert torch.equal(model.backbone.heatmap_head.weight, halved["final_layer.weight"].float())


class Runs:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


class Custom:
    """An object of a class that no one else has."""


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_never_run(tiny: dict[str, Tensor], tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made"
    path = save(tiny | {"x": Runs(made)}, tmp_path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"some\.pth is not weights alone: unpickling it would call posix\.mkdir"):
        read_foreign(path)
    assert not made.exists()
    with pytest.raises(WeightsError, match=r"would call (tests\.jmpose\.)?test_foreign\.Custom") as caught:
        read_foreign(save({"state_dict": tiny, "message_hub": Custom()}, tmp_path))
    assert "save its state_dict alone" in caught.value.hint


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 30, 1000, 0.5, -1])
def test_truncated_files(tmp_path: Path, keep: float, zipped: bool) -> None:
    path = save({"conv1.weight": torch.randn(64, 99)}, tmp_path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(WeightsError, match=r"some\.pth is damaged or no PyTorch file") as caught:
        read_foreign(path)
    assert "again" in caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds nothing, no named weights"),
        ({"state_dict": {}, "meta": {}}, "holds nothing, no named weights"),
        (None, "holds nothing, no named weights"),
        ([torch.zeros(2)], "holds a list, no named weights"),
        (torch.zeros(2), "holds a Tensor, no named weights"),
        ({"state_dict": [1]}, "holds a list, no named weights"),
        ({"a": torch.zeros(1), "b": 3, "c": "x"}, "holds things that are not weights: b, c"),
        ({1: torch.zeros(1)}, "holds things that are not weights: 1"),
        (
            {f"backbone.blocks.{i}.weight": torch.zeros(1) for i in range(4)},
            r"is of no known project: its first weights are backbone\.blocks\.0\.weight, .*2\.weight, \.\.\.$",
        ),
        (
            {"stage4.0.branches.0.0.conv1.weight": torch.zeros(1), "final_layer.weight": torch.zeros(1)},
            "is of no known project",
        ),
    ],
)
def test_files_without_an_hrnet(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        read_foreign(save(content, tmp_path))
    assert caught.value.hint


def test_no_file_and_other_formats(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth does not exist"):
        read_foreign(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match=r"text\.pth is damaged or no PyTorch file"):
        read_foreign(tmp_path / "text.pth")


def test_known_projects_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no known project") as caught:
        read_foreign(save({"a": torch.zeros(1)}, tmp_path))
    assert caught.value.hint.endswith("of HRNet-pose, MMPose 0.x, MMPose 1.x, DCPose, FAMI-Pose, TAR-ViTPose")


def test_odd_files_are_told_in_one_sentence(tmp_path: Path) -> None:
    """Not by a warning of torch about the pickle's protocol, nor by its advice on versions."""
    odd, cut = tmp_path / "odd.pth", tmp_path / "cut.pth"
    torch.save({"state_dict": {"a": torch.zeros(2)}}, odd, pickle_protocol=4)
    cut.write_bytes(b"\x80\x04" + bytes(64))
    for path in (odd, cut):
        with warnings.catch_warnings(action="error"), pytest.raises(WeightsError, match=r"damaged or no") as caught:
            read_foreign(path)
        assert not re.search("Weights only load|documentation|2.6", caught.value.message)


def test_another_width(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds HRNet-W16 of HRNet-pose") as caught:
        read_foreign(save(random_weights("hrnet_w18_small"), tmp_path))
    assert caught.value.hint == "known are HRNet-W32, HRNet-W48"


def test_weights_that_are_not_whole(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    missing = {name: value for name, value in tiny.items() if not name.startswith("transition1.0.1")}
    with pytest.raises(WeightsError, match="does not hold a whole HRNet-W16 of HRNet-pose: 4 missing") as caught:
        read_foreign(save(missing, tmp_path))
    assert "(transition1.0.1.weight, transition1.0.1.bias, transition1.0.1.running_mean, ...)" in caught.value.message
    wider = tiny | {"conv1.weight": torch.zeros(64, 3, 7, 7), "final_layer.weight": torch.zeros(17, 16, 3, 3)}
    with pytest.raises(WeightsError, match="2 of another shape") as caught:
        read_foreign(save(wider, tmp_path))
    assert "conv1.weight [64, 3, 7, 7] for [64, 3, 3, 3]" in caught.value.message


@pytest.mark.parametrize(
    ("joints", "project", "given", "message", "hint"),
    [
        (17, "MMPose 1.x", None, "has 17 joints and does not say which", "coco17 or posetrack18"),
        (16, "HRNet-pose", None, r"has 16 joints, coco17 \(usual for HRNet-pose\) has 17", "keypoint set"),
        (17, "DCPose", "coco17_head", r"has 17 joints, coco17_head \(given\) has 19", "coco17 or posetrack18"),
        (17, "DCPose", "coco", "keypoint set 'coco' is unknown", "coco17 or posetrack18"),
        (133, "MMPose 0.x", None, "has 133 joints and does not say which", "no keypoint set has so many joints"),
    ],
)
def test_other_joints(
    tiny: dict[str, Tensor], tmp_path: Path, joints: int, project: str, given: str | None, message: str, hint: str
) -> None:
    other = tiny | {"final_layer.weight": torch.zeros(joints, 16, 1, 1), "final_layer.bias": torch.zeros(joints)}
    with pytest.raises(WeightsError, match=message) as caught:
        read_foreign(save(named_as(project, other), tmp_path), keypoint_set=given)
    assert hint in caught.value.hint


def test_impossible_input_size(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="input_width is 100"):
        read_foreign(save(tiny, tmp_path), input_hw=(128, 100))
