"""What lies under foot and above: paving, asphalt, lawn, sky. Linear colours."""

from collections.abc import Callable

import cv2
import numpy as np

from .noise import noise2
from .transforms import Array, Floats, smoothstep

SkyPainter = Callable[[Array], Array]
"""Colour of unit directions, `[H, W, 3] -> [H, W, 3]`."""
GroundPainter = Callable[[Array, Array, Array], Array]
"""Colour of ground positions: (x, y, metres that one pixel covers in depth), each `[H, W]`, to `[H, W, 3]`."""


class Tiles:
    """A repeating noise picture that can be looked up at ground positions."""

    _SIZE = 512
    _LUMP = 32

    def __init__(self, rng: np.random.Generator) -> None:
        size = self._SIZE
        picture = noise2(size, size, self._LUMP, rng, 5)
        # Cross-faded towards the edges into its own middle, so that it repeats without a seam.
        ramp = np.clip(np.arange(size) / 64.0, 0, 1).astype(np.float32)
        ramp = np.minimum(ramp, ramp[::-1])
        inner = np.minimum.outer(ramp, ramp)
        self._picture = picture * inner + np.roll(picture, (size // 2, size // 2), (0, 1)) * (1 - inner)

    def at(self, x: Array, y: Array, lump: float) -> Floats:
        """Noise of about -1..1 whose largest lumps measure `lump` metres."""
        u, v = (np.mod(value * (self._LUMP / lump), self._SIZE).astype(np.float32) for value in (x, y))
        return np.asarray(cv2.remap(self._picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def open_sky(rng: np.random.Generator, overcast: float) -> SkyPainter:
    """Blue above, pale at the horizon, clouds by `overcast` 0..1."""
    tiles = Tiles(rng)
    horizon = np.array([0.72, 0.78, 0.84])
    zenith = np.array([0.16, 0.33, 0.66]) * (1 - 0.5 * overcast) + 0.28 * overcast
    cloud_white = np.array([0.86, 0.87, 0.89])

    def paint(direction: Array) -> Array:
        z = np.clip(direction[..., 2], 0.0, 1.0)
        colour = horizon + (zenith - horizon) * smoothstep(0.0, 0.55, z)[..., None]
        ceiling = direction[..., :2] / np.maximum(z, 0.04)[..., None] * 10 + 300
        cloud = tiles.at(ceiling[..., 0], ceiling[..., 1], 24.0)
        cover = 0.85 * smoothstep(0.35 - 0.8 * overcast, 1.0 - 0.6 * overcast, cloud)
        return np.asarray(colour + (cloud_white - colour) * cover[..., None])

    return paint


def lit_ceiling(direction: Array) -> Array:
    """A ceiling with rows of lamps."""
    above = direction[..., :2] / np.maximum(direction[..., 2:], 0.02) * 1.5
    off = np.abs(above % 2.0 - 1.0)
    lamp = (off[..., 0] < 0.35) & (off[..., 1] < 0.35)
    return np.asarray(np.where(lamp[..., None], 1.2, 0.42) * np.array([1.0, 0.98, 0.94]))


def _lines(value: Array, period: float, width: float, footprint: Array) -> Array:
    """Lines every `period`, wider and fainter where a pixel covers more than a line."""
    distance = np.abs((value / period + 0.5) % 1.0 - 0.5) * period
    soft = np.maximum(width, footprint)
    return np.asarray(np.clip(1.5 - distance / (0.5 * soft), 0, 1) * (width / soft))


def _clear(size: float, footprint: Array) -> Array:
    """1 where a pixel resolves details of `size` metres, towards 0 where it does not."""
    return np.clip(size / np.maximum(footprint, 1e-6), 0, 1)


def slabs(rng: np.random.Generator, size: tuple[float, float], colour: Array) -> GroundPainter:
    """Paving stones or boards of `size` metres (wide, deep), each of its own tone."""
    tiles = Tiles(rng)
    wide, deep = size

    def paint(x: Array, y: Array, footprint: Array) -> Array:
        row = np.floor(y / deep)
        shifted = x + 0.5 * wide * (row % 2)
        # The usual hash of two integers, to -0.5..0.5.
        tone = np.sin(row * 127.1 + np.floor(shifted / wide) * 311.7) * 43758.5453
        tone = tone - np.floor(tone) - 0.5
        clear = _clear(0.4 * deep, footprint)
        light = 1.0 + 0.10 * tone * clear + 0.10 * tiles.at(x, y, 2.5) + 0.05 * tiles.at(x, y, 0.12) * clear
        joint = np.maximum(_lines(y, deep, 0.014, footprint), _lines(shifted, wide, 0.014, 0.35 * footprint))
        return np.asarray(np.square(colour * (light * (1.0 - 0.35 * joint))[..., None]))

    return paint


def street_ground(rng: np.random.Generator, kerb: float, road: float, far_kerb: float) -> GroundPainter:
    """Pavement up to `kerb`, asphalt with a dashed line at `road`, pavement again from `far_kerb` on."""
    tiles = Tiles(rng)
    stone = np.array([0.62, 0.60, 0.57]) * rng.uniform(0.88, 1.08)
    pavement = slabs(rng, (rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.6)), stone)

    def paint(x: Array, y: Array, footprint: Array) -> Array:
        light = 0.36 + 0.03 * tiles.at(x, y, 5.0) + 0.03 * tiles.at(x, y, 0.06) * _clear(0.05, footprint)
        tar = np.square(light[..., None] * np.array([1.0, 1.0, 1.03]))
        dash = np.clip(1.5 - np.abs(y - road) / np.maximum(0.06, 0.5 * footprint), 0, 1) * ((x / 3.0) % 1.0 < 0.55)
        tar = tar + (0.55 - tar) * (0.8 * dash * _clear(0.12, footprint))[..., None]
        on_road = smoothstep(kerb, kerb + 0.03, y) * smoothstep(far_kerb + 0.03, far_kerb, y)
        colour = pavement(x, y, footprint)
        colour = colour + (tar - colour) * on_road[..., None]
        for edge in (kerb, far_kerb):
            stones = np.clip(1.2 - np.abs(y - edge) / np.maximum(0.09, 0.5 * footprint), 0, 1)
            colour = colour + (np.square(stone * 1.12) - colour) * stones[..., None]
        return np.asarray(colour)

    return paint


def park_ground(rng: np.random.Generator, near: float, far: float) -> GroundPainter:
    """A gravel path from depth `near` to `far` between lawns."""
    tiles = Tiles(rng)
    green = np.array([rng.uniform(0.30, 0.42), rng.uniform(0.42, 0.52), rng.uniform(0.18, 0.26)])
    gravel = np.array([0.62, 0.56, 0.48]) * rng.uniform(0.9, 1.1)

    def paint(x: Array, y: Array, footprint: Array) -> Array:
        blades = 0.22 * tiles.at(x, 0.4 * y, 0.10) * _clear(0.10, footprint)
        lawn = np.square(green * np.clip(1.0 + 0.16 * tiles.at(x, y, 3.0) + blades, 0.2, 2)[..., None])
        grain = 0.13 * tiles.at(x, y, 0.05) * _clear(0.05, footprint)
        path = np.square(gravel * (1.0 + 0.08 * tiles.at(x, y, 2.0) + grain)[..., None])
        edge = y + 0.25 * tiles.at(x, np.zeros_like(x), 4.0)
        on_path = smoothstep(near - 0.1, near + 0.1, edge) * smoothstep(far + 0.1, far - 0.1, edge)
        return np.asarray(lawn + (path - lawn) * on_path[..., None])

    return paint
