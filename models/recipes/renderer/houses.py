"""Painted street fronts: shops or doors below, windows above."""

from itertools import pairwise

import numpy as np

from .noise import noise2
from .textures import PX, bricks, finish, plaster
from .transforms import Array, Floats

_WALLS = np.array(
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
_PALE = np.array([0.80, 0.78, 0.74])
# Left, top, right, bottom in metres from the top-left corner of the front.
Box = tuple[float, float, float, float]


class _Front:
    """A front being painted.

    Args:
        rng: Source of all choices.
        width: Metres.
        height: Metres.
    """

    def __init__(self, rng: np.random.Generator, width: float, height: float) -> None:
        self.rng, self.width, self.height = rng, width, height
        h, w = round(height * PX), round(width * PX)
        self.colour = np.clip(_WALLS[rng.integers(len(_WALLS))] * rng.uniform(0.85, 1.1), 0, 0.92)
        self.picture = (bricks if rng.random() < 0.45 else plaster)(rng, h, w, self.colour)

    def part(self, box: Box) -> Floats:
        """The texels of a box, cut off at the front's edges."""
        left, top, right, bottom = (max(0, round(v * PX)) for v in box)
        return self.picture[top:bottom, left:right]

    def fill(self, box: Box, colour: Array) -> None:
        """Paint a box."""
        self.part(box)[:] = colour

    def glass(self, box: Box) -> None:
        """Dark glass that mirrors some sky towards the top."""
        part = self.part(box)
        h, w = part.shape[:2]
        if h and w:
            sky = np.linspace(self.rng.uniform(0.35, 0.6), 0.10, h)[:, None, None] * np.array([0.80, 0.92, 1.0])
            part[:] = 0.05 + 0.75 * sky * (1.0 + 0.25 * noise2(h, w, 24, self.rng, 2)[..., None])


def house_front(rng: np.random.Generator, width: float, height: float) -> Floats:
    """A street front, `[h, w, 4]`: shop or door on the ground floor, rows of windows above, a cornice."""
    front = _Front(rng, width, height)
    ground, storey, pitch = rng.uniform(3.6, 4.2), rng.uniform(3.0, 3.5), rng.uniform(2.1, 2.9)
    window = (rng.uniform(1.0, 1.5), rng.uniform(1.5, 1.9))
    trim = np.clip(front.colour * rng.choice([0.65, 1.25]), 0.0, 0.95)
    blind = rng.uniform(0.45, 0.9) * rng.uniform(0.85, 1.0, 3)
    columns = max(1, int((width - 0.6) / pitch))
    start = (width - columns * pitch) / 2 + (pitch - window[0]) / 2
    for level in np.arange(height - ground, 0.8 * storey, -storey):
        top = float(level) - 0.18 * storey - window[1]
        for i in range(columns):
            _window(front, (start + i * pitch, top), window, trim, blind)
        front.fill((0.0, level - 0.10, width, level), trim)
    front.fill((0.0, 0.0, width, 0.35), trim)
    front.fill((0.0, 0.35, width, 0.45), 0.6 * trim)
    if rng.random() < 0.7:
        _shop(front, height - ground)
    else:
        _door(front)
    front.fill((0.0, height - 0.25, width, height), np.array([0.32, 0.31, 0.30]))
    return finish(front.picture)


def _window(front: _Front, corner: tuple[float, float], size: tuple[float, float], trim: Array, blind: Array) -> None:
    rng = front.rng
    (x, y), (w, h) = corner, size
    front.fill((x - 0.10, y - 0.10, x + w + 0.10, y + h + 0.06), trim)
    front.fill((x - 0.16, y + h + 0.04, x + w + 0.16, y + h + 0.14), np.clip(trim * 1.1, 0, 1))
    front.glass((x, y, x + w, y + h))
    if rng.random() < 0.55:
        front.fill((x, y, x + w, y + h * rng.uniform(0.25, 0.8)), blind * rng.uniform(0.8, 1.0))
    frame = np.full(3, rng.choice([0.9, 0.85, 0.25]))
    for left in (x, x + w / 2 - 0.03, x + w - 0.06):
        front.fill((left, y, left + 0.06, y + h), frame)
    for top in (y, y + 0.35 * h, y + h - 0.06):
        front.fill((x, top, x + w, top + 0.05), frame)


def _shop(front: _Front, top: float) -> None:
    """Show windows with goods, a door, a sign, perhaps an awning."""
    rng, width, height = front.rng, front.width, front.height
    colour = rng.uniform(0.12, 0.6) * rng.uniform(0.5, 1.0, 3)
    front.fill((0.25, top + 0.25, width - 0.25, height), 0.75 * colour)
    front.fill((0.25, top + 0.25, width - 0.25, top + 0.95), colour)
    _lettering(front, (width * 0.5, top + 0.60), width * rng.uniform(0.3, 0.6))
    panes = max(1, int((width - 1.8) / 1.9))
    step = (width - 2.2) / panes
    for i in range(panes):
        x = 0.55 + i * step
        front.glass((x, top + 1.1, x + step - 0.12, height - 0.5))
        for _ in range(int(rng.integers(2, 6))):
            w, h = rng.uniform(0.12, 0.4), rng.uniform(0.2, 1.1)
            left = rng.uniform(x + 0.1, max(x + 0.11, x + step - 0.22 - w))
            goods = rng.uniform(0.08, 0.5) * rng.uniform(0.4, 1.0, 3)
            front.fill((left, height - 0.5 - h, left + w, height - 0.5), goods)
    front.glass((width - 1.5, top + 1.1, width - 0.6, height - 0.1))
    if rng.random() < 0.6:
        edges = np.arange(0.2, width - 0.2, rng.uniform(0.3, 0.5))
        for i, (left, right) in enumerate(pairwise(edges)):
            front.fill((left, top + 0.9, right, top + 1.75), np.array([0.9, 0.88, 0.82]) if i % 2 else colour)
        front.fill((0.2, top + 1.70, float(edges[-1]), top + 1.95), np.array([0.08, 0.08, 0.09]))


def _lettering(front: _Front, middle: tuple[float, float], length: float) -> None:
    """Bars that read as a name from afar."""
    rng = front.rng
    ink = np.array([0.93, 0.9, 0.82]) if rng.random() < 0.7 else np.array([0.95, 0.8, 0.3])
    x, y = middle[0] - length / 2, middle[1]
    while x < middle[0] + length / 2:
        w, tall = rng.uniform(0.06, 0.20), rng.uniform(0.12, 0.20)
        front.fill((x, y - tall, x + w, y + 0.16), ink)
        if rng.random() < 0.5:
            front.fill((x + 0.05, y - 0.05, x + w - 0.02, y + 0.06), ink * 0.3)
        x += w + rng.uniform(0.04, 0.10)


def _door(front: _Front) -> None:
    """A house door between two windows."""
    rng, height = front.rng, front.height
    at = rng.uniform(0.2, 0.7) * front.width
    front.fill((at - 0.12, height - 2.6, at + 1.22, height), _PALE)
    front.fill((at, height - 2.5, at + 1.1, height), rng.uniform(0.15, 0.5, 3))
    for x in (at - 2.2, at + 2.2):
        if 0.3 < x < front.width - 1.6:
            _window(front, (x, height - 2.5), (1.3, 1.5), _PALE, rng.uniform(0.5, 0.9, 3))
