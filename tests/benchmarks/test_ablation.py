import copy
import json
import re
from argparse import Namespace
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch
import yaml

import ablation
from ablation import ROWS, SETS, Together, Variant, prepared, print_tables, scores_file, settings
from jmpose.config import ModelConfig
from jmpose.presets import CONFIGS
from jmpose_cli.training.board import Board
from jmpose_cli.training.config import TrainConfig
from jmpose_cli.training.display import Display
from jmpose_cli.training.fit import train_step, validate
from jmpose_cli.training.loader import batches
from jmpose_cli.training.prepare import prepare
from jmpose_cli.training.validate import PCK
from tests.training.conftest import TINY, posetrack  # noqa: F401

CONFIG_FILES = sorted((Path(__file__).parents[2] / "models/configs").glob("*.yaml"))
EVERY_ROW = [(model, row) for model, starts in ROWS.items() for rows in starts.values() for row in rows]


def config_of(model: str, row: Variant) -> TrainConfig:
    args = Namespace(model=model, height=128, threads=1, device="cpu", precision="auto", steps=10, workers=0)
    return TrainConfig.model_validate(settings(row, 0, "nano", args))


def model_of(model: str, row: Variant) -> ModelConfig:
    return config_of(model, row).build_model_config()


@pytest.mark.parametrize(("model", "row"), EVERY_ROW, ids=lambda value: getattr(value, "name", value))
def test_every_row_is_a_network_that_differs_as_it_says(model, row):
    config = model_of(model, row)
    assert {name: getattr(config, name) for name in row.change} == row.change
    assert row.after in {None, *(other.name for name, other in EVERY_ROW if name == model)}


def test_every_switch_of_the_network_is_used():
    """What no named configuration, training file or row of the ablation has is kept for nobody."""
    used = [*CONFIGS.values(), *(model_of(model, row) for model, row in EVERY_ROW)]
    used += [
        TrainConfig.model_validate(yaml.safe_load(file.read_text()) | {"init": "nano"}).build_model_config()
        for file in CONFIG_FILES
    ]
    for name, hint in get_type_hints(ModelConfig).items():
        assert values(hint) <= {getattr(config, name) for config in used if values(hint)}, name


def test_the_weight_grows_in_two_rows_over_half_of_the_training():
    grows = {row.name: config_of(model, row).optim.io_warmup_steps for model, row in EVERY_ROW}
    names = ("+ IO that grows (L=2), identity", "+ IO of a tenth (L=2), identity")
    assert {name: steps for name, steps in grows.items() if steps} == dict.fromkeys(names, 5)


CHANGES = ({"identity_blocks": True, "io_estimator": None}, {"motion": False, "io_estimator": "bounds"})


def tiny_run(change, root: Path, folder: Path):
    tree = copy.deepcopy(TINY) | {"init": "nano", "init_backbone": True, "seed": 3}
    tree["change"] |= change
    tree["data"]["root"] = str(root)
    tree["optim"] |= {"backbone_lr": 0.0, "steps": 5, "io_warmup_steps": 4}
    return prepare(TrainConfig.model_validate(tree), folder, resume=False)


def trained_alone(change, root: Path, folder: Path):
    run = tiny_run(change, root, folder)
    run.trainee.train()
    while not run.is_done:
        draws = run.draws()
        loaded = batches(run.data.train, draws, workers=0, pin=False)
        for _ in draws:
            train_step(run, loaded)
        run.position.epoch, run.position.batch = run.position.epoch + 1, 0
    return run


def test_side_by_side_gives_what_each_gives_alone(posetrack, tmp_path):  # noqa: F811
    alone = [trained_alone(change, posetrack, tmp_path) for change in CHANGES]
    together = Together([tiny_run(change, posetrack, tmp_path) for change in CHANGES])
    together.train()
    scores = together.scores()
    for one, run, mine in zip(alone, together.runs, scores, strict=True):
        assert run.position == one.position and run.position.step == one.total_steps
        wanted = one.average.module.state_dict()
        state = run.average.module.state_dict()
        assert set(state) == {name for name in wanted if not name.startswith("backbone.")}
        assert all(torch.equal(value, wanted[name]) for name, value in state.items())
        expected = [score for score in validate(one, Display(quiet=True), Board(None, step=0)) if score.metric == PCK]
        assert mine == {score.label: (score.final, score.initial) for score in expected}


def test_rows_of_a_seed_share_the_arithmetic_that_the_first_has_chosen(monkeypatch, tmp_path):
    asked = []

    def prepare_anyhow(config, folder, *, resume, data):
        asked.append((config.precision, data))
        return SimpleNamespace(arithmetic=SimpleNamespace(name="bf16-mixed"), data="the data")

    monkeypatch.setattr(ablation, "prepare", prepare_anyhow)
    args = Namespace(model="nano", height=128, precision="auto", threads=1, device="cpu", workers=0, steps=2)
    prepared(ROWS["nano"]["paper"][:3], 0, "nano", tmp_path, args)
    assert asked == [("auto", None), ("bf16-mixed", "the data"), ("bf16-mixed", "the data")]


def test_tables_compare_the_same_seeds(tmp_path, capsys):
    first, flow, learner = ROWS["nano"]["paper"][:3]
    for row, seed, gain in ((first, 0, 1.0), (first, 1, 3.0), (flow, 1, 4.5)):
        scores = {name: (50 + gain, 50) for name in SETS}
        scores_file(tmp_path, row, seed).write_text(json.dumps({"scores": scores}))
    print_tables((first, flow, learner), tmp_path, [0, 1])
    printed = capsys.readouterr().out
    assert re.search(r"single frame +2\.00 +1\.41 +2\n", printed)
    assert re.search(r"\+ motion flow +4\.50 +nan +1   \+1\.50 \+- nan \(single frame\)\n", printed)
    assert learner.name not in printed


def values(hint):
    """All values of a switch; none of what is no switch."""
    if hint is bool:
        return {True, False}
    if hint is NoneType:
        return {None}
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return set().union(*map(values, get_args(hint))) if get_args(hint) else set()
