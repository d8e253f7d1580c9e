import hashlib
import json

import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo import hub
from jmpose_cli.zoo.catalogue import HubRepo
from tests.zoo.hub_assets import COMMIT, fake_hub

CONFIG = json.dumps({"model_type": "vitpose"}).encode()
WEIGHTS = bytes(range(256)) * 8
REPO = {
    "README.md": b"a card",
    "model.safetensors": WEIGHTS,
    "config.json": CONFIG,
    "preprocessor_config.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "code.py": b"code",
}
PLACE = HubRepo("owner/pose")


def test_configuration_and_weights_are_fetched_and_nothing_else(tmp_path, monkeypatch):
    with fake_hub(monkeypatch, {"owner/pose": REPO}) as served:
        hub.fetch(PLACE, tmp_path / "m", kind="pose")
        assert served.bodies == ["config.json", "model.safetensors", "preprocessor_config.json"]
        assert len(served.asked) == 4  # nothing else is asked
    names = {p.name for p in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json", "SHA256SUMS"}
    assert (tmp_path / "m/model.safetensors").read_bytes() == WEIGHTS
    assert hub.recorded_sha256(tmp_path / "m/model.safetensors") == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_revision_is_asked_for(tmp_path, monkeypatch):
    with fake_hub(monkeypatch, {"owner/pose": REPO}) as served:
        hub.fetch(HubRepo("owner/pose", revision="b" * 40), tmp_path / "m", kind="pose")
        assert served.asked[0][0] == f"/api/models/owner/pose/revision/{'b' * 40}"
        assert all(f"/resolve/{COMMIT}/" in path for path, _ in served.asked[1:])


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.safetensors.partial").write_bytes(WEIGHTS[:1500])
    with fake_hub(monkeypatch, {"owner/pose": REPO}) as served:
        hub.fetch(PLACE, tmp_path / "m", kind="pose")
        assert (f"/owner/pose/resolve/{COMMIT}/model.safetensors", "bytes=1500-") in served.asked
    assert (tmp_path / "m/model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("named_by", ["catalogue", "hub"])
def test_another_checksum_is_an_error(tmp_path, monkeypatch, named_by):
    place = HubRepo("owner/pose", sha256="0" * 64) if named_by == "catalogue" else PLACE
    sums = {} if named_by == "catalogue" else {"model.safetensors": "0" * 64}
    with (
        fake_hub(monkeypatch, {"owner/pose": REPO}, sums=sums),
        pytest.raises(JmposeError, match=r"model\.safetensors .* has sha256 .* expected 0{16}"),
    ):
        hub.fetch(place, tmp_path / "m", kind="pose")
    assert not hub.is_complete(tmp_path / "m")


def test_the_token_is_given_to_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with fake_hub(monkeypatch, {"owner/pose": REPO}) as served:
        hub.fetch(PLACE, tmp_path / "m", kind="pose")
        assert set(served.tokens) == {"Bearer secret"}


def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(tmp_path, monkeypatch):
    with (
        fake_hub(monkeypatch, {"owner/pose": REPO}) as served,
        pytest.raises(JmposeError, match=r"no person detector .* \(model_type 'vitpose'\)") as caught,
    ):
        hub.fetch(PLACE, tmp_path / "m", kind="detector")
        assert served.bodies == ["config.json"]
    assert "rt_detr, rt_detr_v2, d_fine" in caught.value.hint


@pytest.mark.parametrize(
    ("codes", "message", "hint"),
    [
        ((404, "RepoNotFound"), "owner/pose is no repository of the Hub", "check the name"),
        ((404, "RevisionNotFound"), "has no revision None", "put them into"),
        ((403, "GatedRepo"), "asks for an agreement", "hf auth login"),
        ((500, ""), "cannot be fetched from the Hub: .*500", "put them into"),
    ],
)
def test_what_the_hub_refuses_is_said(tmp_path, monkeypatch, codes, message, hint):
    with fake_hub(monkeypatch, {}, codes={"owner/pose": codes}), pytest.raises(JmposeError, match=message) as caught:
        hub.fetch(PLACE, tmp_path / "m", kind="pose")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model.safetensors": WEIGHTS}, r"has no config\.json"),
        ({"config.json": b"[]"}, "model_type None"),
        ({"config.json": CONFIG, "pytorch_model.bin": b"a pickle"}, r"holds no model\.safetensors"),
    ],
)
def test_a_repository_without_what_is_needed(tmp_path, monkeypatch, files, message):
    with fake_hub(monkeypatch, {"owner/pose": files}), pytest.raises(JmposeError, match=message) as caught:
        hub.fetch(PLACE, tmp_path / "m", kind="pose")
    assert caught.value.hint


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/tmp/evil.safetensors", "a/b.safetensors", "..\\\\e.safetensors"]
)
def test_files_of_a_repository_stay_in_its_folder(tmp_path, monkeypatch, name):
    files = {"config.json": CONFIG, "model.safetensors": WEIGHTS, name: b"evil"}
    with fake_hub(monkeypatch, {"owner/pose": files}):
        hub.fetch(PLACE, tmp_path / "m" / "p", kind="pose")
    found = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"config.json", "model.safetensors", "SHA256SUMS"}


def test_no_network_names_the_files_and_where_to_put_them(tmp_path, monkeypatch):
    with fake_hub(monkeypatch, {}):
        pass
    with pytest.raises(JmposeError, match=r"owner/pose cannot be fetched from the Hub: .*refused") as caught:
        hub.fetch(PLACE, tmp_path / "m", kind="pose")
    assert f"from https://huggingface.co/owner/pose/tree/main and put them into {tmp_path / 'm'}" in caught.value.hint


def test_a_name_that_is_no_id(tmp_path, monkeypatch):
    with fake_hub(monkeypatch, {}), pytest.raises(JmposeError, match="is no id of the Hub"):
        hub.fetch(HubRepo("a b/c"), tmp_path / "m", kind="pose")


@pytest.mark.parametrize(
    ("files", "complete"),
    [
        ({}, False),
        ({"config.json": "{}"}, False),
        ({"model.safetensors": ""}, False),
        ({"config.json": "{}", "model.safetensors": ""}, True),
        ({"config.json": "{}", "model.safetensors.index.json": "not JSON"}, False),
        ({"config.json": "{}", "model.safetensors.index.json": "[" * 100_000}, False),
        ({"config.json": "{}", "model.safetensors.index.json": "[1]"}, False),
        ({"config.json": "{}", hub.INDEX: '{"weight_map": {"a": "../x/config.json"}}'}, False),
        ({"config.json": "{}", hub.INDEX: '{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'}, False),
        (
            {
                "config.json": "{}",
                hub.INDEX: '{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}',
                "1.safetensors": "",
                "2.safetensors": "",
            },
            True,
        ),
    ],
)
def test_when_a_folder_is_complete(tmp_path, files, complete):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert hub.is_complete(tmp_path) == complete


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_environment_switches_the_network_off(monkeypatch, value, offline):
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert hub.is_offline() == offline


def test_weights_that_were_put_there_by_hand_have_no_recorded_checksum(tmp_path):
    assert hub.recorded_sha256(tmp_path / "model.safetensors") == ""
