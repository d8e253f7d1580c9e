"""A person's bones: proportions, the pose that moves them, and the 19 joints that come out."""

from dataclasses import dataclass, field

import numpy as np

from .transforms import FORWARD, UP, Array, bone_frame, rot_x, rot_y, rot_z, smoothstep, two_bones

JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
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
    "head_bottom",
    "head_top",
)

_SIDE_BONES = ("clavicle", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toes")
BONES = (
    "pelvis",
    "spine",
    "chest",
    "neck",
    "head",
    *(f"left_{bone}" for bone in _SIDE_BONES),
    *(f"right_{bone}" for bone in _SIDE_BONES),
)
BONE = {name: index for index, name in enumerate(BONES)}
SIDES = (("left", 1.0), ("right", -1.0))

Angles = tuple[float, float, float]
"""(roll, pitch, yaw), radians: leaning to the right, bowing forward, turning to the left."""


# Where people mark a limb's joints in pictures, against where the bones turn: the bone that begins at the joint,
# the bone along which the mark lies, and how far up that bone (fraction of stature). Hips are marked lower, elbows,
# wrists and ankles higher; the figures make the median disagreement with a network trained on COCO vanish.
_MARKS = (
    ("upper_arm", "upper_arm", -0.006),
    ("forearm", "upper_arm", 0.009),
    ("hand", "forearm", 0.0045),
    ("thigh", "thigh", -0.0115),
    ("shin", "thigh", 0.0),
    ("foot", "shin", 0.008),
)


@dataclass(frozen=True)
class Physique:
    """Proportions of one body.

    Attributes:
        height: Metres, 1.1 (a child) to 2.0.
        girth: Scale of all thicknesses, 0.85 (slim) to 1.25 (stout).
        femininity: 0 (broad shoulders, straight hips) to 1 (narrow shoulders, wide hips, waist).
        belly: Extra depth of the belly, metres.
        leg_ratio: Scale of the legs against the trunk, 0.96 to 1.04.
    """

    height: float = 1.75
    girth: float = 1.0
    femininity: float = 0.0
    belly: float = 0.0
    leg_ratio: float = 1.0

    @property
    def head_height(self) -> float:
        """Chin to crown, metres. It grows less than the body does: children have large heads."""
        return 0.110 + 0.066 * self.height

    @property
    def head_scale(self) -> float:
        """Size of the head against the modelled one, whose chin-to-crown height is 0.23 m."""
        return self.head_height / 0.23

    @property
    def head_centre(self) -> Array:
        """Middle of the skull at rest, `[3]`."""
        return np.array([0.012, 0.0, self.height - 0.12 * self.head_scale])

    @property
    def hip_height(self) -> float:
        """Height of the hip joints when standing straight, metres."""
        return 0.53 * self.height * self.leg_ratio

    def level(self, fraction: float) -> float:
        """Height of a trunk level given as a fraction of stature for average legs (0.53 hips, 0.845 neck)."""
        chin = self.height - 0.232 * self.head_scale
        return self.hip_height + (fraction - 0.53) * (chin - self.hip_height) / (0.868 - 0.53)

    @property
    def shoulder_half_width(self) -> float:
        """Mid-line to shoulder joint, metres."""
        return self.height * (0.104 - 0.009 * self.femininity) * (0.75 + 0.25 * self.girth)

    @property
    def hip_half_width(self) -> float:
        """Mid-line to hip joint, metres."""
        return self.height * (0.050 + 0.002 * self.femininity)

    def rest_joints(self) -> Array:
        """Origin of each bone when standing with hanging arms, `[B, 3]` in the person's frame, ground at 0."""
        h = self.height
        hip, ankle = self.hip_height, 0.042 * h
        knee = ankle + (hip - ankle) * 0.502
        shoulder = self.level(0.812)
        points: dict[str, tuple[float, float, float]] = {
            "pelvis": (0.0, 0.0, hip),
            "spine": (0.0, 0.0, self.level(0.60)),
            "chest": (-0.005 * h, 0.0, self.level(0.68)),
            "neck": (-0.010 * h, 0.0, self.level(0.838)),
            "head": (float(self.head_centre[0]) - 0.012, 0.0, float(self.head_centre[2]) - 0.065 * self.head_scale),
        }
        for side, sign in SIDES:
            y_arm, y_leg = sign * self.shoulder_half_width, sign * self.hip_half_width
            points[f"{side}_clavicle"] = (0.0, sign * 0.015 * h, self.level(0.815))
            points[f"{side}_upper_arm"] = (-0.008 * h, y_arm, shoulder)
            points[f"{side}_forearm"] = (-0.008 * h, y_arm, shoulder - 0.184 * h)
            points[f"{side}_hand"] = (-0.008 * h, y_arm, shoulder - (0.184 + 0.148) * h)
            points[f"{side}_thigh"] = (0.0, y_leg, hip)
            points[f"{side}_shin"] = (0.0, y_leg, knee)
            points[f"{side}_foot"] = (0.0, y_leg, ankle)
            points[f"{side}_toes"] = (0.072 * h, y_leg, 0.012 * h)
        return np.array([points[name] for name in BONES])


@dataclass(frozen=True)
class ArmPose:
    """Where a wrist is, in the chest's frame with y mirrored for the right arm (y is away from the body).

    Attributes:
        wrist: `[3]` from the shoulder joint, in arm lengths (1 = stretched).
        pole: `[3]` direction in which the elbow points.
        twist: Turn of the hand about the forearm, radians; 0 = palm towards the thigh when hanging.
        flex: Bend of the hand towards the palm, radians.
    """

    wrist: Array
    pole: Array
    twist: float = 0.0
    flex: float = 0.0

    @staticmethod
    def hanging(flexion: float, abduction: float, elbow: float) -> "ArmPose":
        """The arm given by joint angles: raised forwards, raised sideways, elbow bent (0 = straight)."""
        upper = rot_x(abduction) @ rot_y(-flexion)
        front = upper @ FORWARD
        elbow_at = upper @ np.array([0.0, 0.0, -0.554])
        forearm = upper @ rot_y(-elbow) @ np.array([0.0, 0.0, -0.446])
        return ArmPose(elbow_at + forearm, -front)

    def blend(self, other: "ArmPose", amount: float) -> "ArmPose":
        """This pose at 0, `other` at 1."""
        return ArmPose(
            self.wrist + (other.wrist - self.wrist) * amount,
            self.pole + (other.pole - self.pole) * amount,
            self.twist + (other.twist - self.twist) * amount,
            self.flex + (other.flex - self.flex) * amount,
        )


@dataclass(frozen=True)
class FootPose:
    """One foot in the world.

    Attributes:
        ankle: `[3]` metres.
        yaw: Direction of the toes, radians from world x.
        pitch: Positive lifts the toes above the heel, radians.
        toe_bend: Upward bend of the toes, radians.
    """

    ankle: Array
    yaw: float
    pitch: float = 0.0
    toe_bend: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Everything that places a body at one moment.

    Attributes:
        pelvis: `[3]` mid-point of the hips in the world, metres.
        heading: Direction the person faces, radians from world x.
        feet: Left and right.
        arms: Left and right.
        pelvis_turn: Of the pelvis against the heading.
        spine: Of the chest against the pelvis.
        head: Of the head against the chest.
        knee_out: How far the knees point outwards, radians.
    """

    pelvis: Array
    heading: float
    feet: tuple[FootPose, FootPose]
    arms: tuple[ArmPose, ArmPose]
    pelvis_turn: Angles = (0.0, 0.0, 0.0)
    spine: Angles = (0.0, 0.0, 0.0)
    head: Angles = (0.0, 0.0, 0.0)
    knee_out: float = 0.08


@dataclass(frozen=True)
class PosedBones:
    """Bones in the world.

    Attributes:
        rotations: `[B, 3, 3]`.
        origins: `[B, 3]` metres.
        matrices: `[B, 3, 4]` that carry a rest-pose point into the world.
        joints: `[19, 3]` the joints of `JOINTS`, metres.
    """

    rotations: Array
    origins: Array
    matrices: Array = field(repr=False)
    joints: Array = field(repr=False)


def _turn(angles: Angles, share: float = 1.0) -> Array:
    roll, pitch, yaw = (share * a for a in angles)
    return rot_z(yaw) @ rot_y(pitch) @ rot_x(roll)


class Skeleton:
    """The bones of one physique; turns poses into bone transforms."""

    def __init__(self, physique: Physique) -> None:
        self.physique = physique
        self.rest = physique.rest_joints()
        self._face = self._face_points()

    def length(self, start: str, end: str) -> float:
        """Distance of two bone origins at rest, metres."""
        return float(np.linalg.norm(self.rest[BONE[end]] - self.rest[BONE[start]]))

    def solve(self, pose: Pose) -> PosedBones:
        """Place all bones for `pose`."""
        rotations = np.zeros((len(BONES), 3, 3))
        origins = np.zeros((len(BONES), 3))
        self._trunk(pose, rotations, origins)
        for (side, sign), arm, foot in zip(SIDES, pose.arms, pose.feet, strict=True):
            self._arm(side, sign, arm, rotations, origins)
            self._leg(side, sign, foot, pose, rotations, origins)
        shift = origins - np.einsum("bij,bj->bi", rotations, self.rest)
        matrices = np.concatenate([rotations, shift[:, :, None]], axis=2)
        return PosedBones(rotations, origins, matrices, self._joints(origins, matrices))

    def _offset(self, parent: str, child: str) -> Array:
        return np.asarray(self.rest[BONE[child]] - self.rest[BONE[parent]])

    def _trunk(self, pose: Pose, rotations: Array, origins: Array) -> None:
        base = rot_z(pose.heading)
        rotations[BONE["pelvis"]] = base @ _turn(pose.pelvis_turn)
        origins[BONE["pelvis"]] = pose.pelvis
        # The chest turns with the spine; the neck takes 40 % of the head's turn.
        for parent, child, turn in (
            ("pelvis", "spine", _turn(pose.spine, 0.5)),
            ("spine", "chest", _turn(pose.spine, 0.5)),
            ("chest", "neck", _turn(pose.head, 0.4)),
            ("neck", "head", _turn(pose.head, 0.6)),
        ):
            p, c = BONE[parent], BONE[child]
            origins[c] = origins[p] + rotations[p] @ self._offset(parent, child)
            rotations[c] = rotations[p] @ turn

    def _arm(self, side: str, sign: float, arm: ArmPose, rotations: Array, origins: Array) -> None:
        chest = rotations[BONE["chest"]]
        mirror = np.array([1.0, sign, 1.0])
        upper_length = self.length(f"{side}_upper_arm", f"{side}_forearm")
        lower_length = self.length(f"{side}_forearm", f"{side}_hand")
        # A raised arm lifts the shoulder: about a third of the elevation beyond 40 degrees.
        reach = arm.wrist / max(float(np.linalg.norm(arm.wrist)), 1e-9)
        lift = 0.55 * float(smoothstep(-0.6, 1.0, reach[2]))
        forward = 0.25 * float(smoothstep(0.2, 1.0, reach[0]) + smoothstep(0.0, -0.8, reach[1]))
        clavicle = chest @ rot_z(-sign * forward) @ rot_x(sign * lift)
        c, u, f, h = (BONE[f"{side}_{b}"] for b in ("clavicle", "upper_arm", "forearm", "hand"))
        origins[c] = origins[BONE["chest"]] + chest @ self._offset("chest", f"{side}_clavicle")
        rotations[c] = clavicle
        origins[u] = origins[c] + clavicle @ self._offset(f"{side}_clavicle", f"{side}_upper_arm")
        target = origins[u] + chest @ (arm.wrist * mirror) * (upper_length + lower_length)
        pole = chest @ (arm.pole * mirror)
        origins[f], origins[h] = two_bones(origins[u], target, (upper_length, lower_length), pole)
        rotations[u] = bone_frame(origins[u], origins[f], -pole)
        rotations[f] = bone_frame(origins[f], origins[h], -pole)
        rotations[h] = rotations[f] @ rot_z(sign * arm.twist) @ rot_x(-sign * arm.flex)

    def _leg(self, side: str, sign: float, foot: FootPose, pose: Pose, rotations: Array, origins: Array) -> None:
        pelvis = rotations[BONE["pelvis"]]
        t, s, f, e = (BONE[f"{side}_{b}"] for b in ("thigh", "shin", "foot", "toes"))
        origins[t] = origins[BONE["pelvis"]] + pelvis @ self._offset("pelvis", f"{side}_thigh")
        foot_yaw = rot_z(foot.yaw)
        pole = 0.5 * pelvis @ rot_z(sign * pose.knee_out) @ FORWARD + 0.5 * foot_yaw @ FORWARD + 0.1 * UP
        lengths = (self.length(f"{side}_thigh", f"{side}_shin"), self.length(f"{side}_shin", f"{side}_foot"))
        origins[s], origins[f] = two_bones(origins[t], foot.ankle, lengths, pole)
        rotations[t] = bone_frame(origins[t], origins[s], pole)
        rotations[s] = bone_frame(origins[s], origins[f], pole)
        rotations[f] = foot_yaw @ rot_y(-foot.pitch)
        origins[e] = origins[f] + rotations[f] @ self._offset(f"{side}_foot", f"{side}_toes")
        rotations[e] = rotations[f] @ rot_y(-foot.toe_bend)

    def _face_points(self) -> Array:
        """Nose, eyes, ears, head_bottom, head_top at rest, `[7, 3]`."""
        s = self.physique.head_scale
        local = np.array(
            [
                (0.112, 0.0, -0.026),
                (0.084, 0.032, 0.004),
                (0.084, -0.032, 0.004),
                (-0.008, 0.079, -0.012),
                (-0.008, -0.079, -0.012),
                (-0.012, 0.0, -0.112),
                (-0.005, 0.0, 0.120),
            ]
        )
        return self.physique.head_centre + s * local

    def _joints(self, origins: Array, matrices: Array) -> Array:
        def carried(bone: str, points: Array) -> Array:
            m = matrices[BONE[bone]]
            return np.asarray(points @ m[:, :3].T + m[:, 3])

        face = carried("head", self._face)
        limbs = []
        for bone, along, shift in _MARKS:
            for side, _ in SIDES:
                axis = matrices[BONE[f"{side}_{along}"], :, 2]
                limbs.append(origins[BONE[f"{side}_{bone}"]] + axis * shift * self.physique.height)
        head_bottom = carried("neck", self._face[5:6])
        return np.concatenate([face[:5], limbs, head_bottom, face[6:]])
