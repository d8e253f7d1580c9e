"""Faces as paint on the skull: eyes, brows, mouth, beard, glasses."""

from dataclasses import dataclass

import numpy as np

from .noise import noise3
from .skull import gauss, hairline
from .transforms import Array, smoothstep

HAIR_STYLES = ("short", "crop", "parted", "bob", "long", "ponytail", "bun", "curly", "bald", "cap", "beanie")


@dataclass(frozen=True)
class FaceLook:
    """What a head looks like. Colours are display colours 0..1, `[3]`.

    Attributes:
        skin: Skin colour.
        hair: Hair colour.
        eyes: Colour of the irises.
        style: One of `HAIR_STYLES`.
        beard: 0 (none), to 0.4 (stubble), to 1 (full).
        glasses: "none", "glasses" or "sunglasses".
        femininity: 0..1: lips, brows and jaw.
        cap: Colour of a cap or a woollen hat (styles "cap" and "beanie").
    """

    skin: Array
    hair: Array
    eyes: Array
    style: str
    beard: float
    glasses: str
    femininity: float
    cap: Array


def over(base: Array, colour: Array | tuple[float, float, float], amount: Array) -> Array:
    """Paint `colour` over `base`, `amount` thick (0..1)."""
    return np.asarray(base + (np.asarray(colour) - base) * np.clip(amount, 0.0, 1.0)[..., None])


def paint_face(points: Array, look: FaceLook, seed: int) -> Array:
    """Display colour of the skull at points of unit scale, `[h, w, 3] -> [h, w, 3]`."""
    front = smoothstep(0.02, 0.05, points[..., 0])
    colour = _skin(points, look.skin, front, seed)
    if look.beard > 0:
        colour = _beard(points, colour, look, seed)
    colour = _mouth(points, colour, look, front)
    colour = _eyes(points, colour, look, front)
    if look.style != "bald":
        colour = over(colour, 0.8 * look.hair, smoothstep(-0.004, 0.004, hairline(points)))
    if look.glasses != "none":
        colour = _glasses(points, colour, front, dark=look.glasses == "sunglasses")
    return colour


def _skin(p: Array, skin: Array, front: Array, seed: int) -> Array:
    """Skin, ruddy at cheeks and nose, shaded in the sockets, beside and under the nose, under lip and jaw."""
    colour = skin * (1.0 + 0.04 * noise3(p, 0.012, seed)[..., None])
    ruddy = 0.5 * gauss(p, (0.040, -0.030), (0.018, 0.016)) + 0.5 * gauss(p, (0.0, -0.036), (0.011, 0.008))
    colour = colour * (1.0 - (front * ruddy)[..., None] * np.array([0.0, 0.13, 0.13]))
    shade = 0.26 * gauss(p, (0.029, 0.004), (0.016, 0.012)) + 0.20 * gauss(p, (0.016, -0.030), (0.004, 0.014))
    shade += 0.40 * gauss(p, (0.0, -0.047), (0.012, 0.0035)) + 0.22 * gauss(p, (0.0, -0.079), (0.016, 0.005))
    jaw = smoothstep(0.085, 0.06, p[..., 0]) * smoothstep(-0.092, -0.112, p[..., 2])
    return np.asarray(colour * ((1.0 - front * shade) * (1.0 - 0.35 * jaw))[..., None])


def _mouth(p: Array, colour: Array, look: FaceLook, front: Array) -> Array:
    y, z = p[..., 1], p[..., 2]
    width = 0.022 + 0.002 * look.femininity
    lips = look.skin * np.array([0.86, 0.62, 0.62]) + np.array([0.04, 0.0, 0.0]) * look.femininity
    arch = 0.002 * np.cos(y / width * np.pi) * (np.abs(y) < width)
    upper = smoothstep(1.1, 0.8, (y / width) ** 2 + ((z + 0.0625 - arch) / 0.0045) ** 2)
    lower = smoothstep(1.1, 0.8, (y / (0.85 * width)) ** 2 + ((z + 0.0705) / 0.0058) ** 2)
    strength = front * (0.55 + 0.4 * look.femininity)
    colour = over(colour, 0.88 * lips, upper * strength)
    colour = over(colour, lips, lower * strength)
    line = smoothstep(1.2, 0.7, (y / (1.05 * width)) ** 2 + ((z + 0.0660) / 0.0016) ** 2)
    return over(colour, 0.28 * look.skin, line * front * 0.9)


def _eyes(p: Array, colour: Array, look: FaceLook, front: Array) -> Array:
    ay, z = np.abs(p[..., 1]), p[..., 2]
    # Coordinates in which the opening of the lids is a slightly slanted unit circle.
    along = (ay - 0.0315) / 0.0140
    up = (z - 0.0035) / 0.0062 - 0.12 * along
    ring = np.hypot(along, up)
    white = smoothstep(1.07, 0.92, ring) * front
    iris = np.hypot(ay - 0.0315, z - 0.0040)
    colour = over(colour, (0.86, 0.85, 0.83), white)
    colour = over(colour, look.eyes, white * smoothstep(0.0066, 0.0052, iris))
    colour = over(colour, (0.03, 0.03, 0.03), white * smoothstep(0.0034, 0.0026, iris))
    lid = smoothstep(0.35, 0.10, np.abs(ring - 1.05)) * smoothstep(-0.2, 0.4, up) * front
    colour = over(colour, 0.22 * look.skin, 0.85 * lid)
    crease = np.exp(-0.5 * ((ring - 1.75) / 0.16) ** 2) * smoothstep(0.3, 0.9, up) * front
    colour = colour * (1.0 - 0.20 * crease)[..., None]
    brow_z = 0.0225 + 0.0040 * np.sin(np.clip((ay - 0.014) / 0.032, 0.0, 1.0) * np.pi * 0.8)
    brow = smoothstep(1.4, 0.6, np.abs(z - brow_z) / (0.0038 - 0.0012 * look.femininity))
    brow = brow * smoothstep(0.010, 0.014, ay) * smoothstep(0.050, 0.044, ay)
    return over(colour, 0.6 * look.hair + 0.02, 0.85 * brow * front)


def _beard(p: Array, colour: Array, look: FaceLook, seed: int) -> Array:
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    jaw = smoothstep(-0.035, -0.065, z - 0.22 * np.abs(y)) * smoothstep(-0.02, 0.01, x)
    moustache = 1.2 * gauss(p, (0.010, -0.0545), (0.012, 0.0045))
    grain = 0.75 + 0.25 * noise3(p, 0.003, seed + 5)
    return over(colour, 0.75 * look.hair, np.maximum(jaw, moustache) * grain * look.beard)


def _glasses(p: Array, colour: Array, front: Array, *, dark: bool) -> Array:
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    ring = ((np.abs(np.abs(y) - 0.033) / 0.024) ** 3 + (np.abs(z - 0.001) / 0.0195) ** 3) ** (1 / 3)
    if dark:
        colour = over(colour, (0.05, 0.05, 0.06), smoothstep(1.08, 1.0, ring) * front)
    frame = smoothstep(0.16, 0.06, np.abs(ring - 1.0)) * front
    bridge = smoothstep(0.0035, 0.002, np.abs(z - 0.008)) * (np.abs(y) < 0.010) * front
    temple = smoothstep(0.004, 0.002, np.abs(z - 0.006)) * (np.abs(y) > 0.05) * smoothstep(-0.03, -0.02, x)
    return over(colour, (0.06, 0.05, 0.05), np.maximum(np.maximum(frame, bridge), temple))
