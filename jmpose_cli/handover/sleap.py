"""SLEAP's files, by sleap-io; see `formats/sleap`."""

from typing import Any

import numpy as np

from jmpose.files import WholeFile
from jmpose_cli.extras import HANDOVER, require
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.keypoint_mapping import known_set
from jmpose_cli.handover.handover import Handover


def write_sleap(given: Handover) -> None:
    """Write all people as predicted instances of tracks; pictures are not embedded.

    Raises:
        JmposeError: The file cannot be written.
    """
    io = require("sleap_io", extra=HANDOVER, by="--to sleap")
    records, video = given.records, given.video
    known = known_set(records.joints)
    skeleton = io.Skeleton(nodes=list(records.joints), edges=list(known.skeleton_index) if known else [], name="person")
    source = str(given.footage or video.source)
    shape = (int(given.frames[-1]) + 1 if len(given.frames) else 0, video.height, video.width, 3)
    footage = io.Video(filename=source, open_backend=False, backend_metadata={"shape": shape, "fps": video.fps})
    tracks = {track: io.Track(f"track_{track}") for track, _ in given.tracks()}
    xy = np.where(records.present[..., None], records.xy, np.nan)
    scores = np.where(records.present, np.nan_to_num(records.scores, nan=1.0), 0.0)
    people = np.nan_to_num(records.person_scores, nan=1.0).tolist()
    of_frame: dict[int, list[Any]] = {frame: [] for frame in given.frames.tolist()}
    for row, (frame, track) in enumerate(zip(given.frame_of_row.tolist(), records.track_ids.tolist(), strict=True)):
        of_frame[frame].append(
            io.PredictedInstance.from_numpy(
                xy[row], skeleton, point_scores=scores[row], score=people[row], track=tracks[track], tracking_score=1.0
            )
        )
    labels = io.Labels(
        [io.LabeledFrame(video=footage, frame_idx=frame, instances=found) for frame, found in of_frame.items()],
        videos=[footage],
        skeletons=[skeleton],
        tracks=list(tracks.values()),
        provenance={"jmpose": records.info},
    )
    with explain_os_errors(given.path), WholeFile(given.path) as partial:
        io.save_slp(labels, str(partial), embed=False, verbose=False)
