"""Rotations, easing curves and two-bone inverse kinematics.

Frames of reference: the world has z up and its ground at z = 0. A person's own frame has x forward, y to the
person's left, z up. Angles are radians.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UP = np.array([0.0, 0.0, 1.0])
FORWARD = np.array([1.0, 0.0, 0.0])


def vector(x: float, y: float, z: float) -> Array:
    """`[3]`."""
    return np.array([x, y, z])


def rot_x(angle: float) -> Array:
    """Rotation about x: positive raises the left side (+y towards +z)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rot_y(angle: float) -> Array:
    """Rotation about y: positive bows forward (+z towards +x)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rot_z(angle: float) -> Array:
    """Rotation about z: positive turns to the left (+x towards +y)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def unit(vector: Array) -> Array:
    """Scale to length 1 along the last axis; a zero vector stays zero."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.maximum(length, 1e-12))


def cross(a: Array, b: Array) -> Array:
    """Cross product of two `[3]` vectors; NumPy's own takes ten times as long for one pair."""
    ax, ay, az = a
    bx, by, bz = b
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def smoothstep(low: Array | float, high: Array | float, value: Array | float) -> Array:
    """Ease from 0 at `low` to 1 at `high`; flat outside. `low` may exceed `high` (a falling edge)."""
    t = np.clip((np.asarray(value, np.float64) - low) / (np.asarray(high) - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def mix(a: float, b: float, amount: float) -> float:
    """`a` at 0, `b` at 1."""
    return a + (b - a) * amount


def hermite(t: float, start: Array, end: Array, start_slope: Array, end_slope: Array) -> Array:
    """Cubic from `start` to `end` over t in 0..1 with the given slopes per unit of t."""
    t2, t3 = t * t, t * t * t
    rising = 3 * t2 - 2 * t3
    return np.asarray(start + rising * (end - start) + (t3 - 2 * t2 + t) * start_slope + (t3 - t2) * end_slope)


def monotone_cubic(knots: Array, values: Array, at: Array) -> Array:
    """Interpolate without overshoot (Fritsch and Carlson's monotone cubic, with harmonic-mean slopes).

    Args:
        knots: `[K]` increasing.
        values: `[K, C]`.
        at: `[N]` positions inside the knots.

    Returns:
        `[N, C]`.
    """
    step = np.diff(knots)[:, None]
    secant = np.diff(values, axis=0) / step
    product = secant[:-1] * secant[1:]
    total = secant[:-1] + secant[1:]
    inner = np.where(product > 0, 2 * product / np.where(total == 0, 1.0, total), 0.0)
    slope = np.concatenate([secant[:1], inner, secant[-1:]])
    i = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    h = step[i]
    t = (at[:, None] - knots[i][:, None]) / h
    rising = 3 * t**2 - 2 * t**3
    bend = (t**3 - 2 * t**2 + t) * slope[i] + (t**3 - t**2) * slope[i + 1]
    return np.asarray(values[i] + rising * (values[i + 1] - values[i]) + h * bend)


def two_bones(root: Array, target: Array, lengths: tuple[float, float], pole: Array) -> tuple[Array, Array]:
    """Place the middle and end joints of a limb of two bones.

    The reach is eased towards its limit so that a limb never snaps straight from one frame to the next.

    Args:
        root: `[3]` first joint.
        target: `[3]` where the end joint should go; beyond reach it stops on the way.
        lengths: The two bone lengths.
        pole: `[3]` the direction in which the middle joint bends out.

    Returns:
        `(middle, end)`, each `[3]`.
    """
    upper, lower = lengths
    offset = target - root
    distance = float(np.linalg.norm(offset))
    direction = offset / max(distance, 1e-9)
    limit = upper + lower
    soft = 0.98 * limit
    if distance > soft:
        room = 0.999 * limit - soft
        distance = soft + room * (1.0 - np.exp(-(distance - soft) / room))
    distance = max(distance, abs(upper - lower) + 0.02 * limit)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    out = np.sqrt(max(upper**2 - along**2, 0.0))
    bend = unit(pole - direction * float(pole @ direction))
    return root + direction * along + bend * out, root + direction * distance


def bone_frame(start: Array, end: Array, front: Array) -> Array:
    """Rotation of a bone that hangs down (-z) at rest and now runs from `start` to `end`, its x towards `front`."""
    z = unit(start - end)
    y = unit(cross(z, front))
    return np.array([cross(y, z), y, z]).T
