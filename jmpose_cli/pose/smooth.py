"""Zero-phase smoothing of joint tracks, as is usual in biomechanics."""

import numpy as np

from jmpose_cli.values import Float, Times

ORDER = 2  # run forwards and backwards: an effective fourth-order Butterworth (Winter, 2009)
MIN_SCORE = 0.15  # a joint below this is a guess: it neither is smoothed nor pulls its neighbours
SPLIT_GAP_S = 0.5  # nothing is smoothed over a longer gap of a track ...
SPLIT_GAP_STEPS = 2.5  # ... that also is longer than so many of its frames


def smooth_track(time_s: Times, xy: Float, scores: Float, *, cutoff_hz: float) -> Float:
    """Low-pass the joints of one track without delay.

    Each run of a joint (score at least 0.15, no gap over 0.5 s and 2.5 frames) is resampled to an even grid where its
    timestamps are uneven, filtered forwards and backwards, and read at its own times. Runs too short
    for the filter, and videos whose frame rate is below twice the cut-off, are returned as they are.

    Args:
        time_s: `[n]` ascending timestamps in seconds.
        xy: `[n, K, 2]` joints in image pixels.
        scores: `[n, K]` joint scores.
        cutoff_hz: The frequency that is halved in power by each pass.

    Returns:
        `[n, K, 2]` float32 joints in image pixels.
    """
    result = xy.astype(np.float32).copy()
    gap_s = max(SPLIT_GAP_S, SPLIT_GAP_STEPS * float(np.median(np.diff(time_s)))) if len(time_s) > 1 else SPLIT_GAP_S
    for joint in range(xy.shape[1]):
        usable = np.flatnonzero(scores[:, joint] >= MIN_SCORE)
        if len(usable) == 0:
            continue
        breaks = np.flatnonzero(np.diff(time_s[usable]) > gap_s) + 1
        for run in np.split(usable, breaks):
            result[run, joint] = _filter(time_s[run], xy[run, joint].astype(np.float64), cutoff_hz)
    return result


def is_too_slow(fps: float, cutoff_hz: float) -> bool:
    """Whether a video has too few frames a second for the filter."""
    return cutoff_hz >= fps / 2


def _filter(time_s: Times, xy: Times, cutoff_hz: float) -> Times:
    """Filter one run `[n, 2]`."""
    from scipy.signal import butter, sosfiltfilt

    sections = -(-ORDER // 2)
    pad = 3 * (2 * sections + 1)
    if len(time_s) <= pad:
        return xy
    step_s = float(np.median(np.diff(time_s)))
    if step_s <= 0 or is_too_slow(1 / step_s, cutoff_hz):
        return xy
    grid = np.arange(time_s[0], time_s[-1] + step_s / 2, step_s)
    if len(grid) <= pad:
        return xy
    even = len(grid) == len(time_s) and np.allclose(grid, time_s, atol=0.1 * step_s)
    values = xy if even else np.stack([np.interp(grid, time_s, xy[:, axis]) for axis in (0, 1)], 1)
    smooth = sosfiltfilt(butter(ORDER, cutoff_hz, fs=1 / step_s, output="sos"), values, axis=0, padlen=pad)
    if even:
        return np.asarray(smooth)
    return np.stack([np.interp(time_s, grid, smooth[:, axis]) for axis in (0, 1)], 1)
