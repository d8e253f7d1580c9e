"""Cloth as paint: colours, patterns, seams, folds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .noise import noise3
from .skeleton import BONE, Skeleton
from .surfaces import Painter
from .transforms import Array, smoothstep


@dataclass(frozen=True)
class Fabric:
    """A cloth.

    Attributes:
        colour: Display colour 0..1, `[3]`.
        accent: Second colour, `[3]`.
        pattern: "plain", a key of `_PRINTED` or a key of `_SEWN`.
        folds: Strength of the folds, 0..0.3.
        stiff: 0 (thin, many folds) to 1 (thick, few).
    """

    colour: Array
    accent: Array
    pattern: str
    folds: float
    stiff: float = 0.4

    def __post_init__(self) -> None:
        if self.pattern not in {"plain", *_PRINTED, *_SEWN}:
            raise ValueError(f"no pattern {self.pattern!r}")


@dataclass(frozen=True)
class _Cut:
    """Where the texels of a garment lie.

    Attributes:
        points: `[h, w, 3]` at rest.
        skeleton: The wearer.
        seed: Which folds, prints and flowers.
    """

    points: Array
    skeleton: Skeleton
    seed: int

    @property
    def y(self) -> Array:
        """To the wearer's left, metres."""
        return np.asarray(self.points[..., 1])

    @property
    def z(self) -> Array:
        """Height, metres."""
        return np.asarray(self.points[..., 2])

    @cached_property
    def front(self) -> Array:
        """1 on the front, 0 on the back."""
        return (self.points[..., 0] > 0.0).astype(np.float64)

    @cached_property
    def across(self) -> Array:
        """Horizontal position on the cloth: sideways on front and back, fore and aft on the flanks and arms."""
        return np.where(np.abs(self.y) > 0.16, self.points[..., 0], self.y)

    @property
    def chest(self) -> float:
        """Height of the chest."""
        return self.skeleton.physique.level(0.73)

    @property
    def waist(self) -> float:
        """Height of the waist."""
        return self.skeleton.physique.level(0.60)

    def noise(self, cell: float | tuple[float, float, float], field: int) -> Array:
        """Noise on the cloth; `field` tells fields of one garment apart."""
        return noise3(self.points, cell, self.seed + field)


def painter(skeleton: Skeleton, fabric: Fabric, seed: int) -> Painter:
    """Paint of a garment in rest pose."""

    def paint(points: Array) -> Array:
        cut = _Cut(points, skeleton, seed)
        colour = np.broadcast_to(fabric.colour, points.shape)
        if fabric.pattern in _PRINTED:
            colour = _over(colour, fabric.accent, _PRINTED[fabric.pattern](cut))
        elif fabric.pattern in _SEWN:
            colour = _SEWN[fabric.pattern](cut, colour, fabric.accent)
        return np.asarray(colour * _folds(cut, fabric)[..., None])

    return paint


def _over(base: Array, colour: Array, cover: Array) -> Array:
    return np.asarray(base + (colour - base) * cover[..., None])


def _folds(cut: _Cut, fabric: Fabric) -> Array:
    """Brightness: slanted creases, strongest at the joints and the waist, and hanging folds."""
    size = 0.6 + 0.8 * fabric.stiff
    slanted = cut.points.copy()
    slanted[..., 2] += 0.35 * np.abs(cut.y) - 0.3 * cut.points[..., 0]
    creases = noise3(slanted, (0.14 * size, 0.14 * size, 0.035 * size), cut.seed)
    creases += 0.5 * noise3(slanted, (0.06 * size, 0.06 * size, 0.016 * size), cut.seed + 1)
    drape = cut.noise((0.05 * size, 0.05 * size, 0.30 * size), 2)
    strength = np.full(cut.z.shape, 0.45)
    for bone, reach, weight in (
        ("left_forearm", 0.09, 0.8),
        ("left_shin", 0.13, 0.7),
        ("left_foot", 0.12, 0.8),
        ("spine", 0.10, 0.5),
        ("left_thigh", 0.08, 0.5),
    ):
        at = float(cut.skeleton.rest[BONE[bone], 2])
        strength = np.maximum(strength, weight * np.exp(-0.5 * ((cut.z - at) / reach) ** 2) + 0.2)
    return 1.0 + fabric.folds * (strength * creases + 0.5 * drape) + 0.025 * cut.noise(0.006, 3)


def _stripe(value: Array, period: float, share: float) -> Array:
    """1 inside stripes that fill `share` of each period."""
    phase = np.abs((value / period) % 1.0 - 0.5) * 2.0
    return smoothstep(1.0 - share - 0.08, 1.0 - share + 0.08, phase)


def _dots(cut: _Cut) -> Array:
    u, v = (cut.across / 0.045) % 1.0 - 0.5, (cut.z / 0.045) % 1.0 - 0.5
    return smoothstep(0.34, 0.26, np.hypot(u, v))


def _print(cut: _Cut) -> Array:
    """A picture on the chest: a ring, two lines of writing, or a band."""
    y, z = cut.y, cut.z - cut.chest
    kind = cut.seed % 3
    picture: Array
    if kind == 0:
        ring = np.hypot(y, z + 0.02)
        picture = smoothstep(0.078, 0.072, ring) * smoothstep(0.042, 0.048, ring)
    elif kind == 1:
        letters = (np.sin(y * 330.0) + 0.6 * np.sin(y * 171.0 + cut.seed)) > -0.2
        lines = (np.abs(z) < 0.014) | ((np.abs(z + 0.045) < 0.009) & (np.abs(y) < 0.06))
        picture = (lines & letters & (np.abs(y) < 0.09)).astype(np.float64)
    else:
        picture = smoothstep(0.042, 0.038, np.abs(z + 0.03))
    return np.asarray(picture * (cut.points[..., 0] > 0.04))


def _denim(cut: _Cut) -> Array:
    """Worn pale on the front of the thighs."""
    rest = cut.skeleton.rest
    thigh = 0.5 * float(rest[BONE["left_thigh"], 2] + rest[BONE["left_shin"], 2])
    worn = smoothstep(-0.02, 0.07, cut.points[..., 0]) * np.exp(-0.5 * ((cut.z - thigh) / 0.20) ** 2)
    return np.asarray(0.35 * worn + 0.10 * cut.noise((0.008, 0.008, 0.03), 4))


# Share of the accent colour at each texel.
_PRINTED: dict[str, Callable[[_Cut], Array]] = {
    "stripes": lambda cut: _stripe(cut.z, 0.055, 0.45),
    "pinstripes": lambda cut: 0.7 * _stripe(cut.across, 0.042, 0.20),
    "checks": lambda cut: 0.5 * (_stripe(cut.across, 0.075, 0.42) + _stripe(cut.z, 0.075, 0.42)),
    "dots": _dots,
    "print": _print,
    "block": lambda cut: smoothstep(-0.004, 0.004, cut.z - cut.chest - 0.02),
    "floral": lambda cut: smoothstep(0.25, 0.42, cut.noise(0.024, 4)),
    "camouflage": lambda cut: smoothstep(0.0, 0.08, cut.noise((0.07, 0.07, 0.045), 4)),
    "denim": _denim,
}


def _buttons(cut: _Cut, base: Array, accent: Array) -> Array:
    """A shirt: placket and buttons."""
    off = np.abs(cut.y)
    placket = smoothstep(0.017, 0.014, off) * cut.front
    edge = smoothstep(0.0035, 0.0015, np.abs(off - 0.016)) * cut.front
    button = smoothstep(0.007, 0.005, np.hypot(cut.y, (cut.z - cut.chest + 0.045) % 0.09 - 0.045)) * cut.front
    return _over(base * (1.0 + 0.05 * placket - 0.25 * edge)[..., None], accent, button)


def _zip(cut: _Cut, base: Array, accent: Array) -> Array:
    """A jacket zipped up, with slanted pockets."""
    off, above = np.abs(cut.y), cut.z - cut.waist
    line = smoothstep(0.006, 0.004, off) * cut.front
    pocket = smoothstep(0.004, 0.002, np.abs(off - 0.10 - 0.5 * above)) * cut.front * (np.abs(above) < 0.06)
    return _over(base * (1.0 - 0.35 * pocket)[..., None], accent, line)


def _open_front(cut: _Cut, base: Array, accent: Array, half: Array) -> Array:
    """What is worn beneath, within `half` of the mid-line; dark rims and lapels."""
    off = np.abs(cut.y)
    inside = smoothstep(half + 0.003, half - 0.003, off) * cut.front * (half > 0.002)
    rim = smoothstep(0.006, 0.002, np.abs(off - half)) * cut.front
    lapel_edge = half + 0.042 * smoothstep(cut.waist, cut.chest + 0.06, cut.z)
    lapel = smoothstep(0.006, 0.002, np.abs(off - lapel_edge)) * cut.front * (cut.z > cut.waist)
    return _over(base, accent, inside) * (1.0 - 0.45 * rim - 0.25 * lapel)[..., None]


def _jacket(cut: _Cut, base: Array, accent: Array) -> Array:
    """A jacket or coat worn open."""
    return _open_front(cut, base, accent, 0.030 + 0.02 * smoothstep(cut.waist, cut.chest, cut.z))


def _suit(cut: _Cut, base: Array, accent: Array) -> Array:
    """A jacket that closes below the chest, over shirt and tie."""
    half = 0.050 * smoothstep(cut.waist + 0.02, cut.chest + 0.12, cut.z)
    tie = smoothstep(0.019, 0.015, np.abs(cut.y)) * cut.front * (np.abs(cut.y) < half)
    return _over(_open_front(cut, base, accent, half), np.array([0.35, 0.08, 0.10]), tie)


# Garments with seams and openings: (cut, base colour, accent) -> colour.
_SEWN: dict[str, Callable[[_Cut, Array, Array], Array]] = {
    "buttons": _buttons,
    "zip": _zip,
    "open": _jacket,
    "suit": _suit,
}
