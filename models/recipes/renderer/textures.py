"""Painted pictures of plain things: walls, posts, planks, signs, cars.

All pictures of things are `[h, w, 4]` float32: linear colour and cover. Sizes are metres; `PX` texels a metre.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .noise import noise2
from .surfaces import to_linear
from .transforms import Array, Floats

PX = 44.0
WallKind = Literal["plaster", "bricks", "panels", "curtain"]
WALL_KINDS: tuple[WallKind, ...] = ("plaster", "bricks", "panels", "curtain")

_CAR_PAINT = np.array(
    [
        (0.65, 0.67, 0.70),
        (0.12, 0.13, 0.15),
        (0.55, 0.10, 0.10),
        (0.14, 0.22, 0.40),
        (0.85, 0.85, 0.83),
        (0.30, 0.36, 0.34),
    ]
)
# Outlines of a car seen from its left: metres from the front bumper and above the road.
_CAR_BODY = (
    *((0.05, 0.35), (0.03, 0.70), (0.25, 0.86), (1.05, 0.93), (1.55, 1.38), (2.0, 1.47), (2.9, 1.45)),
    *((3.45, 1.05), (4.1, 0.96), (4.27, 0.75), (4.26, 0.35), (3.9, 0.25), (0.4, 0.25)),
)
_CAR_PARTS = (
    (((1.20, 0.96), (1.62, 1.34), (2.02, 1.40), (2.85, 1.38), (3.30, 1.02)), (0.16, 0.19, 0.22)),
    (((1.35, 1.0), (1.68, 1.31), (1.85, 1.34), (1.6, 1.0)), (0.42, 0.48, 0.52)),
    (((4.12, 0.70), (4.26, 0.68), (4.25, 0.84), (4.10, 0.86)), (0.55, 0.06, 0.05)),
    (((0.04, 0.66), (0.20, 0.68), (0.26, 0.80), (0.08, 0.74)), (0.9, 0.9, 0.86)),
)
_CAR_SIZE = (4.3, 1.5)


def finish(picture: Array, cover: Array | None = None) -> Floats:
    """Display colours and cover (None: everywhere) as a linear picture."""
    alpha = np.ones(picture.shape[:2], np.float32) if cover is None else cover.astype(np.float32)
    return np.dstack([to_linear(picture), alpha])


def plaster(rng: np.random.Generator, h: int, w: int, colour: Array) -> Floats:
    """Display colours of a wall with stains and streaks, `[h, w, 3]`."""
    stain = 0.045 * noise2(h, w, 60, rng) + 0.02 * noise2(h, w, 5, rng, 1)
    streak = 0.03 * cv2.resize(noise2(8, w, 4, rng, 2), (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(colour * (1.0 + stain + streak)[..., None], np.float32)


def bricks(rng: np.random.Generator, h: int, w: int, colour: Array) -> Floats:
    """Display colours of a brick wall, `[h, w, 3]`."""
    rows, columns = int(h / (0.085 * PX)) + 2, int(w / (0.25 * PX)) + 2
    tint = rng.normal(1.0, 0.09, (rows, columns)).astype(np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / PX
    row = (y / 0.085).astype(int)
    along = x / 0.25 + 0.5 * (row % 2)
    joint = ((y / 0.085) % 1.0 < 0.16) | (along % 1.0 < 0.06)
    brick = colour * tint[row % rows, along.astype(int) % columns][..., None]
    surface = np.where(joint[..., None], 0.6 * colour + 0.25, brick)
    return np.asarray(surface * (1.0 + 0.05 * noise2(h, w, 50, rng))[..., None], np.float32)


def wall(rng: np.random.Generator, width: float, height: float, colour: Array, kind: WallKind = "plaster") -> Floats:
    """A large plain surface."""
    h, w = round(height * PX), round(width * PX)
    if kind == "bricks":
        return finish(bricks(rng, h, w, colour))
    picture = plaster(rng, h, w, colour)
    x = np.arange(w) / PX
    if kind == "panels":
        picture[:, (x % 1.2) < 0.03] *= 0.7
        picture[(np.arange(h) / PX % 0.9) < 0.03] *= 0.75
    elif kind == "curtain":
        picture *= (1.0 + 0.22 * np.sin(x * 14.0 + 3.0 * np.sin(x * 2.1)))[None, :, None].astype(np.float32)
    return finish(picture)


def planks(rng: np.random.Generator, colour: Array, length: float, height: float) -> Floats:
    """Wood with its grain along the length."""
    h, w = max(4, round(height * PX * 2)), max(8, round(length * PX))
    grain = cv2.resize(noise2(h, max(4, w // 12), 3, rng), (w, h), interpolation=cv2.INTER_CUBIC)
    return finish(colour * (1.0 + 0.14 * grain)[..., None])


def post(colour: Array, *, band: Array | None = None) -> Floats:
    """A round post, darker towards its sides, with a band of another colour near the top."""
    x = np.linspace(-1, 1, 24)
    shade = 0.45 + 0.65 * np.sqrt(np.clip(1 - (x + 0.25) ** 2 / 1.6, 0, 1))
    picture = np.ones((96, 1, 1)) * colour * shade[None, :, None]
    if band is not None:
        picture[2:8] = band * shade[None, :, None]
    return finish(picture)


def traffic_sign(rng: np.random.Generator) -> Floats:
    """A round sign: red rim on white, or white rim on blue."""
    rim, middle = (0.75, 0.08, 0.08), (0.95, 0.95, 0.95)
    if rng.random() < 0.5:
        rim, middle = middle, (0.08, 0.25, 0.65)
    picture, cover = np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32)
    cv2.circle(cover, (32, 32), 30, 1.0, -1, cv2.LINE_AA)
    cv2.circle(picture, (32, 32), 32, rim, -1)
    cv2.circle(picture, (32, 32), 23, middle, -1, cv2.LINE_AA)
    return finish(picture, cover)


def car(rng: np.random.Generator) -> Floats:
    """Side view of a parked car, 4.3 m by 1.5 m."""
    scale = 2.0 * PX
    length, height = _CAR_SIZE
    h, w = int(height * scale), int(length * scale)

    def at(x: float, z: float) -> tuple[int, int]:
        return int(x * scale), int((height - z) * scale)

    def outline(points: tuple[tuple[float, float], ...]) -> list[NDArray[np.int32]]:
        return [np.array([at(*p) for p in points], np.int32)]

    colour = _CAR_PAINT[rng.integers(len(_CAR_PAINT))]
    z = np.linspace(height, 0.0, h)[:, None]
    shine = 0.45 * np.exp(-0.5 * ((z - 0.90) / 0.06) ** 2) + 0.25 * np.exp(-0.5 * ((z - 1.42) / 0.05) ** 2)
    light = 0.75 + shine - 0.35 * np.clip(0.55 - z, 0, 1)
    picture = np.tile((colour * light).astype(np.float32)[:, None, :], (1, w, 1))
    cover = np.zeros((h, w), np.float32)
    cv2.fillPoly(cover, outline(_CAR_BODY), 1.0, cv2.LINE_AA)
    for points, part_colour in _CAR_PARTS:
        cv2.fillPoly(picture, outline(points), part_colour, cv2.LINE_AA)
    cv2.line(picture, at(2.2, 0.32), at(2.2, 1.42), (0.45 * colour).tolist(), 4, cv2.LINE_AA)
    for x in (0.85, 3.42):
        cv2.circle(cover, at(x, 0.32), int(0.32 * scale), 1.0, -1, cv2.LINE_AA)
        for radius, grey in ((0.36, 0.05), (0.20, 0.56), (0.06, 0.25)):
            cv2.circle(picture, at(x, 0.32), int(radius * scale), (grey, grey, grey), -1, cv2.LINE_AA)
    return finish(picture, cover)
