"""Smooth random fields, repeatable by seed."""

import cv2
import numpy as np

from .transforms import Array, Floats

_SIZE = 32
# One lattice serves all fields; a seed picks where it starts.
_LATTICE = np.random.default_rng(0).uniform(-1.0, 1.0, _SIZE**3).astype(np.float32)


def noise3(points: Array, cell: float | tuple[float, float, float], seed: int) -> Array:
    """Value noise in -1..1 at 3-D points.

    Args:
        points: `[..., 3]`.
        cell: Size of a lump along each axis, in the unit of the points.
        seed: Which field.
    """
    scaled = (points / np.asarray(cell, np.float64)).astype(np.float32).reshape(-1, 3)
    shift = np.random.default_rng(seed).integers(0, _SIZE, 3)
    floor = np.floor(scaled)
    t = scaled - floor
    t = t * t * (3.0 - 2.0 * t)
    low = (floor.astype(np.int32) + shift.astype(np.int32)) % _SIZE
    high = (low + 1) % _SIZE
    tx, ty, tz = t.T
    # Flat positions in the lattice of the four columns along z.
    rows = [(x * _SIZE + y) * _SIZE for x in (low[:, 0], high[:, 0]) for y in (low[:, 1], high[:, 1])]
    columns = [_LATTICE[r + low[:, 2]] * (1.0 - tz) + _LATTICE[r + high[:, 2]] * tz for r in rows]
    near = columns[0] * (1.0 - ty) + columns[1] * ty
    far = columns[2] * (1.0 - ty) + columns[3] * ty
    return np.asarray(near * (1.0 - tx) + far * tx, np.float64).reshape(points.shape[:-1])


def noise2(height: int, width: int, cell_px: float, rng: np.random.Generator, octaves: int = 3) -> Floats:
    """Fractal noise picture in about -1..1, `[height, width]` float32."""
    total = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        shape = (int(height / cell_px) + 3, int(width / cell_px) + 3)
        coarse = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
        full = (int(np.ceil(shape[1] * cell_px)), int(np.ceil(shape[0] * cell_px)))
        fine = cv2.resize(coarse, full, interpolation=cv2.INTER_CUBIC)
        total += amplitude * fine[:height, :width]
        amplitude *= 0.5
        cell_px = max(cell_px / 2, 1.0)
    return total
