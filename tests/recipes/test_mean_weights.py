"""The mean of two models."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import mean_weights
from jmpose.build import build_model
from jmpose.presets import CONFIGS
from jmpose.weights import load_model, save_model
from jmpose_cli.known_weights import choose_model

SHIPPED = choose_model("nano").path


def averaged(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["mean_weights.py", *map(str, words)])
    mean_weights.main()


def test_each_weight_is_between_the_two(tmp_path, monkeypatch):
    after, mean = tmp_path / "after.safetensors", tmp_path / "mean.safetensors"
    torch.manual_seed(0)
    save_model(build_model(CONFIGS["nano"]), after)
    averaged(monkeypatch, SHIPPED, after, "--share", 0.25, "--out", mean)
    one, other, both = (load_model(file) for file in (SHIPPED, after, mean))
    assert one.config.calibration is not None
    assert {value.dtype for value in load_file(mean).values() if value.ndim > 1} == {torch.float16}
    assert both.config == replace(one.config, calibration=None)
    for name, value in both.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(
                value, 0.75 * one.state_dict()[name] + 0.25 * other.state_dict()[name], rtol=1e-3, atol=1e-4
            )


def test_crops_are_as_large_as_those_of_the_second(tmp_path, monkeypatch):
    before, mean = tmp_path / "before.safetensors", tmp_path / "mean.safetensors"
    lower = replace(CONFIGS["nano"], preprocess=replace(CONFIGS["nano"].preprocess, input_height=192))
    save_model(build_model(lower), before)
    averaged(monkeypatch, before, SHIPPED, "--out", mean)
    assert load_model(mean).config.preprocess == CONFIGS["nano"].preprocess


def test_another_architecture_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        averaged(monkeypatch, SHIPPED, choose_model("small").path, "--out", tmp_path / "mean.safetensors")
    assert "not of one architecture" in capsys.readouterr().err
    assert not (tmp_path / "mean.safetensors").exists()
