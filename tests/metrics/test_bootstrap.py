import numpy as np
import pytest

from jmpose_cli.metrics.bootstrap import compare
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
    one = run(tmp_path, [0.0, 9.0, 0.0])
    found = compare(one, one, replicates=50)
    assert (found.replicates, found.videos) == (50, 3)
    for columns in found.differences.values():
        assert {(d.value, d.low, d.high) for d in columns.values()} == {(0.0, 0.0, 0.0)}
        assert not any(d.is_clear for d in columns.values())


def test_the_difference_is_that_of_the_figures(tmp_path):
    one, other = run(tmp_path, [9.0, 9.0, 9.0]), run(tmp_path, [9.0, 0.0, 0.0])
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


def test_one_lucky_video_of_two_gives_none(tmp_path):
    one, other = run(tmp_path, [9.0, 9.0]), run(tmp_path, [9.0, 0.0])
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
    from dataclasses import replace

    return replace(run, videos=tuple(run.videos[row] for row in rows))


def test_one_video_has_no_intervals(tmp_path):
    one = run(tmp_path, [9.0])
    found = compare(one, one)
    assert found.replicates == 0
    assert np.isnan(found.differences["ap"]["total"].low)
    assert found.as_json()["ap"]["total"] == {"value": 0.0, "low": None, "high": None}


def test_other_videos(tmp_path):
    with pytest.raises(ValueError, match="different videos"):
        compare(run(tmp_path, [0.0]), run(tmp_path, [0.0, 0.0]))
