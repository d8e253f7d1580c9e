"""Whole models from the pretrained weights of a ViTPose or ViTPose++, as Hugging Face transformers saves them.

Papers: Xu et al., "ViTPose", NeurIPS 2022; "ViTPose++", TPAMI 2023.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jmpose.build import assemble
from jmpose.config import STRIDE, ModelConfig, Preprocess, ViTSpec
from jmpose.errors import ConfigError, WeightsError
from jmpose.network import JMPose
from jmpose.plain_files import read_json
from jmpose.presets import vitpose_config
from jmpose.state import check_fit, fill, read_tensors
from jmpose.vitpose import PATCH, VitPoseBackbone, transformer_config

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_INDEX, _PREPROCESSOR = "model.safetensors.index.json", "preprocessor_config.json"
_JOINTS = 17
_MAX_EXPERTS = 64
# What no published ViTPose does otherwise, and is not done here.
_FIXED: dict[str, tuple[Any, ...]] = {
    "patch_size": (PATCH, [PATCH, PATCH]),
    "num_channels": (3,),
    "hidden_act": ("gelu",),
}
# Where the parts that transformers names on the left are in `VitPoseBackbone`.
_PLACES = (
    ("backbone.", "body."),
    ("head.deconv1.", "decoder.0."),
    ("head.batchnorm1.", "decoder.1."),
    ("head.deconv2.", "decoder.3."),
    ("head.batchnorm2.", "decoder.4."),
    ("head.conv.", "heatmap_head."),
)


def is_transformers_folder(path: Path) -> bool:
    """Tell a folder that transformers saved from one with weights made by jmpose, by its `config.json`."""
    return (path / _CONFIG).is_file() and not (path / _CONFIG).with_suffix(".safetensors").is_file()


def load_vitpose(folder: Path, *, dataset_index: int | None = None) -> JMPose:
    """Build JM-Pose on a pretrained ViTPose: its heatmaps are the initial ones, the temporal part is untrained.

    By the identity start the model gives, until it is trained, exactly the heatmaps of the ViTPose. It is in float32
    and eval mode, and can be saved and loaded like any other. Preprocessing: see `vitpose_config`.

    Args:
        folder: As `VitPoseForPoseEstimation.save_pretrained` writes it, or a snapshot from the Hub: `config.json`
            and `model.safetensors` or its shards, and `preprocessor_config.json` where mean or std differ from
            ImageNet's. Nothing is fetched, and no pickle is opened.
        dataset_index: The expert of a ViTPose++, None for its first. Of the published ones: 0 COCO, 1 AiC, 2 MPII,
            3 AP-10K, 4 APT-36K, 5 COCO-WholeBody; their heads have COCO's joints and go with 0.

    Raises:
        WeightsError: a file that is missing or damaged, another kind of network, other joints than COCO's 17, weights
            that do not fit, or a `dataset_index` that does not exist.
    """
    settings = _read_settings(folder)
    config = _model_config(folder, settings)
    vit, window = config.backbone.vit, config.preprocess
    assert vit is not None
    expert = _choose_expert(folder, settings["backbone_config"], dataset_index, width=vit.width)
    if expert:
        config = replace(config, name=f"{config.name}-expert{expert}")
    size = (window.input_height, window.input_width)
    state: dict[str, Tensor] = {}
    for file in vitpose_files(folder):
        state |= read_tensors(file)[1]
    experts = {}
    if expert is not None:
        experts = {name: settings["backbone_config"][name] for name in ("num_experts", "part_features")}
    check_fit(
        state,
        _expected(vit, size, experts),
        path=folder,
        of=f"the ViTPose in its {_CONFIG}",
        hint="take all files of the folder from the same place",
    )
    with torch.device("meta"):
        backbone = VitPoseBackbone(vit, input_size=size, joints=_JOINTS)
    fill(backbone, _placed(_with_expert(state, expert)))
    return assemble(backbone, config).eval()


def vitpose_files(folder: Path) -> list[Path]:
    """List the files with the tensors of a folder that transformers saved, in order of name.

    Raises:
        WeightsError: There are none, a shard is missing, or there are only pickles.
    """
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if (folder / _INDEX).is_file():
        places = _read_json(folder / _INDEX).get("weight_map")
        names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
        if not names or any(Path(name).name != name for name in names):
            raise WeightsError(f"{folder / _INDEX} names no files beside it", "copy or download the file again")
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise WeightsError(
                f"{folder} lacks {len(missing)} of {len(names)} weights files ({', '.join(missing[:3])})",
                "copy or download them too",
            )
        return [folder / name for name in names]
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    if pickles:
        raise WeightsError(
            f"{folder} has no {_WEIGHTS} but {pickles[0]}, a pickle, which is not opened: it could run code",
            "load it where you trust it, and save_pretrained writes safetensors",
        )
    raise WeightsError(f"{folder} has no {_WEIGHTS}", f"a folder with {_CONFIG} and {_WEIGHTS}")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} is not readable as JSON: {error}", "copy or download the file again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is no JSON object", "copy or download the file again")
    return content


def _read_settings(folder: Path) -> dict[str, Any]:
    """Read `config.json`; make sure that it describes a ViTPose for COCO's joints, and in full."""
    file = folder / _CONFIG
    if not file.is_file():
        raise WeightsError(f"{folder} has no {_CONFIG}", f"a folder with {_CONFIG} and {_WEIGHTS}")
    settings = _read_json(file)
    kind, body = settings.get("model_type"), settings.get("backbone_config")
    if kind != "vitpose" or not isinstance(body, dict) or body.get("model_type") != "vitpose_backbone":
        inner = body.get("model_type") if isinstance(body, dict) else None
        raise WeightsError(
            f"{file} describes no ViTPose: model_type {kind!r} with a backbone {inner!r}",
            "model_type 'vitpose' with a backbone_config of model_type 'vitpose_backbone'",
        )
    labels = settings.get("id2label")
    count = len(labels) if isinstance(labels, dict) else settings.get("num_labels", 2)
    if count != _JOINTS:
        raise WeightsError(f"{file}: a ViTPose for {count} joints", f"one for COCO's {_JOINTS}")
    return settings


def _choose_expert(folder: Path, body: dict[str, Any], dataset_index: int | None, *, width: int) -> int | None:
    """Return the expert to use, None for a ViTPose without."""
    count, rows = body.get("num_experts", 1), body.get("part_features")
    if count == 1:
        if dataset_index is not None:
            raise WeightsError(
                f"dataset_index is {dataset_index}, but {folder} holds a ViTPose without experts",
                "no dataset_index, or a ViTPose++",
            )
        return None
    if type(count) is not int or type(rows) is not int or not 1 <= count <= _MAX_EXPERTS or not 0 < rows < width:
        raise WeightsError(
            f"{folder / _CONFIG}: num_experts is {count!r} with part_features {rows!r}",
            f"whole numbers above 0, at most {_MAX_EXPERTS} experts, part_features below {width}",
        )
    chosen = dataset_index or 0
    if not 0 <= chosen < count:
        raise WeightsError(f"dataset_index is {chosen} with {count} experts in {folder}", f"0 to {count - 1}; 0: COCO")
    return chosen


def _model_config(folder: Path, settings: dict[str, Any]) -> ModelConfig:
    """Translate what transformers writes into a configuration of JM-Pose."""
    body, file = settings["backbone_config"], folder / _CONFIG
    for key, allowed in _FIXED.items():
        if body.get(key, allowed[0]) not in allowed:
            raise WeightsError(f"{file}: {key} is {body[key]!r}", f"{allowed[-1]}, as in every published ViTPose")
    simple = settings.get("use_simple_decoder", True)
    if simple and settings.get("scale_factor", STRIDE) != STRIDE:
        raise WeightsError(f"{file}: scale_factor is {settings['scale_factor']!r}", f"{STRIDE}: heatmaps at stride 4")
    layers = body.get("num_hidden_layers", 12)
    stages = body.get("out_indices") or [layers]
    if not isinstance(stages, list) or stages[-1] not in (layers, -1):
        raise WeightsError(f"{file}: out_indices is {stages!r} with {layers} layers", "the tokens after the last layer")
    size = body.get("image_size", [256, 192])
    mean, std = _normalisation(folder)
    values = {
        "width": body.get("hidden_size", 768),
        "layers": layers,
        "heads": body.get("num_attention_heads", 12),
        "mlp_ratio": body.get("mlp_ratio", 4),
        "decoder": "simple" if simple else "classic",
        "qkv_bias": body.get("qkv_bias", True),
        "norm_eps": body.get("layer_norm_eps", 1e-12),
    }
    try:
        height, width = (size, size) if isinstance(size, int) else size
        vit = ViTSpec.from_dict(values)
        return vitpose_config(folder.resolve().name, vit, input_size=(height, width), mean=mean, std=std)
    except ConfigError as error:
        raise WeightsError(f"{file}: {error.message}", error.hint) from error
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{file}: image_size is {size!r}", "height and width, multiples of 32") from error


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std from `preprocessor_config.json`, ImageNet's where it is absent."""
    file = folder / _PREPROCESSOR
    if not file.is_file():
        return Preprocess.mean, Preprocess.std
    asked = _read_json(file)
    factor = asked.get("rescale_factor", 1 / 255) if asked.get("do_rescale", True) else 1
    if not isinstance(factor, int | float) or abs(factor * 255 - 1) > 1e-3:
        raise WeightsError(f"{file}: pixels are not scaled to 0..1", "do_rescale with rescale_factor 1/255")
    if not asked.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    try:
        r, g, b = (float(value) for value in asked.get("image_mean", Preprocess.mean))
        std_r, std_g, std_b = (float(value) for value in asked.get("image_std", Preprocess.std))
    except (TypeError, ValueError, OverflowError) as error:
        raise WeightsError(f"{file}: image_mean or image_std is not readable", "three numbers each") from error
    return (r, g, b), (std_r, std_g, std_b)


def _expected(vit: ViTSpec, size: tuple[int, int], experts: dict[str, int]) -> dict[str, Tensor]:
    """Return the names that transformers has for all weights, with tensors of their shapes."""
    from transformers import VitPoseConfig, VitPoseForPoseEstimation

    config = VitPoseConfig(
        backbone_config=transformer_config(vit, size, **experts),
        num_labels=_JOINTS,
        use_simple_decoder=vit.decoder == "simple",
    )
    with torch.device("meta"):
        return dict(VitPoseForPoseEstimation(config).state_dict())


def _with_expert(state: dict[str, Tensor], expert: int | None) -> dict[str, Tensor]:
    """Join the rows of one expert to those that all share, and leave out the others."""
    if expert is None:
        return state
    plain = {name: tensor for name, tensor in state.items() if ".mlp.experts." not in name}
    for name, shared in plain.items():
        if ".mlp.fc2." in name:
            plain[name] = torch.cat([shared, state[name.replace(".fc2.", f".experts.{expert}.")]])
    return plain


def _placed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename transformers' weights to those of `VitPoseBackbone`."""
    placed = {}
    for name, tensor in state.items():
        theirs, ours = next(pair for pair in _PLACES if name.startswith(pair[0]))
        placed[ours + name.removeprefix(theirs)] = tensor
    return placed
