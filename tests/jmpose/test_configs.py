"""Every configuration as a whole. The large ones take minutes: `pytest -m slow tests/jmpose/test_configs.py`."""

from pathlib import Path

import psutil
import pytest
import torch

from jmpose.build import build_model
from jmpose.presets import CONFIGS
from jmpose.weights import load_model, save_model

NEEDED_GB = {"vitpose-l": 8, "vitpose-h": 12}
ALL = [pytest.param(name, marks=[] if name == "nano" else pytest.mark.slow) for name in CONFIGS]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ALL)
def test_builds_runs_and_round_trips(name: str, tmp_path: Path) -> None:
    free_gb = psutil.virtual_memory().available / 1e9
    if free_gb < NEEDED_GB.get(name, 4):
        pytest.skip(f"{name} wants {NEEDED_GB.get(name, 4)} GB of free memory, there are {free_gb:.0f}")
    torch.manual_seed(0)
    model = build_model(CONFIGS[name]).eval()
    window = model.config.preprocess
    inputs = torch.randn(1, window.frames, 3, window.input_height, window.input_width)
    with torch.inference_mode():
        output = model(inputs)
    assert output.heatmaps.shape == (1, len(window.keypoints), *window.heatmap_size)
    assert output.heatmaps.isfinite().all() and output.initial.std() > 0
    path = save_model(model, tmp_path)
    del model
    loaded = load_model(path)
    path.unlink()  # large
    assert loaded.config == CONFIGS[name]
    with torch.inference_mode():
        assert torch.equal(loaded(inputs).heatmaps, output.heatmaps)
