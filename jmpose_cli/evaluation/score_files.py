"""`jmpose eval` on existing files: find what belongs together, read, score."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from jmpose_cli.clips.corrections import notes_on_state
from jmpose_cli.clips.layout import MODEL_FILE, STATE_FOLDER, TRUTH_FILE
from jmpose_cli.errors import JmposeError
from jmpose_cli.evaluation.results import EvaluatedRun, EvaluatedSet
from jmpose_cli.evaluation.truths import is_truth, of_frames, read_as
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import PoseRecords, frame_numbers
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.metrics.boxes import ASSUMED_FPS, evaluate_boxes
from jmpose_cli.metrics.coco import evaluate_oks, is_scored, notes_on
from jmpose_cli.metrics.posetrack import TrackThreshold, evaluate_posetrack, pair_inputs
from jmpose_cli.metrics.rules import HotaRule, PoseTrackProtocol, Protocol

POSETRACK_FILE = FORMATS["posetrack18"].file_name
_KINDS: dict[Protocol, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(get_args(PoseTrackProtocol), (("posetrack17", "posetrack18", "posetrack21"),) * 2),
    "coco": (("coco",), ("coco-results", "coco")),
    "mot": (("mot",), ("mot",)),
}


@dataclass(frozen=True)
class Scoring:
    """How files are scored.

    Attributes:
        protocol: Rule set.
        hota_rule: The PoseTrack21 devkit's HOTA or the published one.
        track_threshold: Lowest joint score in MOTA and HOTA, see `evaluate_posetrack`.
        box_tracking: Score the tracked boxes too.
        fps: Frames a second of boxes whose files tell no times.
        ignore_extra: Predictions of videos that have no ground truth are left out instead of refused.
        as_model: Of clips that were corrected, what the model gave is scored as predictions.
        by_identity: Joined tracks of predicted clips are one person.
        only_reviewed: Of the ground truth's clips, frames that somebody has reviewed count, and no others.
    """

    protocol: Protocol
    hota_rule: HotaRule = "devkit"
    track_threshold: TrackThreshold = None
    box_tracking: bool = False
    fps: float = ASSUMED_FPS
    ignore_extra: bool = False
    as_model: bool = False
    by_identity: bool = False
    only_reviewed: bool = False


def evaluate_files(truth: Path, predicted: Sequence[Path], scoring: Scoring) -> EvaluatedSet:
    """Score one or more sets of predictions against one ground truth.

    Args:
        truth: A file, a folder with one file a video, or a folder that `jmpose infer` has written.
        predicted: Each the same.
        scoring: Rules.

    Raises:
        JmposeError: Files are missing, extra, unreadable, of another format than the protocol's, or do not fit.
    """
    wanted = _files(truth)
    if scoring.only_reviewed and not any(map(is_truth, wanted.values())):
        raise JmposeError(f"--only-reviewed: {truth} holds no clips", hint="name a folder that `jmpose infer` has left")
    notes = [note for path in wanted.values() if is_truth(path) for note in notes_on_state(path.parent)]
    read = {name: _read(path, scoring, role=0) for name, path in wanted.items()}
    check_annotated(read.values(), scoring.protocol)
    runs = []
    for label, path in zip(_labels(predicted), predicted, strict=True):
        found = _partners(path, wanted, truth, scoring, notes)
        _check_different(wanted, found, scoring)
        notes += [note for file in found.values() if is_truth(file) for note in notes_on_state(file.parent)]
        notes += _uncorrected(found, scoring)
        poses = {name: _read(file, scoring, role=1) for name, file in found.items()}
        if scoring.only_reviewed:
            poses = {name: of_frames(them, frame_numbers(read[name].images).tolist()) for name, them in poses.items()}
        runs.append(score_run(label, read, poses, scoring))
    if scoring.protocol == "coco":
        notes += [note for records in read.values() for note in notes_on(records)]
    notes += _reading_notes([*read.values(), *(r for run in runs for r in run.predicted.values())])
    pairs = tuple((runs[0].label, run.label) for run in runs[1:])
    return EvaluatedSet(scoring.protocol, read, tuple(runs), compared=pairs, notes=tuple(dict.fromkeys(notes)))


def check_annotated(truth: Collection[PoseRecords], protocol: Protocol) -> None:
    """Refuse ground truth on which every figure would be undefined.

    Raises:
        JmposeError: Nobody in it can be found or missed.
    """
    if protocol == "coco":
        lacks, counted = "visible joints, or all are crowds (iscrowd)", any(is_scored(r).any() for r in truth)
    elif protocol == "mot":
        lacks, counted = "a box that counts", any(len(r) for r in truth)
    else:
        lacks, counted = "joints", any(r.present.any() for r in truth)
    if counted:
        return
    path = next(iter(truth)).path
    raise JmposeError(
        f"nothing to score: no annotated person of {path if len(truth) == 1 else path.parent} has {lacks}",
        hint="public test splits come without annotations; score another split",
    )


def score_run(
    label: str, truth: Mapping[str, PoseRecords], predicted: Mapping[str, PoseRecords], scoring: Scoring
) -> EvaluatedRun:
    """Score one set of predictions that has the videos of the ground truth.

    Raises:
        JmposeError: Two files do not fit.
    """
    pairs = [(name, truth[name], predicted[name]) for name in sorted(truth)]
    boxes = None
    if scoring.box_tracking or scoring.protocol == "mot":
        boxes = evaluate_boxes([(mine, theirs) for _, mine, theirs in pairs], fps=scoring.fps)
    if scoring.protocol == "mot":
        return EvaluatedRun(label, predicted, boxes=boxes)
    if scoring.protocol == "coco":
        if len(pairs) != 1:
            raise JmposeError(f"{len(pairs)} COCO files", hint="COCO is scored one file at a time: give two files")
        oks = evaluate_oks(pairs[0][1], pairs[0][2])
        if max(oks.values()) < 0:
            raise JmposeError(
                f"nothing to score: the area of every annotated person of {pairs[0][1].path} is beyond 10^10 pixels, "
                "where pycocotools stops"
            )
        return EvaluatedRun(label, predicted, oks=oks, boxes=boxes)
    protocol = scoring.protocol
    inputs = [pair_inputs(name, mine, theirs, protocol=protocol) for name, mine, theirs in pairs]
    evaluation = evaluate_posetrack(
        inputs, protocol=protocol, hota_rule=scoring.hota_rule, track_threshold=scoring.track_threshold
    )
    if not evaluation.frames:
        raise JmposeError(
            f"no frame of {pairs[0][1].path.parent} has annotated people",
            hint="the test splits of PoseTrack have no public annotations; score the val split",
        )
    if not evaluation.detections.annotated.any():
        raise JmposeError(
            f"nothing to score: all joints annotated in {pairs[0][1].path.parent} lie in ignore regions "
            "or on frames that do not count"
        )
    return EvaluatedRun(label, predicted, evaluation=evaluation, boxes=boxes)


def _files(path: Path) -> dict[str, Path]:
    """Annotation files by video name."""
    if not path.exists():
        raise JmposeError(f"{path}: no such file or folder", hint="check the path")
    if not path.is_dir():  # what is neither is refused by who reads it
        return {path.stem: path}
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise JmposeError(f"{path}: cannot be read ({error.strerror})") from error
    inferred = _inferred(path)
    if (path / TRUTH_FILE).is_file():
        return inferred
    files = {entry.stem: entry for entry in entries if entry.suffix in (".json", ".txt") and entry.is_file()}
    if (path / STATE_FOLDER).is_dir():
        files = {}  # what a run wrote about itself
    if not files and not inferred:
        raise JmposeError(
            f"{path}: a folder without annotation files",
            hint="one .json (or MOT .txt) a video is wanted, or the folders that `jmpose infer` writes",
        )
    return files or inferred


def _inferred(path: Path) -> dict[str, Path]:
    """Truths that `jmpose infer` wrote, by the names of the videos, or by their folders where names are equal.

    A folder without a truth is one by its PoseTrack file, as `write_clip` can leave it.
    """
    truths = [file for file in path.rglob(TRUTH_FILE) if STATE_FOLDER not in file.relative_to(path).parts]
    folders = {file.parent for file in truths}
    others = [file for file in path.rglob(POSETRACK_FILE) if file.parent not in folders and file.parent != path]
    found = sorted([*truths, *others])
    names = Counter(file.parent.name for file in found)
    return {
        file.parent.name
        if names[file.parent.name] == 1 or file.parent == path
        else file.parent.relative_to(path).as_posix(): file
        for file in found
    }


def _uncorrected(predicted: Mapping[str, Path], scoring: Scoring) -> list[str]:
    """Say which clips nobody has corrected, where what the model gave is asked for."""
    names = [name for name, path in predicted.items() if is_truth(path) and not path.with_name(MODEL_FILE).is_file()]
    return [f"nothing was corrected in {_listed(names)}"] if names and scoring.as_model else []


def _check_different(truth: Mapping[str, Path], predicted: Mapping[str, Path], scoring: Scoring) -> None:
    """Refuse to score a file against itself."""
    for name, path in truth.items():
        if path.resolve() == predicted[name].resolve() and is_truth(path) and not scoring.as_model:
            raise JmposeError(
                f"{path} is ground truth and prediction",
                hint="--as model scores what the model gave against what people have made of it",
            )


def _partners(
    path: Path, wanted: Mapping[str, Path], truth: Path, scoring: Scoring, notes: list[str]
) -> dict[str, Path]:
    """The predictions of each video of the ground truth."""
    found = _files(path)
    if len(found) == len(wanted) == 1 and not (path.is_dir() and truth.is_dir() and _is_set(path) and _is_set(truth)):
        return dict(zip(wanted, found.values(), strict=True))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise JmposeError(
            f"{path}: no predictions for {_listed(missing)}",
            hint=f"each of the {len(wanted)} videos in {truth} needs a file of the same name, also one without people",
        )
    extra = [name for name in found if name not in wanted]
    if extra and not scoring.ignore_extra:
        raise JmposeError(
            f"{path}: predictions without ground truth: {_listed(extra)}",
            hint=f"move them away, or leave them out with --ignore-extra; {truth} has {len(wanted)} videos",
        )
    if extra:
        notes.append(f"{path}: left out, as they have no ground truth: {_listed(extra)}")
    return {name: found[name] for name in wanted}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _is_set(folder: Path) -> bool:
    """Whether a folder holds videos by name, and is not that of one clip."""
    return not (folder / TRUTH_FILE).is_file()


def _read(path: Path, scoring: Scoring, *, role: int) -> PoseRecords:
    protocol = scoring.protocol
    if is_truth(path) and (protocol != "coco" or role == 0 or scoring.as_model):
        return read_as(
            path,
            protocol,
            as_model=scoring.as_model and role == 1,
            by_identity=scoring.by_identity and role == 1,
            only_reviewed=scoring.only_reviewed and role == 0,
        )
    records = read_poses(path)
    allowed = _KINDS[protocol][role]
    if records.kind not in allowed:
        raise JmposeError(
            f"{path} is a {records.kind} file, which --protocol {protocol} does not take as "
            f"{('ground truth', 'predictions')[role]}",
            hint=f"it takes {' or '.join(allowed)}; `jmpose convert` changes formats",
        )
    return records.without_extra_joints() if role == 0 and protocol == "coco" else records


def _labels(paths: Sequence[Path]) -> list[str]:
    """Short names of the runs, different from each other."""
    labels = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    if len(set(labels)) < len(labels):
        labels = ["/".join(path.resolve().with_suffix("").parts[-2:]) for path in paths]
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    if len(set(labels)) < len(labels):
        raise JmposeError("--pred names the same files twice", hint="give different runs to compare")
    return labels


def _reading_notes(records: Sequence[PoseRecords]) -> list[str]:
    notes = [f"{r.path.name}: {note}" for r in records for note in r.notes]
    kinds = {r.kind for r in records} & {"posetrack17", "posetrack18", "posetrack21"}
    if len(kinds) > 1:
        notes.append(f"files of several formats were read together: {', '.join(sorted(kinds))}")
    return list(dict.fromkeys(notes))


def track_threshold_of(text: str | None) -> TrackThreshold:
    """Read `--track-threshold`.

    Raises:
        JmposeError: Neither `auto` nor a finite number.
    """
    if text is None or text == "auto":
        return cast(TrackThreshold, text)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise JmposeError(f"--track-threshold {text}", hint="allowed: auto, or a joint score such as 0.3")
    return value
