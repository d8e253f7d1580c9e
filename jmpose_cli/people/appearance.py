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
    """

    even: float
    certain: float

    def evidence(self, cosine: Doubles | float, even: Doubles | float = -1.0) -> Doubles:
        """Return from -1, two people, to 1, one person.

        Args:
            cosine: Of the pictures, or of means of several.
            even: Takes the place of the scale's own value where it is higher.
        """
        return np.asarray(np.tanh((cosine - np.maximum(self.even, even)) / self.certain))


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
