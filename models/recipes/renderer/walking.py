"""Walking and jogging along a path, with feet that do not slide."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .motion import Attention, Gesture
from .skeleton import BONE, ArmPose, FootPose, Pose, Skeleton
from .transforms import Array, hermite, mix, rot_y, rot_z, smoothstep, vector

# Share of a stance over which the speed of a foot is measured.
_STEP = 0.01


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
        position: Array = np.array(self.start, np.float64)
        heading = self.heading
        edges = [*self.bends, (np.inf, 0.0)]
        done = min(distance, edges[0][0])
        position = position + done * np.array([np.cos(heading), np.sin(heading)])
        for (begin, curvature), (end, _) in pairwise(edges):
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
class Walk:
    """Walking or jogging along a path at constant speed; feet do not slide.

    Attributes:
        skeleton: Whose legs.
        path: Where.
        gait: How.
        gestures: What the left and the right arm do; None swings.
        attention: What the head does.
    """

    skeleton: Skeleton
    path: Path
    gait: Gait = field(default_factory=Gait)
    gestures: tuple[Gesture | None, Gesture | None] = (None, None)
    attention: Attention = field(default_factory=Attention)

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`; the walker is at the path's start at 0."""
        gait = self.gait
        distance = gait.speed * time_s
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
        arms = (self._arm(1, angle, self.gestures[0], time_s), self._arm(-1, angle, self.gestures[1], time_s))
        feet = (self._foot(phase, 0.0, 1.0), self._foot(phase, 0.5, -1.0))
        head = self.attention.angles(time_s)
        head = (head[0], head[1] - 0.5 * lean, head[2] + 0.9 * yaw)
        return Pose(pelvis, heading, feet, arms, (roll, 0.5 * lean, yaw), spine, head, 0.05)

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
        # As high as the leg that strikes allows.
        low = np.sqrt((0.990 * self._leg) ** 2 - self._reach**2) + 1.25 * self._ankle
        if self.gait.jog:
            # Lowest in the middle of the stance, highest in flight.
            return float(low + 0.018 - 0.030 * np.cos(4 * np.pi * (phase - 0.5 * self._stance)))
        # Lowest with both feet on the ground, highest over the standing leg.
        bob = min(0.020, max(0.008, 0.5 * (0.980 * self._leg + self._ankle - low)))
        return float(low + bob * (1.0 - np.cos(4 * np.pi * (phase - 0.025))))

    def _arm(self, sign: int, angle: float, gesture: Gesture | None, time_s: float) -> ArmPose:
        gait = self.gait
        # The arm swings with the other leg: the left arm is behind when the left heel strikes.
        swing = -gait.arm_swing * np.cos(angle - 0.25) * sign
        # The elbow bends as the arm comes forward.
        bend = gait.elbow + (0.45 if gait.jog else 0.55) * swing
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
        ground, yaw = self._plant(number, offset, sign)
        if t < self._stance:
            return self._stance_foot(ground, yaw, t / self._stance)
        next_ground, next_yaw = self._plant(number + 1, offset, sign)
        lift, land = self._stance_foot(ground, yaw, 1.0), self._stance_foot(next_ground, next_yaw, 0.0)
        # The swing takes over position and pitch with the speed at which the stance leaves them.
        before = self._stance_foot(ground, yaw, 1.0 - _STEP)
        rate = (1.0 - self._stance) / (self._stance * _STEP)
        u = (t - self._stance) / (1.0 - self._stance)
        ankle = hermite(u, lift.ankle, land.ankle, rate * (lift.ankle - before.ankle), np.zeros(3))
        ankle[2] += (0.22 if self.gait.jog else 0.012) * self._leg * np.sin(np.pi * u) ** 2
        whip = np.array(rate * (lift.pitch - before.pitch) * 0.6)
        pitch = float(hermite(u, np.array(lift.pitch), np.array(land.pitch), whip, np.array(0.0)))
        turn = mix(yaw, next_yaw, float(smoothstep(0.0, 1.0, u)))
        return FootPose(ankle, turn, pitch, lift.toe_bend * (1.0 - float(smoothstep(0.0, 0.3, u))))

    def _stance_foot(self, ground: Array, yaw: float, t: float) -> FootPose:
        """A planted foot from heel strike (t = 0) over flat to the heel's rise (t = 1)."""
        h = self.skeleton.physique.height
        # Toes up at the strike, heel up at the end; when the heel begins to rise, and how it gathers speed.
        strike, off, rises_at, power = (0.10, -0.95, 0.42, 1.8) if self.gait.jog else (0.30, -1.05, 0.50, 1.9)
        up = strike * (1.0 - float(smoothstep(0.0, 0.20, t)))
        pitch = up + off * max(0.0, (t - rises_at) / (1.0 - rises_at)) ** power
        # Rolls over the heel at first and over the ball of the foot at last.
        pivot = vector(-0.036 * h, 0.0, 0.0) if pitch > 0 else vector(0.072 * h, 0.0, 0.012 * h)
        arm = vector(0.0, 0.0, self._ankle) - pivot
        local = pivot + rot_y(-pitch) @ arm
        ankle = np.append(ground, 0.0) + rot_z(yaw) @ local
        return FootPose(ankle, yaw, pitch, max(0.0, -pitch))
