"""Upright things to walk around: posts, signs, benches, planters, boxes."""

import numpy as np

from . import plants, textures
from .stage import Panel
from .transforms import Array, Floats

_IRON = np.array([0.18, 0.19, 0.19])


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
    """A vertical panel whose bottom middle is at (x, y, base), metres; `turn` 0 faces -y, where the camera is."""
    along = np.array([np.cos(turn), np.sin(turn), 0.0]) * width
    corner = np.array([x, y, base + height]) - 0.5 * along
    return Panel(corner, along, np.array([0.0, 0.0, -height]), texture, shade, casts)


def box(
    middle: tuple[float, float], size: tuple[float, float, float], texture: Floats, eye: Array, *, base: float = 0.0
) -> list[Panel]:
    """The faces of an axis-aligned box (width, depth, height) that a camera at `eye`, in front of it, sees."""
    (x, y), (w, d, h) = middle, size
    panels = [upright(x, y - d / 2, w, h, texture, base=base)]
    if abs(eye[0] - x) > w / 2:
        sign = np.sign(eye[0] - x)
        panels.append(upright(x + sign * w / 2, y, d, h, texture, turn=sign * np.pi / 2, base=base, shade=0.65))
    if eye[2] > base + h:
        corner = np.array([x - w / 2, y + d / 2, base + h])
        panels.append(Panel(corner, np.array([w, 0.0, 0.0]), np.array([0.0, -d, 0.0]), texture, 1.25))
    return panels


def bench(rng: np.random.Generator, x: float, y: float, eye: Array) -> list[Panel]:
    """A slatted bench, 1.7 m, seen from the front: seat at 0.45 m and a back rest."""
    slat = textures.planks(rng, np.array([0.48, 0.34, 0.22]) * rng.uniform(0.8, 1.2), 1.7, 0.09)
    iron = textures.post(_IRON)
    panels = []
    for side in (-0.72, 0.72):
        panels += box((x + side, y), (0.05, 0.40, 0.43), iron, eye)
        panels += box((x + side, y + 0.24), (0.05, 0.04, 0.85), iron, eye)
    for back in (-0.15, -0.04, 0.07, 0.18):
        panels += box((x, y + back), (1.7, 0.09, 0.03), slat, eye, base=0.43)
    for level in (0.56, 0.68, 0.80):
        panels += box((x, y + 0.22), (1.7, 0.025, 0.09), slat, eye, base=level)
    return panels


def planter(rng: np.random.Generator, x: float, y: float, width: float, eye: Array) -> list[Panel]:
    """A stone trough with a clipped hedge in it."""
    stone = textures.wall(rng, width, 0.4, np.array([0.55, 0.53, 0.50]))
    green = plants.hedge(rng, width, 0.55)
    return [
        *box((x, y), (width, 0.45, 0.40), stone, eye),
        upright(x, y + 0.1, width * 0.96, 0.50, green, base=0.36, shade=0.75),
        upright(x, y - 0.1, width * 0.94, 0.45, green, base=0.36),
    ]


def lamp_post(x: float, y: float) -> list[Panel]:
    """A street lamp's post, 4.5 m, with a thicker foot."""
    iron = textures.post(_IRON)
    sizes = ((0.115, 4.5), (0.20, 0.75), (0.26, 0.12))
    return [upright(x, y - 0.01 * i, *size, iron) for i, size in enumerate(sizes)]


def sign_post(rng: np.random.Generator, x: float, y: float) -> list[Panel]:
    """A traffic sign on a grey post."""
    grey = textures.post(np.array([0.55, 0.56, 0.57]))
    return [upright(x, y, 0.06, 2.6, grey), upright(x, y - 0.03, 0.6, 0.6, textures.traffic_sign(rng), base=2.1)]


def bollard(x: float, y: float) -> list[Panel]:
    """A knee-high post with a white band."""
    return [upright(x, y, 0.14, 0.95, textures.post(_IRON, band=np.array([0.85, 0.85, 0.82])))]


def crate(rng: np.random.Generator, x: float, y: float, size: tuple[float, float, float], eye: Array) -> list[Panel]:
    """A box of some colour."""
    colour = rng.uniform(0.1, 0.75) * rng.uniform(0.5, 1.0, 3)
    return box((x, y), size, textures.wall(rng, size[0], size[2], colour), eye)
