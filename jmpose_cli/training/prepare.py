"""Everything that a run needs, built and checked before the first step."""

import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.optim.swa_utils import AveragedModel

from jmpose.build import build_model
from jmpose.errors import ConfigError, WeightsError
from jmpose.network import JMPose
from jmpose.weights import load_model
from jmpose_cli.data.mixture import Draw, EpochSampler
from jmpose_cli.device import convolution_order
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import Access, choose_model
from jmpose_cli.signals import StopRequest
from jmpose_cli.text import one_line
from jmpose_cli.training.checkpoint import Checkpoints, Position, checkpoint_files
from jmpose_cli.training.config import TrainConfig
from jmpose_cli.training.devices import keep_depthwise_fp32, keep_freed_memory, sync_batch_norms
from jmpose_cli.training.optimise import build_optimizer, moving_average
from jmpose_cli.training.precision import Arithmetic, choose_arithmetic, cpu_bf16_gain
from jmpose_cli.training.sources import TrainingData, open_data
from jmpose_cli.training.trainee import Trainee


@dataclass
class Run:
    """A training run, ready to continue from `position`.

    Attributes:
        config: Its settings.
        folder: Its folder.
        fabric: Devices.
        arithmetic: What it computes in.
        data: What is learnt from and scored.
        model: What is trained, on the device.
        trainee: Model and loss.
        step: `trainee` as the devices run it: wrapped, perhaps compiled.
        optimizer: As the devices run it.
        average: Moving average of `model`; what is validated and saved.
        checkpoints: Of this run.
        position: How far it is.
        stop: Whether the user asked to stop.
    """

    config: TrainConfig
    folder: Path
    fabric: Fabric
    arithmetic: Arithmetic
    data: TrainingData
    model: JMPose
    trainee: Trainee
    step: Any
    optimizer: Any
    average: AveragedModel
    checkpoints: Checkpoints
    position: Position
    stop: StopRequest = field(default_factory=StopRequest)

    @property
    def stateful(self) -> dict[str, Any]:
        """What a checkpoint holds beside the position."""
        return {
            "model": self.model,
            "average": self.average,
            "loss": self.trainee.loss,
            "optimizer": self.optimizer,
        }

    @property
    def whole_batch(self) -> int:
        """Windows of all devices in one batch."""
        return self.config.optim.batch * self.fabric.world_size

    @property
    def batches_an_epoch(self) -> int:
        """Batches of one device in one epoch, a multiple of those that make a step."""
        batches = len(self.data.order) // self.whole_batch
        return batches - batches % self.config.optim.accumulate

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return self.batches_an_epoch // self.config.optim.accumulate

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run; of one whose length is a time, what is to be expected by now."""
        optim, position = self.config.optim, self.position
        whole = self.steps_an_epoch * optim.epochs
        if optim.minutes is None or not position.step:
            return min(whole, optim.steps or whole)
        if self.seconds_left == 0:
            return position.step
        return max(position.step + 1, round(position.step * 60 * optim.minutes / max(position.seconds, 1e-9)))

    @property
    def seconds_left(self) -> float | None:
        """Time for further steps; None where the length is a number of steps."""
        minutes = self.config.optim.minutes
        return None if minutes is None else max(60 * minutes - self.position.seconds, 0.0)

    @property
    def is_done(self) -> bool:
        """Whether the last epoch is trained and validated."""
        optim, position = self.config.optim, self.position
        out_of_epochs = optim.minutes is None and position.epoch >= optim.epochs
        return position.batch == 0 and (out_of_epochs or self.is_last_epoch)

    @property
    def is_last_epoch(self) -> bool:
        """Whether no epoch follows the one whose steps were just taken."""
        return self.position.step >= self.total_steps

    def draws(self) -> list[list[Draw]]:
        """What is left of this epoch, for this device."""
        epoch, optim = self.position.epoch, self.config.optim
        share = (epoch + 0.5) / optim.epochs
        if optim.minutes is not None:
            share = min(self.position.seconds / (60 * optim.minutes), 1.0)
        height = next(height for end, height in optim.sizes if share <= end)
        sampler = EpochSampler(
            self.data.order.epoch(epoch),
            epoch=epoch,
            batch=optim.batch,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            first=self.position.batch,
            height=height or self.model.config.preprocess.input_height,
        )
        steps_left = self.total_steps - self.position.step
        return list(sampler)[: min(self.batches_an_epoch - self.position.batch, steps_left * optim.accumulate)]


def prepare(config: TrainConfig, folder: Path, *, resume: bool, data: TrainingData | None = None) -> Run:
    """Build a run, or with `resume` take it up where its newest checkpoint left it.

    Args:
        config: Its settings.
        folder: Its folder.
        resume: Whether to look for a checkpoint.
        data: Where another run with the same data, crops and seed has opened them; None opens them.

    Raises:
        JmposeError: Data, weights, device or checkpoint are not as asked for.
    """
    _check_devices(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    if _device_kind(config) == "cpu":
        keep_freed_memory()
    arithmetic = choose_arithmetic(
        config.precision, _device_kind(config), resume=resume, cpu_gain=lambda: _measured_gain(config)
    )
    fabric = _launch(config, arithmetic)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Sampling has no deterministic gradient on a GPU; there, a warning names it.
        torch.use_deterministic_algorithms(True, warn_only=fabric.device.type != "cpu")
    torch.manual_seed(config.seed)
    has_weights = resume and bool(checkpoint_files(folder))
    model = build_model(config.build_model_config()) if has_weights else _new_model(config)
    data = data or open_data(config, model.config.preprocess)
    model.to(fabric.device)
    model.backbone.to(memory_format=convolution_order(fabric.device))
    if config.temporal and not config.optim.backbone_lr:
        model.freeze_backbone()
    try:
        model.backbone.freeze(config.optim.frozen)
    except ConfigError as error:
        raise JmposeError(f"optim.frozen: {error.message}", hint=error.hint) from error
    if config.optim.heatmap_error == "cross-entropy" and not model.backbone.bounded:
        raise JmposeError(
            f"optim.heatmap_error: cross-entropy needs heatmaps from 0 to 1, those of {config.model} have no bounds",
            hint="take squared",
        )
    if arithmetic.name == "bf16-mixed" and fabric.device.type == "cpu":
        keep_depthwise_fp32(model)
    average = moving_average(model, config.optim.ema)
    if fabric.world_size > 1:
        sync_batch_norms(model)
    trains_backbone = config.optim.backbone_lr > 0
    trainee = Trainee(
        model,
        temporal=config.temporal,
        initial_loss=trains_backbone and config.optim.initial_loss,
        distil=config.optim.distil,
        sides=config.optim.sides,
        error=config.optim.heatmap_error,
    )
    trainee.to(fabric.device)
    checkpoints = Checkpoints(folder, config, arithmetic, checksums=data.checksums, keep=config.save.keep)
    network: nn.Module = torch.compile(trainee) if config.compile else trainee  # type: ignore[assignment]
    step, optimizer = fabric.setup(network, build_optimizer(trainee, config.optim))
    run = Run(
        config, folder, fabric, arithmetic, data, model, trainee, step, optimizer, average, checkpoints, Position()
    )
    if not run.total_steps:
        raise JmposeError(
            f"{len(data.order)} people an epoch do not fill a step of {run.whole_batch * config.optim.accumulate}",
            hint="lower optim.batch or optim.accumulate, or raise the weight of a source",
        )
    if resume:
        run.position = checkpoints.restore(run.stateful)
    return run


def _device_kind(config: TrainConfig) -> str:
    """What the devices are, as Fabric will choose them."""
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _measured_gain(config: TrainConfig) -> float:
    """Measure bf16 on a backbone like the one that is trained; several processes must agree, and take it untried."""
    if config.devices * config.nodes > 1:
        return math.inf
    model = build_model(config.build_model_config())
    preprocess = model.config.preprocess
    crops = torch.rand(min(config.optim.batch, 4), 3, preprocess.input_height, preprocess.input_width)
    return cpu_bf16_gain(model.backbone, crops)


def _check_devices(config: TrainConfig) -> None:
    accelerator = config.device
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise JmposeError("device: cuda: torch sees no CUDA device here", hint="use --set device=cpu")
    if accelerator == "cuda" and config.devices > torch.cuda.device_count():
        raise JmposeError(f"devices = {config.devices}: torch sees {torch.cuda.device_count()} CUDA devices here")


def _launch(config: TrainConfig, arithmetic: Arithmetic) -> Fabric:
    strategy: Any = "auto"
    if config.devices * config.nodes > 1:
        # Parameters without gradient in some steps do not occur, so nothing has to look for them.
        strategy = DDPStrategy(find_unused_parameters=False)
    precision: Any = {"fp32": "32-true", "bf16-mixed": "bf16-mixed"}[arithmetic.name]
    fabric = Fabric(
        accelerator=config.device,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=strategy,
        precision=precision,
    )
    fabric.launch()
    return fabric


def _new_model(config: TrainConfig) -> JMPose:
    """Build the network with the weights that a run starts from; a resumed run has its own in its checkpoint."""
    model = build_model(config.build_model_config())
    if config.init is None:
        return model
    try:
        access = Access(notify=lambda text: print(f"note: {one_line(text)}", file=sys.stderr))
        start = load_model(choose_model(config.init, option="--init", access=access, graphs=False).path)
    except WeightsError as error:
        raise JmposeError(f"init: {error.message}", hint=error.hint) from error
    given, wanted = (start.backbone, model.backbone) if config.init_backbone else (start, model)
    shapes = {name: value.shape for name, value in wanted.state_dict().items()}
    differing = [n for n, value in given.state_dict().items() if shapes.get(n) != value.shape]
    if differing or len(shapes) != len(given.state_dict()):
        raise JmposeError(
            f"init: {config.init} does not fit the model ({', '.join(differing[:3]) or 'parts are missing'})",
            hint="init_backbone: true takes its backbone only; a backbone needs the same name and joints",
        )
    has, needs = (m.config.preprocess.heatmap_alignment for m in (start, model))
    if has != needs:
        raise JmposeError(
            f"init: {config.init} aligns heatmaps with crops by {has}, the model by {needs}",
            hint=f"change: {{preprocess: {{heatmap_alignment: {has}}}}}",
        )
    wanted.load_state_dict(given.state_dict())
    return model
