"""Keypoint sets as data: names, left-right pairs, skeleton, OKS sigmas."""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class KeypointSet:
    """One convention for naming the joints of a person.

    Attributes:
        name: Identifier stored with weights.
        joints: Joint names in channel order.
        skeleton: Pairs of joint names that a drawing connects.
        sigmas: OKS constant of each joint (COCO: standard deviation of annotators / object scale).
    """

    name: str
    joints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.joints):
            raise ValueError(f"{self.name}: {len(self.sigmas)} sigmas for {len(self.joints)} joints")

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """For each channel, the channel that it becomes when the picture is mirrored."""
        return tuple(self.joints.index(_mirrored(joint)) for joint in self.joints)

    @cached_property
    def skeleton_index(self) -> tuple[tuple[int, int], ...]:
        """The skeleton as 0-based channel pairs."""
        return tuple((self.joints.index(a), self.joints.index(b)) for a, b in self.skeleton)


def _mirrored(joint: str) -> str:
    side, _, rest = joint.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, joint)


_LIMBS = (
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
)
_FACE = (("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"))
_HEAD = (
    ("head_bottom", "left_shoulder"),
    ("head_bottom", "right_shoulder"),
    ("head_bottom", "nose"),
    ("nose", "head_top"),
)
_BODY = (
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
# COCO's published sigmas (cocoapi, Params.setKpParams).
_BODY_SIGMAS = (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)
_FACE_SIGMAS = (0.026, 0.025, 0.025, 0.035, 0.035)
# COCO has no head joints; these are openpifpaf's for head_bottom and head_top.
_HEAD_SIGMAS = (0.08, 0.06)

COCO17 = KeypointSet(
    name="coco17",
    joints=("nose", "left_eye", "right_eye", "left_ear", "right_ear", *_BODY),
    skeleton=_LIMBS + _FACE,
    sigmas=_FACE_SIGMAS + _BODY_SIGMAS,
)
COCO17_HEAD = KeypointSet(
    name="coco17_head",
    joints=(*COCO17.joints, "head_bottom", "head_top"),
    skeleton=_LIMBS + _FACE + _HEAD,
    sigmas=COCO17.sigmas + _HEAD_SIGMAS,
)
POSETRACK18 = KeypointSet(
    name="posetrack18",
    joints=("nose", "head_bottom", "head_top", "left_ear", "right_ear", *_BODY),
    skeleton=_LIMBS + _HEAD,
    sigmas=(0.026, *_HEAD_SIGMAS, 0.035, 0.035, *_BODY_SIGMAS),
)

KEYPOINT_SETS = {s.name: s for s in (COCO17, COCO17_HEAD, POSETRACK18)}
