"""Truths of clips as ground truth and as predictions: brought into the form that a protocol scores."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jmpose_cli.clips.layout import MODEL_FILE, TRUTH_FILE
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.posetrack18 import PoseTrack18Writer
from jmpose_cli.formats.read import read_poses
from jmpose_cli.formats.records import PoseRecords, frame_numbers
from jmpose_cli.formats.truth import Truth, read_truth, write_truth
from jmpose_cli.handover.write import write_poses
from jmpose_cli.metrics.rules import Protocol


def is_truth(path: Path) -> bool:
    """Whether a file is the truth of a clip, by its name."""
    return path.name == TRUTH_FILE


def read_as(path: Path, protocol: Protocol, *, as_model: bool, by_identity: bool, only_reviewed: bool) -> PoseRecords:
    """Read the truth of a clip as a protocol scores it.

    Args:
        path: The truth.
        protocol: PoseTrack protocols get what `posetrack18.json` holds of it, `mot` its boxes.
        as_model: What the model gave before the first correction.
        by_identity: Tracks that were joined have one id, where no two of them are in one frame.
        only_reviewed: Frames that nobody has reviewed are left out.

    Raises:
        JmposeError: It cannot be read, or no frame is left.
    """
    model = path.with_name(MODEL_FILE)
    truth = read_truth(model if as_model and model.is_file() else path)
    records = _records(_by_identity(truth) if by_identity else truth, path, protocol)
    return _with_frames(records, truth.index[truth.reviewed].tolist(), path) if only_reviewed else records


def of_frames(records: PoseRecords, numbers: list[int]) -> PoseRecords:
    """Return the people and pictures of some frames."""
    kept = np.isin(frame_numbers(records.images), numbers)
    rows = kept[records.image_row]
    arrays = {name: value for name, value in vars(records).items() if isinstance(value, np.ndarray)}
    people: dict[str, Any] = {
        name: value[rows] for name, value in arrays.items() if name not in ("image_row", "integer_coordinates")
    }
    return replace(
        records,
        images=tuple(image for image, is_kept in zip(records.images, kept.tolist(), strict=True) if is_kept),
        image_row=(np.cumsum(kept) - 1)[records.image_row[rows]],
        integer_coordinates=records.integer_coordinates[kept],
        **people,
    )


def _by_identity(truth: Truth) -> Truth:
    """Return a truth whose tracks are its people; whoever is there twice in a frame has a second id in it."""
    _, first = np.unique(np.stack([truth.frame, truth.identity]), axis=1, return_index=True)
    twice = np.setdiff1d(np.arange(len(truth)), first)
    ids = truth.identity.copy()
    ids[twice] = truth.track_ids[twice] + max(ids.max(initial=0), truth.track_ids.max(initial=0))
    return replace(truth, track_ids=ids)


def _with_frames(records: PoseRecords, numbers: list[int], path: Path) -> PoseRecords:
    if not numbers:
        raise JmposeError(
            f"{path}: no frame is marked as reviewed",
            hint="mark what was looked at: jmpose edit CLIP --review A:B; or leave out --only-reviewed",
        )
    return of_frames(records, numbers)


def _records(truth: Truth, path: Path, protocol: Protocol) -> PoseRecords:
    if protocol == "coco":
        return replace(read_poses(truth.path, kind="coco").without_extra_joints(), path=path)
    with tempfile.TemporaryDirectory() as folder:
        if protocol == "mot":
            file = Path(folder, "boxes.txt")
            write_truth(truth, Path(folder, TRUTH_FILE))
            write_poses(read_poses(Path(folder, TRUTH_FILE), kind="coco"), file, to="mot")
        else:
            file = Path(folder, "posetrack18.json")
            with PoseTrack18Writer(file, truth.video, truth.keypoints) as writer:
                for poses in truth.poses():
                    writer.write(poses)
        return replace(read_poses(file), path=path)
