"""What an evaluation hands to its reports."""

from collections.abc import Mapping
from dataclasses import dataclass

from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.metrics.boxes import BoxTracking
from jmpose_cli.metrics.posetrack import Evaluation
from jmpose_cli.metrics.rules import Protocol


@dataclass(frozen=True)
class ModelOptions:
    """What runs when a data set is given instead of predictions.

    Attributes:
        split: Of the data set.
        model: As for `jmpose infer`.
        boxes: Whose boxes the model gets, each scored: `gt`, `detect`, or the path of a file.
        detector: As for `jmpose infer`.
        flip_test: Average with the mirrored picture.
        device: As for `jmpose infer`.
        overwrite: Replace predictions of an earlier run.
        offline: Fetch no models.
    """

    split: str
    model: str
    boxes: tuple[str, ...]
    detector: str
    flip_test: bool
    device: str
    overwrite: bool
    offline: bool = False


@dataclass(frozen=True)
class EvaluatedRun:
    """One set of predictions and its figures.

    Attributes:
        label: Short name for tables.
        predicted: The predictions by video name; for COCO one entry, the whole file.
        evaluation: PoseTrack figures; None under another protocol.
        oks: pycocotools' ten figures, 0 to 1; None under another protocol.
        boxes: Box tracking; None when it was not asked for.
    """

    label: str
    predicted: Mapping[str, PoseRecords]
    evaluation: Evaluation | None = None
    oks: Mapping[str, float] | None = None
    boxes: BoxTracking | None = None


@dataclass(frozen=True)
class EvaluatedSet:
    """Everything that was evaluated in one call, on one ground truth.

    Attributes:
        protocol: Rule set.
        truth: Ground truth by video name.
        runs: At least one.
        compared: Pairs of labels whose difference (second minus first) is of interest.
        notes: What a reader of the numbers should know, beyond the notes of the runs.
    """

    protocol: Protocol
    truth: Mapping[str, PoseRecords]
    runs: tuple[EvaluatedRun, ...]
    compared: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
