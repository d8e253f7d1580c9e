"""OpenSim's TRC marker files: one a person, as OpenSim reads people one by one.

Coordinates are image pixels, y downwards, z = 0; there is nothing in a picture to make metres of. Cells of joints that
are not there are empty. Frames are numbered from 1, as TRC does: frame 1 is the video's first.
"""

import re

import numpy as np

from jmpose_cli.files import write_whole
from jmpose_cli.handover.handover import Handover, without_joints


def write_trc(given: Handover) -> None:
    """Write a folder with `<video>_track<id>.trc` for every person, each with all frames.

    Raises:
        JmposeError: A file cannot be written.
    """
    without_joints(given)
    stem = given.stem
    given.begin_folder(given.path, rf"{re.escape(stem)}_track\d+\.trc")
    frames, fps = given.span, given.video.fps
    known = dict(zip(given.frames.tolist(), given.times_s.tolist(), strict=True))
    times = [known.get(frame, frame / fps) for frame in frames.tolist()]
    for track, rows in given.tracks():
        if not given.records.present[rows].any():
            continue
        name = f"{stem}_track{track}.trc"
        xy, _ = given.spread(rows, frames)
        lines = _head(name, given.records.joints, fps, len(frames), int(frames[0]) + 1)
        for frame, time, points in zip(frames.tolist(), times, xy.tolist(), strict=True):
            cells = "\t".join("\t\t" if np.isnan(x) else f"{x!r}\t{y!r}\t0.0" for x, y in points)
            lines.append(f"{frame + 1}\t{time!r}\t{cells}")
        write_whole(given.path / name, "".join(f"{line}\n" for line in lines).encode())
    given.notes.append("coordinates are pixels, y downwards, z = 0")


def _head(name: str, joints: tuple[str, ...], fps: float, frames: int, first: int) -> list[str]:
    markers = [re.sub(r"\s", "_", joint) for joint in joints]
    return [
        f"PathFileType\t4\t(X/Y/Z)\t{name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{fps!r}\t{fps!r}\t{frames}\t{len(joints)}\tpx\t{fps!r}\t{first}\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(markers) + "\t\t",
        "\t\t" + "\t".join(f"X{n}\tY{n}\tZ{n}" for n in range(1, len(joints) + 1)),
        "",
    ]
