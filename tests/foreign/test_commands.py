"""Graphs by name and by command: rtmlib's cache, `jmpose models`, a run and its record."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jmpose_cli.annotate.networks import are_those_of_before, load_networks
from jmpose_cli.config import build_config
from jmpose_cli.errors import JmposeError
from jmpose_cli.foreign.graph import graph_sha256
from jmpose_cli.known_weights import choose_detector, choose_model
from jmpose_cli.main import run
from jmpose_cli.upkeep.model_check import EXAMPLE
from tests.foreign.small_graphs import constant_graph, heatmap_graph, simcc_graph
from tests.foreign.test_box_graph import grid

RTMPOSE = "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504"


@pytest.fixture
def rtmlib(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "rtmlib" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    simcc_graph(folder / f"{RTMPOSE}.onnx")
    constant_graph(folder / "yolox_m_8xb8-300e_humanart-c2c7a14a.onnx", grid())
    return folder


def jmpose(capfd, *words: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["jmpose", *words])
        run()
    return int(ended.value.code or 0), *capfd.readouterr()


def test_what_rtmlib_has_fetched_is_found_by_name(rtmlib, tmp_path):
    for name in (RTMPOSE, "rtmpose-m", "rtmpose-m_simcc-body7", f"{RTMPOSE}.zip"):
        choice = choose_model(name)
        assert choice.path == rtmlib / f"{RTMPOSE}.onnx" and "rtmlib" in choice.reason
    assert choose_detector("yolox_m", on_gpu=False).path.parent == rtmlib
    for name in ("rtmpose-s", "rtmpose-m_simcc-bo", "-"):
        with pytest.raises(JmposeError):
            choose_model(name)
    simcc_graph(rtmlib / "rtmpose-m_simcc-body8.onnx")
    with pytest.raises(JmposeError, match="rtmlib has fetched 2 models that begin so"):
        choose_model("rtmpose-m")


@pytest.mark.parametrize("option", ["--init", "export"])
def test_graphs_are_run_and_no_more(tmp_path, option):
    path = heatmap_graph(tmp_path / "net.onnx")
    assert choose_model(str(path)).path == path
    with pytest.raises(JmposeError, match="neither trained nor written anew"):
        choose_model(str(path), option=option, graphs=False)


def test_models_lists_shows_checks_and_does_not_convert(rtmlib, tmp_path, capfd):
    code, out, _ = jmpose(capfd, "models", "list", "--json")
    fetched = [model for model in json.loads(out) if "rtmlib" in (model["from"] or {})]
    assert code == 0 and (fetched[0]["name"], fetched[0]["kind"]) == (RTMPOSE, "pose") and len(fetched) == 2
    code, out, _ = jmpose(capfd, "models", "show", "rtmpose-m")
    assert code == 0 and "# kind: pose" in out and "split_ratio: 2.0" in out and "input_hw: [256, 192]" in out
    net = rtmlib / f"{RTMPOSE}.onnx"
    net.with_suffix(".yaml").write_text(out)  # what is shown can be kept
    assert jmpose(capfd, "models", "show", str(net))[1].splitlines()[6:] == out.splitlines()[6:]
    code, out, _ = jmpose(capfd, "models", "show", str(rtmlib / "yolox_m_8xb8-300e_humanart-c2c7a14a.onnx"))
    assert code == 0 and "# kind: detector" in out and "family: yolox" in out and "fit: corner" in out
    code, _, errors = jmpose(capfd, "models", "check", "rtmpose-m", "yolox_m")
    assert code == 0 and "a pose by onnx" in errors and "a frame's boxes are the same" in errors
    code, _, errors = jmpose(capfd, "models", "convert", str(net), str(tmp_path))
    assert code != 0 and "is a graph, which is run as it is" in errors and "models show" in errors
    (tmp_path / "page.onnx").write_text("<html>")
    code, _, errors = jmpose(capfd, "models", "show", str(tmp_path / "page.onnx"))
    assert code != 0 and errors.count("is no whole ONNX file") == 1


def test_a_run_notes_the_files_and_is_resumed_with_the_same(tmp_path, capfd):
    pose, boxes = simcc_graph(tmp_path / "rtmpose.onnx"), constant_graph(tmp_path / "yolox.onnx", grid())
    given = {"pose.model": str(pose), "people.detector": str(boxes), "device": "cpu", "people.reid": "none"}
    config = build_config(file=None, assignments=[], options=given)
    networks, header = load_networks(config)
    networks.close()
    weights = networks.info["weights"]
    assert weights["model"] == {"name": "rtmpose", "sha256": graph_sha256(pose)}
    assert weights["detector"] == {"name": "yolox", "sha256": graph_sha256(boxes)}
    assert networks.info["engine"] == {"model": "onnx", "detector": "onnx"}
    assert "SimCC, split ratio 2" in header["model"] and "YOLOX by onnx" in header["people"]
    assert are_those_of_before(config, weights)
    (tmp_path / "yolox.yaml").write_text("start_score: 0.3")
    assert not are_those_of_before(config, weights)
    words = ("--device", "cpu", "--frames", "0:2", "--set", "people.reid=none", "--set", "run.workers=0")
    named = ("--model", str(pose), "--detector", str(boxes), "-o", str(tmp_path / "out"))
    code, _, errors = jmpose(capfd, "infer", str(EXAMPLE), *named, *words)
    assert code == 0, errors
    (record,) = (tmp_path / "out").rglob("run.json")
    noted = json.loads(record.read_text())["weights"]
    assert noted["model"] == weights["model"] and noted["detector"]["sha256"] == graph_sha256(boxes)


@pytest.fixture
def openvino_model(tmp_path) -> Path:
    openvino = pytest.importorskip("openvino", reason="OpenVINO's files are run by the extra openvino")
    read = openvino.Core().read_model(heatmap_graph(tmp_path / "net.onnx"))  # its converter would send usage
    folder = tmp_path / "of-openvino"
    openvino.save_model(read, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def test_openvino_gives_what_onnx_runtime_gives(openvino_model, tmp_path):
    from tests.foreign.test_pose_graph import picture, poses

    frame = picture((131.25, 90.5))
    found, about = poses(openvino_model, frame, threads=2)
    wanted, _ = poses(tmp_path / "net.onnx", frame)
    assert abs(found.xy_image - wanted.xy_image).max() < 0.01 and "by openvino" in about
    assert graph_sha256(openvino_model) != graph_sha256(tmp_path / "net.onnx")


def test_openvino_tells_nobody_of_its_use(openvino_model):
    program = (
        "import sys; from pathlib import Path; from jmpose_cli.pose.pose_graph import open_pose_graph; "
        f"open_pose_graph(Path({str(openvino_model)!r})); "
        "assert 'openvino' in sys.modules and 'openvino_telemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_is_wrong_with_openvino_is_said(openvino_model, monkeypatch):
    from jmpose_cli.pose.pose_graph import open_pose_graph

    weights = openvino_model.with_suffix(".bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JmposeError, match="OpenVINO cannot read it"):
        open_pose_graph(openvino_model)
    weights.write_bytes(whole)
    page = openvino_model.read_bytes()
    for text, said in ((b"<html>", "is no file of OpenVINO"), (page[:900], "OpenVINO cannot read it")):
        openvino_model.write_bytes(text)
        with pytest.raises(JmposeError, match=said) as caught:
            open_pose_graph(openvino_model)
        assert "Exception from" not in caught.value.message
    weights.unlink()
    with pytest.raises(JmposeError, match=r"its weights model.bin are not beside it"):
        open_pose_graph(openvino_model)
    monkeypatch.setattr("jmpose_cli.extras.find_spec", lambda name: None)
    with pytest.raises(JmposeError, match="openvino is not installed") as caught:
        open_pose_graph(openvino_model)
    assert caught.value.hint == "pip install 'jmpose[openvino]'"


def test_a_copy_without_its_weights_has_another_checksum(openvino_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(openvino_model.parent, other)
    assert graph_sha256(other / "model.xml") == graph_sha256(openvino_model)
    with (other / "model.bin").open("r+b") as file:
        file.write(b"\x01\x02\x03")
    assert graph_sha256(other / "model.xml") != graph_sha256(openvino_model)
