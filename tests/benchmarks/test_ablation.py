from argparse import Namespace
from pathlib import Path
from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from ablation import ROWS, Variant, settings
from jmpose.config import ModelConfig
from jmpose.presets import CONFIGS
from jmpose_cli.training.config import TrainConfig

CONFIG_FILES = sorted((Path(__file__).parents[2] / "models/configs").glob("*.yaml"))
EVERY_ROW = [(model, row) for model, rows in ROWS.items() for row in rows]


def model_of(model: str, row: Variant, folder: Path) -> ModelConfig:
    args = Namespace(model=model, height=128, threads=1, device="cpu", steps=1)
    return TrainConfig.model_validate(settings(row, 0, folder, args)).build_model_config()


@pytest.mark.parametrize(("model", "row"), EVERY_ROW, ids=lambda value: getattr(value, "name", value))
def test_every_row_is_a_network_that_differs_as_it_says(model, row, tmp_path):
    config = model_of(model, row, tmp_path)
    assert {name: getattr(config, name) for name in row.change} == row.change
    assert row.after in {None, *(other.name for other in ROWS[model])}


def test_every_switch_of_the_network_is_used(tmp_path):
    """What no named configuration, training file or row of the ablation has is kept for nobody."""
    used = [*CONFIGS.values(), *(model_of(model, row, tmp_path) for model, row in EVERY_ROW)]
    used += [
        TrainConfig.model_validate(yaml.safe_load(file.read_text()) | {"init": "nano"}).build_model_config()
        for file in CONFIG_FILES
    ]
    for name, hint in get_type_hints(ModelConfig).items():
        assert values(hint) <= {getattr(config, name) for config in used if values(hint)}, name


def values(hint):
    """All values of a switch; none of what is no switch."""
    if hint is bool:
        return {True, False}
    if hint is NoneType:
        return {None}
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return set().union(*map(values, get_args(hint))) if get_args(hint) else set()
