"""`jmpose doctor`: every kind of problem, simulated, and one real run."""

import importlib
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jmpose_cli.errors import JmposeError
from jmpose_cli.main import app
from jmpose_cli.people.detect_onnx import OnnxDetector
from jmpose_cli.upkeep import doctor, self_test
from jmpose_cli.upkeep.doctor import Finding, InferOptions
from jmpose_cli.values import Detections

CHECKS = {
    *("python", "packages", "torch", "pictures", "device", "decoders", "encoder", "models", "folders", "extras"),
    "licences",
    "self-test",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))


def only(findings, status) -> Finding:
    (found,) = (finding for finding in findings if finding.status == status)
    return found


def run(*options):
    return CliRunner().invoke(app, ["doctor", *options])


def test_this_machine_is_well():
    shown = run("--json")
    record = json.loads(shown.stdout)
    assert shown.exit_code == 0 and record["ok"] is True
    assert {finding["check"] for finding in record["findings"]} == CHECKS
    for finding in record["findings"]:
        assert set(finding) == {"check", "status", "text", "todo", "facts"}
        assert finding["status"] in {"ok", "note", "problem"} and finding["text"]
        assert bool(finding["todo"]) == (finding["status"] != "ok")
    facts = {finding["check"]: finding["facts"] for finding in record["findings"]}
    assert facts["self-test"]["frames"] == self_test.FRAMES and facts["self-test"]["people"] >= self_test.FRAMES
    assert {"decode", "detect", "pose", "encode"} <= set(facts["self-test"]["stage_s"])


def test_lines_for_people_and_an_exit_code():
    shown = run("--no-self-test", "--device", "cuda:77")
    assert shown.exit_code == 1
    assert "problem  --device cuda:77: torch " in shown.stdout
    assert "libx264: overlays are H.264" in shown.stdout
    assert shown.stdout.rstrip().endswith("needs fixing: device")
    assert "self-test" not in shown.stdout


def test_only_notes_are_no_failure(monkeypatch):
    monkeypatch.setattr(doctor, "check_extras", lambda: iter([Finding("extras", "note", "no ray", "get ray")]))
    shown = run("--no-self-test")
    assert shown.exit_code == 0 and "do: get ray" in shown.stdout
    assert shown.stdout.rstrip().endswith("all that jmpose infer needs works, as far as looked at")


def test_a_missing_and_an_old_package(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy>=999", "nobody-has-this>=1", 'ray; extra == "ray"'])
    found = list(doctor.check_packages())
    problems = [f for f in found if f.status == "problem"]
    assert problems[0].text == f"numpy is {np.__version__}, jmpose needs >=999"
    assert problems[0].todo == "pip install 'numpy>=999'"
    assert (problems[1].text, problems[1].todo) == (
        "nobody-has-this is not installed",
        "pip install 'nobody-has-this>=1'",
    )
    assert found[-1].text == "1 of 2 installed" and set(found[-1].facts["versions"]) == {"numpy", "nobody-has-this"}


def test_python_is_too_old(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.1")
    found = only(doctor.check_python(), "problem")
    assert "jmpose needs >=3.11" in found.text and found.todo == "use a newer Python"


def test_torchvision_of_another_torch(monkeypatch):
    def broken(*_):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr("torchvision.ops.nms", broken)
    found = only(doctor.check_torch(), "problem")
    assert "(operator torchvision::nms does not exist)" in found.text and "install both together" in found.todo


@pytest.mark.parametrize("name", ["decord", "av"])
def test_a_decoder_that_does_not_load(monkeypatch, name):
    load = importlib.import_module

    def broken(module):
        if module == name:
            raise OSError("libsomething.so.6: cannot open shared object file")
        return load(module)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = only(doctor.check_decoders(), "problem")
    assert found.text == f"{name} cannot be loaded (libsomething.so.6: cannot open shared object file)"
    assert found.todo.startswith(f"pip install --force-reinstall {name}; or find its package")


@pytest.mark.parametrize(
    ("codecs", "status", "missing"),
    [({"h264", "hevc"}, "note", "; not vp8, vp9"), ({"hevc"}, "problem", "; not h264, vp8")],
)
def test_missing_decoders(monkeypatch, codecs, status, missing):
    monkeypatch.setattr(doctor, "pyav_codecs", lambda: frozenset(codecs))
    found = only(doctor.check_decoders(), status)
    assert missing in found.text and "force-reinstall" in found.todo


def test_no_h264_encoder(monkeypatch):
    monkeypatch.setattr(doctor, "pyav_codecs", lambda: frozenset({"h264", "mpeg4"}))
    found = only(doctor.check_encoder(), "problem")
    assert "no libx264" in found.text and "--no-overlay" in found.todo


@pytest.mark.parametrize("name", ["cache", "temporary files"])
def test_a_folder_that_cannot_be_written_to(monkeypatch, tmp_path, name):
    monkeypatch.setattr(doctor, "is_writable", lambda folder: (folder == tmp_path) == (name == "temporary files"))
    found = only(doctor.check_folders(), "problem")
    assert found.text.startswith(f"{name}: ") and "cannot be written to" in found.text
    assert found.todo.startswith("set JMPOSE_CACHE to" if name == "cache" else "set TMPDIR to")


def test_writing_is_tried(tmp_path):
    assert doctor.is_writable(tmp_path) and not doctor.is_writable(tmp_path / "none")


def test_a_disk_that_is_nearly_full(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 10**8))
    notes = list(doctor.check_folders())
    assert [n.status for n in notes] == ["note", "note"] and "JMPOSE_CACHE to another disk" in notes[0].todo


@pytest.mark.parametrize(
    ("build", "todo"),
    [(None, "this torch is built for the CPU"), ("13.0", "this torch wants CUDA 13.0: update the NVIDIA driver")],
)
def test_a_gpu_that_torch_cannot_use(monkeypatch, build, todo):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(doctor, "nvidia_driver", lambda: "470.1")
    found = only(doctor.check_device("auto"), "note")
    assert "an NVIDIA driver (470.1) is here" in found.text and found.todo.startswith(todo)
    found = only(doctor.check_device("cuda"), "problem")
    assert "--device cuda: torch" in found.text and found.todo.startswith(todo)


def test_no_gpu_though_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "nvidia_driver", lambda: "")
    found = only(doctor.check_device("cuda"), "problem")
    assert "sees 0 CUDA devices" in found.text and found.todo == "use --device cpu, or check the driver"


def test_gpus_are_described(monkeypatch):
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_device_name": "NVIDIA H100",
        "mem_get_info": (40 * 2**30, 80 * 2**30),
        "get_device_capability": (9, 0),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(doctor, "nvidia_driver", lambda: "580.65")
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, device=None: ones(*shape))
    *_, gpu = doctor.check_device("auto")
    assert gpu.status == "ok" and gpu.text == (
        "cuda:0 is NVIDIA H100, 40.0 of 80.0 GiB free, capability 9.0, driver 580.65"
    )

    def broken(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with")

    monkeypatch.setattr(torch, "ones", broken)
    found = only(doctor.check_device("auto"), "problem")
    assert "does not compute: CUDA error: no kernel image" in found.text and "nvidia-smi" in found.todo


def test_the_driver_is_asked_for_its_version(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    answer = SimpleNamespace(stdout="580.65.06\n580.65.06\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert doctor.nvidia_driver() == "580.65.06"

    def broken(*_, **__):
        raise subprocess.CalledProcessError(9, "nvidia-smi")

    monkeypatch.setattr(subprocess, "run", broken)
    assert doctor.nvidia_driver() == ""


def test_models_that_are_not_at_hand():
    found = [f for f in doctor.check_models(InferOptions(model="nanno", detector="dfine-s")) if f.status == "problem"]
    assert found[0].text.startswith("--model nanno") and found[1].text.count("dfine-s")
    assert all(finding.todo for finding in found)


def test_nothing_optional_is_here(monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    assert [(f.status, f.todo) for f in doctor.check_extras()] == [
        ("note", "for --ray: pip install 'jmpose[ray]'"),
        ("note", "for jmpose train: pip install 'jmpose[train]'"),
        ("note", "for jmpose train: pip install 'jmpose[train]'"),
        ("note", "for --format parquet: pip install 'jmpose[parquet]'"),
        ("note", "for --compile: install g++"),
    ]


def test_licences_of_code_and_weights():
    text = "\n".join(finding.text for finding in doctor.check_licences())
    assert "jmpose is AGPL-3.0-or-later" in text and "ultralytics (AGPL-3.0)" in text
    assert "Apache-2.0, run by transformers: dfine-" in text
    assert "nano: AGPL-3.0-or-later; " in text and "nano.md" in text


def test_a_check_that_breaks_is_a_problem_and_the_others_go_on(monkeypatch):
    def broken():
        raise ValueError("odd metadata")

    monkeypatch.setattr(doctor, "check_python", broken)
    found = list(doctor.examine(InferOptions(), self_test=False))
    assert found[0] == Finding("python", "problem", "ValueError: odd metadata", doctor._REINSTALL)
    assert {finding.check for finding in found} == CHECKS - {"self-test"}


def test_a_self_test_that_fails_says_why(monkeypatch):
    def broken(**_):
        raise JmposeError("no decoder takes this", hint="try another")

    monkeypatch.setattr(self_test, "run_self_test", broken)
    found = only(doctor.examine(InferOptions(), self_test=True), "problem")
    assert (found.check, found.text, found.todo) == ("self-test", "no decoder takes this", "try another")


def test_a_detector_that_finds_nobody_is_a_problem(monkeypatch):
    monkeypatch.setattr(OnnxDetector, "detect", lambda self, frames, **_: [Detections.empty() for _ in frames])
    (found,) = doctor.check_by_running(InferOptions())
    assert found.status == "problem" and "0 poses" in found.text and "another --detector" in found.todo


def test_the_example_is_needed(monkeypatch):
    monkeypatch.setattr(self_test, "EXAMPLE", Path("/none/street.mp4"))
    with pytest.raises(JmposeError, match=r"street\.mp4: the example video is not there"):
        self_test.run_self_test()


def test_without_what_the_checks_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "jmpose_cli.upkeep.doctor", None)
    shown = run()
    assert shown.exit_code == 1
    assert "error: jmpose is not whole: " in shown.stderr and "hint: install it again" in shown.stderr
