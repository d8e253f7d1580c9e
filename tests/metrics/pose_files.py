"""PoseTrack18 files made from a few numbers, for tests with answers known by hand."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from jmpose.keypoints import POSETRACK18
from jmpose_cli.formats.read import read_poses

HEAD = 6.0
"""Head size of everybody, pixels: 0.6 times the diagonal of a head box of 6 by 8."""
_BOX_SIDES = (6.0, 8.0)
JOINTS15 = tuple(joint for joint in POSETRACK18.joints if "ear" not in joint)


@dataclass
class Person:
    """One person in one frame: all 15 joints at (x + 30 * number, y), except what `joints` says otherwise.

    Attributes:
        track: Track id.
        x: Offset of all joints.
        y: Offset of all joints.
        joints: Joint name to its place, or None for absent.
        scores: One score for all joints, or by joint name.
    """

    track: int
    x: float = 100.0
    y: float = 100.0
    joints: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    scores: float | dict[str, float] = 0.5

    def place(self, joint):
        default = (self.x + 30.0 * JOINTS15.index(joint), self.y)
        return self.joints.get(joint, default)

    def score(self, joint):
        return self.scores if isinstance(self.scores, float) else self.scores.get(joint, 0.5)


def write(
    path: Path, frames: list[list[Person]], *, regions=None, labelled=None, ids=None, joints=POSETRACK18.joints
) -> Path:
    """Write a file; `regions` maps frame numbers to lists of polygons."""
    images, annotations = [], []
    for number, people in enumerate(frames):
        image_id = 10003420000 + (number if ids is None else ids[number])
        image = {"id": image_id, "frame_id": image_id, "file_name": f"images/val/{path.stem}/{number:06d}.jpg"}
        image["is_labeled"] = labelled is None or number in labelled
        polygons = (regions or {}).get(number, [])
        image["ignore_regions_x"] = [[x for x, _ in polygon] for polygon in polygons]
        image["ignore_regions_y"] = [[y for _, y in polygon] for polygon in polygons]
        images.append(image)
        annotations += [_annotation(person, image_id, joints) for person in people]
    categories = [{"id": 1, "name": "person", "supercategory": "person", "keypoints": list(joints)}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def _annotation(person: Person, image_id: int, joints) -> dict:
    keypoints, scores = [], []
    for joint in joints:
        place = person.place(joint) if joint in JOINTS15 else None
        keypoints += [0, 0, 0] if place is None else [place[0], place[1], 1]
        scores.append(person.score(joint) if joint in JOINTS15 else 0.0)
    return {
        "image_id": image_id,
        "id": image_id * 100 + person.track,
        "track_id": person.track,
        "category_id": 1,
        "keypoints": keypoints,
        "scores": scores,
        "bbox": [person.x, person.y - 20.0, 450.0, 40.0],
        "bbox_head": [person.x, person.y, *_BOX_SIDES],
    }


def read_pair(folder: Path, truth, predicted, **options):
    """Write and read ground truth and predictions of one video; options belong to the ground truth."""
    mine = write(folder / "gt" / "000342_mpii_test.json", truth, **options)
    theirs = write(folder / "pred" / "000342_mpii_test.json", predicted)
    return read_poses(mine), read_poses(theirs)
