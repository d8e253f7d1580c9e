"""How people move: walking and jogging along a path, standing with gestures, sitting, free exercise.

Every motion is a function of time that gives a `Pose`; nothing is integrated, so any moment can be asked for.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .skeleton import BONE, ArmPose, FootPose, Pose, Skeleton
from .transforms import Array, hermite, rot_y, rot_z, smoothstep


class Motion(Protocol):
    """Something a body does."""

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`, seconds of the scene's clock."""
        ...


@dataclass(frozen=True)
class Path:
    """A line on the ground that bends with constant curvature after a straight start.

    Attributes:
        start: `[2]` metres, where the walker is at distance 0.
        heading: Direction at the start, radians from world x.
        bends: (distance, curvature in 1/m) from each distance on; the first is at 0 or later.
    """

    start: Array
    heading: float
    bends: tuple[tuple[float, float], ...] = ()

    def at(self, distance: float) -> tuple[Array, float]:
        """Position `[2]` and heading at a distance along the path; negative goes back straight."""
        position, heading = np.array(self.start, np.float64), self.heading
        edges = [*self.bends, (np.inf, 0.0)]
        done = min(distance, edges[0][0])
        position = position + done * np.array([np.cos(heading), np.sin(heading)])
        for (begin, curvature), (end, _) in zip(edges[:-1], edges[1:], strict=True):
            length = min(distance, end) - begin
            if length <= 0:
                break
            position, heading = _arc(position, heading, curvature, length)
        return position, heading


def _arc(position: Array, heading: float, curvature: float, length: float) -> tuple[Array, float]:
    turned = heading + curvature * length
    if abs(curvature) < 1e-9:
        return position + length * np.array([np.cos(heading), np.sin(heading)]), heading
    offset = np.array([np.sin(turned) - np.sin(heading), np.cos(heading) - np.cos(turned)]) / curvature
    return position + offset, turned


@dataclass(frozen=True)
class Gait:
    """A person's way of walking.

    Attributes:
        speed: Metres a second.
        step: Step length, metres.
        jog: False walks, True jogs.
        width: Distance of the feet from the mid-line, metres.
        toe_out: Radians.
        arm_swing: Radians of the shoulder, each way.
        elbow: Bend of the elbows, radians.
        lean: Forward lean of the trunk, radians.
        sway: Scale of hip and shoulder movement.
        phase: Offset of the stride, 0..1.
    """

    speed: float = 1.35
    step: float = 0.70
    jog: bool = False
    width: float = 0.055
    toe_out: float = 0.12
    arm_swing: float = 0.34
    elbow: float = 0.30
    lean: float = 0.04
    sway: float = 1.0
    phase: float = 0.0


@dataclass(frozen=True)
class Gesture:
    """What one arm does instead of swinging, while it lasts.

    Attributes:
        arm: The pose to hold.
        begin_s: When the arm starts to move there.
        end_s: When it is back.
        wave: Amplitude of a side-to-side movement of the wrist, arm lengths.
        rate: Waves a second.
    """

    arm: ArmPose
    begin_s: float = -1e9
    end_s: float = 1e9
    wave: float = 0.0
    rate: float = 1.6

    def apply(self, base: ArmPose, time_s: float) -> ArmPose:
        """Blend the gesture over `base`; arms take half a second to rise and to fall."""
        amount = float(
            smoothstep(self.begin_s, self.begin_s + 0.5, time_s) * smoothstep(self.end_s, self.end_s - 0.5, time_s)
        )
        if amount <= 0:
            return base
        swing = self.wave * np.sin(2 * np.pi * self.rate * time_s)
        held = ArmPose(
            self.arm.wrist + np.array([0.0, swing, -0.3 * abs(swing)]), self.arm.pole, self.arm.twist, self.arm.flex
        )
        return base.blend(held, amount)


def _vector(x: float, y: float, z: float) -> Array:
    return np.array([x, y, z])


# Wrist from the shoulder in arm lengths (forward, outward, up), and where the elbow points.
ARM_POSES = {
    "phone": ArmPose(_vector(0.50, -0.22, -0.28), _vector(-0.3, 0.5, -1.0), 1.2, 0.3),
    "call": ArmPose(_vector(0.20, -0.10, 0.26), _vector(0.2, 0.8, -0.8), 0.4, 0.2),
    "wave": ArmPose(_vector(0.15, 0.35, 0.75), _vector(-0.2, 1.0, -0.4), 1.5, 0.0),
    "hip": ArmPose(_vector(0.02, 0.10, -0.70), _vector(-0.4, 1.0, 0.1), 0.5, 0.6),
    "pocket": ArmPose(_vector(0.12, -0.01, -0.88), _vector(-1.0, 0.5, 0.0), 0.0, 0.2),
    "point": ArmPose(_vector(0.93, 0.15, 0.15), _vector(-0.2, 0.5, -1.0), 0.3, 0.0),
    "crossed": ArmPose(_vector(0.34, -0.36, -0.36), _vector(-0.3, 0.8, -0.8), 0.6, 0.2),
    "strap": ArmPose(_vector(0.28, -0.18, -0.12), _vector(-0.1, 0.5, -1.0), 0.8, 0.5),
    "carry": ArmPose(_vector(0.45, -0.05, -0.45), _vector(-0.6, 0.4, -1.0), 1.0, 0.0),
    "up": ArmPose(_vector(0.05, 0.20, 0.97), _vector(-0.3, 1.0, 0.0), 0.0, 0.0),
    "side": ArmPose(_vector(0.05, 0.97, 0.0), _vector(-0.5, 0.0, -1.0), 0.0, 0.0),
    "behind": ArmPose(_vector(-0.22, -0.18, -0.78), _vector(-1.0, 0.6, 0.0), -0.5, 0.0),
    "chin": ArmPose(_vector(0.33, -0.22, 0.10), _vector(0.1, 0.4, -1.0), 0.6, 0.3),
    "head": ArmPose(_vector(0.05, 0.05, 0.45), _vector(0.2, 1.0, 0.2), 0.8, 0.3),
    "camera": ArmPose(_vector(0.42, -0.16, 0.16), _vector(0.0, 0.7, -1.0), 0.9, 0.3),
}


@dataclass(frozen=True)
class Attention:
    """Where a head turns: slow looks around, and a fixed bow (reading a phone).

    Attributes:
        bow: Radians downwards.
        amplitude: Radians of looking to the sides.
        rate: Looks a second.
        phase: Radians.
    """

    bow: float = 0.03
    amplitude: float = 0.25
    rate: float = 0.17
    phase: float = 0.0

    def angles(self, time_s: float) -> tuple[float, float, float]:
        """(roll, pitch, yaw) of the head."""
        t = 2 * np.pi * self.rate * time_s + self.phase
        yaw = self.amplitude * float(np.tanh(1.8 * np.sin(t)))
        return 0.04 * float(np.sin(1.7 * t + 1.0)), self.bow + 0.04 * float(np.sin(2.3 * t)), yaw


@dataclass(frozen=True)
class Walk:
    """Walking or jogging along a path at constant speed; feet do not slide.

    Attributes:
        skeleton: Whose legs.
        path: Where.
        gait: How.
        gestures: What the left and the right arm do; None swings.
        attention: What the head does.
        head_start: Metres along the path at time 0.
    """

    skeleton: Skeleton
    path: Path
    gait: Gait = field(default_factory=Gait)
    gestures: tuple[Gesture | None, Gesture | None] = (None, None)
    attention: Attention = field(default_factory=Attention)
    head_start: float = 0.0

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`."""
        gait = self.gait
        distance = self.head_start + gait.speed * time_s
        phase = distance / (2 * gait.step) + gait.phase
        position, heading = self.path.at(distance)
        angle = 2 * np.pi * phase
        lean, sway = gait.lean, gait.sway
        # The left heel strikes at whole phases, the right one at halves.
        yaw = -0.10 * sway * np.cos(angle)
        roll = 0.07 * sway * np.sin(angle + 0.3)
        side = 0.022 * sway * np.sin(angle - 0.2)
        across = np.array([-np.sin(heading), np.cos(heading)])
        pelvis = np.append(position + across * side, self._pelvis_height(phase))
        spine = (-0.8 * roll, lean, -1.9 * yaw)
        arms = tuple(
            self._arm(sign, angle, gesture, time_s) for sign, gesture in zip((1, -1), self.gestures, strict=True)
        )
        feet = (self._foot(phase, 0.0, 1.0), self._foot(phase, 0.5, -1.0))
        head = self.attention.angles(time_s)
        head = (head[0], head[1] - 0.5 * lean, head[2] + 0.9 * yaw)
        return Pose(pelvis, heading, feet, (arms[0], arms[1]), (roll, 0.5 * lean, yaw), spine, head, 0.05)

    @property
    def _stance(self) -> float:
        """Share of the stride during which a foot is on the ground."""
        return 0.37 if self.gait.jog else 0.62

    @property
    def _reach(self) -> float:
        """How far ahead of the hips a heel strikes, metres."""
        return (0.27 if self.gait.jog else 0.43) * self.gait.step

    @property
    def _leg(self) -> float:
        s = self.skeleton
        return s.length("left_thigh", "left_shin") + s.length("left_shin", "left_foot")

    @property
    def _ankle(self) -> float:
        return float(self.skeleton.rest[BONE["left_foot"], 2])

    def _pelvis_height(self, phase: float) -> float:
        low = np.sqrt((0.992 * self._leg) ** 2 - self._reach**2) + 1.25 * self._ankle
        if self.gait.jog:
            # Lowest in the middle of the stance, highest in flight.
            return float(low + 0.008 - 0.030 * np.cos(4 * np.pi * (phase - 0.5 * self._stance)))
        top = 0.988 * self._leg + self._ankle
        bob = min(0.021, 0.5 * (top - low))
        return float(low + bob * (1.0 - np.cos(4 * np.pi * (phase - 0.06))))

    def _arm(self, sign: int, angle: float, gesture: Gesture | None, time_s: float) -> ArmPose:
        gait = self.gait
        # The arm swings with the other leg: the left arm is behind when the left heel strikes.
        swing = -gait.arm_swing * np.cos(angle - 0.25) * sign
        bend = gait.elbow + (0.25 if gait.jog else 0.55 * gait.arm_swing) * (swing / max(gait.arm_swing, 1e-6))
        base = ArmPose.hanging(swing + 0.06, 0.13, max(bend, 0.08))
        return gesture.apply(base, time_s) if gesture else base

    def _plant(self, number: float, offset: float, sign: float) -> tuple[Array, float]:
        """Ground position of the ankle and direction of the foot of one step."""
        gait = self.gait
        distance = (number + offset - gait.phase) * 2 * gait.step + self._reach
        position, heading = self.path.at(distance)
        across = np.array([-np.sin(heading), np.cos(heading)])
        return position + across * gait.width * sign, heading + sign * gait.toe_out

    def _foot(self, phase: float, offset: float, sign: float) -> FootPose:
        number = np.floor(phase - offset)
        t = float(phase - offset - number)
        if t < self._stance:
            ground, yaw = self._plant(number, offset, sign)
            return self._stance_foot(ground, yaw, t / self._stance)
        u = (t - self._stance) / (1.0 - self._stance)
        ground0, yaw0 = self._plant(number, offset, sign)
        ground1, yaw1 = self._plant(number + 1, offset, sign)
        lift, land = self._stance_foot(ground0, yaw0, 1.0), self._stance_foot(ground1, yaw1, 0.0)
        span = land.ankle - lift.ankle
        early, late = (0.9, 0.25) if not self.gait.jog else (0.6, 0.2)
        ankle = hermite(u, lift.ankle, land.ankle, early * span, late * span)
        jog = self.gait.jog
        # The ankle rises on after toe-off, then falls to clear the ground by a little.
        rise = (0.26 if jog else 0.035) * self._leg / 0.87
        ankle[2] = (
            (1 - u) * lift.ankle[2] + u * land.ankle[2] + rise * np.sin(np.pi * min(1.0, u * 1.05)) * (1 - 0.35 * u)
        )
        down = lift.pitch * (1.25 if jog else 1.12)
        pitch = float(np.interp(u, [0.0, 0.15, 0.75, 1.0], [lift.pitch, down, 0.8 * land.pitch, land.pitch]))
        pitch = (
            float(hermite(u, np.array(lift.pitch), np.array(land.pitch), np.array(down - lift.pitch), np.array(0.0)))
            * 0.5
            + 0.5 * pitch
        )
        turn = yaw0 + (yaw1 - yaw0) * float(smoothstep(0.0, 1.0, u))
        return FootPose(ankle, turn, pitch, lift.toe_bend * (1.0 - float(smoothstep(0.0, 0.3, u))))

    def _stance_foot(self, ground: Array, yaw: float, t: float) -> FootPose:
        """A planted foot from heel strike (t = 0) over flat to the heel's rise (t = 1)."""
        h = self.skeleton.physique.height
        strike, off = (0.10, -0.85) if self.gait.jog else (0.30, -0.95)
        heel_up_at = 0.45 if self.gait.jog else 0.58
        up = strike * (1.0 - float(smoothstep(0.0, 0.20, t)))
        down = off * float(np.clip((t - heel_up_at) / (1 - heel_up_at), 0.0, 1.0)) ** 1.6
        pitch = up + down
        # Rolls over the heel at first and over the ball of the foot at last.
        pivot = _vector(-0.036 * h, 0.0, 0.0) if pitch > 0 else _vector(0.072 * h, 0.0, 0.012 * h)
        arm = _vector(0.0, 0.0, self._ankle) - pivot
        local = pivot + rot_y(-pitch) @ arm
        ankle = np.append(ground, 0.0) + rot_z(yaw) @ local
        return FootPose(ankle, yaw, pitch, max(0.0, -pitch))


@dataclass(frozen=True)
class Stand:
    """Standing on one spot, shifting weight, perhaps gesturing or bending.

    Attributes:
        skeleton: Whose body.
        place: `[2]` metres.
        heading: Radians.
        gestures: Left and right arm.
        attention: The head.
        bow: Forward bend of the trunk at its deepest, radians.
        bow_at_s: When it is deepest; it lasts about 2 s.
        stance: Half distance of the feet, metres.
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
        s = self.skeleton
        t = 0.9 * time_s + self.phase
        shift = float(np.tanh(1.5 * np.sin(t)))
        ankle = float(s.rest[BONE["left_foot"], 2])
        base = rot_z(self.heading)
        feet = tuple(
            FootPose(
                np.append(self.place, 0.0) + base @ _vector(0.0, sign * self.stance, ankle), self.heading + sign * 0.22
            )
            for sign in (1.0, -1.0)
        )
        bent = self.bow * float(np.exp(-0.5 * ((time_s - self.bow_at_s) / 0.55) ** 2))
        height = s.physique.hip_height - 0.10 * bent * s.physique.hip_height
        offset = base @ _vector(-0.12 * bent, 0.030 * shift, 0.0)
        pelvis = np.append(self.place + offset[:2], height)
        breathe = 0.012 * float(np.sin(1.9 * time_s + self.phase))
        arms = []
        for gesture in self.gestures:
            hanging = ArmPose.hanging(0.05 + 0.9 * bent, 0.12, 0.22 + breathe)
            arms.append(gesture.apply(hanging, time_s) if gesture else hanging)
        head = self.attention.angles(time_s)
        turn = self.turn * float(np.sin(0.6 * t + 1.0))
        return Pose(
            pelvis,
            self.heading,
            (feet[0], feet[1]),
            (arms[0], arms[1]),
            (0.05 * shift, 0.35 * bent, 0.3 * turn),
            (-0.06 * shift, 0.03 + 0.65 * bent + breathe, turn),
            head,
            0.12,
        )


@dataclass(frozen=True)
class Sit:
    """Sitting on a seat.

    Attributes:
        skeleton: Whose body.
        place: `[2]` metres, middle of the hips.
        heading: Radians.
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
        h = s.physique.height
        base = rot_z(self.heading)
        rock = float(np.sin(0.8 * time_s + self.phase))
        pelvis = np.append(self.place, self.seat + 0.062 * h)
        ankle = float(s.rest[BONE["left_foot"], 2])
        forward = s.length("left_thigh", "left_shin") + 0.02
        feet = tuple(
            FootPose(
                np.append(self.place, 0.0) + base @ _vector(forward + lead, sign * 0.11, ankle),
                self.heading + 0.15 * sign,
            )
            for sign, lead in ((1.0, 0.04 + 0.05 * np.sin(self.phase)), (-1.0, -0.03))
        )
        rest = ArmPose(_vector(0.55, -0.02, -0.62), _vector(-1.0, 0.6, -0.3), 0.9, 0.2)
        arms = [g.apply(rest, time_s) if g else rest for g in self.gestures]
        head = self.attention.angles(time_s)
        return Pose(
            pelvis,
            self.heading,
            (feet[0], feet[1]),
            (arms[0], arms[1]),
            (0.0, -0.12, 0.0),
            (0.02 * rock, 0.22 + 0.03 * rock, 0.05 * rock),
            (head[0], head[1] - 0.06, head[2]),
            0.15,
        )


@dataclass(frozen=True)
class _Key:
    """One key pose of an exercise."""

    arms: tuple[ArmPose, ArmPose]
    hips: Array
    spine: tuple[float, float, float]
    head: tuple[float, float, float]
    turn: float


class Exercise:
    """Moving freely over planted feet: from one random reachable key pose to the next.

    Args:
        skeleton: Whose body.
        place: `[2]` metres.
        heading: Radians.
        seed: Which poses.
        pace_s: Seconds from one key pose to the next.
    """

    def __init__(self, skeleton: Skeleton, place: Array, heading: float, *, seed: int, pace_s: float = 0.8) -> None:
        rng = np.random.default_rng(seed)
        self._skeleton, self._place, self._heading, self._pace_s = skeleton, place, heading, pace_s
        self._stance = (rng.uniform(0.10, 0.38), rng.uniform(0.10, 0.38))
        self._lead = rng.uniform(-0.25, 0.25)
        self._offset_s = rng.uniform(0.0, pace_s)
        self._keys = [self._key(rng) for _ in range(24)]

    def _key(self, rng: np.random.Generator) -> _Key:
        arms = (self._arm(rng), self._arm(rng))
        if rng.random() < 0.35:
            arms = (arms[0], arms[0])
        squat = rng.uniform(0.0, 0.42) if rng.random() < 0.4 else rng.uniform(0.0, 0.06)
        bow = rng.uniform(-0.2, 0.35) + (rng.uniform(0.3, 1.0) if rng.random() < 0.2 else 0.0)
        hips = _vector(rng.uniform(-0.08, 0.08) - 0.1 * bow, rng.uniform(-0.12, 0.12), -squat)
        spine = (rng.uniform(-0.3, 0.3), bow + 0.4 * squat, rng.uniform(-0.5, 0.5))
        head = (rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.45) - 0.4 * bow, rng.uniform(-0.8, 0.8))
        return _Key(arms, hips, spine, head, rng.uniform(-0.35, 0.35))

    def _arm(self, rng: np.random.Generator) -> ArmPose:
        if rng.random() < 0.45:
            names = sorted(ARM_POSES)
            return ARM_POSES[names[int(rng.integers(len(names)))]]
        direction = rng.normal(size=3) * (1.0, 1.0, 1.2) + (0.45, 0.45, 0.0)
        direction /= np.linalg.norm(direction)
        pole = _vector(-0.8, 0.6, -0.6) + 0.5 * rng.normal(size=3)
        return ArmPose(direction * rng.uniform(0.45, 1.0), pole, rng.uniform(-0.5, 1.4), rng.uniform(-0.3, 0.6))

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`."""
        beat = (time_s + self._offset_s) / self._pace_s
        number = int(np.floor(beat))
        a, b = self._keys[number % len(self._keys)], self._keys[(number + 1) % len(self._keys)]
        t = float(smoothstep(0.0, 0.85, beat - number))
        s = self._skeleton
        base = rot_z(self._heading)
        ankle = float(s.rest[BONE["left_foot"], 2])
        scale = s.physique.height / 1.75
        feet = tuple(
            FootPose(
                np.append(self._place, 0.0) + base @ _vector(0.5 * lead * scale, sign * width * scale, ankle),
                self._heading + sign * (0.15 + 0.8 * width),
            )
            for sign, width, lead in ((1.0, self._stance[0], self._lead), (-1.0, self._stance[1], -self._lead))
        )
        middle = _vector(0.0, 0.5 * (self._stance[0] - self._stance[1]), 0.0) * scale
        hips = a.hips + (b.hips - a.hips) * t
        spread = 0.5 * sum(self._stance) * scale
        stand = np.sqrt((0.985 * (s.physique.hip_height - ankle)) ** 2 - max(0.0, spread - 0.1) ** 2) + ankle
        pelvis = np.append(self._place, stand) + base @ (middle + hips * scale)

        def between(x: tuple[float, float, float], y: tuple[float, float, float]) -> tuple[float, float, float]:
            i, j, k = (p + (q - p) * t for p, q in zip(x, y, strict=True))
            return i, j, k

        return Pose(
            pelvis,
            self._heading,
            (feet[0], feet[1]),
            (a.arms[0].blend(b.arms[0], t), a.arms[1].blend(b.arms[1], t)),
            (0.0, 0.3 * between(a.spine, b.spine)[1], a.turn + (b.turn - a.turn) * t),
            between(a.spine, b.spine),
            between(a.head, b.head),
            0.25,
        )
