"""Rule sets: what the official kits do differently from each other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Protocol = Literal["posetrack17", "posetrack18", "posetrack21", "coco", "mot"]
PoseTrackProtocol = Literal["posetrack17", "posetrack18", "posetrack21"]
HotaRule = Literal["devkit", "standard"]
"""Definitions of keypoint HOTA: PoseTrack21's own, or the published one."""


@dataclass(frozen=True)
class Rules:
    """How frames and joints are taken for evaluation.

    Attributes:
        name: For reports.
        frames: `annotated`: frames whose ground truth has an entry for a person; `labelled`: those of them with
            `is_labeled`.
        pairing: Ground truth and predictions belong together by their place in the list of images or by image id.
        positive_only: A joint with a coordinate of zero or below is absent, whatever the file says.
        truncates: Scores of a frame whose coordinates are all integers are cut to integers.
        ap_without_gt: AP of a joint that is predicted but never annotated.
    """

    name: str
    frames: Literal["annotated", "labelled"]
    pairing: Literal["position", "id"]
    positive_only: bool
    truncates: bool
    ap_without_gt: float


POSEVAL = Rules(
    name="poseval 4258a15",
    frames="annotated",
    pairing="position",
    positive_only=False,
    truncates=False,
    ap_without_gt=float("nan"),
)
DEVKIT21 = Rules(
    name="PoseTrack21 devkit 3e61960",
    frames="labelled",
    pairing="id",
    positive_only=True,
    truncates=True,
    ap_without_gt=0.0,
)
HOTA21 = replace(DEVKIT21, truncates=False)
"""For HOTA, which needs no scores; only a track threshold looks at them, and wants them as they are."""
AP_RULES: Mapping[str, Rules] = MappingProxyType(
    {"posetrack17": POSEVAL, "posetrack18": POSEVAL, "posetrack21": DEVKIT21}
)
"""Rules of AP by protocol."""
MOT_RULES: Mapping[str, Rules] = MappingProxyType(
    {"posetrack17": POSEVAL, "posetrack18": POSEVAL, "posetrack21": HOTA21}
)
"""Rules of MOTA by protocol: poseval's counting, for PoseTrack21 on the frames and joints of its devkit."""
