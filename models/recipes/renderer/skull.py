"""The shape that face, hair and hats share. Sizes are metres on a head 0.23 m high, scaled to the person's."""

from collections.abc import Callable

import numpy as np

from .skeleton import Skeleton
from .surfaces import Loft, Station
from .transforms import Array, smoothstep, unit

# Height from the skull's middle, front, back, half-width.
_OUTLINE = (
    (-0.1135, 0.050, 0.044, 0.004),
    (-0.1120, 0.068, 0.018, 0.022),
    (-0.1060, 0.079, -0.008, 0.036),
    (-0.0930, 0.084, -0.034, 0.047),
    (-0.0750, 0.086, -0.056, 0.056),
    (-0.0550, 0.087, -0.070, 0.063),
    (-0.0300, 0.087, -0.083, 0.0685),
    (-0.0050, 0.087, -0.093, 0.0725),
    (0.0250, 0.091, -0.099, 0.0755),
    (0.0500, 0.089, -0.100, 0.0755),
    (0.0750, 0.081, -0.093, 0.0715),
    (0.0950, 0.067, -0.078, 0.0610),
    (0.1100, 0.046, -0.054, 0.0430),
    (0.1180, 0.020, -0.026, 0.0200),
    (0.1200, -0.002, -0.008, 0.0020),
)
# Depth, and (sideways, height) of the middle and of the spread: nostrils, eye sockets, brows, lips, the dip below
# them, chin, cheek bones.
_RELIEF = (
    (0.0050, (0.011, -0.038), (0.005, 0.006)),
    (-0.0085, (0.031, 0.002), (0.012, 0.010)),
    (0.0030, (0.024, 0.022), (0.018, 0.006)),
    (0.0050, (0.0, -0.066), (0.016, 0.006)),
    (-0.0040, (0.0, -0.083), (0.020, 0.006)),
    (0.0060, (0.0, -0.100), (0.018, 0.009)),
    (0.0030, (0.042, -0.028), (0.015, 0.014)),
)
_NOSE = 0.021


def gauss(points: Array, centre: tuple[float, float], spread: tuple[float, float]) -> Array:
    """A bump over (sideways, height) in the plane of the face, the same on both sides."""
    y = (np.abs(points[..., 1]) - centre[0]) / spread[0]
    z = (points[..., 2] - centre[1]) / spread[1]
    return np.asarray(np.exp(-0.5 * (y * y + z * z)))


def _with_features(points: Array) -> Array:
    """Push the front of the skull into a face."""
    z = points[..., 2]
    nose = np.exp(-0.5 * (points[..., 1] / 0.0075) ** 2) * smoothstep(0.016, -0.026, z) * smoothstep(-0.046, -0.039, z)
    push = _NOSE * nose + sum(depth * gauss(points, centre, spread) for depth, centre, spread in _RELIEF)
    moved = points.copy()
    moved[..., 0] += push * smoothstep(0.03, 0.07, points[..., 0])
    return moved


def skull_shell(skeleton: Skeleton, thickness: Callable[[Array], Array]) -> Loft:
    """The skull pushed outwards.

    Args:
        skeleton: Whose head.
        thickness: Metres outwards at points of the unit-scale skull, `[..., 3] -> [...]`; negative is inwards.
    """
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    rings = [
        Station(z, (front - back) / 2, (front - back) / 2, side, shift=(front + back) / 2)
        for z, front, back, side in _OUTLINE
    ]

    def place(points: Array) -> Array:
        outwards = unit(points - np.array([-0.004, 0.0, 0.03]))
        moved = _with_features(points) + outwards * thickness(points)[..., None]
        return np.asarray(centre + scale * moved)

    return Loft(rings, displace=place)


def hairline(points: Array) -> Array:
    """Metres above the edge of the hair on the unit-scale skull; negative where no hair grows."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    # Lowest hair from the nape (x < 0) over the ear and the temple to the forehead.
    low = np.interp(
        x,
        [-0.10, -0.06, -0.025, 0.012, 0.03, 0.055, 0.075, 0.095],
        [-0.070, -0.065, -0.02, 0.012, -0.010, 0.030, 0.062, 0.070],
    )
    return np.asarray(z - low - 0.004 * np.cos(y * 90.0) * (x > 0.05))
