"""Where people will be: constant-velocity Kalman filters of boxes, for any time between two looks."""

from dataclasses import dataclass

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.people.camera import scale_of

# All in body heights. A measured box is so far off, and its speed changes so much in the root of a second.
_MEASURED, _SPEED_CHANGE, _SIZE_CHANGE = 0.05, 0.15, 0.15
_FIRST_SPEED = 0.7  # of somebody seen once: standard deviation, heights a second
_COASTING_S = 0.8  # time in which the speed of somebody out of sight falls to a third


@dataclass
class BoxFilter:
    """One person's box over time, in square pixels.

    Position and speed of the centre are filtered (white-noise acceleration); width and height follow what is measured.

    Attributes:
        centre: `[2]` pixels.
        speed: `[2]` pixels a second.
        size: `[2]` width and height in pixels.
        spread: `[3]` variance of the place, covariance with the speed, variance of the speed, in heights; the same for
            both axes.
        size_spread: Variance of the logarithm of the sides.
        time_s: To which all of it belongs.
        seen_s: When the box was measured last.
    """

    centre: Doubles
    speed: Doubles
    size: Doubles
    spread: Doubles
    size_spread: float
    time_s: float
    seen_s: float

    @classmethod
    def start(cls, box: Doubles, time_s: float) -> "BoxFilter":
        """Begin with a box `[4]`, x0, y0, x1, y1."""
        size = np.maximum(box[2:] - box[:2], 1e-3)
        spread = np.array([_MEASURED**2, 0.0, _FIRST_SPEED**2])
        return cls((box[:2] + box[2:]) / 2, np.zeros(2), size, spread, _MEASURED**2, time_s, time_s)

    def predict(self, time_s: float) -> None:
        """Go on to a later time."""
        dt = time_s - self.time_s
        if dt <= 0:
            return
        # Who is out of sight goes on for a while, at a speed that fades.
        gone = self.time_s - self.seen_s
        coast = np.exp(-gone / _COASTING_S) - np.exp(-(gone + dt) / _COASTING_S) if gone > 0 else None
        way = dt if coast is None else _COASTING_S * coast / np.exp(-gone / _COASTING_S)
        fade = 1.0 if coast is None else np.exp(-dt / _COASTING_S)
        self.centre = self.centre + way * self.speed
        self.speed = fade * self.speed
        place, both, speed = self.spread
        q = _SPEED_CHANGE**2
        self.spread = np.array(
            [
                place + 2 * dt * both + dt**2 * speed + q * dt**3 / 3,
                both + dt * speed + q * dt**2 / 2,
                speed + q * dt,
            ]
        )
        self.size_spread += _SIZE_CHANGE**2 * dt
        self.time_s = time_s

    def follow(self, camera: Doubles) -> None:
        """Go along with the camera: a similarity `[2, 3]` of the picture, in square pixels."""
        turn = camera[:, :2]
        self.centre = turn @ self.centre + camera[:, 2]
        self.speed = turn @ self.speed
        self.size = self.size * scale_of(camera)

    def update(self, box: Doubles) -> None:
        """Take in a measured box `[4]` of the time predicted for."""
        size = np.maximum(box[2:] - box[:2], 1e-3)
        noise = _MEASURED**2
        place, both, speed = self.spread
        gain, speed_gain = place / (place + noise), both / (place + noise)
        apart = (box[:2] + box[2:]) / 2 - self.centre
        self.centre = self.centre + gain * apart
        self.speed = self.speed + speed_gain * apart
        self.spread = np.array([(1 - gain) * place, (1 - gain) * both, speed - speed_gain * both])
        gain = self.size_spread / (self.size_spread + noise)
        self.size = self.size * (size / self.size) ** gain
        self.size_spread *= 1 - gain
        self.seen_s = self.time_s

    def box(self) -> Doubles:
        """Return the corners `[4]`."""
        return np.concatenate([self.centre - self.size / 2, self.centre + self.size / 2])
