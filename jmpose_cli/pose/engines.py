"""Which engine runs a pose model, and the model on it."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from jmpose.errors import WeightsError
from jmpose.files import file_sha256
from jmpose_cli import __version__
from jmpose_cli.choices import Engine, Precision
from jmpose_cli.errors import JmposeError
from jmpose_cli.home import cache_folder, library_folder
from jmpose_cli.onnx_graphs import FORM, QUANTISED, QUANTISED_MODELS, Graphs, GraphsError, description_of, read_graphs
from jmpose_cli.onnx_providers import choose_provider
from jmpose_cli.pose.estimator import CPU_PEOPLE, EstimatorSettings, PoseEstimator
from jmpose_cli.zoo.graph_files import is_graph

ENGINE_NAMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
_PRECISIONS: dict[tuple[str, str], tuple[Precision, ...]] = {
    ("onnx", "cpu"): ("fp32", "int8"),
    ("onnx", "cuda"): ("fp32", "tf32"),
    ("tensorrt", "cuda"): ("tf32", "fp16"),  # nothing in ONNX Runtime forbids it to use TF32
}
"""What engines of ONNX Runtime compute in, by device."""


def load_estimator(
    path: Path,
    settings: EstimatorSettings,
    *,
    engine: Engine,
    temporal: Path | None = None,
    replace_temporal: bool = False,
) -> tuple[PoseEstimator, str]:
    """Load a pose model on an engine.

    `auto` is onnx for models that have graphs beside their weights, on a CPU and where it can do what is asked, else
    torch; int8 is onnx only. Graphs of other projects are run as what they are, in float32 on the CPU, and the temporal
    part by torch.

    Args:
        path: The weights, or a graph of another project.
        settings: How they are run.
        engine: What runs them.
        temporal: Weights whose temporal part is put on a model that has learnt none of its own, if it fits.
        replace_temporal: Put it on any model; that it does not fit is an error then.

    Returns:
        The model, and what the user should know about the choice: empty when nothing.

    Raises:
        JmposeError: The model cannot be loaded, or the engine cannot do what is asked.
    """
    note = ""
    if is_graph(path):
        return _foreign(path, settings, engine, temporal, replace_temporal=replace_temporal)
    if settings.precision == "int8":
        if engine == "torch":
            raise JmposeError("--precision int8 with --engine torch: onnx only", hint="leave --engine out, or use fp32")
        if replace_temporal or not description_of(path).is_file():
            raise _not_quantised(path.stem)
        engine = "onnx" if engine == "auto" else engine
    lacking = _lacking(settings, "onnx" if engine == "auto" else engine)
    if engine in ("onnx", "tensorrt"):
        if lacking:
            raise JmposeError(f"--engine {engine}: {lacking}", hint="use --engine torch, or auto")
        return _on_onnx(path, settings, engine, temporal, replace_temporal=replace_temporal), note
    beside = description_of(path)
    # A temporal part that is only offered is for models without one: none of those that have graphs.
    on_cpu = settings.device == "cpu"
    if engine == "auto" and on_cpu and not lacking and not replace_temporal and beside.is_file():
        from jmpose_cli.pose.onnx_engine import OnnxEstimator

        try:
            sha256 = file_sha256(path)
            graphs = read_graphs(beside, made_from={"model": sha256, "temporal": None})
            return OnnxEstimator(graphs, settings, sha256=sha256), note
        except GraphsError as error:
            note = f"{error.message}, so torch runs the model; {error.hint}"
    from jmpose_cli.pose.torch_engine import TorchEstimator

    return TorchEstimator.load(path, settings, temporal=temporal, replace_temporal=replace_temporal), note


def _foreign(
    path: Path, settings: EstimatorSettings, engine: Engine, temporal: Path | None, *, replace_temporal: bool
) -> tuple[PoseEstimator, str]:
    """Load a graph of another project."""
    runs = "openvino" if path.suffix == ".xml" else "onnx"
    if engine not in ("auto", runs):
        raise JmposeError(f"--engine {engine}: {path} is run by {ENGINE_NAMES[runs]} only", hint="use --engine auto")
    if settings.precision != "fp32" or settings.compiled:
        asked = "--compile" if settings.compiled else f"precision {settings.precision}"
        raise JmposeError(f"{asked}: {path} is run as it is, in fp32", hint="leave it out for graphs of other projects")
    from jmpose_cli.pose.torch_engine import TorchEstimator

    estimator = TorchEstimator.load(path, settings, temporal=temporal, replace_temporal=replace_temporal)
    return estimator, estimator.about


def _lacking(settings: EstimatorSettings, engine: str) -> str:
    """Say which thing that is asked for an engine of ONNX Runtime is not used for here; empty for nothing."""
    device = settings.device.partition(":")[0]
    precisions = _PRECISIONS.get((engine, device))
    if precisions is None:
        devices = " and ".join(kind for name, kind in _PRECISIONS if name == engine)
        return f"it runs on {devices} only, not on {settings.device}"
    if settings.precision not in precisions:
        return f"on {settings.device} it computes in {' and '.join(precisions)} only, not in {settings.precision}"
    return "it cannot be compiled by torch" if settings.compiled else ""


def _not_quantised(name: str) -> JmposeError:
    models = " or ".join(f"--model {model}" for model in QUANTISED_MODELS)
    return JmposeError(f"--precision int8: {name} has no graph in it", hint=f"use {models}, or fp32")


def _on_onnx(
    path: Path, settings: EstimatorSettings, engine: str, temporal: Path | None, *, replace_temporal: bool
) -> PoseEstimator:
    """Load a model from the graphs beside its weights, from those in the cache, or make them there.

    Graphs have one shape; those beside weights are for the people of a call on a CPU.
    """
    from onnxruntime import get_available_providers

    from jmpose_cli.pose.onnx_engine import OnnxEstimator

    tf32, available = settings.precision == "tf32", get_available_providers()
    provider = choose_provider(engine, settings.device, tf32=tf32, available=available)
    people = CPU_PEOPLE if settings.device == "cpu" else settings.batch
    beside = description_of(path)
    if beside.is_file() and not replace_temporal and people == CPU_PEOPLE:
        sha256 = file_sha256(path)
        graphs = read_graphs(beside, made_from={"model": sha256, "temporal": None})
        if settings.precision == "int8" and not graphs.has(QUANTISED):
            raise _not_quantised(path.stem)
        return OnnxEstimator(graphs, settings, sha256=sha256, provider=provider)
    from jmpose_cli.pose.onnx_export import made_from

    wanted = made_from(path, temporal)
    asked = {**wanted, "replace_temporal": replace_temporal, "people": people, "form": FORM, "version": __version__}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "onnx" / f"{path.resolve().stem}-{key[:16]}"
    description = folder / "model.onnx.json"
    if not description.is_file():
        folder = _make(path, folder, temporal, replace_temporal=replace_temporal, people=people, engine=engine)
        description = folder / description.name
    graphs = _of_cache(description, wanted)
    used = temporal if graphs.facts["made_from"]["temporal"] else None
    return OnnxEstimator(graphs, settings, sha256=wanted["model"], temporal=used, provider=provider)


def _of_cache(description: Path, wanted: dict[str, str | None]) -> Graphs:
    """Read graphs of the cache, which hold the temporal part offered or, where it does not fit, the model's own."""
    try:
        return read_graphs(description, made_from=wanted)
    except GraphsError:
        return read_graphs(description, made_from={**wanted, "temporal": None})


def _make(path: Path, folder: Path, temporal: Path | None, *, replace_temporal: bool, people: int, engine: str) -> Path:
    """Make the graphs of a model in the cache; return their folder, which is whole or not there."""
    from jmpose_cli.pose.onnx_export import write_pose_graphs

    parent = library_folder("onnx")
    if parent is None:
        message = f"--engine {engine}: {folder.parent} cannot be written to"
        raise JmposeError(message, hint="set JMPOSE_CACHE to a folder")
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=parent))
    try:
        write_pose_graphs(
            path,
            unfinished / "model.onnx.json",
            temporal=temporal,
            replace_temporal=replace_temporal,
            people=people,
        )
        target = parent / folder.name
        if not target.exists():  # another process may have been faster
            unfinished.rename(target)
        return target
    except WeightsError as error:
        raise JmposeError(f"--engine {engine}: {error.message}", hint=error.hint) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
