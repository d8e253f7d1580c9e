"""Display colours (0..1) of skin, hair, eyes and clothes."""

import colorsys

import numpy as np

from .transforms import Array

# From pale to dark.
SKIN = np.array(
    [
        (0.93, 0.77, 0.68),
        (0.90, 0.72, 0.61),
        (0.84, 0.65, 0.53),
        (0.76, 0.57, 0.44),
        (0.64, 0.46, 0.34),
        (0.50, 0.34, 0.25),
        (0.37, 0.25, 0.19),
    ]
)
# From black over brown, blond and red to grey and white.
HAIR = np.array(
    [
        (0.07, 0.06, 0.06),
        (0.12, 0.09, 0.07),
        (0.22, 0.15, 0.10),
        (0.34, 0.23, 0.14),
        (0.50, 0.36, 0.20),
        (0.68, 0.54, 0.32),
        (0.48, 0.22, 0.12),
        (0.55, 0.54, 0.53),
        (0.80, 0.79, 0.77),
    ]
)
EYES = np.array([(0.16, 0.10, 0.06), (0.26, 0.17, 0.09), (0.28, 0.36, 0.42), (0.25, 0.32, 0.20)])
# Muted darks, greys and whites first, then stronger colours.
CLOTH = np.array(
    [
        (0.10, 0.10, 0.12),
        (0.17, 0.18, 0.22),
        (0.14, 0.19, 0.32),
        (0.30, 0.32, 0.36),
        (0.52, 0.53, 0.55),
        (0.80, 0.79, 0.77),
        (0.90, 0.89, 0.86),
        (0.68, 0.15, 0.16),
        (0.45, 0.10, 0.18),
        (0.80, 0.42, 0.16),
        (0.86, 0.70, 0.24),
        (0.20, 0.38, 0.26),
        (0.36, 0.40, 0.26),
        (0.20, 0.48, 0.56),
        (0.28, 0.45, 0.72),
        (0.55, 0.66, 0.80),
        (0.74, 0.56, 0.62),
        (0.50, 0.36, 0.55),
        (0.66, 0.54, 0.40),
        (0.40, 0.29, 0.20),
    ]
)
COATS = CLOTH[[0, 1, 2, 3, 8, 11, 18, 19]]
# Jeans, greys, browns.
TROUSERS = np.array(
    [
        (0.20, 0.28, 0.44),
        (0.15, 0.20, 0.32),
        (0.34, 0.44, 0.58),
        (0.11, 0.11, 0.13),
        (0.24, 0.25, 0.27),
        (0.42, 0.42, 0.43),
        (0.60, 0.53, 0.42),
        (0.34, 0.33, 0.24),
        (0.36, 0.25, 0.20),
        (0.80, 0.78, 0.72),
    ]
)
SHOES = np.array(
    [
        (0.90, 0.90, 0.90),
        (0.10, 0.10, 0.10),
        (0.30, 0.20, 0.14),
        (0.20, 0.25, 0.40),
        (0.70, 0.20, 0.20),
        (0.45, 0.45, 0.47),
    ]
)


def pick(rng: np.random.Generator, palette: Array) -> Array:
    """A colour near one of the palette's."""
    h, s, v = colorsys.rgb_to_hsv(*palette[rng.integers(len(palette))])
    h, s, v = h + rng.normal(0, 0.016), s * rng.uniform(0.85, 1.15), v * rng.uniform(0.88, 1.1)
    return np.array(colorsys.hsv_to_rgb(h % 1.0, min(s, 1.0), min(v, 0.95)))


def pick_contrast(rng: np.random.Generator, palette: Array, colour: Array) -> Array:
    """A colour that stands out from `colour`: the best of a few picks."""
    return max((pick(rng, palette) for _ in range(6)), key=lambda c: float(np.abs(c - colour).sum()))
