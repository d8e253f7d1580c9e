import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from jmpose.build import build_model
from jmpose.config import ModelConfig
from jmpose.decoding import decode_dark
from jmpose.errors import WeightsError
from jmpose.files import file_sha256
from jmpose.presets import CONFIGS
from jmpose.pretrained import load_vitpose
from jmpose.targets import gaussian_targets
from jmpose.vitpose import VitPoseBackbone
from jmpose.weights import load_model, save_model, weights_sha256
from tests.jmpose.tiny_vitpose import SIZE, WIDTH, save_vitpose

EXPERTS = 3
KINDS: dict[str, dict[str, Any]] = {
    "classic": {"decoder": "classic"},
    "simple": {"decoder": "simple"},
    "plus": {"experts": EXPERTS},
    "plus-simple": {"experts": EXPERTS, "decoder": "simple"},
}
CASES = [(kind, index) for kind in KINDS for index in ((0, 1, 2) if kind.startswith("plus") else (None,))]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    root = tmp_path_factory.mktemp("vitpose")
    return {kind: (root / kind, save_vitpose(root / kind, **settings)) for kind, settings in KINDS.items()}


@pytest.fixture
def classic(tmp_path: Path) -> Path:
    save_vitpose(tmp_path / "tiny")
    return tmp_path / "tiny"


def windows(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 5, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def heatmaps_of(network: Any, images: torch.Tensor, index: int | None) -> torch.Tensor:
    chosen = None if index is None else torch.full((len(images),), index)
    with torch.inference_mode():
        maps: torch.Tensor = network(images, dataset_index=chosen).heatmaps
    return maps


@pytest.mark.parametrize(("kind", "index"), CASES)
def test_heatmaps_are_those_of_transformers(checkpoints: dict[str, Any], kind: str, index: int | None) -> None:
    folder, network = checkpoints[kind]
    model, inputs = load_vitpose(folder, dataset_index=index), windows()
    wanted = heatmaps_of(network, inputs.flatten(0, 1), index).unflatten(0, (2, 5))
    with torch.inference_mode():
        output = model(inputs)
        features = model.backbone.features(inputs[:, 2])
        again = model.backbone.heatmap_head(features)
    assert not model.training and 0.3 < wanted.std() < 30
    assert features.shape == (2, WIDTH if kind.endswith("simple") else 256, 16, 8)
    assert (output.initial - wanted).abs().max() < 1e-5
    assert (output.heatmaps - wanted[:, 2]).abs().max() < 1e-5  # untrained: the identity
    assert (again - wanted[:, 2]).abs().max() < 1e-5


def test_experts_differ_and_the_first_is_the_default(checkpoints: dict[str, Any]) -> None:
    folder, _ = checkpoints["plus"]
    models = [load_vitpose(folder, dataset_index=index) for index in range(EXPERTS)]
    with torch.inference_mode():
        first, second, third = (model(windows()).heatmaps for model in models)
        default = load_model(folder)(windows()).heatmaps
    assert torch.equal(default, first)
    assert (first - second).abs().max() > 0.01 and (first - third).abs().max() > 0.01
    assert [model.config.name for model in models] == ["plus", "plus-expert1", "plus-expert2"]
    assert all(model.config.backbone == models[0].config.backbone for model in models)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(checkpoints: dict[str, Any], kind: str, tmp_path: Path) -> None:
    model = load_vitpose(checkpoints[kind][0])
    assert ModelConfig.from_dict(json.loads(json.dumps(model.config.to_dict()))) == model.config
    path = save_model(model, tmp_path)
    assert path.name == f"{kind}.safetensors"
    loaded = load_model(path)
    assert loaded.config == model.config
    with torch.inference_mode():
        assert torch.equal(loaded(windows()).heatmaps, model(windows()).heatmaps)


def test_what_is_read_from_the_settings(classic: Path) -> None:
    config = load_vitpose(classic).config
    window, vit = config.preprocess, config.backbone.vit
    assert vit is not None and config.name == "tiny"
    assert (vit.width, vit.layers, vit.heads, vit.mlp_ratio, vit.decoder) == (WIDTH, 3, 4, 2, "classic")
    assert (window.input_height, window.input_width, window.keypoint_set) == (*SIZE, "coco17")
    assert window.box_padding == 1.25 and window.window_offsets == (-2, -1, 0, 1, 2)
    assert window.mean == (0.485, 0.456, 0.406) and window.std == (0.229, 0.224, 0.225)
    file = classic / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}))
    window = load_vitpose(classic).config.preprocess
    assert window.mean == (0.5, 0.4, 0.3) and window.std == (0.2, 0.2, 0.1)
    file.write_text(json.dumps({"do_normalize": False}))
    window = load_vitpose(classic).config.preprocess
    assert window.mean == (0, 0, 0) and window.std == (1, 1, 1)


def test_transformers_own_preprocessing_is_matched() -> None:
    """Its processor must find a joint where our targets for its crop put it."""
    from transformers import VitPoseImageProcessor
    from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

    processor = VitPoseImageProcessor()
    config = CONFIGS["vitpose-b"].preprocess
    assert (list(config.mean), list(config.std)) == (list(processor.image_mean), list(processor.image_std))
    assert (config.input_height, config.input_width) == (processor.size["height"], processor.size["width"])
    # A box of the crop's aspect: its padded edges are the centres of the crop's corner pixels.
    x, y, width, height = 40.0, 30.0, 150.0, 200.0
    step = torch.tensor([width * config.box_padding / 191, height * config.box_padding / 255])
    corner = torch.tensor([x + width / 2, y + height / 2]) - step * torch.tensor([191, 255]) / 2
    xy_crop = torch.rand(1, 17, 2, generator=torch.Generator().manual_seed(2)) * torch.tensor([150.0, 210.0]) + 20
    maps = gaussian_targets(
        xy_crop, torch.ones(1, 17), heatmap_size=(64, 48), sigma=config.heatmap_sigma, alignment="corners"
    )
    found = processor.post_process_pose_estimation(
        VitPoseEstimatorOutput(heatmaps=maps), boxes=[[[x, y, width, height]]]
    )[0][0]["keypoints"]
    assert (found - (corner + xy_crop[0] * step)).abs().max() < 0.1
    assert decode_dark(maps, sigma=config.heatmap_sigma)[1].min() > 0.8


def test_shards(checkpoints: dict[str, Any], tmp_path: Path) -> None:
    save_vitpose(tmp_path, shards=True)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1 and not (tmp_path / "model.safetensors").exists()
    whole = checkpoints["classic"][0]
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(windows()).heatmaps, load_vitpose(whole)(windows()).heatmaps)
    assert weights_sha256(whole) == file_sha256(whole / "model.safetensors")
    before = weights_sha256(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())
    shards[1].unlink()
    with pytest.raises(WeightsError, match=rf"lacks 1 of {len(shards)} weights files \({shards[1].name}\)"):
        load_vitpose(tmp_path)
    save_file({"other": torch.zeros(1)}, shards[1])
    assert weights_sha256(tmp_path) != before
    with pytest.raises(WeightsError, match=r"missing .*1 unknown \(other\)"):
        load_vitpose(tmp_path)
    for wrong in ({}, {"weight_map": {}}, {"weight_map": dict.fromkeys(places["weight_map"], "../a.safetensors")}):
        index.write_text(json.dumps(wrong))
        with pytest.raises(WeightsError, match="names no files beside it"):
            load_vitpose(tmp_path)


def test_half_precision_checkpoints_become_float32(classic: Path) -> None:
    whole = load_vitpose(classic)
    file = classic / "model.safetensors"
    save_file({n: t.half() if t.is_floating_point() else t for n, t in load_file(file).items()}, file)
    half = load_vitpose(classic)
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    with torch.inference_mode():
        difference = half(windows()).heatmaps - whole(windows()).heatmaps
    assert 0 < difference.abs().max() < 0.1


def test_loaded_weights_do_not_hang_on_the_file(classic: Path) -> None:
    model = load_vitpose(classic)
    with torch.inference_mode():
        before = model(windows()).heatmaps
        (classic / "model.safetensors").write_bytes(b"")
        assert torch.equal(model(windows()).heatmaps, before)


def test_a_pretrained_backbone_can_be_trained(classic: Path) -> None:
    model = load_vitpose(classic).train()
    model(windows()).heatmaps.square().mean().backward()
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.head.scale is not None and model.head.scale.grad is not None and model.head.scale.grad.abs().max() > 0


def test_random_start_is_drawn_once_and_near_zero() -> None:
    torch.manual_seed(0)
    config = CONFIGS["vitpose-s"]
    assert config.backbone.vit is not None
    backbone = VitPoseBackbone(config.backbone.vit, input_size=SIZE, joints=17).eval()
    tensors = [*backbone.parameters(), *backbone.buffers()]
    assert not any(t.is_meta for t in tensors) and all(t.isfinite().all() for t in tensors)
    assert backbone.body.encoder.layer[3].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    with torch.inference_mode():
        assert backbone(windows()[:, 0])[1].abs().max().item() < 0.2


def change_json(file: Path, path: str, value: Any) -> None:
    """Set a dotted key of a JSON file; None removes it."""
    content = json.loads(file.read_text())
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    file.write_text(json.dumps(content))


BAD_SETTINGS = [
    ("model_type", "rt_detr", "describes no ViTPose: model_type 'rt_detr' with a backbone 'vitpose_backbone'"),
    ("model_type", None, "describes no ViTPose: model_type None"),
    ("backbone_config", "some/name", "describes no ViTPose: model_type 'vitpose' with a backbone None"),
    ("backbone_config.model_type", "vit", "with a backbone 'vit'"),
    ("id2label", {"0": "a", "1": "b"}, "a ViTPose for 2 joints"),
    ("id2label", None, "a ViTPose for 2 joints"),
    ("use_simple_decoder", True, r"12 unknown \(head.batchnorm1.bias, .*1 of another shape \(head.conv.weight"),
    ("backbone_config.patch_size", [14, 14], r"patch_size is \[14, 14\]"),
    ("backbone_config.hidden_act", "relu", "hidden_act is 'relu'"),
    ("backbone_config.num_channels", 1, "num_channels is 1"),
    ("backbone_config.out_indices", [2], r"out_indices is \[2\] with 3 layers"),
    ("backbone_config.out_indices", 3, "out_indices is 3 with 3 layers"),
    ("backbone_config.image_size", [60, 32], "input_height is 60"),
    ("backbone_config.image_size", "64", "image_size is '64'"),
    ("backbone_config.image_size", 64, r"1 of another shape \(backbone.embeddings.position_embeddings \[1, 9, 32\]"),
    ("backbone_config.num_attention_heads", 5, "vit heads is 5"),
    ("backbone_config.num_hidden_layers", 0, "out_indices"),
    ("backbone_config.hidden_size", "32", "vit.width is '32'"),
    ("backbone_config.mlp_ratio", 4, r"\d+ of another shape \(backbone.encoder.layer.0.mlp.fc1.weight"),
    ("backbone_config.layer_norm_eps", -1.0, "vit norm_eps is -1.0"),
    ("backbone_config.num_experts", 0, "num_experts is 0 with part_features 8"),
    ("backbone_config.num_experts", 2, r"missing \(backbone.encoder.layer.0.mlp.experts.0.weight"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_SETTINGS)
def test_settings_that_do_not_fit_are_named(classic: Path, path: str, value: Any, message: str) -> None:
    change_json(classic / "config.json", path, value)
    with pytest.raises(WeightsError, match=message) as caught:
        load_vitpose(classic)
    assert caught.value.hint


def test_a_simple_decoder_of_another_stride_is_refused(tmp_path: Path) -> None:
    save_vitpose(tmp_path, decoder="simple")
    change_json(tmp_path / "config.json", "scale_factor", 2)
    with pytest.raises(WeightsError, match="scale_factor is 2"):
        load_vitpose(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"do_rescale": False}, "not scaled to 0..1"),
        ({"rescale_factor": 1 / 127.5}, "not scaled to 0..1"),
        ({"rescale_factor": "1/255"}, "not scaled to 0..1"),
        ({"image_mean": [0.5]}, "image_mean or image_std is not readable"),
        ({"image_std": "a"}, "image_mean or image_std is not readable"),
        ([], "preprocessor_config.json is no JSON object"),
    ],
)
def test_preprocessing_that_is_not_done_here(classic: Path, content: Any, message: str) -> None:
    (classic / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=message):
        load_vitpose(classic)


def test_other_joints(tmp_path: Path) -> None:
    save_vitpose(tmp_path, num_labels=14)
    with pytest.raises(WeightsError, match=r"config.json: a ViTPose for 14 joints") as caught:
        load_model(tmp_path)
    assert "17" in caught.value.hint


def test_experts_must_be_smaller_than_the_tokens(tmp_path: Path) -> None:
    save_vitpose(tmp_path, experts=2)
    change_json(tmp_path / "config.json", "backbone_config.part_features", WIDTH)
    with pytest.raises(WeightsError, match="num_experts is 2 with part_features 32"):
        load_vitpose(tmp_path)


def test_dataset_index_must_exist(checkpoints: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"dataset_index is 0, but .*classic holds a ViTPose without experts"):
        load_vitpose(checkpoints["classic"][0], dataset_index=0)
    for index in (-1, EXPERTS):
        with pytest.raises(WeightsError, match=f"dataset_index is {index} with 3 experts") as caught:
            load_vitpose(checkpoints["plus"][0], dataset_index=index)
        assert caught.value.hint == "0 to 2; 0: COCO"


def test_missing_unknown_and_differing_weights_are_named(classic: Path) -> None:
    file = classic / "model.safetensors"
    state = load_file(file)
    state["head.extra"] = state.pop("head.conv.bias")
    state["backbone.layernorm.weight"] = torch.zeros(3)
    save_file(state, file)
    with pytest.raises(WeightsError) as caught:
        load_vitpose(classic)
    for part in (
        "the ViTPose in its config.json",
        "1 missing (head.conv.bias)",
        "1 unknown (head.extra)",
        "1 of another shape (backbone.layernorm.weight [3] for [32])",
    ):
        assert part in caught.value.message


def test_damaged_and_missing_files(classic: Path) -> None:
    weights, settings = classic / "model.safetensors", classic / "config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="is damaged or no safetensors file"):
        load_vitpose(classic)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"has no model.safetensors"):
        load_vitpose(classic)
    (classic / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(WeightsError, match=r"but pytorch_model.bin, a pickle, which is not opened"):
        load_model(classic)
    text = settings.read_text()
    settings.write_text(text[:50])
    with pytest.raises(WeightsError, match=r"config.json is not readable as JSON"):
        load_model(classic)
    settings.unlink()
    with pytest.raises(WeightsError, match=r"has no config.json"):
        load_vitpose(classic)
    weights.write_bytes(whole)
    with pytest.raises(WeightsError, match="carries no jmpose configuration") as caught:
        load_model(classic)
    assert "config.json" in caught.value.hint
    settings.write_text(text)
    with pytest.raises(WeightsError, match="carries no jmpose configuration") as caught:
        load_model(weights)
    assert caught.value.hint == f"for the ViTPose give its folder, {classic}"


def test_a_model_of_ours_may_lie_beside_a_file_of_its_settings(classic: Path, tmp_path: Path) -> None:
    path = save_model(load_vitpose(classic), tmp_path / "config.safetensors")
    assert load_model(tmp_path).config == load_model(path).config


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_heatmaps_on_a_gpu(checkpoints: dict[str, Any], kind: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    folder, network = checkpoints[kind]
    wanted = heatmaps_of(network, windows()[:, 2], 0 if kind.startswith("plus") else None)
    with torch.inference_mode():
        found = load_model(folder, device="cuda")(windows().cuda()).heatmaps.cpu()
    assert (found - wanted).abs().max() < 1e-4


def test_configurations_have_the_published_sizes() -> None:
    published = {"vitpose-b": 86, "vitpose-l": 307, "vitpose-h": 632}  # millions, of the transformer, in the paper
    for name, millions in published.items():
        with torch.device("meta"):
            body = build_model(CONFIGS[name]).backbone.get_submodule("body")
        assert sum(p.numel() for p in body.parameters()) / 1e6 == pytest.approx(millions, rel=0.015)
