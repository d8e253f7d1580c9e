"""What options and settings choose from; imports nothing, so that `jmpose --help` can show it."""

from typing import Literal, get_args

Decoder = Literal["auto", "decord", "pyav"]
"""What decodes a video: auto is decord, or PyAV where decord fails."""
Precision = Literal["fp32", "tf32", "bf16", "fp16", "int8"]
"""Arithmetic of the networks; int8 is that of the backbone only, by onnx."""
Engine = Literal["auto", "torch", "onnx", "tensorrt"]
"""What runs the networks: auto is onnx for shipped models in fp32 on a CPU, else torch; tensorrt is TensorRT by ONNX
Runtime."""
ExportFormat = Literal["onnx", "torchscript"]
"""What `jmpose export` writes."""
Labels = Literal["id", "score", "both", "none"]
"""What the overlay writes beside people's heads."""
SuspectKind = Literal["jump", "sides", "limb", "unsure", "appears", "vanishes", "gap", "double", "shared", "nobody"]
"""What `jmpose check` finds; see `clips/check`."""
SUSPECT_KINDS: tuple[SuspectKind, ...] = get_args(SuspectKind)
PersonIds = Literal["track", "identity"]
"""By what the people of clips are known: their raw tracks, or who they are after tracks were joined."""
ClipSide = Literal["model", "corrected"]
"""What of a clip is scored: what the model gave, or what people have made of it."""
