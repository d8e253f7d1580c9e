from dataclasses import replace

import numpy as np
import pytest

from jmpose_cli.metrics.bootstrap import LEVEL, MIN_REPLICATES, MIN_VIDEOS, compare
from jmpose_cli.metrics.joints import JOINTS
from jmpose_cli.metrics.posetrack import evaluate_posetrack, pair_inputs
from tests.metrics.pose_files import Person, read_pair


def run(folder, shifts):
    """One video for each shift: predictions are that far off in every other frame."""
    inputs = []
    for number, shift in enumerate(shifts):
        truth = [[Person(1)] for _ in range(4)]
        wrong = [Person(1, y=100.0 + shift)]
        pair = read_pair(folder / f"{number}-{shift}", truth, [wrong, truth[1], wrong, truth[3]])
        inputs.append(pair_inputs(f"{number:06d}_mpii_test", *pair, protocol="posetrack18"))
    return evaluate_posetrack(inputs, protocol="posetrack18")


def test_a_run_does_not_differ_from_itself(tmp_path):
    one = run(tmp_path, [0.0, 9.0, 0.0] * 2)
    found = compare(one, one, replicates=100)
    assert (found.replicates, found.videos) == (100, 6)
    for columns in found.differences.values():
        assert {(d.value, d.low, d.high) for d in columns.values()} == {(0.0, 0.0, 0.0)}
        assert not any(d.is_clear for d in columns.values())


def test_the_difference_is_that_of_the_figures(tmp_path):
    one, other = run(tmp_path, [9.0] * 6), run(tmp_path, [9.0, 0.0, 0.0] * 2)
    found = compare(one, other, replicates=200)
    for metric, table in {"ap": "ap", "mota": "mota", "hota": "hota"}.items():
        ours, theirs = one.tables()[table], other.tables()[table]
        total = found.differences[metric]["total"]
        assert total.value == pytest.approx(theirs.total - ours.total)
        assert found.differences[metric]["nose"].value == pytest.approx(
            theirs.columns()["Head"] - ours.columns()["Head"]
        )
        assert total.low <= total.value <= total.high


def test_videos_that_all_gain_give_a_clear_difference(tmp_path):
    worse, better = run(tmp_path, [9.0] * 6), run(tmp_path, [0.0] * 6)
    total = compare(worse, better, replicates=100).differences["ap"]["total"]
    assert (total.value, total.low, total.high) == pytest.approx((75.0, 75.0, 75.0))
    assert total.is_clear


def test_one_lucky_video_gives_none(tmp_path):
    one, other = run(tmp_path, [9.0] * 6), run(tmp_path, [9.0] * 5 + [0.0])
    total = compare(one, other, replicates=200).differences["mota"]["total"]
    assert total.value > 0
    assert total.low == 0.0  # draws without the video
    assert not total.is_clear


def test_weights_equal_repeated_videos(tmp_path):
    """Drawing a video twice is the same as having it twice."""
    one = run(tmp_path, [9.0, 3.5, 0.0])
    doubled = evaluate_like(one, [0, 0, 2])
    from jmpose_cli.metrics.bootstrap import _columns

    weights = np.array([[2, 0, 1]])
    for metric in ("ap", "mota", "hota"):
        ours = _columns(one, metric, weights)[0]
        table = doubled.tables()[metric]
        assert ours[15] == pytest.approx(table.total)
        assert ours[:15] == pytest.approx(table.values)


def evaluate_like(run, rows):
    return replace(run, videos=tuple(run.videos[row] for row in rows))


@pytest.mark.parametrize("videos", range(1, 9))
def test_the_fewest_videos_are_those_that_luck_alone_does_not_decide(videos):
    """Of equal runs, all videos change in one direction in 2 of 2^n cases."""
    assert (2 / 2**videos < 1 - LEVEL) == (videos >= MIN_VIDEOS)


@pytest.mark.parametrize("videos", [1, 2, MIN_VIDEOS - 1])
def test_few_videos_have_no_intervals(tmp_path, videos):
    worse, better = run(tmp_path, [9.0] * videos), run(tmp_path, [0.0] * videos)
    found = compare(worse, better)
    assert found.replicates == 0
    assert f"no intervals and no *: they take 6 videos, here is {videos} video" in found.basis
    for columns in found.differences.values():
        assert all(np.isnan(d.low) and np.isnan(d.high) and not d.is_clear for d in columns.values())
    assert found.as_json()["ap"]["total"] == {"value": pytest.approx(75.0), "low": None, "high": None}


def test_few_draws_have_no_intervals(tmp_path):
    found = compare(run(tmp_path, [9.0] * 6), run(tmp_path, [0.0] * 6), replicates=MIN_REPLICATES - 1)
    assert not found.differences["ap"]["total"].is_clear
    assert "no intervals" in found.basis


def test_a_joint_of_few_videos_has_no_interval(tmp_path):
    def without_wrists(evaluation):
        videos = list(evaluation.videos)
        for number in range(2):
            annotated = videos[number].detections.annotated.copy()
            annotated[JOINTS.index("left_wrist")] = 0
            detections = replace(videos[number].detections, annotated=annotated)
            videos[number] = replace(videos[number], detections=detections)
        return replace(evaluation, videos=tuple(videos))

    worse, better = (without_wrists(run(tmp_path, [shift] * 7)) for shift in (9.0, 0.0))
    found = compare(worse, better, replicates=100)
    for columns in found.differences.values():
        assert {name for name, difference in columns.items() if np.isnan(difference.low)} == {"left_wrist", "Wri"}
    assert "none where fewer than 6 videos have the joints" in found.basis


def test_other_videos(tmp_path):
    with pytest.raises(ValueError, match="different videos"):
        compare(run(tmp_path, [0.0]), run(tmp_path, [0.0, 0.0]))
