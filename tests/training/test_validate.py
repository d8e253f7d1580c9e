"""Scores of a validation: what is right counts, what is missing is missed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from jmpose_cli.main import app
from jmpose_cli.training.board import Board
from jmpose_cli.training.display import Display
from jmpose_cli.training.fit import validate
from jmpose_cli.training.prepare import prepare
from jmpose_cli.training.train import _validation_set
from jmpose_cli.training.validate import PCK, Located, score_set


@pytest.fixture
def chosen(settings, tmp_path):
    """The validation set of the tiny data."""
    return prepare(settings(), tmp_path, resume=False).data.validation[0]


@pytest.fixture
def names(settings):
    """Joints of the model."""
    return settings().build_model_config().preprocess.keypoints.joints


def located(chosen, joints, *, initial_error_px=0.0, samples=None):
    """What a model that is right would find; its initial heatmaps are off to the right."""
    samples = np.arange(len(chosen.windows)) if samples is None else samples
    truth = np.stack([chosen.sources[0].joints_of(int(s))[0] for s in samples])
    xy = np.stack([truth, truth + np.array([initial_error_px, 0.0])]).astype(np.float32)
    return Located(samples, xy, np.full((2, len(samples), joints), 0.9, np.float32))


def test_right_joints_score_full(chosen, names):
    ap, pck = score_set(chosen, [located(chosen, len(names), initial_error_px=500)], names)
    assert (ap.metric, pck.metric) == ("posetrack18 AP", PCK)
    assert ap.final == 100
    assert ap.initial < 5
    assert (pck.final, pck.initial) == (100, 0)


def test_order_and_parts_make_no_difference(chosen, names):
    rng = np.random.default_rng(0)
    every = located(chosen, len(names), initial_error_px=8)
    order = rng.permutation(len(every.samples))
    parts = [Located(every.samples[p], every.xy[:, p], every.scores[:, p]) for p in np.array_split(order, 3)]
    assert score_set(chosen, parts, names) == score_set(chosen, [every], names)


def test_people_who_were_not_found_cost_recall(chosen, names):
    half = np.arange(0, len(chosen.windows), 2)
    ap, pck = score_set(chosen, [located(chosen, len(names), samples=half)], names)
    assert 40 < ap.final < 60
    assert pck.final == 100  # of those that were located


def test_limit_is_a_tenth_of_the_roots_box_area(chosen, names):
    boxes = np.stack([chosen.sources[0].joints_of(i)[2] for i in range(len(chosen.windows))])
    limits = 0.1 * np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    error = float(np.median(limits))
    _, pck = score_set(chosen, [located(chosen, len(names), initial_error_px=error)], names)
    known = np.stack([chosen.sources[0].joints_of(i)[1] for i in range(len(chosen.windows))])
    expected = 100 * known[limits > error].sum() / known.sum()
    assert pck.initial == pytest.approx(expected, abs=100 * 2 / len(limits))


def test_validation_says_what_jmpose_eval_says(settings, posetrack, tmp_path):
    config = settings("change={}", "init=nano")
    run = prepare(config, tmp_path / "run", resume=False)
    ap, _ = validate(run, Display(quiet=True), Board(None, step=0))
    out = tmp_path / "scores"
    arguments = ["eval", "--data", posetrack, "--split", "val", "--boxes", "gt", "--out", out, "--quiet"]
    assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    runs = json.loads((out / "eval.json").read_text())["runs"]
    # Crops are cut by two implementations of the same interpolation. `jmpose eval` sees every frame once, on its own
    # box, and lays its maps on those of the key frame; a validation cuts neighbours anew, on the key frame's box.
    assert ap.final == pytest.approx(runs["gt-temporal"]["ap"]["total"], abs=3)
    assert ap.initial == pytest.approx(runs["gt-single-frame"]["ap"]["total"], abs=0.5)
    assert ap.final > 25 and ap.initial > 25


def test_a_part_of_the_videos_is_said():
    chosen = SimpleNamespace(label="val", windows=[0] * 40, ap_name="OKS AP", sources=(1, 2), videos=50)
    assert _validation_set(chosen) == "val (40 people of 2 of 50 videos, OKS AP)"
    assert _validation_set(SimpleNamespace(**vars(chosen) | {"videos": 2})) == "val (40 people, OKS AP)"
