import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmpose_cli.pose.windows import SeenFrame, Spacing, WindowMaker, Windows
from jmpose_cli.values import TrackedFrame


def frame(index: int, ids: list[int], *, time_s: float | None = None, segment: int = 0) -> SeenFrame:
    """A 1x1 picture whose red value is its number."""
    n = len(ids)
    people = TrackedFrame(
        index=index,
        time_s=index / 30 if time_s is None else time_s,
        boxes_xyxy_px=np.zeros((n, 4), np.float32),
        scores=np.ones(n, np.float32),
        track_ids=np.array(ids, np.int64),
        observed=np.ones(n, bool),
        segment=segment,
    )
    return SeenFrame(np.full((1, 1, 3), index, np.uint8), people)


def windows_of(frames: list[SeenFrame], spacing: Spacing) -> list[Windows]:
    maker = WindowMaker(spacing)
    made = [w for f in frames for w in maker.push(f)]
    return made + list(maker.finish())


def shown(windows: Windows, person: int = 0) -> list[int]:
    """The frame numbers that a person's window shows."""
    return [windows.frames[i].people.index for i in windows.frame_of[person]]


FIVE = Spacing((-2, -1, 0, 1, 2), max_gap_s=1.0)


def test_a_window_in_the_middle_shows_its_neighbours():
    made = windows_of([frame(i, [7]) for i in range(9)], FIVE)
    assert [w.key.people.index for w in made] == list(range(9))
    assert shown(made[4]) == [2, 3, 4, 5, 6]
    assert made[4].exists.all()


@pytest.mark.parametrize(
    ("key", "frames", "exists"),
    [
        (0, [0, 0, 0, 1, 2], [0, 0, 1, 1, 1]),
        (1, [0, 0, 1, 2, 3], [0, 1, 1, 1, 1]),
        (4, [2, 3, 4, 4, 4], [1, 1, 1, 0, 0]),
        (3, [1, 2, 3, 4, 4], [1, 1, 1, 1, 0]),
    ],
)
def test_ends_of_the_video_repeat_the_nearest_frame(key, frames, exists):
    made = windows_of([frame(i, [1]) for i in range(5)], FIVE)[key]
    assert shown(made) == frames
    assert made.exists[0].tolist() == [bool(e) for e in exists]


def test_a_cut_hides_the_other_side():
    frames = [frame(i, [1], segment=int(i >= 3)) for i in range(6)]
    before, after = windows_of(frames, FIVE)[2:4]
    assert shown(before) == [0, 1, 2, 2, 2] and before.exists[0].tolist() == [True, True, True, False, False]
    assert shown(after) == [3, 3, 3, 4, 5] and after.exists[0].tolist() == [False, False, True, True, True]


def test_each_person_has_its_own_neighbours():
    frames = [frame(0, [1]), frame(1, [1, 2]), frame(2, [1, 2]), frame(3, [2])]
    made = windows_of(frames, Spacing((-1, 0, 1), 1.0))[2]
    assert shown(made, 0) == [1, 2, 2] and shown(made, 1) == [1, 2, 3]


def test_a_lost_person_is_taken_from_the_nearest_frame_that_has_it():
    frames = [frame(0, [1]), frame(1, [1]), frame(2, []), frame(3, [1])]
    made = windows_of(frames, Spacing((-3, 0), 1.0))[3]
    assert shown(made) == [0, 3] and made.exists[0, 0]
    made = windows_of(frames[1:], Spacing((-3, 0), 1.0))[2]
    assert shown(made) == [1, 3] and not made.exists[0, 0]


def test_a_support_frame_too_far_in_time_does_not_exist():
    frames = [frame(i, [1], time_s=t) for i, t in enumerate([0.0, 0.9, 1.0, 1.1, 2.0])]
    made = windows_of(frames, Spacing((-2, -1, 0, 1, 2), max_gap_s=0.25))[2]
    assert shown(made) == [1, 1, 2, 3, 3]
    assert made.exists[0].tolist() == [False, True, True, True, False]


def test_frames_without_people_come_out_too():
    made = windows_of([frame(i, []) for i in range(3)], FIVE)
    assert [len(w.key.people) for w in made] == [0, 0, 0]


def test_offsets_scale_with_the_frame_rate():
    def offsets(fps: float) -> tuple[int, ...]:
        return Spacing.for_video((-2, 0, 2), fps=fps, reference_fps=30, max_gap_s=0.25).offsets

    assert offsets(25) == offsets(30) == offsets(5) == (-2, 0, 2)
    assert offsets(60) == (-4, 0, 4) and offsets(240) == (-16, 0, 16)


@pytest.mark.parametrize("offsets", [(-1, 1), (1, 0, -1), (0, 0, 1)])
def test_offsets_must_ascend_and_hold_the_key_frame(offsets):
    with pytest.raises(ValueError, match="must ascend and hold 0"):
        Spacing(offsets, 1.0)


@given(
    present=st.lists(st.sets(st.integers(1, 3)), min_size=1, max_size=12),
    cuts=st.sets(st.integers(1, 11)),
    offsets=st.sampled_from([(0,), (-2, 0, 2), (-2, -1, 0, 1, 2), (-3, 0)]),
)
def test_windows_hold_only_frames_of_the_same_track_and_segment(present, cuts, offsets):
    segments = [sum(c <= i for c in cuts) for i in range(len(present))]
    frames = [frame(i, sorted(ids), segment=segments[i]) for i, ids in enumerate(present)]
    made = windows_of(frames, Spacing(offsets, 10.0))
    assert [w.key.people.index for w in made] == list(range(len(present)))
    for windows in made:
        key = windows.key.people
        for person, track in enumerate(key.track_ids):
            for column, offset in enumerate(offsets):
                index = shown(windows, person)[column]
                assert track in present[index] and segments[index] == key.segment
                assert windows.exists[person, column] == (index == key.index + offset)
