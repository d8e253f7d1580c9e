"""Settings of `jmpose train`: a YAML file, then `--set a.b=c`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jmpose.config import HeatmapError, ModelConfig
from jmpose.errors import ConfigError
from jmpose.presets import CONFIGS
from jmpose_cli.config import load_settings
from jmpose_cli.errors import JmposeError
from jmpose_cli.training.precision import Asked

_INSTALLED = Path(__file__).parents[1] / "configs"
# A checkout has them beside the network; the wheel puts them into the package.
_UPKEEP = {"save", "threads", "device", "compile", "data.root", "data.workers", "data.cache"}
CONFIG_FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "models" / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceConfig(_Section):
    """One source of annotated people; paths are relative to `data.root`."""

    kind: Literal["posetrack", "coco", "videos", "crops"]
    path: Path = Field(
        Path(), description="Data set root, COCO file, folder that `jmpose infer` wrote, or folder of crops."
    )
    split: str = Field("train", description="Of a PoseTrack data set.")
    videos: Path | None = Field(None, description="Folder of the videos; for kind `videos`.")
    weight: float = Field(1.0, gt=0, description="2 shows every person twice an epoch, 0.5 half of them.")
    box_height: float | None = Field(
        None, gt=0, description="Of the people in `crops`, pixels of the pictures; empty: what the folder says."
    )
    unreviewed: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Of `videos` reviewed in part: weight of joints in other frames that nobody has corrected.",
    )


class ValidationConfig(SourceConfig):
    """One set that is scored after an epoch: PoseTrack AP of videos, OKS AP of COCO files."""

    kind: Literal["posetrack", "coco", "videos"]
    split: str = "val"
    unreviewed: float = Field(0.0, ge=0, le=1, description="As in training; by default only what was looked at counts.")
    name: str = Field("", description="In tables; empty: made from the other settings.")
    moving: bool = Field(False, description="Make up motion for still pictures; without, they have no neighbours.")
    degrade: bool = Field(False, description="Spoil the windows, always in the same way; still pictures move too.")
    max_videos: int | None = Field(None, ge=1, description="Score only so many videos, evenly chosen.")

    @property
    def label(self) -> str:
        """Name in tables."""
        spoilt = " degraded" if self.degrade else " moving" if self.moving else ""
        return self.name or f"{self.path.stem or self.split}{spoilt}"


class DataConfig(_Section):
    """What is learnt from and what is scored."""

    root: Path = Field(Path(), description="Where relative paths of the sources start; `--data` sets it.")
    train: tuple[SourceConfig, ...] = Field(min_length=1)
    val: tuple[ValidationConfig, ...] = Field(min_length=1)
    reach: int = Field(3, ge=0, description="Support frames are drawn from +-reach in training; 0: the model's own.")
    workers: int = Field(2, ge=0, description="Loader processes.")
    cache: Path = Field(Path("runs/cache"), description="Frames taken out of videos.")


class AugmentConfig(_Section):
    """How windows are varied; see `Augmentation`."""

    rotation_deg: float = Field(45.0, ge=0, le=180)
    scale: float = Field(0.35, ge=0, lt=1)
    shift: float = Field(0.07, ge=0)
    flip: float = Field(0.5, ge=0, le=1)
    half_body: float = Field(0.3, ge=0, le=1)
    half_body_joints: int = Field(8, ge=1)
    colour: float = Field(1.0, ge=0, le=1)
    degrade: float = Field(0.5, ge=0, le=1)
    motion: float = Field(0.035, ge=0)
    missing: float = Field(0.15, ge=0, le=1)
    grain: float = Field(0.0, ge=0, le=1)
    swap: float = Field(0.0, ge=0, le=1)
    passers_by: float = Field(0.0, ge=0, le=1)


class OptimConfig(_Section):
    """How weights change."""

    lr: float = Field(1e-3, gt=0)
    backbone_lr: float = Field(0.0, ge=0, description="Rate of the backbone; 0 freezes it.")
    frozen: tuple[str, ...] = Field((), description="Parts of the backbone that stay, such as body.conv_stem.")
    layer_decay: float = Field(1.0, gt=0, le=1, description="Rate of each backbone stage relative to the next one.")
    weight_decay: float = Field(0.05, ge=0)
    batch: int = Field(30, ge=1, description="Windows a step and device.")
    accumulate: int = Field(1, ge=1, description="Batches added up before a step.")
    epochs: int = Field(20, ge=1)
    steps: int | None = Field(None, ge=1, description="Stop after so many steps, whatever `epochs` says.")
    minutes: float | None = Field(
        None,
        gt=0,
        description="Train so long, in place of `epochs` and `steps`: the rate follows the time and reaches its end "
        "with it. Validations and checkpoints come on top; a resumed run has what is left.",
    )
    warmup_steps: int = Field(300, ge=0)
    io_warmup_steps: int = Field(
        0, ge=0, description="Steps in which the weight of information orthogonality grows from 0 to io_weight."
    )
    schedule: Literal["step", "cosine"] = "cosine"
    milestones: tuple[int, ...] = Field((6, 12, 18), description="Epochs at which `step` divides the rate by ten.")
    clip_norm: float = Field(5.0, gt=0, description="Largest norm of the gradient; the estimators' is clipped apart.")
    ema: float = Field(0.998, ge=0, lt=1, description="Decay of the average of the weights, which is saved; 0: none.")
    sizes: tuple[tuple[float, int], ...] = Field(
        ((1.0, 0),), description="(share of the run, crop height) pairs: small crops first; 0 is the model's own."
    )
    initial_loss: bool = Field(True, description="Train the initial heatmaps too, when the backbone is trained.")
    heatmap_error: HeatmapError = Field(
        "squared",
        description="`squared` or `cross-entropy`, of a backbone alone whose heatmaps are from 0 to 1 (MoveNet's). "
        "Both have the same aim; cross-entropy learns more from missing peaks.",
    )
    distil: float = Field(
        0.0, ge=0, description="Weight of the loss to a teacher's heatmaps, of a backbone alone (temporal: false)."
    )
    sides: float = Field(
        0.0, ge=0, description="Weight of the loss that asks which of a left and a right joint is where."
    )


class SaveConfig(_Section):
    """What is kept, and how often."""

    every_minutes: float = Field(5.0, gt=0)
    keep: int = Field(2, ge=1, description="Checkpoints kept; the best and the last weights are kept beside them.")
    best_by: Literal["ap", "pck"] = Field("ap", description="What the best weights are best in, mean of all sets.")
    validate_every: int = Field(1, ge=1, description="Epochs between validations; the last epoch has one anyway.")
    half: bool = Field(True, description="Weights for `infer` in float16, half the size.")


class TrainConfig(_Section):
    """Everything that decides a training run."""

    model: str | dict[str, Any] = Field("nano", description="A shipped configuration, or one written out.")
    change: dict[str, Any] = Field({}, description="Settings of the model that differ, such as mutual_blocks: 3.")
    init: str | None = Field(None, description="Weights to start from: a shipped name or a .safetensors file.")
    init_backbone: bool = Field(False, description="Take the backbone of `init` only.")
    temporal: bool = Field(True, description="False trains the backbone alone, on single frames.")
    seed: int = 0
    precision: Asked = Field("fp32", description="auto: bf16-mixed where the device has it, else fp32.")
    compile: bool = Field(False, description="Run torch.compile on the network.")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(1, ge=1, description="On each node.")
    nodes: int = Field(1, ge=1, description="Machines; started with torchrun.")
    deterministic: bool = Field(False, description="Bit-identical repetitions; slower on a GPU.")
    threads: int | None = Field(None, ge=1, description="CPU threads of torch; None: its own choice.")
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    save: SaveConfig = SaveConfig()

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        shares = [share for share, _ in self.optim.sizes]
        if shares != sorted(shares) or shares[-1] != 1.0:
            raise ValueError("optim.sizes must have ascending shares that end in 1.0")
        if not self.temporal and not self.optim.backbone_lr:
            raise ValueError("temporal = false with optim.backbone_lr = 0 leaves nothing to train")
        if self.temporal and self.optim.heatmap_error != "squared":
            raise ValueError("optim.heatmap_error is of a backbone alone: it needs temporal = false")
        if self.temporal and self.optim.distil:
            raise ValueError("optim.distil trains a backbone alone: it needs temporal = false")
        if self.init is None and not self.optim.backbone_lr:
            raise ValueError(
                "--init is missing: this configuration keeps the backbone as it is (optim.backbone_lr: 0), so it needs "
                "trained weights to start from; see `jmpose models list`"
            )
        return self

    def build_model_config(self) -> ModelConfig:
        """Return the model's configuration with the changes, without the calibration of any weights.

        Raises:
            JmposeError: An unknown configuration or an impossible change.
        """
        if isinstance(self.model, str):
            if self.model not in CONFIGS:
                raise JmposeError(f"model {self.model!r} is unknown", hint=f"known: {', '.join(CONFIGS)}")
            values = CONFIGS[self.model].to_dict()
        else:
            values = self.model
        try:
            return replace(ModelConfig.from_dict(_merged(values, self.change)), calibration=None)
        except ConfigError as error:
            raise JmposeError(f"model: {error.message}", hint=error.hint) from error


def _merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in change.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def load_train_config(name: str, assignments: Sequence[str], options: Mapping[str, Any]) -> TrainConfig:
    """Read a configuration by the name of a shipped one, or from a file.

    Args:
        name: A shipped configuration or a YAML file.
        assignments: `a.b=c` strings.
        options: Dotted key to value; None values were not given.

    Raises:
        JmposeError: No such configuration, an unknown key (the nearest is named) or a value out of range.
    """
    return load_settings(TrainConfig, file=config_file(name), assignments=assignments, options=options)


def config_file(name: str) -> Path:
    """Find a configuration by the name of a shipped one, or as a file.

    Raises:
        JmposeError: There is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if name not in shipped:
        raise JmposeError(
            f"{name}: neither a file nor a shipped configuration", hint=f"shipped: {', '.join(sorted(shipped))}"
        )
    return shipped[name]


def shipped_configs() -> dict[str, Path]:
    """Configurations that come with the tool, by name."""
    return {path.stem: path for path in CONFIG_FOLDER.glob("*.yaml")}


def decisive_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide the result, flat, as `section.key`; what only decides speed or upkeep is left out."""
    values = flat(config.model_dump(mode="json"))
    return {key: value for key, value in values if not is_upkeep(key)}


def is_upkeep(key: str) -> bool:
    """Whether a setting, as `section.key`, only decides speed, upkeep or where the data lie."""
    return key in _UPKEEP or key.partition(".")[0] in _UPKEEP


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Yield nested settings as `section.key` and value."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        rows += flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return rows
