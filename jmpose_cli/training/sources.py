"""From settings to annotated people: training windows and the sets that are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jmpose.config import Preprocess
from jmpose.files import file_sha256
from jmpose_cli.clips.corrections import notes_on_state
from jmpose_cli.clips.layout import TRUTH_FILE
from jmpose_cli.data.augment import PLAIN, Augmentation
from jmpose_cli.data.extract import annotated_videos
from jmpose_cli.data.layouts import find_stills, find_videos
from jmpose_cli.data.mixture import Order, WindowSet
from jmpose_cli.data.samples import Source
from jmpose_cli.data.sources import CropWindows, FrameWindows, StillWindows, posetrack_windows
from jmpose_cli.errors import JmposeError
from jmpose_cli.training.config import SourceConfig, TrainConfig, ValidationConfig
from jmpose_cli.training.validate import ScoredSource, ValidationSet

MADE_UP_MOTION = 0.035
"""Shift between frames of a still validation picture as a share of the crop's height: that of training."""


@dataclass(frozen=True)
class TrainingData:
    """Everything that is learnt from and scored.

    Attributes:
        train: Windows to learn from.
        order: Their order in every epoch.
        validation: What is scored.
        checksums: SHA-256 of every annotation file, by its path.
        notes: What was left out.
    """

    train: WindowSet
    order: Order
    validation: tuple[ValidationSet, ...]
    checksums: dict[str, str]
    notes: tuple[str, ...]


def open_data(config: TrainConfig, preprocess: Preprocess) -> TrainingData:
    """Read all annotations.

    Raises:
        JmposeError: A source is missing, empty, incomplete, or has no joint in common with the model; a clip's truth
            lacks corrections that are on record.
    """
    groups = [_open(source, config, preprocess, training=True) for source in config.data.train]
    sources = [source for group in groups for source in group]
    if config.optim.distil and not any(isinstance(source, CropWindows) and source.has_teacher for source in sources):
        raise JmposeError(
            "optim.distil: no source has a teacher's heatmaps", hint="they are taught.npy in folders of kind crops"
        )
    windows = WindowSet(
        sources,
        preprocess,
        settings=Augmentation(**config.augment.model_dump()),
        reach=config.data.reach,
        support=config.temporal,
        taught=config.optim.distil > 0,
        seed=config.seed,
    )
    weights = [c.weight for c, group in zip(config.data.train, groups, strict=True) for _ in group]
    order = Order(tuple(len(source) for source in sources), tuple(weights), config.seed)
    validation = tuple(_validation_set(chosen, config, preprocess) for chosen in config.data.val)
    files = [file for source in sources for file in source.files()]
    files += [file for chosen in validation for source in chosen.sources for file in source.files()]
    notes = [note for source in sources for note in source.notes]
    notes += [note for chosen in validation for source in chosen.sources for note in source.notes]
    checksums = {file: file_sha256(Path(file)) for file in dict.fromkeys(files)}
    clips = [Path(file).parent for file in checksums if Path(file).name == TRUTH_FILE]
    notes += [note for clip in clips for note in notes_on_state(clip)]
    return TrainingData(windows, order, validation, checksums, tuple(dict.fromkeys(notes)))


def _open(chosen: SourceConfig, config: TrainConfig, preprocess: Preprocess, *, training: bool) -> Sequence[Source]:
    """Open one entry of the settings."""
    path, keypoints = config.data.root / chosen.path, preprocess.keypoints
    moving = training and config.augment.motion > 0
    if chosen.kind == "crops":
        taught = training and config.optim.distil > 0
        return [CropWindows(path, keypoints=keypoints, box_height=chosen.box_height, moving=moving, taught=taught)]
    return _open_annotated(chosen, config, preprocess, moving=moving)


def _open_annotated(
    chosen: SourceConfig, config: TrainConfig, preprocess: Preprocess, *, moving: bool
) -> Sequence[FrameWindows | StillWindows]:
    path, keypoints = config.data.root / chosen.path, preprocess.keypoints
    if chosen.kind == "coco":
        return [
            StillWindows(
                find_stills(path, scored=isinstance(chosen, ValidationConfig)), keypoints=keypoints, moving=moving
            )
        ]
    if chosen.kind == "posetrack":
        if not path.is_dir():
            raise JmposeError(f"{path}: no such folder", hint="name the root of the data set with --data")
        return [posetrack_windows(video, keypoints) for video in find_videos(path, chosen.split)]
    videos = config.data.root / chosen.videos if chosen.videos else path
    reach = max(config.data.reach, -preprocess.window_offsets[0], preprocess.window_offsets[-1])
    return annotated_videos(
        path,
        videos,
        config.data.cache,
        keypoints=keypoints,
        reach=reach,
        reference_fps=preprocess.reference_fps,
        unreviewed=chosen.unreviewed,
    )


def _validation_set(chosen: ValidationConfig, config: TrainConfig, preprocess: Preprocess) -> ValidationSet:
    moving = chosen.moving or chosen.degrade
    opened = _open_annotated(chosen, config, preprocess, moving=moving)
    videos = len(opened)
    if chosen.max_videos and len(opened) > chosen.max_videos:
        opened = [opened[i * len(opened) // chosen.max_videos] for i in range(chosen.max_videos)]
    motion = MADE_UP_MOTION if moving else 0.0
    windows = WindowSet(
        opened,
        preprocess,
        settings=Augmentation(**{**vars(PLAIN), "degrade": float(chosen.degrade), "motion": motion}),
        seed=config.seed,
    )
    sources: tuple[ScoredSource, ...] = tuple(opened)
    kind = opened[0].records.kind
    protocol = kind if kind in ("posetrack17", "posetrack18", "posetrack21") else None
    if protocol is None and len(opened) > 1:
        raise JmposeError(
            f"{chosen.path}: {len(opened)} files with COCO annotations in one validation set",
            hint="list each as a set of its own under data.val",
        )
    return ValidationSet(chosen.label, windows, sources, protocol, videos)
