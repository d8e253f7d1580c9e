"""SLEAP's files, by sleap-io.

A track is named `track_<id>`. All people are predicted instances, with the scores of the model; a joint that is not
there is NaN. What a truth says of the tool and of the video stands in the provenance, under `jmpose`.
"""

from pathlib import Path, PurePath
from typing import Any

import numpy as np

from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import HANDOVER, require
from jmpose_cli.formats.deeplabcut import numbered
from jmpose_cli.formats.hdf5 import open_hdf5
from jmpose_cli.formats.numbers import LARGEST, LARGEST_BOX_PX, LARGEST_FRAME, LARGEST_PX
from jmpose_cli.formats.records import ImageRecord, PoseRecords, Record, bare_records


def read_sleap(path: Path) -> PoseRecords:
    """Read instances of tracks, predicted and labelled ones; where both stand for one track in a frame, the labelled.

    Raises:
        JmposeError: sleap-io is not installed; the file is none of SLEAP's, or about several videos or skeletons.
    """
    io = require("sleap_io", extra=HANDOVER, by=f"reading {path}")
    with open_hdf5(path) as file:
        if "metadata" not in file:
            raise JmposeError(f"{path}: is no file of SLEAP", hint="name a .slp file")
    try:
        labels = io.load_slp(str(path), open_videos=False)
        return _records(path, io, labels)
    except JmposeError:
        raise
    except Exception as error:  # what a damaged file makes of sleap-io is anybody's guess
        raise JmposeError(f"{path} cannot be read: {str(error)[:200]}", hint="it may be cut off or damaged") from error


def _records(path: Path, io: Any, labels: Any) -> PoseRecords:
    frames = sorted(labels.labeled_frames, key=lambda frame: int(frame.frame_idx))
    for what, found in (("videos", {id(frame.video) for frame in frames}), ("skeletons", labels.skeletons)):
        if len(found) > 1:
            raise JmposeError(f"{path}: of {len(found)} {what}", hint="a file of one is read; split it")
    numbers = [int(frame.frame_idx) for frame in frames]
    if len(set(numbers)) < len(numbers) or not all(0 <= number <= LARGEST_FRAME for number in numbers):
        raise JmposeError(f"{path}: frames stand twice or have no number", hint="every frame stands once")
    joints = tuple(str(node.name) for node in labels.skeletons[0].nodes) if labels.skeletons else ()
    tracks = list(labels.tracks)
    ids, notes = numbered([str(track.name) for track in tracks], "tracks")
    id_of = {id(track): number for track, number in zip(tracks, ids, strict=True)}
    rows: list[tuple[int, int, Any, float]] = []
    for place, frame in enumerate(frames):
        labelled = {id(one.track) for one in frame.instances if not isinstance(one, io.PredictedInstance) and one.track}
        for one in frame.instances:
            is_predicted = isinstance(one, io.PredictedInstance)
            if not (is_predicted and id(one.track) in labelled):
                score = float(one.score) if is_predicted else np.nan
                rows.append((place, id_of.get(id(one.track), -1), one, score))
    count, k = len(rows), len(joints)
    xy, scores = np.full((count, k, 2), np.nan), np.full((count, k), np.nan)
    for row, (_, _, one, _) in enumerate(rows):
        xy[row] = np.where(np.asarray(one.points["visible"], bool)[:, None], one.points["xy"], np.nan)
        if isinstance(one, io.PredictedInstance):
            scores[row] = one.points["score"]
    present = ~np.isnan(xy).any(2)
    people = np.array([score for *_, score in rows], np.float64)
    if not (np.abs(xy[present]) <= LARGEST_PX).all() or (np.abs(np.nan_to_num(scores)) > LARGEST).any():
        raise JmposeError(f"{path}: joints outside of every picture", hint="it may be damaged")
    info, size = _about(labels)
    return bare_records(
        path,
        "sleap",
        joints,
        [ImageRecord(n + 1, "", *size, n, None) for n in numbers],
        image_row=np.array([place for place, *_ in rows], np.int64),
        track_ids=np.array([track for _, track, *_ in rows], np.int64),
        xy=xy,
        visibility=np.where(present, 2.0, 0.0),
        scores=scores,
        person_scores=people,
        notes=notes,
        info=info,
    )


def _about(labels: Any) -> tuple[Record, tuple[int | None, int | None]]:
    """Return what the file says of its tool and video, and the size of the frames."""
    said = labels.provenance.get("jmpose")
    info: Record = said if isinstance(said, dict) else {}
    video = labels.videos[0] if labels.videos else None
    shape = video.shape if video is not None else None
    size = (int(shape[2]), int(shape[1])) if shape is not None and len(shape) == 4 else (0, 0)
    source = video.filename if video is not None and isinstance(video.filename, str) else ""
    if source and "video" not in info:
        info = info | {"video": {"name": PurePath(source).stem, "source": PurePath(source).name}}
    return info, size if all(0 < side <= LARGEST_BOX_PX for side in size) else (None, None)
