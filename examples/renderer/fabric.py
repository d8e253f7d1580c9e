"""Cloth as paint: colours, patterns, seams, folds and shade."""

from dataclasses import dataclass

import numpy as np

from .noise import noise3
from .skeleton import BONE, Skeleton
from .surfaces import Painter
from .transforms import Array, smoothstep

PATTERNS = (
    "plain",
    "stripes",
    "pinstripes",
    "checks",
    "dots",
    "print",
    "block",
    "buttons",
    "open",
    "suit",
    "zip",
    "denim",
    "floral",
    "camouflage",
)


@dataclass(frozen=True)
class Fabric:
    """A cloth.

    Attributes:
        colour: sRGB 0..1.
        accent: Second colour, sRGB 0..1.
        pattern: One of `PATTERNS`.
        folds: Strength of the folds, 0..0.3.
        stiff: 0 (thin, many folds) to 1 (thick, few).
    """

    colour: Array
    accent: Array
    pattern: str
    folds: float
    stiff: float = 0.4


def painter(skeleton: Skeleton, fabric: Fabric, seed: int) -> Painter:
    """Paint of a garment in rest pose."""

    def paint(points: Array) -> Array:
        colour = _pattern(points, fabric, skeleton, seed)
        return np.asarray(colour * _folds(points, fabric, skeleton, seed)[..., None])

    return paint


def _folds(p: Array, fabric: Fabric, skeleton: Skeleton, seed: int) -> Array:
    """Brightness of folds: slanted creases, strongest at the elbows, the knees, the waist and the hems."""
    z = p[..., 2]
    size = 0.6 + 0.8 * fabric.stiff
    slanted = p.copy()
    slanted[..., 2] = z + 0.35 * np.abs(p[..., 1]) - 0.3 * p[..., 0]
    creases = noise3(slanted, (0.14 * size, 0.14 * size, 0.035 * size), seed)
    creases += 0.5 * noise3(slanted, (0.06 * size, 0.06 * size, 0.016 * size), seed + 1)
    drape = noise3(p, (0.05 * size, 0.05 * size, 0.30 * size), seed + 2)
    near = np.full(z.shape, 0.45)
    for bone, reach, weight in (
        ("left_forearm", 0.09, 0.8),
        ("left_shin", 0.13, 0.7),
        ("left_foot", 0.12, 0.8),
        ("spine", 0.10, 0.5),
        ("left_thigh", 0.08, 0.5),
    ):
        at = float(skeleton.rest[BONE[bone], 2])
        near = np.maximum(near, weight * np.exp(-0.5 * ((z - at) / reach) ** 2) + 0.2)
    grain = noise3(p, 0.006, seed + 3)
    return np.asarray(1.0 + fabric.folds * (near * creases + 0.5 * drape) + 0.025 * grain)


def _stripe(value: Array, period: float, share: float) -> Array:
    """1 inside stripes that fill `share` of each period."""
    phase = np.abs((value / period) % 1.0 - 0.5) * 2.0
    return np.asarray(smoothstep(1.0 - share - 0.08, 1.0 - share + 0.08, phase))


def _pattern(p: Array, fabric: Fabric, skeleton: Skeleton, seed: int) -> Array:
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    base = np.broadcast_to(fabric.colour, p.shape).astype(np.float64)
    physique = skeleton.physique
    chest, waist = physique.level(0.73), physique.level(0.60)
    around = np.arctan2(y, x + 1e-6)
    front = x > 0
    if fabric.pattern == "stripes":
        cover = _stripe(z, 0.055, 0.45)
    elif fabric.pattern == "pinstripes":
        cover = 0.7 * _stripe(np.where(np.abs(y) > 0.15, x, y), 0.042, 0.20)
    elif fabric.pattern == "checks":
        across = _stripe(np.where(np.abs(y) > 0.16, x, y), 0.075, 0.42)
        cover = 0.5 * across + 0.5 * _stripe(z, 0.075, 0.42)
    elif fabric.pattern == "dots":
        u, v = (around * 0.14 / 0.045) % 1.0 - 0.5, (z / 0.045) % 1.0 - 0.5
        cover = smoothstep(0.34, 0.26, np.hypot(u, v))
    elif fabric.pattern == "print":
        cover = _chest_print(y, z - chest, seed) * front * (x > 0.04)
    elif fabric.pattern == "block":
        cover = smoothstep(-0.004, 0.004, z - chest - 0.02)
    elif fabric.pattern == "floral":
        cover = smoothstep(0.25, 0.42, noise3(p, 0.024, seed + 4))
    elif fabric.pattern == "camouflage":
        cover = smoothstep(0.0, 0.08, noise3(p, (0.07, 0.07, 0.045), seed + 4))
    elif fabric.pattern == "denim":
        cover = 0.35 * _wear(p, skeleton) + 0.10 * noise3(p, (0.008, 0.008, 0.03), seed + 4)
    else:
        return _fastened(p, base, fabric, (chest, waist), front)
    return np.asarray(base + (fabric.accent - base) * cover[..., None])


def _wear(p: Array, skeleton: Skeleton) -> Array:
    """Where trousers are worn pale: the front of the thighs and the knees."""
    thigh = 0.5 * (skeleton.rest[BONE["left_thigh"], 2] + skeleton.rest[BONE["left_shin"], 2])
    return smoothstep(-0.02, 0.07, p[..., 0]) * np.exp(-0.5 * ((p[..., 2] - thigh) / 0.20) ** 2)


def _chest_print(y: Array, z: Array, seed: int) -> Array:
    """A picture on the chest: a disc, bars of writing, or a band."""
    kind = seed % 3
    if kind == 0:
        return smoothstep(0.078, 0.072, np.hypot(y, z + 0.02)) * (1.0 - smoothstep(0.048, 0.042, np.hypot(y, z + 0.02)))
    letters = (np.sin(y * 330.0) + 0.6 * np.sin(y * 171.0 + seed)) > -0.2
    lines = (np.abs(z) < 0.014) | ((np.abs(z + 0.045) < 0.009) & (np.abs(y) < 0.06))
    if kind == 1:
        return (lines & letters & (np.abs(y) < 0.09)).astype(np.float64)
    return smoothstep(0.042, 0.038, np.abs(z + 0.03))


def _fastened(p: Array, base: Array, fabric: Fabric, levels: tuple[float, float], front: Array) -> Array:
    """Shirts with buttons, open jackets, suits, zips; plain cloth otherwise."""
    y, z = p[..., 1], p[..., 2]
    chest, waist = levels
    ay = np.abs(y)
    if fabric.pattern == "buttons":
        placket = smoothstep(0.017, 0.014, ay) * front
        edge = smoothstep(0.0035, 0.0015, np.abs(ay - 0.016)) * front
        button = smoothstep(0.007, 0.005, np.hypot(y, (z - chest + 0.045) % 0.09 - 0.045)) * front
        colour = base * (1.0 + 0.05 * placket - 0.25 * edge)[..., None]
        return np.asarray(colour + (fabric.accent - colour) * button[..., None])
    if fabric.pattern == "zip":
        line = smoothstep(0.006, 0.004, ay) * front
        pocket = smoothstep(0.004, 0.002, np.abs(ay - 0.10 - 0.5 * (z - waist))) * front * (np.abs(z - waist) < 0.06)
        colour = base * (1.0 - 0.35 * pocket)[..., None]
        return np.asarray(colour + (fabric.accent - colour) * line[..., None])
    if fabric.pattern in ("open", "suit"):
        return _jacket(p, base, fabric, levels, front)
    return base


def _jacket(p: Array, base: Array, fabric: Fabric, levels: tuple[float, float], front: Array) -> Array:
    """An open front that shows what is worn beneath; a suit closes below the chest and has a tie."""
    y, z = p[..., 1], p[..., 2]
    chest, waist = levels
    ay = np.abs(y)
    suit = fabric.pattern == "suit"
    half = 0.050 * smoothstep(waist + 0.02, chest + 0.12, z) if suit else 0.030 + 0.02 * smoothstep(waist, chest, z)
    inside = smoothstep(half + 0.003, half - 0.003, ay) * front * (half > 0.002)
    colour = base + (fabric.accent - base) * inside[..., None]
    rim = smoothstep(0.006, 0.002, np.abs(ay - half)) * front
    lapel = (
        smoothstep(0.006, 0.002, np.abs(ay - half - 0.042 * smoothstep(waist, chest + 0.06, z))) * front * (z > waist)
    )
    colour = colour * (1.0 - 0.45 * rim - 0.25 * lapel)[..., None]
    if suit:
        tie = smoothstep(0.019, 0.015, ay) * inside
        colour = colour + (np.array([0.35, 0.08, 0.10]) - colour) * tie[..., None]
    return np.asarray(colour)
