"""Clothes over a body, and the figure that comes of it."""

from dataclasses import dataclass

import numpy as np

from . import accessories
from .body import ARM, LEG, Cloth, arm_loft, arm_weigher, hand_surfaces, leg_loft, leg_weigher, neck_surface
from .fabric import Fabric, painter
from .face import FaceLook
from .head import head_surfaces
from .skeleton import BONE, SIDES, Skeleton
from .surfaces import Figure, Loft, Painter, Station, Surface, assemble, chain, stations
from .transforms import Array, smoothstep
from .trunk import CROTCH, NECK, trunk_stations, trunk_weigher

# Distance from the ankle towards the toes, height of the upper and depth of the sole about the shoe's middle,
# half-width: fractions of stature.
_SHOE = (
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
_SHOE_MIDDLE = 0.020


@dataclass(frozen=True)
class Look:
    """Everything visible of a person. Colours are display colours 0..1, `[3]`.

    Attributes:
        face: Head and hair.
        top: Cloth of the upper body.
        sleeve: Share of the arm that is covered: 0 (none), 0.45 (T-shirt), 1 (to the wrist).
        hem: Level at which the top ends, fraction of stature: 0.56 tucked in, 0.50 shirt, 0.38 coat.
        looseness: Air between the top and the body, metres.
        bottom: Cloth of the legs, or of the skirt.
        leg_cover: Share of the legs covered by trousers: 0 (none), 0.45 (shorts), 1.
        leg_width: Width added at the trousers' hem, metres.
        skirt: Level at which a skirt ends, fraction of stature; None without a skirt.
        hose: Colour of stockings or socks; None for bare legs.
        shoe: Colour of the uppers.
        sole: Colour of the soles.
        hood: Whether a hood hangs at the neck.
        collar: Height of a collar or scarf, metres; 0 for none.
        scarf: Its colour.
        bag: "none", "backpack" or "shoulder".
        bag_colour: Its colour.
    """

    face: FaceLook
    top: Fabric
    sleeve: float
    hem: float
    looseness: float
    bottom: Fabric
    leg_cover: float
    leg_width: float
    skirt: float | None
    hose: Array | None
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
    skin, hand = _skin_painter(skeleton, look.face.skin), _hand_painter(skeleton, look.face.skin)
    surfaces = [
        *head_surfaces(skeleton, look.face, seed),
        neck_surface(skeleton, skin),
        _hips(skeleton, look, seed),
        _top(skeleton, look, seed),
    ]
    for side, sign in SIDES:
        surfaces += _arm(skeleton, look, side, skin, seed)
        surfaces += hand_surfaces(skeleton, side, sign, hand)
        surfaces += _leg(skeleton, look, side, skin, seed)
        surfaces.append(_shoe(skeleton, look, side))
    if look.skirt is not None:
        surfaces.append(_skirt(skeleton, look, look.skirt, seed))
    if look.collar > 0:
        surfaces.append(accessories.collar(skeleton, look.collar, look.scarf, seed + 25))
    if look.hood:
        surfaces.append(accessories.hood(skeleton, look.top, seed + 26))
    if look.bag == "backpack":
        surfaces.append(accessories.backpack(skeleton, look.bag_colour, look.looseness))
    elif look.bag == "shoulder":
        surfaces.append(accessories.shoulder_bag(skeleton, look.bag_colour, look.looseness))
    return assemble(surfaces, detail=detail)


def _skin_painter(skeleton: Skeleton, skin: Array) -> Painter:
    """Skin, shaded under the chin."""
    head = float(skeleton.physique.head_centre[2])
    neck = float(skeleton.rest[BONE["neck"], 2])

    def paint(points: Array) -> Array:
        x, z = points[..., 0], points[..., 2]
        under = smoothstep(neck - 0.01, neck + 0.05, z) * smoothstep(head + 0.02, head - 0.06, z)
        return np.asarray(skin * (1.0 - 0.30 * under * smoothstep(-0.10, 0.02, x))[..., None])

    return paint


def _hand_painter(skeleton: Skeleton, skin: Array) -> Painter:
    """Skin with the gaps between the fingers."""
    knuckle = float(skeleton.rest[BONE["left_hand"], 2]) - 0.045 * skeleton.physique.height

    def paint(points: Array) -> Array:
        fingers = smoothstep(knuckle, knuckle - 0.02, points[..., 2])
        gaps = smoothstep(0.80, 0.98, np.abs(np.cos((points[..., 0] + 0.004) * np.pi / 0.020)))
        return np.asarray(skin * (1.0 - 0.40 * fingers * gaps)[..., None])

    return paint


def _hips(skeleton: Skeleton, look: Look, seed: int) -> Surface:
    rings = trunk_stations(skeleton.physique, CROTCH, 0.60, lambda _: 0.006, hangs=False)
    closed = [Station(rings[0].at - 0.004, 0.003, 0.003, 0.003), *rings]
    paint = painter(skeleton, look.bottom, seed + 20)
    return Loft(closed).surface(trunk_weigher(skeleton), paint, rings=12, columns=24, texture_size=(64, 160))


def _top(skeleton: Skeleton, look: Look, seed: int) -> Surface:
    def air(level: float) -> float:
        # Loose over the waist, close at the shoulders; long garments widen downwards.
        shoulders = float(smoothstep(0.74, 0.81, level))
        return 0.010 + look.looseness * (1.0 - 0.75 * shoulders) + 0.25 * max(0.0, 0.50 - level)

    paint = painter(skeleton, look.top, seed + 21)
    if look.bag != "none":
        paint = accessories.with_straps(paint, skeleton.physique, look.bag, look.bag_colour)
    loft = Loft(trunk_stations(skeleton.physique, look.hem, NECK, air, hangs=True))
    return loft.surface(trunk_weigher(skeleton), paint, rings=30, columns=28, texture_size=(224, 240))


def _skirt(skeleton: Skeleton, look: Look, hem: float, seed: int) -> Surface:
    def air(level: float) -> float:
        return 0.016 + 0.30 * max(0.0, 0.56 - level)

    middle = [hem + (0.50 - hem) * share for share in (0.34, 0.67)]
    low = [trunk_stations(skeleton.physique, level, 0.61, air, hangs=True)[0] for level in (hem, *middle)]
    rings = [*low, *trunk_stations(skeleton.physique, 0.50, 0.61, air, hangs=True)]
    paint = painter(skeleton, look.bottom, seed + 24)
    return Loft(rings).surface(trunk_weigher(skeleton), paint, rings=18, columns=28, texture_size=(160, 160))


def _arm(skeleton: Skeleton, look: Look, side: str, skin: Painter, seed: int) -> list[Surface]:
    """A sleeve, and the bare arm that comes out of it."""
    weigh = arm_weigher(skeleton, side)
    if look.sleeve <= 0.05:
        return [arm_loft(skeleton, side).surface(weigh, skin, rings=20, columns=12, texture_size=(64, 64))]
    loose = 0.006 + 0.55 * look.looseness
    edge = 0.020 if look.sleeve < 0.8 else 0.006
    end = ARM.length * look.sleeve
    cloth: Cloth = ((0.02, 0.002), (-0.06, loose), (-0.7 * end, loose + 0.3 * edge), (-end, edge + 0.3 * loose))
    sleeve = arm_loft(skeleton, side, cloth=cloth, bottom=-end).surface(
        weigh,
        painter(skeleton, look.top, seed + 22),
        rings=max(8, int(18 * look.sleeve)),
        columns=14,
        texture_size=(128, 96),
    )
    if look.sleeve > 0.98:
        return [sleeve]
    bare = arm_loft(skeleton, side, top=0.05 - end)
    return [sleeve, bare.surface(weigh, skin, rings=12, columns=12, texture_size=(64, 64))]


def _leg(skeleton: Skeleton, look: Look, side: str, skin: Painter, seed: int) -> list[Surface]:
    """A trouser leg, and the leg or stocking that comes out of it."""
    weigh, hose = leg_weigher(skeleton, side), look.hose
    below = skin if hose is None else lambda points: np.broadcast_to(hose, points.shape)
    parts, top = [], 1.0
    if look.leg_cover > 0.1:
        end, width = LEG.length * look.leg_cover, look.leg_width
        cloth: Cloth = ((0.0, 0.007), (-0.5 * end, 0.006 + 0.5 * width), (-end, 0.008 + width))
        trousers = leg_loft(skeleton, side, cloth=cloth, bottom=-end)
        paint, rings = painter(skeleton, look.bottom, seed + 23), max(10, int(24 * look.leg_cover))
        parts.append(trousers.surface(weigh, paint, rings=rings, columns=14, texture_size=(160, 96)))
        top = 0.10 - end
    bare = leg_loft(skeleton, side, top=top)
    return [*parts, bare.surface(weigh, below, rings=14, columns=12, texture_size=(64, 64))]


def _shoe(skeleton: Skeleton, look: Look, side: str) -> Surface:
    h = skeleton.physique.height
    ankle = skeleton.rest[BONE[f"{side}_foot"]]
    base = np.array([ankle[0], ankle[1], _SHOE_MIDDLE * h])
    weigh = chain([f"{side}_toes", f"{side}_foot"], [float(ankle[0]) + 0.070 * h], 0.012 * h, axis=0)

    def paint(points: Array) -> Array:
        x, y, z = (points[..., 0] - ankle[0]) / h, (points[..., 1] - ankle[1]) / h, points[..., 2] / h
        sole = smoothstep(0.0135, 0.0115, z - 0.006 * smoothstep(0.0, -0.04, x))
        colour = look.shoe + (look.sole - look.shoe) * sole[..., None]
        tongue = (z > 0.024) & (x > 0.012) & (x < 0.062) & (np.abs(y) < 0.010)
        laces = 0.7 * (tongue & (np.sin(x * 520.0) > 0.2))
        return np.asarray(colour + (look.sole - colour) * laces[..., None])

    loft = Loft(stations(_SHOE, h, square=2.6), base=base, axis=(1.0, 0.0, 0.0), front=(0.0, 0.0, 1.0))
    return loft.surface(weigh, paint, rings=16, columns=14, gloss=0.25, texture_size=(96, 64))
