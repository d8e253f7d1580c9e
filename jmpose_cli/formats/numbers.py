"""Numbers of annotations: finite, and no larger than pictures and people can make them.

float32 and the squares of distances overflow long before JSON does, so what no picture can hold is refused on reading,
once, instead of in every computation.
"""

import re

import numpy as np
from numpy.typing import NDArray

LARGEST_BOX_PX = 1e6
"""Sizes of pictures, places and sizes of boxes; the largest pictures have some 10^5 pixels a side."""
LARGEST_PX = 1e7
"""Other coordinates: joints that a model finds by such a box may lie outside it."""
LARGEST = 1e12
"""Areas, scores, times."""
LARGEST_FRAME = 10**9
"""Frame numbers: eleven days at 1000 frames a second."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def fits(values: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    """Which values are finite and within plus and minus `limit`."""
    return np.asarray(np.abs(values) <= limit)  # no comparison with NaN is true


def number_of(text: str) -> float:
    """Read a decimal number; NaN for anything else that `float` would take (`nan`, `inf`, `1_0`, other digits)."""
    return float(text) if _NUMBER.fullmatch(text) else float("nan")


def within(limit: float) -> str:
    """Say the limit, for hints."""
    return f"from {-limit:.0f} to {limit:.0f}"
