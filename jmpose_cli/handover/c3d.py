"""C3D marker files: the one module that uses ezc3d.

A marker is `<track id>:<joint>`, with the prefix that C3D has for several subjects. Coordinates are image pixels, y
downwards, z = 0, as float32; what is not there is NaN with a residual of -1, as C3D says it.
"""

import ezc3d
import numpy as np

from jmpose.files import WholeFile
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors
from jmpose_cli.handover.handover import Handover, without_joints

_MOST_FRAMES = 65535  # C3D counts them in 16 bits


def write_c3d(given: Handover) -> None:
    """Write the markers of all people, all frames from the first to the last.

    Raises:
        JmposeError: There are more frames than C3D can count, or the file cannot be written.
    """
    without_joints(given)
    frames = given.span
    if len(frames) > _MOST_FRAMES:
        raise JmposeError(
            f"{given.records.path}: {len(frames)} frames", hint=f"C3D counts to {_MOST_FRAMES}; choose another format"
        )
    given.check_size(len(frames), 4)
    labels, parts = [], []
    for track, rows in given.tracks():
        labels += [f"{track}:{joint}" for joint in given.records.joints]
        parts.append(given.spread(rows, frames)[0].transpose(2, 1, 0))  # [2, K, F]
    points = np.full((4, len(labels), len(frames)), 1.0)
    points[:2] = np.concatenate(parts, 1) if parts else 0
    points[2] = np.where(np.isnan(points[0]), np.nan, 0.0)
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [given.video.fps]
    file["parameters"]["POINT"]["UNITS"]["value"] = ["px"]
    file["parameters"]["POINT"]["LABELS"]["value"] = labels
    file["header"]["points"]["first_frame"] = int(frames[0]) if len(frames) else 0
    file["data"]["points"] = points
    with explain_os_errors(given.path), WholeFile(given.path) as partial:
        written = partial.with_name(f"{partial.name}.c3d")  # ezc3d adds the ending itself
        try:
            file.write(str(partial))
            written.replace(partial)
        except (RuntimeError, ValueError) as error:
            raise JmposeError(f"cannot write {given.path}: {error}", hint="choose another format") from error
        finally:
            written.unlink(missing_ok=True)
    given.notes.append("coordinates are pixels, y downwards, z = 0, rounded to 32 bits")
