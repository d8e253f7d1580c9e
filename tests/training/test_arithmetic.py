"""In what a training run computes, by the setting and by what the processor has."""

from dataclasses import replace

import pytest
import torch
import yaml
from typer.testing import CliRunner

from jmpose_cli.errors import JmposeError
from jmpose_cli.main import app
from jmpose_cli.training import precision, prepare
from jmpose_cli.training.checkpoint import Checkpoints, Position
from jmpose_cli.training.config import load_train_config, shipped_configs
from jmpose_cli.training.precision import choose_arithmetic, cpu_bf16_gain


@pytest.fixture(params=[True, False], ids=["with bf16", "without bf16"])
def has_bf16(request, monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: request.param)
    return request.param


def choose(asked, device="cpu", *, resume=False, gain=2.0):
    return choose_arithmetic(asked, device, resume=resume, cpu_gain=lambda: gain)


def test_auto_takes_bf16_on_a_cpu_where_it_is_faster(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    slower = choose("auto", gain=0.834)
    assert (slower.name, slower.may_differ) == ("fp32", True)
    assert slower.reason == "this processor trains 0.83 times as fast in bf16 as in fp32"
    assert choose("auto", gain=1.5) == precision.Arithmetic("bf16-mixed", may_differ=True)
    assert choose("bf16-mixed", gain=0.5).name == "bf16-mixed"  # asked for, not measured


def test_the_gain_is_measured_and_leaves_the_network_as_it_is():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3, groups=8)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert cpu_bf16_gain(network, torch.rand(2, 3, 32, 32)) > 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training and type(network[1]) is torch.nn.Conv2d
    assert all(parameter.grad is None for parameter in network.parameters())


def test_several_processes_do_not_measure_and_so_agree(settings, monkeypatch):
    monkeypatch.setattr(prepare, "cpu_bf16_gain", lambda network, crops: 0.5)
    assert prepare._measured_gain(settings()) == 0.5
    assert prepare._measured_gain(settings("devices=2")) > 1


@pytest.mark.parametrize("resume", [False, True])
def test_auto_takes_what_the_processor_has(has_bf16, resume):
    taken = choose("auto", resume=resume)
    assert taken.name == ("bf16-mixed" if has_bf16 else "fp32") and taken.may_differ
    assert bool(taken.reason) == (not has_bf16)
    assert choose("fp32", resume=resume) == replace(taken, name="fp32", reason="", may_differ=False)


def test_bf16_that_is_asked_for(has_bf16):
    if has_bf16:
        assert choose("bf16-mixed").name == "bf16-mixed"
        return
    with pytest.raises(JmposeError, match=r"precision: bf16-mixed: this processor has no bf16 .*AMX") as caught:
        choose("bf16-mixed")
    assert "auto" in caught.value.hint
    resumed = choose("bf16-mixed", resume=True)
    assert (resumed.name, resumed.may_differ) == ("fp32", True)


def test_an_old_gpu(monkeypatch):
    for capability, name in (((7, 5), "fp32"), ((8, 0), "bf16-mixed")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda capability=capability: capability)
        assert choose("auto", "cuda").name == name


def test_shipped_configurations_go_by_the_processor():
    taken = {name: load_train_config(name, [], {"init": "nano"}).precision for name in shipped_configs()}
    assert set(taken.values()) <= {"auto", "fp32"} and "auto" in taken.values()


def test_a_run_goes_on_where_there_is_no_bf16_and_says_so(settings, tmp_path, monkeypatch):
    config, out = tmp_path / "tiny.yaml", tmp_path / "run"

    def train(has_bf16, *options):
        monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_bf16)
        monkeypatch.setattr(prepare, "cpu_bf16_gain", lambda network, crops: 2.0)
        done = CliRunner().invoke(app, ["train", str(config), "--out", str(out), *options])
        assert done.exit_code == 0, done.output
        return " ".join(done.stderr.split())

    small = settings("precision=auto", "optim.epochs=1", "optim.steps=1")
    config.write_text(yaml.safe_dump(small.model_dump(mode="json")))
    assert "1 x cpu, bf16-mixed" in train(True)
    said = train(False, "--resume")
    assert "1 x cpu, fp32 (this processor has no bf16 arithmetic" in said
    assert "was trained in bf16-mixed, continues in fp32: this processor has no bf16 arithmetic" in said


@pytest.mark.parametrize(("asked", "is_refused"), [("auto", False), ("bf16-mixed", True)])
def test_another_precision_is_another_configuration_unless_the_machine_decides(
    asked, is_refused, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)

    def checkpoints(precision_asked):
        arithmetic = choose(precision_asked, resume=True)
        config = settings(f"precision={precision_asked}")
        return Checkpoints(tmp_path / "run", config, arithmetic, checksums={}, keep=1)

    checkpoints("fp32").save(Position(step=3), {})
    later = checkpoints(asked)
    if is_refused:
        with pytest.raises(JmposeError, match=r"precision was 'fp32', is 'bf16-mixed'"):
            later.restore({})
    else:
        assert later.restore({}).step == 3
        assert later.notes == ["was trained in fp32, continues in bf16-mixed"]
