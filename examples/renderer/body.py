"""Bare body parts: arms, hands, legs, neck. All sizes are fractions of stature unless said otherwise."""

from collections.abc import Sequence

import numpy as np

from .skeleton import BONE, Skeleton
from .surfaces import Loft, Painter, Station, Surface, Weigher, chain, rigid
from .transforms import Array, smoothstep

# Distance below the shoulder joint, half-thickness front, back, side.
ARM = (
    (0.018, 0.003, 0.003, 0.003),
    (0.015, 0.014, 0.014, 0.012),
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
)
# Distance below the hip joint, half-thickness front, back, side.
LEG = (
    (0.040, 0.010, 0.010, 0.010),
    (0.020, 0.040, 0.050, 0.040),
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
)
Cloth = Sequence[tuple[float, float]]
BARE: Cloth = ((0.0, 0.0),)
_SHOULDER_TO_WRIST = 0.332
_HIP_TO_ANKLE = 0.488


def arm_weigher(skeleton: Skeleton, side: str) -> Weigher:
    """Weights along one arm: clavicle over the joint's top, then upper arm, forearm and hand."""
    h = skeleton.physique.height
    rest = skeleton.rest
    elbow, wrist = (float(rest[BONE[f"{side}_{b}"], 2]) for b in ("forearm", "hand"))
    limb = chain([f"{side}_upper_arm", f"{side}_forearm", f"{side}_hand"], [elbow, wrist], 0.022 * h)
    shoulder = float(rest[BONE[f"{side}_upper_arm"], 2])

    def weigh(points: Array) -> Array:
        weights = limb(points)
        share = 0.35 * smoothstep(shoulder - 0.01 * h, shoulder + 0.03 * h, points[:, 2])[:, None]
        weights *= 1.0 - share
        weights[:, BONE[f"{side}_clavicle"]] += share[:, 0]
        return weights

    return weigh


def leg_weigher(skeleton: Skeleton, side: str) -> Weigher:
    """Weights along one leg: pelvis over the joint's top, then thigh, shin and foot."""
    h = skeleton.physique.height
    hip, knee, ankle = (float(skeleton.rest[BONE[f"{side}_{b}"], 2]) for b in ("thigh", "shin", "foot"))
    bones = ["pelvis", f"{side}_thigh", f"{side}_shin", f"{side}_foot"]
    limb = chain(bones[1:], [knee, ankle - 0.02 * h], 0.035 * h)

    def weigh(points: Array) -> Array:
        weights = limb(points)
        share = 0.5 * smoothstep(hip - 0.03 * h, hip + 0.03 * h, points[:, 2])[:, None]
        weights *= 1.0 - share
        weights[:, BONE["pelvis"]] += share[:, 0]
        return weights

    return weigh


def limb_stations(
    table: Sequence[tuple[float, float, float, float]],
    *,
    scales: tuple[float, float],
    cloth: Cloth,
    top: float,
    bottom: float,
) -> list[Station]:
    """Stations of a limb in metres.

    Args:
        table: `ARM` or `LEG`.
        scales: Metres a unit of length, metres a unit of thickness.
        cloth: (distance, added thickness in metres), interpolated along the limb, falling distances.
        top: Leave out stations above this distance.
        bottom: Cut the limb here.
    """
    distances = np.array([row[0] for row in table])
    radii = np.array([row[1:] for row in table])
    cut = max(bottom, float(distances[-1]))
    kept = [float(d) for d in distances if cut + 0.004 < d <= top] + [cut]
    where, added = np.array(cloth, np.float64).T
    stations = []
    for d in kept:
        front, back, side = (np.interp(-d, -distances, radii[:, i]) for i in range(3))
        more = float(np.interp(-d, -where, added))
        f, b, s = (float(r * scales[1] + more) for r in (front, back, side))
        stations.append(Station(d * scales[0], f, b, s))
    return stations


def arm_loft(skeleton: Skeleton, side: str, *, cloth: Cloth = BARE, top: float = 1.0, bottom: float = -1.0) -> Loft:
    """Tube of one arm; see `limb_stations` for `cloth`, `top` and `bottom`."""
    physique = skeleton.physique
    base = skeleton.rest[BONE[f"{side}_upper_arm"]]
    length = skeleton.length(f"{side}_upper_arm", f"{side}_hand") / _SHOULDER_TO_WRIST
    thick = physique.height * physique.girth * (1.0 - 0.14 * physique.femininity)
    return Loft(limb_stations(ARM, scales=(length, thick), cloth=cloth, top=top, bottom=bottom), base=base)


def leg_loft(skeleton: Skeleton, side: str, *, cloth: Cloth = BARE, top: float = 1.0, bottom: float = -1.0) -> Loft:
    """Tube of one leg; see `limb_stations` for `cloth`, `top` and `bottom`."""
    physique = skeleton.physique
    base = skeleton.rest[BONE[f"{side}_thigh"]]
    length = skeleton.length(f"{side}_thigh", f"{side}_foot") / _HIP_TO_ANKLE
    thick = physique.height * (0.35 + 0.65 * physique.girth) * (1.0 + 0.04 * physique.femininity)
    return Loft(limb_stations(LEG, scales=(length, thick), cloth=cloth, top=top, bottom=bottom), base=base)


def hand_surfaces(skeleton: Skeleton, side: str, sign: float, paint: Painter) -> list[Surface]:
    """Palm with half-curled fingers, and the thumb."""
    h = skeleton.physique.height * (1.0 - 0.06 * skeleton.physique.femininity)
    wrist = skeleton.rest[BONE[f"{side}_hand"]]
    rows = (
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
    palm = [Station(d * h, f * h, b * h, s * h, square=2.5) for d, f, b, s in rows]

    def curl(points: Array) -> Array:
        below = np.clip((wrist[2] - 0.035 * h - points[..., 2]) / (0.07 * h), 0.0, None)
        curled = points.copy()
        curled[..., 1] -= sign * 0.032 * h * below**2
        curled[..., 2] += 0.014 * h * below**2
        return curled

    thumb = [
        Station(d * h, r * h, r * h, r * h)
        for d, r in ((0.0, 0.004), (0.006, 0.0095), (0.030, 0.0085), (0.046, 0.0075), (0.054, 0.0055), (0.058, 0.0005))
    ]
    thumb_base = wrist + np.array([0.013, -sign * 0.004, -0.010]) * h
    along = np.array([0.50, -sign * 0.28, -0.82])
    along /= np.linalg.norm(along)
    across = np.cross(along, (0.0, 1.0, 0.0))
    across /= np.linalg.norm(across)
    other = np.cross(across, along)
    weigh = rigid(f"{side}_hand")
    return [
        Loft(palm, base=wrist, displace=curl).surface(
            weigh, paint, rings=12, columns=12, gloss=0.1, texture_size=(48, 64)
        ),
        Loft(thumb, base=thumb_base, axis=tuple(along), front=tuple(across), side=tuple(other)).surface(
            weigh, paint, rings=6, columns=8, gloss=0.1, texture_size=(16, 16)
        ),
    ]


def neck_surface(skeleton: Skeleton, paint: Painter) -> Surface:
    """From inside the collar up into the skull."""
    physique = skeleton.physique
    h, rest = physique.height, skeleton.rest
    low, high = physique.level(0.80), float(rest[BONE["head"], 2]) + 0.02 * physique.head_scale
    r = h * (0.0345 - 0.0065 * physique.femininity) * (0.6 + 0.4 * physique.girth)
    root, tip = float(rest[BONE["neck"], 0]), float(rest[BONE["head"], 0])
    stations = [
        Station(low, 1.5 * r, 1.5 * r, 1.9 * r, shift=root),
        Station(mixed(low, high, 0.35), 1.02 * r, 1.12 * r, 1.2 * r, shift=root),
        Station(mixed(low, high, 0.60), 0.95 * r, 1.05 * r, 1.0 * r, shift=mixed(root, tip, 0.5)),
        Station(high, 0.95 * r, 1.0 * r, 0.98 * r, shift=tip),
    ]
    neck, head = float(rest[BONE["neck"], 2]), float(rest[BONE["head"], 2])
    weigh = chain(["head", "neck", "chest"], [head - 0.012 * h, neck], 0.018 * h)
    return Loft(stations).surface(weigh, paint, rings=9, columns=14, gloss=0.1, texture_size=(32, 64))


def mixed(a: float, b: float, amount: float) -> float:
    """`a` at 0, `b` at 1."""
    return a + (b - a) * amount
