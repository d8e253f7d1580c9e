"""Precision and speed switches of the pose network: what they set, and that they change next to nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._inductor.exc import InvalidCxxCompiler

from jmpose_cli import device
from jmpose_cli.device import choose_device, set_float32_arithmetic
from jmpose_cli.errors import JmposeError
from jmpose_cli.pose.estimator import EstimatorSettings
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import TrackedFrame
from tests.jmpose.tiny_model import stir, tiny_config, tiny_model


@pytest.fixture(autouse=True)
def _arithmetic_as_it_was():
    yield
    set_float32_arithmetic(tf32=False)


def windows() -> list[Windows]:
    """Three frames with two people each."""
    rng = np.random.default_rng(0)
    maker = WindowMaker(Spacing((-2, 0, 2), max_gap_s=0.25))
    made = []
    for index in range(3):
        people = TrackedFrame(
            index=index,
            time_s=index / 25,
            boxes_xyxy_px=np.float32([[10, 10, 40, 70], [50, 5, 90, 75]]),
            scores=np.ones(2, np.float32),
            track_ids=np.array([1, 2]),
            observed=np.ones(2, bool),
        )
        made += maker.push(SeenFrame(rng.integers(0, 255, (80, 100, 3), np.uint8), people))
    return [*made, *maker.finish()]


def estimate(*, device: str = "cpu", precision: str = "fp32", plain: bool = False, **settings) -> np.ndarray:
    """Joints and scores `[F, 2, 17, 3]` of a tiny network with random weights."""
    changes = {"mutual_blocks": 0, "io_estimator": None} if plain else {}
    model = stir(tiny_model(tiny_config(**changes))).eval().to(device)
    settings = {"batch": 4, "flip_test": False} | settings
    estimator = TorchEstimator(model, EstimatorSettings(device=device, precision=precision, **settings), name="tiny")
    poses = estimator.estimate(windows())
    return np.stack([np.concatenate([p.xy_image, p.scores[..., None]], 2) for p in poses])


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_float32_is_exact_unless_asked_otherwise(precision, tf32):
    set_float32_arithmetic(tf32=not tf32)
    estimate(precision=precision)
    assert torch.backends.cudnn.allow_tf32 is tf32 and torch.backends.cuda.matmul.allow_tf32 is tf32
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")


def test_the_order_in_memory_changes_nothing_but_last_digits():
    assert np.allclose(estimate(channels_last=True), estimate(channels_last=False), atol=1e-3)


def test_bfloat16_is_near():
    # Random weights have flat heatmaps with several peaks: joints may jump, scores may not.
    assert np.abs(estimate(precision="bf16")[..., 2] - estimate()[..., 2]).max() < 0.02


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_compiled_network_gives_the_same_and_is_compiled_once(monkeypatch, flip_test):
    # Without the code generator, which takes a minute on two cores; benchmarks/speed/precision.py runs all of it.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **kwargs: compile_(function, backend="eager", **kwargs))
    torch._dynamo.reset()
    options = {"plain": True, "flip_test": flip_test}
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = estimate(compiled=True, threads=2, **options)
    assert np.allclose(compiled, estimate(**options), atol=1e-3)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidCxxCompiler(), "No working C++ compiler found"),
        (ImportError("No module named 'triton'"), "No module named 'triton'"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_no_compiler_is_an_error_that_says_so(monkeypatch, error, reason):
    def broken(*_):
        raise error

    monkeypatch.setattr(torch, "compile", lambda function, **_: broken)
    with pytest.raises(JmposeError, match=rf"pose\.compile: torch\.compile does not work here \({re.escape(reason)}"):
        estimate(compiled=True)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("tf32", "--precision tf32: only CUDA devices have it, not cpu"),
        ("fp16", "--precision fp16: on a CPU it is far slower than fp32"),
    ],
)
@pytest.mark.parametrize(("has_bf16", "hint"), [(True, "use fp32 or bf16"), (False, "use fp32")])
def test_what_no_cpu_has(precision, message, has_bf16, hint, monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: has_bf16)
    with pytest.raises(JmposeError) as caught:
        choose_device("cpu", precision=precision)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("flags", "told", "has_it"),
    [
        ("avx2 avx512f avx512_bf16", "", True),
        ("avx2 amx_bf16 amx_tile", "", True),
        ("asimd bf16", "", True),
        ("avx2 avx512f avx512_vnni", "", False),
        ("", "", False),
        ("avx512_bf16", "AVX2", False),
        ("avx512_bf16", "avx512_core", False),
        ("avx512_bf16", "AVX512_CORE_BF16", True),
    ],
)
def test_bf16_on_a_cpu_without_it_is_refused(flags, told, has_it, monkeypatch):
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset(flags.split()))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", told)
    if has_it:
        assert choose_device("cpu", precision="bf16").name == "cpu"
        return
    with pytest.raises(JmposeError, match=r"--precision bf16: this processor has no .*AVX512-BF16 or AMX") as caught:
        choose_device("cpu", precision="bf16")
    assert caught.value.hint.startswith("use fp32")


@pytest.mark.parametrize(
    ("flags", "has_it"),
    [("avx2 avx512f avx512_vnni", True), ("avx2 avx_vnni", True), ("asimd asimddp", True), ("avx2 avx512f", False)],
)
def test_int8_on_a_cpu_without_it_is_refused(flags, has_it, monkeypatch):
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset(flags.split()))
    if has_it:
        assert choose_device("cpu", precision="int8").name == "cpu"
        return
    with pytest.raises(JmposeError, match=r"--precision int8: this processor has no .*AVX-VNNI") as caught:
        choose_device("cpu", precision="int8")
    assert caught.value.hint.startswith("use fp32")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux's way to say what a processor has")
def test_the_flags_of_this_processor_are_read():
    assert device._cpu_flags() & {"fpu", "fp", "asimd"}


def test_an_old_gpu_has_neither_tf32_nor_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: (7, 0))
    for precision in ("tf32", "bf16"):
        with pytest.raises(JmposeError, match=f"--precision {precision}: Tesla V100 is older") as caught:
            choose_device("cuda", precision=precision)
        assert caught.value.hint == "use fp32 or fp16"
    assert choose_device("cuda", precision="fp16").description == "cuda:0 (Tesla V100)"


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"precision": "fp32"}, 1e-4),
        ({"precision": "tf32"}, 0.02),
        ({"precision": "bf16"}, 0.05),
        ({"precision": "fp16"}, 0.02),
        ({"compiled": True}, 1e-4),
        ({"compiled": True, "precision": "fp16"}, 0.02),
    ],
)
def test_scores_on_a_gpu_are_near_those_of_the_cpu(settings, tolerance):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert np.abs(estimate(device="cuda:0", **settings)[..., 2] - estimate()[..., 2]).max() < tolerance
