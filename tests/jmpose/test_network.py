from typing import Any

import pytest
import torch

from jmpose.build import assemble, build_model
from jmpose.config import BackboneSpec, ModelConfig
from jmpose.errors import ConfigError
from jmpose.losses import JMPoseLoss
from jmpose.network import JMPose
from jmpose.presets import CONFIGS
from tests.jmpose.tiny_model import TINY, TinyBackbone, stir, tiny_config, tiny_model, tiny_windows

SWITCHES: list[dict[str, Any]] = [
    {},
    {"motion": False},
    {"motion_blocks": 0},
    {"joint_learner": False},
    {"offset_groups": 8, "dilation": 3},
    {"mutual_blocks": 0, "io_estimator": None},
    {"mutual_blocks": 1},
    {"mutual_blocks": 4},
    {"heads": 4},
    {"head_blocks": 2, "head_channels": 12},
    {"head_context": "heatmaps"},
    {"io_estimator": None},
]


def train_step(model: JMPose, loss: JMPoseLoss, optimizer: torch.optim.Optimizer) -> None:
    targets = torch.rand(2, 3, 17, 16, 8, generator=torch.Generator().manual_seed(3))
    weights = torch.ones(2, 3, 17)
    optimizer.zero_grad()
    terms = loss(model(tiny_windows()), targets[:, 1], weights[:, 1], initial_targets=targets, initial_weights=weights)
    terms.total.backward()
    optimizer.step()


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_every_switch_builds_and_trains(changes: dict[str, Any]) -> None:
    config = tiny_config(**changes)
    assert ModelConfig.from_dict(config.to_dict()) == config
    model, loss = tiny_model(config).train(), JMPoseLoss(config)
    parameters = dict(model.named_parameters()) | dict(loss.named_parameters(prefix="loss"))
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    for _ in range(3):  # the head's zero scale and the offsets' zero layer each hold back what is behind them
        train_step(model, loss, optimizer)
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("context", ["none", "heatmaps"])
def test_identity_start_gives_the_backbones_heatmaps(context: str) -> None:
    output = tiny_model(tiny_config(head_context=context)).eval()(tiny_windows())
    assert output.heatmaps.shape == (2, 17, 16, 8) and output.initial.shape == (2, 3, 17, 16, 8)
    assert torch.equal(output.heatmaps, output.initial_key)


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_window_of_one_real_frame_gives_the_initial_heatmaps(changes: dict[str, Any]) -> None:
    model = stir(tiny_model(tiny_config(**changes))).eval()
    exists = torch.tensor([[False, True, False], [True, True, True], [True, True, False]])
    output = model(tiny_windows(3), exists)
    assert torch.equal(output.heatmaps[0], output.initial_key[0])
    for row in (1, 2):
        assert not torch.allclose(output.heatmaps[row], output.initial_key[row], atol=1e-3)


def test_all_frames_exist_by_default() -> None:
    model = stir(tiny_model()).eval()
    every = model(tiny_windows(), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(model(tiny_windows()).heatmaps, every.heatmaps)


def test_missing_frame_adds_no_motion_of_its_own() -> None:
    """A repeated key frame and a masked stranger in its place give the same flow."""
    model = stir(tiny_model(tiny_config(joint_learner=False))).eval()
    windows, exists = tiny_windows(), torch.tensor([[True, True, False]] * 2)
    repeated = windows.clone()
    repeated[:, 2] = repeated[:, 1]
    assert torch.allclose(model(windows, exists).heatmaps, model(repeated, exists).heatmaps, atol=1e-6)
    assert (model(windows).heatmaps - model(repeated).heatmaps).abs().max() > 1e-4


@pytest.mark.parametrize("count", [2, 5])
def test_result_does_not_depend_on_the_batch(count: int) -> None:
    model = stir(tiny_model(tiny_config(head_context="heatmaps"))).eval()
    windows = tiny_windows(count)
    exists = torch.tensor([[True, True, True], [False, True, True]] * count)[:count]
    together = model(windows, exists).heatmaps
    alone = torch.cat([model(windows[i : i + 1], exists[i : i + 1]).heatmaps for i in range(count)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_model_keeps_no_state() -> None:
    model = stir(tiny_model()).eval()
    first = model(tiny_windows()).heatmaps
    model(tiny_windows(3, seed=9))
    assert torch.equal(model(tiny_windows()).heatmaps, first)


def test_repeated_frames_need_no_second_backbone_pass() -> None:
    model = stir(tiny_model()).eval()
    pictures = tiny_windows(1)[0, :2]
    rows, exists = torch.tensor([[0, 1, 1], [0, 0, 1]]), torch.tensor([[True, True, False], [False, True, True]])
    fused = model.fuse(model.arrange(model.encode(pictures), rows), exists)
    whole = model(pictures[rows], exists)
    assert torch.allclose(fused.heatmaps, whole.heatmaps, atol=1e-5)


def test_wrong_number_of_frames_is_named() -> None:
    with pytest.raises(ValueError, match="tiny takes 3 frames, got 5"):
        tiny_model()(tiny_windows(frames=5))


def test_frozen_backbone_stays_as_it_is() -> None:
    model = tiny_model()
    model.freeze_backbone()
    model.train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    train_frozen = model(tiny_windows())
    assert not train_frozen.initial.requires_grad and train_frozen.motion[0].requires_grad
    loss = JMPoseLoss(TINY)(train_frozen, torch.rand(2, 17, 16, 8), torch.ones(2, 17))
    loss.total.backward()
    torch.optim.AdamW(parameters, lr=0.1).step()
    assert model.training and model.motion_encoder.training and not model.backbone.training
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_unknown_backbone_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="backbone of tiny: timm knows no backbone 'none'"):
        build_model(TINY)
    hrnet = tiny_config(backbone=BackboneSpec("hrnet", "resnet18", 8))
    with pytest.raises(ConfigError, match="'resnet18' is no timm HRNet"):
        build_model(hrnet)
    with pytest.raises(ConfigError, match=r"backbone\.channels is 7, hrnet_w18_small has"):
        build_model(tiny_config(backbone=BackboneSpec("hrnet", "hrnet_w18_small", 7)))


def test_four_stages_need_an_hrnet() -> None:
    config = tiny_config(backbone=BackboneSpec("hrnet", "hrnet_w18_small", 16), motion_stages=4)
    with pytest.raises(ConfigError, match="motion_stages is 4 with a TinyBackbone"):
        assemble(TinyBackbone(channels=8, joints=17), config)
    model = build_model(config).eval()
    output = stir(model)(tiny_windows(1))
    assert output.heatmaps.shape == (1, 17, 16, 8)
    assert len(model.encode(tiny_windows(1)[0]).maps) == 2 * 4 + 1


def test_nano() -> None:
    model = build_model(CONFIGS["nano"]).eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 5, 3, 224, 160))
    assert output.heatmaps.shape == (1, 19, 56, 40)
    assert torch.equal(output.heatmaps, output.initial_key)
    temporal = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("backbone"))
    assert temporal < 100_000


def test_hrnet_w48() -> None:
    model = build_model(CONFIGS["hrnet-w48"]).eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 5, 3, 384, 288))
    assert output.heatmaps.shape == (1, 17, 96, 72) and output.initial.shape == (1, 5, 17, 96, 72)
    assert torch.equal(output.heatmaps, output.initial_key)
    assert [m.shape for m in output.motion] == [(1, 48, 96, 72)] * 2
