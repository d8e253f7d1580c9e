"""`jmpose models`, and models by name in the other commands, on a Hub and a web of this machine."""

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from jmpose import foreign
from jmpose.config import BackboneSpec
from jmpose.keypoints import COCO17
from jmpose.presets import CONFIGS
from jmpose_cli.device import cpu_has_int8
from jmpose_cli.errors import JmposeError
from jmpose_cli.main import app
from jmpose_cli.upkeep import model_check
from jmpose_cli.zoo.catalogue import CATALOGUE, HubRepo, WebFile
from jmpose_cli.zoo.store import SHIPPED, known_models
from tests.conftest import ROOT
from tests.jmpose.official_hrnet import random_weights
from tests.jmpose.tiny_vitpose import save_vitpose
from tests.zoo.hub_assets import fake_hub
from tests.zoo.web_assets import web

CLIP = ROOT / "examples" / "street.mp4"
TRUTH = ROOT / "examples" / "street.posetrack18.json"


def run(*arguments: object) -> "object":
    """Run in this process; a JmposeError comes through as it is."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if isinstance(result.exception, JmposeError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def vitpose(tmp_path_factory) -> dict[str, bytes]:
    """The files of a small ViTPose."""
    folder = tmp_path_factory.mktemp("vitpose")
    save_vitpose(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def listed(monkeypatch, name, **changes):
    monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], **changes))


def test_list_shows_every_model_and_where_it_is():
    lines = run("models", "list").stdout.splitlines()
    rows = {words[0]: words for line in lines if (words := line.split())}
    assert rows["nano"][1:4] == ["pose", "shipped", "224x160"] and rows["person-nano"][1:3] == ["detector", "shipped"]
    assert rows["small"][1:4] == ["pose", "shipped", "288x192"]
    assert rows["vitpose-b"][1:7] == ["pose", "available", "256x192", "coco17", "90", "M"]
    assert set(CATALOGUE) < set(rows)


def test_list_as_json_of_one_kind():
    found = json.loads(run("models", "list", "--json", "--kind", "detector").stdout)
    assert {entry["kind"] for entry in found} == {"detector"} and found[0]["name"] == "person-nano"
    assert len({frozenset(entry) for entry in found[1:]}) == 1


def test_show_has_everything_of_a_shipped_model():
    found = json.loads(run("models", "show", "nano", "--json").stdout)
    assert found["parameters_millions"] > 1 and found["keypoint_set"] == "coco17_head" and found["window_frames"] == 5
    assert found["calibration"]["people"] > 200
    assert "OKS AP" in found["measured"] and "COCO" in found["training_data"] and "AGPL" in found["weights_licence"]
    weights = next(file for file in found["files"] if file["path"].endswith("nano.safetensors"))
    assert weights["sha256"] == found["recorded"]["sha256"]
    assert weights["sha256"] == hashlib.sha256((SHIPPED / "nano.safetensors").read_bytes()).hexdigest()


def test_show_says_how_to_get_what_is_not_here(cache):
    text = " ".join(run("models", "show", "hrnet-w48-posetrack18-384x288").stdout.split())
    assert "AP 84.6" in text and "none of its own" in text and "the first 8 digits" in text
    assert "jmpose models pull hrnet-w48-posetrack18-384x288" in text and str(cache) in text


@pytest.mark.parametrize("words", [("show", "vitpos"), ("pull", "vitpos"), ("check", "vitpos")])
def test_unknown_names_get_the_nearest(words):
    if words[0] == "show":
        with pytest.raises(JmposeError, match="no model has this name") as caught:
            run("models", *words)
        shown = caught.value.hint
    else:
        result = run("models", *words)
        assert result.exit_code == 1
        shown = result.stderr
    assert "did you mean vitpose-b" in shown


def test_pull_fetches_verifies_and_says_where(cache, monkeypatch, vitpose):
    listed(monkeypatch, "vitpose-b", place=HubRepo("owner/pose"))
    content = b"a YOLO"
    with fake_hub(monkeypatch, {"owner/pose": vitpose}), web(files={"/yolo26n.pt": content}) as served:
        place = WebFile(f"{served.url}/yolo26n.pt", hashlib.sha256(content).hexdigest())
        listed(monkeypatch, "yolo26n", place=place)
        result = run("models", "pull", "vitpose-b", "yolo26n", "nano")
    assert result.exit_code == 0 and "fetching owner/pose" in result.stderr
    assert f"{cache}/hub/owner/pose" in result.stderr and "compared with the Hub's" in result.stderr
    assert f"{cache}/yolo26n.pt" in result.stderr and "nano.safetensors (shipped)" in result.stderr
    names = {line.split()[0]: line.split()[2] for line in run("models", "list").stdout.splitlines() if line.strip()}
    assert names["vitpose-b"] == names["yolo26n"] == "cached"
    assert run("models", "pull", "vitpose-b", "yolo26n", "--offline").exit_code == 0


def test_pull_goes_on_after_one_that_fails(monkeypatch, vitpose):
    listed(monkeypatch, "vitpose-b", place=HubRepo("owner/pose"))
    listed(monkeypatch, "vitpose-plus-s", place=HubRepo("owner/gone"))
    with fake_hub(monkeypatch, {"owner/pose": vitpose}):
        result = run("models", "pull", "vitpose-plus-s", "vitpose-b")
    assert result.exit_code == 1 and "owner/gone is no repository of the Hub" in result.stderr
    assert "hub/owner/pose" in result.stderr


def test_a_model_of_the_hub_is_fetched_when_it_is_named_and_used_offline_after_that(tmp_path, monkeypatch, vitpose):
    words = ["infer", CLIP, "--boxes", TRUTH, "--frames", "0:2", "--no-overlay", "--workers", "0"]
    with fake_hub(monkeypatch, {"owner/pose": vitpose}) as served:
        assert run(*words, "--model", "owner/pose", "--out", tmp_path / "a", "--quiet").exit_code == 0
        assert "model.safetensors" in served.bodies
    offline = run(*words, "--model", "owner/pose", "--out", tmp_path / "b", "--offline")
    assert offline.exit_code == 0 and "not calibrated: joints get no probabilities" in " ".join(offline.output.split())
    first, second = (json.loads((tmp_path / name / "street" / "run.json").read_text()) for name in "ab")
    assert first["weights"]["model"] == second["weights"]["model"]
    assert first["weights"]["model"]["sha256"] == hashlib.sha256(vitpose["model.safetensors"]).hexdigest()


@pytest.mark.parametrize(
    "words",
    [
        ("infer", CLIP, "--model", "vitpose-b", "--offline"),
        ("infer", CLIP, "--detector", "yolo26s", "--offline"),
        ("infer", CLIP, "--model", "owner/pose", "--set", "run.offline=true"),
        ("eval", "--data", "{data}", "--protocol", "coco", "--boxes", "gt", "--model", "vitpose-b", "--offline"),
    ],
)
def test_offline_names_what_is_missing(tmp_path, words):
    person = {"id": 1, "name": "person", "keypoints": list(COCO17.joints), "skeleton": []}
    image = {"id": 1, "file_name": "1.jpg", "width": 64, "height": 64}
    found = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 40, 40], "area": 1600, "iscrowd": 0}
    found |= {"keypoints": [20, 20, 2] * 17, "num_keypoints": 17}
    truth = {"images": [image], "annotations": [found], "categories": [person]}
    (tmp_path / "val.json").write_text(json.dumps(truth))
    (tmp_path / "1.jpg").touch()
    words = [str(word).format(data=tmp_path / "val.json") for word in words]
    with pytest.raises(JmposeError, match=r"is not on this machine and nothing is fetched \(--offline\)") as caught:
        run(*words, "--out", tmp_path / "out")
    assert "fetch " in caught.value.hint and str(tmp_path / "cache") in caught.value.hint


def test_auto_never_fetches(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with fake_hub(monkeypatch, {}) as served:
        assert run("infer", CLIP, "--frames", "0:1", "--no-overlay", "--workers", "0", "--quiet").exit_code == 0
        assert served.asked == []


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("some.pth", b"", "is not a weights file", "jmpose models convert"),
        ("some.txt", b"", "is not a weights file", "shipped: nano, small, auto"),
        ("folder/README", b"", r"folder holds 0 weights files|no", ""),
        ("nano2.safetensors", None, "is neither a known name nor a file", "files end in .safetensors"),
        ("yolo26n", None, "is a person detector", "shipped: nano, small, auto"),
    ],
)
def test_what_model_does_not_take(tmp_path, monkeypatch, name, content, message, hint):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)
    given = name.split("/")[0]
    with pytest.raises(JmposeError, match=message) as caught:
        run("infer", CLIP, "--model", given, "--out", "out", "--workers", "0", "--quiet")
    assert hint in caught.value.hint


@pytest.fixture
def pth(tmp_path, monkeypatch) -> Path:
    """A file of HRNet's authors, of a width that is made known for the test."""
    base = CONFIGS["hrnet-w32"]
    tiny = replace(base, backbone=BackboneSpec("hrnet", "hrnet_w18_small", 16), channels=8, head_channels=8, heads=2)
    monkeypatch.setitem(CONFIGS, "tiny", tiny)
    monkeypatch.setitem(foreign._HRNET.configs, 16, "tiny")
    torch.save(random_weights("hrnet_w18_small"), tmp_path / "pose_hrnet_256x192.pth")
    return tmp_path / "pose_hrnet_256x192.pth"


def test_convert_takes_known_joints_only(pth, tmp_path):
    with pytest.raises(JmposeError, match="hands") as caught:
        run("models", "convert", pth, tmp_path / "out", "--keypoints", "hands")
    assert "coco17" in caught.value.hint and not (tmp_path / "out").exists()


def test_convert_writes_weights_and_says_what_became_of_them(pth, tmp_path):
    out = tmp_path / "out"
    shown = run("models", "convert", pth, out, "--keypoints", "coco17", "--input", "256x192").stdout
    assert "matched" in shown and f"written: {out / 'pose_hrnet_256x192.safetensors'}" in shown.replace("\n", "")
    assert {p.name for p in out.iterdir()} == {"pose_hrnet_256x192.safetensors", "pose_hrnet_256x192.json"}
    with pytest.raises(JmposeError, match=r"pose_hrnet_256x192\.safetensors exists") as caught:
        run("models", "convert", pth, out)
    assert "--overwrite" in caught.value.hint
    before = (out / "pose_hrnet_256x192.safetensors").read_bytes()
    assert run("models", "convert", pth, out, "--overwrite").exit_code == 0
    assert (out / "pose_hrnet_256x192.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"no weights", (), "some.pth"),
        (None, (), "some.pth does not exist"),
        (b"", ("--input", "big"), "--input big: not a size"),
    ],
)
def test_what_convert_refuses(tmp_path, content, words, message):
    if content is not None:
        (tmp_path / "some.pth").write_bytes(content)
    with pytest.raises(JmposeError, match=message) as caught:
        run("models", "convert", tmp_path / "some.pth", tmp_path / "out", *words)
    assert caught.value.hint and not (tmp_path / "out").exists()


def test_convert_runs_no_code_in_a_file(tmp_path):
    torch.save({"state_dict": subprocess.run}, tmp_path / "some.pth")
    with pytest.raises(JmposeError, match="is not weights alone"):
        run("models", "convert", tmp_path / "some.pth", tmp_path / "out")


def test_a_listed_file_of_another_project_is_fetched_and_converted(pth, cache, monkeypatch):
    name, content = "hrnet-w32-coco-256x192", pth.read_bytes()
    with web(files={"/hrnet.pth": content}) as served:
        listed(monkeypatch, name, place=WebFile(f"{served.url}/hrnet.pth", hashlib.sha256(content).hexdigest()[:8]))
        result = run("models", "pull", name)
    assert result.exit_code == 0, result.stderr
    assert "converting hrnet.pth" in result.stderr and "the first 8 digits in its name" in result.stderr
    assert {p.name for p in cache.iterdir()} == {"hrnet.pth", f"{name}.safetensors", f"{name}.json"}
    assert run("models", "check", name).exit_code == 0


def test_check_reproduces_the_recorded_results():
    result = run("models", "check")
    assert result.exit_code == 0, result.stderr
    for words in ("is the recorded one", "all finite", "differ by 0 px", "recorded joints within", "recorded boxes"):
        assert words in result.stderr


def test_check_of_a_model_of_the_hub(monkeypatch, vitpose):
    listed(monkeypatch, "vitpose-b", place=HubRepo("owner/pose"))
    assert "jmpose models pull vitpose-b" in run("models", "check", "vitpose-b").stderr
    with fake_hub(monkeypatch, {"owner/pose": vitpose}):
        run("models", "pull", "vitpose-b")
    result = run("models", "check", "vitpose-b")
    assert result.exit_code == 0, result.stderr
    assert "compared with the Hub's" in result.stderr and "3 poses of 17 joints" in result.stderr


@pytest.fixture
def other_record(tmp_path, monkeypatch):
    """Change the record of a shipped model, for the test."""

    def change(name, **changes):
        record = json.loads((SHIPPED / f"{name}.record.json").read_text()) | changes
        monkeypatch.setattr(model_check, "read_record", lambda _: record)
        return record

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0.7, 0, 0), r"within 0\.7 px \(allowed 0\.5\)"),
        ((0, 0, 0.05), r"scores within 0\.05 \(allowed 0\.02\)"),
    ],
)
def test_check_finds_results_that_differ(change, message):
    recorded = [[[[10.0, 20.0, 0.9], [50.0, 60.0, 0.1]]]]
    changed = [[[[a + b for a, b in zip(recorded[0][0][0], change, strict=True)], [90.0, 60.0, 0.1]]]]
    assert "within 0 px" in model_check._compare_joints("nano", recorded, recorded)
    with pytest.raises(JmposeError, match=f"nano does not reproduce its recorded results: .*{message}"):
        model_check._compare_joints("nano", changed, recorded)


def test_check_finds_results_of_another_shape():
    with pytest.raises(JmposeError, match=r"nano gives joints \[1, 1, 1, 3\], recorded are \[1, 1, 2, 3\]"):
        model_check._compare_joints("nano", [[[[1.0, 2.0, 0.5]]]], [[[[1.0, 2.0, 0.5], [1.0, 2.0, 0.5]]]])


@pytest.mark.parametrize("what", ["joints_median_px", "joints_p95_px", "scores_median"])
def test_check_finds_an_int8_graph_that_is_too_far_off(what):
    recorded = json.loads((SHIPPED / "small.record.json").read_text())["int8"]
    assert "95 % within px" in model_check._compare_int8("small", recorded)
    with pytest.raises(JmposeError, match="small in int8 does not give what its weights give: recorded joints"):
        model_check._compare_int8("small", recorded | {what: 5.0})


@pytest.mark.skipif(not cpu_has_int8(), reason="no arithmetic for it")
def test_check_runs_small_in_int8(monkeypatch):
    result = run("models", "check", "small")
    assert result.exit_code == 0 and "in int8: recorded joints: half within px" in result.stderr
    outputs = json.loads((SHIPPED / "small.record.json").read_text())["outputs"]
    moved = [[[[x + 3, y, score] for x, y, score in person] for person in frame] for frame in outputs]
    entry = known_models()["small"]
    assert model_check._int8(entry, moved)["joints_median_px"] > 2
    monkeypatch.setattr(model_check, "cpu_has_int8", lambda: False)
    assert "in int8: not checked" in run("models", "check", "small").stderr


def test_check_finds_boxes_that_differ(other_record):
    outputs = json.loads((SHIPPED / "person-nano.record.json").read_text())["outputs"]
    other_record("person-nano", outputs=[[*frame, [0, 0, 50, 100, 0.9]] for frame in outputs])
    result = run("models", "check", "person-nano")
    assert result.exit_code == 1 and "overlap with IoU 0.000" in result.stderr


def test_check_finds_other_weights(other_record):
    other_record("nano", sha256="0" * 64)
    result = run("models", "check", "nano")
    assert result.exit_code == 1 and "recorded is 0000000000000000" in result.stderr
    assert "jmpose models check nano --record" in result.stderr


def test_check_without_a_record_says_how_to_make_one(other_record):
    other_record("person-nano", outputs=None)
    assert "jmpose models check person-nano --record" in run("models", "check", "person-nano").stderr


def test_check_finds_looks_that_differ(other_record):
    assert run("models", "check", "reid-nano").exit_code == 0
    outputs = json.loads((SHIPPED / "reid-nano.record.json").read_text())["outputs"]
    other_record("reid-nano", outputs=outputs[::-1])
    result = run("models", "check", "reid-nano")
    assert result.exit_code == 1 and "does not reproduce its recorded results: recorded looks" in result.stderr
    other_record("reid-nano", outputs=outputs[:1])
    assert "recorded are [1, 128]" in run("models", "check", "reid-nano").stderr


def test_a_network_of_appearance_is_listed_and_shown():
    assert "reid-nano" in run("models", "list", "--kind", "reid").stdout
    shown = json.loads(run("models", "show", "reid-nano", "--json").stdout)
    assert (shown["kind"], shown["state"], shown["input_height"]) == ("reid", "shipped", 128)
    assert "OSNet" in shown["training_data"] and shown["measured"]
    with pytest.raises(JmposeError, match="reid-nano is a network of appearance, not a pose model"):
        run("infer", ROOT / "examples" / "street.mp4", "--model", "reid-nano")


def test_record_keeps_what_check_compares(tmp_path, monkeypatch):
    monkeypatch.setattr(model_check, "SHIPPED", tmp_path)
    assert run("models", "check", "person-nano", "--record").exit_code == 0
    made, kept = (json.loads((folder / "person-nano.record.json").read_text()) for folder in (tmp_path, SHIPPED))
    assert {**made, "made_with": "", "outputs": []} == {**kept, "made_with": "", "outputs": []}
    assert [len(frame) for frame in made["outputs"]] == [len(frame) for frame in kept["outputs"]]


def test_only_shipped_models_are_recorded(monkeypatch, vitpose):
    listed(monkeypatch, "vitpose-b", place=HubRepo("owner/pose"))
    with fake_hub(monkeypatch, {"owner/pose": vitpose}):
        run("models", "pull", "vitpose-b")
    assert "records are kept of shipped models only" in run("models", "check", "vitpose-b", "--record").stderr


def test_an_absent_device_is_an_error():
    with pytest.raises(JmposeError, match="--device cuda:77"):
        run("models", "check", "nano", "--device", "cuda:77")
