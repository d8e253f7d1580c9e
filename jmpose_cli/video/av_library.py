"""The one place that imports PyAV, on first use: it costs a tenth of a second and 20 MB."""

from functools import cache
from pathlib import Path
from typing import Any

# A playlist or an SDP text may name other files and hosts; a video is read from its own file alone.
LOCAL_FILES_ONLY = {"protocol_whitelist": "file"}


@cache
def pyav() -> Any:
    """Return the `av` module, its own log lines on stderr switched off."""
    import av

    av.logging.set_level(None)
    return av


def file_url(path: Path) -> str:
    """Return the name of a local file for FFmpeg, safe for names like `-x.mp4`, `pipe:1` or `a:b.mp4`."""
    return f"file:{path.absolute()}"
