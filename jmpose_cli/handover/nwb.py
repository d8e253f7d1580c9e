"""Neurodata Without Borders, by pynwb and ndx-pose: a `PoseEstimation` for each person, in the module `behavior`."""

import warnings
from datetime import UTC, datetime

import numpy as np
from ndx_pose import PoseEstimation, PoseEstimationSeries, Skeleton, Skeletons
from pynwb import NWBHDF5IO, NWBFile
from pynwb.image import ImageSeries

from jmpose.files import WholeFile
from jmpose_cli.files import explain_os_errors
from jmpose_cli.formats.keypoint_mapping import known_set
from jmpose_cli.handover.handover import Handover, without_joints

_NOT_KNOWN = datetime(1970, 1, 1, tzinfo=UTC)  # NWB wants a time of recording


def write_nwb(given: Handover) -> None:
    """Write a file with all people; each has a series for every joint, over all frames that the records name.

    Raises:
        JmposeError: The file cannot be written.
    """
    without_joints(given)
    given.check_size(len(given.frames), 3)
    given.notes.append(f"the time of recording is not known: session_start_time is {_NOT_KNOWN.date()}")
    records, video = given.records, given.video
    file = NWBFile(session_description=f"poses of {video.name}", identifier=video.name, session_start_time=_NOT_KNOWN)
    known = known_set(records.joints)
    edges = np.array(known.skeleton_index if known else np.zeros((0, 2)), np.uint8).reshape(-1, 2)
    skeleton = Skeleton(name="person", nodes=list(records.joints), edges=edges)
    footage = _footage(given)
    file.add_acquisition(footage)
    module = file.create_processing_module("behavior", "poses of people")
    module.add(Skeletons(skeletons=[skeleton]))
    for track, rows in given.tracks():
        if records.present[rows].any():
            module.add(_person(given, track, rows, skeleton, footage))
    with explain_os_errors(given.path), WholeFile(given.path) as partial, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The file path provided", UserWarning
        )  # the file has its name when it is whole
        with NWBHDF5IO(str(partial), "w") as out:
            out.write(file)


def _footage(given: Handover) -> ImageSeries:
    video = given.video
    return ImageSeries(
        name="video",
        description="the video that the poses are of",
        format="external",
        external_file=[str(given.footage or video.source)],
        starting_frame=[0],
        timestamps=np.arange(int(given.frames[-1]) + 1 if len(given.frames) else 1) / video.fps,
        unit="n.a.",
        dimension=[video.width, video.height],
    )


def _person(given: Handover, track: int, rows: np.ndarray, skeleton: Skeleton, footage: ImageSeries) -> PoseEstimation:
    xy, scores = given.spread(rows, given.frames)
    series: list[PoseEstimationSeries] = [
        PoseEstimationSeries(
            name=joint,
            description=f"{joint} of track {track}; NaN where it is not there",
            data=xy[:, place],
            unit="pixels",
            reference_frame="(0, 0) is the centre of the pixel at the top left, y goes down",
            timestamps=given.times_s,
            confidence=scores[:, place],
            confidence_definition="score of the joint, 0 to 1",
        )
        for place, joint in enumerate(given.records.joints)
    ]
    return PoseEstimation(
        name=f"track_{track}",
        pose_estimation_series=series,
        description=f"person of track {track}",
        source_video=footage,
        scorer="jmpose",
        source_software="jmpose",
        skeleton=skeleton,
    )
