import hashlib
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from jmpose.files import file_sha256
from jmpose_cli.errors import JmposeError
from jmpose_cli.zoo import store
from jmpose_cli.zoo.catalogue import CATALOGUE, ByHand, HubRepo, WebFile
from jmpose_cli.zoo.names import is_hub_id, named_entry, nearest
from jmpose_cli.zoo.store import Access, bring, by_hand, find_entry, location, state, verify
from tests.zoo.hub_assets import fake_hub
from tests.zoo.web_assets import web

CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
VITPOSE, YOLO, HRNET = "vitpose-b", "yolo26n", "hrnet-w48-posetrack18-384x288"
OFFICIAL = "hrnet-w48-coco-384x288-official"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.mark.parametrize("file", sorted(store.SHIPPED.rglob("*.safetensors")), ids=lambda file: file.stem)
def test_shipped_weights_are_stored_in_half_precision(file):
    assert {value.dtype for value in load_file(file).values() if value.ndim > 1} == {torch.float16}


def small(name, url=""):
    """A listed model with weights of a few bytes."""
    entry = CATALOGUE[name]
    if isinstance(entry.place, HubRepo):
        return replace(entry, place=replace(entry.place, sha256=SHA256))
    return replace(entry, place=WebFile(f"{url}/{entry.place.name}", SHA256))


def test_shipped_models_describe_themselves():
    nano, small_one, person = (find_entry(name) for name in ("nano", "small", "person-nano"))
    assert (nano.kind, nano.keypoint_set, nano.input_hw, nano.window_frames) == ("pose", "coco17_head", (224, 160), 5)
    assert (small_one.kind, small_one.input_hw, small_one.window_frames) == ("pose", (288, 192), 5)
    assert (person.kind, person.input_hw) == ("detector", (416, 416))
    reid = find_entry("reid-nano")
    assert (reid.kind, reid.input_hw, reid.keypoint_set) == ("reid", (128, 64), "")
    assert store.card_section(reid, "Data") and store.card_section(reid, "Licence")
    assert state(nano) == state(person) == "shipped" and bring(nano, Access(offline=True)).is_file()
    assert store.card_section(nano, "Figures") and store.card_section(nano, "Nothing") == ""


def test_records_fit_the_shipped_weights():
    """Made anew by `jmpose models check --record` after each training."""
    for name in ("nano", "small", "person-nano", "reid-nano"):
        assert store.read_record(name)["sha256"] == file_sha256(location(find_entry(name)))


def test_a_file_of_the_web_is_fetched_once(cache):
    said = []
    with web(files={"/yolo26n.pt": CONTENT}) as served:
        entry = small(YOLO, served.url)
        assert state(entry) == "available"
        for _ in range(2):
            assert bring(entry, Access(notify=said.append)) == cache / "yolo26n.pt"
        assert said == [f"fetching {served.url}/yolo26n.pt"] and len(served.asked) == 1
    assert state(entry) == "cached"
    assert verify(entry) == [(cache / "yolo26n.pt", SHA256, "the catalogue's")]


def test_a_repository_is_fetched_once(cache, monkeypatch):
    files = {"config.json": json.dumps({"model_type": "vitpose"}).encode(), "model.safetensors": CONTENT}
    said, entry = [], small(VITPOSE)
    with fake_hub(monkeypatch, {"usyd-community/vitpose-base": files}) as served:
        for _ in range(2):
            assert bring(entry, Access(notify=said.append)) == cache / "hub" / "usyd-community" / "vitpose-base"
        assert served.asked[0][0].endswith(entry.place.revision)
    assert said == ["fetching usyd-community/vitpose-base from the Hugging Face Hub, about 360 MB"]
    assert state(entry) == "cached"
    assert [what for _, _, what in verify(entry)] == ["the catalogue's"]
    unpinned = replace(entry, place=replace(entry.place, sha256=None))
    assert [what for _, _, what in verify(unpinned)] == ["the Hub's"]


def test_damage_after_the_download_is_found(cache):
    cache.mkdir()
    (cache / "yolo26n.pt").write_bytes(CONTENT[:-1])
    with pytest.raises(JmposeError, match=r"yolo26n\.pt .* has sha256 .* expected") as caught:
        verify(small(YOLO))
    assert f"remove {cache / 'yolo26n.pt'} and pull it again" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "where"),
    [
        (VITPOSE, "{cache}/hub/usyd-community/vitpose-base"),
        (YOLO, "{cache}/yolo26n.pt"),
        (HRNET, "{cache}/hrnet_w48_posetrack18_384x288-5fd6d3ff_20211130.pth"),
    ],
)
@pytest.mark.parametrize("by", ["option", "environment"])
def test_offline_is_one_error_with_the_file_its_source_and_its_place(cache, monkeypatch, name, where, by):
    if by == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(JmposeError, match=f"{name} is not on this machine and nothing is fetched") as caught:
        bring(CATALOGUE[name], Access(offline=by == "option"))
    assert caught.value.hint == by_hand(CATALOGUE[name])
    assert where.format(cache=cache) in caught.value.hint and "https://" in caught.value.hint


def test_what_only_people_can_fetch(cache):
    entry = CATALOGUE[OFFICIAL]
    assert isinstance(entry.place, ByHand) and state(entry) == "by hand"
    with pytest.raises(JmposeError, match="has to be fetched by hand") as caught:
        bring(entry, Access())
    assert "drive.google.com" in caught.value.hint
    assert str(cache / "pose_hrnet_w48_384x288.pth") in caught.value.hint


def test_files_of_other_projects_are_converted_once(cache, monkeypatch):
    calls = []

    def convert(source, target, **kwargs):
        calls.append((source.name, kwargs))
        target.write_bytes(b"converted")

    monkeypatch.setattr("jmpose_cli.zoo.convert.convert", convert)
    with web(files={f"/{CATALOGUE[HRNET].place.name}": CONTENT}) as served:
        entry = small(HRNET, served.url)
        for _ in range(2):
            assert bring(entry, Access()) == cache / f"{HRNET}.safetensors"
    assert calls == [(entry.place.name, {"keypoint_set": "posetrack18", "input_hw": (384, 288)})]
    (cache / "pose_hrnet_w48_384x288.pth").write_bytes(b"put here by hand")
    assert state(CATALOGUE[OFFICIAL]) == "available"
    assert bring(CATALOGUE[OFFICIAL], Access(offline=True)).read_bytes() == b"converted"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vitpose-b", "vitpose-b"),
        ("usyd-community/vitpose-base", "vitpose-b"),
        ("yolo26n.pt", "yolo26n"),
        ("nano", "nano"),
        ("owner/other", "owner/other"),
    ],
)
def test_names_and_ids(name, found):
    assert named_entry(name, None).name == found


@pytest.mark.parametrize(
    ("name", "kind", "message", "hint"),
    [
        ("vitpos-b", None, "vitpos-b: no model has this name", "did you mean vitpose-b"),
        ("hrnet-w48", "pose", "no model has this name", "did you mean hrnet-w48-coco"),
        ("YOLO26", "detector", "no model has this name", "did you mean yolo26"),
        ("qqqq", None, "no model has this name", "`jmpose models list` names all"),
        ("yolo26n", "pose", "yolo26n is a person detector", "models list --kind pose"),
        ("nano", "detector", "nano is a pose model", "models list --kind detector"),
        ("reid-nano", "pose", "reid-nano is a network of appearance", "models list --kind pose"),
    ],
)
def test_names_that_stand_for_nothing(name, kind, message, hint):
    with pytest.raises(JmposeError, match=message) as caught:
        named_entry(name, kind)
    assert hint in caught.value.hint


def test_nearest_names_are_of_the_kind_asked_for():
    assert "person-nano" not in nearest("nano", "pose") and "person-nano" in nearest("person", "detector")


def test_what_can_be_an_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_hub_id("owner/name") and is_hub_id("PekingU/rtdetr_r18vd")
    no_ids = ("name", "a/b/c", "/a/b", "./a/b", "../b", "runs/name", "owner/x.safetensors", "owner/y.pt", "a b/c")
    assert not any(map(is_hub_id, no_ids))
