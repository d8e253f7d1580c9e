"""The 15 joints that PoseTrack evaluates, their groups, and tables of one value a joint."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from jmpose_cli.formats.records import Doubles

JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("head_bottom", "nose", "head_top"),
)
"""In the order of PoseTrack17's joint ids; poseval calls `head_bottom` "neck"."""

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Head": ("head_top", "head_bottom", "nose"),
        "Shou": ("right_shoulder", "left_shoulder"),
        "Elb": ("right_elbow", "left_elbow"),
        "Wri": ("right_wrist", "left_wrist"),
        "Hip": ("right_hip", "left_hip"),
        "Knee": ("right_knee", "left_knee"),
        "Ankl": ("right_ankle", "left_ankle"),
    }
)
"""Columns of the official tables."""


@dataclass(frozen=True)
class JointTable:
    """One metric, in percent; NaN where it is undefined.

    Attributes:
        values: `[15]` one value a joint, in the order of `JOINTS`.
        total: The official summary of the joints.
    """

    values: Doubles
    total: float

    @classmethod
    def mean_of(cls, values: Doubles) -> "JointTable":
        """Make a table whose total is the mean of the joints that are defined (poseval's rule)."""
        defined = values[~np.isnan(values)]
        return cls(values, float(defined.mean()) if defined.size else float("nan"))

    def group(self, name: str) -> float:
        """Return the mean of a group's joints, NaN when one of them is undefined (poseval's rule)."""
        return float(self.values[[JOINTS.index(joint) for joint in GROUPS[name]]].mean())

    def columns(self) -> dict[str, float]:
        """Return the official columns: the groups, then `Total`."""
        return {name: self.group(name) for name in GROUPS} | {"Total": self.total}

    def as_json(self) -> dict[str, float | None]:
        """Return all joints, `total`, and the groups; undefined values become None."""
        named = dict(zip(JOINTS, self.values.tolist(), strict=True))
        every = named | {"total": self.total} | {name: self.group(name) for name in GROUPS}
        return {name: None if np.isnan(value) else value for name, value in every.items()}
