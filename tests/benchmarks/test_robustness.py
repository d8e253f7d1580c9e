import dataclasses
import json

import numpy as np
import pytest

import robustness
from degradation import KINDS, REGIMES, Condition
from jmpose_cli.errors import JmposeError
from jmpose_cli.pose.estimator import EstimatorSettings
from jmpose_cli.pose.torch_engine import TorchEstimator
from jmpose_cli.pose.windows import SeenFrame
from jmpose_cli.values import TrackedFrame
from real_video import (
    Clip,
    _candidates,
    _cut_out,
    _load,
    _save,
    estimate_clip,
    is_steady,
    load_clips,
    table,
)
from robustness import CLEAN, OUTPUTS, Results, Tally, draw_plot, is_near, mean_pck, report
from tests.jmpose.tiny_model import stir, tiny_config, tiny_model


def tally(known: int, right: list[int]) -> Tally:
    """A joint kind each: `known` of every joint, and so many right by output."""
    return Tally(np.full(17, known), np.repeat(np.array(right)[:, None], 17, 1))


def results_of(clips: list[Clip], rights: list[list[int]]) -> Results:
    conditions = [CLEAN, *(Condition(kind, 2, regime) for kind in KINDS for regime in REGIMES)]
    return Results(clips, [{condition: tally(10, right) for condition in conditions} for right in rights])


@pytest.fixture
def three(clip: Clip) -> list[Clip]:
    names = (("a", 1), ("a", 2), ("b", 1))
    return [dataclasses.replace(clip, name=f"{v} {t}", video=v, track=t) for v, t in names]


def test_near_is_a_tenth_of_the_root_of_the_box_area(clip: Clip) -> None:
    assert clip.size_px == pytest.approx(np.sqrt(30 * 60))  # 42.4 pixels
    right = [is_near(clip.xy + np.array([off, 0]), clip) for off in (4.2, 4.3)]
    assert [r.mean() for r in right] == [1, 0]
    assert not is_near(np.full_like(clip.xy, np.nan), clip).any()


def test_pck_pools_joints_and_averages_ways() -> None:
    known = np.array([[10, 30], [0, 5]])
    right = np.array([[[5], [30]], [[0], [1]]])
    weights = np.array([[1, 1], [2, 0], [0, 1]])
    # 35 of 40 and 1 of 5; 10 of 20, and nothing of the second way; 30 of 30 and 1 of 5.
    assert mean_pck(known, right, weights)[:, 0] == pytest.approx([53.75, 50.0, 60.0])


def test_gain_is_paired_and_its_interval_spans_the_clips(three: list[Clip]) -> None:
    results = results_of(three, [[9, 5, 6, 5, 6], [9, 5, 7, 5, 7], [9, 5, 8, 5, 8]])
    conditions = [Condition(kind, 2, "bursts") for kind in KINDS]
    over_tracks = results.gain(conditions, results.tracks)
    assert over_tracks.value == pytest.approx(20)
    assert over_tracks.low == pytest.approx(10)
    assert over_tracks.high == pytest.approx(30)
    over_videos = results.gain(conditions, results.videos)
    assert (over_videos.low, over_videos.high) == pytest.approx((15, 30))
    assert results.gain(conditions, results.tracks, over="teacher").value == pytest.approx(-20)
    one = results.of(lambda clip: clip.video == "b").gain(conditions, ["b 1"])
    assert one.value == pytest.approx(30)
    assert np.isnan(one.low)


def test_what_is_not_smoothed_is_not_known(three: list[Clip]) -> None:
    weak = Condition("defocus", 1, "bursts")
    results = Results(three, [{CLEAN: tally(10, [5] * 5), weak: tally(10, [5, 5, 5, 0, 0])}] * 3)
    assert np.isnan(results.pck([weak])).tolist() == [False, False, False, True, True]
    assert results.pck([CLEAN]).tolist() == [50.0] * 5


def test_the_page_says_the_gain_and_the_split(three: list[Clip], tmp_path) -> None:
    results = results_of(three, [[9, 5, 6, 5, 6]] * 3)
    about = dict.fromkeys(("model", "command", "machine", "date", "commit", "seconds", "sha256", "plot"), "x")
    page = report(results, None, about)
    assert "bursts +10.0 [+10.0, +10.0]" in page
    assert "3 clips of 3 tracks" in page
    assert "pose2sim_two_people" in page
    assert "| occluder | 2 | 510 | 90.0 | 50.0 | 60.0 |" in page
    draw_plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert json.dumps(robustness.figures(results))


def test_a_table_leaves_out_what_is_not_known() -> None:
    assert table(["a", "b"], [["x", 1.25], [float("nan"), 3]]) == [
        "| a | b |",
        "| --- | --- |",
        "| x | 1.2 |",
        "|  | 3 |",
        "",
    ]


def test_steady_joints_lie_between_their_neighbours() -> None:
    xy = np.zeros((5, 1, 2))
    xy[:, 0, 0] = [0, 10, 20, 45, 40]  # even steps, then a jump of 15 pixels
    assert is_steady(xy, np.full(5, 100.0))[:, 0].tolist() == [False, True, False, False, False]
    assert is_steady(xy, np.full(5, 1000.0))[:, 0].tolist() == [False, True, True, True, False]


def seen(boxes: dict[int, tuple[float, float, float, float]], n: int) -> SeenFrame:
    count = len(boxes)
    people = TrackedFrame(
        index=n,
        time_s=n / 30,
        boxes_xyxy_px=np.array(list(boxes.values()), np.float32).reshape(-1, 4),
        scores=np.ones(count, np.float32),
        track_ids=np.array(list(boxes), np.int64),
        observed=np.ones(count, bool),
    )
    return SeenFrame(np.zeros((240, 320, 3), np.uint8), people)


def test_clips_take_tracks_in_turn_and_stay_in_a_run() -> None:
    tall, small = (10, 10, 60, 110), (10, 10, 30, 60)
    frames = [seen({1: tall, 2: small} | ({3: tall} if n != 6 else {}), n).people for n in range(20)]
    found = _candidates(frames, 5, seed=0)
    assert {track for track, _ in found[:2]} == {1, 3}  # one of each track first; the second is too small
    assert {first for track, first in found if track == 3} == {0, 7, 12}
    assert {first for track, first in found if track == 1} == {0, 5, 10, 15}


def test_a_cut_out_keeps_places_and_shows_the_whole_crop(tmp_path) -> None:
    frames = [np.zeros((600, 800, 3), np.uint8) for _ in range(10)]
    for frame in frames:
        frame[300:304, 400:404] = 255
    boxes = np.tile(np.array([[300, 44, 500, 556]], np.float32), (10, 1))  # 512 pixels tall, twice what is kept
    xy = np.full((10, 17, 2), [401.5, 301.5])
    clip = _cut_out("v", 3, 7, 30.0, frames, boxes, xy, np.ones((10, 17), bool))
    _, top, _, bottom = clip.boxes_xyxy_px[0]
    assert bottom - top == pytest.approx(256, rel=0.01)
    assert clip.frames.shape[1:3] == (300, 240)  # cut off by the frame; 1.25 * 512 * 3 / 4 wide
    bright = np.argwhere(clip.frames[0, :, :, 0] > 200).mean(0)[::-1]
    assert clip.xy[0, 0] == pytest.approx(bright, abs=0.5)
    assert clip.scored.tolist() == [False] * 4 + [True] * 2 + [False] * 4
    _save([clip], tmp_path / "made")
    (back,) = _load(tmp_path / "made")
    assert (back.name, back.track, back.fps) == ("v track 3 from 7", 3, 30.0)
    np.testing.assert_array_equal(back.frames, clip.frames)
    np.testing.assert_array_equal(back.known, clip.known)


def test_answers_for_some_frames_are_those_for_all(clip: Clip) -> None:
    model = stir(tiny_model(tiny_config())).eval()
    estimator = TorchEstimator(model, EstimatorSettings(batch=4), name="tiny")
    everywhere, wanted = np.ones(16, bool), np.arange(16) % 4 == 1
    full = estimate_clip(estimator, clip, clip.frames, present=everywhere)
    some = estimate_clip(estimator, clip, clip.frames, present=everywhere, wanted=wanted)
    assert set(full) == set(OUTPUTS) - {"teacher"}
    for output in ("single", "temporal"):
        np.testing.assert_array_equal(some[output][wanted], full[output][wanted])
        assert np.isnan(some[output][~wanted]).all()
    assert np.isnan(some["smooth single"]).all()
    assert np.isfinite(full["smooth single"]).all()
    gone = np.arange(16) != 5
    assert np.isnan(estimate_clip(estimator, clip, clip.frames, present=gone)["temporal"][5]).all()


def test_a_folder_without_videos_is_refused(tmp_path) -> None:
    with pytest.raises(JmposeError, match="no videos/"):
        load_clips(tmp_path, cache=tmp_path, length=8, most=1, rendered=0)
