"""Any operations on a clip, most of which can be applied."""

import numpy as np
from hypothesis import strategies as st

from jmpose_cli.clips.operations import (
    Accept,
    AddPerson,
    CopyPose,
    Delete,
    Dismiss,
    Estimated,
    Interpolate,
    InterpolateJoints,
    Merge,
    Operation,
    Propagate,
    Rename,
    Review,
    SetBox,
    SetJoints,
    SetOccluded,
    SetVisibility,
    Split,
    Swap,
    SwapSides,
    TakeBack,
)
from jmpose_cli.formats.truth import Truth


@st.composite
def operations(draw: st.DrawFn, truth: Truth) -> Operation:
    """Draw an operation; its frames, tracks and joints are mostly those of the clip."""
    first, last = int(truth.index[0]), int(truth.index[-1])
    frame = st.integers(first, last)
    track = st.sampled_from([*np.unique(truth.track_ids).tolist(), 50])
    sides = st.one_of(st.none(), st.integers(first, last + 1))
    frames = st.one_of(st.just((None, None)), st.tuples(sides, sides))
    pixel = st.floats(-500, 4000, allow_nan=False).map(lambda value: round(value, 3))
    joint = st.sampled_from(truth.keypoints.joints)
    points = st.dictionaries(joint, st.tuples(pixel, pixel, st.sampled_from([0, 1, 2])), min_size=1, max_size=4)
    box = st.tuples(pixel, pixel).map(lambda at: (at[0], at[1], at[0] + 20.5, at[1] + 50.25))
    share = st.floats(0, 1).map(lambda value: round(value, 4))
    estimates = st.dictionaries(joint, st.tuples(pixel, pixel, share), min_size=1, max_size=4)
    maybe = st.one_of(st.none(), track)
    joints = st.lists(joint, max_size=3, unique=True).map(tuple)
    return draw(
        st.one_of(
            st.builds(Merge, tracks=st.lists(track, min_size=2, max_size=3).map(tuple)),
            st.builds(Split, track=track, frame=frame, new=st.one_of(st.none(), st.integers(1, 60))),
            st.builds(Swap, tracks=st.tuples(track, track), frames=frames),
            st.builds(Rename, track=track, new=st.integers(1, 60)),
            st.builds(Delete, track=track, frames=frames),
            st.builds(SwapSides, track=track, frames=frames, joints=joints),
            st.builds(SwapSides, track=track, joints=joints, around=frame),
            st.builds(InterpolateJoints, track=track, frames=frames, joints=st.tuples(joint)),
            st.builds(SetJoints, track=track, frame=frame, joints=points),
            st.builds(SetVisibility, track=track, frames=frames, joints=joints, visibility=st.sampled_from([0, 1, 2])),
            st.builds(AddPerson, frame=frame, track=maybe, box=box, joints=points),
            st.builds(CopyPose, track=track, frame=frame, source=st.one_of(st.none(), frame)),
            st.builds(Review, frames=frames, reviewed=st.booleans()),
            st.builds(
                Propagate,
                track=track,
                frames=frames,
                joints=joints,
                by=st.sampled_from(["motion", "correction"]),
                around=st.one_of(st.none(), frame),
                fade_s=st.sampled_from([0.0, 0.1, 0.5]),
                reach_s=st.sampled_from([0.1, 9.0]),
            ),
            st.builds(Interpolate, track=track, frames=frames),
            st.builds(Accept, track=maybe, frames=frames),
            st.builds(TakeBack, track=maybe, frames=frames),
            st.builds(SetOccluded, track=track, frames=frames, occluded=st.booleans()),
            st.builds(SetBox, track=track, frame=frame, box=box),
            st.builds(Estimated, frame=frame, track=maybe, box=box, score=share, joints=estimates),
            st.builds(Dismiss, tracks=st.tuples(track), kind=st.sampled_from([None, "gap"]), frames=frames),
        )
    )
