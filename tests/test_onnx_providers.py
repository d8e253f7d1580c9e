"""Which execution provider runs a graph, and what is said where it is not there."""

import numpy as np
import onnxruntime
import pytest

from jmpose.presets import CONFIGS
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED
from jmpose_cli.onnx_graphs import read_graphs
from jmpose_cli.onnx_providers import ON_CPU, choose_provider, is_tensorrt, keeping_engines, with_spare
from jmpose_cli.pose.engines import load_estimator
from jmpose_cli.pose.estimator import EstimatorSettings

CPU = ("CPUExecutionProvider",)
CUDA = ("CUDAExecutionProvider", *CPU)
ALL = ("TensorrtExecutionProvider", *CUDA)
NANO = SHIPPED / "nano.safetensors"


@pytest.mark.parametrize("available", [CPU, CUDA, ALL])
def test_a_cpu_is_a_cpu_whatever_there_is(available):
    assert choose_provider("onnx", "cpu", tf32=False, available=available) == ON_CPU
    assert with_spare(ON_CPU) == [ON_CPU]


@pytest.mark.parametrize("available", [CUDA, ALL])
def test_onnx_on_cuda_is_exact_unless_asked(available):
    name, options = choose_provider("onnx", "cuda:1", tf32=False, available=available)
    assert name == CUDA[0] and (options["device_id"], options["use_tf32"]) == ("1", "0")
    assert choose_provider("onnx", "cuda:1", tf32=True, available=available)[1]["use_tf32"] == "1"
    assert with_spare((name, options)) == [(name, options)]


def test_tensorrt_leaves_what_it_lacks_to_cuda():
    provider = choose_provider("tensorrt", "cuda:1", tf32=True, available=ALL)
    assert is_tensorrt(provider)
    assert [(name, options["device_id"]) for name, options in with_spare(provider)] == [(ALL[0], "1"), (CUDA[0], "1")]


@pytest.mark.parametrize(
    ("engine", "available", "packages"),
    [
        ("onnx", CPU, "onnxruntime-gpu;"),
        ("tensorrt", CPU, "onnxruntime-gpu tensorrt;"),
        ("tensorrt", CUDA, "tensorrt;"),
    ],
)
def test_a_provider_that_is_not_there_is_an_error(engine, available, packages):
    said = f"--engine {engine} on cuda:0: ONNX Runtime has no .*, only {available[0]}"
    with pytest.raises(JmposeError, match=said) as caught:
        choose_provider(engine, "cuda:0", tf32=False, available=available)
    assert packages in caught.value.hint and "--engine torch" in caught.value.hint


def test_engines_of_other_weights_versions_and_precisions_are_kept_apart():
    provider = choose_provider("tensorrt", "cuda:0", tf32=True, available=ALL)
    about = {"files": ["nano.encode.onnx", "1f"], "made_from": {"model": "2e"}, "tensorrt": "10.9", "gpu": "H100"}
    others = [{**about, "made_from": {"model": "3d"}}, {**about, "tensorrt": "10.8"}, {**about, "gpu": "A100"}]
    kept = [keeping_engines(provider, "/cache", each, fp16=False)[1] for each in (about, *others)]
    kept.append(keeping_engines(provider, "/cache", about, fp16=True)[1])
    assert len({options["trt_engine_cache_path"] for options in kept}) == 5
    assert all(options["trt_engine_cache_path"].startswith("/cache/") for options in kept)
    assert [options["trt_fp16_enable"] for options in kept] == ["0", "0", "0", "0", "1"]
    assert keeping_engines(provider, "/cache", about, fp16=False)[1] == kept[0]


needs_cpu_build = pytest.mark.skipif(
    CUDA[0] in onnxruntime.get_available_providers(), reason="needs an ONNX Runtime without CUDA"
)


@needs_cpu_build
@pytest.mark.parametrize(("engine", "precision"), [("onnx", "fp32"), ("tensorrt", "fp16")])
def test_asked_for_and_not_there(engine, precision):
    settings = EstimatorSettings(device="cuda:0", precision=precision)
    with pytest.raises(JmposeError, match=f"--engine {engine} on cuda:0: ONNX Runtime has no"):
        load_estimator(NANO, settings, engine=engine)


@needs_cpu_build
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_onnx_runtime_passes_over_is_an_error():
    """ONNX Runtime warns and computes on the CPU; nobody would know."""
    graphs = read_graphs(NANO.with_suffix(".onnx.json"), made_from=_made_from())
    with pytest.raises(JmposeError, match="CUDAExecutionProvider does not work here") as caught:
        graphs.session("decode", (CUDA[0], {"device_id": "0"}))
    assert "--engine torch" in caught.value.hint
    shapes = {"heatmaps": (4, 19, *CONFIGS["nano"].preprocess.heatmap_size), "to_image": (4, 2, 3)}
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert graphs.session("decode").run(inputs)[0].shape == (4, 19, 2)


def _made_from():
    from jmpose_cli.pose.onnx_export import made_from

    return made_from(NANO, None)
