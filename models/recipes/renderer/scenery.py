"""Places: what the ground is made of, what stands around, how the sky looks.

World axes of every place: the camera is above (0, 0) and looks along +y on the whole; x runs to the right.
"""

from dataclasses import dataclass

import numpy as np

from . import plants, textures
from .ground import GroundPainter, SkyPainter, lit_ceiling, open_sky, park_ground, slabs, street_ground
from .houses import house_front
from .props import upright
from .stage import Panel
from .transforms import Floats

PLACES = ("street", "park", "plaza", "hall")


@dataclass(frozen=True)
class Place:
    """A set to walk in.

    Attributes:
        sky: Colour of directions.
        ground: Colour of ground positions in even light.
        panels: Everything upright.
        indoors: Light comes from above, not from a sun.
    """

    sky: SkyPainter
    ground: GroundPainter
    panels: tuple[Panel, ...]
    indoors: bool = False


def make_place(rng: np.random.Generator, kind: str, overcast: float) -> Place:
    """One of `PLACES`."""
    if kind == "street":
        return street(rng, overcast=overcast, depth=float(rng.uniform(9.0, 14.0)))
    if kind == "park":
        return park(rng, overcast=overcast)
    if kind == "plaza":
        return plaza(rng, overcast=overcast)
    if kind == "hall":
        return hall(rng)
    raise ValueError(f"no place {kind!r}")


def _row_of_houses(rng: np.random.Generator, y: float, half: float) -> list[Panel]:
    """Fronts side by side from -half to half."""
    panels = []
    x = -half - rng.uniform(0, 6)
    while x < half:
        width, height = rng.uniform(7.5, 13.0), rng.uniform(9.0, 15.0)
        front = house_front(rng, width, height)
        panels.append(upright(x + width / 2, y + rng.uniform(0.0, 0.25), width, height, front, casts=False))
        x += width
    return panels


def _tree_kinds(rng: np.random.Generator, count: int) -> list[Floats]:
    """A few trees and their mirror images."""
    kinds = [plants.tree(rng, 4.5, 6.5) for _ in range(count)]
    return kinds + [np.ascontiguousarray(kind[:, ::-1]) for kind in kinds]


def street(rng: np.random.Generator, *, overcast: float, depth: float = 12.5) -> Place:
    """A street seen across its pavement, `depth` metres deep: parked cars, trees and house fronts beyond."""
    kerb, far_kerb = depth, depth + 7.0
    panels = _row_of_houses(rng, far_kerb + 3.0, 34.0)
    trees = _tree_kinds(rng, 3)
    for number in range(-3, 4):
        if rng.random() < 0.75:
            size = (rng.uniform(3.2, 4.6), rng.uniform(5.0, 7.0))
            x = number * 8.5 + rng.uniform(-1.5, 1.5)
            panels.append(upright(x, far_kerb + 0.9, *size, trees[rng.integers(len(trees))]))
    x = -22.0 + rng.uniform(0, 4)
    while x < 22.0:
        if rng.random() < 0.7:
            panels.append(upright(x, far_kerb - 1.1, 4.3, 1.5, textures.car(rng)))
        x += rng.uniform(5.0, 7.5)
    return Place(open_sky(rng, overcast), street_ground(rng, kerb, kerb + 3.4, far_kerb), tuple(panels))


def park(rng: np.random.Generator, *, overcast: float) -> Place:
    """Lawn, a path, trees at several distances, a hedge at the back."""
    trees = _tree_kinds(rng, 4)
    panels = []
    for _ in range(26):
        x, y, w, h = rng.uniform((-30, 15, 3.5, 5.5), (30, 42, 6.5, 9.0))
        panels.append(upright(x, y, w, h, trees[rng.integers(len(trees))]))
    green = plants.hedge(rng, 10.0, 5.0)
    panels += [upright(float(x), 46.0, 10.0, 5.0, green, shade=0.8, casts=False) for x in np.arange(-50, 50, 9.0)]
    return Place(open_sky(rng, overcast), park_ground(rng, rng.uniform(2.0, 5.0), 11.0), tuple(panels))


def plaza(rng: np.random.Generator, *, overcast: float) -> Place:
    """A square: paving all over, fronts on three sides, a few trees."""
    stone = np.array([0.64, 0.58, 0.52]) * rng.uniform(0.85, 1.1)
    ground = slabs(rng, (rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.0)), stone)
    back = rng.uniform(16.0, 26.0)
    panels = _row_of_houses(rng, back, 24.0)
    for sign in (-1.0, 1.0):
        y = back
        while y > 2.0:
            width, height = rng.uniform(8, 12), rng.uniform(9, 14)
            front, turn = house_front(rng, width, height), -sign * np.pi / 2
            panels.append(upright(sign * 22.0, y - width / 2, width, height, front, turn=turn, shade=0.72, casts=False))
            y -= width
    for _ in range(int(rng.integers(0, 5))):
        x, y, w, h = rng.uniform((-15, 13, 3.0, 4.5), (15, back - 1, 4.5, 6.5))
        panels.append(upright(x, y, w, h, plants.tree(rng, 4.0, 6.0)))
    return Place(open_sky(rng, overcast), ground, tuple(panels))


def hall(rng: np.random.Generator) -> Place:
    """A large room: boards or tiles, walls, things along the back wall."""
    floor = rng.uniform(0.35, 0.75) * np.array([1.0, rng.uniform(0.82, 1.0), rng.uniform(0.65, 1.0)])
    ground = slabs(rng, (rng.uniform(0.6, 2.4), rng.uniform(0.1, 0.6)), floor)
    back, height = rng.uniform(9.0, 18.0), rng.uniform(3.2, 6.0)
    tint = np.clip(rng.uniform(0.45, 0.9) * (1 + rng.uniform(-0.18, 0.18, 3)), 0, 0.95)
    kind = textures.WALL_KINDS[rng.integers(len(textures.WALL_KINDS))]
    panels = [upright(0.0, back, 40.0, height, textures.wall(rng, 40.0, height, tint, kind), casts=False)]
    side = textures.wall(rng, 24.0, height, tint)
    for sign in (-1.0, 1.0):
        x, turn = sign * rng.uniform(7, 12), -sign * np.pi / 2
        panels.append(upright(x, back - 12.0, 24.0, height, side, turn=turn, shade=0.8, casts=False))
    for _ in range(int(rng.integers(2, 8))):
        x, w, h = rng.uniform((-8, 0.5, 0.5), (8, 2.5, 2.2))
        colour = rng.uniform(0.1, 0.9) * rng.uniform(0.5, 1.0, 3)
        # On the floor before the wall, or hung on it.
        base, before = (0.0, 0.35) if rng.random() < 0.5 else (rng.uniform(0.3, 1.2), 0.05)
        panels.append(upright(x, back - before, w, h, textures.wall(rng, w, h, colour), base=base))
    return Place(lit_ceiling, ground, tuple(panels), indoors=True)
