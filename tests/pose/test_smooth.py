from dataclasses import replace

import numpy as np
import pytest

from jmpose_cli.pose.smooth import smooth_track
from jmpose_cli.pose.spool import PoseSpool
from jmpose_cli.values import FramePoses, TrackedFrame


def track(time_s: np.ndarray, hz: float) -> np.ndarray:
    """One joint on a sine of `hz`, `[n, 1, 2]`."""
    wave = 100 + 10 * np.sin(2 * np.pi * hz * time_s)
    return np.stack([wave, wave], 1)[:, None].astype(np.float32)


def ones(n: int) -> np.ndarray:
    return np.ones((n, 1), np.float32)


def test_slow_motion_stays_without_delay_and_fast_jitter_goes():
    time_s = np.arange(120) / 30
    slow, jitter = track(time_s, 1.0), track(time_s, 12.0) - 100
    smooth = smooth_track(time_s, slow + jitter, ones(120), cutoff_hz=6.0)
    middle = slice(15, -15)
    assert np.abs(smooth - slow)[middle].max() < 0.6
    # Filtered twice, a Butterworth of order 2 at twice its cut-off leaves about 1/17 of the amplitude.
    assert np.abs(smooth - slow)[middle].std() < 0.1 * jitter.std()


def test_uneven_timestamps_are_used():
    rng = np.random.default_rng(0)
    time_s = np.sort(rng.choice(np.arange(300) / 60, 200, replace=False))
    smooth = smooth_track(time_s, track(time_s, 1.0), ones(200), cutoff_hz=6.0)
    assert np.abs(smooth - track(time_s, 1.0))[20:-20].max() < 0.8


def test_nothing_is_smoothed_across_a_gap():
    time_s = np.concatenate([np.arange(40) / 30, 10 + np.arange(40) / 30])
    xy = np.concatenate([np.zeros((40, 1, 2)), np.full((40, 1, 2), 500.0)]).astype(np.float32)
    assert np.allclose(smooth_track(time_s, xy, ones(80), cutoff_hz=6.0), xy, atol=1e-3)


def test_frames_far_apart_are_no_gap():
    time_s = np.arange(60) * 2.0
    jitter = np.random.default_rng(0).normal(0, 5, (60, 1, 2)).astype(np.float32)
    smooth = smooth_track(time_s, track(time_s, 0.01) + jitter, ones(60), cutoff_hz=0.05)
    assert np.abs(smooth - track(time_s, 0.01))[10:-10].std() < 0.6 * jitter.std()


def test_a_joint_without_score_neither_moves_nor_pulls():
    time_s = np.arange(60) / 30
    xy, scores = track(time_s, 0.5), ones(60)
    xy[30], scores[30] = 9999, 0.0
    smooth = smooth_track(time_s, xy, scores, cutoff_hz=6.0)
    assert (smooth[30] == 9999).all()
    assert np.abs(np.delete(smooth - track(time_s, 0.5), 30, 0)).max() < 1.0


@pytest.mark.parametrize(("frames", "fps"), [(1, 30), (5, 30), (100, 10)])
def test_too_short_or_too_slow_for_the_filter_is_left_alone(frames, fps):
    time_s = np.arange(frames) / fps
    xy = np.random.default_rng(1).normal(size=(frames, 1, 2)).astype(np.float32)
    assert (smooth_track(time_s, xy, ones(frames), cutoff_hz=6.0) == xy).all()


def poses(index: int, ids: list[int], xy: np.ndarray) -> FramePoses:
    n = len(ids)
    people = TrackedFrame(
        index=index,
        time_s=index / 30,
        boxes_xyxy_px=np.arange(n * 4, dtype=np.float32).reshape(n, 4),
        scores=np.full(n, 0.5, np.float32),
        track_ids=np.array(ids, np.int64),
        observed=np.arange(n) % 2 == 0,
        segment=index // 50,
    )
    rng, (_, joints, _) = np.random.default_rng(index), xy.shape
    return FramePoses(
        people,
        xy,
        np.ones(xy.shape[:2], np.float32),
        np.full(n, 0.4, np.float32),
        covariances=rng.random((n, joints, 3), np.float32) if index % 4 else None,
        probabilities=rng.random((n, joints), np.float32) if index % 5 else None,
    )


def test_the_spool_gives_back_what_was_written_with_smoothed_joints_beside_raw(tmp_path):
    rng = np.random.default_rng(2)
    written = [poses(i, [1, 4] if i % 3 else [4], rng.normal(size=(1 + (i % 3 > 0), 2, 2))) for i in range(60)]
    written = [poses(p.people.index, p.people.track_ids.tolist(), p.xy_image.astype(np.float32)) for p in written]
    with PoseSpool(tmp_path / "spool", joints=2) as spool:
        for frame in written:
            spool.write(frame)
        assert list(spool.again(cutoff_hz=None)) == written
        back = list(spool.again(cutoff_hz=6.0))
    assert list(tmp_path.iterdir()) == []
    for before, after in zip(written, back, strict=True):
        for name in ("boxes_xyxy_px", "scores", "track_ids", "observed"):
            assert (getattr(before.people, name) == getattr(after.people, name)).all()
        assert before.people.segment == after.people.segment and before.people.time_s == after.people.time_s
        assert (after.xy_raw_image == before.xy_image).all()
        assert replace(after, xy_image=before.xy_image, xy_raw_image=None) == before
    four = np.stack([p.xy_image[-1] for p in written])
    expected = smooth_track(np.arange(60) / 30, four, np.ones((60, 2)), cutoff_hz=6.0)
    assert np.allclose(np.stack([p.xy_image[-1] for p in back]), expected)
    assert np.abs(np.diff(expected, axis=0)).mean() < 0.7 * np.abs(np.diff(four, axis=0)).mean()


def test_a_spool_of_empty_frames(tmp_path):
    empty = np.zeros((0, 2, 2), np.float32)
    with PoseSpool(tmp_path / "spool", joints=2) as spool:
        for index in range(3):
            spool.write(poses(index, [], empty))
        assert [len(p) for p in spool.again(cutoff_hz=6.0)] == [0, 0, 0]
