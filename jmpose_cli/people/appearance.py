"""What networks of appearance do for the tracker, and how their vectors are read."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jmpose_cli.formats.records import Doubles
from jmpose_cli.values import Bytes, Float


@dataclass(frozen=True)
class AppearanceScale:
    """How alike the looks of people are by a network of appearance.

    Attributes:
        even: Cosine from which on two pictures rather show one person than two.
        certain: Difference of cosines from there at which it is all but certain.
        known: Of means of many pictures, which vary less: cosine from which on they rather show one person.
        sure: Difference of such cosines from there at which it is all but certain.
    """

    even: float
    certain: float
    known: float
    sure: float

    def evidence(self, cosine: Doubles | float) -> Doubles:
        """Return from -1, two people, to 1, one person, for the cosine of two pictures or of means of a few."""
        return np.asarray(np.tanh((cosine - self.even) / self.certain))

    def recognised(self, cosine: float, strangers: float) -> float:
        """Return from -1, two people, to 1, one person, seconds or minutes later.

        Args:
            cosine: Of means of many pictures.
            strangers: Cosine up to which two people are known to be alike; counts where it is higher than usual.
        """
        return float(np.tanh((cosine - max(self.known, strangers)) / self.sure))


class Embedder(Protocol):
    """Tells what people look like; keeps nothing between calls.

    Attributes:
        name: For headers and files.
        sha256: Of the weights file.
        crop_size: Height and width of the crops that it takes, pixels.
        scale: How to read its vectors.
    """

    name: str
    sha256: str
    crop_size: tuple[int, int]
    scale: AppearanceScale

    def embed(self, crops: Bytes) -> Float:
        """Return `[N, D]` float32 unit vectors of `[N, height, width, 3]` uint8 RGB crops."""
