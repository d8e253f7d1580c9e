"""The published HOTA against an independent implementation: the `trackers` library on each joint's similarities."""

import numpy as np
import pytest
from hypothesis import given
from trackers.eval import compute_hota_metrics

from jmpose_cli.metrics.hota import count_hota, hota_figures
from jmpose_cli.metrics.joints import JOINTS
from jmpose_cli.metrics.posetrack import pair_inputs
from jmpose_cli.metrics.video import pair_people
from tests.metrics.test_properties import pairs, quick


@quick
@given(pair=pairs())
def test_every_joint_equals_the_library(pair):
    video = pair_inputs("a", *pair, protocol="posetrack21").hota
    found = pair_people(video.truth, video.predicted)
    ours = hota_figures(count_hota(video, found, rule="standard"), joined=True)
    _, mine = np.unique(video.truth.track, return_inverse=True)
    _, theirs = np.unique(video.predicted.track, return_inverse=True)
    similarity = np.maximum(1 - found.distance / 0.5001, 0)
    for joint in range(len(JOINTS)):
        ids, tracks, tables = [], [], []
        for frame in range(video.frames):
            rows = np.arange(video.truth.starts[frame], video.truth.starts[frame + 1])
            columns = np.arange(video.predicted.starts[frame], video.predicted.starts[frame + 1])
            table = similarity[found.starts[frame] : found.starts[frame + 1], joint].reshape(len(rows), len(columns))
            there, guessed = video.truth.present[rows, joint], video.predicted.present[columns, joint]
            ids.append(mine[rows[there]])
            tracks.append(theirs[columns[guessed]])
            tables.append(table[there][:, guessed])
        if not sum(map(len, ids)) or not sum(map(len, tracks)):
            assert ours.hota.values[joint] == 0
            continue
        library = compute_hota_metrics(ids, tracks, tables)
        for name, table in {"HOTA": ours.hota, "DetA": ours.det_a, "AssA": ours.ass_a, "LocA": ours.loc_a}.items():
            assert table.values[joint] == pytest.approx(100 * library[name], abs=1e-6), (name, JOINTS[joint])
