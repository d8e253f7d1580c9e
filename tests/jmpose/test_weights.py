import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from jmpose.build import build_model
from jmpose.config import BackboneSpec, Calibration, ModelConfig
from jmpose.errors import WeightsError
from jmpose.network import JMPose
from jmpose.weights import file_sha256, load_model, save_calibration, save_model
from tests.jmpose.tiny_model import stir, tiny_config, tiny_windows

SMALL = tiny_config(name="small", backbone=BackboneSpec("pyramid", "mobilenetv4_conv_small_050", 8))


@pytest.fixture(scope="module")
def model() -> JMPose:
    torch.manual_seed(0)
    return stir(build_model(SMALL)).eval()


@pytest.fixture
def saved(model: JMPose, tmp_path: Path) -> Path:
    return save_model(model, tmp_path / "small.safetensors")


def test_round_trip(model: JMPose, saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.config == SMALL and not loaded.training
    assert torch.equal(loaded(tiny_windows()).heatmaps, model(tiny_windows()).heatmaps)
    assert sorted(p.name for p in saved.parent.iterdir()) == ["small.json", "small.safetensors"]
    assert ModelConfig.from_dict(json.loads(saved.with_suffix(".json").read_text())) == SMALL


def test_a_calibration_comes_into_weights_and_goes_without_touching_them(model: JMPose, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "small.safetensors", half=True)
    before, tensors = path.read_bytes(), load_file(path)
    calibration = Calibration(0.9, -1.0, 1.1, -1.0, people=300)
    save_calibration(path, calibration)
    assert load_model(path).config == replace(SMALL, calibration=calibration)
    after = load_file(path)
    assert after.keys() == tensors.keys()
    assert all(after[name].dtype == value.dtype and torch.equal(after[name], value) for name, value in tensors.items())
    save_calibration(path, None)
    assert path.read_bytes() == before


def test_whoever_may_read_other_files_may_read_weights(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    assert {path.stat().st_mode for path in saved.parent.iterdir()} == {other.stat().st_mode}


def test_folders_stand_for_the_one_file_in_them(model: JMPose, tmp_path: Path) -> None:
    assert save_model(model, tmp_path) == tmp_path / "small.safetensors"
    assert load_model(tmp_path).config == SMALL
    save_model(model, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"holds 2 weights files \(other.safetensors, small.safetensors\)"):
        load_model(tmp_path)


def test_half_precision_storage(model: JMPose, saved: Path, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "half.safetensors", half=True)
    assert path.stat().st_size < 0.65 * saved.stat().st_size
    loaded = load_model(path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    full = model(tiny_windows()).heatmaps
    assert (loaded(tiny_windows()).heatmaps - full).abs().max() < 0.02 * full.abs().max()


def test_channels_last_models_can_be_saved(tmp_path: Path) -> None:
    other = build_model(SMALL).to(memory_format=torch.channels_last)
    loaded = load_model(save_model(other, tmp_path))
    assert torch.equal(loaded.head.out.weight, other.head.out.weight)


def test_either_source_of_the_configuration_is_enough(saved: Path) -> None:
    beside = saved.with_suffix(".json")
    text = beside.read_text()
    beside.unlink()
    assert load_model(saved).config == SMALL
    save_file(load_file(saved), saved)  # without metadata
    beside.write_text(text)
    assert load_model(saved).config == SMALL
    beside.unlink()
    with pytest.raises(WeightsError, match="carries no jmpose configuration"):
        load_model(saved)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none.safetensors does not exist"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match=r"holds 0 weights files \(none\)"):
        load_model(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_file(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="is damaged or no safetensors file") as caught:
        load_model(saved)
    assert "again" in caught.value.hint


def test_another_format(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="is damaged or no safetensors file"):
        load_model(path)


def rewrite(path: Path, state: dict[str, torch.Tensor], config: ModelConfig = SMALL) -> None:
    save_file(state, path, metadata={"jmpose_config": json.dumps(config.to_dict())})


def test_missing_unknown_and_differing_weights_are_named(saved: Path) -> None:
    state = load_file(saved)
    state["head.extra"] = state.pop("head.scale")
    state["head.out.bias"] = torch.zeros(3)
    rewrite(saved, state)
    with pytest.raises(WeightsError) as caught:
        load_model(saved)
    for part in (
        "configuration 'small'",
        "1 missing (head.scale)",
        "1 unknown (head.extra)",
        "1 of another shape (head.out.bias [3] for [17])",
    ):
        assert part in caught.value.message


def test_weights_of_another_configuration(saved: Path) -> None:
    other = tiny_config(name="small", backbone=SMALL.backbone, mutual_blocks=3)
    rewrite(saved, load_file(saved), other)
    saved.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"\d+ missing \(mutual_blocks.2.*, \.\.\.\)"):
        load_model(saved)


def test_json_of_another_model_beside_the_file(saved: Path) -> None:
    values = SMALL.to_dict() | {"io_weight": 0.5}
    saved.with_suffix(".json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"saved with configuration 'small', .*small.json says otherwise"):
        load_model(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "small.json is not JSON"),
        ('{"name": "x"}', "small.json: missing setting backbone, preprocess, channels, head_channels"),
        ("[]", r"small.json: ModelConfig is \[\]"),
        ("[" * 100_000, "small.json is not JSON: it is nested too deeply"),
        ('{"channels": ' + "9" * 5000 + "}", "small.json is not JSON"),
        (" " * (17 << 20), "small.json is not JSON: it is larger than 16 MB"),
        ('{"nam": "x"}', "small.json: unknown setting nam; the nearest is name"),
    ],
)
def test_bad_json_beside_the_file(saved: Path, text: str, message: str) -> None:
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(WeightsError, match=message):
        load_model(saved)


def test_a_configuration_allocates_nothing_before_the_weights_fit(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(saved, load_file(saved), tiny_config(name="small", backbone=SMALL.backbone, head_channels=8192))
    saved.with_suffix(".json").unlink()
    devices = []

    def build_with_table(config: ModelConfig) -> JMPose:
        built = build_model(config)
        built.register_buffer("table", torch.arange(3), persistent=False)
        devices.append(next(built.parameters()).device.type)
        return built

    monkeypatch.setattr("jmpose.weights.build_model", build_with_table)
    with pytest.raises(WeightsError, match="of another shape"):
        load_model(saved)
    assert devices == ["meta"]


def test_weights_of_another_type(saved: Path) -> None:
    state = load_file(saved)
    state["head.out.bias"] = torch.zeros(17, dtype=torch.int32)
    rewrite(saved, state)
    with pytest.raises(WeightsError, match=r"1 of another type \(head\.out\.bias torch\.int32"):
        load_model(saved)


def test_unknown_backbone_in_the_configuration(saved: Path) -> None:
    rewrite(saved, load_file(saved), tiny_config(backbone=BackboneSpec("pyramid", "nonet", 8)))
    saved.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"timm knows no backbone 'nonet'"):
        load_model(saved)


def test_what_cannot_be_saved(model: JMPose, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights are to be saved as .*small.pt"):
        save_model(model, tmp_path / "small.pt")
    with pytest.raises(WeightsError, match=r"none/small\.safetensors cannot be written"):
        save_model(model, tmp_path / "none" / "small.safetensors")
    large = build_model(SMALL)
    with torch.no_grad():
        large.head.out.weight.fill_(1e6)
    with pytest.raises(WeightsError, match=r"head\.out\.weight has values above 65504"):
        save_model(large, tmp_path, half=True)
    assert list(tmp_path.iterdir()) == []


def test_tables_that_are_computed_and_not_stored_survive_loading(
    model: JMPose, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_with_table(config: ModelConfig) -> JMPose:
        built = build_model(config)
        built.register_buffer("table", torch.arange(3), persistent=False)
        return built

    monkeypatch.setattr("jmpose.weights.build_model", build_with_table)
    loaded = load_model(saved)
    assert loaded.get_buffer("table").tolist() == [0, 1, 2]
    assert torch.equal(loaded(tiny_windows()).heatmaps, model(tiny_windows()).heatmaps)


def test_loaded_weights_do_not_hang_on_the_file(model: JMPose, saved: Path) -> None:
    loaded = load_model(saved)
    saved.write_bytes(b"")
    assert torch.equal(loaded(tiny_windows()).heatmaps, model(tiny_windows()).heatmaps)


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
