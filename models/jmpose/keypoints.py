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
        synonyms: (name here, common name) of joints that other sets call otherwise. One name can mean two
            places: LSP's `neck` is the upper neck, PoseTrack's `head_bottom`; Halpe's is the base of the neck.
    """

    name: str
    joints: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]
    sigmas: tuple[float, ...]
    synonyms: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.joints):
            raise ValueError(f"{self.name}: {len(self.sigmas)} sigmas for {len(self.joints)} joints")
        strange = [own for own, _ in self.synonyms if own not in self.joints]
        if strange:
            raise ValueError(f"{self.name}: a synonym for {', '.join(strange)}, which it does not have")

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def common_names(self) -> tuple[str, ...]:
        """The joints by the names that mean the same place in every set."""
        common = dict(self.synonyms)
        return tuple(common.get(joint, joint) for joint in self.joints)

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
_ARMS_AND_LEGS = tuple(limb for limb in _LIMBS if {part.partition("_")[2] for part in limb} - {"shoulder", "hip"})
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
_FEET = ("big_toe", "small_toe", "heel")
_FEET_LIMBS = tuple((f"{side}_ankle", f"{side}_{part}") for side in ("left", "right") for part in _FEET)
# The order of MPII, and in part of LSP and PoseTrack17: from the right ankle up and round to the left one.
_LEGS_AROUND = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle")
_ARMS_AROUND = ("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist")
# COCO's published sigmas (cocoapi, Params.setKpParams).
_BODY_SIGMAS = (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)
_FACE_SIGMAS = (0.026, 0.025, 0.025, 0.035, 0.035)
_LEGS_AROUND_SIGMAS = (0.089, 0.087, 0.107, 0.107, 0.087, 0.089)
_ARMS_AROUND_SIGMAS = (0.062, 0.072, 0.079, 0.079, 0.072, 0.062)
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
# The first 23 of COCO-WholeBody's 133.
WHOLEBODY23 = KeypointSet(
    name="wholebody23",
    joints=(*COCO17.joints, *(f"{side}_{part}" for side in ("left", "right") for part in _FEET)),
    skeleton=_LIMBS + _FACE + _FEET_LIMBS,
    # COCO-WholeBody's published sigmas (its evaluation, sigmas_foot): the right foot's are larger there.
    sigmas=(*COCO17.sigmas, 0.068, 0.066, 0.066, 0.092, 0.094, 0.094),
)
HALPE26 = KeypointSet(
    name="halpe26",
    joints=(
        *COCO17.joints,
        *("head", "neck", "hip"),
        *(f"{side}_{part}" for part in _FEET for side in ("left", "right")),
    ),
    skeleton=(
        *_ARMS_AND_LEGS,
        *_FACE,
        ("head", "neck"),
        ("neck", "left_shoulder"),
        ("neck", "right_shoulder"),
        ("neck", "hip"),
        ("hip", "left_hip"),
        ("hip", "right_hip"),
        *_FEET_LIMBS,
    ),
    # Halpe's published sigmas (its fork of cocoapi, computeOks).
    sigmas=(*COCO17.sigmas, 0.08, 0.08, 0.08, *(0.089,) * 6),
    synonyms=(("head", "head_top"), ("hip", "pelvis")),
)
POSETRACK18 = KeypointSet(
    name="posetrack18",
    joints=("nose", "head_bottom", "head_top", "left_ear", "right_ear", *_BODY),
    skeleton=_LIMBS + _HEAD,
    sigmas=(0.026, *_HEAD_SIGMAS, 0.035, 0.035, *_BODY_SIGMAS),
)
# PoseTrack17's ids; PoseTrack18 without the ears, in another order.
POSETRACK15 = KeypointSet(
    name="posetrack15",
    joints=(*_LEGS_AROUND, *_ARMS_AROUND, "head_bottom", "nose", "head_top"),
    skeleton=_LIMBS + _HEAD,
    sigmas=(*_LEGS_AROUND_SIGMAS, *_ARMS_AROUND_SIGMAS, 0.08, 0.026, 0.06),
)
# LSP and MPII are scored by PCP and PCK and have no OKS sigmas: theirs are those of the same joints above, the
# pelvis that of Halpe's hip, the thorax (middle of the shoulders) that of COCO's shoulders.
LSP14 = KeypointSet(
    name="lsp14",
    joints=(*_LEGS_AROUND, *_ARMS_AROUND, "neck", "head_top"),
    skeleton=(*_LIMBS, ("neck", "left_shoulder"), ("neck", "right_shoulder"), ("neck", "head_top")),
    sigmas=(*_LEGS_AROUND_SIGMAS, *_ARMS_AROUND_SIGMAS, *_HEAD_SIGMAS),
    synonyms=(("neck", "head_bottom"),),
)
MPII16 = KeypointSet(
    name="mpii16",
    joints=(*_LEGS_AROUND, "pelvis", "thorax", "upper_neck", "head_top", *_ARMS_AROUND),
    skeleton=(
        *_ARMS_AND_LEGS,
        ("upper_neck", "head_top"),
        ("thorax", "upper_neck"),
        ("thorax", "left_shoulder"),
        ("thorax", "right_shoulder"),
        ("thorax", "pelvis"),
        ("pelvis", "left_hip"),
        ("pelvis", "right_hip"),
    ),
    sigmas=(*_LEGS_AROUND_SIGMAS, 0.08, 0.079, *_HEAD_SIGMAS, *_ARMS_AROUND_SIGMAS),
    synonyms=(("upper_neck", "head_bottom"),),
)

KEYPOINT_SETS = {
    s.name: s for s in (COCO17, COCO17_HEAD, POSETRACK18, POSETRACK15, WHOLEBODY23, HALPE26, LSP14, MPII16)
}
