"""OpenPose's JSON output: one file a frame, people in the order BODY_25.

`neck` is the middle of the shoulders and `mid_hip` that of the hips, as in OpenPose's training data. The third number
of a joint is its score, 0 where it is not there. `person_id` holds the track id.
"""

import math
import re

import numpy as np
import orjson

from jmpose.keypoints import KeypointSet
from jmpose_cli.files import write_whole
from jmpose_cli.formats.records import PoseRecords
from jmpose_cli.handover.convert_joints import in_set
from jmpose_cli.handover.handover import Handover

_LEGS = ("hip", "knee", "ankle")
_ARMS = ("shoulder", "elbow", "wrist")
_FEET = ("big_toe", "small_toe", "heel")
_JOINTS = (
    *("nose", "neck"),
    *(f"{side}_{part}" for side in ("right", "left") for part in _ARMS),
    "mid_hip",
    *(f"{side}_{part}" for side in ("right", "left") for part in _LEGS),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
    *(f"{side}_{part}" for side in ("left", "right") for part in _FEET),
)
BODY25 = KeypointSet("body25", _JOINTS, (), (math.nan,) * len(_JOINTS), (("mid_hip", "pelvis"),))
_EMPTY = ("face", "hand_left", "hand_right")


def write_openpose(given: Handover) -> None:
    """Write a folder with `<video>_<frame>_keypoints.json` for every frame.

    Raises:
        JmposeError: A file cannot be written, or the people have none of the joints.
    """
    mapped = in_set(given.records, BODY25, given.notes)
    stem = given.stem
    given.begin_folder(given.path, rf"{re.escape(stem)}_\d{{12}}_keypoints\.json")
    people = scored_triples(mapped)
    rows_of: dict[int, list[int]] = {frame: [] for frame in given.frames.tolist()}
    for row, frame in enumerate(given.frame_of_row.tolist()):
        rows_of[frame].append(row)
    for frame, rows in rows_of.items():
        entries = [
            {
                "person_id": [int(mapped.track_ids[row])],
                "pose_keypoints_2d": people[row],
                **{f"{part}_keypoints_2d": [] for part in _EMPTY},
                "pose_keypoints_3d": [],
                **{f"{part}_keypoints_3d": [] for part in _EMPTY},
            }
            for row in rows
        ]
        content = orjson.dumps({"version": 1.3, "people": entries})
        write_whole(given.path / f"{stem}_{frame:012d}_keypoints.json", content)


def scored_triples(records: PoseRecords) -> list[list[float]]:
    """Return x, y and score of each joint, three zeros where it is not there and 1 where it has no score."""
    scores = np.where(records.present, np.nan_to_num(records.scores, nan=1.0), 0.0)
    xy = np.where(records.present[..., None], records.xy, 0.0)
    lists: list[list[float]] = np.concatenate([xy, scores[..., None]], 2).reshape(len(records), -1).tolist()
    return lists
