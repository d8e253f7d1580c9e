"""Two processes with half the batch each are one process with the whole batch."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import yaml

from jmpose.losses import heatmap_loss
from jmpose_cli.training.devices import gather_objects, keep_depthwise_fp32, mean_over_devices

ADAM_BETA = 0.9
# Convolutions choose other kernels for other batch sizes: rounding alone makes 0.0043. Without the exchange of
# BatchNorm statistics the difference is 0.2.
TOLERANCE = 0.01


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "temporal",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["whole model", "backbone alone"],
)
def test_two_processes_equal_one_with_the_doubled_batch(settings, tmp_path, temporal):
    # The information terms are estimated on each device by itself. Learnt sampling positions start between pixels'
    # linear pieces, where rounding decides on the gradient.
    shared = ["change.io_estimator=null", "change.joint_learner=false", f"temporal={str(temporal).lower()}"]
    shared += ["init=nano", "init_backbone=true", "optim.epochs=1", "optim.steps=1"]
    shared += ["change.preprocess.input_height=128", "change.preprocess.input_width=96"]
    states, scores = [], []
    for devices, batch in ((1, 8), (2, 4)):
        config = settings(*shared, f"optim.batch={batch}", f"devices={devices}")
        path, out = tmp_path / f"{devices}.yaml", tmp_path / str(devices)
        path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        command = [sys.executable, "-m", "jmpose_cli.main", "train", str(path), "--out", str(out), "--quiet"]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=200)
        assert done.returncode == 0, done.stderr.decode()
        states.append(torch.load(next((out / "checkpoints").glob("*.pt")), weights_only=True))
        scores.append(json.loads((out / "validation.jsonl").read_text())["scores"])
    gradients = [torch.cat([moment(p) for p in state["optimizer"]["state"].values()]) for state in states]
    assert gradients[0].norm() > 0.1
    assert (gradients[0] - gradients[1]).norm() < TOLERANCE * gradients[0].norm()
    for name, values in states[0]["model"].items():
        if name.endswith("running_var"):
            means = name.replace("running_var", "running_mean")
            assert torch.allclose(values, states[1]["model"][name], rtol=1e-3, atol=1e-5), name
            # A mean near zero is a sum of many values of either sign: it rounds by their size, not by its own.
            apart = states[0]["model"][means] - states[1]["model"][means]
            assert (apart.abs() <= 1e-3 * values.sqrt() + 1e-5).all(), means
    # Each process located half of the people; both halves were scored.
    for one, two in zip(*scores, strict=True):
        assert np.isclose(one["initial"], two["initial"], atol=1.0)
        assert one["initial"] > 1


def moment(state):
    """Gradient of the first step, from AdamW's first moment."""
    return state["exp_avg"].flatten() / (1 - ADAM_BETA)


def test_mean_of_the_devices_losses_is_the_loss_of_the_whole_batch():
    generator = torch.Generator().manual_seed(0)
    heatmaps, targets = torch.rand(2, 8, 5, 4, 4, generator=generator)
    weights = torch.rand(8, 5, generator=generator)
    weights[4:] *= 0.1  # the second device knows of few joints
    mean = 0.5 * weights.sum()
    parts = [
        heatmap_loss(heatmaps[half], targets[half], weights[half], sigma=1.0, mean_over_devices=lambda _: mean)
        for half in (slice(0, 4), slice(4, 8))
    ]
    assert torch.isclose(sum(parts) / 2, heatmap_loss(heatmaps, targets, weights, sigma=1.0))


def test_one_device_needs_no_exchange():
    assert float(mean_over_devices(torch.tensor(3.0, requires_grad=True))) == 3
    assert gather_objects([1]) == [[1]]


def test_trained_depthwise_convolutions_run_in_fp32():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 3, padding=1, groups=8))
    frozen = torch.nn.Conv2d(8, 8, 3, groups=8).requires_grad_(False)
    whole = torch.nn.Sequential(*net, frozen)
    pictures = torch.randn(1, 3, 6, 6)
    before = whole(pictures)
    keep_depthwise_fp32(whole)
    assert torch.equal(whole(pictures), before)
    with torch.autocast("cpu", torch.bfloat16):
        between = whole[0](pictures)
        assert between.dtype == torch.bfloat16
        assert whole[1](between).dtype == torch.float32
        assert whole(pictures).dtype == torch.bfloat16  # the frozen one is left alone
    assert list(whole.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
def test_freed_memory_is_not_given_back():
    """New pages are faults; a process that keeps its memory has none after the first round."""
    code = """
        import ctypes, resource, sys
        from jmpose_cli.training.devices import keep_freed_memory

        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        keep_freed_memory()

        def use():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            block = libc.malloc(2**28)
            ctypes.memset(block, 1, 2**28)
            libc.free(block)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        print(use(), use())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert first > 100 and second < first / 20
