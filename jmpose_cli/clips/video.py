"""A video as the settings take it: opened, counted."""

from pathlib import Path

from jmpose_cli.config import DecodeConfig
from jmpose_cli.video.info import DEFAULT_FPS
from jmpose_cli.video.source import ChildPool, FrameSource, open_video


def open_clip(
    path: Path,
    decode: DecodeConfig,
    *,
    deliver_from: int = 0,
    children: ChildPool | None = None,
    keep_open: bool = False,
) -> FrameSource:
    """Open a video as the settings say; see `open_video`."""
    return open_video(
        path,
        decoder=decode.decoder,
        frames=decode.frames,
        time_s=decode.time,
        fps=decode.fps,
        stall_timeout_s=decode.stall_timeout_s,
        max_megapixels=decode.max_megapixels,
        deliver_from=deliver_from,
        children=children,
        stream=decode.stream,
        keep_open=keep_open,
    )


def frames_to_come(source: FrameSource, decode: DecodeConfig) -> int | None:
    """Estimate how many frames there are; None where the container does not say."""
    return frames_in_range(source.info.frames_claimed, source.info.fps, decode)


def frames_in_range(claimed: int | None, fps: float | None, decode: DecodeConfig) -> int | None:
    """Estimate how many of a video's frames the settings take; None where that is not known.

    Args:
        claimed: Number of frames by the header; None where it is not said.
        fps: Average frame rate; None where the file has no timestamps.
        decode: The settings.
    """
    fps = fps or decode.fps or DEFAULT_FPS
    first, last = decode.frames or (None, None)
    begin_s, end_s = decode.time or (None, None)
    start = max(first or 0, round((begin_s or 0) * fps))
    stops = [claimed, last, None if end_s is None else round(end_s * fps)]
    known = [stop for stop in stops if stop is not None]
    return max(min(known) - start, 0) if known else None
