"""jmpose: videos of people in, tracked multi-person keypoints out.

The Python face is loaded at the first use of a name of it, the networks when they are needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = [
    "Annotator",
    "ClipPoses",
    "FramePoses",
    "JmposeError",
    "TrackedFrame",
    "VideoMeta",
    "open_video",
    "read_clip",
    "to_records",
    "write_clip",
]

if TYPE_CHECKING:
    from jmpose_cli.api import (
        Annotator,
        ClipPoses,
        FramePoses,
        JmposeError,
        TrackedFrame,
        VideoMeta,
        open_video,
        read_clip,
        to_records,
        write_clip,
    )
else:  # for type checkers, only the names above are there

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module("jmpose_cli.api"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
