"""The whole head: face, ears, hair."""

import numpy as np

from .face import FaceLook, paint_face
from .hair import hair_surfaces
from .skeleton import SIDES, Skeleton
from .skull import skull_shell
from .surfaces import Loft, Surface, rigid, stations
from .transforms import Array, smoothstep

# Height from the ear's middle, thickness fore and aft, metres on a head of unit scale.
_EAR = ((-0.033, 0.002), (-0.027, 0.011), (-0.010, 0.014), (0.010, 0.018), (0.024, 0.017), (0.031, 0.003))
_EAR_THICKNESS = 0.006


def head_surfaces(skeleton: Skeleton, look: FaceLook, seed: int) -> list[Surface]:
    """Face, ears, and hair or hat."""
    scale, centre = skeleton.physique.head_scale, skeleton.physique.head_centre

    def paint(points: Array) -> Array:
        return paint_face((points - centre) / scale, look, seed)

    def narrower_jaw(points: Array) -> Array:
        return np.asarray(-0.0045 * look.femininity * smoothstep(-0.02, -0.09, points[..., 2]))

    face = skull_shell(skeleton, narrower_jaw).surface(
        rigid("head"), paint, rings=30, columns=28, gloss=0.16, texture_size=(240, 240), dense_front=0.35
    )
    covered = look.style in ("bob", "long", "beanie")
    ears = [] if covered else [_ear(skeleton, look.skin, sign) for _, sign in SIDES]
    return [face, *ears, *hair_surfaces(skeleton, look, seed)]


def _ear(skeleton: Skeleton, skin: Array, sign: float) -> Surface:
    scale = skeleton.physique.head_scale
    base = skeleton.physique.head_centre + scale * np.array([-0.012, sign * 0.0765, -0.010])
    rows = [(z, r, 0.8 * r, _EAR_THICKNESS) for z, r in _EAR]
    loft = Loft(
        stations(rows, scale),
        base=base,
        axis=(-0.25, sign * 0.18, 0.95),
        front=(0.95, -sign * 0.25, 0.0),
        side=(sign * 0.25, 0.95, 0.0),
    )

    def paint(points: Array) -> Array:
        hollow = smoothstep(0.012, 0.004, np.linalg.norm((points - base)[..., ::2], axis=-1) / scale)
        return np.asarray(skin * (1.0 - 0.35 * hollow[..., None]) * np.array([1.0, 0.94, 0.92]))

    return loft.surface(rigid("head"), paint, rings=7, columns=8, gloss=0.1, texture_size=(16, 32))
