"""Painted pictures of things that stand about: house fronts, trees, hedges, cars, walls.

All return `[h, w, 4]` float32: linear colour and cover. Sizes are metres; `PX` texels a metre.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .noise import noise2
from .surfaces import to_linear
from .transforms import Array, Floats

PX = 44.0


def _finish(picture: Array, cover: Array | None = None) -> Floats:
    alpha = np.ones(picture.shape[:2], np.float32) if cover is None else cover.astype(np.float32)
    return np.dstack([to_linear(picture), alpha])


def _rect(picture: Floats, box_m: tuple[float, float, float, float], colour: Array) -> None:
    """Fill (left, top, right, bottom) in metres."""
    left, top, right, bottom = (round(v * PX) for v in box_m)
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), tuple(float(c) for c in colour), -1)


def _plaster(rng: np.random.Generator, h: int, w: int, colour: Array) -> Floats:
    stain = 0.045 * noise2(h, w, 60, rng) + 0.02 * noise2(h, w, 5, rng, 1)
    streak = 0.03 * cv2.resize(noise2(8, w, 4, rng, 2), (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(colour * (1.0 + stain + streak)[..., None], np.float32)


def _bricks(rng: np.random.Generator, h: int, w: int, colour: Array) -> Floats:
    rows, columns = int(h / (0.085 * PX)) + 2, int(w / (0.25 * PX)) + 2
    tint = rng.normal(1.0, 0.09, (rows, columns)).astype(np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / PX
    row = (y / 0.085).astype(int)
    column_at = x / 0.25 + 0.5 * (row % 2)
    column = column_at.astype(int)
    joint = ((y / 0.085) % 1.0 < 0.16) | (column_at % 1.0 < 0.06)
    wall = colour * tint[row % rows, column % columns][..., None]
    wall = np.where(joint[..., None], 0.6 * colour + 0.25, wall)
    return np.asarray(wall * (1.0 + 0.05 * noise2(h, w, 50, rng))[..., None], np.float32)


@dataclass(frozen=True)
class _Front:
    """Measures of one house front, metres."""

    width: float
    height: float
    storey: float
    window: tuple[float, float]
    pitch: float


def house_front(rng: np.random.Generator, width: float, height: float) -> Floats:
    """A street front: shop or flat on the ground floor, rows of windows above, a cornice."""
    h, w = round(height * PX), round(width * PX)
    palette = np.array(
        [
            (0.78, 0.72, 0.62),
            (0.70, 0.50, 0.42),
            (0.85, 0.80, 0.72),
            (0.62, 0.62, 0.60),
            (0.74, 0.64, 0.48),
            (0.56, 0.42, 0.36),
            (0.66, 0.70, 0.72),
            (0.80, 0.68, 0.60),
        ]
    )
    colour = np.clip(palette[rng.integers(len(palette))] * rng.uniform(0.85, 1.1), 0, 0.92)
    wall = _bricks(rng, h, w, colour) if rng.random() < 0.45 else _plaster(rng, h, w, colour)
    front = _Front(
        width, height, rng.uniform(3.0, 3.5), (rng.uniform(1.0, 1.5), rng.uniform(1.5, 1.9)), rng.uniform(2.1, 2.9)
    )
    ground = rng.uniform(3.6, 4.2)
    trim = np.clip(colour * rng.choice([0.65, 1.25]), 0.0, 0.95)
    blind = rng.uniform(0.5, 0.9, 3)
    columns = max(1, int((width - 0.6) / front.pitch))
    start = (width - columns * front.pitch) / 2 + (front.pitch - front.window[0]) / 2
    level = height - ground
    while level > front.storey * 0.8:
        top = level - front.storey * 0.18 - front.window[1]
        for i in range(columns):
            _window(wall, rng, (start + i * front.pitch, top), front.window, trim, blind)
        _rect(wall, (0.0, level - 0.10, width, level), trim)
        level -= front.storey
    _rect(wall, (0.0, 0.0, width, 0.35), trim)
    _rect(wall, (0.0, 0.35, width, 0.45), 0.6 * trim)
    _ground_floor(wall, rng, width, height, ground)
    return _finish(wall)


def _window(
    wall: Floats,
    rng: np.random.Generator,
    corner: tuple[float, float],
    size: tuple[float, float],
    trim: Array,
    blind: Array,
) -> None:
    x, y = corner
    w, h = size
    _rect(wall, (x - 0.10, y - 0.10, x + w + 0.10, y + h + 0.06), trim)
    _rect(wall, (x - 0.16, y + h + 0.04, x + w + 0.16, y + h + 0.14), np.clip(trim * 1.1, 0, 1))
    _glass(wall, rng, (x, y, x + w, y + h))
    if rng.random() < 0.55:
        cut = y + h * rng.uniform(0.25, 0.8)
        _rect(wall, (x, y, x + w, cut), blind * rng.uniform(0.8, 1.0))
    frame = np.full(3, rng.choice([0.9, 0.85, 0.25]))
    for left in (x, x + w / 2 - 0.03, x + w - 0.06):
        _rect(wall, (left, y, left + 0.06, y + h), frame)
    for top in (y, y + 0.35 * h, y + h - 0.06):
        _rect(wall, (x, top, x + w, top + 0.05), frame)


def _glass(wall: Floats, rng: np.random.Generator, box_m: tuple[float, float, float, float]) -> None:
    """Dark glass that mirrors some sky towards the top."""
    left, top, right, bottom = (round(v * PX) for v in box_m)
    h, w = bottom - top, right - left
    target = wall[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if h <= 1 or w <= 1 or target.shape[:2] != (h, w):
        return
    sky = np.linspace(rng.uniform(0.35, 0.6), 0.10, h)[:, None, None] * np.array([0.80, 0.92, 1.0])
    cloud = 1.0 + 0.35 * noise2(h, w, 18, rng, 2)[..., None]
    target[:] = (0.05 + 0.75 * sky * cloud).astype(np.float32)


def _ground_floor(wall: Floats, rng: np.random.Generator, width: float, height: float, ground: float) -> None:
    """A shop with sign and awning, or a door and low windows."""
    y0 = height - ground
    colour = rng.uniform(0.12, 0.6, 3)
    if rng.random() < 0.7:
        _rect(wall, (0.25, y0 + 0.25, width - 0.25, height), 0.75 * colour)
        _rect(wall, (0.25, y0 + 0.25, width - 0.25, y0 + 0.95), colour)
        _sign(wall, rng, (width * 0.5, y0 + 0.60), width * rng.uniform(0.3, 0.6))
        panes = max(1, int((width - 1.8) / 1.9))
        step = (width - 2.2) / panes
        for i in range(panes):
            x = 0.55 + i * step
            _glass(wall, rng, (x, y0 + 1.1, x + step - 0.12, height - 0.5))
            _goods(wall, rng, (x + 0.1, x + step - 0.22), height - 0.5)
        _glass(wall, rng, (width - 1.5, y0 + 1.1, width - 0.6, height - 0.1))
        if rng.random() < 0.6:
            _awning(wall, rng, y0, width, colour)
    else:
        door = rng.uniform(0.15, 0.5, 3)
        at = rng.uniform(0.2, 0.7) * width
        _rect(wall, (at - 0.12, height - 2.6, at + 1.22, height), np.array([0.8, 0.78, 0.74]))
        _rect(wall, (at, height - 2.5, at + 1.1, height), door)
        for x in (at - 2.2, at + 2.2):
            if 0.3 < x < width - 1.6:
                _window(wall, rng, (x, height - 2.5), (1.3, 1.5), np.array([0.8, 0.78, 0.74]), rng.uniform(0.5, 0.9, 3))
    _rect(wall, (0.0, height - 0.25, width, height), np.array([0.32, 0.31, 0.30]))


def _awning(wall: Floats, rng: np.random.Generator, y0: float, width: float, colour: Array) -> None:
    light = np.array([0.9, 0.88, 0.82])
    stripe, x, i = rng.uniform(0.3, 0.5), 0.2, 0
    while x < width - 0.2:
        _rect(wall, (x, y0 + 0.9, min(x + stripe, width - 0.2), y0 + 1.75), light if i % 2 else colour)
        x, i = x + stripe, i + 1
    _rect(wall, (0.2, y0 + 1.70, width - 0.2, y0 + 1.95), np.array([0.08, 0.08, 0.09]))


def _sign(wall: Floats, rng: np.random.Generator, middle: tuple[float, float], length: float) -> None:
    """Bars that read as lettering from afar."""
    x = middle[0] - length / 2
    ink = np.array([0.93, 0.9, 0.82]) if rng.random() < 0.7 else np.array([0.95, 0.8, 0.3])
    while x < middle[0] + length / 2:
        w = rng.uniform(0.06, 0.20)
        tall = rng.uniform(0.12, 0.20)
        _rect(wall, (x, middle[1] - tall, x + w, middle[1] + 0.16), ink)
        if rng.random() < 0.5:
            _rect(wall, (x + 0.05, middle[1] - 0.05, x + w - 0.02, middle[1] + 0.06), ink * 0.3)
        x += w + rng.uniform(0.04, 0.10)


def _goods(wall: Floats, rng: np.random.Generator, span: tuple[float, float], floor: float) -> None:
    """What a shop window shows."""
    for _ in range(rng.integers(2, 6)):
        w, h = rng.uniform(0.12, 0.4), rng.uniform(0.2, 1.1)
        x = rng.uniform(span[0], max(span[0] + 0.01, span[1] - w))
        _rect(wall, (x, floor - h, x + w, floor), rng.uniform(0.08, 0.55, 3))


def tree(rng: np.random.Generator, width: float, height: float) -> Floats:
    """Trunk, a few boughs and a crown of leaf clumps lit from above."""
    h, w = round(height * PX), round(width * PX)
    picture, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    bark = np.array([0.33, 0.27, 0.21]) * rng.uniform(0.8, 1.15)
    crown_bottom = rng.uniform(0.50, 0.62)
    foot = (0.5 * w, float(h))
    for _ in range(6):
        tip = (w * rng.uniform(0.25, 0.75), h * rng.uniform(0.15, 0.45))
        fork = (0.5 * w + w * rng.uniform(-0.02, 0.02), h * rng.uniform(crown_bottom, crown_bottom + 0.12))
        thick = max(2, int(0.024 * w))
        for a, b, t in ((foot, fork, 2 * thick), (fork, tip, thick)):
            p, q = (int(a[0]), int(a[1])), (int(b[0]), int(b[1]))
            cv2.line(picture, p, q, tuple(float(c) for c in bark * rng.uniform(0.85, 1.1)), t, cv2.LINE_AA)
            cv2.line(cover, p, q, 1.0, t, cv2.LINE_AA)
    _leaves(picture, cover, rng, (0.5, 0.36, 0.46, 0.34), 2200, 0.060)
    return _finish(picture, cover)


def _leaves(
    picture: Floats,
    cover: Floats,
    rng: np.random.Generator,
    crown: tuple[float, float, float, float],
    count: int,
    size: float,
) -> None:
    """Scatter leaf clumps in an ellipse (centre x, y, radii as shares of the picture), the low dark ones first."""
    h, w = cover.shape
    green = np.array([rng.uniform(0.22, 0.42), rng.uniform(0.40, 0.52), rng.uniform(0.14, 0.24)])
    radius = np.sqrt(rng.uniform(0, 1, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    x = (crown[0] + crown[2] * radius * np.cos(angle)) * w
    y = (crown[1] + crown[3] * radius * np.sin(angle)) * h
    # Boughs are lumps of light and shade; the crown is darker below.
    boughs = noise2(h, w, 0.16 * w, rng, 2)[np.clip(y.astype(int), 0, h - 1), np.clip(x.astype(int), 0, w - 1)]
    light = 0.58 - 0.38 * (y / h - crown[1]) / crown[3] + 0.30 * boughs + rng.normal(0, 0.10, count)
    for i in np.argsort(light):
        clump = max(1.0, size * PX * rng.uniform(0.5, 1.9))
        tint = np.clip(green * (0.45 + 0.75 * np.clip(light[i], 0, 1.2)) + rng.normal(0, 0.02, 3), 0, 1)
        axes = (int(clump), int(clump * rng.uniform(0.4, 0.9)))
        centre, turn = (int(x[i]), int(y[i])), float(rng.uniform(0, 180))
        cv2.ellipse(picture, centre, axes, turn, 0, 360, tint.tolist(), -1, cv2.LINE_AA)
        cv2.ellipse(cover, centre, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA)


def hedge(rng: np.random.Generator, width: float, height: float) -> Floats:
    """Clipped leaves with an uneven top edge."""
    scale = 110.0 if height < 1.0 else PX
    h, w = round(height * scale), round(width * scale)
    picture, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    green = np.array([rng.uniform(0.20, 0.30), rng.uniform(0.36, 0.46), rng.uniform(0.12, 0.20)])
    leaf = 0.022 * scale if height < 1.0 else 0.06 * scale
    count = int(3.0 * h * w / (np.pi * leaf * leaf))
    x, y = rng.uniform(0, w, count), leaf + rng.uniform(0, 1, count) * (h - leaf)
    y += 0.04 * h * noise2(1, w, 0.4 * scale, rng)[0][x.astype(int)] + 0.03 * h
    lumps = noise2(h, w, 0.16 * scale, rng, 2)[np.clip(y.astype(int), 0, h - 1), x.astype(int)]
    light = np.clip(1.0 - 0.6 * y / h + 0.28 * lumps + rng.normal(0, 0.14, count), 0.1, 1.6)
    picture[int(0.2 * h) :] = 0.25 * green
    cover[int(0.2 * h) :] = 1.0
    for i in np.argsort(light + rng.normal(0, 0.3, count)):
        tint = np.clip(green * light[i] + rng.normal(0, 0.015, 3), 0, 1)
        axes = (max(1, int(leaf * rng.uniform(0.6, 1.3))), max(1, int(leaf * rng.uniform(0.3, 0.6))))
        centre, turn = (int(x[i]), int(y[i])), float(rng.uniform(0, 180))
        cv2.ellipse(picture, centre, axes, turn, 0, 360, tint.tolist(), -1, cv2.LINE_AA)
        cv2.ellipse(cover, centre, axes, turn, 0, 360, 1.0, -1, cv2.LINE_AA)
    return _finish(picture, cover)


def car(rng: np.random.Generator) -> Floats:
    """Side view of a parked car, 4.3 m by 1.5 m."""
    scale = 2.0 * PX
    h, w = int(1.5 * scale), int(4.3 * scale)
    picture, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    paint = np.array(
        [
            (0.65, 0.67, 0.70),
            (0.12, 0.13, 0.15),
            (0.55, 0.10, 0.10),
            (0.14, 0.22, 0.40),
            (0.85, 0.85, 0.83),
            (0.30, 0.36, 0.34),
        ]
    )
    body_colour = paint[rng.integers(len(paint))]

    def polygon(points: list[tuple[float, float]]) -> Array:
        return np.array([[(x * scale, (1.5 - z) * scale) for x, z in points]], np.float32).astype(np.int32)

    body = polygon(
        [
            (0.05, 0.35),
            (0.03, 0.70),
            (0.25, 0.86),
            (1.05, 0.93),
            (1.55, 1.38),
            (2.0, 1.47),
            (2.9, 1.45),
            (3.45, 1.05),
            (4.1, 0.96),
            (4.27, 0.75),
            (4.26, 0.35),
            (3.9, 0.25),
            (0.4, 0.25),
        ]
    )
    cv2.fillPoly(cover, body, 1.0, cv2.LINE_AA)
    z = np.linspace(1.5, 0.0, h)[:, None]
    band = (
        0.75
        + 0.45 * np.exp(-0.5 * ((z - 0.90) / 0.06) ** 2)
        + 0.25 * np.exp(-0.5 * ((z - 1.42) / 0.05) ** 2)
        - 0.35 * np.clip(0.55 - z, 0, 1)
    )
    picture[:] = (body_colour * band[..., None]).astype(np.float32)
    glass = polygon([(1.20, 0.96), (1.62, 1.34), (2.02, 1.40), (2.85, 1.38), (3.30, 1.02)])
    cv2.fillPoly(picture, glass, (0.16, 0.19, 0.22), cv2.LINE_AA)
    cv2.fillPoly(
        picture, polygon([(1.35, 1.0), (1.68, 1.31), (1.85, 1.34), (1.6, 1.0)]), (0.42, 0.48, 0.52), cv2.LINE_AA
    )
    for x in (2.18, 2.22):
        cv2.line(
            picture,
            *[(int(x * scale), int((1.5 - q) * scale)) for q in (0.32, 1.42)],
            tuple(float(c) for c in 0.45 * body_colour),
            2,
            cv2.LINE_AA,
        )  # type: ignore[misc]
    cv2.fillPoly(
        picture, polygon([(4.12, 0.70), (4.26, 0.68), (4.25, 0.84), (4.10, 0.86)]), (0.55, 0.06, 0.05), cv2.LINE_AA
    )
    cv2.fillPoly(
        picture, polygon([(0.04, 0.66), (0.20, 0.68), (0.26, 0.80), (0.08, 0.74)]), (0.9, 0.9, 0.86), cv2.LINE_AA
    )
    for x in (0.85, 3.42):
        centre = (int(x * scale), int((1.5 - 0.32) * scale))
        cv2.circle(picture, centre, int(0.36 * scale), (0.05, 0.05, 0.05), -1, cv2.LINE_AA)
        cv2.circle(cover, centre, int(0.32 * scale), 1.0, -1, cv2.LINE_AA)
        cv2.circle(picture, centre, int(0.20 * scale), (0.55, 0.56, 0.58), -1, cv2.LINE_AA)
        cv2.circle(picture, centre, int(0.06 * scale), (0.25, 0.25, 0.26), -1, cv2.LINE_AA)
    return _finish(picture, cover)


def post(colour: Array, *, bands: tuple[Array, ...] = ()) -> Floats:
    """A round post: darker towards its sides; `bands` of other colours near the top."""
    h, w = 96, 24
    x = np.linspace(-1, 1, w)
    round_shade = 0.45 + 0.65 * np.sqrt(np.clip(1 - (x + 0.25) ** 2 / 1.6, 0, 1))
    picture = np.ones((h, 1, 1)) * colour * round_shade[None, :, None]
    for i, band in enumerate(bands):
        picture[2 + 7 * i : 8 + 7 * i] = band * round_shade[None, :, None]
    return _finish(picture)


def planks(rng: np.random.Generator, colour: Array, length: float, height: float) -> Floats:
    """Wood grain along the length."""
    h, w = max(4, round(height * PX * 2)), max(8, round(length * PX))
    grain = cv2.resize(noise2(h, max(4, w // 12), 3, rng), (w, h), interpolation=cv2.INTER_CUBIC)
    return _finish(colour * (1.0 + 0.14 * grain)[..., None])


def wall(rng: np.random.Generator, width: float, height: float, colour: Array, *, kind: str) -> Floats:
    """A large plain surface: "plaster", "bricks", "panels" or "curtain"."""
    h, w = round(height * PX), round(width * PX)
    if kind == "bricks":
        return _finish(_bricks(rng, h, w, colour))
    picture = _plaster(rng, h, w, colour)
    x = np.arange(w) / PX
    if kind == "panels":
        joint = (x % 1.2) < 0.03
        picture[:, joint] *= 0.7
        picture[(np.arange(h) / PX % 0.9) < 0.03] *= 0.75
    if kind == "curtain":
        picture *= (1.0 + 0.22 * np.sin(x * 14.0 + 3.0 * np.sin(x * 2.1)))[None, :, None].astype(np.float32)
    return _finish(picture)
