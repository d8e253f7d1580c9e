"""What runs ONNX graphs: the execution providers of ONNX Runtime, for a CPU, for CUDA, and TensorRT on CUDA.

Those of GPUs are in the package `onnxruntime-gpu`, which takes the place of `onnxruntime`.
"""

import ctypes
import ctypes.util
import hashlib
import json
from collections.abc import Mapping, Sequence

from jmpose_cli.errors import JmposeError

Provider = tuple[str, Mapping[str, str]]
"""An execution provider by its name, and its options."""
ON_CPU: Provider = ("CPUExecutionProvider", {})
_ON_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_OF_ENGINE = {"onnx": (_ON_CUDA, "onnxruntime-gpu"), "tensorrt": (_TENSORRT, "onnxruntime-gpu tensorrt")}


def choose_provider(engine: str, device: str, *, tf32: bool, available: Sequence[str]) -> Provider:
    """Choose what runs the graphs of an engine.

    Args:
        engine: `onnx`, or `tensorrt`, which has no CPU.
        device: torch's name of a device that exists: `cpu` or `cuda:N`.
        tf32: Let CUDA multiply float32 in TensorFloat-32. TensorRT does where the GPU can; no option forbids it.
        available: What `onnxruntime.get_available_providers` gives.

    Raises:
        JmposeError: ONNX Runtime is built without it.
    """
    if device == "cpu":
        return ON_CPU
    name, packages = _OF_ENGINE[engine]
    if name not in available:
        raise JmposeError(
            f"--engine {engine} on {device}: ONNX Runtime has no {name} here, only {', '.join(available)}",
            hint=f"pip uninstall onnxruntime && pip install {packages}; or use --engine torch",
        )
    options = {"device_id": device.partition(":")[2] or "0"}
    if name == _ON_CUDA:
        # By default it tries which convolution is fastest, so that results would differ from run to run.
        options |= {"use_tf32": str(int(tf32)), "cudnn_conv_algo_search": "HEURISTIC"}
    return name, options


def is_tensorrt(provider: Provider) -> bool:
    """Whether TensorRT runs the graphs."""
    return provider[0] == _TENSORRT


def with_spare(provider: Provider) -> list[Provider]:
    """Return the provider with what runs operators that it lacks."""
    spare = [(_ON_CUDA, {"device_id": provider[1]["device_id"]})] if is_tensorrt(provider) else []
    return [provider, *spare]


def keeping_engines(provider: Provider, folder: str, about: Mapping[str, object], *, fp16: bool) -> Provider:
    """Let TensorRT keep what it builds of a graph, which takes minutes.

    Args:
        provider: Of TensorRT.
        folder: Of the cache.
        about: All that an engine depends on, as JSON: graph, weights, versions, GPU. Others have a folder of their own.
        fp16: Compute in float16.
    """
    name, options = provider
    key = hashlib.sha256(json.dumps({**about, "fp16": fp16}, sort_keys=True).encode()).hexdigest()
    place = f"{folder}/{key[:16]}"
    return name, {
        **options,
        "trt_fp16_enable": str(int(fp16)),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": place,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": place,
    }


def tensorrt_version() -> str:
    """Return the version of TensorRT. Its Python package, where installed, loads the libraries that are needed."""
    try:
        import tensorrt
    except ImportError:
        name = ctypes.util.find_library("nvinfer")
        return str(ctypes.CDLL(name).getInferLibVersion()) if name else "unknown"
    return str(tensorrt.__version__)
