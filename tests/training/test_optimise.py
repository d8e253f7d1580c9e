"""Rates, groups, clipping, the moving average."""

import copy
from dataclasses import replace

import pytest
import torch

from jmpose.build import build_model
from jmpose.presets import CONFIGS
from jmpose_cli.training.config import OptimConfig
from jmpose_cli.training.optimise import (
    build_optimizer,
    clip_gradients,
    io_share,
    moving_average,
    rate_share,
    set_rate,
)
from jmpose_cli.training.trainee import Trainee


@pytest.fixture(scope="module")
def trainee():
    return Trainee(build_model(replace(CONFIGS["nano"], io_estimator="bounds")), temporal=True, initial_loss=True)


def share(step, **settings):
    return rate_share(step, OptimConfig(**settings), steps_an_epoch=10, total_steps=200)


class TestSchedule:
    def test_warm_up(self):
        assert [share(step, warmup_steps=4, schedule="step") for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]

    def test_steps_at_the_papers_epochs(self):
        rates = [share(10 * epoch, warmup_steps=0, schedule="step") for epoch in (0, 5, 6, 11, 12, 17, 18, 19)]
        assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])

    def test_cosine_from_all_to_a_hundredth(self):
        assert share(0, warmup_steps=0) == 1
        assert share(100, warmup_steps=0) == pytest.approx(0.505)
        assert share(200, warmup_steps=0) == pytest.approx(0.01)

    def test_groups_keep_their_ratio(self, trainee):
        optimizer = build_optimizer(trainee, OptimConfig(lr=1e-3, backbone_lr=1e-4))
        set_rate(optimizer, 0.5)
        assert {round(group["lr"], 9) for group in optimizer.param_groups} == {5e-4, 5e-5}


class TestWeightOfInformation:
    def test_grows_evenly_then_stays(self):
        shares = [io_share(step, OptimConfig(io_warmup_steps=4)) for step in range(6)]
        assert shares == [0.25, 0.5, 0.75, 1, 1, 1]
        assert io_share(0, OptimConfig()) == 1

    def test_a_share_of_it_is_in_the_total(self, trainee):
        torch.manual_seed(0)
        xy = 60 * torch.rand(2, 5, 19, 2)
        seen, some = torch.randint(0, 255, (2, 5, 64, 64, 3), dtype=torch.uint8), torch.ones(2, 5, 19)
        windows = seen, torch.ones(2, 5, dtype=torch.bool), xy, some, some, torch.zeros(2, 5, 2)
        of = {}
        for share in (0.0, 0.5, 1.0):
            trainee.set_io_share(share)
            with torch.no_grad():
                of[share] = trainee(*windows)
        half, whole = (float(of[share]["total"] - of[0.0]["total"]) for share in (0.5, 1.0))
        assert whole == pytest.approx(0.01 * float(of[1.0]["information"]), abs=1e-4)
        assert half == pytest.approx(whole / 2, abs=1e-4) and abs(whole) > 1e-2


class TestGroups:
    def test_every_trained_parameter_once(self, trainee):
        optimizer = build_optimizer(trainee, OptimConfig(backbone_lr=1e-4, layer_decay=0.5))
        listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(listed) == sorted(id(p) for p in trainee.parameters())

    def test_only_matrices_decay(self, trainee):
        for group in build_optimizer(trainee, OptimConfig(backbone_lr=1e-4)).param_groups:
            assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])

    def test_deeper_layers_are_slower(self, trainee):
        optimizer = build_optimizer(trainee, OptimConfig(lr=1.0, backbone_lr=0.1, layer_decay=0.5))
        rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        names = dict(trainee.model.named_parameters())
        assert {rate[id(p)] for name, p in names.items() if name.startswith("backbone.heatmap_head.")} == {0.1}
        body = [p for name, p in names.items() if name.startswith("backbone.body.")]
        stem, last = rate[id(body[0])], rate[id(body[-1])]
        assert stem < last == pytest.approx(0.05)
        assert rate[id(names["head.scale"])] == 1.0

    def test_frozen_parameters_are_left_out(self):
        model = build_model(CONFIGS["nano"])
        model.freeze_backbone()
        optimizer = build_optimizer(Trainee(model, temporal=True, initial_loss=False), OptimConfig())
        frozen = {id(p) for p in model.backbone.parameters()}
        assert not frozen & {id(p) for group in optimizer.param_groups for p in group["params"]}


def test_model_and_estimators_are_clipped_apart(trainee):
    for parameter in trainee.parameters():
        parameter.grad = torch.zeros_like(parameter)
    next(trainee.model.head.parameters()).grad += 1e-3
    next(trainee.loss.parameters()).grad += 1e3
    before = next(trainee.model.head.parameters()).grad.clone()
    norm = clip_gradients(trainee, 5.0)
    assert norm == pytest.approx(float(before.norm()))
    assert torch.equal(next(trainee.model.head.parameters()).grad, before)  # the estimators' gradients are not its own
    assert float(next(trainee.loss.parameters()).grad.norm()) == pytest.approx(5.0, rel=1e-3)


def test_moving_average_lags_and_counts():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    model[0].weight.data.fill_(0.0)
    average = moving_average(model, 0.9)
    values = []
    for step in range(1, 40):
        model[0].weight.data.fill_(1.0)
        model[1].num_batches_tracked.fill_(step)
        average.update_parameters(model)
        values.append(float(average.module[0].weight))
    assert values[0] == 1.0  # the first update takes the weights as they are
    model[0].weight.data.fill_(0.0)
    young = copy.deepcopy(average)
    average.update_parameters(model)
    assert float(average.module[0].weight) == pytest.approx(40 / 49)  # (1 + n) / (10 + n) after 39 updates
    assert int(young.module[1].num_batches_tracked) == 39
    assert not average.module.training
