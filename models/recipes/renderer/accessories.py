"""Collars, scarves, hoods, bags and their straps."""

import numpy as np

from .fabric import Fabric, painter
from .skeleton import BONE, Physique, Skeleton
from .surfaces import Loft, Painter, Surface, chain, rigid, stations
from .transforms import Array, smoothstep


def collar(skeleton: Skeleton, height: float, colour: Array, seed: int) -> Surface:
    """A collar or scarf around the neck, `height` metres."""
    physique = skeleton.physique
    radius = 0.044 * physique.height
    base = np.array([skeleton.rest[BONE["neck"], 0] + 0.006, 0.0, physique.level(0.845)])
    widths = ((-0.022, 1.25), (-0.008, 1.22), (0.5 * height, 1.08), (height, 1.02), (height + 0.004, 0.90))
    rows = [(z, k * radius, 0.95 * k * radius, k * radius) for z, k in widths]
    paint = painter(skeleton, Fabric(colour, colour, "plain", 0.06), seed)
    weigh = chain(["neck", "chest"], [float(base[2]) + 0.01], 0.03)
    return Loft(stations(rows), base=base).surface(weigh, paint, rings=9, columns=18, texture_size=(32, 96))


def hood(skeleton: Skeleton, cloth: Fabric, seed: int) -> Surface:
    """A hood that hangs at the nape."""
    physique = skeleton.physique
    rows = (
        (-0.055, 0.010, 0.030),
        (-0.040, 0.030, 0.070),
        (-0.010, 0.040, 0.085),
        (0.020, 0.030, 0.075),
        (0.032, 0.006, 0.03),
    )
    base = np.array([skeleton.rest[BONE["neck"], 0] - 0.042 * physique.height, 0.0, physique.level(0.822)])
    paint = painter(skeleton, cloth, seed)
    return Loft(stations(rows), base=base).surface(rigid("chest"), paint, rings=9, columns=14, texture_size=(48, 64))


def backpack(skeleton: Skeleton, colour: Array, looseness: float) -> Surface:
    """A bag on the back."""
    physique = skeleton.physique
    h = physique.height
    rows = (
        (-0.11, 0.02, 0.05),
        (-0.10, 0.045, 0.078),
        (-0.05, 0.052, 0.086),
        (0.03, 0.048, 0.084),
        (0.075, 0.036, 0.074),
        (0.088, 0.010, 0.04),
    )
    base = np.array([-0.100 * h - 0.3 * looseness, 0.0, physique.level(0.725)])
    loft = Loft(stations(rows, h, square=4.0), base=base)
    return loft.surface(rigid("chest"), _leather(colour, base, h), rings=14, columns=24, texture_size=(96, 128))


def shoulder_bag(skeleton: Skeleton, colour: Array, looseness: float) -> Surface:
    """A bag at the right hip."""
    physique = skeleton.physique
    h = physique.height
    rows = (
        (-0.075, 0.03, 0.012),
        (-0.070, 0.070, 0.022),
        (0.0, 0.078, 0.026),
        (0.055, 0.070, 0.018),
        (0.062, 0.03, 0.006),
    )
    base = np.array([-0.02 * h, -0.128 * h * physique.girth - looseness, physique.level(0.53)])
    loft = Loft(stations(rows, h, square=4.5), base=base)
    return loft.surface(rigid("pelvis"), _leather(colour, base, h), rings=12, columns=20, texture_size=(64, 96))


def _leather(colour: Array, base: Array, height: float) -> Painter:
    def paint(points: Array) -> Array:
        z = (points[..., 2] - base[2]) / height
        seam = smoothstep(0.004, 0.002, np.abs(z + 0.02)) + smoothstep(0.004, 0.002, np.abs(z - 0.05))
        return np.asarray(colour * (1.0 - 0.45 * seam + 0.12 * smoothstep(-0.1, 0.1, z))[..., None])

    return paint


def with_straps(cloth: Painter, physique: Physique, bag: str, colour: Array) -> Painter:
    """A top with the straps of a bag ("backpack" or "shoulder") painted on it."""
    h = physique.height
    shoulder, armpit, hip = physique.level(0.84), physique.level(0.70), physique.level(0.56)

    def paint(points: Array) -> Array:
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        if bag == "backpack":
            off = np.abs(np.abs(y) - 0.062 * h + 0.01 * h * smoothstep(armpit, shoulder, z))
            strap = smoothstep(0.016 * h, 0.014 * h, off) * (z > armpit) * (x > -0.03 * h)
        else:
            # From the left shoulder to the bag at the right hip.
            middle = -0.11 * h + 0.17 * h * (z - hip) / (shoulder - hip)
            strap = smoothstep(0.011 * h, 0.009 * h, np.abs(y - middle)) * (z > hip)
        base = cloth(points)
        return np.asarray(base + (0.75 * colour - base) * strap[..., None])

    return paint
