"""Person boxes from RT-DETR, RT-DETRv2 and D-FINE: the one file here that imports transformers.

These networks are Apache-2.0, as are the checkpoints that their authors publish. They need no non-maximum suppression.
The folder is read as it lies on the disk: nothing is fetched, and of the weights only safetensors is opened.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jmpose.files import file_sha256
from jmpose.plain_files import read_json
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.detect import TorchDetector
from jmpose_cli.people.detector_description import START_SCORE
from jmpose_cli.values import Bytes, Detections

if TYPE_CHECKING:
    import torch

FAMILIES = {"rt_detr": "RT-DETR", "rt_detr_v2": "RT-DETRv2", "d_fine": "D-FINE"}
CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
# transformers would fetch or run what these name, or build something beside the network.
_NOT_TAKEN = frozenset(
    [
        "auto_map",
        "quantization_config",
        "dtype",
        "torch_dtype",
        "_name_or_path",
        "name_or_path",
        "architectures",
        "label2id",
        "backbone",
        "use_timm_backbone",
        "use_pretrained_backbone",
        "backbone_kwargs",
    ]
)
_BODIES = ("rt_detr_resnet", "hgnet_v2")
_MAX_SIDE, _MAX_NUMBER, _MAX_REPEATS, _MAX_LENGTH, _MAX_CLASSES = 4096, 10_000, 128, 64, 20_000
_MAX_SURPLUS = 8  # weights that a description may have for each in the file, so that a small one can be named
_REPEATS = re.compile("layers|blocks|depth|heads|levels|points")
_GRID = 32  # coarsest stride of the networks: their feature pyramids fit together on whole cells only
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, which transformers writes
_WHAT_FITS = f"give a folder with {CONFIG} and {WEIGHTS} of RT-DETR, RT-DETRv2 or D-FINE, as save_pretrained writes it"


@dataclass(frozen=True)
class Preprocessing:
    """How a frame becomes the network's input; the defaults are those of the three families.

    Attributes:
        height: Of the input in pixels; frames are stretched to it, their aspect is not kept.
        width: As height.
        interpolation: `bilinear` or `bicubic`, with antialiasing, in uint8 and rounded to whole values.
        factor: Pixel values 0..255 are multiplied by it.
        mean: Of each channel, subtracted after that; None leaves mean and std out.
        std: Of each channel, divided by after that.
    """

    height: int = 640
    width: int = 640
    interpolation: str = "bilinear"
    factor: float = 1 / 255
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def read(cls, file: Path) -> "Preprocessing":
        """Read `preprocessor_config.json`; the defaults stand where it is absent.

        Raises:
            JmposeError: The file is damaged, or asks for steps that are not done here.
        """
        if not file.is_file():
            return cls()
        asked = _read_json(file)
        size, do_resize = asked.get("size", {"height": cls.height, "width": cls.width}), asked.get("do_resize", True)
        resample = asked.get("resample", 2)
        if not do_resize or not isinstance(size, dict) or not {"height", "width"} <= size.keys():
            raise _not_done(file, f"size {json.dumps(size)} with do_resize {json.dumps(do_resize)}")
        if asked.get("do_pad") and asked.get("pad_size"):
            raise _not_done(file, f"padding to {json.dumps(asked['pad_size'])}")
        if not isinstance(resample, int) or resample not in _RESAMPLING:
            raise _not_done(file, f"resample {json.dumps(resample)}")
        try:
            done = cls(
                height=int(size["height"]),
                width=int(size["width"]),
                interpolation=_RESAMPLING[resample],
                factor=float(asked.get("rescale_factor", cls.factor)) if asked.get("do_rescale", True) else 1.0,
            )
            if asked.get("do_normalize", False):
                mean, std = (tuple(float(value) for value in asked[name]) for name in ("image_mean", "image_std"))
                if len(mean) != 3 or len(std) != 3:
                    raise ValueError(f"image_mean {mean} and image_std {std} must have 3 values each")
                done = replace(done, mean=mean, std=std)
            done.check()
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise JmposeError(f"{file}: no readable preprocessing ({error})", hint="copy the file again") from error
        return done

    def check(self) -> None:
        """Raise ValueError for sides, factors or colours that no network has."""
        if not (0 < self.height <= _MAX_SIDE and 0 < self.width <= _MAX_SIDE):
            raise ValueError(f"size {self.width}x{self.height}, at most {_MAX_SIDE}x{_MAX_SIDE}")
        colours = (*(self.mean or ()), *(self.std or ()))
        if not (np.isfinite([self.factor, *colours]).all() and self.factor > 0 and min(self.std or (1,)) > 0):
            raise ValueError("rescale_factor and image_std must be above 0, and they and image_mean finite")

    def __call__(self, frames_rgb: Bytes) -> "torch.Tensor":
        """Turn `[N, H, W, 3]` uint8 into `[N, 3, height, width]` float32, on the CPU."""
        import torch

        pictures = torch.from_numpy(np.array(frames_rgb)).permute(0, 3, 1, 2)
        pictures = torch.nn.functional.interpolate(
            pictures, size=(self.height, self.width), mode=self.interpolation, antialias=True, align_corners=False
        )
        inputs = pictures.float().contiguous()
        if self.mean is None or self.std is None:
            return inputs.mul_(self.factor)
        mean, std = (torch.tensor(values).view(-1, 1, 1) / self.factor for values in (self.mean, self.std))
        return inputs.sub_(mean).div_(std)


class TransformersDetector(TorchDetector):
    """RT-DETR, RT-DETRv2 or D-FINE in the form of Hugging Face transformers.

    Args:
        weights: Folder with `config.json` and `model.safetensors`, and with `preprocessor_config.json` where the
            input differs from 640x640 in 0..1.
        device: torch device name.
        min_score: Boxes below it are left out.
        input_size: Side of the network's square input in pixels, a multiple of 32; None takes what the weights were
            made for. Larger finds smaller people, more slowly.
        threads: Frames at a time on the CPU.

    Attributes:
        name: The folder's.
        sha256: Of `model.safetensors`.
        start_score: Box score from which on a box may start a track.
        preprocessing: From frames to inputs.

    Raises:
        JmposeError: A file is absent or damaged, weights are missing or left over, the network is of another kind or
            knows no class `person`, or the input size does not fit it.
    """

    def __init__(
        self,
        weights: Path,
        *,
        device: str,
        min_score: float,
        input_size: int | None = None,
        threads: int = 1,
    ) -> None:
        config, file = _read_config(weights), weights / WEIGHTS
        self._person = _person_class(weights / CONFIG, config)
        self.preprocessing = Preprocessing.read(weights / PREPROCESSOR)
        if input_size is not None:
            self.preprocessing = replace(self.preprocessing, height=input_size, width=input_size)
        if not file.is_file():
            raise JmposeError(f"{file}: there is no such file", hint=f"{_WHAT_FITS}; pickles and shards are not read")

        model = _load_network(file, config)
        settings = model.config
        _check_size(weights, self.preprocessing, strides=settings.feat_strides, queries=settings.num_queries)
        self.name, self.sha256, self.start_score = weights.resolve().name, file_sha256(file), START_SCORE
        super().__init__(device=device, min_score=min_score, threads=threads)
        self._model = model.to(self._device)

    def _detect(self, frames_rgb: Bytes, pixel_width: float) -> list[Detections]:  # stretched, whatever their pixels
        import torch

        height, width = frames_rgb.shape[1:3]
        with torch.inference_mode():
            outputs = self._model(pixel_values=self.preprocessing(frames_rgb).to(self._device))
            queries, classes = outputs.logits.shape[1:]
            # As transformers' post_process_object_detection: the best pairs of a query and a class, so that a query
            # may stand for two classes, but never twice for a person.
            scores, pairs = outputs.logits.sigmoid().flatten(1).topk(queries)
            centre, size = outputs.pred_boxes.split(2, dim=-1)
            corners = torch.cat([centre - size / 2, centre + size / 2], dim=-1)
            boxes = corners.gather(1, (pairs // classes)[..., None].expand(-1, -1, 4))
            rows = zip(boxes.cpu().numpy(), scores.cpu().numpy(), (pairs % classes).cpu().numpy(), strict=True)
        return [
            _detections(relative[labels == self._person], score[labels == self._person], self._min_score, width, height)
            for relative, score, labels in rows
        ]


def _detections(relative: np.ndarray, scores: np.ndarray, min_score: float, width: int, height: int) -> Detections:
    """Bring corners in 0..1 to the frame and clip them; leave out low scores and what is below a pixel."""
    limits = np.array([width, height, width, height], np.float32)
    boxes = (relative * limits).clip(0, limits)
    kept = (scores >= min_score) & ((boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1)
    return Detections(boxes[kept], scores[kept])


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise JmposeError(f"{file}: not readable as JSON ({error})", hint="copy the file again") from error
    if not isinstance(content, dict):
        raise JmposeError(f"{file}: not a JSON object", hint="copy the file again")
    return content


def _read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json`, and make sure that the network is one of the three and is described in full."""
    file = folder / CONFIG
    if not file.is_file():
        raise JmposeError(f"{folder}: a folder without {CONFIG} is no detector", hint=_WHAT_FITS)
    config = _read_json(file)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise JmposeError(f"{file}: model_type {json.dumps(kind)}, allowed are {', '.join(FAMILIES)}", hint=_WHAT_FITS)
    if config.get("backbone") and not config.get("backbone_config"):
        # transformers would look such a name up on the Hub.
        raise JmposeError(
            f"{file}: backbone {json.dumps(config['backbone'])} is a name, not a description",
            hint="save the network again with its backbone_config written out",
        )
    config = _taken(config)
    try:
        _check_numbers(config, "")
        _check_strides(config)
    except ValueError as error:
        raise JmposeError(f"{file}: {error}", hint=_WHAT_FITS) from error
    return config


def _check_numbers(value: object, name: str, *, depth: int = 0) -> None:
    """Make sure that no number and no list of a description is far above those of real networks."""
    if isinstance(value, dict | list):
        items = list(value.items()) if isinstance(value, dict) else [(name, item) for item in value]
        most = _MAX_CLASSES if isinstance(value, dict) else _MAX_LENGTH
        if len(items) > most or depth > 4:
            raise ValueError(f"{name[:60]} has {len(items)} entries in {depth} levels, at most {most} in 4")
        for inner, item in items:
            _check_numbers(item, str(inner), depth=depth + 1)
    elif isinstance(value, int | float):
        most = _MAX_REPEATS if depth and _REPEATS.search(name) else _MAX_NUMBER
        if not abs(value) <= most:
            shown = value if abs(value) < 1 << 64 else "a number of many digits"
            raise ValueError(f"{name[:60]} is {shown}, at most {most}")


def _check_strides(config: dict[str, Any]) -> None:
    strides, queries = config.get("feat_strides", [8, 16, 32]), config.get("num_queries", 300)
    if not isinstance(strides, list) or not strides or any(type(s) is not int or s < 1 for s in strides):
        raise ValueError("feat_strides must be whole numbers above 0")
    if type(queries) is not int or queries < 1:
        raise ValueError("num_queries must be a whole number above 0")


def _taken(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a description what is none of the network, at all levels."""
    return {
        name: _taken(value) if isinstance(value, dict) else value
        for name, value in config.items()
        # Which kernels compute the attention may be named by their place on the Hub.
        if name not in _NOT_TAKEN and "attn_implementation" not in name
    }


def _person_class(file: Path, config: dict[str, Any]) -> int:
    """Find the number of the class `person`, whatever its case."""
    names = config.get("id2label")
    names = names if isinstance(names, dict) else {}
    for number in range(len(names)):
        if str(names.get(str(number))).strip().lower() == "person":
            return number
    some = ", ".join(str(name) for name in list(names.values())[:5]) or "no names"
    raise JmposeError(
        f"{file}: a detector without the class 'person' (id2label has {some})", hint="use one trained on people"
    )


def _check_size(folder: Path, preprocessing: Preprocessing, *, strides: list[int], queries: int) -> None:
    """Make sure that the network runs at this input size: it begins its `queries` at the best of all cells."""
    sides = (preprocessing.height, preprocessing.width)
    what = f"{folder}: input of {sides[1]}x{sides[0]} pixels"
    if any(side < _GRID or side % _GRID for side in sides):
        below = max(sides[0] // _GRID, 1) * _GRID
        raise JmposeError(
            f"{what}, but its sides must be multiples of {_GRID}",
            hint=f"people.input_size={below} or {below + _GRID} fits",
        )
    places = sum((sides[0] // stride) * (sides[1] // stride) for stride in strides)
    if places < queries:
        enough = next(side for side in count(_GRID, _GRID) if sum((side // s) ** 2 for s in strides) >= queries)
        raise JmposeError(
            f"{what} has {places} places for boxes, but {queries} are asked for",
            hint=f"people.input_size={enough} or more fits",
        )


def _not_done(file: Path, what: str) -> JmposeError:
    return JmposeError(
        f"{file}: {what} is not supported",
        hint="allowed: a size with height and width, resample 2 (bilinear) or 3 (bicubic), no padding",
    )


def _load_network(file: Path, config: dict[str, Any]) -> Any:
    """Build the network that `config` describes and fill it; return it in eval mode and fp32."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import DFineForObjectDetection, RTDetrForObjectDetection, RTDetrV2ForObjectDetection

    kind = config["model_type"]
    network = {
        "rt_detr": RTDetrForObjectDetection,
        "rt_detr_v2": RTDetrV2ForObjectDetection,
        "d_fine": DFineForObjectDetection,
    }[kind]
    try:
        state = load_file(file)
    except (OSError, SafetensorError) as error:
        raise JmposeError(
            f"{file}: damaged or cut short ({_in_a_line(error)})", hint="copy or download the file again"
        ) from error
    size = sum(tensor.numel() for tensor in state.values())
    try:
        body = config.get("backbone_config") or {}
        if not isinstance(body, dict) or body.get("model_type", _BODIES[0]) not in _BODIES:
            what = body.get("model_type") if isinstance(body, dict) else body
            raise ValueError(f"its body is {what!r}, allowed are {' and '.join(_BODIES)}")
        # Anchors follow the input; fixed ones would be the same, and fit one input size only.
        description = network.config_class.from_dict(config | {"anchor_image_size": None})
        with _silence(), torch.device("meta"):
            planned = sum(parameter.numel() for parameter in network(description).parameters())
        if planned > _MAX_SURPLUS * size + _MAX_NUMBER:
            raise ValueError(f"it has {planned} weights, the file {size}")
        with _silence():
            # The weights are handed over, not the folder: transformers has nothing else to open or to look up.
            model, report = network.from_pretrained(
                None,
                config=description,
                state_dict=state,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # a wrong description makes transformers stumble anywhere
        raise JmposeError(
            f"{file.with_name(CONFIG)}: describes no {FAMILIES[kind]} that can be built ({_in_a_line(error)})",
            hint=f"take it from the same place as {WEIGHTS}",
        ) from error
    faults = {
        "missing": report["missing_keys"],
        "of another shape": {name for name, *_ in report["mismatched_keys"]},
        # Frozen batch norms have no such counters; files written by other tools do.
        "too many": {name for name in report["unexpected_keys"] if not name.endswith(".num_batches_tracked")},
    }
    for fault, names in faults.items():
        if names:
            how_many = f"{len(names)} weight{'s' * (len(names) != 1)}"
            raise JmposeError(
                f"{file}: {how_many} {fault} for the {FAMILIES[kind]} in {CONFIG}, such as {min(names)}",
                hint="take both files from the same place",
            )
    return model.eval()


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


@contextmanager
def _silence() -> Iterator[None]:
    """Keep transformers from drawing bars and tables: what they tell is checked here and raised as an error."""
    from transformers.utils import logging

    level, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()
