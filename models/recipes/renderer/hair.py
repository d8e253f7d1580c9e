"""Hair, caps and woollen hats: shells over the skull and what hangs from them."""

import numpy as np

from .face import FaceLook, over
from .noise import noise3
from .skeleton import BONE, Skeleton
from .skull import hairline, skull_shell
from .surfaces import Loft, Painter, Surface, chain, rigid, stations
from .transforms import Array, smoothstep

# Thickness over the skull, metres.
_DEPTH = {"crop": 0.007, "curly": 0.030, "bun": 0.011, "ponytail": 0.011}
_DEPTH_OTHERWISE = 0.017
# Outside its edge a shell dives this far below the skin, clear of the relief of the face.
_SUNK = 0.012
_GLOSS = 0.22


def hair_surfaces(skeleton: Skeleton, look: FaceLook, seed: int) -> list[Surface]:
    """Hair or hat; nothing on a bald head."""
    if look.style == "bald":
        return []
    if look.style in ("cap", "beanie"):
        return _hat(skeleton, look)
    paint = _strands(skeleton, look, seed)
    shell = _hair_shell(skeleton, look.style, seed).surface(
        rigid("head"), paint, rings=24, columns=24, gloss=_GLOSS, texture_size=(128, 160)
    )
    if look.style in ("bob", "long"):
        return [shell, _curtain(skeleton, paint, bottom=-0.115 if look.style == "bob" else -0.25)]
    if look.style == "ponytail":
        return [shell, _ponytail(skeleton, paint)]
    if look.style == "bun":
        return [shell, _bun(skeleton, paint)]
    return [shell]


def _strands(skeleton: Skeleton, look: FaceLook, seed: int) -> Painter:
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    curly = look.style == "curly"
    cell = np.array([0.014, 0.014, 0.014]) if curly else np.array([0.030, 0.005, 0.060])

    def paint(points: Array) -> Array:
        p = (points - centre) / scale / cell
        light = 1.0 + (0.30 if curly else 0.22) * noise3(p, 1.0, seed + 11) + 0.12 * noise3(p, 0.45, seed + 12)
        return np.asarray(look.hair * light[..., None] + 0.02)

    return paint


def _hair_shell(skeleton: Skeleton, style: str, seed: int) -> Loft:
    depth = _DEPTH.get(style, _DEPTH_OTHERWISE)
    lumps = 0.35 if style == "curly" else 0.12

    def thickness(p: Array) -> Array:
        edge = hairline(p)
        hair = depth * (1.0 + lumps * noise3(p, 0.035, seed + 9)) * (1.0 + 0.5 * smoothstep(0.04, 0.11, p[..., 2]))
        if style in ("short", "parted"):
            hair = hair * (1.0 - 0.45 * smoothstep(0.02, -0.02, p[..., 2]))
        if style == "parted":
            hair = hair + 0.006 * smoothstep(-0.06, 0.05, p[..., 1]) * smoothstep(0.03, 0.09, p[..., 0])
        return np.asarray(smoothstep(-0.003, 0.012, edge) * hair - _SUNK * smoothstep(0.0, -0.010, edge))

    return skull_shell(skeleton, thickness)


def _curtain(skeleton: Skeleton, paint: Painter, *, bottom: float) -> Surface:
    """Long hair behind the ears, down to `bottom`, metres from the skull's middle."""
    s, rest = skeleton.physique.head_scale, skeleton.rest
    rows = (
        (0.085, 0.02, 0.075, 0.055),
        (0.05, 0.035, 0.105, 0.083),
        (0.0, 0.025, 0.112, 0.091),
        (-0.05, 0.020, 0.108, 0.094),
        (0.4 * -0.05 + 0.6 * bottom, 0.015, 0.100, 0.092),
        (bottom, 0.010, 0.090, 0.084),
        (bottom - 0.010, 0.002, 0.070, 0.050),
    )
    loft = Loft(stations(rows, s, shift=-0.012), base=skeleton.physique.head_centre)
    joints = [float(rest[BONE["head"], 2]) - 0.05 * s, float(rest[BONE["neck"], 2]) - 0.02]
    return loft.surface(chain(["head", "neck", "chest"], joints, 0.05), paint, rings=12, columns=22, gloss=_GLOSS)


def _ponytail(skeleton: Skeleton, paint: Painter) -> Surface:
    s = skeleton.physique.head_scale
    rows = ((0.0, 0.012), (0.03, 0.022), (0.09, 0.026), (0.16, 0.020), (0.20, 0.010), (0.215, 0.001))
    base = skeleton.physique.head_centre + s * np.array([-0.098, 0.0, 0.045])
    loft = Loft(stations(rows, s), base=base, axis=(-0.35, 0.0, -0.93), front=(0.93, 0.0, -0.35))
    return loft.surface(rigid("head"), paint, rings=10, columns=10, gloss=_GLOSS, texture_size=(48, 32))


def _bun(skeleton: Skeleton, paint: Painter) -> Surface:
    s = skeleton.physique.head_scale
    rows = ((-0.034, 0.003), (-0.026, 0.024), (-0.008, 0.034), (0.012, 0.032), (0.026, 0.020), (0.032, 0.002))
    base = skeleton.physique.head_centre + s * np.array([-0.098, 0.0, 0.085])
    return Loft(stations(rows, s), base=base).surface(rigid("head"), paint, rings=8, columns=12, gloss=_GLOSS)


def _hat(skeleton: Skeleton, look: FaceLook) -> list[Surface]:
    """A cap with a peak, or a ribbed woollen hat, over short hair."""
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre
    woollen = look.style == "beanie"

    def paint(points: Array) -> Array:
        p = (points - centre) / scale
        edge = _above_rim(p, woollen=woollen)
        light = np.ones(edge.shape)
        if woollen:
            light += 0.10 * np.sin(np.arctan2(p[..., 1], p[..., 0]) * 60.0)
            light *= 1.0 - 0.18 * smoothstep(0.034, 0.030, edge)
        return over(look.cap * light[..., None], 0.8 * look.hair, smoothstep(0.001, -0.001, edge))

    def thickness(p: Array) -> Array:
        edge, line = _above_rim(p, woollen=woollen), hairline(p)
        hair = 0.007 * smoothstep(-0.003, 0.010, line) - _SUNK * smoothstep(0.0, -0.010, line)
        dome = (0.013 if woollen else 0.010) + 0.012 * smoothstep(0.06, 0.12, p[..., 2])
        return np.asarray(hair + (dome - hair) * smoothstep(-0.002, 0.003, edge))

    shell = skull_shell(skeleton, thickness)
    hat = shell.surface(rigid("head"), paint, rings=26, columns=24, texture_size=(128, 160))
    return [hat] if woollen else [hat, _peak(skeleton, look.cap)]


def _above_rim(p: Array, *, woollen: bool) -> Array:
    """Metres above the rim of a hat, which rises from the back to the front."""
    back, front = (0.005, 0.045) if woollen else (0.030, 0.058)
    return np.asarray(p[..., 2] - front + (front - back) * smoothstep(0.06, -0.08, p[..., 0]))


def _peak(skeleton: Skeleton, colour: Array) -> Surface:
    s = skeleton.physique.head_scale
    rows = ((-0.030, 0.060), (0.0, 0.066), (0.025, 0.066), (0.050, 0.058), (0.070, 0.038), (0.078, 0.002))
    rings = [ring for at, w in rows for ring in stations([(at, 0.0035, w)], s, shift=-2.5 * w * w)]
    base = skeleton.physique.head_centre + s * np.array([0.062, 0.0, 0.064])
    loft = Loft(rings, base=base, axis=(0.97, 0.0, -0.24), front=(0.24, 0.0, 0.97))
    return loft.surface(rigid("head"), lambda p: np.broadcast_to(0.85 * colour, p.shape), rings=8, columns=12)
