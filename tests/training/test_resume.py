"""A run that is killed again and again ends where an undisturbed one ends, to the bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from jmpose.build import build_model
from jmpose.weights import save_model
from jmpose_cli.errors import JmposeError
from jmpose_cli.training.prepare import prepare
from tests.training.conftest import weights_of

KILLS = 2


def start(config, out, *options):
    command = [sys.executable, "-m", "jmpose_cli.main", "train", str(config), "--out", str(out), "--quiet", *options]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)


def finish(process):
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said.decode()


@pytest.fixture
def config(settings, tmp_path):
    # A checkpoint after every step, so that kills also fall between them, and into their writing.
    small = settings(
        "deterministic=true",
        "data.workers=1",
        "optim.epochs=3",
        "optim.accumulate=2",
        "save.every_minutes=0.00001",
        "augment.degrade=0.5",
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(small.model_dump(mode="json")))
    return path


@pytest.mark.timeout(400)
def test_killed_at_random_and_resumed_equals_undisturbed(config, tmp_path):
    finish(start(config, tmp_path / "whole"))
    rng, out = random.Random(0), tmp_path / "killed"
    steps_at_kill = []
    for _ in range(KILLS):
        process = start(config, out, *["--resume"] * (out / "config.yaml").exists())
        before = len(steps_at_kill) and steps_at_kill[-1]
        while newest_step(out) < before + 2:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps_at_kill.append(newest_step(out))
    assert len(set(steps_at_kill)) == KILLS  # it got further each time
    finish(start(config, out, "--resume"))
    for name in ("last.safetensors", "best.safetensors"):
        one, other = weights_of(tmp_path / "whole" / name), weights_of(out / name)
        assert all(np.array_equal(one[key], other[key]) for key in one)
    one, other = (newest_state(folder) for folder in (tmp_path / "whole", out))
    assert one["position"] == other["position"]
    for part in ("model", "average", "loss"):
        assert all(torch.equal(one[part][key], other[part][key]) for key in one[part])
    moments = zip(one["optimizer"]["state"].values(), other["optimizer"]["state"].values(), strict=True)
    assert all(torch.equal(a[key], b[key]) for a, b in moments for key in a)
    lines = [(folder / "validation.jsonl").read_text() for folder in (tmp_path / "whole", out)]
    assert lines[0] == lines[1]
    assert [json.loads(line)["epoch"] for line in lines[0].splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_and_says_how_to_go_on(settings, tmp_path, number):
    path, out = tmp_path / "tiny.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(settings("optim.epochs=50").model_dump(mode="json")))
    process = start(path, out)
    while newest_step(out) < 20:  # the end of the first epoch
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    step = newest_step(out)
    assert f"stopped at step {step}" in said.decode()
    assert f"--out {out} --resume" in said.decode()
    assert newest_state(out)["position"]["batch"] == step % 20 or step % 20 == 0


def newest_step(folder):
    files = sorted((folder / "checkpoints").glob("step-*.pt"))
    return int(files[-1].name.split("-")[1]) if files else 0


def newest_state(folder):
    return torch.load(sorted((folder / "checkpoints").glob("step-*.pt"))[-1], weights_only=True)


def test_the_first_weights_are_needed_until_there_is_a_checkpoint(settings, tmp_path):
    first = tmp_path / "first.safetensors"
    save_model(build_model(settings().build_model_config()), first)
    config, out = settings(f"init={first}", "optim.epochs=1"), tmp_path / "run"
    out.mkdir()
    begun = prepare(config, out, resume=True)  # killed before it had saved anything
    begun.position.step = 3
    begun.checkpoints.save(begun.position, begun.stateful)
    first.unlink()
    resumed = prepare(config, out, resume=True)
    assert resumed.position.step == 3
    weights = zip(begun.model.state_dict().values(), resumed.model.state_dict().values(), strict=True)
    assert all(torch.equal(before, after) for before, after in weights)
    with pytest.raises(JmposeError, match=r"first\.safetensors"):
        prepare(config, tmp_path / "other", resume=False)
