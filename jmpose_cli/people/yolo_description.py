"""What may stand in the description of a YOLO: ultralytics evaluates its strings, so all of it is checked before.

The rules are those of the detectors that ultralytics publishes (v3 to 26), and of their heads on bodies of torchvision.
What breaks one is a ValueError that says where.
"""

from collections.abc import Mapping
from typing import Any

from jmpose_cli.people.detector_description import MAX_CLASSES, number, shown, whole

_MAX_LAYERS, _MAX_REPEATS = 200, 64
_MAX_CHANNELS, _MAX_SMALL = 4096, 64
_HEADS = ("Detect", "v10Detect")
_ACTIVATIONS = {
    prefix + call
    for prefix in ("nn.", "torch.nn.")
    for call in ("SiLU()", "ReLU()", "ReLU6()", "LeakyReLU()", "LeakyReLU(0.1)", "Hardswish()", "Mish()", "GELU()")
}
_BODIES = ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet34", "resnet50")
# One letter for each argument, as in `_KINDS`; those after the first may be left out.
_MODULES = {
    "A2C2f": "cbabffkb",
    "AConv": "c",
    "ADown": "c",
    "Bottleneck": "cbk",
    "BottleneckCSP": "cbkf",
    "C1": "c",
    "C2": "cbkf",
    "C2PSA": "cf",
    "C2f": "cbkf",
    "C2fCIB": "cbbkf",
    "C2fPSA": "cf",
    "C3": "cbkf",
    "C3Ghost": "cbkf",
    "C3k2": "cbfbkb",
    "C3x": "cbkf",
    "CBFuse": "K",
    "CBLinear": "Ckkkk",
    "Concat": "1",
    "Conv": "ckkkkkb",
    "DWConv": "ckkkb",
    "Detect": "n",
    "ELAN1": "ccc",
    "Focus": "ckkkk",
    "GhostBottleneck": "ckk",
    "GhostConv": "ckkkb",
    "Index": "ck",
    "PSA": "cf",
    "RepC3": "cf",
    "RepNCSPELAN4": "ccck",
    "SCDown": "ckk",
    "SPP": "cK",
    "SPPELAN": "cck",
    "SPPF": "ckkb",
    "TorchVision": "ct0bkb",
    "nn.ConvTranspose2d": "ckkk",
    "nn.Identity": "",
    "nn.MaxPool2d": "kkk",
    "nn.Upsample": "0km",
    "nn.ZeroPad2d": "K",
    "v10Detect": "n",
}


def check_network(given: object) -> dict[str, Any]:
    """Check what `DetectionModel` is built from, and give a copy with nothing beside it.

    Args:
        given: The `yaml` of a detector, as its file has it.

    Raises:
        ValueError: Something is unknown, of a wrong type or out of bounds.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"the network is {shown(given)}, not a mapping")
    classes = whole(given.get("nc"), 1, MAX_CLASSES, "nc")
    checked: dict[str, Any] = {"nc": classes}
    if given.get("channels", given.get("ch", 3)) != 3:
        raise ValueError(f"channels is {shown(given.get('channels', given.get('ch')))}, allowed is 3")
    if given.get("end2end") is not None:
        checked["end2end"] = _flag(given["end2end"], "end2end")
    if "reg_max" in given:
        checked["reg_max"] = whole(given["reg_max"], 1, _MAX_SMALL, "reg_max")
    if given.get("activation") is not None:
        checked["activation"] = _among(given["activation"], sorted(_ACTIVATIONS), "activation")
    checked |= _scale(given)
    for part in ("backbone", "head"):
        if not isinstance(given.get(part), list | tuple):
            raise ValueError(f"{part} is {shown(given.get(part))}, not a list of layers")
    count = len(given["backbone"]) + len(given["head"])
    if not 2 <= count <= _MAX_LAYERS:
        raise ValueError(f"{count} layers, allowed are 2 to {_MAX_LAYERS}")
    start = len(given["backbone"])
    checked["backbone"] = [_layer(layer, i, count, classes) for i, layer in enumerate(given["backbone"])]
    checked["head"] = [_layer(layer, i, count, classes) for i, layer in enumerate(given["head"], start)]
    return checked


def _scale(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check depth and width, of which a file may have several; only the one in use is kept."""
    scales = given.get("scales")
    if not scales:
        return {name: number(given[name], 0, 2, name) for name in ("depth_multiple", "width_multiple") if name in given}
    if not isinstance(scales, Mapping):
        raise ValueError(f"scales is {shown(scales)}, not a mapping")
    scale = given.get("scale") or next(iter(scales))  # ultralytics takes the first, with a warning
    chosen = scales.get(scale) if isinstance(scale, str) and len(scale) <= _MAX_SMALL else None
    if not isinstance(chosen, list | tuple) or len(chosen) != 3:
        raise ValueError(f"scale {shown(scale)} is {shown(chosen)}, not depth, width and most channels")
    depth, width = (number(value, 0, 2, f"scale {scale}") for value in chosen[:2])
    most = whole(chosen[2], 8, _MAX_CHANNELS, f"scale {scale}")
    return {"scale": scale, "scales": {scale: [depth, width, most]}}


def _layer(given: object, index: int, count: int, classes: int) -> list[Any]:
    """Check one row: from which layers, how often, which module, its arguments."""
    where = f"layer {index}"
    if not isinstance(given, list | tuple) or len(given) != 4:
        raise ValueError(f"{where} is {shown(given)}, not [from, repeats, module, arguments]")
    source, repeats, module, arguments = given
    if module == "Silence":  # what YOLOv9 called it
        module = "nn.Identity"
    if not isinstance(module, str) or module not in _MODULES:
        raise ValueError(f"{where} is a {shown(module)}, which no known detector has")
    if (module in _HEADS) != (index == count - 1):
        raise ValueError(f"{where} is a {module}: a detector ends in {' or '.join(_HEADS)}, and has one of it")
    if isinstance(source, list | tuple):
        if not 1 <= len(source) <= _MAX_SMALL:
            raise ValueError(f"{where} has {len(source)} sources")
        source = [whole(value, -max(index, 1), index - 1, f"{where}, from") for value in source]
    else:
        source = whole(source, -max(index, 1), index - 1, f"{where}, from")
    repeats = whole(repeats, 1, _MAX_REPEATS, f"{where}, repeats")
    kinds = _MODULES[module]
    if not isinstance(arguments, list | tuple) or not bool(kinds) <= len(arguments) <= len(kinds):
        raise ValueError(f"{where}, {module}: arguments {shown(arguments)}")
    checked = [
        _argument(value, kind, f"{where}, {module}", classes) for value, kind in zip(arguments, kinds, strict=False)
    ]
    return [source, repeats, module, checked]


def _argument(value: Any, kind: str, where: str, classes: int) -> Any:
    """Check one argument of a module by the letter that stands for it in `_MODULES`."""
    if kind in "CK":
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAX_SMALL:
            raise ValueError(f"{where}: {shown(value)} is not a list of numbers")
        return [_argument(item, kind.lower(), where, classes) for item in value]
    if kind == "c":
        return whole(value, 1, _MAX_CHANNELS, where)
    if kind == "k":
        return whole(value, 0, _MAX_SMALL, where)
    if kind == "a":
        return whole(value, -1, _MAX_SMALL, where)
    if kind == "f":
        return number(value, 0, 8, where)
    if kind == "b":
        return _flag(value, where)
    if kind == "n":
        return _among(value, ["nc", classes], where)
    allowed: dict[str, list[Any]] = {"0": ["None", None], "1": [1], "m": ["nearest", "bilinear"], "t": list(_BODIES)}
    return _among(value, allowed[kind], where)


def _flag(value: object, where: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{where}: {shown(value)} is not true or false")
    return value


def _among(value: object, allowed: list[Any], where: str) -> Any:
    if not any(type(value) is type(known) and value == known for known in allowed):
        raise ValueError(f"{where}: {shown(value)} is not one of {', '.join(map(str, allowed))}")
    return value
