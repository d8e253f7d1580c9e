"""Staying on one spot: standing with gestures, sitting, free exercise over planted feet."""

from dataclasses import dataclass, field

import numpy as np

from .motion import ARM_POSES, Attention, Gesture
from .skeleton import BONE, Angles, ArmPose, FootPose, Pose, Skeleton
from .transforms import Array, rot_z, smoothstep, vector


def _planted(
    skeleton: Skeleton,
    place: Array,
    heading: float,
    *,
    ahead: tuple[float, float],
    apart: tuple[float, float],
    out: float,
) -> tuple[FootPose, FootPose]:
    """Feet flat on the ground.

    Args:
        skeleton: Whose feet.
        place: `[2]` ground below the body, metres.
        heading: Where the body faces, radians.
        ahead: How far before the body the left and the right ankle are, metres.
        apart: How far to its left and to its right, metres.
        out: Turn of the toes outwards, radians.
    """
    ankle = float(skeleton.rest[BONE["left_foot"], 2])

    def foot(forward: float, sideways: float, turn: float) -> FootPose:
        return FootPose(np.append(place, 0.0) + rot_z(heading) @ vector(forward, sideways, ankle), heading + turn)

    return foot(ahead[0], apart[0], out), foot(ahead[1], -apart[1], -out)


def _both_arms(
    gestures: tuple[Gesture | None, Gesture | None], rest: ArmPose, time_s: float
) -> tuple[ArmPose, ArmPose]:
    """Arms at rest, or in their gestures."""
    left, right = (gesture.apply(rest, time_s) if gesture else rest for gesture in gestures)
    return left, right


@dataclass(frozen=True)
class Stand:
    """Standing on one spot, shifting weight, perhaps gesturing or bending.

    Attributes:
        skeleton: Whose body.
        place: `[2]` metres.
        heading: Radians from world x.
        gestures: Left and right arm.
        attention: The head.
        bow: Forward bend of the trunk at its deepest, radians.
        bow_at_s: When it is deepest; bending down and up takes about 2 s.
        stance: Half the distance of the feet, metres.
        phase: Offset of the slow sway, radians.
        turn: Turn of the trunk to and fro, radians.
    """

    skeleton: Skeleton
    place: Array
    heading: float
    gestures: tuple[Gesture | None, Gesture | None] = (None, None)
    attention: Attention = field(default_factory=Attention)
    bow: float = 0.0
    bow_at_s: float = 2.0
    stance: float = 0.12
    phase: float = 0.0
    turn: float = 0.1

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`."""
        t = 0.9 * time_s + self.phase
        shift = float(np.tanh(1.5 * np.sin(t)))
        turn = self.turn * float(np.sin(0.6 * t + 1.0))
        breath = 0.012 * float(np.sin(1.9 * time_s + self.phase))
        bent = self.bow * float(np.exp(-0.5 * ((time_s - self.bow_at_s) / 0.55) ** 2))
        hips = vector(-0.12 * bent, 0.030 * shift, self.skeleton.physique.hip_height * (1.0 - 0.10 * bent))
        return Pose(
            np.append(self.place, 0.0) + rot_z(self.heading) @ hips,
            self.heading,
            _planted(self.skeleton, self.place, self.heading, ahead=(0.0, 0.0), apart=(self.stance,) * 2, out=0.22),
            _both_arms(self.gestures, ArmPose.hanging(0.05 + 0.9 * bent, 0.12, 0.22 + breath), time_s),
            pelvis_turn=(0.05 * shift, 0.35 * bent, 0.3 * turn),
            spine=(-0.06 * shift, 0.03 + 0.65 * bent + breath, turn),
            head=self.attention.angles(time_s),
            knee_out=0.12,
        )


@dataclass(frozen=True)
class Sit:
    """Sitting on a seat.

    Attributes:
        skeleton: Whose body.
        place: `[2]` metres, below the hips.
        heading: Radians from world x.
        seat: Height of the seat, metres.
        gestures: Left and right arm; None rests on the thigh.
        attention: The head.
        phase: Offset of small movements, radians.
    """

    skeleton: Skeleton
    place: Array
    heading: float
    seat: float = 0.45
    gestures: tuple[Gesture | None, Gesture | None] = (None, None)
    attention: Attention = field(default_factory=Attention)
    phase: float = 0.0

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`."""
        s = self.skeleton
        rock = float(np.sin(0.8 * time_s + self.phase))
        reach = s.length("left_thigh", "left_shin")
        ahead = (reach + 0.06 + 0.05 * float(np.sin(self.phase)), reach - 0.01)
        rest = ArmPose(vector(0.55, -0.02, -0.62), vector(-1.0, 0.6, -0.3), 0.9, 0.2)
        roll, pitch, yaw = self.attention.angles(time_s)
        return Pose(
            # The flesh of the seat lifts the hip joints above it.
            np.append(self.place, self.seat + 0.062 * s.physique.height),
            self.heading,
            _planted(s, self.place, self.heading, ahead=ahead, apart=(0.11, 0.11), out=0.15),
            _both_arms(self.gestures, rest, time_s),
            pelvis_turn=(0.0, -0.12, 0.0),
            spine=(0.02 * rock, 0.22 + 0.03 * rock, 0.05 * rock),
            head=(roll, pitch - 0.06, yaw),
            knee_out=0.15,
        )


@dataclass(frozen=True)
class _Key:
    """One key pose of an exercise.

    Attributes:
        arms: Left and right.
        hips: `[3]` offset from standing (forward, to the left, up), metres at 1.75 m stature.
        spine: See `Pose`.
        head: See `Pose`.
        turn: Of the pelvis about the vertical, radians.
    """

    arms: tuple[ArmPose, ArmPose]
    hips: Array
    spine: Angles
    head: Angles
    turn: float


class Exercise:
    """Moving freely over planted feet: from one random reachable key pose to the next.

    Args:
        skeleton: Whose body.
        place: `[2]` metres.
        heading: Radians from world x.
        seed: Which poses.
        pace_s: Seconds from one key pose to the next.
    """

    def __init__(self, skeleton: Skeleton, place: Array, heading: float, *, seed: int, pace_s: float = 0.8) -> None:
        rng = np.random.default_rng(seed)
        self._skeleton, self._place, self._heading, self._pace_s = skeleton, place, heading, pace_s
        self._scale = skeleton.physique.height / 1.75
        left, right = self._scale * rng.uniform(0.10, 0.38, 2)
        lead = self._scale * rng.uniform(-0.125, 0.125)
        out = 0.15 + 0.4 * (left + right)
        self._feet = _planted(skeleton, place, heading, ahead=(lead, -lead), apart=(left, right), out=out)
        # Straight legs in this stance; the hips are above the middle of the feet.
        ankle = float(skeleton.rest[BONE["left_foot"], 2])
        spread = max(0.0, (left + right) / 2 - 0.1)
        height = np.sqrt((0.985 * (skeleton.physique.hip_height - ankle)) ** 2 - spread**2) + ankle
        self._stand = vector(0.0, (left - right) / 2, float(height))
        self._offset_s = float(rng.uniform(0.0, pace_s))
        self._keys = [_random_key(rng) for _ in range(24)]

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`."""
        beat = (time_s + self._offset_s) / self._pace_s
        number = int(np.floor(beat))
        a, b = (self._keys[n % len(self._keys)] for n in (number, number + 1))
        t = float(smoothstep(0.0, 0.85, beat - number))

        def between(x: Angles, y: Angles) -> Angles:
            roll, pitch, yaw = (p + (q - p) * t for p, q in zip(x, y, strict=True))
            return roll, pitch, yaw

        spine = between(a.spine, b.spine)
        hips = self._stand + self._scale * (a.hips + (b.hips - a.hips) * t)
        return Pose(
            np.append(self._place, 0.0) + rot_z(self._heading) @ hips,
            self._heading,
            self._feet,
            (a.arms[0].blend(b.arms[0], t), a.arms[1].blend(b.arms[1], t)),
            pelvis_turn=(0.0, 0.3 * spine[1], a.turn + (b.turn - a.turn) * t),
            spine=spine,
            head=between(a.head, b.head),
            knee_out=0.25,
        )


def _random_key(rng: np.random.Generator) -> _Key:
    left, right = _random_arm(rng), _random_arm(rng)
    if rng.random() < 0.35:
        right = left
    squat = rng.uniform(0.0, 0.42 if rng.random() < 0.4 else 0.06)
    bow = rng.uniform(-0.2, 0.35) + (rng.uniform(0.3, 1.0) if rng.random() < 0.2 else 0.0)
    hips = vector(rng.uniform(-0.08, 0.08) - 0.1 * bow, rng.uniform(-0.12, 0.12), -squat)
    spine = (rng.uniform(-0.3, 0.3), bow + 0.4 * squat, rng.uniform(-0.5, 0.5))
    head = (rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.45) - 0.4 * bow, rng.uniform(-0.8, 0.8))
    return _Key((left, right), hips, spine, head, rng.uniform(-0.35, 0.35))


def _random_arm(rng: np.random.Generator) -> ArmPose:
    """A known gesture, or a wrist anywhere in reach, mostly in front and to the side."""
    if rng.random() < 0.45:
        return ARM_POSES[str(rng.choice(sorted(ARM_POSES)))]
    direction = rng.normal(size=3) * np.array([1.0, 1.0, 1.2]) + np.array([0.45, 0.45, 0.0])
    direction /= np.linalg.norm(direction)
    pole = vector(-0.8, 0.6, -0.6) + 0.5 * rng.normal(size=3)
    return ArmPose(direction * rng.uniform(0.45, 1.0), pole, rng.uniform(-0.5, 1.4), rng.uniform(-0.3, 0.6))
