"""The trunk and what hangs from it: shape and bone weights of tops, trousers' seats, skirts and coats."""

from collections.abc import Callable

import numpy as np

from .skeleton import BONE, SIDES, Physique, Skeleton
from .surfaces import Station, Weigher, chain
from .transforms import Array, smoothstep

# Level and half-thickness front, back, side: fractions of stature.
_SHAPE = np.array(
    [
        (0.452, 0.020, 0.030, 0.0400),
        (0.470, 0.046, 0.056, 0.0760),
        (0.495, 0.056, 0.070, 0.0940),
        (0.525, 0.059, 0.076, 0.1000),
        (0.555, 0.060, 0.070, 0.0970),
        (0.590, 0.060, 0.056, 0.0900),
        (0.625, 0.059, 0.049, 0.0850),
        (0.660, 0.061, 0.050, 0.0870),
        (0.700, 0.066, 0.055, 0.0930),
        (0.735, 0.068, 0.060, 0.0980),
        (0.765, 0.064, 0.063, 0.1010),
        (0.790, 0.056, 0.062, 0.1050),
        (0.804, 0.048, 0.058, 0.1085),
        (0.816, 0.042, 0.052, 0.1080),
        (0.826, 0.038, 0.047, 0.0980),
        (0.834, 0.037, 0.044, 0.0830),
        (0.843, 0.036, 0.041, 0.0620),
        (0.850, 0.034, 0.038, 0.0470),
    ]
)
CROTCH, NECK = float(_SHAPE[0, 0]), float(_SHAPE[-1, 0])
_SEAT = 0.525


def _bump(level: float, middle: float, spread: float) -> float:
    return float(np.exp(-0.5 * ((level - middle) / spread) ** 2))


def trunk_stations(
    physique: Physique, low: float, high: float, air: Callable[[float], float], *, hangs: bool
) -> list[Station]:
    """Cross-sections of a garment of the trunk.

    Args:
        physique: The wearer.
        low: Level of the hem, fraction of stature.
        high: Level of the upper edge.
        air: Distance of the cloth from the body at a level, metres.
        hangs: Cloth below the seat hangs down from it; False closes between the legs.
    """
    levels = [low, *(float(level) for level in _SHAPE[:, 0] if low + 0.006 < level < high - 0.003), high]
    return [_station(physique, level, air(level), hangs=hangs) for level in levels]


def _station(physique: Physique, level: float, air: float, *, hangs: bool) -> Station:
    h, fem = physique.height, physique.femininity
    body = max(level, _SEAT) if hangs else level
    front, back, side = (float(np.interp(body, _SHAPE[:, 0], _SHAPE[:, i])) for i in (1, 2, 3))
    waist, hips, bust = _bump(level, 0.635, 0.035), _bump(body, 0.525, 0.045), _bump(level, 0.722, 0.022)
    chest = float(smoothstep(0.70, 0.79, level))
    side *= 1.0 + fem * (-0.075 * waist + 0.06 * hips - 0.075 * chest)
    front += fem * (0.016 * bust - 0.005 * chest - 0.004 * waist)
    back += fem * 0.006 * hips
    belly = physique.belly * _bump(level, 0.615, 0.05)
    # Stout people are stout below the shoulders.
    thick = h * (1.0 + (physique.girth - 1.0) * (1.0 - 0.6 * float(smoothstep(0.76, 0.84, level))))
    return Station(
        physique.level(level),
        front * thick + air + belly,
        back * thick + air,
        side * thick + air + 0.35 * belly,
        shift=-0.006 * h * float(smoothstep(0.70, 0.84, level)),
        square=2.5 - 0.5 * chest,
    )


def trunk_weigher(skeleton: Skeleton) -> Weigher:
    """Weights of the trunk's cloth.

    Pelvis, spine and chest share it by height; the shoulders follow the collar bones; what hangs below the hips
    follows the thighs, and below the knees the shins.
    """
    physique = skeleton.physique
    h, rest = physique.height, skeleton.rest
    height = {bone: float(rest[BONE[bone], 2]) for bone in ("neck", "chest", "spine", "left_thigh", "left_shin")}
    joints = [height["neck"] + 0.012 * h, height["chest"], height["spine"]]
    column = chain(["neck", "chest", "spine", "pelvis"], joints, 0.030 * h)
    hip, knee = height["left_thigh"], height["left_shin"]
    shoulder = float(rest[BONE["left_upper_arm"], 2])
    half = physique.shoulder_half_width

    def weigh(points: Array) -> Array:
        weights = column(points)
        z = points[:, 2]
        for side, sign in SIDES:
            out = sign * points[:, 1]
            lifted = smoothstep(0.35 * half, 0.95 * half, out) * smoothstep(shoulder - 0.09 * h, shoulder - 0.01 * h, z)
            _take(weights, f"{side}_clavicle", 0.75 * lifted)
            _take(weights, f"{side}_upper_arm", 0.25 * lifted * smoothstep(0.8 * half, 1.05 * half, out))
            # The two sides' shares of the pelvis' weight sum to at most 0.9 of it.
            leg = smoothstep(-0.035 * h, 0.035 * h, out) * smoothstep(hip + 0.03 * h, hip - 0.06 * h, z)
            thigh = np.minimum(0.9 * leg, weights[:, BONE["pelvis"]])
            shin = 0.6 * smoothstep(knee + 0.02 * h, knee - 0.10 * h, z) * thigh
            weights[:, BONE["pelvis"]] -= thigh
            weights[:, BONE[f"{side}_thigh"]] += thigh - shin
            weights[:, BONE[f"{side}_shin"]] += shin
        return weights

    return weigh


def _take(weights: Array, bone: str, share: Array) -> None:
    """Give `bone` a share of all weight, in place."""
    weights *= (1.0 - share)[:, None]
    weights[:, BONE[bone]] += share
