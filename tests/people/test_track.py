import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.people.track import MAX_HELD_FRAMES, PeopleTracker
from jmpose_cli.values import Detections, TrackedFrame


def boxes(*people: tuple[float, float], scores: tuple[float, ...] | None = None) -> Detections:
    """People 40 pixels wide and 100 high at (left, top)."""
    corners = np.array([[x, y, x + 40, y + 100] for x, y in people], np.float32).reshape(-1, 4)
    return Detections(corners, np.array(scores if scores else [0.9] * len(people), np.float32))


def track(
    found: list[Detections | None], *, fps: float = 30.0, cuts: tuple[int, ...] = (), **options
) -> list[TrackedFrame]:
    tracker = PeopleTracker(fps=fps, **options)
    out = []
    for index, detections in enumerate(found):
        out += tracker.push(index, index / fps, detections, cut=index in cuts)
    return out + tracker.finish()


def ids(frames: list[TrackedFrame]) -> list[list[int]]:
    return [f.track_ids.tolist() for f in frames]


def test_ids_begin_with_the_first_frame_of_each_person():
    found = [boxes((10 + 2 * i, 10)) if i < 4 else boxes((10 + 2 * i, 10), (300, 10)) for i in range(10)]
    assert ids(track(found)) == [[1]] * 4 + [[1, 2]] * 6


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    every=st.integers(1, 4),
    cuts=st.sets(st.integers(1, 39)),
)
def test_every_frame_comes_out_once_and_in_order(counts, every, cuts):
    found = [boxes(*[(100 * p + i, 20) for p in range(n)]) if i % every == 0 else None for i, n in enumerate(counts)]
    out = track(found, detect_every=every, cuts=tuple(cuts))
    assert [f.index for f in out] == list(range(len(counts)))
    for f in out:
        assert (np.diff(f.track_ids) > 0).all() and (f.track_ids >= 1).all()


@pytest.mark.parametrize("fps", [10, 30, 120])
@pytest.mark.parametrize(("gap_s", "kept"), [(0.5, True), (2.0, False)])
def test_a_lost_person_is_remembered_in_seconds(fps, gap_s, kept):
    there, gone = round(fps * 1.0), round(fps * gap_s)
    found = [boxes((50, 50))] * there + [boxes()] * gone + [boxes((50, 50))] * there
    out = track(found, fps=fps, lost_after_s=1.0, max_gap_s=0.2)
    assert out[0].track_ids.tolist() == [1]
    assert out[-1].track_ids.tolist() == ([1] if kept else [2])
    assert len(out[there + gone // 2]) == 0


def test_short_gaps_are_filled_in_a_straight_line():
    found = [boxes((10.0 * i, 0)) if i not in (5, 6) else boxes() for i in range(12)]
    out = track(found, max_gap_s=0.25)
    assert [f.boxes_xyxy_px[0, 0] for f in out] == pytest.approx([10.0 * i for i in range(12)])
    assert [f.observed[0] for f in out] == [i not in (5, 6) for i in range(12)]


def test_gaps_longer_than_allowed_stay_empty():
    found = [boxes((10, 0)) if not 4 <= i < 12 else boxes() for i in range(20)]
    assert [len(f) for f in track(found, max_gap_s=0.2)] == [1] * 4 + [0] * 8 + [1] * 8


@pytest.mark.parametrize(("fps", "gap", "filled"), [(7, 6, True), (7, 7, False), (25, 20, False), (2, 2, False)])
def test_in_slow_videos_gaps_of_up_to_seven_looks_and_a_second_are_filled(fps, gap, filled):
    there = [boxes((10, 0))] * 8
    out = track(there + [boxes()] * gap + there, fps=fps, max_gap_s=0.5)
    assert ids(out) == [[1]] * 8 + [[1] if filled else []] * gap + [[1]] * 8


def test_frames_between_detections_are_interpolated():
    found = [boxes((6.0 * i, 0)) if i % 3 == 0 else None for i in range(13)]
    out = track(found, detect_every=3, max_gap_s=0.0)
    assert [f.boxes_xyxy_px[0, 0] for f in out] == pytest.approx([6.0 * i for i in range(13)])
    assert [bool(f.observed[0]) for f in out] == [i % 3 == 0 for i in range(13)]


def test_a_cut_ends_all_tracks():
    out = track([boxes((50, 50))] * 10, cuts=(5,))
    assert ids(out) == [[1]] * 5 + [[2]] * 5
    assert [f.segment for f in out] == [0] * 5 + [1] * 5


def test_weak_boxes_continue_a_track_but_start_none():
    weak, strong = boxes((50, 50), scores=(0.2,)), boxes((50, 50))
    assert [len(f) for f in track([weak] * 6)] == [0] * 6
    assert ids(track([strong] * 4 + [weak] * 4)) == [[1]] * 8


def test_a_single_frame_keeps_its_people():
    assert ids(track([boxes((10, 10), (200, 10), scores=(0.9, 0.4))])) == [[1, 2]]


@pytest.mark.parametrize(("score", "kept"), [(0.5, False), (0.8, True)])
def test_somebody_seen_in_one_frame_only_must_be_sure(score, kept):
    found = [boxes()] * 5 + [boxes((50, 50), scores=(score,))] + [boxes()] * 20
    assert sum(len(f) for f in track(found)) == int(kept)


def test_the_person_shown_first_is_kept_when_people_are_limited():
    found = [boxes((10, 10))] * 5 + [boxes((10, 10), (200, 10), scores=(0.6, 0.95))] * 10
    assert ids(track(found, max_people=1)) == [[1]] * 15


def test_the_largest_is_kept_when_all_are_new():
    large = Detections(np.array([[0, 0, 40, 100], [200, 0, 300, 300]], np.float32), np.array([0.9, 0.9], np.float32))
    out = track([large] * 6, max_people=1)
    assert all(f.boxes_xyxy_px[0].tolist() == [200, 0, 300, 300] for f in out)


def test_given_ids_are_kept():
    tracker = PeopleTracker(fps=30)
    out = []
    for index in range(5):
        out += tracker.push(index, index / 30, boxes((10, 10), (12, 10)), track_ids=np.array([42, 7]))
    out += tracker.finish()
    assert ids(out) == [[7, 42]] * 5


def test_what_is_held_back_is_bounded():
    tracker = PeopleTracker(fps=1000, max_gap_s=10.0)
    given = 0
    for index in range(200):
        given += len(tracker.push(index, index / 1000, boxes((10, 10))))
        assert index + 1 - given <= MAX_HELD_FRAMES


def test_two_videos_do_not_know_of_each_other():
    one, two = PeopleTracker(fps=30), PeopleTracker(fps=30)
    got: tuple[list, list] = ([], [])
    for index in range(30):
        got[0].extend(one.push(index, index / 30, boxes((10 + index, 10))))
        got[1].extend(two.push(index, index / 30, boxes((300 - index, 10), (500, 10))))
    assert ids(got[0] + one.finish()) == [[1]] * 30 and ids(got[1] + two.finish()) == [[1, 2]] * 30


def walk(count: int, *, step_px: float, jitter_px: float = 0.0, lanes: int = 1) -> list[Detections]:
    """People 40 wide and 100 high, each in a lane of its own, who move `step_px` from frame to frame."""
    rng = np.random.default_rng(0)
    places = np.array([(50, 200 * lane) for lane in range(lanes)])
    return [
        boxes(*(places + np.array([i * step_px, 0]) + rng.normal(0, jitter_px, (lanes, 2))).tolist())
        for i in range(count)
    ]


def push_all(tracker: PeopleTracker, found: list[Detections], times: list[float]) -> list[TrackedFrame]:
    out = [frame for i, (d, at_s) in enumerate(zip(found, times, strict=True)) for frame in tracker.push(i, at_s, d)]
    return out + tracker.finish()


# Containers without a rate of their own say 25 whatever the timestamps are.
@pytest.mark.parametrize("said_fps", [0.2, 25.0])
def test_people_who_hardly_move_keep_their_ids_however_slow_the_video(said_fps):
    found = walk(24, step_px=0, jitter_px=6, lanes=5)
    out = push_all(PeopleTracker(fps=said_fps), found, [5.0 * i for i in range(24)])
    assert ids(out) == [[1, 2, 3, 4, 5]] * 24


@pytest.mark.parametrize("fps", [0.2, 0.5, 1, 2, 4, 7, 10, 24, 30, 60, 120, 240])
def test_a_walk_is_one_track_at_any_rate(fps):
    # At 1 m/s and 1.7 m of height: no overlap from one frame to the next below 2 a second.
    metres_per_frame = min(1.0 / fps, 2.0)
    out = track(walk(20, step_px=metres_per_frame / 1.7 * 100), fps=fps)
    assert ids(out) == [[1]] * 20


@pytest.mark.parametrize("fps", [0.2, 1, 5])
def test_a_lost_person_is_remembered_for_some_frames_too(fps):
    there, gone = walk(5, step_px=0), [boxes()] * 2
    assert ids(track(there + gone + there, fps=fps, max_gap_s=0.1)) == [[1]] * 5 + [[]] * 2 + [[1]] * 5
    assert ids(track(there + [boxes()] * round(2 * fps + 4) + there, fps=fps))[-1] == [2]


@pytest.mark.parametrize(("fps", "kept"), [(25, 0), (0.2, 3)])
def test_who_is_in_one_frame_only_need_not_be_sure_where_frames_are_far_apart(fps, kept):
    passers = [boxes((400.0 * (i % 3), 0), scores=(0.5,)) if i % 4 == 1 else boxes() for i in range(12)]
    assert sum(map(len, track(passers, fps=fps))) == kept


def test_what_cannot_be_followed_is_said():
    def notes(fps: float, said_fps: float) -> list[str]:
        tracker = PeopleTracker(fps=said_fps)
        push_all(tracker, walk(12, step_px=0), [i / fps for i in range(12)])
        return list(tracker.notes())

    (note,) = notes(0.2, 25.0)
    assert "every 5 s" in note and "people.heights_per_s=0.7" in note and "--detect-every" in note
    assert notes(2.0, 2.0) == notes(25.0, 25.0) == []


def test_the_example_has_no_more_tracks_at_two_frames_a_second():
    truth = json.loads((Path(__file__).parents[2] / "examples" / "street.posetrack18.json").read_text())
    people = {image["id"]: [] for image in truth["images"]}
    for one in truth["annotations"]:
        x, y, width, height = one["bbox"]
        people[one["image_id"]].append((x, y, x + width, y + height))
    rng = np.random.default_rng(0)
    found = []
    for corners in people.values():
        noisy = np.array(corners, np.float32).reshape(-1, 4)
        noisy += rng.normal(0, 0.03, noisy.shape) * (noisy[:, 3:] - noisy[:, 1:2])
        found.append(Detections(noisy.astype(np.float32), np.full(len(noisy), 0.8, np.float32)))
    counts = [len({i for frame in ids(track(found[::every], fps=25 / every)) for i in frame}) for every in (1, 12)]
    assert counts[1] <= 1.5 * counts[0], counts


@pytest.mark.parametrize("fps", [30.0, 2.0])
@pytest.mark.parametrize("pixel_width", [2.0, 0.5])
def test_tracks_do_not_depend_on_the_shape_of_pixels(pixel_width, fps):
    rng = np.random.default_rng(0)
    places = rng.uniform(0, [600, 300], (8, 2))
    square, wide = [], []
    for _ in range(30):
        places = places + rng.normal(0, 6 if fps > 8 else 40, places.shape)
        corners = np.concatenate([places, places + np.array([40, 120])], 1)[rng.random(8) > 0.2].astype(np.float32)
        scores = np.full(len(corners), 0.8, np.float32)
        square.append(Detections(corners, scores))
        wide.append(Detections((corners / (pixel_width, 1, pixel_width, 1)).astype(np.float32), scores))
    assert ids(track(wide, fps=fps, pixel_width=pixel_width)) == ids(track(square, fps=fps))


def test_a_track_reaches_back_through_weaker_boxes():
    found = [boxes((50 + 2 * i, 50), scores=(0.12 if i < 6 else 0.9,)) for i in range(12)]
    assert ids(track(found, new_track_score=0.5)) == [[1]] * 12
    assert ids(track(found[:6] * 2, new_track_score=0.5)) == [[]] * 12


def test_a_second_box_on_somebody_is_nobody():
    whole = np.array([100, 0, 150, 120], np.float32)
    found = [
        Detections(np.stack([whole, whole - [0, 0, 0, 70]]) + np.float32(i), np.float32([0.9, 0.8])) for i in range(20)
    ]
    assert ids(track(found)) == [[1]] * 20


def meeting(*, turn_back: bool) -> list[tuple[Detections, np.ndarray]]:
    """Two people who walk towards each other, are one box for half a second, and part; and what they look like."""
    looks = np.eye(4, dtype=np.float32)
    frames = []
    for i in range(60):
        ways = (100 + 4 * i, 340 - 4 * i) if not turn_back or i < 30 else (100 + 4 * (60 - i), 340 - 4 * (60 - i))
        together = 23 <= i <= 37
        found = boxes(*((x, 10) for x in ways[: 1 if together else 2]))
        frames.append((found, looks[: len(found)]))
    return frames


@pytest.mark.parametrize("turn_back", [False, True])
def test_looks_tell_who_is_who_after_a_meeting(turn_back):
    def ends(appearance: AppearanceScale | None) -> list[float]:
        tracker, out = PeopleTracker(fps=30, appearance=appearance), []
        for i, (found, looks) in enumerate(meeting(turn_back=turn_back)):
            out += tracker.push(i, i / 30, found, looks=looks if appearance else None)
        last = (out + tracker.finish())[-1]
        assert sorted(last.track_ids.tolist()) == [1, 2]
        return last.boxes_xyxy_px[np.argsort(last.track_ids), 0].tolist()

    by_looks = ends(AppearanceScale(even=0.5, certain=0.2, known=0.5, sure=0.2))
    assert (by_looks[0] < by_looks[1]) == turn_back


@pytest.mark.parametrize("width", [640, None])
def test_who_has_left_the_picture_does_not_give_the_id_to_the_next(width):
    """Somebody walks out on the right; 0.4 s later somebody else comes in there."""
    tracker, out = PeopleTracker(fps=10.0, width_px=width), []
    for n in range(36):
        left = 500 + 14 * n if n < 12 else 638 - 14 * (n - 16)
        box = np.array([[left, 100, min(left + 60, 640), 260]], np.float32)
        seen = Detections(box, np.full(1, 0.9, np.float32)) if left < 636 else Detections.empty()
        out += tracker.push(n, n / 10, seen)
    out += tracker.finish()
    ids = [frame.track_ids.tolist() for frame in out if len(frame)]
    assert (ids[0] != ids[-1]) == (width is not None)
