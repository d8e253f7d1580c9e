"""Garments: the surfaces that cover a body, and the figure that comes of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .body import ARM, Cloth, arm_loft, arm_weigher, hand_surfaces, leg_loft, leg_weigher, neck_surface
from .fabric import Fabric, painter
from .head import FaceLook, head_surfaces
from .skeleton import BONE, SIDES, Physique, Skeleton
from .surfaces import Figure, Loft, Painter, Station, Surface, Weigher, assemble, chain, rigid
from .transforms import Array, smoothstep

# Trunk level (fraction of stature), half-thickness front, back, side.
_TRUNK = (
    (0.452, 0.020, 0.030, 0.040),
    (0.470, 0.046, 0.056, 0.076),
    (0.495, 0.056, 0.070, 0.094),
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
)


@dataclass(frozen=True)
class Look:
    """Everything visible of a person.

    Attributes:
        face: Head and hair.
        top: Cloth of the upper body.
        sleeve: 0 (none), 0.45 (T-shirt), 1 (to the wrist).
        hem: Level at which the top ends, fraction of stature: 0.56 tucked, 0.50 shirt, 0.38 coat, 0.28 dress.
        looseness: Air between the top and the body, metres.
        bottom: Cloth of the legs, or of the skirt.
        leg_cover: 0 (underwear), 0.45 (shorts), 1 (to the ankle).
        leg_width: Added thickness at the trouser hem, metres.
        skirt: Level at which a skirt ends, fraction of stature; 0 = no skirt.
        hose: Colour of legs under a skirt or of socks, sRGB.
        shoe: Upper colour, sRGB.
        sole: Sole colour, sRGB.
        hood: Whether a hood hangs at the neck.
        collar: Height of a standing collar or scarf, metres.
        scarf: Colour of the collar piece, sRGB.
        bag: "none", "backpack" or "shoulder".
        bag_colour: sRGB.
    """

    face: FaceLook
    top: Fabric
    sleeve: float
    hem: float
    looseness: float
    bottom: Fabric
    leg_cover: float
    leg_width: float
    skirt: float
    hose: Array
    shoe: Array
    sole: Array
    hood: bool
    collar: float
    scarf: Array
    bag: str
    bag_colour: Array


def dress(skeleton: Skeleton, look: Look, seed: int, *, detail: float = 1.0) -> Figure:
    """Build one person.

    Args:
        skeleton: Bones and proportions.
        look: Clothes and face.
        seed: Folds and grain of cloth and hair.
        detail: Fineness of the mesh, 0.5 to 1.
    """
    skin = _skin_painter(skeleton, look.face.skin)
    hand = _hand_painter(skeleton, look.face.skin)
    surfaces = head_surfaces(skeleton, look.face, seed)
    surfaces.append(neck_surface(skeleton, skin))
    surfaces.append(_hips(skeleton, look, seed))
    surfaces.append(_top(skeleton, look, seed))
    for side, sign in SIDES:
        surfaces += _arm(skeleton, look, side, skin, seed)
        surfaces += hand_surfaces(skeleton, side, sign, hand)
        surfaces += _leg(skeleton, look, side, skin, seed)
        surfaces.append(_shoe(skeleton, look, side))
    if look.skirt > 0:
        surfaces.append(_skirt(skeleton, look, seed))
    surfaces += _neckwear(skeleton, look, seed)
    surfaces += _bag(skeleton, look)
    return assemble(surfaces, detail=detail)


def _skin_painter(skeleton: Skeleton, skin: Array) -> Painter:
    """Skin, shaded under the chin."""
    head = skeleton.physique.head_centre
    neck = float(skeleton.rest[BONE["neck"], 2])

    def paint(points: Array) -> Array:
        x, z = points[..., 0], points[..., 2]
        under = smoothstep(neck - 0.01, neck + 0.05, z) * smoothstep(head[2] + 0.02, head[2] - 0.06, z)
        return np.asarray(skin * (1.0 - 0.30 * under * smoothstep(-0.10, 0.02, x))[..., None])

    return paint


def _hand_painter(skeleton: Skeleton, skin: Array) -> Painter:
    """Skin with the gaps between the fingers."""
    knuckle = float(skeleton.rest[BONE["left_hand"], 2]) - 0.045 * skeleton.physique.height

    def paint(points: Array) -> Array:
        x, z = points[..., 0], points[..., 2]
        fingers = smoothstep(knuckle, knuckle - 0.02, z)
        gaps = smoothstep(0.80, 0.98, np.abs(np.cos((x + 0.004) * np.pi / 0.020)))
        return np.asarray(skin * (1.0 - 0.40 * fingers * gaps)[..., None])

    return paint


def _trunk_stations(physique: Physique, low: float, high: float, air: Callable[[float], float]) -> list[Station]:
    """Trunk from level `low` to `high` with `air(level)` metres of cloth around it."""
    h, fem = physique.height, physique.femininity
    table = np.array(_TRUNK)
    levels = [low, *(level for level in table[:, 0] if low + 0.006 < level < high - 0.003), high]
    stations = []
    for level in levels:
        # Cloth that goes on below the seat hangs from it instead of closing between the legs.
        body = max(level, 0.525) if low < 0.452 + 0.06 and air(low) > 0.007 else level
        front, back, side = (float(np.interp(body, table[:, 0], table[:, i])) for i in (1, 2, 3))
        waist = np.exp(-0.5 * ((level - 0.635) / 0.035) ** 2)
        hips = np.exp(-0.5 * ((level - 0.525) / 0.045) ** 2)
        chest = smoothstep(0.70, 0.79, level)
        bust = np.exp(-0.5 * ((level - 0.722) / 0.022) ** 2)
        side *= 1.0 + fem * (-0.075 * waist + 0.06 * hips - 0.075 * chest)
        front += fem * (0.016 * bust - 0.005 * chest - 0.004 * waist)
        back += fem * 0.006 * hips
        belly = np.exp(-0.5 * ((level - 0.615) / 0.05) ** 2)
        girth = 1.0 + (physique.girth - 1.0) * (1.0 - 0.6 * float(smoothstep(0.76, 0.84, level)))
        more = air(level)
        stations.append(
            Station(
                physique.level(level),
                front * h * girth + more + physique.belly * belly,
                back * h * girth + more,
                side * h * girth + more + 0.35 * physique.belly * belly,
                shift=-0.006 * h * float(smoothstep(0.70, 0.84, level)),
                square=2.0 + 0.5 * float(1.0 - chest),
            )
        )
    return stations


def _trunk_weigher(skeleton: Skeleton) -> Weigher:
    """Pelvis, spine and chest by height; the shoulders follow the collar bones, what hangs below follows the thighs."""
    physique = skeleton.physique
    h, rest = physique.height, skeleton.rest
    levels = [float(rest[BONE[b], 2]) for b in ("neck", "chest", "spine")]
    column = chain(["neck", "chest", "spine", "pelvis"], [levels[0] + 0.012 * h, *levels[1:]], 0.030 * h)
    hip, knee = (float(rest[BONE[b], 2]) for b in ("left_thigh", "left_shin"))
    shoulder = float(rest[BONE["left_upper_arm"], 2])
    half = physique.shoulder_half_width

    def weigh(points: Array) -> Array:
        weights = column(points)
        y, z = points[:, 1], points[:, 2]
        for side, sign in SIDES:
            out = smoothstep(0.35 * half, 0.95 * half, sign * y) * smoothstep(
                shoulder - 0.09 * h, shoulder - 0.01 * h, z
            )
            _move(weights, f"{side}_clavicle", 0.75 * out)
            _move(weights, f"{side}_upper_arm", 0.25 * out * smoothstep(0.8 * half, 1.05 * half, sign * y))
            leg = smoothstep(-0.035 * h, 0.035 * h, sign * y) * smoothstep(hip + 0.03 * h, hip - 0.06 * h, z)
            _move(weights, f"{side}_thigh", 0.9 * leg, source="pelvis")
            shin = smoothstep(knee + 0.02 * h, knee - 0.10 * h, z)
            _move(weights, f"{side}_shin", 0.6 * shin, source=f"{side}_thigh")
        return weights

    return weigh


def _move(weights: Array, bone: str, share: Array, source: str | None = None) -> None:
    """Give `bone` a share of all weight, or of `source`'s original share, in place."""
    if source is None:
        weights *= (1.0 - share)[:, None]
        weights[:, BONE[bone]] += share
        return
    free = weights[:, BONE[source]]
    taken = np.minimum(share * (free if source != "pelvis" else 1.0), free)
    weights[:, BONE[source]] -= taken
    weights[:, BONE[bone]] += taken


def _hips(skeleton: Skeleton, look: Look, seed: int) -> Surface:
    stations = _trunk_stations(skeleton.physique, 0.452, 0.60, lambda level: 0.006)
    closing = stations[0]
    stations.insert(0, Station(closing.at - 0.004, 0.003, 0.003, 0.003))
    paint = painter(skeleton, look.bottom, seed + 20)
    return Loft(stations).surface(_trunk_weigher(skeleton), paint, rings=12, columns=24, texture_size=(64, 160))


def _top(skeleton: Skeleton, look: Look, seed: int) -> Surface:
    physique = skeleton.physique

    def air(level: float) -> float:
        # Loose over the waist, close at the shoulders; long garments widen downwards.
        shoulders = float(smoothstep(0.74, 0.81, level))
        flare = max(0.0, 0.50 - level)
        return 0.010 + look.looseness * (1.0 - 0.75 * shoulders) + 0.25 * flare

    stations = _trunk_stations(physique, look.hem, 0.850, air)
    paint = _with_straps(painter(skeleton, look.top, seed + 21), physique, look)
    return Loft(stations).surface(_trunk_weigher(skeleton), paint, rings=30, columns=28, texture_size=(224, 240))


def _with_straps(cloth: Painter, physique: Physique, look: Look) -> Painter:
    """The top, with the straps of a bag painted on it."""
    h = physique.height
    shoulder, armpit, hip = physique.level(0.84), physique.level(0.70), physique.level(0.56)

    def paint(points: Array) -> Array:
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        if look.bag == "backpack":
            off = np.abs(np.abs(y) - 0.062 * h + 0.01 * h * smoothstep(armpit, shoulder, z))
            strap = smoothstep(0.016 * h, 0.014 * h, off) * (z > armpit) * (x > -0.03 * h)
        else:
            # From the left shoulder, where the strap lies, to the bag at the right hip.
            at = -0.11 * h + 0.17 * h * (z - hip) / (shoulder - hip)
            strap = smoothstep(0.011 * h, 0.009 * h, np.abs(y - at)) * (z > hip)
        colour = cloth(points)
        return np.asarray(colour + (0.75 * look.bag_colour - colour) * strap[..., None])

    return cloth if look.bag == "none" else paint


def _arm(skeleton: Skeleton, look: Look, side: str, skin: Painter, seed: int) -> list[Surface]:
    weigh = arm_weigher(skeleton, side)
    loose = 0.006 + 0.55 * look.looseness
    if look.sleeve <= 0.05:
        return [arm_loft(skeleton, side).surface(weigh, skin, rings=20, columns=12, texture_size=(64, 64))]
    end = -0.332 * look.sleeve
    edge = 0.020 if look.sleeve < 0.8 else 0.006
    cloth: Cloth = ((0.02, 0.002), (-0.06, loose), (0.7 * end, loose + 0.3 * edge), (end, edge + 0.3 * loose))
    paint = painter(skeleton, look.top, seed + 22)
    sleeve = arm_loft(skeleton, side, cloth=cloth, bottom=end).surface(
        weigh, paint, rings=max(8, int(18 * look.sleeve)), columns=14, texture_size=(128, 96)
    )
    bare_from = end + 0.05
    if look.sleeve > 0.98:
        return [sleeve]
    kept = max((row[0] for row in ARM if row[0] <= bare_from), default=-0.3)
    bare = arm_loft(skeleton, side, top=kept).surface(weigh, skin, rings=12, columns=12, texture_size=(64, 64))
    return [sleeve, bare]


def _leg(skeleton: Skeleton, look: Look, side: str, skin: Painter, seed: int) -> list[Surface]:
    weigh = leg_weigher(skeleton, side)
    hose = skin if look.leg_cover < 0.9 and look.hose[0] < 0 else _plain(look.hose)
    parts = []
    if look.leg_cover > 0.1:
        end = -0.489 * look.leg_cover
        width = look.leg_width
        cloth: Cloth = ((0.0, 0.007), (0.5 * end, 0.006 + 0.5 * width), (end, 0.008 + width))
        paint = painter(skeleton, look.bottom, seed + 23)
        parts.append(
            leg_loft(skeleton, side, cloth=cloth, bottom=end).surface(
                weigh, paint, rings=max(10, int(24 * look.leg_cover)), columns=14, texture_size=(160, 96)
            )
        )
    top = 1.0 if look.leg_cover <= 0.1 else (-0.12 if look.leg_cover < 0.6 else -0.37)
    parts.append(leg_loft(skeleton, side, top=top).surface(weigh, hose, rings=14, columns=12, texture_size=(64, 64)))
    return parts


def _plain(colour: Array) -> Painter:
    return lambda points: np.broadcast_to(np.maximum(colour, 0.0), points.shape)


def _shoe(skeleton: Skeleton, look: Look, side: str) -> Surface:
    h = skeleton.physique.height
    ankle = skeleton.rest[BONE[f"{side}_foot"]]
    middle = 0.020
    # Distance from the ankle towards the toes, height of the upper and depth of the sole about `middle`, half-width.
    rows = (
        (-0.041, 0.006, 0.008, 0.004),
        (-0.039, 0.024, 0.017, 0.013),
        (-0.032, 0.036, 0.020, 0.0200),
        (-0.014, 0.040, 0.020, 0.0235),
        (0.006, 0.038, 0.020, 0.0235),
        (0.024, 0.026, 0.019, 0.0235),
        (0.044, 0.017, 0.019, 0.0260),
        (0.068, 0.010, 0.020, 0.0290),
        (0.090, 0.006, 0.0195, 0.0275),
        (0.104, 0.001, 0.0180, 0.0210),
        (0.111, -0.006, 0.0140, 0.0110),
        (0.1125, -0.010, 0.0110, 0.0010),
    )
    stations = [Station(x * h, t * h, b * h, w * h, square=2.6) for x, t, b, w in rows]
    base = np.array([ankle[0], ankle[1], middle * h])
    weigh = chain([f"{side}_toes", f"{side}_foot"], [float(ankle[0]) + 0.070 * h], 0.012 * h, axis=0)

    def paint(points: Array) -> Array:
        x, z = points[..., 0] / h, points[..., 2] / h
        sole = smoothstep(0.0135, 0.0115, z - 0.006 * smoothstep(0.0, -0.04, x))
        colour = look.shoe + (look.sole - look.shoe) * sole[..., None]
        laces = (z > 0.024) * (x > 0.012) * (x < 0.062) * (np.abs(points[..., 1] - ankle[1]) < 0.010 * h)
        stripe = laces * (np.sin(x * 520.0) > 0.2)
        return np.asarray(colour + (look.sole - colour) * 0.7 * stripe[..., None])

    return Loft(stations, base=base, axis=(1.0, 0.0, 0.0), front=(0.0, 0.0, 1.0)).surface(
        weigh, paint, rings=16, columns=14, gloss=0.25, texture_size=(96, 64)
    )


def _skirt(skeleton: Skeleton, look: Look, seed: int) -> Surface:
    physique = skeleton.physique
    low = look.skirt

    def air(level: float) -> float:
        return 0.016 + 0.30 * max(0.0, 0.56 - level)

    stations = _trunk_stations(physique, 0.50, 0.61, air)
    first = stations[0]
    h = physique.height
    tail = []
    for share in (1.0, 0.66, 0.33):
        level = 0.50 + (low - 0.50) * share
        wide = 0.16 * share * (0.50 - low) * h
        tail.append(
            Station(
                physique.level(level), first.front + wide, first.back + wide, first.side + wide, square=first.square
            )
        )
    paint = painter(skeleton, look.bottom, seed + 24)
    return Loft([*tail, *stations]).surface(
        _trunk_weigher(skeleton), paint, rings=18, columns=28, texture_size=(160, 160)
    )


def _neckwear(skeleton: Skeleton, look: Look, seed: int) -> list[Surface]:
    physique = skeleton.physique
    h = physique.height
    surfaces = []
    neck = skeleton.rest[BONE["neck"]]
    if look.collar > 0:
        r = 0.044 * h
        rows = (
            (-0.022, 1.25),
            (-0.008, 1.22),
            (0.5 * look.collar, 1.08),
            (look.collar, 1.02),
            (look.collar + 0.004, 0.90),
        )
        stations = [Station(z, r * k, 0.95 * r * k, r * k) for z, k in rows]
        base = np.array([neck[0] + 0.006, 0.0, physique.level(0.845)])
        weigh = chain(["neck", "chest"], [float(base[2]) + 0.01], 0.03)
        shade = Fabric(look.scarf, look.scarf, "plain", 0.06)
        surfaces.append(
            Loft(stations, base=base).surface(
                weigh, painter(skeleton, shade, seed + 25), rings=9, columns=18, texture_size=(32, 96)
            )
        )
    if look.hood:
        rows = (
            (-0.055, 0.010, 0.030),
            (-0.040, 0.030, 0.070),
            (-0.010, 0.040, 0.085),
            (0.020, 0.030, 0.075),
            (0.032, 0.006, 0.03),
        )
        stations = [Station(z, r, r, w) for z, r, w in rows]
        base = np.array([neck[0] - 0.050 * h, 0.0, physique.level(0.822)])
        weigh = rigid("chest")
        paint = painter(skeleton, look.top, seed + 26)
        surfaces.append(Loft(stations, base=base).surface(weigh, paint, rings=9, columns=14, texture_size=(48, 64)))
    return surfaces


def _bag(skeleton: Skeleton, look: Look) -> list[Surface]:
    physique = skeleton.physique
    h = physique.height
    if look.bag == "backpack":
        rows = (
            (-0.11, 0.02, 0.05),
            (-0.10, 0.045, 0.078),
            (-0.05, 0.052, 0.086),
            (0.03, 0.048, 0.084),
            (0.075, 0.036, 0.074),
            (0.088, 0.010, 0.04),
        )
        stations = [Station(z * h, d * h, d * h, w * h, square=4.0) for z, d, w in rows]
        base = np.array([-0.100 * h - 0.3 * look.looseness, 0.0, physique.level(0.725)])
        paint = _bag_painter(look.bag_colour, base, h)
        return [Loft(stations, base=base).surface(rigid("chest"), paint, rings=14, columns=24, texture_size=(96, 128))]
    if look.bag == "shoulder":
        rows = (
            (-0.075, 0.03, 0.012),
            (-0.070, 0.070, 0.022),
            (0.0, 0.078, 0.026),
            (0.055, 0.070, 0.018),
            (0.062, 0.03, 0.006),
        )
        stations = [Station(z * h, d * h, d * h, w * h, square=4.5) for z, d, w in rows]
        base = np.array([-0.02 * h, -0.128 * h * physique.girth - look.looseness, physique.level(0.53)])
        paint = _bag_painter(look.bag_colour, base, h)
        return [Loft(stations, base=base).surface(rigid("pelvis"), paint, rings=12, columns=20, texture_size=(64, 96))]
    return []


def _bag_painter(colour: Array, base: Array, h: float) -> Painter:
    def paint(points: Array) -> Array:
        z = (points[..., 2] - base[2]) / h
        seam = smoothstep(0.004, 0.002, np.abs(z + 0.02)) + smoothstep(0.004, 0.002, np.abs(z - 0.05))
        return np.asarray(colour * (1.0 - 0.45 * np.clip(seam, 0, 1) + 0.12 * smoothstep(-0.1, 0.1, z))[..., None])

    return paint
