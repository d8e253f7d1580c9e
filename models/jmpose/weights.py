"""Weights on disk: one safetensors file that carries its configuration, and the same as JSON beside it."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from jmpose.build import build_model
from jmpose.config import Calibration, ModelConfig
from jmpose.errors import ConfigError, WeightsError
from jmpose.files import WholeFile, file_sha256
from jmpose.network import JMPose
from jmpose.plain_files import parse_json, read_json
from jmpose.pretrained import is_transformers_folder, load_vitpose, vitpose_files
from jmpose.state import check_fit, fill, read_tensors

_METADATA_KEY = "jmpose_config"
_HALF_MAX = torch.finfo(torch.float16).max


def save_model(model: JMPose, path: Path, *, half: bool = False) -> Path:
    """Write `NAME.safetensors` and `NAME.json`, each by way of a `.partial` file.

    Args:
        model: What to save; its configuration is stored in both files.
        path: The `.safetensors` file, or a folder, where the file is named after the configuration.
        half: Store matrices and kernels as float16, half the size; vectors stay float32.

    Returns:
        The path of the safetensors file.

    Raises:
        WeightsError: another suffix, values that float16 cannot hold, or a folder that cannot be written to.
    """
    if path.is_dir():
        path = path / f"{model.config.name}.safetensors"
    if path.suffix != ".safetensors":
        raise WeightsError(f"weights are to be saved as {path}", "a folder, or a name that ends in .safetensors")
    state = {name: _stored(name, tensor, half=half) for name, tensor in model.state_dict().items()}
    _write(path, state, model.config)
    return path


def _write(path: Path, state: dict[str, Tensor], config: ModelConfig) -> None:
    """Write tensors with their configuration, and the JSON beside them."""
    text = json.dumps(config.to_dict(), indent=2)
    beside = path.with_suffix(".json")
    try:
        with WholeFile(path) as unfinished_weights, WholeFile(beside) as partial_beside:
            save_file(state, unfinished_weights, metadata={_METADATA_KEY: text})
            partial_beside.write_text(text + "\n", encoding="utf-8")
        shutil.copymode(beside, path)  # safetensors lets nobody else read it
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be written: {error}", "a writable folder with free space") from error


def save_calibration(path: Path, calibration: Calibration | None) -> None:
    """Put a calibration into weights that `save_model` wrote; the tensors stay as they are, to the bit.

    Raises:
        WeightsError: The file cannot be read, or written.
    """
    path = _weights_file(path)
    metadata, state = read_tensors(path)
    own = {name: tensor.clone() for name, tensor in state.items()}  # those read may be windows on the file
    _write(path, own, replace(_config(path, metadata.get(_METADATA_KEY)), calibration=calibration))


def _stored(name: str, tensor: Tensor, *, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not (half and tensor.is_floating_point() and tensor.ndim > 1):
        return tensor
    if float(tensor.abs().max()) > _HALF_MAX:
        raise WeightsError(f"{name} has values above {_HALF_MAX:.0f}, which float16 cannot hold", "half=False")
    return tensor.half()


def load_model(path: Path, *, device: torch.device | str = "cpu") -> JMPose:
    """Build the model that weights describe and load them, in float32 and eval mode.

    Args:
        path: A `.safetensors` file, a folder that holds exactly one, or a folder with a ViTPose as transformers saves
            it (see `load_vitpose`).
        device: Where the model goes.

    Raises:
        WeightsError: file missing, damaged, without configuration, or with weights that do not fit it.
    """
    if is_transformers_folder(path):
        return load_vitpose(path).to(device)
    path = _weights_file(path)
    metadata, state = read_tensors(path)
    config = _config(path, metadata.get(_METADATA_KEY))
    try:
        # Without values: drawing random ones takes longer than reading those wanted, and a configuration that is not
        # that of the weights may ask for any amount of memory.
        with torch.device("meta"):
            model = build_model(config)
    except ConfigError as error:
        raise WeightsError(f"{path}: {error.message}", error.hint) from error
    check_fit(
        state,
        model.state_dict(),
        path=path,
        of=f"configuration {config.name!r}",
        hint="weights and configuration saved by the same version of jmpose",
    )
    if not model.state_dict().keys() >= dict(model.named_buffers()).keys():
        model = build_model(config)  # tables that are computed and not stored would be lost
    fill(model, state)
    return model.to(device).eval()


def weights_sha256(path: Path) -> str:
    """SHA-256 of the file that `load_model` reads tensors from; of several, that of their digests in order of name."""
    files = vitpose_files(path) if is_transformers_folder(path) else [_weights_file(path)]
    if len(files) == 1:
        return file_sha256(files[0])
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise WeightsError(f"{path} holds {len(found)} weights files ({names})", "name one .safetensors file")
        return found[0]
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist", "a .safetensors file made by jmpose")
    return path


def _config(path: Path, stored: str | None) -> ModelConfig:
    """Decode the configuration in the file, or the JSON beside it; if both exist they must agree."""
    beside = path.with_suffix(".json")
    configs: list[tuple[str, Callable[[], Any]]] = []
    if stored is not None:
        configs.append((str(path), partial(parse_json, stored)))
    if beside.is_file():
        configs.append((str(beside), partial(read_json, beside)))
    if not configs:
        hint = f"weights made by jmpose, or {beside} beside it; a ViTPose of transformers needs its config.json"
        if is_transformers_folder(path.parent):
            hint = f"for the ViTPose give its folder, {path.parent}"
        raise WeightsError(f"{path} carries no jmpose configuration", hint)
    decoded = []
    for source, read in configs:
        try:
            decoded.append(ModelConfig.from_dict(read()))
        except ConfigError as error:
            raise WeightsError(f"the configuration in {source}: {error.message}", error.hint) from error
        except (OSError, ValueError) as error:
            raise WeightsError(f"the configuration in {source} is not JSON: {error}") from error
    if decoded[0] != decoded[-1]:
        raise WeightsError(
            f"{path} was saved with configuration {decoded[0].name!r}, {beside} says otherwise",
            f"put back the JSON saved with the weights, or remove {beside.name}",
        )
    return decoded[0]
