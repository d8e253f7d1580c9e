"""Places: what stands where, what the ground is made of, how the sky looks.

World axes of every place: the camera is above (0, 0) and looks along +y on the whole; x runs to the right.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from . import textures
from .noise import noise2
from .stage import GroundPainter, Panel
from .transforms import Array, Floats, smoothstep

SkyPainter = Callable[[Array], Array]
PLACES = ("street", "park", "plaza", "hall")


@dataclass(frozen=True)
class Place:
    """A set to walk in.

    Attributes:
        sky: Colour of directions.
        ground: Colour of ground positions.
        panels: Everything upright.
        indoors: No sun; light from above.
    """

    sky: SkyPainter
    ground: GroundPainter
    panels: tuple[Panel, ...]
    indoors: bool = False


def upright(
    x: float,
    y: float,
    width: float,
    height: float,
    texture: Floats,
    *,
    turn: float = 0.0,
    base: float = 0.0,
    shade: float = 1.0,
    casts: bool = True,
) -> Panel:
    """A vertical panel whose bottom middle is at (x, y, base); `turn` 0 faces the camera's -y."""
    along = np.array([np.cos(turn), np.sin(turn), 0.0]) * width
    corner = np.array([x, y, base + height]) - 0.5 * along
    return Panel(corner, along, np.array([0.0, 0.0, -height]), texture, shade, casts)


class Tiles:
    """A repeating noise picture that can be looked up at ground positions."""

    def __init__(self, rng: np.random.Generator, size: int = 512) -> None:
        picture = noise2(size, size, 32, rng, 5)
        # Cross-fade the edges, so that it repeats without a seam.
        ramp = np.clip(np.arange(size) / 64.0, 0, 1).astype(np.float32)
        rolled = np.roll(picture, (size // 2, size // 2), (0, 1))
        edge = np.minimum.outer(np.minimum(ramp, ramp[::-1]), np.minimum(ramp, ramp[::-1]))
        self._picture = picture * edge + rolled * (1 - edge)
        self._size = size

    def at(self, x: Array, y: Array, lump: float) -> Floats:
        """Noise of about -1..1 whose largest lumps measure `lump` metres."""
        scale = 32.0 / lump
        u = np.mod(x * scale, self._size).astype(np.float32)
        v = np.mod(y * scale, self._size).astype(np.float32)
        return np.asarray(cv2.remap(self._picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def open_sky(rng: np.random.Generator, overcast: float) -> SkyPainter:
    """Blue above, pale at the horizon, clouds by `overcast` 0..1. Linear colour."""
    tiles = Tiles(rng)
    zenith = np.array([0.16, 0.33, 0.66]) * (1 - 0.5 * overcast) + 0.28 * overcast

    def paint(direction: Array) -> Array:
        z = np.clip(direction[..., 2], 0.0, 1.0)
        horizon = np.array([0.72, 0.78, 0.84])
        colour = horizon + (zenith - horizon) * smoothstep(0.0, 0.55, z)[..., None]
        high = np.maximum(z, 0.04)
        cloud = tiles.at(direction[..., 0] / high * 10 + 300, direction[..., 1] / high * 10 + 300, 24.0)
        cover = smoothstep(0.35 - 0.8 * overcast, 1.0 - 0.6 * overcast, cloud)
        return np.asarray(colour + (np.array([0.86, 0.87, 0.89]) - colour) * (0.85 * cover)[..., None])

    return paint


def _lines(value: Array, period: float, width: float, footprint: Array) -> Array:
    """Thin lines every `period`, fading where a pixel covers much more than a line."""
    distance = np.abs((value / period + 0.5) % 1.0 - 0.5) * period
    soft = np.maximum(width, footprint)
    return np.clip(1.5 - distance / (0.5 * soft), 0, 1) * (width / soft)


def _slabs(x: Array, y: Array, footprint: Array, tiles: Tiles, size: tuple[float, float], colour: Array) -> Array:
    """Paving stones, each of its own tone."""
    row = np.floor(y / size[1])
    shifted = x + 0.5 * size[0] * (row % 2)
    column = np.floor(shifted / size[0])
    tone = np.sin(row * 127.1 + column * 311.7) * 43758.5453
    tone = tone - np.floor(tone) - 0.5
    clear = np.clip(0.4 * size[1] / np.maximum(footprint, 1e-6), 0, 1)
    light = 1.0 + 0.10 * tone * clear + 0.10 * tiles.at(x, y, 2.5) + 0.05 * tiles.at(x, y, 0.12) * clear
    joint = np.maximum(_lines(y, size[1], 0.014, footprint), _lines(shifted, size[0], 0.014, 0.35 * footprint))
    return np.asarray(np.square(colour * (light * (1.0 - 0.35 * joint))[..., None]))


def _asphalt(x: Array, y: Array, footprint: Array, tiles: Tiles) -> Array:
    clear = np.clip(0.05 / np.maximum(footprint, 1e-6), 0, 1)
    light = 0.36 + 0.03 * tiles.at(x, y, 5.0) + 0.03 * tiles.at(x, y, 0.06) * clear
    return np.square(light[..., None] * np.array([1.0, 1.0, 1.03]))


def _grass(x: Array, y: Array, footprint: Array, tiles: Tiles, green: Array) -> Array:
    clear = np.clip(0.10 / np.maximum(footprint, 1e-6), 0, 1)
    light = 1.0 + 0.16 * tiles.at(x, y, 3.0) + 0.22 * tiles.at(x, 0.4 * y, 0.10) * clear
    return np.square(green * np.clip(light, 0.2, 2)[..., None])


def street_ground(rng: np.random.Generator, kerb: float, road: float, far_kerb: float) -> GroundPainter:
    """Pavement up to `kerb`, parking lane and road with a dashed line, pavement again beyond `far_kerb`."""
    tiles = Tiles(rng)
    stone = np.array([0.62, 0.60, 0.57]) * rng.uniform(0.88, 1.08)
    size = (rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.6))

    def paint(x: Array, y: Array, footprint: Array) -> Array:
        colour = _slabs(x, y, footprint, tiles, size, stone)
        tar = _asphalt(x, y, footprint, tiles)
        dash = np.clip(1.5 - np.abs(y - road) / np.maximum(0.06, 0.5 * footprint), 0, 1) * ((x / 3.0) % 1.0 < 0.55)
        tar = tar + (0.55 - tar) * (0.8 * dash * np.clip(0.12 / np.maximum(footprint, 0.12), 0, 1))[..., None]
        on_road = smoothstep(kerb, kerb + 0.03, y) * smoothstep(far_kerb + 0.03, far_kerb, y)
        colour = colour + (tar - colour) * on_road[..., None]
        for at in (kerb, far_kerb):
            stones = np.clip(1.2 - np.abs(y - at) / np.maximum(0.09, 0.5 * footprint), 0, 1)
            colour = colour + (np.square(stone * 1.12) - colour) * stones[..., None]
        return colour

    return paint


def park_ground(rng: np.random.Generator, near: float, far: float) -> GroundPainter:
    """A gravel path between lawns."""
    tiles = Tiles(rng)
    green = np.array([rng.uniform(0.30, 0.42), rng.uniform(0.42, 0.52), rng.uniform(0.18, 0.26)])
    gravel = np.array([0.62, 0.56, 0.48]) * rng.uniform(0.9, 1.1)

    def paint(x: Array, y: Array, footprint: Array) -> Array:
        wander = 0.25 * tiles.at(x, np.zeros_like(x), 4.0)
        lawn = _grass(x, y, footprint, tiles, green)
        clear = np.clip(0.05 / np.maximum(footprint, 1e-6), 0, 1)
        light = 1.0 + 0.08 * tiles.at(x, y, 2.0) + 0.13 * tiles.at(x, y, 0.05) * clear
        path = np.square(gravel * light[..., None])
        on_path = smoothstep(near - 0.1, near + 0.1, y + wander) * smoothstep(far + 0.1, far - 0.1, y + wander)
        return np.asarray(lawn + (path - lawn) * on_path[..., None])

    return paint


def street(rng: np.random.Generator, *, overcast: float, depth: float = 12.5) -> Place:
    """A street seen across its pavement: parked cars, trees and house fronts on the far side."""
    kerb, far_kerb = depth, depth + 7.0
    front = far_kerb + 3.0
    panels = []
    x = -34.0 - rng.uniform(0, 6)
    while x < 34.0:
        width, height = rng.uniform(7.5, 13.0), rng.uniform(9.0, 15.0)
        set_back = rng.uniform(0.0, 0.25)
        panels.append(
            upright(
                x + width / 2, front + set_back, width, height, textures.house_front(rng, width, height), casts=False
            )
        )
        x += width
    kinds = [textures.tree(rng, 4.0, 6.0) for _ in range(3)]
    for side in range(-3, 4):
        if rng.random() < 0.75:
            size = (rng.uniform(3.2, 4.6), rng.uniform(5.0, 7.0))
            x = side * 8.5 + rng.uniform(-1.5, 1.5)
            panels.append(upright(x, far_kerb + 0.9, *size, kinds[rng.integers(len(kinds))]))
    x = -22.0 + rng.uniform(0, 4)
    while x < 22.0:
        if rng.random() < 0.7:
            panels.append(upright(x, far_kerb - 1.1, 4.3, 1.5, textures.car(rng)))
        x += rng.uniform(5.0, 7.5)
    return Place(open_sky(rng, overcast), street_ground(rng, kerb, kerb + 3.4, far_kerb), tuple(panels))


def park(rng: np.random.Generator, *, overcast: float) -> Place:
    """Lawn, a path, trees at several distances, a hedge at the back."""
    kinds = [textures.tree(rng, 5.0, 7.0) for _ in range(4)]
    kinds += [np.ascontiguousarray(kind[:, ::-1]) for kind in kinds]
    panels = []
    for _ in range(26):
        size = (rng.uniform(3.5, 6.5), rng.uniform(5.5, 9.0))
        panels.append(upright(rng.uniform(-30, 30), rng.uniform(15, 42), *size, kinds[rng.integers(len(kinds))]))
    green = textures.hedge(rng, 10.0, 5.0)
    for x in np.arange(-50, 50, 9.0):
        panels.append(upright(float(x), 46.0, 10.0, 5.0, green, shade=0.8, casts=False))
    return Place(open_sky(rng, overcast), park_ground(rng, 3.0 + rng.uniform(-1, 2), 11.0), tuple(panels))


def plaza(rng: np.random.Generator, *, overcast: float) -> Place:
    """A square: paving all over, fronts on three sides, a few trees."""
    tiles = Tiles(rng)
    stone = np.array([0.64, 0.58, 0.52]) * rng.uniform(0.85, 1.1)
    size = (rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.0))

    def ground(x: Array, y: Array, footprint: Array) -> Array:
        return _slabs(x, y, footprint, tiles, size, stone)

    panels = []
    back = rng.uniform(16.0, 26.0)
    x = -24.0
    while x < 24.0:
        width, height = rng.uniform(8, 14), rng.uniform(9, 16)
        panels.append(
            upright(x + width / 2, back, width, height, textures.house_front(rng, width, height), casts=False)
        )
        x += width
    for sign in (-1.0, 1.0):
        y = back
        while y > 2.0:
            width, height = rng.uniform(8, 12), rng.uniform(9, 14)
            turn = -sign * np.pi / 2
            texture = textures.house_front(rng, width, height)
            panels.append(
                upright(sign * 22.0, y - width / 2, width, height, texture, turn=turn, shade=0.72, casts=False)
            )
            y -= width
    for _ in range(int(rng.integers(0, 5))):
        w, h = rng.uniform(3, 4.5), rng.uniform(4.5, 6.5)
        panels.append(upright(rng.uniform(-15, 15), rng.uniform(13, back - 1), w, h, textures.tree(rng, w, h)))
    return Place(open_sky(rng, overcast), ground, tuple(panels))


def hall(rng: np.random.Generator) -> Place:
    """A large room: boards or tiles, plain walls, windows."""
    tiles = Tiles(rng)
    floor = rng.uniform(0.35, 0.75) * np.array([1.0, rng.uniform(0.82, 1.0), rng.uniform(0.65, 1.0)])
    size = (rng.uniform(0.6, 2.4), rng.uniform(0.1, 0.6))

    def ground(x: Array, y: Array, footprint: Array) -> Array:
        return _slabs(x, y, footprint, tiles, size, floor)

    def ceiling(direction: Array) -> Array:
        up = np.maximum(direction[..., 2:], 0.02)
        lamp = (np.abs((direction[..., :2] / up * 1.5) % 2.0 - 1.0) < 0.35).all(axis=-1)
        return np.asarray(np.where(lamp[..., None], 1.2, 0.42) * np.array([1.0, 0.98, 0.94]))

    back, height = rng.uniform(9.0, 18.0), rng.uniform(3.2, 6.0)
    kinds = ("plaster", "bricks", "panels", "curtain")
    tint = np.clip(rng.uniform(0.45, 0.9) * (1 + rng.uniform(-0.18, 0.18, 3)), 0, 0.95)
    panels = [
        upright(
            0.0, back, 40.0, height, textures.wall(rng, 40.0, height, tint, kind=str(rng.choice(kinds))), casts=False
        )
    ]
    side = textures.wall(rng, 24.0, height, tint, kind="plaster")
    for sign in (-1.0, 1.0):
        panels.append(
            upright(
                sign * rng.uniform(7, 12),
                back - 12.0,
                24.0,
                height,
                side,
                turn=-sign * np.pi / 2,
                shade=0.8,
                casts=False,
            )
        )
    for _ in range(int(rng.integers(2, 8))):
        w, h = rng.uniform(0.5, 2.5), rng.uniform(0.5, 2.2)
        base = float(rng.choice([0.0, rng.uniform(0.3, 1.2)]))
        colour = rng.uniform(0.1, 0.9, 3)
        panels.append(
            upright(
                rng.uniform(-8, 8),
                back - 0.05 - 0.3 * (base == 0),
                w,
                h,
                textures.wall(rng, w, h, colour, kind="plaster"),
                base=base,
            )
        )
    return Place(ceiling, ground, tuple(panels), indoors=True)


def box(
    middle: tuple[float, float], size: tuple[float, float, float], texture: Floats, *, base: float = 0.0, eye: Array
) -> list[Panel]:
    """The faces of an axis-aligned box (width, depth, height) that a camera at `eye` can see."""
    x, y = middle
    w, d, h = size
    panels = [upright(x, y - d / 2, w, h, texture, base=base)]
    if eye[0] < x - w / 2:
        panels.append(upright(x - w / 2, y, d, h, texture, turn=-np.pi / 2, base=base, shade=0.65))
    if eye[0] > x + w / 2:
        panels.append(upright(x + w / 2, y, d, h, texture, turn=np.pi / 2, base=base, shade=0.65))
    if eye[2] > base + h:
        corner = np.array([x - w / 2, y + d / 2, base + h])
        panels.append(Panel(corner, np.array([w, 0.0, 0.0]), np.array([0.0, -d, 0.0]), texture, 1.25))
    return panels


def bench(rng: np.random.Generator, x: float, y: float, eye: Array) -> list[Panel]:
    """A slatted bench, 1.7 m, seen from the front: seat at 0.45 m and a back rest."""
    wood = np.array([0.48, 0.34, 0.22]) * rng.uniform(0.8, 1.2)
    slat = textures.planks(rng, wood, 1.7, 0.09)
    iron = textures.post(np.array([0.16, 0.16, 0.17]))
    panels = []
    for side in (-0.72, 0.72):
        panels += box((x + side, y), (0.05, 0.40, 0.43), iron, eye=eye)
        panels += box((x + side, y + 0.24), (0.05, 0.04, 0.85), iron, eye=eye)
    for back in (-0.15, -0.04, 0.07, 0.18):
        panels += box((x, y + back), (1.7, 0.09, 0.03), slat, base=0.43, eye=eye)
    for level in (0.56, 0.68, 0.80):
        panels += box((x, y + 0.22), (1.7, 0.025, 0.09), slat, base=level, eye=eye)
    return panels


def planter(rng: np.random.Generator, x: float, y: float, width: float, eye: Array) -> list[Panel]:
    """A stone trough with a clipped hedge in it."""
    stone = textures.wall(rng, width, 0.4, np.array([0.55, 0.53, 0.50]), kind="plaster")
    green = textures.hedge(rng, width, 0.55)
    return [
        *box((x, y), (width, 0.45, 0.40), stone, eye=eye),
        upright(x, y + 0.1, width * 0.96, 0.50, green, base=0.36, shade=0.75),
        upright(x, y - 0.1, width * 0.94, 0.45, green, base=0.36),
    ]


def lamp_post(x: float, y: float) -> list[Panel]:
    """A street lamp's post, 4.5 m, with a thicker foot."""
    iron = textures.post(np.array([0.20, 0.23, 0.22]))
    return [
        upright(x, y, 0.115, 4.5, iron),
        upright(x, y - 0.01, 0.20, 0.75, iron),
        upright(x, y - 0.02, 0.26, 0.12, iron),
    ]


def sign_post(rng: np.random.Generator, x: float, y: float) -> list[Panel]:
    """A traffic sign on a grey post."""
    grey = textures.post(np.array([0.55, 0.56, 0.57]))
    picture = np.zeros((64, 64, 3), np.float32)
    cover = np.zeros((64, 64), np.float32)
    rim, middle = (
        ((0.75, 0.08, 0.08), (0.95, 0.95, 0.95)) if rng.random() < 0.5 else ((0.95, 0.95, 0.95), (0.08, 0.25, 0.65))
    )
    cv2.circle(cover, (32, 32), 30, 1.0, -1, cv2.LINE_AA)
    cv2.circle(picture, (32, 32), 32, rim, -1)
    cv2.circle(picture, (32, 32), 23, middle, -1, cv2.LINE_AA)
    disc = np.dstack([np.square(picture), cover])
    return [upright(x, y, 0.06, 2.6, grey), upright(x, y - 0.03, 0.6, 0.6, disc, base=2.1)]


def bollard(x: float, y: float) -> list[Panel]:
    """A knee-high post with a white band."""
    return [
        upright(x, y, 0.14, 0.95, textures.post(np.array([0.15, 0.16, 0.17]), bands=(np.array([0.85, 0.85, 0.82]),)))
    ]
