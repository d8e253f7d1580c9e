"""What all ways of moving share: gestures of the arms, turns of the head.

Every motion is a function of time that gives a `Pose`; nothing is integrated, so any moment can be asked for.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .skeleton import Angles, ArmPose, Pose
from .transforms import smoothstep, vector


class Motion(Protocol):
    """Something a body does."""

    def pose(self, time_s: float) -> Pose:
        """The body at `time_s`, seconds of the scene's clock."""
        ...


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


# Wrist from the shoulder in arm lengths (forward, outward, up), and where the elbow points.
ARM_POSES = {
    "phone": ArmPose(vector(0.50, -0.22, -0.28), vector(-0.3, 0.5, -1.0), 1.2, 0.3),
    "call": ArmPose(vector(0.17, 0.00, 0.13), vector(0.3, 0.6, -1.0), 0.9, 0.3),
    "wave": ArmPose(vector(0.15, 0.35, 0.75), vector(-0.2, 1.0, -0.4), 1.5, 0.0),
    "hip": ArmPose(vector(0.02, 0.10, -0.70), vector(-0.4, 1.0, 0.1), 0.5, 0.6),
    "pocket": ArmPose(vector(0.12, -0.01, -0.88), vector(-1.0, 0.5, 0.0), 0.0, 0.2),
    "point": ArmPose(vector(0.93, 0.15, 0.15), vector(-0.2, 0.5, -1.0), 0.3, 0.0),
    "crossed": ArmPose(vector(0.34, -0.36, -0.36), vector(-0.3, 0.8, -0.8), 0.6, 0.2),
    "strap": ArmPose(vector(0.28, -0.18, -0.12), vector(-0.1, 0.5, -1.0), 0.8, 0.5),
    "carry": ArmPose(vector(0.45, -0.05, -0.45), vector(-0.6, 0.4, -1.0), 1.0, 0.0),
    "up": ArmPose(vector(0.05, 0.20, 0.97), vector(-0.3, 1.0, 0.0), 0.0, 0.0),
    "side": ArmPose(vector(0.05, 0.97, 0.0), vector(-0.5, 0.0, -1.0), 0.0, 0.0),
    "behind": ArmPose(vector(-0.22, -0.18, -0.78), vector(-1.0, 0.6, 0.0), -0.5, 0.0),
    "chin": ArmPose(vector(0.33, -0.22, 0.10), vector(0.1, 0.4, -1.0), 0.6, 0.3),
    "head": ArmPose(vector(0.05, 0.05, 0.45), vector(0.2, 1.0, 0.2), 0.8, 0.3),
    "camera": ArmPose(vector(0.42, -0.16, 0.16), vector(0.0, 0.7, -1.0), 0.9, 0.3),
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

    def angles(self, time_s: float) -> Angles:
        """Turn of the head against the chest."""
        t = 2 * np.pi * self.rate * time_s + self.phase
        yaw = self.amplitude * float(np.tanh(1.8 * np.sin(t)))
        return 0.04 * float(np.sin(1.7 * t + 1.0)), self.bow + 0.04 * float(np.sin(2.3 * t)), yaw
