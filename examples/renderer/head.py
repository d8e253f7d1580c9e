"""Head, face and hair. Sizes are metres on a head 0.23 m high, scaled to the person's."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .noise import noise3
from .skeleton import BONE, Skeleton
from .surfaces import Loft, Station, Surface, chain, rigid
from .transforms import Array, mix, smoothstep

# Height from the skull's middle, front, back, half-width.
_SKULL = (
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


@dataclass(frozen=True)
class FaceLook:
    """What a head looks like.

    Attributes:
        skin: sRGB 0..1.
        hair: sRGB 0..1.
        eyes: Iris colour, sRGB 0..1.
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


HAIR_STYLES = ("short", "crop", "parted", "bob", "long", "ponytail", "bun", "curly", "bald", "cap", "beanie")


def _gauss(points: Array, centre: tuple[float, float], sigma: tuple[float, float]) -> Array:
    """Bump over (y, z) in the face plane; y is mirrored."""
    y = (np.abs(points[..., 1]) - centre[0]) / sigma[0]
    z = (points[..., 2] - centre[1]) / sigma[1]
    return np.exp(-0.5 * (y * y + z * z))


def _features(p: Array) -> Array:
    """Push the skull's front into a face."""
    front = smoothstep(0.03, 0.07, p[..., 0])
    bridge = np.exp(-0.5 * (p[..., 1] / 0.0075) ** 2) * smoothstep(0.016, -0.026, p[..., 2])
    bridge = bridge * smoothstep(-0.046, -0.039, p[..., 2])
    push = 0.021 * bridge
    push += 0.005 * _gauss(p, (0.011, -0.038), (0.005, 0.006))
    push -= 0.0085 * _gauss(p, (0.031, 0.002), (0.012, 0.010))
    push += 0.003 * _gauss(p, (0.024, 0.022), (0.018, 0.006))
    push += 0.005 * _gauss(p, (0.0, -0.066), (0.016, 0.006))
    push -= 0.004 * _gauss(p, (0.0, -0.083), (0.020, 0.006))
    push += 0.006 * _gauss(p, (0.0, -0.100), (0.018, 0.009))
    push += 0.003 * _gauss(p, (0.042, -0.028), (0.015, 0.014))
    moved = p.copy()
    moved[..., 0] += push * front
    return moved


def _shell(skeleton: Skeleton, thickness: Callable[[Array], Array]) -> Loft:
    """The skull pushed outwards by `thickness`, metres at each point of the unit-scale skull."""
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    stations = [
        Station(z, front - 0.5 * (front + back), 0.5 * (front + back) - back, side, shift=0.5 * (front + back))
        for z, front, back, side in _SKULL
    ]

    def place(points: Array) -> Array:
        outwards = points - np.array([-0.004, 0.0, 0.03])
        outwards = outwards / np.maximum(np.linalg.norm(outwards, axis=-1, keepdims=True), 1e-9)
        moved = _features(points) + outwards * thickness(points)[..., None]
        return np.asarray(centre + scale * moved)

    return Loft(stations, displace=place)


def head_surfaces(skeleton: Skeleton, look: FaceLook, seed: int) -> list[Surface]:
    """Skull with face, ears, hair or hat, and glasses as paint."""
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre

    def paint(points: Array) -> Array:
        return _paint_face((points - centre) / scale, look, seed)

    narrow = 0.05 * look.femininity

    def jaw(points: Array) -> Array:
        return np.asarray(-narrow * 0.09 * smoothstep(-0.02, -0.09, points[..., 2]))

    face = _shell(skeleton, jaw).surface(
        rigid("head"), paint, rings=30, columns=28, gloss=0.16, texture_size=(240, 240), dense_front=0.35
    )
    return [face, *_ears(skeleton, look), *_hair(skeleton, look, seed)]


def _ears(skeleton: Skeleton, look: FaceLook) -> list[Surface]:
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    if look.style in ("bob", "long", "beanie"):
        return []
    surfaces = []
    for sign in (1.0, -1.0):
        rows = ((-0.033, 0.002), (-0.027, 0.011), (-0.010, 0.014), (0.010, 0.018), (0.024, 0.017), (0.031, 0.003))
        stations = [Station(z * scale, r * scale, 0.8 * r * scale, 0.006 * scale) for z, r in rows]
        base = centre + scale * np.array([-0.012, sign * 0.0765, -0.010])
        tilt = np.array([-0.25, sign * 0.18, 0.95])
        loft = Loft(
            stations, base=base, axis=tuple(tilt), front=(0.95, -sign * 0.25, 0.0), side=(sign * 0.25, 0.95, 0.0)
        )

        def paint(points: Array, base: Array = base) -> Array:
            inner = smoothstep(0.012, 0.004, np.linalg.norm((points - base)[..., ::2], axis=-1) / scale)
            return np.asarray(look.skin * (1.0 - 0.35 * inner[..., None]) * (1.0, 0.94, 0.92))

        surfaces.append(loft.surface(rigid("head"), paint, rings=7, columns=8, gloss=0.1, texture_size=(16, 32)))
    return surfaces


def _over(base: Array, colour: Array | tuple[float, float, float], amount: Array) -> Array:
    return base + (np.asarray(colour) - base) * np.clip(amount, 0.0, 1.0)[..., None]


def _paint_face(p: Array, look: FaceLook, seed: int) -> Array:
    """SRGB colour of the skull at unit-scale points `[h, w, 3]`."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    ay = np.abs(y)
    front = smoothstep(0.02, 0.05, x)
    colour = look.skin * (1.0 + 0.04 * noise3(p, 0.012, seed)[..., None])
    ruddy = 0.5 * _gauss(p, (0.040, -0.030), (0.018, 0.016)) + 0.5 * _gauss(p, (0.0, -0.036), (0.011, 0.008))
    colour = colour * (1.0 - front[..., None] * ruddy[..., None] * (0.0, 0.13, 0.13))
    # Shade gathers in the sockets, beside and under the nose, under the lip and under the jaw.
    shade = 0.26 * _gauss(p, (0.029, 0.004), (0.016, 0.012)) + 0.20 * _gauss(p, (0.016, -0.030), (0.004, 0.014))
    shade += 0.40 * _gauss(p, (0.0, -0.047), (0.012, 0.0035)) + 0.22 * _gauss(p, (0.0, -0.079), (0.016, 0.005))
    colour = colour * (1.0 - front * shade)[..., None]
    colour = colour * (1.0 - 0.35 * smoothstep(0.085, 0.06, x) * smoothstep(-0.092, -0.112, z))[..., None]
    if look.beard > 0:
        colour = _paint_beard(p, colour, look, seed)
    colour = _paint_mouth(p, colour, look, front)
    colour = _paint_eyes(p, colour, look, front)
    if look.style not in ("bald",):
        scalp = smoothstep(-0.004, 0.004, _hairline(p, 0.0))
        colour = _over(colour, 0.8 * look.hair, scalp)
    elif look.beard == 0:
        colour = _over(colour, 0.75 * look.skin + 0.25 * look.hair, 0.4 * smoothstep(-0.01, 0.02, _hairline(p, 0.0)))
    if look.glasses != "none":
        colour = _paint_glasses(ay, y, z, x, colour, dark=look.glasses == "sunglasses")
    return colour


def _paint_mouth(p: Array, colour: Array, look: FaceLook, front: Array) -> Array:
    y, z = p[..., 1], p[..., 2]
    width = 0.022 + 0.002 * look.femininity
    lips = look.skin * np.array([0.86, 0.62, 0.62]) + np.array([0.04, 0.0, 0.0]) * look.femininity
    arch = 0.002 * np.cos(y / width * np.pi) * (np.abs(y) < width)
    upper = smoothstep(1.1, 0.8, (y / width) ** 2 + ((z + 0.0625 - arch) / 0.0045) ** 2)
    lower = smoothstep(1.1, 0.8, (y / (0.85 * width)) ** 2 + ((z + 0.0705) / 0.0058) ** 2)
    strength = front * (0.55 + 0.4 * look.femininity)
    colour = _over(colour, 0.88 * lips, upper * strength)
    colour = _over(colour, lips, lower * strength)
    line = smoothstep(1.2, 0.7, (y / (1.05 * width)) ** 2 + ((z + 0.0660) / 0.0016) ** 2)
    return _over(colour, 0.28 * look.skin, line * front * 0.9)


def _paint_eyes(p: Array, colour: Array, look: FaceLook, front: Array) -> Array:
    ay, z = np.abs(p[..., 1]), p[..., 2]
    ey, ez = (ay - 0.0315) / 0.0140, (z - 0.0035) / 0.0062
    slope = 0.12 * ey
    white = smoothstep(1.15, 0.85, ey**2 + (ez - slope) ** 2) * front
    colour = _over(colour, (0.86, 0.85, 0.83), white)
    pupil = np.hypot(ay - 0.0315, z - 0.0040)
    colour = _over(colour, look.eyes, white * smoothstep(0.0066, 0.0052, pupil))
    colour = _over(colour, (0.03, 0.03, 0.03), white * smoothstep(0.0034, 0.0026, pupil))
    lid = smoothstep(0.35, 0.10, np.abs(np.hypot(ey, ez - slope) - 1.05)) * smoothstep(-0.2, 0.4, ez) * front
    colour = _over(colour, 0.22 * look.skin, 0.85 * lid)
    crease = np.exp(-0.5 * ((np.hypot(ey, ez - slope) - 1.75) / 0.16) ** 2) * smoothstep(0.3, 0.9, ez) * front
    colour = colour * (1.0 - 0.20 * crease)[..., None]
    brow_z = 0.0225 + 0.0040 * np.sin(np.clip((ay - 0.014) / 0.032, 0.0, 1.0) * np.pi * 0.8)
    thick = 0.0038 - 0.0012 * look.femininity
    brow = (
        smoothstep(1.4, 0.6, np.abs(z - brow_z) / thick) * smoothstep(0.010, 0.014, ay) * smoothstep(0.050, 0.044, ay)
    )
    return _over(colour, 0.6 * look.hair + 0.02, 0.85 * brow * front)


def _paint_beard(p: Array, colour: Array, look: FaceLook, seed: int) -> Array:
    y, z, x = p[..., 1], p[..., 2], p[..., 0]
    jaw = smoothstep(-0.035, -0.065, z - 0.22 * np.abs(y)) * smoothstep(-0.02, 0.01, x)
    moustache = _gauss(p, (0.010, -0.0545), (0.012, 0.0045)) * 1.2
    grain = 0.75 + 0.25 * noise3(p, 0.003, seed + 5)
    cover = np.clip(np.maximum(jaw, moustache), 0.0, 1.0) * grain
    return _over(colour, 0.75 * look.hair, cover * min(1.0, look.beard * 0.95))


def _paint_glasses(ay: Array, y: Array, z: Array, x: Array, colour: Array, *, dark: bool) -> Array:
    front = smoothstep(0.03, 0.05, x)
    ring = ((np.abs(ay - 0.033) / 0.024) ** 3 + (np.abs(z - 0.001) / 0.0195) ** 3) ** (1 / 3)
    if dark:
        colour = _over(colour, (0.05, 0.05, 0.06), smoothstep(1.08, 1.0, ring) * front)
    frame = smoothstep(0.16, 0.06, np.abs(ring - 1.0)) * front
    bridge = smoothstep(0.0035, 0.002, np.abs(z - 0.008)) * (np.abs(y) < 0.010) * front
    temple = smoothstep(0.004, 0.002, np.abs(z - 0.006)) * (ay > 0.05) * smoothstep(-0.03, -0.02, x)
    return _over(colour, (0.06, 0.05, 0.05), np.maximum(np.maximum(frame, bridge), temple))


def _hairline(p: Array, recede: float) -> Array:
    """Positive where hair grows, in metres from the line: over the forehead, around the ears, down to the nape."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    # Lowest hair at each place from front (x large) to back: forehead, temple, above the ear, nape.
    low = np.interp(
        x,
        [-0.10, -0.06, -0.025, 0.012, 0.03, 0.055, 0.075, 0.095],
        [-0.070, -0.065, -0.02, 0.012, -0.010, 0.030, 0.062, 0.070],
    )
    return np.asarray(z - low - recede * smoothstep(0.03, 0.08, x) - 0.004 * np.cos(y * 90.0) * (x > 0.05))


def _hair_paint(look: FaceLook, skeleton: Skeleton, seed: int, *, curly: bool) -> Callable[[Array], Array]:
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre

    def paint(points: Array) -> Array:
        p = (points - centre) / scale
        cell = (0.014, 0.014, 0.014) if curly else (0.030, 0.005, 0.060)
        strands = noise3(p, cell, seed + 11)
        fine = noise3(p, tuple(0.45 * c for c in cell), seed + 12)
        light = 1.0 + (0.30 if curly else 0.22) * strands + 0.12 * fine
        return np.asarray(look.hair * light[..., None] + 0.02)

    return paint


def _hair(skeleton: Skeleton, look: FaceLook, seed: int) -> list[Surface]:
    if look.style == "bald":
        return []
    if look.style in ("cap", "beanie"):
        return _hat(skeleton, look)
    curly = look.style == "curly"
    depth = {"crop": 0.007, "curly": 0.030, "bun": 0.011, "ponytail": 0.011}.get(look.style, 0.017)
    paint = _hair_paint(look, skeleton, seed, curly=curly)

    def thickness(p: Array) -> Array:
        edge = _hairline(p, 0.0)
        lump = 1.0 + (0.35 if curly else 0.12) * noise3(p, 0.035, seed + 9)
        crown = 1.0 + 0.5 * smoothstep(0.04, 0.11, p[..., 2])
        side = 1.0 - 0.45 * smoothstep(0.02, -0.02, p[..., 2]) * (look.style in ("short", "parted"))
        part = 0.0
        if look.style == "parted":
            part = 0.006 * smoothstep(-0.06, 0.05, p[..., 1]) * smoothstep(0.03, 0.09, p[..., 0])
        return np.asarray(
            smoothstep(-0.003, 0.012, edge) * (depth * lump * crown * side + part)
            - 0.012 * smoothstep(0.0, -0.010, edge)
        )

    shell = _shell(skeleton, thickness).surface(
        rigid("head"), paint, rings=24, columns=24, gloss=0.22, texture_size=(128, 160)
    )
    return [shell, *_hair_extras(skeleton, look, paint)]


def _hair_extras(skeleton: Skeleton, look: FaceLook, paint: Callable[[Array], Array]) -> list[Surface]:
    s, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    if look.style in ("bob", "long"):
        bottom = -0.115 if look.style == "bob" else -0.25
        rows = (
            (0.085, 0.02, 0.075, 0.055),
            (0.05, 0.035, 0.105, 0.083),
            (0.0, 0.025, 0.112, 0.091),
            (-0.05, 0.020, 0.108, 0.094),
            (mix_float(-0.05, bottom, 0.6), 0.015, 0.100, 0.092),
            (bottom, 0.010, 0.090, 0.084),
            (bottom - 0.010, 0.002, 0.070, 0.050),
        )
        # The curtain hangs behind the ears: its front edge lies well behind the face.
        stations = [Station(z * s, f * s, b * s, w * s, shift=-0.012 * s) for z, f, b, w in rows]
        neck, head = (float(skeleton.rest[BONE[b], 2]) for b in ("neck", "head"))
        weigh = chain(["head", "neck", "chest"], [head - 0.05 * s, neck - 0.02], 0.05)
        return [Loft(stations, base=centre).surface(weigh, paint, rings=12, columns=22, gloss=0.22)]
    if look.style == "ponytail":
        rows5 = ((0.0, 0.012), (0.03, 0.022), (0.09, 0.026), (0.16, 0.020), (0.20, 0.010), (0.215, 0.001))
        along = np.array([-0.35, 0.0, -0.93])
        stations = [Station(d * s, r * s, r * s, r * s) for d, r in rows5]
        loft = Loft(
            stations, base=centre + s * np.array([-0.098, 0.0, 0.045]), axis=tuple(along), front=(0.93, 0.0, -0.35)
        )
        return [loft.surface(rigid("head"), paint, rings=10, columns=10, gloss=0.22, texture_size=(48, 32))]
    if look.style == "bun":
        rows_bun = ((-0.034, 0.003), (-0.026, 0.024), (-0.008, 0.034), (0.012, 0.032), (0.026, 0.020), (0.032, 0.002))
        stations = [Station(z * s, r * s, r * s, r * s) for z, r in rows_bun]
        base = centre + s * np.array([-0.098, 0.0, 0.085])
        return [Loft(stations, base=base).surface(rigid("head"), paint, rings=8, columns=12, gloss=0.22)]
    return []


def mix_float(a: float, b: float, amount: float) -> float:
    """`a` at 0, `b` at 1."""
    return a + (b - a) * amount


def _hat(skeleton: Skeleton, look: FaceLook) -> list[Surface]:
    s, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    woollen = look.style == "beanie"

    def paint_hat(points: Array) -> Array:
        p = (points - centre) / s
        edge = _hat_edge(p, woollen)
        ribs = 1.0 + (0.10 * np.sin(np.arctan2(p[..., 1], p[..., 0]) * 60.0) if woollen else 0.0)
        ribs = ribs * (1.0 - 0.18 * smoothstep(0.034, 0.030, edge) * woollen)
        colour = look.cap * np.broadcast_to(ribs, edge.shape)[..., None]
        return np.asarray(_over(colour, 0.8 * look.hair, smoothstep(0.001, -0.001, edge)))

    def thickness(p: Array) -> Array:
        edge = _hat_edge(p, woollen)
        hair = smoothstep(-0.003, 0.010, _hairline(p, 0.0)) * 0.007 - 0.012 * smoothstep(0.0, -0.010, _hairline(p, 0.0))
        cover = smoothstep(-0.002, 0.003, edge)
        dome = (0.013 if woollen else 0.010) + 0.012 * smoothstep(0.06, 0.12, p[..., 2])
        return np.asarray(mix_arrays(hair, dome, cover))

    shell = _shell(skeleton, thickness).surface(rigid("head"), paint_hat, rings=26, columns=24, texture_size=(128, 160))
    if woollen:
        return [shell]
    rows = ((-0.030, 0.060), (0.0, 0.066), (0.025, 0.066), (0.050, 0.058), (0.070, 0.038), (0.078, 0.002))
    stations = [Station(d * s, 0.004 * s, 0.003 * s, w * s, shift=-2.5 * w * w * s) for d, w in rows]
    base = centre + s * np.array([0.062, 0.0, 0.064])
    peak = Loft(stations, base=base, axis=(0.97, 0.0, -0.24), front=(0.24, 0.0, 0.97))

    def paint_peak(points: Array) -> Array:
        return np.broadcast_to(0.85 * look.cap, points.shape)

    return [shell, peak.surface(rigid("head"), paint_peak, rings=8, columns=12, texture_size=(8, 8))]


def mix_arrays(a: Array, b: Array, amount: Array) -> Array:
    """`a` where amount is 0, `b` where it is 1."""
    return a + (b - a) * amount


def _hat_edge(p: Array, woollen: bool) -> Array:
    """Positive under the hat, metres above its rim."""
    x, z = p[..., 0], p[..., 2]
    back, front = (0.005, 0.045) if woollen else (0.030, 0.058)
    return np.asarray(z - mix(np.array(back), np.array(front), 1.0) + (front - back) * smoothstep(0.06, -0.08, x))
