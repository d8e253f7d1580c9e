"""Bare body parts: arms, hands, legs, neck. Tables are in fractions of stature."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .skeleton import BONE, Skeleton
from .surfaces import Loft, Painter, Station, Surface, Weigher, chain, rigid, stations
from .transforms import Array, mix, smoothstep

Cloth = Sequence[tuple[float, float]]
"""(distance from the limb's first joint, added thickness in metres), from the top down."""
BARE: Cloth = ((0.0, 0.0),)


@dataclass(frozen=True)
class Limb:
    """Shape of a limb.

    Attributes:
        length: First to last joint.
        shape: Distance (negative is below the first joint), half-thickness front, back, side.
    """

    length: float
    shape: tuple[tuple[float, float, float, float], ...]


ARM = Limb(
    0.332,
    (
        (0.018, 0.0030, 0.0030, 0.0030),
        (0.015, 0.0140, 0.0140, 0.0120),
        (0.006, 0.0250, 0.0250, 0.0225),
        (-0.010, 0.0315, 0.0315, 0.0290),
        (-0.030, 0.0325, 0.0330, 0.0300),
        (-0.075, 0.0300, 0.0295, 0.0270),
        (-0.115, 0.0280, 0.0275, 0.0245),
        (-0.160, 0.0240, 0.0250, 0.0230),
        (-0.184, 0.0230, 0.0240, 0.0230),
        (-0.210, 0.0255, 0.0235, 0.0240),
        (-0.245, 0.0245, 0.0220, 0.0215),
        (-0.290, 0.0190, 0.0185, 0.0160),
        (-0.322, 0.0165, 0.0160, 0.0130),
        (-0.340, 0.0165, 0.0160, 0.0125),
    ),
)
LEG = Limb(
    0.488,
    (
        (0.040, 0.0100, 0.0100, 0.0100),
        (0.020, 0.0400, 0.0500, 0.0400),
        (-0.010, 0.0500, 0.0590, 0.0470),
        (-0.050, 0.0500, 0.0560, 0.0475),
        (-0.120, 0.0470, 0.0470, 0.0430),
        (-0.190, 0.0400, 0.0380, 0.0370),
        (-0.245, 0.0350, 0.0310, 0.0320),
        (-0.275, 0.0300, 0.0335, 0.0300),
        (-0.320, 0.0270, 0.0385, 0.0315),
        (-0.370, 0.0235, 0.0330, 0.0270),
        (-0.430, 0.0195, 0.0225, 0.0195),
        (-0.470, 0.0185, 0.0200, 0.0175),
        (-0.495, 0.0190, 0.0210, 0.0180),
    ),
)
_PALM = (
    (0.012, 0.0160, 0.0155, 0.0120),
    (-0.008, 0.0170, 0.0165, 0.0125),
    (-0.025, 0.0215, 0.0210, 0.0130),
    (-0.045, 0.0235, 0.0230, 0.0125),
    (-0.060, 0.0220, 0.0225, 0.0110),
    (-0.078, 0.0195, 0.0205, 0.0100),
    (-0.092, 0.0150, 0.0170, 0.0085),
    (-0.101, 0.0080, 0.0110, 0.0060),
    (-0.104, 0.0010, 0.0010, 0.0010),
)
_THUMB = ((0.0, 0.004), (0.006, 0.0095), (0.030, 0.0085), (0.046, 0.0075), (0.054, 0.0055), (0.058, 0.0005))


def arm_weigher(skeleton: Skeleton, side: str) -> Weigher:
    """Weights along one arm: collar bone over the joint's top, then upper arm, forearm and hand."""
    h = skeleton.physique.height
    shoulder, elbow, wrist = (float(skeleton.rest[BONE[f"{side}_{b}"], 2]) for b in ("upper_arm", "forearm", "hand"))
    limb = chain([f"{side}_upper_arm", f"{side}_forearm", f"{side}_hand"], [elbow, wrist], 0.022 * h)
    return _with_root(limb, f"{side}_clavicle", 0.35, (shoulder - 0.01 * h, shoulder + 0.03 * h))


def leg_weigher(skeleton: Skeleton, side: str) -> Weigher:
    """Weights along one leg: pelvis over the joint's top, then thigh, shin and foot."""
    h = skeleton.physique.height
    hip, knee, ankle = (float(skeleton.rest[BONE[f"{side}_{b}"], 2]) for b in ("thigh", "shin", "foot"))
    limb = chain([f"{side}_thigh", f"{side}_shin", f"{side}_foot"], [knee, ankle - 0.02 * h], 0.035 * h)
    return _with_root(limb, "pelvis", 0.5, (hip - 0.03 * h, hip + 0.03 * h))


def _with_root(limb: Weigher, bone: str, most: float, span: tuple[float, float]) -> Weigher:
    """A limb whose top, from `span[0]` to `span[1]` metres high, follows `bone` with up to `most` of its weight."""

    def weigh(points: Array) -> Array:
        weights = limb(points)
        share = most * smoothstep(*span, points[:, 2])
        weights *= 1.0 - share[:, None]
        weights[:, BONE[bone]] += share
        return weights

    return weigh


def arm_loft(skeleton: Skeleton, side: str, *, cloth: Cloth = BARE, top: float = 1.0, bottom: float = -1.0) -> Loft:
    """Tube of one arm, from distance `top` to `bottom` (see `Limb`), with cloth around it."""
    physique = skeleton.physique
    thick = physique.height * physique.girth * (1.0 - 0.14 * physique.femininity)
    return _limb_loft(skeleton, ARM, (f"{side}_upper_arm", f"{side}_hand"), thick, cloth, (top, bottom))


def leg_loft(skeleton: Skeleton, side: str, *, cloth: Cloth = BARE, top: float = 1.0, bottom: float = -1.0) -> Loft:
    """Tube of one leg, from distance `top` to `bottom` (see `Limb`), with cloth around it."""
    physique = skeleton.physique
    thick = physique.height * (0.35 + 0.65 * physique.girth) * (1.0 + 0.04 * physique.femininity)
    return _limb_loft(skeleton, LEG, (f"{side}_thigh", f"{side}_foot"), thick, cloth, (top, bottom))


def _limb_loft(
    skeleton: Skeleton, limb: Limb, ends: tuple[str, str], thick: float, cloth: Cloth, span: tuple[float, float]
) -> Loft:
    shape = np.array(limb.shape)
    first, last = min(span[0], float(shape[0, 0])), max(span[1], float(shape[-1, 0]))
    inner = [float(d) for d in shape[:, 0] if last + 0.004 < d < first - 0.004]
    long = skeleton.length(*ends) / limb.length
    where, added = np.array(cloth).T
    rings = []
    for d in (first, *inner, last):
        more = float(np.interp(-d, -where, added))
        front, back, side = (float(np.interp(-d, -shape[:, 0], shape[:, i])) * thick + more for i in (1, 2, 3))
        rings.append(Station(d * long, front, back, side))
    return Loft(rings, base=skeleton.rest[BONE[ends[0]]])


def hand_surfaces(skeleton: Skeleton, side: str, sign: float, paint: Painter) -> list[Surface]:
    """Palm with half-curled fingers, and the thumb."""
    h = skeleton.physique.height * (1.0 - 0.06 * skeleton.physique.femininity)
    wrist = skeleton.rest[BONE[f"{side}_hand"]]

    def curl(points: Array) -> Array:
        below = np.clip((wrist[2] - 0.035 * h - points[..., 2]) / (0.07 * h), 0.0, None)
        curled = points.copy()
        curled[..., 1] -= sign * 0.032 * h * below**2
        curled[..., 2] += 0.014 * h * below**2
        return curled

    palm = Loft(stations(_PALM, h, square=2.5), base=wrist, displace=curl)
    # The thumb points down, forwards and a little inwards.
    along = np.array([0.50, -sign * 0.28, -0.82])
    front = np.array([0.82, 0.0, 0.50])
    thumb = Loft(
        stations(_THUMB, h),
        base=wrist + np.array([0.013, -sign * 0.004, -0.010]) * h,
        axis=(along[0], along[1], along[2]),
        front=(front[0], front[1], front[2]),
    )
    hand = rigid(f"{side}_hand")
    return [
        palm.surface(hand, paint, rings=12, columns=12, gloss=0.1, texture_size=(48, 64)),
        thumb.surface(hand, paint, rings=6, columns=8, gloss=0.1, texture_size=(16, 16)),
    ]


def neck_surface(skeleton: Skeleton, paint: Painter) -> Surface:
    """From inside the collar up into the skull."""
    physique = skeleton.physique
    h, rest = physique.height, skeleton.rest
    neck, head = rest[BONE["neck"]], rest[BONE["head"]]
    low, high = physique.level(0.80), float(head[2]) + 0.02 * physique.head_scale
    r = h * (0.0345 - 0.0065 * physique.femininity) * (0.6 + 0.4 * physique.girth)
    root, tip = float(neck[0]), float(head[0])
    rings = [
        Station(low, 1.5 * r, 1.5 * r, 1.9 * r, shift=root),
        Station(mix(low, high, 0.35), 1.02 * r, 1.12 * r, 1.2 * r, shift=root),
        Station(mix(low, high, 0.60), 0.95 * r, 1.05 * r, 1.0 * r, shift=mix(root, tip, 0.5)),
        Station(high, 0.95 * r, 1.0 * r, 0.98 * r, shift=tip),
    ]
    weigh = chain(["head", "neck", "chest"], [float(head[2]) - 0.012 * h, float(neck[2])], 0.018 * h)
    return Loft(rings).surface(weigh, paint, rings=9, columns=14, gloss=0.1, texture_size=(32, 64))
