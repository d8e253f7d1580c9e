"""Corrections as operations: what each does, what it refuses, and that its JSON says all of it."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jmpose_cli.clips.operation import settled
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
    Propagate,
    Rename,
    Replace,
    Review,
    SetBox,
    SetJoints,
    SetOccluded,
    SetVisibility,
    Split,
    Swap,
    SwapSides,
    TakeBack,
    changed_frames,
    operation_in,
    operation_json,
)
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import CORRECTED, INTERPOLATED, MODEL, PROPAGATED, Truth, read_truth, write_truth
from tests.clips.clip_assets import FIRST, FRAMES, TRACKS, make_clip
from tests.clips.some_operations import operations
from tests.clips.walkers import Walker, walk


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Truth:
    """The clip as its corrections see it."""
    read = read_truth(make_clip(tmp_path_factory.mktemp("clip")))
    return replace(read, model_xy=np.where(read.present[..., None], read.xy, np.nan))


def frames_of(truth: Truth, track: int) -> list[int]:
    return truth.index[truth.frame[truth.track_ids == track]].tolist()


def joints_of(truth: Truth, track: int, frame: int) -> np.ndarray:
    (row,) = np.flatnonzero((truth.track_ids == track) & (truth.index[truth.frame] == frame))
    return truth.xy[row]


def column(truth: Truth, name: str, track: int, joint: str = "nose") -> np.ndarray:
    return getattr(truth, name)[truth.track_ids == track, truth.keypoints.joints.index(joint)]


def test_merge(truth):
    merged = Merge(tracks=(3, 7)).apply(truth)
    assert frames_of(merged, 3) == [*TRACKS[3], *TRACKS[7]] and frames_of(merged, 7) == []
    assert set(merged.identity[merged.track_ids == 3].tolist()) == {3}
    with pytest.raises(JmposeError, match=r"merge 7,8: two people of track 7 in frames 9, 10, 11$") as caught:
        Merge(tracks=(7, 8)).apply(truth)
    assert "--delete" in caught.value.hint


def test_split_and_rename(truth):
    split = Split(track=1, frame=6).apply(truth)
    assert frames_of(split, 1) == [2, 3, 4, 5] and frames_of(split, 9) == list(range(6, 14))
    assert set(split.identity[split.track_ids == 9].tolist()) == {9}
    assert frames_of(Split(track=1, frame=6, new=4).apply(truth), 4) == list(range(6, 14))
    assert frames_of(Rename(track=7, new=2).apply(truth), 2) == list(TRACKS[7])
    for wrong, said in (
        (Rename(track=7, new=1), "rename 7=1: there is a track 1 already"),
        (Split(track=1, frame=6, new=3), "there is a track 3 already"),
        (Split(track=8, frame=3), "all of track 8 is from frame 3 on"),
    ):
        with pytest.raises(JmposeError, match=said):
            wrong.apply(truth)


def test_swap(truth):
    swapped = Swap(tracks=(1, 8), frames=(6, 8)).apply(truth)
    assert (joints_of(swapped, 1, 6) == joints_of(truth, 8, 6)).all()
    assert (joints_of(swapped, 8, 7) == joints_of(truth, 1, 7)).all()
    assert (joints_of(swapped, 1, 8) == joints_of(truth, 1, 8)).all()
    assert (swapped.identity == swapped.track_ids).all()
    only_one = Swap(tracks=(3, 7)).apply(truth)
    assert frames_of(only_one, 7) == list(TRACKS[3]) and frames_of(only_one, 3) == list(TRACKS[7])
    assert frames_of(Swap(tracks=(7, 5)).apply(truth), 5) == list(TRACKS[7])
    with pytest.raises(JmposeError, match="there is no track 40") as caught:
        Swap(tracks=(40, 41)).apply(truth)
    assert caught.value.hint == "the clip has 1, 3, 7, 8"


def test_delete(truth):
    assert frames_of(Delete(track=3).apply(truth), 3) == []
    assert frames_of(Delete(track=1, frames=(None, 5)).apply(truth), 1) == list(range(5, 14))
    with pytest.raises(JmposeError, match="track 3 is not in frames 9:") as caught:
        Delete(track=3, frames=(9, None)).apply(truth)
    assert caught.value.hint == "it is in frames 2 to 7"


def test_swap_sides(truth):
    swapped = SwapSides(track=1, frames=(4, 6)).apply(truth)
    flip = truth.keypoints.flip_index
    assert (joints_of(swapped, 1, 4) == joints_of(truth, 1, 4)[list(flip)]).all()
    assert (joints_of(swapped, 1, 6) == joints_of(truth, 1, 6)).all()
    for name in ("scores", "covariances", "probabilities", "raw_xy", "visibility"):
        assert (column(swapped, name, 1, "left_knee")[2:4] == column(truth, name, 1, "right_knee")[2:4]).all()
    assert column(swapped, "sources", 1, "left_knee").tolist() == [MODEL] * 2 + [CORRECTED] * 2 + [MODEL] * 8
    assert (column(swapped, "sources", 1, "nose") == MODEL).all()


def test_swap_sides_of_some_joints(truth):
    swapped = SwapSides(track=1, frames=(4, 5), joints=("left_knee",)).apply(truth)
    knees = [truth.keypoints.joints.index(side) for side in ("left_knee", "right_knee")]
    assert (joints_of(swapped, 1, 4)[knees] == joints_of(truth, 1, 4)[knees[::-1]]).all()
    assert np.delete(joints_of(swapped, 1, 4) == joints_of(truth, 1, 4), knees, 0).all()


def test_legs_are_exchanged_around_a_frame_for_as_long_as_they_are():
    right = walk(Walker(2, 300.0), frames=100)
    legs = ("left_hip", "left_knee", "left_ankle")
    wrong = SwapSides(track=2, frames=(20, 26), joints=legs).apply(settled(right))
    wrong = replace(wrong, sources=np.zeros_like(wrong.sources))
    mended = SwapSides(track=2, joints=legs, around=22).apply(wrong)
    assert (mended.xy == settled(right).xy).all()
    left, nose = (column(mended, "sources", 2, joint) for joint in ("left_knee", "nose"))
    assert left[18:28].tolist() == [MODEL] * 2 + [PROPAGATED] * 2 + [CORRECTED] + [PROPAGATED] * 3 + [MODEL] * 2
    assert (nose == MODEL).all()
    reviewed = Review(frames=(24, 30)).apply(wrong)
    assert column(SwapSides(track=2, joints=legs, around=22).apply(reviewed), "sources", 2, "left_knee")[24] == MODEL
    accepted = Accept(track=2).apply(mended)
    assert (accepted.xy == mended.xy).all() and (SwapSides(track=2, around=22).apply(accepted).xy != mended.xy).any()
    with pytest.raises(JmposeError, match="the frame is not one of them"):
        SwapSides(track=2, frames=(0, 10), around=22).apply(wrong)
    with pytest.raises(JmposeError, match="track 2 is not in frames 7"):
        SwapSides(track=2, around=7).apply(Delete(track=2, frames=(7, 8)).apply(wrong))


def test_joints_on_the_line_between_before_and_after(truth):
    line = InterpolateJoints(track=1, frames=(4, 6), joints=("nose", "left_eye")).apply(truth)
    nose = column(line, "xy", 1)
    assert np.abs(nose[2] - (2 * nose[1] + nose[4]) / 3).max() <= 0.011
    assert column(line, "sources", 1, "left_eye").tolist() == [MODEL] * 2 + [INTERPOLATED] * 2 + [MODEL] * 8
    assert (joints_of(line, 1, 4)[2:] == joints_of(truth, 1, 4)[2:]).all()
    assert (TakeBack(track=1).apply(line).xy == truth.xy).all()
    with pytest.raises(JmposeError, match="not there on both sides"):
        InterpolateJoints(track=1, frames=(None, 4), joints=("nose",)).apply(truth)


def test_set_joints(truth):
    new = SetJoints(track=1, frame=4, joints={"nose": (600.125, 3, 1), "left_eye": (0, 0, 0)}).apply(truth)
    assert joints_of(new, 1, 4)[:2].tolist() == [[600.12, 3], [0, 0]]
    for name, value in (("visibility", 1), ("scores", 1), ("probabilities", 1), ("sources", CORRECTED)):
        assert column(new, name, 1)[2] == value
    assert (column(new, "covariances", 1)[2] == 0).all() and column(new, "visibility", 1, "left_eye")[2] == 0
    (row,) = np.flatnonzero((new.track_ids == 1) & (new.index[new.frame] == 4))
    assert new.boxes_xyxy_px[row, 2] == pytest.approx(600.12, abs=0.02) and new.boxes_xyxy_px[row, 1] == 3
    assert changed_frames(truth, new) == {2: 1}
    with pytest.raises(JmposeError, match="there is no joint 'left_nee'") as caught:
        SetJoints(track=1, frame=4, joints={"left_nee": (1, 2, 2)}).apply(truth)
    assert "left_knee" in caught.value.hint


def test_set_visibility(truth):
    hidden = SetVisibility(track=1, frames=(4, 5), joints=("nose",), visibility=1).apply(truth)
    assert column(hidden, "visibility", 1)[2] == 1 and column(hidden, "sources", 1)[2] == CORRECTED
    assert (joints_of(hidden, 1, 4) == joints_of(truth, 1, 4)).all()
    gone = SetVisibility(track=1, frames=(4, 5), visibility=0).apply(hidden)
    assert (joints_of(gone, 1, 4) == 0).all() and column(gone, "scores", 1)[2] == 0
    with pytest.raises(JmposeError, match="none of the joints is there"):
        SetVisibility(track=1, frames=(4, 5), joints=("nose",), visibility=2).apply(gone)


def test_add_a_person(truth):
    added = AddPerson(frame=9, joints={"nose": (10, 20, 2), "left_hip": (30, 60, 1)}).apply(truth)
    assert frames_of(added, 9) == [9] and joints_of(added, 9, 9)[0].tolist() == [10, 20]
    (row,) = np.flatnonzero(added.track_ids == 9)
    assert added.boxes_xyxy_px[row].tolist() == [10, 20, 30, 60] and added.present[row].sum() == 2
    assert row == np.flatnonzero(added.index[added.frame] == 9)[-1]
    again = AddPerson(frame=3, track=7, box=(0, 0, 5, 5)).apply(truth)
    assert frames_of(again, 7) == [3, *TRACKS[7]]
    for wrong, said in (
        (AddPerson(frame=4, track=1, box=(0, 0, 5, 5)), "two people of track 1 in frames 4"),
        (AddPerson(frame=4, joints={"nose": (1, 2, 2)}), "without a box"),
        (AddPerson(frame=4, box=(9, 0, 5, 5)), "the box is empty"),
        (AddPerson(frame=14, box=(0, 0, 5, 5)), "there is no frame 14"),
    ):
        with pytest.raises(JmposeError, match=said):
            wrong.apply(truth)


def test_copy_a_pose(truth):
    copied = CopyPose(track=3, frame=10).apply(truth)
    assert frames_of(copied, 3) == [*TRACKS[3], 10] and (joints_of(copied, 3, 10) == joints_of(truth, 3, 7)).all()
    over = CopyPose(track=3, frame=5, source=2).apply(truth)
    assert (joints_of(over, 3, 5) == joints_of(truth, 3, 2)).all() and (column(over, "sources", 3)[3] == CORRECTED)
    with pytest.raises(JmposeError, match="in no frame before"):
        CopyPose(track=3, frame=2).apply(truth)


def test_review(truth):
    reviewed = Review(frames=(3, 6)).apply(truth)
    assert reviewed.reviewed.tolist() == [False, True, True, True] + [False] * 8
    assert not Review(reviewed=False).apply(reviewed).reviewed.any()
    assert changed_frames(truth, reviewed) == {1: 0, 2: 0, 3: 0}


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ((0, 4), "frames 0:4 are not all there"),
        ((4, 99), "frames 4:99 are not all there"),
        ((20, 21), "there is no frame 20"),
        ((6, 6), "frames 6:6 are none at all"),
        ((9, 3), "frames 9:3 are none at all"),
    ],
)
def test_frames_that_are_not_there(truth, frames, said):
    with pytest.raises(JmposeError, match=said) as caught:
        Review(frames=frames).apply(truth)
    assert "2 to 13" in caught.value.hint


def test_corrections_propagate(truth):
    def put(truth: Truth, frame: int, dx: float) -> Truth:
        x, y = joints_of(truth, 1, frame)[0].tolist()
        return SetJoints(track=1, frame=frame, joints={"nose": (x + dx, y, 2)}).apply(truth)

    def shifts(new: Truth) -> list[float]:
        return (column(new, "xy", 1) - column(truth, "xy", 1))[:, 0].round(2).tolist()

    spread_1 = partial(Propagate, track=1, by="correction")
    both = put(put(truth, 4, 10), 8, 30)
    spread = spread_1(fade_s=0.08).apply(both)
    assert shifts(spread) == [0, 5, 10, 15, 20, 25, 30, 15, 0, 0, 0, 0]  # frames are 0.04 s apart
    kinds = [MODEL, PROPAGATED, CORRECTED, *[PROPAGATED] * 3, CORRECTED, PROPAGATED, *[MODEL] * 4]
    assert column(spread, "sources", 1).tolist() == kinds
    assert (column(spread, "xy", 1, "left_eye") == column(truth, "xy", 1, "left_eye")).all()
    third = put(spread, 6, -20 - 20)  # it is where the model had it, 20 to the left
    assert shifts(spread_1(fade_s=0).apply(third)) == [0, 0, 10, -5, -20, 5, 30, 0, 0, 0, 0, 0]
    assert shifts(spread_1(frames=(5, 6), fade_s=0).apply(both)) == [0, 0, 10, 15, 0, 0, 30, *[0] * 5]
    seen = Review(frames=(6, 7)).apply(both)
    assert shifts(spread_1(fade_s=0.08).apply(seen)) == [0, 5, 10, 5, 0, 15, 30, 15, 0, 0, 0, 0]
    with pytest.raises(JmposeError, match="no joint of it is corrected"):
        Propagate(track=1).apply(truth)


def test_what_was_propagated_is_accepted_or_taken_back(truth):
    put = SetJoints(track=1, frame=4, joints={"nose": (60, 40, 2)}).apply(truth)
    spread = Propagate(track=1, by="correction", fade_s=0.1).apply(put)
    accepted = Accept(track=1, frames=(5, 6)).apply(spread)
    assert column(accepted, "sources", 1).tolist() == [PROPAGATED] * 2 + [CORRECTED] * 2 + [PROPAGATED] + [MODEL] * 7
    assert column(accepted, "scores", 1)[3] == 1 and (accepted.xy == spread.xy).all()
    back = TakeBack().apply(spread)
    assert (back.xy == put.xy).all() and (back.sources == put.sources).all()
    assert changed_frames(accepted, TakeBack(track=1, frames=(None, 4)).apply(accepted)) == {0: 1, 1: 1}
    filled = Interpolate(track=3).apply(Merge(tracks=(3, 7)).apply(truth))
    assert frames_of(TakeBack(track=3).apply(filled), 3) == [*TRACKS[3], *TRACKS[7]]
    assert (Accept().apply(filled).sources[filled.sources == INTERPOLATED] == CORRECTED).all()
    for nothing in (Accept(track=1), TakeBack(), TakeBack(track=1, frames=(4, 6))):
        with pytest.raises(JmposeError, match="nothing was"):
            nothing.apply(truth)


def test_boxes_and_people_who_are_hidden(truth):
    hidden = SetOccluded(track=1, frames=(4, 6)).apply(truth)
    assert hidden.occluded[hidden.track_ids == 1].tolist() == [False] * 2 + [True] * 2 + [False] * 8
    assert not SetOccluded(track=1, occluded=False).apply(hidden).occluded.any()
    boxed = SetBox(track=3, frame=2, box=(1, 2.5, 30, 40)).apply(truth)
    (row,) = np.flatnonzero((truth.track_ids == 3) & (truth.frame == 0))
    assert boxed.boxes_xyxy_px[row].tolist() == [1, 2.5, 30, 40] and boxed.observed[row]
    with pytest.raises(JmposeError, match="the box is empty"):
        SetBox(track=3, frame=2, box=(1, 2, 1, 40)).apply(truth)


def test_a_pose_that_a_model_was_asked_for(truth):
    found = {"nose": (100.5, 50.25, 0.9), "left_eye": (1, 2, 0.1)}
    put = SetJoints(track=1, frame=4, joints={"nose": (60, 40, 2)}).apply(truth)
    again = Estimated(frame=4, track=1, box=(1, 2, 30, 40), score=0.7, joints=found).apply(put)
    (row,) = np.flatnonzero((again.track_ids == 1) & (again.frame == 2))
    assert again.xy[row, :2].tolist() == [[60, 40], [1, 2]] and again.visibility[row, :2].tolist() == [2, 1]
    assert again.sources[row, :2].tolist() == [CORRECTED, MODEL] and again.model_xy[row, 1].tolist() == [1, 2]
    assert (again.xy[row, 2:] == put.xy[row, 2:]).all() and again.person_scores[row] == 0.7
    new = Estimated(frame=4, box=(1, 2, 30, 40), score=0.7, joints=found).apply(truth)
    (row,) = np.flatnonzero(new.track_ids == 9)
    assert new.visibility[row].tolist() == [2, 1] + [0] * 17 and (new.sources[row] == MODEL).all()
    assert new.boxes_xyxy_px[row].tolist() == [1, 2, 30, 40] and new.index[new.frame[row]] == 4


def test_what_is_dismissed_changes_nothing_and_must_be_there(truth):
    assert changed_frames(truth, Dismiss(tracks=(3, 7), kind="gap").apply(truth)) == {}
    with pytest.raises(JmposeError, match="there is no track 5"):
        Dismiss(tracks=(3, 5)).apply(truth)


def test_gaps_are_filled(truth):
    merged = Merge(tracks=(3, 7)).apply(truth)
    filled = Interpolate(track=3).apply(merged)
    assert frames_of(filled, 3) == list(range(2, 14))
    middle = (joints_of(merged, 3, 7) + joints_of(merged, 3, 9)) / 2
    assert np.abs(joints_of(filled, 3, 8) - middle).max() <= 0.011
    assert (column(filled, "sources", 3) == INTERPOLATED).tolist() == [False] * 6 + [True] + [False] * 5
    with pytest.raises(JmposeError, match="there is no gap"):
        Interpolate(track=3, frames=(9, None)).apply(merged)


def test_rows_of_a_file_replace_what_was_there(truth):
    other = Delete(track=8, frames=(5, 7)).apply(SwapSides(track=1, frames=(9, 10)).apply(truth))
    other = Review(frames=(2, 3)).apply(Merge(tracks=(3, 7)).apply(other))
    operation = Replace.between(truth, other, origin="a.json")
    assert [one.frame for one in operation.frames] == [2, 5, 6, 9, 10, 11, 12, 13]
    assert changed_frames(operation_in(operation_json(operation)).apply(truth), other) == {}
    row = json.loads(operation_json(operation))
    row["frames"][0]["people"][0]["xy"].pop()
    with pytest.raises(JmposeError, match="xy of track 1 has 37 values"):
        operation_in(json.dumps(row).encode()).apply(truth)


@pytest.fixture
def _hasty(monkeypatch):
    """Files that need not survive a power failure."""
    monkeypatch.setattr("jmpose.files.os.fsync", lambda _: None)


@pytest.mark.usefixtures("_hasty")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_json_says_all_and_the_file_keeps_all(truth, tmp_path_factory, data):
    """What operations leave is what reading the written file gives, to the bit."""
    path = tmp_path_factory.getbasetemp() / "settled.json"
    for _ in range(3):
        operation = data.draw(operations(truth))
        assert operation_in(operation_json(operation)) == operation
        try:
            truth = operation.apply(truth)
        except JmposeError:
            continue
    write_truth(truth, path)
    read = read_truth(path)
    columns = {name: column for name, column in truth.row_columns().items() if name != "model_xy"}
    assert columns.keys() == read.row_columns().keys()
    for name, values in columns.items():
        assert np.array_equal(getattr(read, name), values, equal_nan=name == "box_scores"), name
    assert changed_frames(settled(truth), read) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"op": "explode"}',
        '{"op": "merge", "tracks": [1]}',
        '{"op": "merge", "tracks": [1, "2"]}',
        '{"op": "merge", "tracks": [1, -2]}',
        '{"op": "merge", "tracks": [1, 99999999999]}',
        '{"op": "merge", "tracks": [1, 2], "also": 3}',
        '{"op": "delete", "track": 1, "frames": [1]}',
        '{"op": "delete", "track": true}',
        '{"op": "set_joints", "track": 1, "frame": 2, "joints": {"nose": [1, 2, 3]}}',
        '{"op": "set_joints", "track": 1, "frame": 2, "joints": {"nose": [NaN, 2, 1]}}',
        '{"op": "set_joints", "track": 1, "frame": 2, "joints": {"nose": [1e300, 2, 1]}}',
        '{"op": "review", "reviewed": "yes"}',
        '{"op": "propagate", "track": 1, "fade_s": -1}',
        '{"op": "dismiss", "tracks": [1], "kind": "odd"}',
        '{"op": "estimated", "frame": 4, "box": [1, 2, 3, 4], "score": 0.5, "joints": {"nose": [1, 2, 3]}}',
    ],
)
def test_what_is_no_operation_is_refused(text):
    with pytest.raises(JmposeError, match="not an operation"):
        operation_in(text.encode())


def test_the_clip_is_as_told(truth):
    assert truth.index.tolist() == list(range(FIRST, FIRST + FRAMES))
    assert {track: frames_of(truth, track) for track in TRACKS} == {t: list(frames) for t, frames in TRACKS.items()}
