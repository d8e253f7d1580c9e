"""`jmpose train`: prepare, fit, validate, and what a run folder says about its run."""

import platform
import resource
import shutil
import sys
import time
from contextlib import nullcontext
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import orjson
import torch
import yaml

from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors, write_whole
from jmpose_cli.training.board import Board
from jmpose_cli.training.check import read_all_pictures
from jmpose_cli.training.checkpoint import FOLDER as CHECKPOINTS
from jmpose_cli.training.display import Display
from jmpose_cli.training.fit import LAST, Stopped, fit, train_step, try_validation
from jmpose_cli.training.loader import batches
from jmpose_cli.training.origin import ABOUT, SETTINGS, Origin
from jmpose_cli.training.prepare import Run, prepare
from jmpose_cli.training.validate import Score, ValidationSet

_CHECKED_STEPS = 2
_LIBRARIES = ("jmpose", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "opencv-python")


def train(origin: Origin, folder: Path, *, resume: bool, display: Display) -> list[Score]:
    """Train a model; the folder gets its weights, scores, checkpoints, settings and TensorBoard files.

    Raises:
        JmposeError: The folder holds another run, a signal stopped it, or anything that `prepare` and `fit` raise.
    """
    _check_folder(folder, resume=resume)
    run = prepare(origin.config, folder, resume=resume)
    _introduce(run, origin, display)
    if run.fabric.is_global_zero:
        _describe(run, origin)
    board = Board(folder if run.fabric.is_global_zero else None, step=run.position.step)
    try:
        # Several devices would stop at different steps and wait for one another; they keep their last checkpoint.
        with run.stop.listening() if run.fabric.world_size == 1 else nullcontext():
            scores = fit(run, display, board)
    except Stopped:
        raise JmposeError(
            f"stopped at step {run.position.step}", hint=f"resume with jmpose train --out {folder} --resume"
        ) from None
    finally:
        board.close()
    display.note(f"done: {folder / LAST}; score it with jmpose eval --model, use it with jmpose infer --model")
    return scores


def check(origin: Origin, folder: Path, *, display: Display) -> None:
    """Read everything, take two steps and one validation step, and say what a run would need; keeps nothing.

    Raises:
        JmposeError: What would stop the run.
    """
    config = origin.config
    run = prepare(config, folder, resume=False)
    _introduce(run, origin, display)
    read_all_pictures(run.data, display)
    workers, accumulate = config.data.workers, config.optim.accumulate
    loaded = batches(run.data.train, run.draws()[: _CHECKED_STEPS * accumulate], workers=workers, pin=False)
    run.trainee.train()
    reports = [train_step(run, loaded) for _ in range(min(_CHECKED_STEPS, run.total_steps))]
    # The last step: the first one pays for warming up, and loading has its own processes.
    step_s = reports[-1].seconds - reports[-1].waited_s
    began = time.monotonic()
    try_validation(run, display)
    validation_s = sum(len(chosen.windows) for chosen in run.data.validation) / run.whole_batch
    validation_s *= (time.monotonic() - began) / len(run.data.validation)
    epochs = -(-run.total_steps // run.steps_an_epoch)
    validations = -(-epochs // run.config.save.validate_every)
    steps_s = 60 * config.optim.minutes if config.optim.minutes else step_s * run.total_steps
    whole = timedelta(seconds=round(steps_s + validation_s * validations))
    losses = " ".join(f"{name} {value:.4f}" for name, value in reports[-1].losses.items())
    display.header(
        {
            "check": f"{len(reports)} steps, loss {losses}",
            "validation": "the first batch of every set was scored without a fault; only a whole set gives figures",
            "time": f"{step_s:.2f} s a step, about {whole} for {run.total_steps} steps and {validations} validations "
            "(full-size crops, loading not counted)",
            "memory": _memory(run),
            "disk": f"{shutil.disk_usage(_existing(folder)).free / 1e9:.1f} GB free for {folder}",
        }
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.resolve(), *folder.resolve().parents) if path.is_dir())


def _memory(run: Run) -> str:
    scale = 1 if sys.platform == "darwin" else 1024
    said = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9:.1f} GB peak of this process"
    if run.fabric.device.type == "cuda":
        said += f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU"
    return said


def _check_folder(folder: Path, *, resume: bool) -> None:
    holds_run = (folder / CHECKPOINTS).is_dir() or (folder / SETTINGS).is_file()
    if holds_run and not resume:
        raise JmposeError(f"{folder} holds a run already", hint="resume it with --resume, or choose another --out")
    if resume and not holds_run:
        raise JmposeError(f"--resume: {folder} holds no run", hint="leave out --resume to start one")
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _introduce(run: Run, origin: Origin, display: Display) -> None:
    """Say what the run is."""
    if not run.fabric.is_global_zero:
        display.silence()
    config, data = run.config, run.data
    trained = sum(p.numel() for p in run.trainee.trained.parameters() if p.requires_grad)
    every = sum(p.numel() for p in run.model.parameters())
    devices = f"{run.fabric.world_size} x {run.fabric.device.type}, {run.arithmetic.name}"
    devices += f" ({run.arithmetic.reason})" if run.arithmetic.reason else ""
    length = f"{run.total_steps} in {config.optim.epochs} epochs"
    if config.optim.minutes:
        length = f"as many as {config.optim.minutes:g} minutes have,"
    display.header(
        {
            "settings": origin.said,
            "model": f"{run.model.config.name}, {trained:,} of {every:,} parameters are trained",
            "device": devices,
            "training": f"{len(data.train)} people in {len(data.train.sources)} sources, {len(data.order)} an epoch",
            "validation": ", ".join(map(_validation_set, data.validation)),
            "steps": f"{length} of {run.whole_batch * config.optim.accumulate} windows",
        }
    )
    if run.position.step:
        display.note(f"resumes at step {run.position.step}, epoch {run.position.epoch + 1}")
    for note in [*run.checkpoints.notes, *data.notes]:
        display.note(note)


def _validation_set(chosen: ValidationSet) -> str:
    part = f" of {len(chosen.sources)} of {chosen.videos} videos" if len(chosen.sources) < chosen.videos else ""
    return f"{chosen.label} ({len(chosen.windows)} people{part}, {chosen.ap_name})"


def _describe(run: Run, origin: Origin) -> None:
    """Write the resolved settings, versions, seed and checksums."""
    settings = run.config.model_dump(mode="json")
    about = {
        "command": sys.argv,
        **origin.as_json(),
        "seed": run.config.seed,
        "versions": {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
        "device": str(run.fabric.device),
        "devices": run.fabric.world_size,
        "precision": run.arithmetic.name,
        "data_sha256": run.data.checksums,
        "model": run.model.config.to_dict(),
        "left_out": list(run.data.notes),
    }
    texts = {
        SETTINGS: yaml.safe_dump(settings, sort_keys=False).encode(),
        ABOUT: orjson.dumps(about, option=orjson.OPT_INDENT_2),
    }
    for name, text in texts.items():
        write_whole(run.folder / name, text)
